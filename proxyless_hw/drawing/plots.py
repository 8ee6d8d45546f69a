"""Plots that become files: matplotlib, without a window and without global state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.storage.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: Final = (".png", ".svg", ".pdf")


def check_plot_path(path: Path, error: type[ProxylessHwError]) -> None:
    """Checks the ending of a plot's file name; call it before anything is measured.

    Raises:
        ProxylessHwError: (as `error`) the ending is not one of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise error(f"the name of a plot ends with {', '.join(FORMATS)}: received '{path.name}'.")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, width and height in inches, whatever the user's default backend is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, error: type[ProxylessHwError]) -> None:
    """Writes a figure atomically. The file holds no date: equal figures give equal files.

    Raises:
        ProxylessHwError: (as `error`) the ending is unknown, or the place cannot be written.
    """
    check_plot_path(path, error)
    ending = path.suffix.lower().removeprefix(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
    with atomic_path(path, error) as temporary:
        figure.savefig(temporary, format=ending, dpi=150, metadata=metadata)
