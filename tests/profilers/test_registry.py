"""Which profiler serves a device kind, and how third parties join in through entry points."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.registry import get_profiler, known_kinds, runtimes
from proxyless_hw.space.op_registry import custom_ops
from proxyless_hw.space.specs import OpSpec

VENDOR_CODE = '''\
"""A third party's package: a profiler for its board, and an op of its own."""

import torch

from proxyless_hw.profilers.base import Visit


class BoardSession:
    def __init__(self, workloads):
        self.workloads = workloads

    def visit(self, order):
        return [Visit(value=1.0 + index, min=1.0, p90=3.0, calls=1) for index in order]

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass


class BoardProfiler:
    def __init__(self, settings):
        self.settings = settings

    def describe(self):
        setting = {key: "x" for key in ("device", "runtime", "runtime_version", "fingerprint")}
        return {
            **setting, "device_kind": "vendorboard", "threads": "1", "batch_size": "1",
            "precision": "fp32", "metric": "latency", "unit": "ms", "statistic": "median",
        }

    def open(self, workloads):
        return BoardSession(workloads)


def build_grouped(layer, batch_norm):
    convolution = torch.nn.Conv2d(
        layer.in_c, layer.out_c, layer.kernel, layer.stride, layer.kernel // 2, groups=2
    )
    return torch.nn.Sequential(convolution, torch.nn.BatchNorm2d(layer.out_c), torch.nn.SiLU())
'''
ENTRY_POINTS = """\
[proxyless_hw.profilers]
vendorboard = vendor_package:BoardProfiler
brokenboard = vendor_package:Nothing
cpu = vendor_package:BoardProfiler

[proxyless_hw.ops]
vendor_grouped = vendor_package:build_grouped
"""


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A third party's package, installed as pip would: a module and a .dist-info folder."""
    info = tmp_path / "vendor_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    (tmp_path / "vendor_package.py").write_text(VENDOR_CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    custom_ops.cache_clear()
    yield
    sys.modules.pop("vendor_package", None)
    custom_ops.cache_clear()


def test_each_built_in_kind_gives_its_default_runtime() -> None:
    names = {
        kind: type(get_profiler(kind, ProfilerSettings())).__name__
        for kind in ("cpu", "gpu", "mobile")
    }
    assert names == {
        "cpu": "OnnxRuntimeProfiler",
        "gpu": "CudaOnnxRuntimeProfiler",
        "mobile": "AdbProfiler",
    }


def test_an_unknown_kind_names_the_nearest_and_the_list() -> None:
    with pytest.raises(ProfilingError, match=r"Did you mean 'mobile'\? Known: cpu, gpu, mobile"):
        get_profiler("mobil", ProfilerSettings())


def test_an_unknown_runtime_names_the_nearest_and_the_list() -> None:
    with pytest.raises(ProfilingError, match=r"Did you mean 'litert'.*onnxruntime, litert, torch"):
        get_profiler("cpu", ProfilerSettings(runtime="litrt"))
    assert runtimes("cpu")[0] == "onnxruntime"


def test_memory_is_refused_where_the_runtime_does_not_tell() -> None:
    with pytest.raises(BackendUnavailableError, match=r"does not tell its memory.*--runtime torch"):
        get_profiler("cpu", ProfilerSettings(metric="memory"))


@pytest.mark.usefixtures("vendor")
def test_a_third_partys_profiler_is_used_like_ours() -> None:
    assert "vendorboard" in known_kinds()
    profiler = get_profiler("vendorboard", ProfilerSettings(metric="energy"))
    assert type(profiler).__name__ == "BoardProfiler"
    assert profiler.settings.metric == "energy"


@pytest.mark.usefixtures("vendor")
def test_a_third_party_cannot_take_over_a_built_in_kind() -> None:
    assert type(get_profiler("cpu", ProfilerSettings())).__name__ == "OnnxRuntimeProfiler"


@pytest.mark.usefixtures("vendor")
def test_a_registered_profiler_that_cannot_be_loaded_is_one_message() -> None:
    with pytest.raises(BackendUnavailableError, match=r"vendor_package:Nothing but cannot be"):
        get_profiler("brokenboard", ProfilerSettings())


@pytest.mark.usefixtures("vendor")
def test_profile_runs_a_third_partys_device(tmp_path: Path) -> None:
    from proxyless_hw.cli import main
    from proxyless_hw.tables.table import LatencyTable

    out = tmp_path / "board.csv"
    with pytest.raises(SystemExit) as exit_:
        main(
            [
                *("profile", "--device", "vendorboard", "--resolution", "64"),
                *("--output", str(out), "--quiet"),
            ]
        )
    assert exit_.value.code in (0, None)
    table = LatencyTable.load(out)
    assert table.metadata["device_kind"] == "vendorboard"
    assert [entry.value for entry in table.entries.values()] == pytest.approx(
        [1.0 + index for index in range(len(table))]
    )


CUSTOM_SPACE = """\
schema: proxyless-hw-space/1
id: with-a-vendors-op
resolution: 16
num_classes: 10
stem: {op: conv, kernel: 3, stride: 2, width: 8}
candidates:
  - {op: mbconv, kernel: 3, expand: 3}
  - {op: vendor_grouped, kernel: 3}
stages:
  - {width: 8, depth: 1, stride: 1}
head:
  - {op: classifier}
"""


@pytest.mark.usefixtures("vendor")
def test_a_third_partys_op_is_profiled_like_ours(tmp_path: Path) -> None:
    from proxyless_hw.cli import main
    from proxyless_hw.tables.table import LatencyTable

    (tmp_path / "space.yaml").write_text(CUSTOM_SPACE, encoding="utf-8")
    out = tmp_path / "t.csv"
    with pytest.raises(SystemExit) as exit_:
        main(
            [
                *(
                    "profile",
                    "--space",
                    str(tmp_path / "space.yaml"),
                    "--goal",
                    "0.5",
                    "--sessions",
                    "1",
                ),
                *("--output", str(out), "--quiet"),
            ]
        )
    assert exit_.value.code in (0, None)
    table = LatencyTable.load(out)
    custom = [op for op in table.entries if op.op == "vendor_grouped"]
    assert custom == [OpSpec("vendor_grouped", 8, 8, 8, 8, 8, 8, kernel=3)]
    assert table.entries[custom[0]].value > 0
    assert OpSpec.from_key(custom[0].key) == custom[0]


def test_an_op_that_nobody_registered_is_refused(tmp_path: Path) -> None:
    from proxyless_hw.errors import SpaceError
    from proxyless_hw.space.search_space import SearchSpace

    with pytest.raises(SpaceError, match="vendor_grouped"):
        SearchSpace.from_yaml(CUSTOM_SPACE)
