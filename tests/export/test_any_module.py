"""Exporting any module from Python, and timing what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_networks import images, small_network
from torch import nn

import proxyless_hw as ph
from proxyless_hw.errors import ExportError, ProfilingError
from proxyless_hw.export.metadata import read_metadata


@pytest.fixture
def changed() -> nn.Module:
    """A network of this package whose head was replaced by one with two outputs."""
    network = small_network()
    network.head[-1] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 2))
    return network.eval()


def test_a_network_whose_head_was_changed_is_written_as_it_is(
    changed: nn.Module, tmp_path: Path
) -> None:
    batch = images(8)
    (file,) = ph.export(changed, tmp_path, data=batch, name="points", quiet=True)
    assert (file.path.name, file.format, file.precision) == ("points-fp32.onnx", "onnx", "fp32")
    assert file.agreement == 1.0
    session = onnxruntime.InferenceSession(file.path)
    found = np.concatenate([session.run(None, {"input": one[None]})[0] for one in batch])
    with torch.no_grad():
        expected = changed(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    document = read_metadata(file.path)
    assert document is not None
    assert document["output"]["shape"] == [1, 2]
    # The architecture is no longer that of the network.
    assert document["architecture"] is None


def test_a_network_as_it_was_built_carries_its_architecture(tmp_path: Path) -> None:
    (file,) = ph.export(small_network(), tmp_path, check=False, quiet=True)
    document = read_metadata(file.path)
    assert document is not None
    assert document["architecture"]["space"] == "small"
    assert file.agreement is None


@pytest.mark.parametrize("channels", [1, 2])
def test_a_module_of_other_channels_needs_only_an_example(tmp_path: Path, channels: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    (file,) = ph.export(network, tmp_path, example=torch.zeros(1, channels, 8, 8), quiet=True)
    (value,) = onnx.load(file.path).graph.input
    assert [size.dim_value for size in value.type.tensor_type.shape.dim] == [1, channels, 8, 8]


def test_a_shape_that_nobody_says_or_two_say_differently_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"has no known input: give example="):
        ph.export(nn.Conv2d(3, 4, 3), tmp_path, quiet=True)
    with pytest.raises(ExportError, match=r"received data 3x16x16, network 3x32x32"):
        ph.export(small_network(), tmp_path, data=images(4, 16), quiet=True)
    with pytest.raises(ExportError, match="H equal to W"):
        ph.export(nn.Conv2d(3, 4, 3), tmp_path, example=torch.zeros(1, 3, 8, 16), quiet=True)


@pytest.mark.parametrize("target", [("onnx", "int4"), ("onnx", "int8-dynamic"), ("pt", "fp32")])
def test_a_target_that_nobody_writes_is_refused(tmp_path: Path, target: tuple[str, str]) -> None:
    with pytest.raises(ExportError, match="a target is a pair of format and precision"):
        ph.export(small_network(), tmp_path, [target], quiet=True)  # type: ignore[list-item]


def test_benchmark_times_a_file_a_module_and_an_architecture(
    changed: nn.Module, tmp_path: Path
) -> None:
    (file,) = ph.export(changed, tmp_path, check=False, quiet=True)
    arch = small_network().arch
    for target in (file.path, str(file.path), changed, arch):
        found = ph.benchmark(target, budget_s=3, goal=0.9, quiet=True)
        assert found.unit == "ms"
        assert 0 < found.ci_low <= found.median <= found.ci_high


def test_benchmark_names_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ProfilingError, match=r"give input_shape="):
        ph.benchmark(nn.Conv2d(3, 4, 3), quiet=True)
    with pytest.raises(ProfilingError, match="no model file"):
        ph.benchmark(tmp_path / "none.onnx", quiet=True)


@pytest.mark.parametrize("targets", ["onnx", [("onxn", "fp32")], [("onnx",)], [3]])
def test_targets_that_are_no_pairs_are_refused(targets: object, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a target is a pair of format and precision"):
        ph.export(nn.Conv2d(3, 4, 1), tmp_path, targets=targets, example=torch.zeros(1, 3, 8, 8))


def test_int8_without_images_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    targets = [("onnx", "fp32"), ("onnx", "int8")]
    with pytest.raises(ExportError, match=r"data=images from Python.*int8-dynamic"):
        ph.export(small_network(), tmp_path, targets, quiet=True)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
