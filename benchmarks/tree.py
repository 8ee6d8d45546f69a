"""The paper's CIFAR-10 tree space, whole: build, one step, a table, a short search, an ONNX file.

The space has 54 tree blocks with 648 edges of 7 candidates. Its ops are profiled with ONNX Runtime
on this machine; the search trains on Fashion-MNIST as 3x32x32 images (the shape of CIFAR-10, which
is not on this machine) and is far too short to find a good network: it shows that the whole way is
open.

    python benchmarks/tree.py --folder runs/tree --data fashion-mnist

A finished table or search in the folder is not made again.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STEP = """
import resource, time, torch
torch.set_num_threads(2)
begun = time.perf_counter()
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.search_space import SearchSpace
space = SearchSpace.load("cifar-tree")
loaded = time.perf_counter()
supernet = SuperNet(space, 10, seed=0)
built = time.perf_counter()
optimizer = torch.optim.SGD(supernet.weight_parameters(), 0.01, momentum=0.9)
images, labels = torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))
choices = supernet.sample(torch.Generator().manual_seed(0))
stepped = time.perf_counter()
torch.nn.functional.cross_entropy(supernet(images, choices), labels).backward()
optimizer.step()
done = time.perf_counter()
supernet.alpha_gradient(images, labels, choices)
alpha = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
import json
print(json.dumps({
    "slots": len(space.slots), "candidates": space.num_candidates, "build_s": built - loaded,
    "first_weight_step_s": done - stepped, "first_alpha_step_s": alpha - done,
    "peak_resident_gib": peak,
}))
"""

FIGURES = ("seconds", "target_ms", "predicted_ms", "expected_ms")


def python(code: str) -> dict[str, Any]:
    """Runs code in a fresh process and reads the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True
    )
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def command(*arguments: str) -> tuple[dict[str, Any], float]:
    """Runs the command line; its JSON and its seconds."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "proxyless_hw", *arguments, "--json", "--quiet"],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    return (json.loads(lines[-1]) if lines else {}), time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=Path("runs/tree"))
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--limit", type=int, default=192)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--budget", type=int, default=60, help="seconds for the table")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, Any] = python(STEP)
    table, run = options.folder / "cpu.csv", options.folder / "run"
    if not table.exists():
        command(
            *("profile", "--device", "cpu", "--space", "cifar-tree", "--output", str(table)),
            *("--budget", str(options.budget)),
        )
    found, _ = command(
        *("search", "--space", "cifar-tree", "--table", str(table), "--data", options.data),
        *("--limit", str(options.limit), "--batch-size", "16", "--warmup-epochs", "1"),
        *("--epochs", str(options.epochs), "--finalists", "2", "--output", str(run)),
        "--resume",
    )
    figures |= {f"search_{key}": found[key] for key in FIGURES}
    model = options.folder / "tree.onnx"
    exported, figures["export_s"] = command(
        "export", str(run), "--format", "onnx", "--output", str(model)
    )
    figures["verification"] = exported.get("verification", exported)
    measured, _ = command("benchmark", str(model))
    figures["measured_ms"] = [measured[key] for key in ("median_ms", "ci_low_ms", "ci_high_ms")]
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    figures["largest_process_gib"] = children
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"{key:22} {value:.4g}" if isinstance(value, float) else f"{key:22} {value}")


if __name__ == "__main__":
    main()
