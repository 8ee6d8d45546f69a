"""What model files say about themselves, and that runtimes run with what is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import ONNX, TFLITE, run, value, write
from onnx import TensorProto, helper, numpy_helper

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Workload
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.models.file_shapes import (
    file_setting,
)
from proxyless_hw.profilers.models.tflite_reader import read_tflite
from proxyless_hw.profilers.runtimes import litert, onnxruntime


@pytest.mark.parametrize(
    ("path", "shape", "shapes", "batch"),
    [
        (TFLITE / "f02_dynamic_batch.tflite", FileShape(batch=8), {"x": (8, 8, 8, 3)}, 8),
        (TFLITE / "f02_dynamic_batch.tflite", FileShape(), {"x": (1, 8, 8, 3)}, 1),
        (TFLITE / "f15_dynamic_hw.tflite", FileShape(resolution=224), {"x": (1, 224, 224, 3)}, 1),
        (
            TFLITE / "f15_dynamic_hw.tflite",
            FileShape(input_shapes={"x": (1, 9, 7, 3)}),
            {"x": (1, 9, 7, 3)},
            1,
        ),
        (TFLITE / "f06_int16.tflite", FileShape(), {"x": (1, 8, 8, 3)}, 1),
        (TFLITE / "f09_int32_tokens.tflite", FileShape(), {"a": (1, 16), "b": (1, 16)}, 1),
        (TFLITE / "embedding.tflite", FileShape(), {"a": (1, 16)}, 1),
        (
            TFLITE / "two_signatures.tflite",
            FileShape(signature="prefill", input_shapes={"p": (1, 16)}),
            {"a": (1, 16), "b": (1, 16)},
            1,
        ),
        (
            TFLITE / "unnamed_inputs.tflite",
            FileShape(input_shapes={"q": (3, 16)}),
            {"input#0": (3, 16), "input#1": (3, 16)},
            3,
        ),
        (
            TFLITE / "unknown_rank.tflite",
            FileShape(input_shapes={"a": (2, 3), "b": (2, 3)}),
            {"a": (2, 3), "b": (2, 3)},
            None,
        ),
        (ONNX / "m02_dynamic_hw.onnx", FileShape(resolution=64, batch=2), {"x": (2, 3, 64, 64)}, 2),
        (ONNX / "m03_fixed_batch8.onnx", None, {"x": (8, 3, 32, 32)}, 8),
        (ONNX / "m04_int64_tokens.onnx", FileShape(batch=4), {"ids": (4, 16)}, 4),
        (ONNX / "m08_if.onnx", FileShape(), {"x": (1, 3, 64, 64)}, 1),
        (ONNX / "m22_external.onnx", FileShape(), {"x": (1, 3, 32, 32)}, 1),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_a_file_runs_with_what_is_reported(
    path: Path, shape: FileShape | None, shapes: dict[str, tuple[int, ...]], batch: int | None
) -> None:
    setting = file_setting(path, shape)
    runner = run(path, shape)
    assert dict(runner.inputs) == dict(setting.shapes) == shapes
    assert runner.batch_size == setting.batch_size == batch


@pytest.mark.parametrize(
    ("path", "shape", "message"),
    [
        (TFLITE / "f15_dynamic_hw.tflite", FileShape(), r"--resolution N, or --input-shape x:1,S"),
        (TFLITE / "f15_dynamic_hw.tflite", FileShape(batch=2, resolution=8), "a batch of 1"),
        (TFLITE / "f06_int16.tflite", FileShape(batch=8), "runs a batch of 1"),
        (TFLITE / "string_input.tflite", FileShape(), "'a' of type string"),
        (TFLITE / "two_signatures.tflite", FileShape(), r"--signature prefill"),
        (TFLITE / "two_signatures.tflite", FileShape(signature="decode"), "not the first graph"),
        (TFLITE / "two_signatures.tflite", FileShape(signature="x"), "It has: decode, prefill"),
        (TFLITE / "unknown_rank.tflite", FileShape(), "a: unknown"),
        (ONNX / "m02_dynamic_hw.onnx", FileShape(), "--resolution N, or --input-shape x:1,3,H"),
        (ONNX / "m03_fixed_batch8.onnx", FileShape(batch=1), "runs a batch of 8"),
        (ONNX / "m03_fixed_batch8.onnx", FileShape(signature="x"), "Leave it out"),
    ],
)
def test_what_a_file_cannot_do_is_refused(path: Path, shape: FileShape, message: str) -> None:
    with pytest.raises(ProfilingError, match=message):
        run(path, shape)


def test_a_setting_of_another_batch_than_the_file_is_refused_and_one_is_no_claim() -> None:
    """From Python a batch of 1 is the default; then the file's own batch runs and is told."""
    path = ONNX / "m03_fixed_batch8.onnx"
    assert run(path).batch_size == 8
    assert run(path, batch_size=8).batch_size == 8
    with pytest.raises(ProfilingError, match="runs a batch of 8"):
        run(path, batch_size=2)


def test_a_file_whose_graph_holds_one_batch_only_is_refused_by_what_it_says(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.array([1, 8]), "shape")
    reshape = helper.make_node("Reshape", ["x", "shape"], ["y"])
    path = write(tmp_path / "m.onnx", [reshape], [value("x", ["N", 8])], ["y"], (weights,))
    assert run(path).inputs == {"x": (1, 8)}
    with pytest.raises(ProfilingError, match=r"cannot run m\.onnx with 4x8"):
        run(path, FileShape(batch=4))


ELEMENTS = (
    *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BOOL),
    *(TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16),
    *(TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64),
)
SIZES = st.lists(st.integers(1, 4) | st.sampled_from(["batch", "height", "seq", None]), max_size=4)
INPUTS = st.lists(st.tuples(SIZES, st.sampled_from(ELEMENTS)), min_size=1, max_size=2)


def draw_shape(data: st.DataObject, inputs: dict[str, list[int | str | None]]) -> FileShape:
    """What a user says: now and then a batch, a resolution, a whole shape; mostly agreeing ones."""
    named = data.draw(st.lists(st.sampled_from(sorted(inputs)), unique=True))
    shapes = {
        name: tuple(
            size if isinstance(size, int) and size > 0 else data.draw(st.integers(1, 4))
            for size in inputs[name]
        )
        for name in named
    }
    number = st.none() | st.integers(1, 4)
    return FileShape(batch=data.draw(number), resolution=data.draw(number), input_shapes=shapes)


@settings(max_examples=60, deadline=None)
@given(inputs=INPUTS, data=st.data())
def test_onnx_runtime_sees_the_shapes_that_are_reported(
    inputs: list[tuple[list[int | str | None], int]],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The model's outputs are the shapes of its inputs, so the runtime itself tells them."""
    names = [f"x{index}" for index in range(len(inputs))]
    shape = draw_shape(data, dict(zip(names, (sizes for sizes, _ in inputs), strict=True)))
    path = write(
        tmp_path_factory.getbasetemp() / "shapes.onnx",
        [helper.make_node("Shape", [name], [f"shape_{name}"]) for name in names],
        [value(name, sizes, kind) for name, (sizes, kind) in zip(names, inputs, strict=True)],
        [value(f"shape_{name}", None, TensorProto.INT64) for name in names],
    )
    bindings: list[Any] = []
    open_session = onnxruntime.make_session

    def spy(*arguments: Any, **options: Any) -> Any:
        session = open_session(*arguments, **options)
        bindings.append(session.io_binding())
        session.io_binding = lambda: bindings[-1]
        return session

    try:
        setting = file_setting(path, shape)
    except ProfilingError:
        with pytest.raises(ProfilingError):
            run(path, shape)
        return
    with patch.object(onnxruntime, "make_session", spy):
        runner = run(path, shape)
    seen = [tuple(output.numpy().tolist()) for output in bindings[-1].get_outputs()]
    assert seen == list(setting.shapes.values()) == list(runner.inputs.values())
    assert runner.batch_size == setting.batch_size
    assert shape.batch in (None, setting.batch_size)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(path.name for path in TFLITE.iterdir())), data=st.data())
def test_litert_holds_the_shapes_that_are_reported(name: str, data: st.DataObject) -> None:
    path = TFLITE / name
    declared = read_tflite(path.read_bytes(), name).inputs
    wanted = draw_shape(data, {item.name: list(item.sizes or (None, None)) for item in declared})
    held: list[Any] = []
    open_interpreter = litert.make_interpreter

    def spy(*arguments: Any) -> Any:
        held.append(open_interpreter(*arguments))
        return held[-1]

    with patch.object(litert, "make_interpreter", spy):
        try:
            runner = run(path, wanted)
        except ProfilingError:
            return
    setting = file_setting(path, wanted)
    seen = [tuple(detail["shape"].tolist()) for detail in held[-1].get_input_details()]
    assert seen == list(setting.shapes.values()) == list(runner.inputs.values())
    assert runner.batch_size == setting.batch_size


def test_an_input_known_by_two_names_is_given_once() -> None:
    both = FileShape(signature="prefill", input_shapes={"a": (1, 16), "p": (1, 16)})
    with pytest.raises(ProfilingError, match="one input as 'a' and as 'p'"):
        file_setting(TFLITE / "two_signatures.tflite", both)


def test_a_workload_with_a_shape_can_be_looked_up() -> None:
    shape = FileShape(input_shapes={"x": (1, 2)})
    assert len({Workload("f", file=ONNX, shape=shape), Workload("f", file=ONNX, shape=shape)}) == 1
