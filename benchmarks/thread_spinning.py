"""A step of the supernet under several ways in which idle OpenMP threads wait, quiet and loaded.

One process for each way, because the OpenMP library reads its settings when it is loaded. The
processes take turns, a step each, so that all ways meet the same load: only ratios within one run
mean something. Each line: median ms of a step, and the median of the ratios to the step that the
process with the runtime's default made in the same turn.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
WAYS: dict[str, dict[str, str]] = {
    "default": {},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=100": {"GOMP_SPINCOUNT": "100"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}


def serve(batch_size: int, resolution: int, threads: int) -> None:
    """Makes a step for each line of stdin and answers with its seconds."""
    import torch  # before proxyless_hw, which would set how threads wait
    from torch.nn import functional

    from proxyless_hw.search.supernet import SuperNet
    from proxyless_hw.space.search_space import SearchSpace

    torch.set_num_threads(threads)
    supernet = SuperNet(SearchSpace.load("cifar-mbconv"), 10, seed=0)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, resolution, resolution, generator=generator)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch_size,), generator=generator)
    optimizer = torch.optim.SGD(supernet.weight_parameters(), 0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(supernet(images, supernet.sample(generator)), labels).backward()
        optimizer.step()

    for _ in range(5):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        step()
        print(time.perf_counter() - started, flush=True)


class Stepper:
    """A process that makes steps under one way of waiting."""

    def __init__(self, way: dict[str, str], arguments: list[str]) -> None:
        plain = {name: value for name, value in os.environ.items() if name not in WAITING}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", *arguments],
            env={**plain, **way},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended early with {self.process.wait()}")
        return line

    def step(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.answer())


def compute_without_end() -> None:
    while True:
        sum(range(2000))


def compare(steppers: dict[str, Stepper], turns: int, busy: int) -> dict[str, dict[str, float]]:
    others = [multiprocessing.Process(target=compute_without_end, daemon=True) for _ in range(busy)]
    for other in others:
        other.start()
    try:
        taken: dict[str, list[float]] = {name: [] for name in steppers}
        for turn in range(turns):
            names = list(steppers)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                taken[name].append(steppers[name].step())
    finally:
        for other in others:
            other.terminate()
            other.join()
    return {
        name: {
            "step_ms": 1e3 * statistics.median(values),
            "ratio": statistics.median(
                value / usual for value, usual in zip(values, taken["default"], strict=True)
            ),
        }
        for name, values in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--busy", type=int, default=1, help="other processes that compute")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve(options.batch_size, options.resolution, options.threads)
        return
    arguments = [f"--{name.replace('_', '-')}={getattr(options, name)}"
                 for name in ("batch_size", "resolution", "threads")]  # fmt: skip
    steppers = {name: Stepper(way, arguments) for name, way in WAYS.items()}
    try:
        for stepper in steppers.values():
            stepper.answer()
        found = {f"{busy} busy": compare(steppers, options.turns, busy)
                 for busy in (0, options.busy)}  # fmt: skip
    finally:
        for stepper in steppers.values():
            stepper.process.kill()
            stepper.process.wait()
    if options.json:
        print(json.dumps({"threads": options.threads, **found}))
        return
    print(f"batch {options.batch_size} at {options.resolution} px, {options.threads} threads")
    for load, figures in found.items():
        for name, figure in figures.items():
            print(f"  {load}  {name:25} {figure['step_ms']:8.1f} ms  {figure['ratio']:.2f}")


if __name__ == "__main__":
    main()
