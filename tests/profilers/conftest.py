"""Small model files that several test modules run; converted once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_ops import CONTRACT_OPS, SMALL_OPS, TINY_SPACE, small_workloads
from tiny_spaces import TO_PROFILE

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.models.building import IDENTITY, REFERENCE_OP
from proxyless_hw.profilers.models.model_files import write_model_files
from proxyless_hw.profilers.models.tflite_cache import tflite_models
from proxyless_hw.space.search_space import SearchSpace


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


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TO_PROFILE)
    return path
