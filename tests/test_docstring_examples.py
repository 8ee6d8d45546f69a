"""Examples in docstrings that a plain doctest skips, run in a folder that has what they name."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from own_data import focal, shades, worst_class_recall

import proxyless_hw as ph
from proxyless_hw.formats.published import published_state_dict
from proxyless_hw.tables.table import Entry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MEASURED = {
    *("benchmark_all", "calibrate", "profile", "validate", "verify"),  # minutes, or other files
    *("search_resolutions", "specialize"),
}
"""Names whose examples measure for long, or search for long: the tests of the commands run them."""


SPACE: dict[str, Any] = {
    "schema": "proxyless-hw-space/1",
    "id": "example",
    "resolution": 16,
    "num_classes": 3,
    "stem": {"op": "conv", "kernel": 3, "stride": 2, "width": 8},
    "candidates": [{"op": "mbconv", "kernel": kernel, "expand": 3} for kernel in (3, 5, 7)],
    "zero": True,
    "stages": [{"width": 8, "depth": 4, "stride": 1}],
    "head": [{"op": "classifier"}],
}


def made_up_table(space: ph.SearchSpace, classes: int) -> ph.LatencyTable:
    """Costs that are multiples of half a millisecond, so that the examples' targets are reached."""
    values = {op: 0.5 if op.op != "mbconv" else op.kernel / 2 - 1 for op in space.ops(16, classes)}
    entries = {op: Entry(value, 0.99 * value, 1.01 * value) for op, value in values.items()}
    header = {"metric": "latency", "unit": "ms", "device": "made up", "num_classes": str(classes)}
    return ph.LatencyTable(entries, header, "made up")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished search in runs/x and a checkpoint under published names."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "space.yaml").write_text(json.dumps(SPACE))  # JSON is YAML
    made_up_table(ph.SearchSpace.from_dict(SPACE), 10).save(folder / "table.csv")
    ph.run_search(
        ph.SearchConfig(
            space=str(folder / "space.yaml"),
            table=str(folder / "table.csv"),
            target_ms=6,
            limit=96,
            train_resolution=16,
            batch_size=16,
            warmup_epochs=1,
            epochs=1,
            finalists=1,
            output=str(folder / "runs" / "x"),
        )
    )
    network = ph.build_network(ph.load_architecture("proxyless-mobile"), seed=0)
    torch.save(published_state_dict(network), folder / "proxyless_mobile.pth")
    ph.export(network, folder, example=torch.zeros(1, 3, 32, 32), name="model", quiet=True)
    (folder / "model-fp32.onnx").rename(folder / "model.onnx")
    return folder


def skipped() -> list[str]:
    names = [name for name in ph.__all__ if name != "__version__" and name not in MEASURED]
    return [name for name in names if "+SKIP" in (getattr(ph, name).__doc__ or "")]


@pytest.mark.filterwarnings("ignore:weights are the supernet's")
@pytest.mark.parametrize("name", skipped())
def test_a_skipped_example_runs(
    name: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if name == "export_run":
        pytest.importorskip("litert_torch", reason="its example writes a TFLite file")
    monkeypatch.chdir(workspace)
    space = ph.SearchSpace.from_dict(SPACE)
    given: dict[str, Any] = {
        "space": space,
        "table": made_up_table(space, 3),
        "data": shades(),
        "focal": focal,
        "worst_class_recall": worst_class_recall,
    }
    if name == "run_training":
        arch = ph.Architecture.from_choices(space, [0] * 4, num_classes=3)
        given["result"] = type("Result", (), {"architecture": arch,
                                              "network": ph.build_network(arch)})  # fmt: skip
    text = getattr(ph, name).__doc__.replace("# doctest: +SKIP", "")
    for example in doctest.DocTestParser().get_examples(text):
        exec(compile(example.source, f"example of {name}", "single"), given)


def test_only_what_takes_long_is_left_out() -> None:
    assert {name for name in MEASURED if "+SKIP" in getattr(ph, name).__doc__} == MEASURED
