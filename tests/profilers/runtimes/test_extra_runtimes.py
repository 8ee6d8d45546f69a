"""OpenVINO and ExecuTorch: what is true of them beyond the contract suite."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import proxyless_hw as ph
from proxyless_hw.errors import BackendUnavailableError, ExportError, ProfilingError
from proxyless_hw.predictors.measured import options_of
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.registry import get_profiler

MODULES = {
    "openvino": "openvino",
    "executorch": "executorch.extension.pybindings.portable_lib",
}


def needs(package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed: make setup-devices")


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()


@pytest.fixture(scope="module")
def pte(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("executorch")
    folder = tmp_path_factory.mktemp("pte")
    images = torch.randn(4, 3, 16, 16)
    return ph.export(module, folder, [("pte", "fp32")], data=images, quiet=True)[0].path


@pytest.mark.parametrize("name", MODULES)
def test_without_the_extra_one_message_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    with pytest.raises(BackendUnavailableError, match=rf"proxyless-hw\[{name}\]"):
        get_profiler("cpu", ProfilerSettings(runtime=name)).describe()


def test_openvino_computes_in_fp32_and_the_header_says_so() -> None:
    needs("openvino")
    from proxyless_hw.profilers.runtimes.openvino import compile_model

    profiler = get_profiler("cpu", ProfilerSettings(runtime="openvino"))
    header = profiler.describe()
    assert json.loads(header["options"]) == {"inference_precision": "f32"}
    assert options_of(header)["inference_precision"] == "f32"
    model = _onnx_of(nn.Conv2d(3, 4, 3), (1, 3, 8, 8))
    compiled = compile_model(model, 1, "a convolution")
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1


def test_openvino_gives_what_torch_gives(module: nn.Module) -> None:
    needs("openvino")
    from proxyless_hw.profilers.runtimes.openvino import compile_model

    image = torch.randn(1, 3, 16, 16)
    outputs = compile_model(_onnx_of(module, (1, 3, 16, 16)), 1, "a network")([image.numpy()])
    np.testing.assert_allclose(outputs[0], module(image).detach().numpy(), atol=1e-5)


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    needs("openvino")
    from proxyless_hw.profilers.runtimes.openvino import compile_model

    with pytest.raises(ProfilingError, match="cannot open the broken one"):
        compile_model(b"this is no model", 1, "the broken one")


def _onnx_of(module: nn.Module, shape: tuple[int, ...]) -> bytes:
    from proxyless_hw.export.onnx_file import onnx_bytes

    return onnx_bytes(module.eval(), shape)


def test_a_program_gives_what_torch_gives_each_time(pte: Path, module: nn.Module) -> None:
    from proxyless_hw.export.pte_file import open_pte

    method = open_pte(pte.read_bytes(), "a program")
    for seed in (0, 1):
        image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        np.testing.assert_allclose(
            method([image])[0].numpy(), module(image).detach().numpy(), atol=1e-5
        )


def test_its_convolutions_are_xnnpacks(pte: Path) -> None:
    content = pte.read_bytes()
    assert b"XnnpackBackend" in content
    assert b"aten::convolution" not in content


def test_a_program_says_what_it_takes_and_how_it_was_made(pte: Path) -> None:
    from proxyless_hw.export.metadata import read_metadata
    from proxyless_hw.profilers.models.file_shapes import file_setting

    setting = file_setting(pte, None)
    assert setting.input_shape == "1x3x16x16"
    assert (setting.batch_size, setting.num_classes) == (1, 5)
    document = read_metadata(pte)
    assert document is not None
    assert document["input"]["layout"] == "NCHW"
    assert document["input"]["shape"] == [1, 3, 16, 16]


def test_a_program_is_measured_by_the_runtime_that_its_name_says(pte: Path) -> None:
    found = ph.benchmark(pte, budget_s=1)
    assert found.median > 0
    with pytest.raises(ProfilingError, match="is run by executorch"):
        ph.benchmark_all([pte], runtimes=["onnxruntime", "openvino"], budget_s=1)


def test_a_program_has_one_batch_and_one_precision(module: nn.Module, tmp_path: Path) -> None:
    example = torch.zeros(1, 3, 16, 16)
    with pytest.raises(ExportError, match="fixed batch size"):
        ph.export(module, tmp_path, [("pte", "fp32")], example=example, batch_size=None)
    with pytest.raises(ExportError, match=r"Known: .*'pte', 'fp32'"):
        ph.export(module, tmp_path, [("pte", "int8")], example=example)  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_several_threads_are_several(pte: Path) -> None:
    from proxyless_hw.export.pte_file import import_executorch

    profiler = get_profiler("cpu", ProfilerSettings(runtime="executorch", threads=2))
    with profiler.open([Workload(str(pte), file=pte)]) as session:
        assert session.visit([0])[0].value > 0
        assert import_executorch()._threadpool_get_thread_count() == 2
