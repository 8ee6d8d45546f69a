"""Public functions given something of another kind: one sentence that says what they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import proxyless_hw as ph

MODULE = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
ANY: Any = ph  # what is given here is of the wrong type on purpose

CASES: dict[str, tuple[Callable[[], object], str]] = {
    "fit_predictor": (lambda: ANY.fit_predictor(None), "a table is a LatencyTable, a shipped"),
    "fit_predictor name": (lambda: ph.fit_predictor("pixl1"), "Did you mean 'pixel1'"),
    "predict_ms": (lambda: ANY.fit_predictor("pixel1").predict_ms(MODULE), "has network.arch"),
    "latency_ms": (lambda: ANY.LatencyTable.load("pixel1").latency_ms(MODULE), "received Seq"),
    "build_network": (lambda: ANY.build_network("proxyless-mobile"), "load_architecture"),
    "from_choices": (lambda: ANY.Architecture.from_choices("imagenet", [0]), "SearchSpace.load"),
    "load_architecture": (lambda: ANY.load_architecture(MODULE), "by name or path"),
    "SuperNet": (lambda: ANY.SuperNet(3), "a space is a SearchSpace, a shipped name"),
    "ExpectedLatency": (lambda: ANY.ExpectedLatency(3, "pixel1"), "a space is a SearchSpace"),
    "profile": (lambda: ANY.profile(3), "a space is a SearchSpace"),
    "missing_ops": (lambda: ANY.missing_ops("pixel1", 3), "a space is a SearchSpace"),
    "run_search": (lambda: ANY.run_search({"epochs": 1}), "settings are a SearchConfig"),
    "run_training": (lambda: ANY.run_training({"epochs": 1}), "settings are a TrainConfig"),
    "evaluate": (lambda: ANY.evaluate(MODULE), "a run folder or a network of this package"),
    "verify": (lambda: ANY.verify(MODULE, "pixel1", target_ms=3), "verify takes a file"),
    "benchmark": (lambda: ANY.benchmark(["a.onnx"]), "received list. Several: benchmark_all"),
    "benchmark table": (lambda: ANY.benchmark("a", table=3), "a table is a LatencyTable"),
    "benchmark_all": (lambda: ANY.benchmark_all("a.onnx"), "targets is a list"),
    "export": (lambda: ANY.export("proxyless-mobile", "x"), "ph.export_run"),
    "export example": (
        lambda: ANY.export(MODULE, "x", example=(torch.zeros(1, 3, 8, 8),)),
        "example is one tensor or array .* received tuple",
    ),
    "count_macs": (lambda: ANY.count_macs("proxyless-mobile"), "load_architecture"),
    "to_timm_text": (lambda: ANY.to_timm_text(MODULE), "received Sequential"),
    "transfer": (lambda: ph.transfer("pixel1"), "needs measurements of the new device"),
    "derive_run": (lambda: ph.derive_run("no-run", target_ms=3, quiet=True), "is it the folder"),
    "pareto": (lambda: ph.pareto("no-run", points=1), "2 to 1000 points"),
    "calibrate": (lambda: ph.calibrate("pixel1", quiet=True), "Copy the table"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, text = CASES[name]
    with pytest.raises(ph.ProxylessHwError, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_name_stands_for_a_space_a_table_and_a_network() -> None:
    space, table = ph.SearchSpace.load("imagenet"), ph.LatencyTable.load("pixel1")
    by_names = ph.ExpectedLatency("imagenet", "pixel1").costs
    by_objects = ph.ExpectedLatency(space, ph.fit_predictor(table)).costs
    assert (by_names.slots == by_objects.slots)[by_objects.mask].all()
    assert ph.feasible_range("imagenet", "pixel1") == by_objects.range
    assert [row.shape for row in ph.SuperNet("cifar-mbconv", 2).alpha[:1]] == [torch.Size([7])]
