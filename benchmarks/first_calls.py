"""What the first calls of an op cost after something else has run, against its steady cost.

    python benchmarks/first_calls.py

A visit of the protocol calls an op several times untimed before it times it. This shows why: the
same conditioned call (memory read, input touched, idle model run, op timed), the first time after
something else has run, the second time, and so on. `ops` means that other ops were visited before;
`networks` that a whole network was run. Costs are relative to the mean of the last four.
"""

from __future__ import annotations

import argparse
import json
import random

import numpy as np

from proxyless_hw.predictors.sampling import uniform_choices
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.host.conditioning import with_caches_for
from proxyless_hw.profilers.runtimes.onnxruntime import OnnxRuntimeProfiler
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace

CALLS, VISITS, OPS, NETWORKS = 12, 40, 8, 4


def first_calls(name: str, before: str) -> list[float]:
    """Mean over ops of the median cost at each place of a visit."""
    space = SearchSpace.load(name)
    settings = with_caches_for(
        space, space.resolution, None, ProfilerSettings(runtime="onnxruntime"), lambda _: None
    )
    ops = space.ops()
    ops = ops[:: max(1, len(ops) // OPS)][:OPS]
    chosen = uniform_choices(space, NETWORKS, seed=0)
    nets = [Architecture.from_choices(space, row) for row in chosen]
    workloads = [Workload(op.key, op=op) for op in ops]
    workloads += [Workload(f"net {i}", arch=a, batch_norm=a.batch_norm) for i, a in enumerate(nets)]
    found: list[list[list[float]]] = [[] for _ in ops]
    draw = random.Random(0)
    with OnnxRuntimeProfiler(settings).open(workloads) as session:
        for _ in range(VISITS):
            for place in draw.sample(range(len(ops)), len(ops)):
                if before == "networks":
                    network = session.runners[len(ops) + draw.randrange(len(nets))]
                    for _ in range(6):
                        network.call()
                runner = session.runners[place]
                found[place].append([session._sample(runner, 1) for _ in range(CALLS)])
    medians = np.median(np.array(found), axis=1)
    costs = (medians / medians[:, -4:].mean(1, keepdims=True)).mean(0)
    return [round(float(cost), 3) for cost in costs]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--space", action="append", help="cifar-mbconv and imagenet by default")
    parser.add_argument("--json", action="store_true", help="print one object as the last line")
    arguments = parser.parse_args()
    rows = {}
    for space in arguments.space or ["cifar-mbconv", "imagenet"]:
        for before in ("ops", "networks"):
            rows[f"{space} after {before}"] = first_calls(space, before)
            shown = " ".join(f"{cost:.3f}" for cost in rows[f"{space} after {before}"])
            print(f"{space:14} after {before:9} {shown}", flush=True)
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
