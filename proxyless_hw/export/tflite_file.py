"""Writing a torch module as a TFLite file that LiteRT runs without layout changes."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType

import torch
from torch import nn

from proxyless_hw.errors import BackendUnavailableError, ExportError
from proxyless_hw.export.prepare import channels_last_pooling, deployment_copy
from proxyless_hw.storage.files import scratch_folder
from proxyless_hw.terminal.quiet import quiet_native_output

INSTALL_TFLITE = "Install it: pip install 'proxyless-hw[tflite]'"


def tflite_bytes(
    module: nn.Module, input_shape_nchw: Sequence[int], *, channels_last_output: bool
) -> bytes:
    """Converts a module to a float32 TFLite model.

    Args:
        module: takes one (N, C, H, W) float32 tensor; BatchNorm is folded on a copy in eval mode.
        input_shape_nchw: torch's shape of the input; the file takes (N, H, W, C).
        channels_last_output: the output is a map, given as (N, H, W, C) too (an isolated op);
            without it the output keeps torch's shape (a classifier's (N, classes)).

    Raises:
        BackendUnavailableError: litert-torch is not installed.
        ExportError: the module cannot be converted.
    """
    batch, channels, height, width = input_shape_nchw
    litert_torch = _import_litert_torch()
    prepared = deployment_copy(module)
    wrapped: nn.Module | None = channels_last_pooling(prepared)
    if wrapped is None:
        outputs = {"outputs": [0]} if channels_last_output else {}
        wrapped = litert_torch.to_channel_last_io(prepared, args=[0], **outputs)
    example = torch.zeros(batch, height, width, channels)
    with (
        scratch_folder(ExportError) as folder,
        _no_progress(litert_torch),
        quiet_native_output(),
        warnings.catch_warnings(),
    ):
        # torch 2.10 deprecates a way of asking that litert-torch still uses.
        warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
        path = folder / "model.tflite"
        try:
            litert_torch.convert(wrapped.eval(), (example,)).export(str(path))
        except (RuntimeError, ValueError, TypeError) as cause:
            raise ExportError(f"this network cannot be written as TFLite: {cause}") from cause
        return path.read_bytes()


def _import_litert_torch() -> ModuleType:
    try:
        # Python's log handlers made while importing must bind the real standard error.
        with quiet_native_output(python_too=True):
            import litert_torch
    except ImportError as cause:
        raise BackendUnavailableError(
            f"writing TFLite files needs litert-torch ({cause}). {INSTALL_TFLITE}"
        ) from cause
    return litert_torch  # type: ignore[no-any-return]


@contextlib.contextmanager
def _no_progress(litert_torch: ModuleType) -> Iterator[None]:
    """The converter reports each step on stdout, which belongs to our own results."""
    config = litert_torch._config.config
    shown = config.show_progress
    config.show_progress = False
    try:
        yield
    finally:
        config.show_progress = shown
