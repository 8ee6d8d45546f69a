"""Small model files that several test modules run; converted once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_ops import LARGE_OP, SMALL_OPS, TINY_SPACE, small_workloads
from tiny_spaces import TO_PROFILE

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.models.building import IDENTITY, REFERENCE_OP
from proxyless_hw.profilers.models.model_files import write_model_files
from proxyless_hw.profilers.models.tflite_cache import tflite_models
from proxyless_hw.space.search_space import SearchSpace


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of one run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def _own_cache(_shared: Path) -> Iterator[None]:
    """Converted models of tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(_shared / "profilers-cache"))
        yield


@pytest.fixture(scope="session")
def converted(_own_cache: None, _shared: Path) -> None:
    """Every op that these tests convert, converted in one go and by one process of the tests."""
    space = SearchSpace.from_yaml(TINY_SPACE)
    ops = dict.fromkeys((*SMALL_OPS, LARGE_OP, *space.ops(), REFERENCE_OP))
    workloads = [Workload(op.key, op=op, batch_norm=space.batch_norm) for op in ops]
    with Path(_shared / "converting.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # One process: to load the converter takes as long as to convert four ops.
        tflite_models([*workloads, IDENTITY], ProfilerSettings(), processes=1)


@pytest.fixture(scope="session")
def tflite_workloads(converted: None, tmp_path_factory: pytest.TempPathFactory) -> list[Workload]:
    """The small ops as .tflite files, ready to be pushed to a stand-in phone."""
    folder = tmp_path_factory.mktemp("models")
    files = write_model_files(small_workloads(), ProfilerSettings(), "tflite", folder)
    return [Workload(op.key, file=file) for op, file in zip(SMALL_OPS, files, strict=True)]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TO_PROFILE)
    return path
