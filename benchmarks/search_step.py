"""One step of the supernet against the same sampled network built alone, and the relaxation.

Times are medians over sampled paths, each path timed in both forms in turn; memory is the peak of
live tensor bytes that a step adds, from the allocator's own events.

With --against REV the steps of this revision and of another one are timed instead, in turn and on
the same sampled paths, each revision in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from proxyless_hw.search.extract import extract_network
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace

HERE = Path(__file__).parent


def sgd(parameters: list[torch.nn.Parameter]) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, 0.01, momentum=0.9, nesterov=True, weight_decay=4e-5)


def step_of(
    forward: Callable[[], torch.Tensor], optimizer: torch.optim.SGD, labels: torch.Tensor
) -> None:
    optimizer.zero_grad(set_to_none=True)
    functional.cross_entropy(forward(), labels).backward()
    optimizer.step()


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def peak_mb(action: Callable[[], object]) -> float:
    """Peak of live bytes that the action adds to what was allocated before it, in MB."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        action()
    events = profile.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = [event for event in events if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(changes, key=lambda item: item.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak / 2**20


class Revision:
    """A process that runs the steps of one revision's package.

    Args:
        package: folder that holds the package.
        options: the script's options.
    """

    def __init__(self, package: Path, options: argparse.Namespace) -> None:
        names = ("space", "batch_size", "resolution", "threads", "paths")
        words = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "search_step_child.py"), *words],
            env={**os.environ, "PYTHONPATH": str(package)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.paths = self._answer()

    def step(self, name: str, number: int) -> float:
        """Seconds that a step took on a path."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name} {number}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def against(options: argparse.Namespace) -> dict[str, object]:
    """This revision's steps over another one's, on the same paths."""
    root = HERE.parent
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        git = ["git", "-C", str(root), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", other, options.against], check=True)
        try:
            here, there = Revision(root, options), Revision(other, options)
            assert here.paths == there.paths, "the revisions sample different paths"
            result: dict[str, object] = {"against": options.against, "threads": options.threads}
            for name in ("weight", "alpha"):
                pairs = []
                for turn in range(3 * options.paths):
                    number = turn % options.paths
                    first, second = (here, there) if turn % 2 else (there, here)
                    times = {first: first.step(name, number), second: second.step(name, number)}
                    if turn >= options.paths:  # kernels and momentum buffers exist by then
                        pairs.append((times[here], times[there]))
                result[f"{name}_step_s"] = statistics.median(pair[0] for pair in pairs)
                result[f"{name}_step_s_there"] = statistics.median(pair[1] for pair in pairs)
                result[f"{name}_ratio"] = statistics.median(pair[0] / pair[1] for pair in pairs)
            for revision in (here, there):
                revision.process.terminate()
                revision.process.wait()
        finally:
            subprocess.run([*git, "remove", "--force", other], check=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REV", help="compare with another revision")
    parser.add_argument("--space", default="imagenet")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=112)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--paths", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.against is not None:
        compared = against(options)
        for key, value in compared.items():
            print(f"  {key:20s} {value if isinstance(value, str | int) else f'{value:.4f}'}")
        if options.json:
            print(json.dumps(compared))
        return
    torch.set_num_threads(options.threads)

    space = SearchSpace.load(options.space)
    supernet = SuperNet(space, 1000, seed=0)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(options.batch_size, 3, options.resolution, options.resolution)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (options.batch_size,), generator=generator)
    optimizer = sgd(supernet.weight_parameters())

    figures: dict[str, list[float]] = {
        name: [] for name in ("weight", "alpha", "two_path", "plain", "peak", "plain_peak")
    }
    for number in range(options.paths + 1):
        choices = supernet.sample(generator)
        arch = Architecture.from_choices(space, choices, num_classes=1000)
        network = extract_network(supernet, arch, choices).train()
        plain_optimizer = sgd(list(network.parameters()))

        def super_step(choices: tuple[int, ...] = choices) -> None:
            step_of(lambda: supernet(images, choices), optimizer, labels)

        def plain_step(
            network: torch.nn.Module = network, plain: torch.optim.SGD = plain_optimizer
        ) -> None:
            step_of(lambda: network(images), plain, labels)

        def alpha_step(choices: tuple[int, ...] = choices) -> None:
            supernet.alpha_gradient(images, labels, choices)

        def two_path_step(choices: tuple[int, ...] = choices) -> None:
            supernet.alpha_gradient(images, labels, choices, mode="two-path", generator=generator)

        for action in (super_step, plain_step, alpha_step):
            action()  # momentum buffers and kernels exist from here on
        if number == 0:
            continue
        pairs = [(seconds(super_step), seconds(plain_step)) for _ in range(3)]
        figures["weight"].append(statistics.median(pair[0] for pair in pairs))
        figures["plain"].append(statistics.median(pair[1] for pair in pairs))
        figures["alpha"].append(seconds(alpha_step))
        figures["two_path"].append(seconds(two_path_step))
        if number <= 4:
            figures["peak"].append(peak_mb(super_step))
            figures["plain_peak"].append(peak_mb(plain_step))

    def relaxed_step() -> None:
        step_of(lambda: supernet.relaxed(images), optimizer, labels)

    relaxed_step()
    relaxed_peak = peak_mb(relaxed_step)
    relaxed_s = seconds(relaxed_step)
    ratios = [a / b for a, b in zip(figures["weight"], figures["plain"], strict=True)]
    memory = [a / b for a, b in zip(figures["peak"], figures["plain_peak"], strict=True)]
    result = {
        "space": options.space,
        "batch_size": options.batch_size,
        "resolution": options.resolution,
        "threads": options.threads,
        "weight_step_s": statistics.median(figures["weight"]),
        "alpha_step_s": statistics.median(figures["alpha"]),
        "two_path_step_s": statistics.median(figures["two_path"]),
        "plain_step_s": statistics.median(figures["plain"]),
        "relaxed_step_s": relaxed_s,
        "step_ratio": statistics.median(ratios),
        "peak_mb": statistics.median(figures["peak"]),
        "plain_peak_mb": statistics.median(figures["plain_peak"]),
        "peak_ratio": statistics.median(memory),
        "relaxed_peak_mb": relaxed_peak,
        "relaxed_over_sampled": relaxed_peak / statistics.median(figures["peak"]),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{options.space}, batch {options.batch_size} at {options.resolution}, "
          f"{options.threads} threads, {options.paths} sampled paths")  # fmt: skip
    for name, value in result.items():
        if isinstance(value, float):
            print(f"  {name:<22}{value:10.4f}")


if __name__ == "__main__":
    main()
