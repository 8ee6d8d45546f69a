"""What whole networks cost against the sum of their ops, each time the runners are built.

    python benchmarks/network_builds.py                      # LiteRT, cifar-mbconv

Ops and networks are called again and again in one process, so that nothing but the building
differs between the lines. Where the ratios of a network differ from line to line, no prediction
from ops can be better than that.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from proxyless_hw.predictors.sampling import uniform_choices
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.host.conditioning import with_caches_for
from proxyless_hw.profilers.registry import get_profiler
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace

NETWORKS, BUILDINGS, UNTIMED, OP_CALLS, NETWORK_CALLS = 6, 4, 8, 12, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--space", default="cifar-mbconv")
    parser.add_argument("--runtime", default="litert")
    parser.add_argument("--json", action="store_true", help="print one object as the last line")
    arguments = parser.parse_args()
    space = SearchSpace.load(arguments.space)
    settings = with_caches_for(
        space, space.resolution, None, ProfilerSettings(runtime=arguments.runtime), lambda _: None
    )
    profiler: Any = get_profiler("cpu", settings)
    archs = [Architecture.from_choices(space, row) for row in uniform_choices(space, NETWORKS, 0)]
    ops = space.ops()
    workloads = [Workload(op.key, op=op) for op in ops]
    workloads += [
        Workload(f"net {place}", arch=arch, batch_norm=arch.batch_norm)
        for place, arch in enumerate(archs)
    ]
    profiler.prepare(workloads, print)
    rows = []
    for _ in range(BUILDINGS):
        with profiler.open(workloads) as session:
            costs = [steady(session, runner) for runner in session.runners[: len(workloads)]]
        price = dict(zip(ops, costs, strict=False))
        whole = costs[len(ops) :]
        rows.append([
            round(sum(price[op] for op in arch.ops()) / cost, 3)
            for arch, cost in zip(archs, whole, strict=True)
        ])  # fmt: skip
        print("sum of ops over network:", *(f"{ratio:.3f}" for ratio in rows[-1]), flush=True)
    spread = np.ptp(np.array(rows), axis=0).max()
    print(f"largest difference of one network between buildings: {spread:.3f}")
    if arguments.json:
        print(json.dumps({"ratios": rows, "largest_difference": float(spread)}))


def steady(session: Any, runner: Any) -> float:
    """Median cost of calls after some that are not timed, in ms."""
    calls = NETWORK_CALLS if runner.whole else OP_CALLS
    taken = [session._sample(runner, 1) for _ in range(UNTIMED + calls)]
    return float(np.median(taken[UNTIMED:]))


if __name__ == "__main__":
    main()
