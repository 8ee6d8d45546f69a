"""Writing the one-file HTML report, and the pictures in it as files."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from proxyless_hw._version import __version__
from proxyless_hw.drawing.palette import css_classes, css_variables
from proxyless_hw.errors import ReportError
from proxyless_hw.report.comparison import compare, convergence
from proxyless_hw.report.run_data import RunData, read_run
from proxyless_hw.report.run_figures import run_figures
from proxyless_hw.report.sections import run_page
from proxyless_hw.storage.files import write_text_atomically

REPORT_NAME: Final = "report.html"


def write_report(
    run_dirs: Sequence[str | Path] | str | Path,
    output: str | Path | None = None,
    *,
    figures: str | Path | None = None,
) -> Path:
    """Writes a report on one run, or a comparison of several: ``proxyless-hw report``.

    Args:
        run_dirs: run folders.
        output: the HTML file; ``report.html`` in the first folder when None.
        figures: a folder that takes every picture as SVG and PNG.

    Returns:
        The path of the HTML file.

    Raises:
        ReportError: a run is malformed (its file is named), or the place cannot be written.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.write_report("runs/x")  # doctest: +SKIP
    """
    folders = [run_dirs] if isinstance(run_dirs, str | Path) else list(run_dirs)
    if not folders:
        raise ReportError("a report needs at least one run folder.")
    runs = [read_run(folder) for folder in folders]
    path = runs[0].path / REPORT_NAME if output is None else Path(output)
    write_text_atomically(path, render(runs), ReportError)
    if figures is not None:
        write_figures(runs, Path(figures))
    return path


def render(runs: Sequence[RunData]) -> str:
    """The page as text: complete, with nothing to load."""
    several = len(runs) > 1
    pages = [
        run_page(run, f"run{index}" if several else "run") for index, run in enumerate(runs, 1)
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(_template("report.html.j2"))
    names = ", ".join(run.name for run in runs)
    return template.render(
        title=f"Comparison: {names}" if several else f"Run {names}",
        subtitle="; ".join(dict.fromkeys(map(_subtitle, runs))),
        version=__version__,
        css=Markup(css_variables() + css_classes() + _template("style.css")),
        script=Markup(_template("scrubber.js")),
        scripted=any(section.frames for page in pages for section in page.sections),
        runs=pages,
        comparison=compare(runs) if several else [],
    )


def write_figures(runs: Sequence[RunData], folder: Path) -> list[Path]:
    """Writes every picture of the runs as SVG and PNG, named after run and picture.

    Raises:
        ReportError: the place cannot be written.
    """
    pictures = {}
    for run in runs:
        prefix = f"{run.name}-" if len(runs) > 1 else ""
        pictures.update({f"{prefix}{name}": canvas for name, canvas in run_figures(run).items()})
    if len(runs) > 1:
        together = convergence(runs)
        pictures.update({} if together is None else {"convergence": together})
    written = []
    for name, canvas in pictures.items():
        for ending, save in ((".svg", canvas.save_svg), (".png", canvas.save_png)):
            save(folder / f"{name}{ending}", ReportError)
            written.append(folder / f"{name}{ending}")
    return written


def _subtitle(run: RunData) -> str:
    parts = []
    space = run.config.space or (run.arch.space if run.arch else None)
    if space is not None:
        parts.append(f"space {space}")
    if run.arch is not None:
        parts.append(f"deployed at {run.arch.resolution} px, {run.arch.num_classes} classes")
        if run.arch.training is not None:
            shape = run.arch.training
            how = "trained" if run.kind == "train" else "searched"
            parts.append(
                f"{how} on {shape.data} at {shape.resolution} px, {shape.num_classes} classes"
            )
    if "algorithm" in run.settings:
        parts.append(f"{run.settings['algorithm']} search, seed {run.settings.get('seed')}")
    return " · ".join(parts)


def _template(name: str) -> str:
    folder = resources.files("proxyless_hw") / "report" / "templates"
    return (folder / name).read_text(encoding="utf-8")
