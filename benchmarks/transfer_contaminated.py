"""Do a transfer's 95% intervals hold when some of its probes were not measured on the target?

Devices whose whole tables are known are transferred to each other. Of the probes one fifth is
replaced: by the values of another device (each other one of its group, the source included), by
values 1.5 times as high (measured when the target was slower), or one probe is 10 times too high
or low; and the clean case. What is counted is whether the intervals hold the true costs of the
ops that were not probed, how wide they are, and which probes are named as suspicious.

The shipped Pixel 1 table and the tables of benchmarks/data are one group. With --data, a folder
with the published tables (note10/*_lookup_table.yaml, jetson/{cpu,gpu}_*.json), each resolution
that several devices have is another. Six rows of each Jetson GPU table and one of each Jetson CPU
table are copies of the Note10's: there the clean case is not quite clean.

    python benchmarks/transfer_contaminated.py [--data shared/data] [--draws 2] [--json]
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proxyless_hw.predictors.probes import choose_probes
from proxyless_hw.predictors.transfer import transfer
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.importers.published import parse_published_yaml
from proxyless_hw.tables.table import Entry, LatencyTable

HERE = Path(__file__).parent / "data"
COUNTS = (10, 15, 30)
KINDS = ("clean", "another device", "1.5 times slower", "one wild")
SHARE = 5
"""One probe in so many is replaced."""

Group = dict[str, dict[OpSpec, float]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One transfer, judged.

    Attributes:
        kind, count: what was replaced, and how many probes there were.
        scenario: source, target, and the device of the replaced probes.
        coverage: share of the ops not probed whose true cost is within the 95% interval.
        half_width: median over the intervals of how far they reach up, relative.
        error: median relative error of the ops not probed.
        named: share of the replaced probes that are named; None where none was replaced.
        any_named: whether one of them is.
        wrongly_named: how many of the other probes are named.
    """

    kind: str
    count: int
    scenario: str
    coverage: float
    half_width: float
    error: float
    named: float | None
    any_named: bool
    wrongly_named: int


def groups(data: Path | None) -> list[Group]:
    """Tables whose devices share ops, each cut down to the ops that all of its group have."""
    tables = [
        {
            "pixel1": LatencyTable.load("pixel1"),
            "onnxruntime": LatencyTable.load(str(HERE / "cpu_widths.csv")),
            "litert": LatencyTable.load(str(HERE / "litert_224.csv")),
        }
    ]
    for path in sorted(data.glob("note10/*_lookup_table.yaml")) if data else ():
        pixels = re.sub(r"\D", "", path.stem)
        found = {f"note10-{pixels}": path}
        found |= {
            f"jetson-{kind}-{pixels}": data / "jetson" / f"{kind}_{pixels}.json"
            for kind in ("cpu", "gpu")
        }
        if all(file.is_file() for file in found.values()):
            # Their JSON is the published YAML form: JSON is YAML.
            tables.append(
                {
                    name: parse_published_yaml(file.read_text(), str(file))
                    for name, file in found.items()
                }
            )
    return [_common(group) for group in tables]


def _common(group: dict[str, LatencyTable]) -> Group:
    first, *others = group.values()
    ops = [op for op in first.entries if all(op in table for table in others)]
    return {name: {op: table.entries[op].value for op in ops} for name, table in group.items()}


def cases(group: Group) -> Iterator[tuple[str, str, str, str]]:
    """(kind, source, target, device of the replaced probes)."""
    for source in group:
        for target in group:
            if source == target:
                continue
            for kind in KINDS:
                if kind == "another device":
                    yield from ((kind, source, target, other) for other in group if other != target)
                else:
                    yield kind, source, target, ""


def judge(
    group: Group, case: tuple[str, str, str, str], count: int, generator: np.random.Generator
) -> Outcome:
    """One transfer; the probes are those of `table probes` in one draw of three, else random."""
    kind, source, target, other = case
    truth = group[target]
    known = table(group[source], source)
    ops = list(truth)
    if generator.random() < 1 / 3:
        probes = choose_probes(known, count)
    else:
        probes = [ops[index] for index in generator.permutation(len(ops))[:count]]
    replaced = {
        "clean": [],
        "one wild": probes[generator.integers(count) :][:1],
    }.get(kind, [probes[i] for i in generator.permutation(count)[: count // SHARE]])
    wild = float(generator.choice([10.0, 0.1]))
    values = {op: truth[op] for op in probes}
    for op in replaced:
        factor = {"1.5 times slower": 1.5, "one wild": wild}.get(kind)
        values[op] = group[other][op] if factor is None else factor * truth[op]
    result = transfer([known], table(values, "probes"))
    rest = [op for op in ops if op not in values]
    entries = [result.table.entries[op] for op in rest]
    inside = [
        entry.ci_low <= truth[op] <= entry.ci_high for op, entry in zip(rest, entries, strict=True)
    ]
    errors = [abs(entry.value / truth[op] - 1) for op, entry in zip(rest, entries, strict=True)]
    named = {suspect.op for suspect in result.suspects}
    hits = named & set(replaced)
    return Outcome(
        kind=kind,
        count=count,
        scenario=f"{source} -> {target}" + (f", probes of {other}" if other else ""),
        coverage=float(np.mean(inside)),
        half_width=result.half_width,
        error=float(np.median(errors)),
        named=len(hits) / len(replaced) if replaced else None,
        any_named=bool(hits),
        wrongly_named=len(named - hits),
    )


def table(values: dict[OpSpec, float], name: str) -> LatencyTable:
    header = {"metric": "latency", "unit": "ms", "device": name, "statistic": "median"}
    return LatencyTable({op: Entry(value) for op, value in values.items()}, header, name)


def summary(outcomes: list[Outcome]) -> dict[str, object]:
    """The figures of one kind and number of probes."""
    coverages = [each.coverage for each in outcomes]
    named = [each.named for each in outcomes if each.named is not None]
    scenarios: dict[str, list[float]] = {}
    for each in outcomes:
        scenarios.setdefault(each.scenario, []).append(each.coverage)
    worst = min(scenarios, key=lambda name: float(np.mean(scenarios[name])))
    return {
        "transfers": len(outcomes),
        "coverage": float(np.mean(coverages)),
        "below_85": float(np.mean(np.array(coverages) < 0.85)),
        "median_half_width": float(np.median([each.half_width for each in outcomes])),
        "median_error": float(np.median([each.error for each in outcomes])),
        "replaced_named": float(np.mean(named)) if named else None,
        "some_replaced_named": (
            float(np.mean([each.any_named for each in outcomes])) if named else None
        ),
        "wrongly_named": sum(each.wrongly_named for each in outcomes)
        / sum(each.count for each in outcomes),
        "worst_scenario": worst,
        "worst_scenario_coverage": float(np.mean(scenarios[worst])),
    }


def main() -> None:
    """Prints a line per kind of contamination and number of probes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of published tables")
    parser.add_argument("--draws", type=int, default=1, help="per scenario (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    devices = groups(arguments.data)
    outcomes = [
        judge(group, case, count, generator)
        for group in devices
        for case in cases(group)
        for count in COUNTS
        for _ in range(arguments.draws)
    ]
    print(f"tables: {'; '.join(', '.join(group) for group in devices)}")
    print(
        "replaced           probes  transfers  in 95% CI  under 85%  half-width  error  "
        "named  some named  wrongly  worst scenario"
    )
    document: dict[str, object] = {"draws": arguments.draws, "tables": [*map(list, devices)]}
    for kind in KINDS:
        for count in COUNTS:
            line = summary([e for e in outcomes if (e.kind, e.count) == (kind, count)])
            document[f"{kind}, {count} probes"] = line
            named, some = line["replaced_named"], line["some_replaced_named"]
            print(
                f"{kind:18s} {count:6d} {line['transfers']:10d} {line['coverage']:10.1%} "
                f"{line['below_85']:10.0%} {line['median_half_width']:11.0%} "
                f"{line['median_error']:6.1%} "
                + (" " * 18 if named is None else f"{named:6.0%} {some:11.0%}")
                + f" {line['wrongly_named']:8.1%}  "
                f"{line['worst_scenario_coverage']:.0%}: {line['worst_scenario']}"
            )
    if arguments.json:
        print(json.dumps(document))


if __name__ == "__main__":
    main()
