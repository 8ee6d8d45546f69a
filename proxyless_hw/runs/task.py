"""What a network is trained for and judged by: a loss and a metric, the user's own or the default.

The default is classification: cross entropy, and top-1 accuracy.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from torch import Tensor
from torch.nn import functional

from proxyless_hw.errors import TaskError
from proxyless_hw.runs.task_result import TaskResult

LossFunction: TypeAlias = Callable[..., Tensor]
"""(outputs, targets) -> scalar, the mean over the batch."""
MetricFunction: TypeAlias = Callable[[Tensor, Tensor], float]
"""(outputs, targets) of a whole split, on the CPU -> float, higher is better."""

NOT_A_SCALAR: Final = (
    "the loss '{name}' must return a scalar tensor, the mean over the batch: received {received}. "
)
NO_LABELS: Final = (
    "top-1 accuracy, the default metric, needs one whole number per image as target. Give a metric "
    "of your own: Task(loss=..., metric=...)."
)


@dataclass(frozen=True, slots=True)
class Task:
    """A loss and a metric, which take the place of cross entropy and top-1 accuracy everywhere.

    Weight steps and updates of alpha follow the loss. The metric decides the best epoch, the rank
    of finalists, REINFORCE's reward and the test figure.

    Attributes:
        loss: ``loss(outputs, targets) -> scalar tensor``, the mean over the batch. Outputs are
            (N, outputs of the head), float32. Targets are a batch of what the data set gives.
        metric: ``metric(outputs, targets) -> float`` over all outputs (float32) and targets of a
            split, on the CPU; higher is better. None: top-1 accuracy, for which targets must be
            class labels. With REINFORCE it is also called on single batches.

    Raises:
        TaskError: one of them cannot be called.

    Example:
        >>> import torch
        >>> from proxyless_hw import Task
        >>> def closeness(outputs, targets):
        ...     return -float((outputs - targets).abs().mean())
        >>> Task(loss=torch.nn.functional.mse_loss, metric=closeness)
        Task(loss=mse_loss, metric=closeness)
    """

    loss: LossFunction = functional.cross_entropy
    metric: MetricFunction | None = None

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise TaskError(
                "loss must be a function (outputs, targets) -> scalar tensor: received "
                f"{repr(self.loss)[:100]}."
            )
        if self.metric is not None and not callable(self.metric):
            raise TaskError(
                "metric must be a function (outputs, targets) -> float: received "
                f"{repr(self.metric)[:100]}."
            )

    def __repr__(self) -> str:
        return f"Task(loss={name_of(self.loss)}, metric={self.metric_name})"

    @property
    def has_cross_entropy(self) -> bool:
        """Whether the loss is the built-in one, torch's `cross_entropy`."""
        return self.loss is functional.cross_entropy

    @property
    def metric_name(self) -> str:
        """Name of the metric; ``top-1`` for the default."""
        return "top-1" if self.metric is None else name_of(self.metric)

    def names(self) -> dict[str, str]:
        """Names of both, which a run folder keeps."""
        return {"loss": name_of(self.loss), "metric": self.metric_name}

    @property
    def suspect(self) -> str:
        """What a message about a loss that is NaN adds to the usual suspects."""
        return "" if self.has_cross_entropy else f" and at the loss '{name_of(self.loss)}'"

    def result(self, test: float, holdout: float | None) -> TaskResult | None:
        """What a result file keeps; None for classification, which has fields of its own."""
        if self == CLASSIFICATION:
            return None
        return TaskResult(**self.names(), test=test, holdout=holdout)

    def value(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: (N, outputs of the head).
            targets: of the same N images.
            label_smoothing: of cross entropy; a loss of the user's has none.

        Returns:
            A scalar, differentiable in the outputs.

        Raises:
            TaskError: the user's loss returns something else.
        """
        if self.has_cross_entropy:
            return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)
        return checked_loss(self.loss, outputs, targets)

    def on_batch(self, outputs: Tensor, targets: Tensor) -> float:
        """The metric of one batch, for REINFORCE.

        Raises:
            TaskError: the user's metric returns no finite number.
        """
        if self.metric is not None:
            return checked_metric(self.metric, outputs.cpu(), targets.cpu())
        return float((outputs.argmax(1) == targets).float().mean())

    def require_usable(self, targets: Tensor) -> None:
        """Checks a first batch of targets against what is built in.

        Raises:
            TaskError: they are no class labels, and there is no metric of the user's; or they are
                no labels and no probabilities of classes, and there is no loss of the user's.
        """
        if are_labels(targets):
            return
        if self.metric is None:
            raise TaskError(f"{NO_LABELS} Received {_described(targets)}.")
        if self.has_cross_entropy and not (targets.dim() == 2 and targets.is_floating_point()):
            raise TaskError(
                "cross entropy, the default loss, needs class labels or class probabilities as "
                f"targets: received {_described(targets)}. Give a loss: Task(loss=..., metric=...)."
            )


CLASSIFICATION: Final = Task()
"""Cross entropy and top-1 accuracy."""


def are_labels(targets: Tensor) -> bool:
    """Whether targets are class labels: one whole number per image."""
    return targets.dim() == 1 and not targets.is_floating_point()


def checked_loss(loss: LossFunction, outputs: Tensor, targets: Tensor) -> Tensor:
    """What a loss gives, once it is known to be a scalar that depends on the outputs.

    Raises:
        TaskError: it is not.
    """
    value = called("loss", loss, outputs, targets)
    if not isinstance(value, Tensor):
        received = f"{type(value).__name__} {repr(value)[:60]}"
        raise TaskError(NOT_A_SCALAR.format(name=name_of(loss), received=received))
    if value.dim() or not value.is_floating_point():
        hint = "End it with .mean()." if value.numel() > 1 else "Give floats, of shape ()."
        raise TaskError(NOT_A_SCALAR.format(name=name_of(loss), received=_described(value)) + hint)
    if outputs.requires_grad and not value.requires_grad:
        raise TaskError(
            f"the loss '{name_of(loss)}' must be computed from the outputs by differentiable torch "
            "operations: the tensor received has no gradient. Leave out .detach(), .item() and "
            "numpy."
        )
    return value


def checked_metric(metric: MetricFunction, outputs: Tensor, targets: Tensor) -> float:
    """What a metric gives, once it is known to be a finite number.

    Raises:
        TaskError: it is not.
    """
    received = called("metric", metric, outputs, targets)
    value = as_number(received)
    if not math.isfinite(value):
        raise TaskError(
            f"the metric '{name_of(metric)}' must return a finite number, higher is better: "
            f"received {repr(received)[:100]} for {len(targets)} images. Where a class or a case "
            "may be absent, let it return a number all the same."
        )
    return value


def called(what: str, function: Callable[..., Any], *arguments: object) -> Any:
    """What a function of the user's returns.

    Args:
        what: what the function is, for the message: loss, metric, objective, reward.

    Raises:
        TaskError: it raised; the message gives the error, which is the cause.
    """
    try:
        return function(*arguments)
    except Exception as cause:  # the function is not ours: it may raise anything
        raise TaskError(
            f"the {what} '{name_of(function)}' failed: {type(cause).__name__}: {cause}."
        ) from cause


def as_number(received: object) -> float:
    """A number, or a tensor or array of one number, as a float; NaN for anything else."""
    if isinstance(received, Tensor):
        return float(received) if received.numel() == 1 else math.nan
    if isinstance(received, bool | complex | str):
        return math.nan
    try:
        return float(received)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def name_of(function: Callable[..., Any]) -> str:
    """A name for messages and run folders: of a function, of a partial's function, of a class."""
    if isinstance(function, functools.partial):
        given = list(map(_argument, function.args))
        given += [f"{key}={_argument(value)}" for key, value in function.keywords.items()]
        return f"{name_of(function.func)}({', '.join(given)})"[:200]
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def _argument(value: object) -> str:
    """An argument of a partial, in words that are the same in every process."""
    return name_of(value) if callable(value) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _described(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"a tensor of shape {tuple(tensor.shape)}, {kind}"
