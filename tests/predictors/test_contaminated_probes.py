"""Probes not measured on the target, or when it was slower: noticed, named and allowed for."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from device_tables import plain_cost, published_ops, table_of

from proxyless_hw.cli import main
from proxyless_hw.predictors.probes import choose_probes
from proxyless_hw.predictors.transfer import transfer
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import Entry, LatencyTable

OPS = published_ops()
SOURCE = table_of(OPS, noise=0.03, name="known")


def slow_seven(op: OpSpec) -> float:
    """A runtime without a fast routine for 7x7, and cheaper for large maps."""
    slow = 10.0 if op.kernel == 7 else 1.0
    return 0.3 * plain_cost(op) * slow * (op.in_h / 28) ** -0.2


TRUTH = table_of(OPS, slow_seven, noise=0.03, seed=9, name="whole", device="new", runtime="other")


def probes_of(ops: list[OpSpec]) -> LatencyTable:
    return LatencyTable({op: TRUTH.entries[op] for op in ops}, TRUTH.metadata, "probes")


def values(table: LatencyTable) -> np.ndarray:
    return np.array([table.entries[op].value for op in OPS])


def another_device(op: OpSpec) -> float:
    """A device with other rates again: dear calls, and no trouble with large kernels."""
    return 0.8 + 2.0 * plain_cost(op) * (op.in_c / 100) ** 0.3


def contaminated(kind: str, seed: int) -> tuple[LatencyTable, set[OpSpec]]:
    """Fifteen probes, and those of them that were not measured on the target."""
    draw = np.random.default_rng(seed)
    chosen = choose_probes(SOURCE, 15)
    wrong = [chosen[i] for i in draw.permutation(15)[: {"clean": 0, "wild": 1}.get(kind, 3)]]
    entries = dict(probes_of(chosen).entries)
    for op in wrong:
        value = {"device": another_device(op), "stale": 1.5 * entries[op].value}.get(kind)
        entries[op] = Entry(value or 20 * entries[op].value, samples=20)
    return LatencyTable(entries, TRUTH.metadata, "probes"), set(wrong)


@pytest.mark.parametrize("kind", ["clean", "device", "stale", "wild"])
def test_intervals_hold_whatever_some_probes_were_measured_on(kind: str) -> None:
    coverages, widths, named = [], [], []
    for seed in range(4):
        probes, wrong = contaminated(kind, seed)
        result = transfer([SOURCE], probes)
        rest = [op for op in OPS if op not in probes]
        entries = [result.table.entries[op] for op in rest]
        inside = [
            entry.ci_low <= TRUTH.entries[op].value <= entry.ci_high  # type: ignore[operator]
            for op, entry in zip(rest, entries, strict=True)
        ]
        coverages.append(np.mean(inside))
        widths.append(result.half_width)
        suspects = {suspect.op for suspect in result.suspects}
        named.append(len(suspects & wrong) / max(1, len(wrong)))
        assert not suspects - wrong
    assert np.mean(coverages) >= 0.85
    assert np.median(widths) < 1.0
    if kind == "wild":
        assert named == [1.0] * 4
    elif kind == "device":
        # Not all: of the classifier and each convolution there is one probe, and an op without
        # relatives may cost anything on a new device.
        assert min(named) > 0


def test_a_wild_probe_hardly_moves_the_predictions_and_is_said_how_far_off() -> None:
    chosen = choose_probes(SOURCE, 15)
    wild = next(op for op in chosen[4:] if (op.op, op.kernel) == ("mbconv", 3))
    probes = probes_of(chosen)
    entry = replace(probes.entries[wild], value=30 * TRUTH.entries[wild].value)
    spoilt = LatencyTable({**probes.entries, wild: entry}, probes.metadata, "probes")
    result, clean = transfer([SOURCE], spoilt), transfer([SOURCE], probes)
    (suspect,) = result.suspects
    assert suspect.op == wild
    assert suspect.ratio == pytest.approx(30, rel=0.5)
    assert suspect.probability > 0.9
    rest = [op for op in OPS if op not in probes]
    moved = [np.log(result.table.entries[op].value / clean.table.entries[op].value) for op in rest]
    assert np.median(np.abs(moved)) < 0.1
    assert result.half_width >= 0.9 * clean.half_width


def test_a_suspicious_probe_keeps_its_value_and_its_interval_holds_the_other_view() -> None:
    chosen = choose_probes(SOURCE, 15)
    probes = probes_of(chosen)
    wild = next(op for op in chosen[4:] if (op.op, op.kernel) == ("mbconv", 3))
    spoilt = {**probes.entries, wild: Entry(30 * TRUTH.entries[wild].value, samples=20)}
    result = transfer([SOURCE], LatencyTable(spoilt, probes.metadata, "probes"))
    others = transfer([SOURCE], probes_of([op for op in chosen if op != wild]))
    view = others.table.entries[wild].value
    assert view == pytest.approx(TRUTH.entries[wild].value, rel=0.25)
    entry = result.table.entries[wild]
    assert entry.value == 30 * TRUTH.entries[wild].value
    assert entry.ci_low is not None
    assert entry.ci_high is not None
    assert entry.ci_low <= view
    assert entry.ci_high >= entry.value
    assert result.table.metadata["suspicious_probes"] == wild.key


def test_probes_that_agree_are_not_suspected() -> None:
    result = transfer([SOURCE], probes_of(choose_probes(SOURCE, 30)))
    assert result.suspects == ()
    assert "suspicious_probes" not in result.table.metadata


def test_with_very_few_probes_nobody_is_suspected() -> None:
    chosen = choose_probes(SOURCE, 5)
    probes = probes_of(chosen)
    wild = Entry(100 * probes.entries[chosen[0]].value)
    spoilt = LatencyTable({**probes.entries, chosen[0]: wild}, probes.metadata, "probes")
    result = transfer([SOURCE], spoilt)
    assert result.suspects == ()
    assert result.half_width > transfer([SOURCE], probes).half_width


def test_a_source_is_not_chosen_by_probes_that_do_not_belong() -> None:
    similar = table_of(OPS, slow_seven, noise=0.03, seed=4, name="similar")
    probes, _ = contaminated("device", 1)
    assert transfer([SOURCE, similar], probes).source == "similar"


def test_the_order_of_the_probes_does_not_matter() -> None:
    probes, _ = contaminated("device", 2)
    turned = LatencyTable(dict(reversed(probes.entries.items())), probes.metadata, "probes")
    first, second = transfer([SOURCE], probes), transfer([SOURCE], turned)
    assert {s.op for s in first.suspects} == {s.op for s in second.suspects}
    assert np.allclose(np.log(values(first.table)), np.log(values(second.table)), atol=1e-3)


def test_the_command_names_suspicious_probes_even_when_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probes, wrong = contaminated("wild", 0)
    (wild,) = wrong
    SOURCE.save(tmp_path / "known.csv")
    probes.save(tmp_path / "probes.csv")
    new = tmp_path / "new.csv"
    arguments = ["--from", str(tmp_path / "known.csv"), "--probes", str(tmp_path / "probes.csv")]
    command = ["table", "transfer", *arguments, "--output", str(new), "--json", "--quiet"]
    with pytest.raises(SystemExit) as exit_:
        main(command)
    assert exit_.value.code == 0
    printed = capsys.readouterr()
    assert "1 of 15 probes disagree with the others" in printed.err
    assert f"  {wild.key}: " in printed.err
    assert "Measure them again" in printed.err
    (named,) = json.loads(printed.out)["suspicious_probes"]
    assert named["op"] == wild.key
    assert LatencyTable.load(new).metadata["suspicious_probes"] == wild.key
