"""Torch modules as serialised ONNX models, and a store that keeps some of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final

from proxyless_hw.errors import ExportError, ProfilingError
from proxyless_hw.profilers.base import Precision, ProfilerSettings, Workload
from proxyless_hw.profilers.models.building import IDENTITY
from proxyless_hw.profilers.models.random_inputs import calibration_inputs
from proxyless_hw.profilers.models.surroundings import Surroundings, build_surrounded

if TYPE_CHECKING:
    from torch import nn

MOST_KEPT_BYTES: Final = 2**30
"""Memory for models that later sessions open again without making them anew."""


def onnx_model(module: nn.Module, shape: tuple[int, ...], precision: Precision, name: str) -> bytes:
    """A module as a serialised ONNX model.

    Args:
        module: in eval mode, with one input and one output.
        shape: (N, C, H, W) of its input.
        precision: int8 is calibrated on random images; their values do not change the time.
        name: what it is called in messages.

    Raises:
        ExportError: it cannot be written.
        ProfilingError: it cannot be quantised.
    """
    from proxyless_hw.export.onnx_file import onnx_bytes
    from proxyless_hw.export.quantise import quantise_onnx

    model = onnx_bytes(module, shape)
    if precision == "fp32":
        return model
    try:
        return quantise_onnx(model, precision, calibration_inputs(shape))
    except ExportError as cause:
        raise ProfilingError(f"{name} cannot be quantised: {cause}") from cause


class KeptModels:
    """Models that later sessions open again; beyond a size in all they are made anew."""

    def __init__(self, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._models: dict[Hashable, bytes] = {}
        self._room = most_bytes

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The model of this key, made where it is not kept."""
        if key in self._models:
            return self._models[key]
        model = make()
        if len(model) <= self._room:
            self._room -= len(model)
            self._models[key] = model
        return model

    def surrounded(self, item: Workload | Surroundings, settings: ProfilerSettings) -> bytes:
        """The model of a network, of an op with its surroundings, or of surroundings alone.

        Raises:
            ExportError, ProfilingError: as `onnx_model`.
        """
        precision = "fp32" if item == IDENTITY else settings.precision
        return self.get(
            item,
            lambda: onnx_model(*build_surrounded(item, settings.batch_size), precision, item.name),
        )
