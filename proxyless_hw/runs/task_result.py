"""What a loss and a metric of the user's gave, in a result file. Importing it loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from proxyless_hw.runs.result_fields import ResultRow


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult(ResultRow):
    """The values of a metric of the user's.

    Attributes:
        loss: name of the loss.
        metric: name of the metric.
        test: its value on the test images.
        holdout: its value on the held-out images; None where none were held out.
    """

    loss: str
    metric: str
    test: float
    holdout: float | None = None
