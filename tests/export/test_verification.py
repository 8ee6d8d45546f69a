"""The check of exported files: what passes, what fails, and what is left behind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import images, small_network

from proxyless_hw.errors import ExportError
from proxyless_hw.export import export, verify
from proxyless_hw.export.export import ExportConfig, Target, export_network, whole_set
from proxyless_hw.export.images import ExportData, random_data
from proxyless_hw.export.manifest import write_manifest
from proxyless_hw.export.metadata import read_metadata
from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.export.verify import require_passed, torch_outputs, verify_bytes

CONFIG = ExportConfig(resolution=32, weights="random for a test")


def labelled(count: int = 40) -> ExportData:
    """Images whose labels are what the small network says, but for every fourth."""
    x = images(count)
    labels = torch_outputs(small_network(), x).argmax(1)
    labels[::4] = (labels[::4] + 1) % 5
    return ExportData(
        images=x,
        labels=labels,
        calibration=images(16, seed=9),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        class_names=("a", "b", "c", "d", "é"),
        source="made-up images",
    )


def test_the_whole_set_is_written_checked_and_listed(tmp_path: Path) -> None:
    data = labelled()
    network = small_network()
    said: list[str] = []
    files = export_network(network, whole_set(tmp_path, "net"), CONFIG, data, said.append)
    assert [file.target.path.name for file in files] == [
        "net-fp32.onnx",
        "net-fp32.tflite",
        "net-fp16.tflite",
        "net-int8.tflite",
        "net-int8-dynamic.tflite",
    ]
    assert len(said) == 5
    for file in files:
        content = file.target.path.read_bytes()
        assert file.size == len(content)
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.verification is not None
        assert file.verification.passed
        assert file.verification.accuracy_before == pytest.approx(0.75)
    write_manifest(tmp_path / "manifest.json", files, network, CONFIG)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [entry["sha256"] for entry in manifest["files"]] == [file.sha256 for file in files]
    assert {item.name for item in tmp_path.iterdir()} == {
        "manifest.json",
        *(file.target.path.name for file in files),
    }
    for name in ("net-fp32.onnx", "net-int8.tflite"):
        document = read_metadata(tmp_path / name)
        assert document is not None
        assert document["output"]["labels"] == ["a", "b", "c", "d", "é"]
        assert document["input"]["mean"] == [0.5, 0.5, 0.5]
        assert document["weights"] == "random for a test"
        assert document["architecture"]["space"] == "small"
    first = document["input"]["shape"]
    assert first == [1, 32, 32, 3]


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    targets = [Target("onnx", "fp32", tmp_path / name) for name in ("a.onnx", "b.onnx")]
    for target in targets:
        export_network(small_network(), [target], CONFIG, random_data(32))
    assert targets[0].path.read_bytes() == targets[1].path.read_bytes()


def test_a_file_that_fails_does_not_get_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another(module: torch.nn.Module, *args: object, **options: object) -> bytes:
        for parameter in module.parameters():
            parameter.data.mul_(1.01)
        model = onnx_bytes(module, (1, 3, 32, 32))
        for parameter in module.parameters():
            parameter.data.div_(1.01)
        return model

    monkeypatch.setattr(export, "onnx_bytes", of_another)
    target = Target("onnx", "fp32", tmp_path / "net.onnx")
    with pytest.raises(ExportError, match=r"net.onnx differs too much .*0\.0001 standard"):
        export_network(small_network(), [target], CONFIG, random_data(32))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "net.onnx").write_text("the last good one")
    with pytest.raises(ExportError, match="was not kept"):
        export_network(small_network(), [target], CONFIG, random_data(32))
    assert (tmp_path / "net.onnx").read_text() == "the last good one"


def test_without_the_check_nothing_is_compared(tmp_path: Path) -> None:
    config = ExportConfig(resolution=32, verify=False)
    target = Target("onnx", "fp32", tmp_path / "net.onnx")
    (written,) = export_network(small_network(), [target], config, random_data(32))
    assert written.verification is None
    assert target.path.is_file()


def verified(expected: np.ndarray, precision: str, labels: np.ndarray | None = None) -> object:
    """Checks the exact fp32 file against outputs that are not the network's."""
    x = images(len(expected))
    model = onnx_bytes(small_network(), (1, 3, 32, 32))
    return verify_bytes(model, "onnx", precision, expected, x, labels=labels, source="test images")


@pytest.mark.parametrize(
    ("precision", "noise", "passes"),
    [("fp32", 5e-5, True), ("fp32", 3e-4, False), ("fp16", 5e-3, True), ("fp16", 2e-2, False)],
)
def test_float_files_are_judged_by_their_largest_difference(
    precision: str, noise: float, passes: bool
) -> None:
    true = torch_outputs(small_network(), images(8))
    shifted = true.copy()
    shifted[3, 2] += noise * true.std()
    result = verified(shifted, precision)
    assert result.passed is passes
    assert result.max_difference == pytest.approx(noise, rel=0.05)


# The one-sided 95% bound of the loss, by hand: of 5 of 200 images 0.7 points, of 6 of 200 1.02.
@pytest.mark.parametrize(("wrong", "passes"), [(0, True), (2, True), (5, True), (6, False)])
def test_int8_files_are_judged_by_accuracy_lost_of_200_images(wrong: int, passes: bool) -> None:
    x = images(200)
    true = torch_outputs(small_network(), x)
    labels = true.argmax(1)
    # The "network" is right everywhere; the file is wrong where labels and outputs were swapped.
    better = true.copy()
    for index in range(wrong):
        labels[index] = (labels[index] + 1) % 5
        better[index] = np.roll(true[index], 1)
    result = verified(better, "int8", labels)
    assert result.accuracy_before == 1.0
    assert result.accuracy_after == pytest.approx(1 - wrong / 200)
    assert result.passed is passes


def test_images_that_change_sides_both_ways_are_chance() -> None:
    """9.75% after 11.1% on 359 images where 20 were lost and 15 gained: no shown loss."""
    before = np.zeros(359, bool)
    before[:40] = True
    after = before.copy()
    after[:20], after[40:55] = False, True
    assert verify._keeps_accuracy(before, after)
    after[40:55] = False
    assert not verify._keeps_accuracy(before, after)


def test_int8_without_labels_catches_gross_faults_only() -> None:
    true = torch_outputs(small_network(), images(8))
    assert verified(true, "int8").passed
    assert not verified(np.roll(true, 1, axis=1), "int8").passed


def test_outputs_that_do_not_vary_cannot_be_compared() -> None:
    with pytest.raises(ExportError, match="the same output for every image"):
        verified(np.zeros((2, 5), np.float32), "fp32")
    one = torch_outputs(small_network(), images(1))
    with pytest.raises(ExportError, match="the same output for every image"):
        verified(np.repeat(one, 3, axis=0), "fp32")
    with pytest.raises(ExportError, match="no numbers"):
        verified(np.full((2, 5), np.nan, np.float32), "fp32")


def test_outputs_that_are_no_numbers_fail() -> None:
    network = small_network()
    expected = torch_outputs(network, images(2))
    network.head[1].linear.bias.data[0] = float("nan")
    result = verify_bytes(
        onnx_bytes(network, (1, 3, 32, 32)), "onnx", "fp32", expected, images(2), source="noise"
    )
    assert not result.passed
    with pytest.raises(ExportError, match="differs too much"):
        require_passed(result, "net.onnx")


def test_torch_outputs_keep_the_mode_and_the_images() -> None:
    network, x = small_network().train(), images(3)
    before = x.copy()
    first = torch_outputs(network, x, batch=2)
    assert network.training
    assert np.array_equal(x, before)
    assert first == pytest.approx(torch_outputs(network, x), abs=1e-5)


def test_normalising_inside_without_data_is_refused(tmp_path: Path) -> None:
    config = ExportConfig(resolution=32, normalise_in_graph=True)
    with pytest.raises(ExportError, match="needs the data's mean"):
        export_network(
            small_network(),
            [Target("onnx", "fp32", tmp_path / "n.onnx")],
            config,
            random_data(32),
        )


def test_an_open_batch_is_for_onnx_only(tmp_path: Path) -> None:
    config = ExportConfig(resolution=32, batch_size=None)
    export_network(
        small_network(), [Target("onnx", "fp32", tmp_path / "n.onnx")], config, random_data(32)
    )
    with pytest.raises(ExportError, match="fixed batch size"):
        export_network(
            small_network(),
            [Target("tflite", "fp32", tmp_path / "n.tflite")],
            config,
            random_data(32),
        )


def test_metadata_of_foreign_or_damaged_files(tmp_path: Path) -> None:
    plain = tmp_path / "plain.onnx"
    plain.write_bytes(onnx_bytes(small_network(), (1, 3, 32, 32)))
    assert read_metadata(plain) is None
    (tmp_path / "bad.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ExportError, match="not an ONNX file"):
        read_metadata(tmp_path / "bad.onnx")
    (tmp_path / "bad.tflite").write_bytes(b"nothing of the sort")
    with pytest.raises(ExportError, match="TFL3"):
        read_metadata(tmp_path / "bad.tflite")
    with pytest.raises(ExportError, match="cannot read"):
        read_metadata(tmp_path / "absent.onnx")
