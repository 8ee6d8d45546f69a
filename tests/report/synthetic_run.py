"""A made-up run folder in the form a search writes. Its numbers are invented, not measured."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from proxyless_hw.space.architecture import Architecture, TrainingShape
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable


def write_table(path: Path, device: str = "synthetic CPU", scale: float = 1.0) -> LatencyTable:
    """A complete table of the imagenet space at 224: invented costs that grow with the work."""
    space = SearchSpace.load("imagenet")
    entries = {}
    for op in space.ops(224, num_classes=10):
        work = op.out_h * op.out_w * op.mid_c * (op.in_c + op.out_c + op.kernel**2) / 1e8
        value = scale * (0.02 + work)
        entries[op] = Entry(value, value * 0.99, value * 1.01, value * 1.1, value * 0.95, 12, 480)
    metadata = {
        "metric": "latency",
        "unit": "ms",
        "device": device,
        "device_kind": "cpu",
        "runtime": "onnxruntime",
        "runtime_version": "0",
        "threads": "1",
        "batch_size": "1",
        "precision": "fp32",
        "statistic": "median",
        "num_classes": "10",
        "source": "synthetic",
    }
    table = LatencyTable(entries, metadata, str(path))
    table.save(path)
    return table


def write_run(
    folder: Path, *, seed: int = 0, device: str = "synthetic CPU", scale: float = 1.0
) -> Path:
    """Writes the run and the table it was searched with (beside it); returns the folder."""
    generator = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    table_path = folder.parent / f"{folder.name}.csv"
    table = write_table(table_path, device, scale)
    space = SearchSpace.load("imagenet")
    choices = [generator.randrange(len(slot.candidates)) for slot in space.slots]
    arch = Architecture.from_choices(
        space, choices, resolution=224, num_classes=10, training=TrainingShape(32, 10, "digits")
    )
    arch.save(folder / "architecture.json")
    predicted = table.latency_ms(arch)
    target = predicted * 1.004
    epochs = [_epoch(space, choices, index, target, generator) for index in range(35)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in epochs))
    _write(folder / "config.json", _config(table_path, table, target, seed))
    _write(folder / "result.json", _result(arch, target, predicted, table, space, generator))
    return folder


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")


def _config(path: Path, table: LatencyTable, target: float, seed: int) -> dict[str, Any]:
    return {
        "settings": {
            "table": str(path),
            "space": "imagenet",
            "target_ms": target,
            "data": "digits",
            "algorithm": "gradient",
            "objective": "constraint",
            "constraints": [],
            "epochs": 25,
            "warmup_epochs": 10,
            "seed": seed,
        },
        "table": str(path),
        "table_header": dict(table.metadata),
        "space": "imagenet",
        "data": "digits",
        "target_ms": target,
        "constraints": [{"name": "latency", "unit": "ms", "target": target, "reachable": [1, 99]}],
    }


def _epoch(
    space: SearchSpace, choices: list[int], index: int, target: float, generator: random.Random
) -> dict[str, Any]:
    warmup = index < 10
    progress = 0.0 if warmup else (index - 9) / 25
    alpha = []
    for slot, choice in zip(space.slots, choices, strict=True):
        logits = [
            (4.5 * progress if candidate == choice else 0.0) + generator.gauss(0, 0.05)
            for candidate in range(len(slot.candidates))
        ]
        total = sum(map(math.exp, logits))
        row: list[float | None] = [round(math.exp(value) / total, 4) for value in logits]
        alpha.append(row + [None] * (space.max_candidates - len(row)))
    entropy = sum(-sum(p * math.log(p) for p in row if p) for row in alpha) / len(alpha)
    return {
        "phase": "warmup" if warmup else "search",
        "epoch": index if warmup else index - 10,
        "train_loss": 2.3 * math.exp(-index / 14) + 0.5,
        "train_accuracy": 1 - 0.9 * math.exp(-index / 9),
        "holdout_loss": None if warmup else 2.3 * math.exp(-index / 15) + 0.55,
        "expected_ms": {"latency": target * (1 + 0.28 * math.exp(-4 * progress))},
        "targets": {"latency": target},
        "entropy": entropy,
        "multiplier": {"latency": 0.0 if warmup else 1.2 * progress * (1.4 - progress)},
        "seconds": 4.2,
        "alpha": alpha,
    }


def _result(
    arch: Architecture,
    target: float,
    predicted: float,
    table: LatencyTable,
    space: SearchSpace,
    generator: random.Random,
) -> dict[str, Any]:
    return {
        "architecture": json.loads(arch.to_json()),
        "target_ms": target,
        "predicted_ms": predicted,
        "predicted_interval_ms": [predicted * 0.975, predicted * 1.025],
        "expected_ms": target * 1.005,
        "measured_ms": predicted * 1.012,
        "measured_interval_ms": [predicted * 1.006, predicted * 1.018],
        "accuracy": 0.941,
        "supernet_accuracy": 0.938,
        "seconds": 152.4,
        "finalists": [
            {
                "choices": [],
                "predicted_ms": predicted * (1 - 0.002 * rank),
                "log_probability": -5.0 - rank,
                "accuracy": 0.938 - 0.004 * rank,
            }
            for rank in range(5)
        ],
        "margins": [round(generator.random(), 3) for _ in space.slots],
        "pareto": [
            {
                "budget_ms": predicted * (0.5 + step / 30),
                "latency_ms": predicted * (0.498 + step / 30),
                "log_probability": -40 * math.exp(-step / 8) - 4,
                "choices": [],
            }
            for step in range(40)
        ],
        "verify": None,
    }


def add_verification(folder: Path, correction: float = 0.56, **fields: Any) -> None:
    """Adds what `--verify` writes: the prediction becomes the table's sum times the correction."""
    path = folder / "result.json"
    result = json.loads(path.read_text())
    table_ms = result["finalists"][0]["predicted_ms"]
    predicted = table_ms * correction
    pairs = [(row["predicted_ms"], row["predicted_ms"] * correction) for row in result["finalists"]]
    result.update(
        target_ms=predicted * 1.004,
        predicted_ms=predicted,
        predicted_interval_ms=[predicted * 0.975, predicted * 1.025],
        measured_ms=predicted * 1.01,
        measured_interval_ms=[predicted * 1.004, predicted * 1.016],
        verify={
            "table_ms": table_ms,
            "predicted_ms": predicted,
            "correction": correction,
            "measured_ms": predicted * 1.01,
            "interval_ms": [predicted * 1.004, predicted * 1.016],
            "rounds": [
                {
                    "correction": 1.0,
                    "networks": [
                        {"predicted_ms": x, "measured_ms": y, "interval_ms": [y, y]}
                        for x, y in pairs
                    ],
                }
            ],
            **fields,
        },
    )
    _write(path, result)


def write_exports(folder: Path) -> None:
    """Adds an export manifest, with invented figures."""
    (folder / "exports").mkdir(exist_ok=True)
    check = {
        "images": 64,
        "source": "digits test images",
        "max_difference": 3e-6,
        "mean_difference": 1e-6,
        "top1_agreement": 1.0,
        "accuracy_before": 0.941,
        "accuracy_after": 0.941,
        "limit": "max difference at most 0.0001 standard deviations",
        "passed": True,
    }
    files = [
        {
            "file": f"run-{precision}.{file_format}",
            "format": file_format,
            "precision": precision,
            "bytes": size,
            "sha256": "0" * 64,
            "verification": check,
            "latency": {"median_ms": median, "ci_low_ms": median, "ci_high_ms": median},
        }
        for file_format, precision, size, median in (
            ("onnx", "fp32", 16_000_000, 8.0),
            ("tflite", "fp32", 16_100_000, 10.0),
            ("tflite", "fp16", 8_100_000, 10.0),
            ("tflite", "int8", 4_400_000, 7.5),
            ("tflite", "int8-dynamic", 4_600_000, 9.0),
        )
    ]
    _write(
        folder / "exports" / "manifest.json",
        {"schema": "proxyless-hw-manifest/1", "files": files},
    )
