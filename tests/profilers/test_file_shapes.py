"""What model files say about themselves, and that runtimes run with what is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers import litert, onnxruntime
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.file_shapes import (
    check_runs_as_it_is,
    file_setting,
    model_with_weights,
    read_model,
    shapes_by_file,
)
from proxyless_hw.profilers.fixed_sizes import with_fixed_sizes
from proxyless_hw.profilers.host import Runner
from proxyless_hw.profilers.litert import LiteRtProfiler
from proxyless_hw.profilers.model_inputs import FileShape, ModelInput, batch_of, input_shapes
from proxyless_hw.profilers.onnxruntime import OnnxRuntimeProfiler
from proxyless_hw.profilers.random_inputs import random_arrays
from proxyless_hw.profilers.tflite_reader import read_tflite

CASES = Path(__file__).parent.parent / "cases"
ONNX, TFLITE = CASES / "onnx", CASES / "tflite"


def run(path: Path, shape: FileShape | None = None, **settings: Any) -> Runner:
    """Builds the file's runner and calls it once."""
    workload = Workload(path.name, file=path, shape=shape)
    chosen = ProfilerSettings(**settings)
    if path.suffix.lower() == ".tflite":
        runner = LiteRtProfiler(chosen).runner(workload, path.read_bytes())
    else:
        runner = OnnxRuntimeProfiler(chosen).runner(workload)
    runner.call()
    assert runner.touch is not None
    runner.touch()
    return runner


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[str] | list[onnx.ValueInfoProto],
    weights: tuple[onnx.TensorProto, ...] = (),
) -> Path:
    """Writes a model; outputs given by name have any type."""
    infos = [
        helper.make_tensor_value_info(item, TensorProto.FLOAT, None)
        if isinstance(item, str)
        else item
        for item in outputs
    ]
    graph = helper.make_graph(nodes, "g", inputs, infos, list(weights))
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def value(name: str, sizes: Any, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, sizes)


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
    assert input_shapes(runner) == dict(setting.shapes) == shapes
    assert batch_of(runner) == setting.batch_size == batch


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
    assert batch_of(run(path)) == 8
    assert batch_of(run(path, batch_size=8)) == 8
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


def test_integers_stay_within_what_they_index(tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.ones((5, 2), np.float32), "table")
    path = write(
        tmp_path / "m.onnx",
        [
            helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "wide"], ["y"]),
            helper.make_node("Div", ["n", "by"], ["z"]),
        ],
        [
            value("ids", [64], TensorProto.INT32),
            value("n", [64], TensorProto.INT64),
            value("by", [64], TensorProto.INT64),
        ],
        ["y", value("z", None, TensorProto.INT64)],
        (table,),
    )
    run(path)
    setting = file_setting(path, None)
    arrays = random_arrays(setting.inputs, setting.shapes, "m")
    assert (arrays["ids"].min(), arrays["ids"].max()) == (0, 4)
    assert (arrays["n"].min(), arrays["n"].max()) == (0, 1)
    assert set(arrays["by"]) == {1}


def test_a_table_in_a_tflite_file_bounds_its_indices_and_quantised_maps_use_their_range() -> None:
    (ids,) = read_model(TFLITE / "embedding.tflite").inputs
    assert (ids.low, ids.high) == (0, 5)
    (maps,) = read_model(TFLITE / "f06_int16.tflite").inputs
    array = random_arrays([maps], {"x": (1, 8, 8, 3)}, "f")["x"]
    assert array.dtype == np.int16
    assert array.min() < -10_000 < 10_000 < array.max()
    (tokens, _) = read_model(TFLITE / "f09_int32_tokens.tflite").inputs
    assert (tokens.low, tokens.high) == (0, 2)


def test_inputs_larger_than_any_memory_are_refused() -> None:
    item = ModelInput(name="x", sizes=None, dtype="float32")
    with pytest.raises(ProfilingError, match=r"'x' of f would take .* GiB"):
        random_arrays([item], {"x": (10**5, 10**5)}, "f")


def test_outputs_whose_size_the_values_decide_are_run(tmp_path: Path) -> None:
    info = [value("y", None, TensorProto.INT64), value("z", ["N", 8])]
    nodes = [helper.make_node("NonZero", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["z"])]
    assert run(write(tmp_path / "m.onnx", nodes, [value("x", ["N", 8])], info)).batch_size == 1


def test_outputs_that_change_from_call_to_call_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[256]),
        helper.make_node("Relu", ["r"], ["positive"]),
        helper.make_node("NonZero", ["positive"], ["y"]),
    ]
    info = [value("y", None, TensorProto.INT64), value("x", [1, 4])]
    path = write(tmp_path / "m.onnx", nodes, [value("x", [1, 4])], info)
    with pytest.raises(ProfilingError, match=r"cannot run m\.onnx with 1x4.*pre-allocated"):
        run(path)


def test_an_input_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    node = helper.make_node("ConcatFromSequence", ["x"], ["y"], axis=0)
    with pytest.raises(ProfilingError, match="'x' of type sequence"):
        run(write(tmp_path / "m.onnx", [node], [sequence], ["y"]))


def test_weights_that_are_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    inputs = [value("x", ["N", 3, 8, 8]), value("w", [4, 3, 3, 3])]
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    path = write(tmp_path / "m.onnx", [node], inputs, ["y"], (weights,))
    assert run(path, FileShape(batch=4)).inputs == {"x": (4, 3, 8, 8)}


def test_classes_are_those_of_one_flat_output() -> None:
    assert read_model(ONNX / "p01_relu6_clip_inputs.onnx").num_classes == 10
    assert read_model(ONNX / "m03_fixed_batch8.onnx").num_classes is None


def test_weights_beside_a_file_travel_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ONNX / "m22_external.onnx"
    assert model_with_weights(path) == [path, ONNX / "m22_external.onnx.data"]
    assert model_with_weights(ONNX / "m08_if.onnx") == [ONNX / "m08_if.onnx"]
    monkeypatch.chdir(tmp_path)
    assert run(path).inputs == {"x": (1, 3, 32, 32)}
    monkeypatch.chdir(ONNX)
    assert model_with_weights(Path("m22_external.onnx"))[1].is_file()


def test_weights_that_are_missing_or_elsewhere_are_named(tmp_path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes((ONNX / "m22_external.onnx").read_bytes())
    with pytest.raises(ProfilingError, match=r"m22_external\.onnx\.data, which is not there"):
        model_with_weights(alone)
    model = onnx.load(str(alone), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../secret.data"
    alone.write_bytes(model.SerializeToString())
    with pytest.raises(ProfilingError, match="outside its own folder"):
        model_with_weights(alone)


def test_suffixes_in_capitals_are_known(tmp_path: Path) -> None:
    for source, name in (
        (ONNX / "m03_fixed_batch8.onnx", "M.ONNX"),
        (TFLITE / "f06_int16.tflite", "M.TFLITE"),
    ):
        path = tmp_path / name
        path.write_bytes(source.read_bytes())
        assert run(path).batch_size in (1, 8)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.onnx", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("m.onnx", b"nothing", "is not an ONNX model"),
        ("m.tflite", b"nothing at all", "lacks the mark 'TFL3'"),
        ("m.tflite", b"\xff\xff\xff\x7fTFL3", "damaged"),
        ("m.tflite", b"", "lacks the mark"),
    ],
)
def test_what_is_no_model_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ProfilingError, match=message):
        read_model(path)


@given(data=st.data())
def test_a_damaged_tflite_file_is_read_or_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(path.name for path in TFLITE.iterdir())))
    content = bytearray((TFLITE / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(8, len(content)))
    try:
        read_tflite(bytes(content[:cut]), name)
    except ProfilingError as error:
        assert name in str(error)  # noqa: PT017


def test_open_sizes_are_written_into_a_copy_for_tools_that_run_files_as_they_are(
    tmp_path: Path,
) -> None:
    path = ONNX / "m02_dynamic_hw.onnx"
    setting = file_setting(path, FileShape(batch=2, resolution=16))
    copy = with_fixed_sizes(path, setting, tmp_path)
    assert run(copy).inputs == {"x": (2, 3, 16, 16)}
    fixed = ONNX / "m03_fixed_batch8.onnx"
    assert with_fixed_sizes(fixed, file_setting(fixed, None), tmp_path) == fixed


def test_a_tflite_file_as_it_is_runs_with_its_stored_sizes_or_is_refused() -> None:
    path = TFLITE / "f02_dynamic_batch.tflite"
    check_runs_as_it_is(path, file_setting(path, FileShape()), "mobile")
    with pytest.raises(ProfilingError, match=r"--device mobile runs a file as it is.*8x8x8x3"):
        check_runs_as_it_is(path, file_setting(path, FileShape(batch=8)), "mobile")


def test_several_files_share_the_options_that_name_their_inputs() -> None:
    tokens, images = ONNX / "m04_int64_tokens.onnx", ONNX / "m02_dynamic_hw.onnx"
    wanted = FileShape(input_shapes={"ids": (2, 16), "x": (2, 3, 8, 8)})
    shapes = shapes_by_file([tokens, images], wanted)
    assert shapes[tokens].input_shapes == {"ids": (2, 16)}
    assert shapes[images].input_shapes == {"x": (2, 3, 8, 8)}
    wanted = FileShape(input_shapes={"y": (2, 16)})
    with pytest.raises(ProfilingError, match="no file has: y"):
        shapes_by_file([tokens, images], wanted)
