"""Does a search start better from the weights of a trained network? On the digits, a small space.

A network of all 3x3 blocks of expansion 3 is trained for a few epochs. Three searches follow for
each seed: from fresh weights; from fresh weights with as many warm-up epochs more as the network
was trained for; and from the network's weights. All are for the same target, in a table whose cost
is MACs. Given are the accuracy of the best path on held-out images, that of the found network on
the test images with the supernet's weights, and that after training it on for as long as the
network was.

    nice -n 10 python benchmarks/search_weights.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import torch

from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.driver import run_search
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.counting import op_macs
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.entry import Entry
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.driver import run_training

SPACE: Final = """
schema: proxyless-hw-space/1
id: search-weights
resolution: 16
num_classes: 10
stem: {op: conv, kernel: 3, stride: 1, width: 16, act: relu6}
candidates:
  - {op: mbconv, kernel: 3, expand: 3, act: relu6}
  - {op: mbconv, kernel: 5, expand: 3, act: relu6}
  - {op: mbconv, kernel: 3, expand: 6, act: relu6}
  - {op: mbconv, kernel: 5, expand: 6, act: relu6}
zero: true
stages:
  - {width: 16, depth: 2, stride: 1}
  - {width: 24, depth: 3, stride: 2}
  - {width: 32, depth: 3, stride: 2}
head:
  - {op: classifier}
"""
COMMON: Final[dict[str, Any]] = {"train_resolution": 16, "batch_size": 64}
MEASURES: Final = ("held_out", "test", "trained")


def table_of_macs(space: SearchSpace) -> LatencyTable:
    """A table in which a million MACs take a millisecond."""
    entries = {}
    for op in space.ops():
        value = max(op_macs(op), 1) / 1e6
        entries[op] = Entry(value, value, value)
    header = {"metric": "latency", "unit": "ms", "device": "MACs", "device_kind": "cpu"}
    return LatencyTable(entries, {**header, "num_classes": "10", "statistic": "median"})


def trained_accuracy(arch: str, weights: str | None, epochs: int, seed: int, output: Path) -> float:
    """Accuracy on the test images after a training; its run lies in `output`."""
    settings = TrainConfig(
        arch=arch, weights=weights, epochs=epochs, seed=seed, output=str(output), **COMMON
    )
    result = run_training(settings)
    assert result is not None
    assert result.top1 is not None
    return result.top1


def searched(
    space: SearchSpace, table: LatencyTable, target: float, settings: SearchConfig, epochs: int
) -> dict[str, float]:
    """One search, and a training of what it found."""
    started = time.perf_counter()
    result = run_search(settings, space=space, table=table, target_ms=target)
    seconds = time.perf_counter() - started
    assert result is not None
    assert result.accuracy is not None
    assert result.supernet_accuracy is not None
    run = str(result.folder)
    trained = trained_accuracy(run, run, epochs, settings.seed, result.folder / "train")
    return {
        "held_out": result.supernet_accuracy,
        "test": result.accuracy,
        "trained": trained,
        "macs_m": result.predicted,
        "seconds": seconds,
    }


def of_seed(seed: int, options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """The three searches of a seed, and the network that the third starts from."""
    space = SearchSpace.from_yaml(SPACE)
    table = table_of_macs(space)
    uniform = Architecture.from_choices(space, [0] * len(space.slots))
    uniform.save(folder / "uniform.json")
    given = trained_accuracy(
        str(folder / "uniform.json"), None, options.trained, seed, folder / "given"
    )
    target = table.latency_ms(uniform)
    found = {"given": {"test": given}}
    for name, warmup, weights in (
        ("fresh", options.warmup, None),
        ("fresh, longer", options.warmup + options.trained, None),
        ("weights", options.warmup, str(folder / "given")),
    ):
        settings = SearchConfig(
            output=str(folder / name.replace(", ", "-")),
            weights=weights,
            warmup_epochs=warmup,
            epochs=options.epochs,
            seed=seed,
            **COMMON,
        )
        found[name] = searched(space, table, target, settings, options.trained)
    return found


def differences(seeds: list[dict[str, dict[str, float]]], other: str) -> dict[str, list[float]]:
    """What the weights gain over another start, by measure: a value per seed, in points."""
    return {
        measure: [100 * (seed["weights"][measure] - seed[other][measure]) for seed in seeds]
        for measure in MEASURES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trained", type=int, default=6, help="epochs of the network")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seeds = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            seeds.append(of_seed(seed, options, Path(folder)))
        print(f"seed {seed} is done", file=sys.stderr, flush=True)
    gains = {other: differences(seeds, other) for other in ("fresh", "fresh, longer")}
    if options.json:
        print(json.dumps({"settings": vars(options), "seeds": seeds, "gains_points": gains}))
        return
    print(
        f"digits at 16 px, {options.seeds} seeds; the network was trained for {options.trained} "
        f"epochs, searches: {options.warmup} warm-up epochs, then {options.epochs}"
    )
    given = [100 * seed["given"]["test"] for seed in seeds]
    print(f"the given network: test {statistics.fmean(given):.1f}%\n")
    print(f"{'':16}{'held-out':>10}{'test':>10}{'trained on':>12}{'MMACs':>8}{'search s':>10}")
    for name in ("fresh", "fresh, longer", "weights"):
        means = {key: statistics.fmean(seed[name][key] for seed in seeds) for key in seeds[0][name]}
        shares = "".join(
            f"{100 * means[key]:{width}.1f}%"
            for key, width in zip(MEASURES, (9, 9, 11), strict=True)
        )
        print(f"{name:16}{shares}{means['macs_m']:8.2f}{means['seconds']:10.1f}")
    for other, by_measure in gains.items():
        print(f"\nweights minus {other}, points by seed:")
        for measure, values in by_measure.items():
            listed = "  ".join(f"{value:+6.1f}" for value in values)
            print(f"  {measure:10}{listed}   mean {statistics.fmean(values):+.1f}")


if __name__ == "__main__":
    main()
