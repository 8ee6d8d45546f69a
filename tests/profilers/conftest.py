"""Small model files that several test modules run; converted once."""

from __future__ import annotations

import pytest

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.model_files import write_model_files
from proxyless_hw.specs import OpSpec

SMALL_OPS = (
    OpSpec("conv", 16, 16, 3, 8, 8, 8, kernel=3, stride=2, act="relu6"),
    OpSpec("mbconv", 8, 8, 8, 8, 8, 8, kernel=3, expand=3, skip=True, act="relu6"),
    OpSpec("classifier", 8, 8, 8, 1, 1, 10),
)


def small_workloads() -> list[Workload]:
    """Three ops that take microseconds."""
    return [Workload(op.key, op=op) for op in SMALL_OPS]


@pytest.fixture(scope="session")
def tflite_workloads(tmp_path_factory: pytest.TempPathFactory) -> list[Workload]:
    """The small ops as .tflite files, ready to be pushed to a stand-in phone."""
    folder = tmp_path_factory.mktemp("models")
    files = write_model_files(small_workloads(), ProfilerSettings(), "tflite", folder)
    return [Workload(op.key, file=file) for op, file in zip(SMALL_OPS, files, strict=True)]
