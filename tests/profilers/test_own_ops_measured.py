"""Ops of one's own on real runtimes: other processes receive model files, never their names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import proxyless_hw as ph
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.models import tflite_cache
from proxyless_hw.profilers.networks import measure_in_fresh_process
from proxyless_hw.profilers.protocol.measurement import Measuring
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.space import op_registry
from proxyless_hw.space.search_space import SearchSpace

SPACE = {
    "schema": "proxyless-hw-space/1",
    "id": "own",
    "resolution": 16,
    "num_classes": 4,
    "stem": {"op": "conv", "kernel": 3, "stride": 2, "width": 8},
    "candidates": [{"op": "mbconv", "kernel": 3, "expand": 3}, {"op": "own_conv", "kernel": 3}],
    "stages": [{"width": 8, "depth": 1, "stride": 1}],
    "head": [{"op": "classifier"}],
}


def own_conv(layer: ph.LayerSpec, batch_norm: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(layer.in_c, layer.out_c, layer.kernel, layer.stride, layer.kernel // 2), nn.ReLU()
    )


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> SearchSpace:
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", {})
    ph.register_op("own_conv")(own_conv)
    return SearchSpace.from_dict(SPACE)


def test_a_space_with_an_own_op_is_profiled(space: SearchSpace) -> None:
    table = ph.profile(space, runtime="onnxruntime", goal=0.9, sessions=1, quiet=True)
    assert table.missing(space.ops()) == []
    low, high = ph.feasible_range(space, table)
    assert 0 < low < high


def test_a_fresh_process_measures_a_network_with_an_own_op(space: SearchSpace) -> None:
    arch = ph.Architecture.from_choices(space, (1,))
    how = Measuring(timing=TimingConfig(goal=0.9, budget_s=20, spend=False), sessions=1)
    (found,) = measure_in_fresh_process(archs=[arch], how=how)
    assert found.name == "network 0"
    assert found.median > 0


def test_own_ops_are_converted_here_and_kept_by_what_they_build(
    space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("litert_torch")

    def refused(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a converter process was started")

    monkeypatch.setattr(subprocess, "Popen", refused)
    op = next(op for op in space.ops() if op.op == "own_conv")
    workload = Workload(op.key, op=op)
    settings = ProfilerSettings()
    (model,) = tflite_cache.tflite_models([workload], settings, folder=tmp_path)
    assert model[4:8] == b"TFL3"
    assert tflite_cache.missing_models([workload], settings, tmp_path) == []
    # Another module under the same name is another model.
    ph.register_op("own_conv")(lambda layer, batch_norm: nn.Conv2d(layer.in_c, layer.out_c, 1))
    assert tflite_cache.missing_models([workload], settings, tmp_path) == [workload]
    assert len(os.listdir(tmp_path)) == 1
