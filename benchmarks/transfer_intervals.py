"""Could a transfer's intervals hold the same share on every device, if their width were learnt?

For every pair of `transfer_devices`, with a fixed list of probes, this counts how many of the ops
not probed the 90% intervals hold: those of the mixture as it is, those widened by the held-out
probes (`table transfer`'s), and those times a factor that is learnt on other devices, for each
number of probes, from how far held-out probes are off. The device on which a factor is judged is no
source and no target of the pairs that it is learnt from.

    python benchmarks/transfer_intervals.py [--data shared/data]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transfer_contaminated import groups, table
from transfer_devices import NARROWED, Costs, cases, without_copies

from proxyless_hw.predictors.adaptation import estimate_log_costs
from proxyless_hw.predictors.device_map import log_values
from proxyless_hw.predictors.posterior import Measurements
from proxyless_hw.predictors.probes import choose_probes

COUNTS = (5, 10, 15, 30)
HELD = 0.9
BAND = (0.85, 0.97)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The intervals of one transfer.

    Attributes:
        source, target: the devices, without their resolution.
        count: of probes.
        widening: by what `table transfer` multiplied the mixture's intervals.
        reach: how far each op not probed is from the middle of its 90% interval, in half-widths.
    """

    source: str
    target: str
    count: int
    widening: float
    reach: np.ndarray

    @property
    def needed(self) -> float:
        """The factor on the mixture's intervals that would have held 90%."""
        return self.widening * float(np.quantile(self.reach, HELD))

    def held(self, factor: float) -> float:
        """Share of the ops that the mixture's intervals times a factor hold."""
        return float((self.reach <= factor / self.widening).mean())


def outcomes(source: str, target: str, known: Costs, truth: Costs) -> Iterator[Outcome]:
    """One pair with every number of probes."""
    start, ops = table(known, "source"), list(truth)
    probes = choose_probes(start, max(COUNTS))
    for count in COUNTS:
        at = np.array([ops.index(op) for op in probes[:count]], dtype=np.intp)
        values = log_values([truth[op] for op in probes[:count]])
        found = estimate_log_costs(ops, [start], Measurements.of_ops(at, values, len(ops)))
        rest = np.setdiff1d(np.arange(len(ops)), at)
        true = log_values([truth[op] for op in ops])
        middle, half = (found.low + found.high) / 2, NARROWED * (found.high - found.low) / 2
        yield Outcome(
            source=re.sub(r"-\d+$", "", source),
            target=re.sub(r"-\d+$", "", target),
            count=count,
            widening=found.widening,
            reach=(np.abs(true - middle) / half)[rest],
        )


def learnt(target: str, found: list[Outcome]) -> np.ndarray:
    """Coefficients of log factor on 1 and log widening, from pairs without a device."""
    others = [each for each in found if target not in (each.source, each.target)]
    rows = np.array([[1.0, np.log(each.widening)] for each in others])
    result: np.ndarray = np.linalg.lstsq(
        rows, np.log([each.needed for each in others]), rcond=None
    )[0]
    return result


def main() -> None:
    """Prints a line per number of probes and kind of interval."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of published tables")
    arguments = parser.parse_args()
    found = [
        outcome
        for group in map(without_copies, groups(arguments.data))
        for case in cases(group)
        for outcome in outcomes(*case)
    ]
    print("probes  intervals                pairs  hold  least  most  85-97%")
    for count in COUNTS:
        alike = [each for each in found if each.count == count]
        factors = {
            "the mixture's": [1.0 for _ in alike],
            "widened by the probes": [each.widening for each in alike],
            "learnt on other devices": [
                float(np.exp(learnt(each.target, alike) @ [1.0, np.log(each.widening)]))
                for each in alike
            ],
        }
        for words, values in factors.items():
            held = np.array([each.held(value) for each, value in zip(alike, values, strict=True)])
            inside = int(((held >= BAND[0]) & (held <= BAND[1])).sum())
            print(
                f"{count:6d}  {words:23s} {len(held):6d} {held.mean():5.0%} {held.min():6.0%} "
                f"{held.max():5.0%} {inside:7d}"
            )
        needed = np.log([each.needed for each in alike])
        print(
            f"        factor that would hold 90%: {np.exp(np.median(needed)):.2f}, "
            f"from {np.exp(needed.min()):.2f} to {np.exp(needed.max()):.2f}"
        )


if __name__ == "__main__":
    main()
