"""A device of one's own: a profiler registered at run time. ``python own_device.py FOLDER``

It uses public names only and takes less than two minutes on two cores.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import proxyless_hw as ph

folder = Path(sys.argv[1])


@dataclass(frozen=True, kw_only=True)
class BoardOptions:
    """What `--option NAME=VALUE` may set for this device; other names are refused."""

    clock_mhz: int = 800


@ph.register_profiler("board", options=BoardOptions)
class Board:
    """A made-up board: 0.2 ns a multiply-accumulate and 30 us a call at 800 MHz, 1% noise."""

    def __init__(self, settings: ph.ProfilerSettings) -> None:
        self.settings = settings

    def describe(self) -> dict[str, str]:
        return {
            "device": "board A",
            "device_kind": "board",
            "runtime": "made up",
            "metric": "latency",
            "unit": "ms",
        }

    def open(self, workloads):
        return Session(workloads, self.settings.options.clock_mhz)


class Session(ph.ProfilerSession):
    def __init__(self, workloads, clock_mhz: int) -> None:
        macs = [0 if one.op is None else ph.op_macs(one.op) for one in workloads]
        self.costs_ms = [(0.03 + count * 2e-7) * 800 / clock_mhz for count in macs]
        self.noise = np.random.default_rng(0)

    def visit(self, order):
        return [
            ph.Visit.of(self.costs_ms[index] * self.noise.normal(1, 0.01, 5)) for index in order
        ]


space = ph.SearchSpace.load("cifar-mbconv")
slow = ph.profile(space, device="board", options={"clock_mhz": 400}, budget_s=10)
fast = ph.profile(space, device="board", budget_s=10)
ratio = (slow.to_pandas()["value"] / fast.to_pandas()["value"]).median()
assert abs(ratio - 2) < 0.05, ratio
try:
    ph.profile(space, device="board", options={"clok_mhz": 400}, budget_s=10)
    raise SystemExit("a misspelt option was taken")
except ph.ProxylessHwError as error:
    assert "clock_mhz" in str(error), error
folder.mkdir(parents=True, exist_ok=True)
slow.save(folder / "slow.csv"), fast.save(folder / "fast.csv")
difference = ph.LatencyTable.load(folder / "slow.csv").diff(
    ph.LatencyTable.load(folder / "fast.csv")
)
assert difference.to_pandas()["significant"].all()
print(f"a board at half its clock takes {ratio:.2f} times as long on {len(fast.to_pandas())} ops")
