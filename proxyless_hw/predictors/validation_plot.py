"""The scatter plot of a validation: predicted against measured, with the 5% band."""

from __future__ import annotations

from pathlib import Path

from proxyless_hw.drawing.plots import new_figure, save_figure
from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.measured import at_table_speed
from proxyless_hw.predictors.validation import Validation


def plot_validation(validation: Validation, title: str, path: Path) -> None:
    """Draws the plot and writes it atomically.

    Raises:
        PredictorError: the format is unknown, or the place cannot be written.
    """
    figure = new_figure(6, 6)
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
    save_figure(figure, path, PredictorError)
