"""A new device from a few measurements, judged on every device whose table is known: leave one out.

Each device of a group is taken as new, and each other one as the known table. Probes are the fixed
list of `table probes -n`, those that `table probes --next` names one after the other, or random
ops. Judged are the ops that were not probed (Spearman, mean absolute relative error, share within
the 90% intervals, which are the table's 95% intervals narrowed as those of a Gaussian) and the sums
of 400 random networks. `constant` and `shape` are what no transfer may be worse than: the best
constant for all ops, and the source's costs times the best factor, both chosen with all true values
at hand. `networks` transfers from 15 measured networks instead of ops, and is judged on others.
`mixed` transfers from all other devices at once.

The shipped Pixel 1 table and the tables of benchmarks/data are one group. With --data, a folder
with the published tables (note10/*_lookup_table.yaml, jetson/{cpu,gpu}_*.json), each resolution
that both have is another. Rows of a Jetson table that equal the Note10's to all digits are copies,
and left out.

    python benchmarks/transfer_devices.py [--data shared/data] [--draws 2] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from transfer_contaminated import Group, groups, table

from proxyless_hw.predictors.network_probes import NetworkProbe
from proxyless_hw.predictors.probes import choose_probes, next_probe
from proxyless_hw.predictors.scores import score
from proxyless_hw.predictors.transfer import transfer
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

COUNTS = (5, 10)
NETWORKS = 15
NARROWED = 1.645 / 1.960
"""From the half-width of a Gaussian's 95% interval to that of its 90% interval."""

Costs = dict[OpSpec, float]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One transfer, judged.

    Attributes:
        pair: group, source and target.
        probes: how they were chosen, and how many.
        spearman, mape: of the ops not probed.
        coverage: share of them within their 90% intervals.
        networks_spearman, networks_mape: of random networks.
        constant, shape: mean absolute relative error of the best constant and of the source's
        shape.
    """

    pair: str
    probes: str
    spearman: float
    mape: float
    coverage: float
    networks_spearman: float
    networks_mape: float
    constant: float
    shape: float


def random_networks(ops: Sequence[OpSpec], count: int, seed: int) -> list[list[OpSpec]]:
    """Networks of every fixed op, a block for every change of shape, and 1 to 3 more of each
    shape."""
    generator = np.random.default_rng(seed)
    slots: dict[OpSpec, list[OpSpec]] = {}
    for op in ops:
        slots.setdefault(replace(op, kernel=1, expand=1.0), []).append(op)
    networks = []
    for _ in range(count):
        network = []
        for slot, candidates in slots.items():
            times = generator.integers(1, 4) if slot.skip and len(candidates) > 1 else 1
            network += [candidates[i] for i in generator.integers(len(candidates), size=times)]
        networks.append(network)
    return networks


def chosen(known: LatencyTable, truth: Costs, how: str, count: int, seed: int) -> list[OpSpec]:
    """Probes, chosen in one of three ways."""
    if how == "list":
        return choose_probes(known, count)
    if how == "random":
        ops = list(truth)
        return [ops[i] for i in np.random.default_rng(seed).permutation(len(ops))[:count]]
    measured: list[OpSpec] = []
    while len(measured) < count:
        measured.append(next_probe(known, table({op: truth[op] for op in measured}, "probes")))
    return measured


def without_copies(group: Group) -> Group:
    """A group without the rows of other devices that equal its first device's to all digits."""
    first = next(iter(group.values()))
    return {
        name: {op: value for op, value in costs.items() if costs is first or value != first[op]}
        for name, costs in group.items()
    }


def cases(group: Group) -> Iterator[tuple[str, str, Costs, Costs]]:
    """(source, target, the source's costs, the target's), over the ops that both have."""
    for source, known in group.items():
        for target, truth in group.items():
            if source != target:
                ops = [op for op in known if op in truth]
                yield source, target, {op: known[op] for op in ops}, {op: truth[op] for op in ops}


def judge(
    pair: str, probes: str, source: Costs, truth: Costs, result: LatencyTable, measured: set[OpSpec]
) -> Outcome:
    """Compares a transferred table with the true one."""
    rest = [op for op in truth if op not in measured]
    true = np.array([truth[op] for op in rest])
    entries = [result.entries[op] for op in rest]
    inside = []
    for value, entry in zip(true, entries, strict=True):
        low, high = np.log([entry.ci_low, entry.ci_high])
        inside.append(abs(np.log(value) - (low + high) / 2) <= NARROWED * (high - low) / 2)
    ops = score([entry.value for entry in entries], true)
    unseen = random_networks(list(truth), 400, seed=0)
    whole = score(
        [sum(result.entries[op].value for op in network) for network in unseen],
        [sum(truth[op] for op in network) for network in unseen],
    )
    return Outcome(
        pair=pair,
        probes=probes,
        spearman=ops.spearman,
        mape=ops.mape,
        coverage=float(np.mean(inside)),
        networks_spearman=whole.spearman,
        networks_mape=whole.mape,
        constant=_best_factor(np.ones(len(rest)), true),
        shape=_best_factor(np.array([source[op] for op in rest]), true),
    )


def _best_factor(shape: np.ndarray, true: np.ndarray) -> float:
    """Mean absolute relative error of a shape times the factor that makes it least."""
    # The error is piecewise linear in the factor: its least value is at one of the ratios.
    return min(float(np.abs(shape * factor / true - 1).mean()) for factor in true / shape)


def by_ops(label: str, source: Costs, truth: Costs, draws: int) -> Iterator[Outcome]:
    """Transfers of one pair from single ops."""
    known = table(source, "source")
    for how in ("list", "next", "random"):
        for seed in range(draws if how == "random" else 1):
            probes = chosen(known, truth, how, max(COUNTS), seed)
            for count in COUNTS:
                measured = {op: truth[op] for op in probes[:count]}
                result = transfer([known], table(measured, "probes")).table
                yield judge(label, f"{count} {how}", source, truth, result, set(measured))


def by_networks(label: str, source: Costs, truth: Costs, draws: int) -> Iterator[Outcome]:
    """Transfers of one pair from whole networks."""
    known = table(source, "source")
    for seed in range(1, draws + 1):
        measured = [
            NetworkProbe(str(number), tuple(network), sum(truth[op] for op in network))
            for number, network in enumerate(random_networks(list(truth), NETWORKS, seed))
        ]
        result = transfer([known], networks=measured).table
        yield judge(label, f"{NETWORKS} networks", source, truth, result, set())


def mixed(label: str, group: Group, target: str) -> Outcome:
    """A transfer from all other devices of a group, with the probes that the first asks for."""
    truth = group[target]
    sources = {name: costs for name, costs in group.items() if name != target}
    first = next(iter(sources.values()))
    ops = [op for op in first if op in truth]
    known = [
        table({op: costs[op] for op in ops if op in costs}, name) for name, costs in sources.items()
    ]
    true = {op: truth[op] for op in ops}
    probes = choose_probes(known[0], max(COUNTS))
    result = transfer(known, table({op: true[op] for op in probes}, "probes")).table
    label = f"{label}: all others -> {target}"
    return judge(
        label, f"{len(probes)} mixed", {op: first[op] for op in ops}, true, result, set(probes)
    )


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """The figures of one way of probing over all pairs; a pair's draws are averaged first."""
    pairs = {each.pair: [o for o in outcomes if o.pair == each.pair] for each in outcomes}

    def averages(name: str) -> np.ndarray:
        return np.array([np.mean([getattr(o, name) for o in each]) for each in pairs.values()])

    coverage = averages("coverage")
    least = np.minimum(averages("constant"), averages("shape"))
    return {
        "pairs": len(pairs),
        "spearman": float(averages("spearman").mean()),
        "least_spearman": float(averages("spearman").min()),
        "mape": float(averages("mape").mean()),
        "largest_mape": float(averages("mape").max()),
        "networks_spearman": float(averages("networks_spearman").mean()),
        "networks_mape": float(averages("networks_mape").mean()),
        "largest_networks_mape": float(averages("networks_mape").max()),
        "coverage": float(coverage.mean()),
        "least_coverage": float(coverage.min()),
        "pairs_within_85_97": int(((coverage >= 0.85) & (coverage <= 0.97)).sum()),
        "pairs_worse_than_constant_or_shape": int((averages("mape") > least).sum()),
    }


def main() -> None:
    """Prints a line per way of probing, then one per pair and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of published tables")
    parser.add_argument("--draws", type=int, default=2, help="of random probes (default: 2)")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    for group in map(without_copies, groups(arguments.data)):
        label = next(iter(group))
        for source, target, known, truth in cases(group):
            pair = f"{source} -> {target}"
            outcomes += by_ops(pair, known, truth, arguments.draws)
            outcomes += by_networks(pair, known, truth, arguments.draws)
        outcomes += [mixed(label, group, target) for target in group]
    ways = list(dict.fromkeys(each.probes for each in outcomes))
    lines = {way: summary([each for each in outcomes if each.probes == way]) for way in ways}
    print(
        "probes        pairs  Spearman least   MAPE  most  networks   MAPE  most  "
        "in 90%  least  85-97%  worse than constant or shape"
    )
    for way, line in lines.items():
        print(
            f"{way:13s} {line['pairs']:5d} {line['spearman']:9.3f} {line['least_spearman']:5.2f} "
            f"{line['mape']:6.1%} {line['largest_mape']:5.0%} {line['networks_spearman']:9.3f} "
            f"{line['networks_mape']:6.1%} {line['largest_networks_mape']:5.0%} "
            f"{line['coverage']:7.0%} {line['least_coverage']:6.0%} "
            f"{line['pairs_within_85_97']:7d} {line['pairs_worse_than_constant_or_shape']:6d}"
        )
    print("\npair, probes: ops Spearman, MAPE (constant, shape); networks Spearman, MAPE; in 90%")
    for each in outcomes:
        print(
            f"{each.pair}, {each.probes}: {each.spearman:.3f}, {each.mape:.1%} "
            f"({each.constant:.0%}, {each.shape:.0%}); {each.networks_spearman:.3f}, "
            f"{each.networks_mape:.1%}; {each.coverage:.0%}"
        )
    if arguments.json:
        document = {"summary": lines, "transfers": [asdict(each) for each in outcomes]}
        print(json.dumps(document))


if __name__ == "__main__":
    main()
