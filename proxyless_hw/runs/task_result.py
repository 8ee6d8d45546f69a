"""What a loss and a metric of the user's gave, in a result file. Importing it loads no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.storage.documents import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
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

    def to_json(self) -> JsonObject:
        """The object that result.json holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, read: ResultFields) -> TaskResult:
        """Reads what `to_json` gave.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        return cls(
            loss=read.text("loss"),
            metric=read.text("metric"),
            test=read.required("test"),
            holdout=read.optional("holdout"),
        )
