"""A model file is priced at its own shape, wherever its weights are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from proxyless_hw.cli import main
from proxyless_hw.errors import PredictorError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.onnx_import import architecture_from_onnx
from proxyless_hw.predictors.sources import at_deployment_shape, own_shape_note
from proxyless_hw.tables.table import LatencyTable

ONNX = Path(__file__).parent.parent / "cases" / "onnx"
OWN = ONNX / "p01_relu6_clip_inputs.onnx"


@pytest.fixture(scope="module")
def pixel1() -> LatencyTable:
    return LatencyTable.load("pixel1")


def changed(path: Path, folder: Path, change: Any) -> Path:
    """A copy of a file with its graph changed."""
    model = onnx.load(str(path))
    change(model.graph)
    copy = folder / path.name
    copy.write_bytes(model.SerializeToString())
    return copy


def missing(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a look-up names as missing from the Pixel 1 table, which tells what it looked for."""
    with pytest.raises(SystemExit) as end:
        main(["predict", *map(str, arguments), "--table", "pixel1", "--kind", "lookup"])
    assert end.value.code == 1
    return capsys.readouterr().err


def test_a_file_is_priced_at_its_own_shape_and_it_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = missing(capsys, OWN)
    assert "conv 32x32x3->16x16x16" in said
    assert "classifier 8x8x64->1x1x10\n" in said
    assert "priced at 32 pixels and 10 classes" in said
    assert "--resolution 224 --num-classes 1000" in said


def test_the_table_s_shape_is_priced_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    said = missing(capsys, OWN, "--resolution", 224, "--num-classes", 1000)
    assert "conv 224x224x3->112x112x16" in said
    assert "classifier 56x56x64->1x1x1000\n" in said
    assert "is priced at" not in said


def test_another_network_still_takes_the_table_s_shape(pixel1: LatencyTable) -> None:
    arch = load_architecture("proxyless-mobile")
    assert own_shape_note("n", arch, pixel1) is None
    assert at_deployment_shape(arch, pixel1).num_classes == 1000


def test_a_file_at_the_table_s_shape_needs_no_words(pixel1: LatencyTable) -> None:
    arch = architecture_from_onnx(OWN).with_shape(resolution=224, num_classes=1000)
    assert own_shape_note("n", arch, pixel1) is None


def test_a_batch_other_than_the_table_s_is_refused(tmp_path: Path, pixel1: LatencyTable) -> None:
    def set_batch(size: int, name: str = "") -> Path:
        def change(graph: Any) -> None:
            first = graph.input[0].type.tensor_type.shape.dim[0]
            first.Clear()
            if name:
                first.dim_param = name
            else:
                first.dim_value = size

        return changed(OWN, tmp_path, change)

    with pytest.raises(PredictorError, match=r"runs a batch of 8.*of batch 1.*--batch-size 8"):
        at_deployment_shape(load_architecture(str(set_batch(8))), pixel1)
    assert at_deployment_shape(load_architecture(str(set_batch(0, "N"))), pixel1).resolution == 32
    other = pixel1.with_metadata(batch_size=8)
    assert at_deployment_shape(load_architecture(str(set_batch(8))), other).resolution == 32


def test_an_open_size_is_asked_for(tmp_path: Path) -> None:
    def opened(graph: Any) -> None:
        for dimension in graph.input[0].type.tensor_type.shape.dim[2:]:
            dimension.dim_param = "side"

    path = changed(OWN, tmp_path, opened)
    with pytest.raises(PredictorError, match="Say which are priced: --resolution N"):
        load_architecture(str(path))
    assert load_architecture(str(path), 64).resolution == 64


def test_values_kept_outside_the_file_are_read_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = architecture_from_onnx(ONNX / "p10_external_clip_bounds.onnx")
    assert [layer.op for layer in found.blocks] == ["mbconv", "mbconv"]
    assert {layer.act for layer in found.blocks} == {"relu6"}
    monkeypatch.chdir(ONNX)
    assert architecture_from_onnx(Path("p10_external_clip_bounds.onnx")).blocks == found.blocks


def test_values_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = shutil.copyfile(ONNX / "p10_external_clip_bounds.onnx", tmp_path / "m.onnx")
    with pytest.raises(PredictorError, match="a constant that cannot be read"):
        architecture_from_onnx(path)


def test_a_suffix_in_capitals_is_a_suffix(tmp_path: Path) -> None:
    path = shutil.copyfile(OWN, tmp_path / "M.ONNX")
    assert load_architecture(str(path)).num_classes == 10


def test_hard_swish_written_out_and_batch_norm_kept_are_the_same_ops() -> None:
    plain = architecture_from_onnx(OWN)
    swish = architecture_from_onnx(ONNX / "p04_hswish_hardsigmoid_mul_opset13.onnx")
    norm = architecture_from_onnx(ONNX / "p08_batchnorm_kept.onnx")
    assert {layer.act for layer in swish.blocks} == {"hswish"}
    assert {layer.act for layer in norm.blocks} == {"relu"}
    for other in (swish, norm):
        assert [layer.op for layer in other.stem + other.blocks + other.head] == [
            layer.op for layer in plain.stem + plain.blocks + plain.head
        ]
        assert [layer.expand for layer in other.blocks] == [layer.expand for layer in plain.blocks]


def test_a_hard_sigmoid_of_another_slope_is_no_hard_swish(tmp_path: Path) -> None:
    def steeper(graph: Any) -> None:
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "HardSigmoid" and attribute.name == "alpha":
                    attribute.f = 0.2

    source = ONNX / "p04_hswish_hardsigmoid_mul_opset13.onnx"
    with pytest.raises(PredictorError, match=r"HardSigmoid of slope 0\.2"):
        architecture_from_onnx(changed(source, tmp_path, steeper))


def test_a_clip_of_other_bounds_is_still_refused(tmp_path: Path) -> None:
    def wider(graph: Any) -> None:
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.size == 1 and float(array.item()) == 6.0:
                tensor.CopyFrom(numpy_helper.from_array(np.full_like(array, 5.0), tensor.name))

    with pytest.raises(PredictorError, match="not ReLU6"):
        architecture_from_onnx(changed(OWN, tmp_path, wider))
