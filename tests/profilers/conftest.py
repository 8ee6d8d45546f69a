"""Small model files that several test modules run; converted once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.building import IDENTITY, REFERENCE_OP
from proxyless_hw.profilers.model_files import write_model_files
from proxyless_hw.profilers.tflite_cache import tflite_models
from proxyless_hw.space import SearchSpace
from proxyless_hw.specs import OpSpec

SMALL_OPS = (
    OpSpec("conv", 16, 16, 3, 8, 8, 8, kernel=3, stride=2, act="relu6"),
    OpSpec("mbconv", 8, 8, 8, 8, 8, 8, kernel=3, expand=3, skip=True, act="relu6"),
    OpSpec("classifier", 8, 8, 8, 1, 1, 10),
)


CONTRACT_OPS = (
    OpSpec("conv", 8, 8, 3, 4, 4, 8, kernel=3, stride=2, act="relu6"),
    OpSpec("mbconv", 64, 64, 24, 64, 64, 24, kernel=5, expand=6, skip=True, act="relu6"),
)

TINY_SPACE = """\
schema: proxyless-hw-space/1
id: tiny
resolution: 16
num_classes: 10
stem: {op: conv, kernel: 3, stride: 2, width: 8}
candidates:
  - {op: mbconv, kernel: 3, expand: 3}
  - {op: mbconv, kernel: 5, expand: 3}
zero: true
stages:
  - {width: 8, depth: 1, stride: 1}
head:
  - {op: classifier}
"""


def small_workloads() -> list[Workload]:
    """Three ops that take microseconds."""
    return [Workload(op.key, op=op) for op in SMALL_OPS]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted models of tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def converted(_own_cache: None) -> None:
    """Every op that these tests convert, converted in one go, since converters start slowly."""
    space = SearchSpace.from_yaml(TINY_SPACE)
    ops = dict.fromkeys((*SMALL_OPS, *CONTRACT_OPS, *space.ops(), REFERENCE_OP))
    workloads = [Workload(op.key, op=op, batch_norm=space.batch_norm) for op in ops]
    tflite_models([*workloads, IDENTITY], ProfilerSettings())


@pytest.fixture(scope="session")
def tflite_workloads(converted: None, tmp_path_factory: pytest.TempPathFactory) -> list[Workload]:
    """The small ops as .tflite files, ready to be pushed to a stand-in phone."""
    folder = tmp_path_factory.mktemp("models")
    files = write_model_files(small_workloads(), ProfilerSettings(), "tflite", folder)
    return [Workload(op.key, file=file) for op, file in zip(SMALL_OPS, files, strict=True)]
