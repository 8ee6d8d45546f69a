"""The scatter plot of a validation: predicted against measured, with the 5% band."""

from __future__ import annotations

from pathlib import Path

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.measured import at_table_speed
from proxyless_hw.predictors.validation import Validation
from proxyless_hw.storage.files import atomic_path

FORMATS = (".png", ".svg", ".pdf")


def check_plot_path(path: Path) -> None:
    """Refuses an unknown format before anything is measured.

    Raises:
        PredictorError: the suffix is none that can be drawn.
    """
    if path.suffix not in FORMATS:
        raise PredictorError(f"--plot ends in {', '.join(FORMATS)}: received {path}.")


def plot_validation(validation: Validation, title: str, path: Path) -> None:
    """Draws the plot and writes it atomically.

    Raises:
        PredictorError: the format is unknown, or the place cannot be written.
    """
    check_plot_path(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values = [network.measured_ms for network in validation.networks]
    values += [network.predicted_ms for network in validation.networks]
    low, high = min(values) * 0.95, max(values) * 1.05
    line = [low, high]
    axes.plot(line, line, color="0.5", linewidth=1)
    axes.fill_between(line, [0.95 * x for x in line], [1.05 * x for x in line],
                      color="0.9", label="within 5%")  # fmt: skip
    for kind, marker in (("uniform", "o"), ("spread", "^"), ("named", "s")):
        chosen = validation.of_kind(kind)
        if not chosen:
            continue
        triples = [at_table_speed(network.measured) for network in chosen]
        measured = [median for median, _, _ in triples]
        errors = [
            [median - low for median, low, _ in triples],
            [high - median for median, _, high in triples],
        ]
        axes.errorbar(
            [network.predicted_ms for network in chosen], measured, yerr=errors,
            fmt=marker, markersize=4, linewidth=0.8, label=f"{kind} ({len(chosen)})",
        )  # fmt: skip
    axes.set(xlabel="predicted (ms)", ylabel="measured (ms)", title=title,
             xlim=(low, high), ylim=(low, high))  # fmt: skip
    axes.legend(loc="upper left")
    with atomic_path(path, PredictorError) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
