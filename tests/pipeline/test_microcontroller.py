"""From a profile to an int8 file for a microcontroller, memory and latency limited together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tflite_tensors import peak_of_tensors

from proxyless_hw.cli import main
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.space.footprint import within_memory
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

SIDE = 96
LIMIT = 110_000
"""Bytes. The networks of the space need between 74 and 138 kB at this size in int8."""


def run(*words: object) -> None:
    """Runs a command, which must succeed."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert not ended.value.code, words


def result_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return document


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_network_for_a_microcontroller(tmp_path: Path) -> None:
    table, found, trained = (tmp_path / name for name in ("t.csv", "search", "train"))
    run(
        *("profile", "--space", "mcu", "--resolution", SIDE, "--num-classes", 10),
        *("--sessions", 1, "--goal", 0.5, "--output", table),
    )
    run("validate", "--table", table, "--space", "mcu", "--networks", 4, "--force")
    space = within_memory(SearchSpace.load("mcu"), LIMIT, "int8", SIDE, 10)
    costs = fit_predictor(LatencyTable.load(table)).space_costs(
        space, resolution=SIDE, num_classes=10
    )
    low, high = costs.range
    target = (low * high) ** 0.5
    run(
        *("search", "--space", "mcu", "--table", table, "--data", "digits", "--limit", 400),
        *("--warmup-epochs", 1, "--epochs", 2, "--target-ms", target, "--force"),
        *("--constraint", f"memory={LIMIT}", "--constraint-precision", "int8", "--output", found),
    )
    result = result_of(found)
    assert 0.99 * target <= result["predicted_ms"] <= target
    assert result["footprint"]["memory_bytes"] <= LIMIT
    run("train", found, "--data", "digits", "--limit", 400, "--epochs", 1, "--output", trained)
    tflite, onnx = tmp_path / "int8.tflite", tmp_path / "net.onnx"
    run("export", trained, "--format", "tflite", "--precision", "int8", "--output", tflite)
    run("export", trained, "--format", "onnx", "--output", onnx)
    # A budget far above what is measured: that the command works, not how fast the machine is.
    run("verify", onnx, "--table", table, "--target-ms", 100 * target, "--budget", 5)
    # The file's own tensors: as counted, and copies in front of the layers of stride 2.
    peak = peak_of_tensors(tflite.read_bytes(), padded_copies=False)
    assert peak == result["footprint"]["memory_bytes"]
