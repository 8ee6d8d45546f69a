"""The steps of one revision's supernet, timed on demand: a child of search_step.py --against.

Reads lines ``weight NUMBER`` or ``alpha NUMBER`` and answers each with the seconds that the step
took on that sampled path. Uses public names only, so that it runs on older revisions.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch
from torch.nn import functional

import proxyless_hw as ph


def main() -> None:
    """Answers until its input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--space", required=True)
    for name in ("batch-size", "resolution", "threads", "paths"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    supernet = ph.SuperNet(ph.SearchSpace.load(options.space), num_classes=1000, seed=0)
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch_size, 3, options.resolution, options.resolution)
    images = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (options.batch_size,), generator=generator)
    paths = [supernet.sample(generator) for _ in range(options.paths)]
    optimizer = torch.optim.SGD(
        supernet.weight_parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=4e-5
    )

    def weight_step(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(supernet(images, paths[number]), labels).backward()
        optimizer.step()

    def alpha_step(number: int) -> None:
        supernet.alpha_gradient(images, labels, paths[number])

    steps = {"weight": weight_step, "alpha": alpha_step}
    print("ready", [list(path) for path in paths], flush=True)
    for line in sys.stdin:
        name, number = line.split()
        started = time.perf_counter()
        steps[name](int(number))
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
