"""The check of every exported file: run by its own runtime, compared with the torch network."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from proxyless_hw.errors import ExportError
from proxyless_hw.export.quantise import FilePrecision
from proxyless_hw.export.runtimes import Images, onnx_outputs, pte_outputs, tflite_outputs
from proxyless_hw.storage.documents import JsonObject

FileFormat = Literal["onnx", "tflite", "pte"]

_OUTPUTS: Final = {"onnx": onnx_outputs, "tflite": tflite_outputs, "pte": pte_outputs}
"""Runs a model of each format on images."""

MAX_DIFFERENCE: Final = {"fp32": 1e-4, "fp16": 1e-2}
"""Largest difference allowed, in standard deviations of the torch outputs."""

MIN_VARIATION: Final = 1e-3
"""How far outputs must vary from image to image, in standard deviations of all of them."""

MAX_ACCURACY_LOSS: Final = 0.01
"""Largest loss of top-1 accuracy that is allowed of an int8 file on labelled images."""

CHANCE: Final = 1.645
"""Standard errors by which a loss must exceed `MAX_ACCURACY_LOSS` before a file is refused: the
lower one-sided 95% bound. Of a few hundred images one point is three or four, and as many change
sides by chance where the network is unsure of its first class."""

MAX_INT8_MEAN_DIFFERENCE: Final = 0.25
"""Without labels an int8 file is only checked for gross faults: the mean difference, in the same
standard deviations. A wrong scale, layout or normalisation gives about 1."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of comparing a file with its network.

    Attributes:
        images: number of images compared.
        source: what they are.
        max_difference, mean_difference: of the outputs, in standard deviations of torch's.
        top1_agreement: fraction of images with the same first class.
        accuracy_before, accuracy_after: top-1 of the network and of the file; None without labels.
        limit: the rule that decided, in words.
        passed: whether it was met.
    """

    images: int
    source: str
    max_difference: float
    mean_difference: float
    top1_agreement: float
    accuracy_before: float | None
    accuracy_after: float | None
    limit: str
    passed: bool

    def to_dict(self) -> JsonObject:
        """A plain dict for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """One line for people."""
        text = (
            f"{self.images} images of {self.source}: max difference {self.max_difference:.2g}, "
            f"mean {self.mean_difference:.2g} standard deviations; "
            f"top-1 agrees on {self.top1_agreement:.1%}"
        )
        if self.accuracy_before is not None and self.accuracy_after is not None:
            text += f"; accuracy {self.accuracy_before:.2%} before, {self.accuracy_after:.2%} after"
        return text


def torch_outputs(network: nn.Module, images: Images, batch: int = 32) -> NDArray[np.float32]:
    """Outputs of a module in eval mode; its own mode is restored."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            parts = [
                network(torch.from_numpy(images[start : start + batch].copy())).numpy()
                for start in range(0, len(images), batch)
            ]
    finally:
        network.train(training)
    return np.concatenate(parts)


def verify_bytes(
    model: bytes,
    file_format: FileFormat,
    precision: FilePrecision,
    expected: NDArray[np.float32],
    images: Images,
    *,
    labels: NDArray[np.int64] | None = None,
    source: str,
) -> Verification:
    """Runs a serialised model and compares it with the outputs torch gave.

    Args:
        model: the file's content.
        file_format: which runtime runs it.
        precision: decides the rule that is applied.
        expected: (N, classes) outputs of the torch network on `images`.
        images: (N, C, H, W) inputs.
        labels: (N,) true classes; with them an int8 file is judged by its accuracy.
        source: what the images are, for the report.

    Raises:
        ExportError: torch's outputs hardly vary, so nothing can be compared.
        BackendUnavailableError: the runtime is not installed.
    """
    spread = float(expected.std())
    _require_variation(expected, spread, source)
    outputs = _OUTPUTS[file_format](model, images).reshape(expected.shape)
    difference = np.abs(outputs - expected) / spread
    before = after = right = None
    if labels is not None:
        right = (expected.argmax(1) == labels, outputs.argmax(1) == labels)
        before, after = float(right[0].mean()), float(right[1].mean())
    largest, mean = _finite(difference.max()), _finite(difference.mean())
    limit, passed = _judge(precision, largest, mean, right)
    return Verification(
        images=len(images),
        source=source,
        max_difference=largest,
        mean_difference=mean,
        top1_agreement=float((outputs.argmax(1) == expected.argmax(1)).mean()),
        accuracy_before=before,
        accuracy_after=after,
        limit=limit,
        passed=passed,
    )


def require_passed(result: Verification, name: str) -> None:
    """Refuses a file that failed.

    Raises:
        ExportError: names the file, the rule and what was found.
    """
    if not result.passed:
        raise ExportError(
            f"{name} differs too much from the network it came from ({result.limit}). Found on "
            f"{result.summary()}. The file was not kept; choose another --precision, or look at "
            "it with --no-verify."
        )


def _require_variation(expected: NDArray[np.float32], spread: float, source: str) -> None:
    """Refuses outputs that hardly depend on the image: any file would pass on them."""
    if not math.isfinite(spread):
        found = "outputs that are no numbers"
    elif float(expected.std(axis=0).mean()) < MIN_VARIATION * spread or spread == 0:
        found = "nearly the same output for every image"
    else:
        return
    raise ExportError(
        f"the network gives {found} of {source}: nothing to compare a file with. "
        "Train it first, or give --no-verify."
    )


def _judge(
    precision: FilePrecision,
    largest: float,
    mean: float,
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None,
) -> tuple[str, bool]:
    """The rule as text, and whether it is met.

    Args:
        precision: decides the rule.
        largest, mean: differences of the outputs, in standard deviations of torch's.
        right: per labelled image, whether the network and the file gave its class.
    """
    if precision in MAX_DIFFERENCE:
        bound = MAX_DIFFERENCE[precision]
        return f"max difference at most {bound:g} standard deviations", largest <= bound
    if right is not None:
        return "accuracy at most 1 point lower, chance allowed for", _keeps_accuracy(*right)
    bound = MAX_INT8_MEAN_DIFFERENCE
    return f"mean difference at most {bound:g} standard deviations (no labels)", mean <= bound


def _keeps_accuracy(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> bool:
    """Whether the images leave it open that the loss of accuracy is at most the allowed one.

    The same images are compared, so only those that changed sides count. The variance of the loss
    is that of a paired difference of proportions (McNemar, 1947).
    """
    count = len(before)
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    loss = (lost - gained) / count
    error = math.sqrt(lost + gained - (lost - gained) ** 2 / count) / count
    return loss - CHANCE * error <= MAX_ACCURACY_LOSS


def _finite(value: np.floating[Any]) -> float:
    """Treats NaN as an infinite difference, which never passes."""
    return float(value) if np.isfinite(value) else float(np.finfo(np.float32).max)
