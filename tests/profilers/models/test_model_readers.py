"""Reading model files: types, ranges, classes, weights beside them, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_cases import ONNX, TFLITE, run, value, write
from onnx import TensorProto, helper, numpy_helper

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.model_inputs import FileShape, ModelInput
from proxyless_hw.profilers.models.file_shapes import (
    check_runs_as_it_is,
    file_setting,
    model_with_weights,
    read_model,
    shapes_by_file,
)
from proxyless_hw.profilers.models.fixed_sizes import with_fixed_sizes
from proxyless_hw.profilers.models.random_inputs import random_arrays
from proxyless_hw.profilers.models.tflite_reader import read_tflite


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
    with pytest.raises(ProfilingError, match="'x', which is not a tensor but sequence"):
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
