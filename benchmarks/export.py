"""A run's set of exports: how long it takes, how exact each file is, what int8 gains.

Two sets are written. The first is a network of the imagenet space trained here on the embedded
digits at 32 pixels, judged by the accuracy of its files on the whole test set. The second is the
published mobile network at 224 pixels and 1000 classes, with random weights: the deployment shape,
for the time of the exports and the latency of the files.

    python benchmarks/export.py [--json] [--epochs 12]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from proxyless_hw.data.base import DataConfig
from proxyless_hw.data.load import load_data
from proxyless_hw.export.export import ExportConfig
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.network.network import Network, build_network
from proxyless_hw.pipeline.deploy import default_data, export_all, int8_ratio
from proxyless_hw.pipeline.source import Source

DATA = DataConfig(name="digits", batch_size=64, holdout=0.1)


def train_on_digits(epochs: int, seed: int = 0) -> Network:
    """Trains the published mobile network on the embedded digits at 32 pixels."""
    torch.manual_seed(seed)
    data = load_data(DATA)
    arch = load_architecture("proxyless-mobile").with_shape(
        resolution=data.resolution, num_classes=data.num_classes
    )
    network = build_network(arch, seed).to(memory_format=torch.channels_last)
    steps = epochs * (len(data.train) // DATA.batch_size)
    optimiser = torch.optim.SGD(network.parameters(), 0.05, 0.9, weight_decay=4e-5, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=steps)
    network.train()
    for epoch in range(epochs):
        for images, labels in data.train.batches(epoch, shuffle=True, augment=True, drop_last=True):
            loss = nn.functional.cross_entropy(network(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def export_set(source: Source, folder: Path) -> dict[str, Any]:
    """Writes and measures one set; returns its figures."""
    started = time.perf_counter()
    data = default_data(source)
    config = ExportConfig(resolution=source.network.arch.resolution, weights=source.weights)
    export_all(source, folder, config, data, measure=False)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    manifest = export_all(source, folder, config, data)
    both = time.perf_counter() - started
    return {
        "network": source.name,
        "resolution": config.resolution,
        "num_classes": source.network.arch.num_classes,
        "weights": source.weights,
        "images": data.source,
        "export_seconds": round(seconds, 2),
        "export_and_measure_seconds": round(both, 2),
        "int8_over_fp32": int8_ratio(manifest),
        "files": [
            {
                "file": file["file"],
                "mib": round(file["bytes"] / 2**20, 3),
                **{key: file["verification"][key] for key in _SHOWN},
                "median_ms": file["latency"]["median_ms"],
                "ci_low_ms": file["latency"]["ci_low_ms"],
                "ci_high_ms": file["latency"]["ci_high_ms"],
            }
            for file in manifest["files"]
        ],
    }


_SHOWN = (
    *("images", "max_difference", "mean_difference", "top1_agreement"),
    *("accuracy_before", "accuracy_after"),
)


def show(figures: dict[str, Any]) -> None:
    """Prints one set as a table."""
    print(
        f"\n{figures['network']}, {figures['resolution']} px, {figures['num_classes']} classes, "
        f"weights {figures['weights']}; compared on {figures['images']}"
    )
    print(
        f"five files in {figures['export_seconds']} s (check included), "
        f"{figures['export_and_measure_seconds']} s with their measurement"
    )
    print(
        f"{'file':34}{'MiB':>7}{'max diff':>10}{'mean diff':>10}{'top-1':>8}"
        f"{'accuracy':>18}{'latency ms':>12}"
    )
    for file in figures["files"]:
        before, after = file["accuracy_before"], file["accuracy_after"]
        accuracy = "-" if before is None else f"{before:.2%} to {after:.2%}"
        print(
            f"{file['file']:34}{file['mib']:7.2f}{file['max_difference']:10.1e}"
            f"{file['mean_difference']:10.1e}{file['top1_agreement']:8.1%}{accuracy:>18}"
            f"{file['median_ms']:12.3f}"
        )
    print(f"TFLite int8 takes {figures['int8_over_fp32']:.3f} times as long as fp32")


def main() -> None:
    """Runs both sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--epochs", type=int, default=12, help="training epochs on the digits")
    options = parser.parse_args()
    trained = train_on_digits(options.epochs)
    published = build_network(load_architecture("proxyless-mobile"), seed=0).eval()
    sources = (
        Source(trained, "mobile-digits", f"trained here, {options.epochs} epochs", data=DATA),
        Source(published, "proxyless-mobile", "random, seed 0"),
    )
    with tempfile.TemporaryDirectory() as folder:
        sets = [export_set(source, Path(folder) / source.name) for source in sources]
    for figures in sets:
        if not options.json:
            show(figures)
    if options.json:
        print(json.dumps({"sets": sets}))


if __name__ == "__main__":
    main()
