"""ExecuTorch programs (.pte) for the XNNPACK delegate: written from a torch module, and opened."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from proxyless_hw.errors import BackendUnavailableError, ExportError
from proxyless_hw.export.prepare import deployment_copy
from proxyless_hw.terminal.quiet import quiet_native_output

if TYPE_CHECKING:
    from types import ModuleType

INSTALL_EXECUTORCH: Final = "Install it: pip install 'proxyless-hw[executorch]'"
_METHOD: Final = "forward"


def pte_bytes(module: nn.Module, input_shape: Sequence[int]) -> bytes:
    """Lowers a module to a float32 ExecuTorch program, its layers to XNNPACK.

    What XNNPACK does not take runs on ExecuTorch's portable kernels.

    Args:
        module: takes one float32 tensor; BatchNorm is folded on a copy in eval mode.
        input_shape: (N, C, H, W) of its input; the program has this shape alone.

    Raises:
        BackendUnavailableError: ExecuTorch is not installed.
        ExportError: the module cannot be lowered.
    """
    prepared = deployment_copy(module)
    example = (torch.zeros(*input_shape),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's and ExecuTorch's own code
        try:
            with quiet_native_output(python_too=True):  # libraries log while they are imported
                from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
                    XnnpackPartitioner,
                )
                from executorch.exir import to_edge_transform_and_lower
        except ImportError as cause:
            raise BackendUnavailableError(
                f"writing .pte files needs ExecuTorch ({cause}). {INSTALL_EXECUTORCH}"
            ) from cause
        try:
            exported = torch.export.export(prepared, example)
            with quiet_native_output():
                lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
                return bytes(lowered.to_executorch().buffer)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as cause:
            reason = str(cause).strip().splitlines()[:1] or ["no reason given"]
            raise ExportError(
                f"this network cannot be written as an ExecuTorch program: {reason[0][:300]}"
            ) from cause


@dataclass(frozen=True, slots=True)
class PteMethod:
    """A program's method ``forward``, ready to run.

    Attributes:
        method: ExecuTorch's own object: `set_inputs`, `execute`, `get_outputs`, `method_meta`.
        content: the program, which the runtime reads while the method lives.
    """

    method: Any
    content: bytes

    @property
    def input_sizes(self) -> list[tuple[int, ...]]:
        """Shape of every input."""
        meta = self.method.method_meta()
        return [tuple(meta.input_tensor_meta(index).sizes()) for index in range(meta.num_inputs())]

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Runs it; outputs are copies."""
        with quiet_native_output():  # the first run logs what it finds of the processor
            return list(self.method(inputs))


def open_pte(content: bytes, name: str) -> PteMethod:
    """Opens a program.

    Args:
        content: of the .pte file; it is verified before it is used.
        name: what it is called in messages.

    Raises:
        BackendUnavailableError: ExecuTorch is not installed.
        ExportError: it is no program, lacks ``forward``, or needs what this runtime does not have.
    """
    runtime = import_executorch()
    try:
        with quiet_native_output():
            program = runtime._load_program_from_buffer(
                content, program_verification=runtime.Verification.InternalConsistency
            )
            return PteMethod(program.load_method(_METHOD), content)
    except RuntimeError as cause:
        raise ExportError(
            f"ExecuTorch cannot open {name}: {str(cause).splitlines()[0][:300]}"
        ) from cause


def import_executorch() -> ModuleType:
    """Imports ExecuTorch's runtime.

    Raises:
        BackendUnavailableError: it is not installed.
    """
    try:
        with quiet_native_output(python_too=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import executorch.extension.pybindings.portable_lib as runtime
    except ImportError as cause:
        raise BackendUnavailableError(
            f"running .pte files needs ExecuTorch ({cause}). {INSTALL_EXECUTORCH}"
        ) from cause
    return runtime  # type: ignore[no-any-return]
