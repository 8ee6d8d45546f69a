"""The inputs and outputs that an ExecuTorch program declares, as its runtime reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxyless_hw.errors import ExportError, ProfilingError
from proxyless_hw.profilers.model_inputs import ModelInput, Size

_DTYPES: Final = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
}
"""torch's ScalarType, as the runtime counts it, to numpy's names."""


@dataclass(frozen=True, slots=True)
class PteInterface:
    """What goes in and comes out of ``forward``.

    Attributes:
        inputs: every size is fixed.
        outputs: shape of each output.
    """

    inputs: tuple[ModelInput, ...]
    outputs: tuple[tuple[Size, ...] | None, ...]


def read_pte(path: Path) -> PteInterface:
    """Reads what a program takes and gives.

    Raises:
        BackendUnavailableError: ExecuTorch, which alone can read it, is not installed.
        ProfilingError: it cannot be read, or is no program that runs here.
    """
    from proxyless_hw.export.pte_file import open_pte

    try:
        opened = open_pte(path.read_bytes(), str(path))
    except OSError as cause:
        raise ProfilingError(f"cannot read {path}: {cause.strerror or cause}.") from cause
    except ExportError as cause:
        raise ProfilingError(str(cause)) from cause
    meta = opened.method.method_meta()
    try:
        inputs = [meta.input_tensor_meta(index) for index in range(meta.num_inputs())]
        outputs = [meta.output_tensor_meta(index) for index in range(meta.num_outputs())]
    except RuntimeError as cause:
        raise ProfilingError(
            f"{path} takes or gives what is no tensor, for which no values can be made."
        ) from cause
    return PteInterface(
        inputs=tuple(
            ModelInput(
                name=f"input_{index}",
                sizes=tuple(item.sizes()),
                dtype=_DTYPES.get(item.dtype(), f"number {item.dtype()} of torch's ScalarType"),
            )
            for index, item in enumerate(inputs)
        ),
        outputs=tuple(tuple(item.sizes()) for item in outputs),
    )
