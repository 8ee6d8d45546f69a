"""LiteRT's C interface as far as its op profiler needs it, run in a process of its own.

The Python packages of LiteRT hand out no profiler. Their library has one: ``libLiteRt.so`` exports
the functions of ``litert/c/*.h``, whose signatures below are those of version 2.3. A library with
others may crash, hence the process: ``python -m proxyless_hw.profilers.runtimes.litert_library``
reads a request (JSON) and prints what `profile` returns.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
from collections.abc import Mapping
from ctypes import c_bool, c_char_p, c_int, c_int32, c_size_t, c_uint, c_uint32, c_void_p
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, ProxylessHwError

_CPU: Final = 1  # kLiteRtHwAcceleratorCpu
_BUILT_IN_KERNELS: Final = 2  # kLiteRtCpuKernelModeBuiltin
_WRITE: Final = 1  # kLiteRtTensorBufferLockModeWrite
_MOST_AXES: Final = 8
_UNTIMED_RUNS: Final = 3


class _Layout(ctypes.Structure):
    """LiteRtLayout."""

    _fields_ = (
        ("rank", c_uint, 7),
        ("has_strides", c_bool, 1),
        ("dimensions", c_int32 * _MOST_AXES),
        ("strides", c_uint32 * _MOST_AXES),
    )


class _TensorType(ctypes.Structure):
    """LiteRtRankedTensorType."""

    _fields_ = (("element_type", c_int), ("layout", _Layout))


def library_path() -> Path:
    """The library in LiteRT's Python package.

    Raises:
        BackendUnavailableError: LiteRT is not installed, or has no such library.
    """
    package = importlib.util.find_spec("ai_edge_litert")
    places = [] if package is None else list(package.submodule_search_locations or ())
    found = [path for place in places for path in sorted(Path(place).glob("libLiteRt.*"))]
    if not found:
        raise BackendUnavailableError(
            "the times of LiteRT's ops need the package ai-edge-litert with its libLiteRt, which "
            "is not installed. Install it: pip install 'proxyless-hw[tflite]'"
        )
    return found[0]


class LiteRt:
    """A model opened through the C interface, with its profiler on.

    Args:
        path: a .tflite file.
        threads: of the kernels.
        delegate: ``xnnpack`` or ``none``.
        signature: the signature to run; the only one when None.
        arrays: one per input, by the name of its tensor.

    Raises:
        ProfilingError: the library refuses something; its function and status are named.
    """

    def __init__(
        self,
        path: Path,
        threads: int,
        delegate: str,
        signature: str | None,
        arrays: Mapping[str, NDArray[Any]],
    ) -> None:
        self.library = ctypes.CDLL(str(library_path()))
        self.environment = self._made("CreateEnvironment", c_int(0), None)
        name = c_char_p(str(path).encode())
        self.model = self._made("CreateModelFromFile", self.environment, name)
        self.compiled = self._compiled(threads, delegate)
        self.profiler = self._made("CompiledModelGetProfiler", self.compiled)
        self.number, self.signature = self._signature(signature)
        self.inputs = self._inputs(arrays, str(path))
        self.outputs = self._outputs()

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self.library, f"LiteRt{function}")(*arguments)
        if status:
            raise ProfilingError(f"LiteRt{function} ended with status {status}.")

    def _made(self, function: str, *arguments: Any) -> c_void_p:
        """What a function writes to its last argument."""
        made = c_void_p()
        self._call(function, *arguments, ctypes.byref(made))
        return made

    def _count(self, function: str, of: c_void_p) -> int:
        count = c_size_t()
        self._call(function, of, ctypes.byref(count))
        return count.value

    def _text(self, function: str, *of: c_void_p) -> str:
        text = c_char_p()
        self._call(function, *of, ctypes.byref(text))
        return (text.value or b"").decode(errors="replace")

    def _compiled(self, threads: int, delegate: str) -> c_void_p:
        options = self._made("CreateOptions")
        self._call("SetOptionsHardwareAccelerators", options, c_int(_CPU))
        kernels = f"kernel_mode = {_BUILT_IN_KERNELS}\n" if delegate == "none" else ""
        self._kept = [  # the library reads these later
            self._option(options, "runtime_options_string", "enable_profiling = true\n"),
            self._option(options, "xnnpack", f"num_threads = {threads}\n{kernels}"),
        ]
        return self._made("CreateCompiledModel", self.environment, self.model, options)

    def _option(self, options: c_void_p, name: str, text: str) -> tuple[object, ...]:
        """Adds a group of options, as text; returns what must stay alive."""
        release = ctypes.CFUNCTYPE(None, c_void_p)(lambda pointer: None)
        held, key = ctypes.create_string_buffer(text.encode()), c_char_p(name.encode())
        content = ctypes.cast(held, c_void_p)
        self._call(
            "AddOpaqueOptions", options, self._made("CreateOpaqueOptions", key, content, release)
        )
        return release, held, key

    def _signature(self, wanted: str | None) -> tuple[c_size_t, c_void_p]:
        for number in map(c_size_t, range(self._count("GetNumModelSignatures", self.model))):
            found = self._made("GetModelSignature", self.model, number)
            if wanted is None or self._text("GetSignatureKey", found) == wanted:
                return number, found
        raise ProfilingError(f"LiteRT finds no signature '{wanted}' in the model.")

    def _inputs(self, arrays: Mapping[str, NDArray[Any]], source: str) -> ctypes.Array[c_void_p]:
        count = self._count("GetNumSignatureInputs", self.signature)
        tensors = [
            self._made("GetSignatureInputTensorByIndex", self.signature, c_size_t(place))
            for place in range(count)
        ]
        names = [self._text("GetTensorName", tensor) for tensor in tensors]
        if sorted(names) != sorted(arrays):
            raise ProfilingError(
                f"LiteRT names the inputs of {source} {', '.join(names)[:200]}, the file "
                f"{', '.join(arrays)[:200]}: which is which is not known. Name them in the file."
            )
        types = [self._type(tensor) for tensor in tensors]
        resized = False
        for place, (name, kind) in enumerate(zip(names, types, strict=True)):
            shape = arrays[name].shape
            if tuple(kind.layout.dimensions[: kind.layout.rank]) != shape:
                sizes = (c_int * len(shape))(*shape)
                self._call(
                    "CompiledModelResizeInputTensor",
                    *(self.compiled, self.number, c_size_t(place), sizes, c_size_t(len(shape))),
                )
                kind.layout.rank = len(shape)
                kind.layout.dimensions[: len(shape)] = shape
                resized = True
        if resized:
            self._layouts(update=True)
        buffers = (c_void_p * count)()
        for place, (name, kind) in enumerate(zip(names, types, strict=True)):
            buffers[place] = self._buffer("Input", place, kind).value
            self._write(c_void_p(buffers[place]), arrays[name])
        return buffers

    def _outputs(self) -> ctypes.Array[c_void_p]:
        layouts = self._layouts(update=False)
        buffers = (c_void_p * len(layouts))()
        for place, layout in enumerate(layouts):
            tensor = self._made("GetSignatureOutputTensorByIndex", self.signature, c_size_t(place))
            kind = self._type(tensor)
            kind.layout = layout
            buffers[place] = self._buffer("Output", place, kind).value
        return buffers

    def _layouts(self, update: bool) -> ctypes.Array[_Layout]:
        """Layouts of the outputs."""
        count = self._count("GetNumSignatureOutputs", self.signature)
        layouts = (_Layout * count)()
        self._call(
            "GetCompiledModelOutputTensorLayouts",
            *(self.compiled, self.number, c_size_t(count), layouts, c_bool(update)),
        )
        return layouts

    def _type(self, tensor: c_void_p) -> _TensorType:
        kind = _TensorType()
        self._call("GetRankedTensorType", tensor, ctypes.byref(kind))
        return kind

    def _buffer(self, side: str, place: int, kind: _TensorType) -> c_void_p:
        needs = self._made(
            f"GetCompiledModel{side}BufferRequirements", self.compiled, self.number, c_size_t(place)
        )
        return self._made(
            "CreateManagedTensorBufferFromRequirements",
            *(self.environment, ctypes.byref(kind), needs),
        )

    def _write(self, buffer: c_void_p, array: NDArray[Any]) -> None:
        size = self._count("GetTensorBufferPackedSize", buffer)
        if size != array.nbytes:
            raise ProfilingError(
                f"LiteRT wants {size} bytes for an input of {array.nbytes} ({array.dtype}, "
                f"{'x'.join(map(str, array.shape))})."
            )
        memory = c_void_p()
        self._call("LockTensorBuffer", buffer, ctypes.byref(memory), c_int(_WRITE))
        content = np.ascontiguousarray(array)
        ctypes.memmove(memory, content.ctypes.data, array.nbytes)
        self._call("UnlockTensorBuffer", buffer)

    def run(self) -> None:
        """Runs the model once."""
        self._call(
            "RunCompiledModel",
            *(self.compiled, self.number, c_size_t(len(self.inputs)), self.inputs),
            *(c_size_t(len(self.outputs)), self.outputs),
        )

    def profile(self, runs: int) -> str:
        """Runs the model so often; what the profiler prints of these runs.

        The profiler never forgets what it has printed: one that is to begin anew is opened anew.
        """
        self._call("StartProfiler", self.profiler)
        for _ in range(runs):
            self.run()
        self._call("StopProfiler", self.profiler)
        return self._text("GetProfileSummary", self.profiler, self.compiled)

    def close(self) -> None:
        """Frees the model and its kernels' packed weights."""
        for buffer in (*self.inputs, *self.outputs):
            self._free("DestroyTensorBuffer", c_void_p(buffer))
        self._free("DestroyCompiledModel", self.compiled)

    def _free(self, function: str, what: c_void_p) -> None:
        release = getattr(self.library, f"LiteRt{function}")
        release.restype = None
        release(what)

    def op_outputs(self) -> list[str]:
        """Name of the first output of every op of the first graph, by the op's number."""
        graph = self._made("GetModelSubgraph", self.model, c_size_t(0))
        names = []
        for place in range(self._count("GetNumSubgraphOps", graph)):
            op = self._made("GetSubgraphOp", graph, c_size_t(place))
            has_output = self._count("GetNumOpOutputs", op) > 0
            output = self._made("GetOpOutput", op, c_size_t(0)) if has_output else None
            names.append("" if output is None else self._text("GetTensorName", output))
        return names


def profile(request: Mapping[str, Any]) -> dict[str, Any]:
    """Profiles a file.

    Args:
        request: what `file_request` gives, ``signature``, ``sessions`` (how often the file is
            opened) and ``runs`` (in each).

    Returns:
        ``profiles``: what the profiler printed of each session; ``ops``: as `LiteRt.op_outputs`.

    Raises:
        ProfilingError: the file cannot be run.
        BackendUnavailableError: the library is not there.
    """
    from proxyless_hw.profilers.models.input_request import requested_arrays

    arrays = requested_arrays(request["inputs"], request["path"])
    setting = (request["threads"], request["delegate"], request["signature"])
    profiles: list[str] = []
    outputs: list[str] = []
    for _ in range(request["sessions"]):
        model = LiteRt(Path(request["path"]), *setting, arrays)
        for _ in range(_UNTIMED_RUNS):
            model.run()
        profiles.append(model.profile(request["runs"]))
        outputs = model.op_outputs()
        model.close()
    return {"profiles": profiles, "ops": outputs}


def _answer() -> dict[str, Any]:
    try:
        return profile(json.load(sys.stdin))
    except ProxylessHwError as error:
        return {"error": str(error), "kind": type(error).__name__}


if __name__ == "__main__":
    print(json.dumps(_answer()))
