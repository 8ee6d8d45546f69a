"""Transfer to a new device from a known table and probes, and the choice of the probes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from device_tables import plain_cost, published_ops, table_of

from proxyless_hw.cli import main
from proxyless_hw.errors import PredictorError, ProfilingError, TableError
from proxyless_hw.predictors.probes import choose_probes
from proxyless_hw.predictors.scores import spearman
from proxyless_hw.predictors.transfer import transfer
from proxyless_hw.profilers.op_list import read_op_list
from proxyless_hw.specs import OpSpec
from proxyless_hw.tables.merge import merge
from proxyless_hw.tables.table import Entry, LatencyTable

OPS = published_ops()
SOURCE = table_of(OPS, noise=0.03, name="known")


def slow_seven(op: OpSpec) -> float:
    """A runtime without a fast routine for 7x7, and cheaper for large maps."""
    slow = 10.0 if op.kernel == 7 else 1.0
    return 0.3 * plain_cost(op) * slow * (op.in_h / 28) ** -0.2


def target(cost: Callable[[OpSpec], float] = slow_seven) -> LatencyTable:
    return table_of(OPS, cost, noise=0.03, seed=9, name="whole", device="new", runtime="other")


def probes_of(table: LatencyTable, ops: list[OpSpec]) -> LatencyTable:
    return LatencyTable({op: table.entries[op] for op in ops}, table.metadata, "probes")


def values(table: LatencyTable) -> np.ndarray:
    return np.array([table.entries[op].value for op in OPS])


def test_fifteen_probes_rank_a_device_that_orders_ops_otherwise() -> None:
    truth = target()
    result = transfer([SOURCE], probes_of(truth, choose_probes(SOURCE, 15)))
    assert spearman(values(SOURCE), values(truth)) < 0.9
    assert spearman(values(result.table), values(truth)) > 0.98


def test_more_probes_are_closer_on_the_ops_not_probed() -> None:
    truth = target()
    errors = []
    for n in (3, 15, 40):
        chosen = choose_probes(SOURCE, n)
        predicted = transfer([SOURCE], probes_of(truth, chosen)).table
        rest = [op for op in OPS if op not in chosen]
        errors.append(
            np.mean([abs(predicted.entries[op].value / truth.entries[op].value - 1) for op in rest])
        )
    assert errors[2] < errors[1] < errors[0]
    assert errors[1] < 0.15


def test_a_device_that_is_only_faster_needs_few_probes() -> None:
    truth = target(lambda op: plain_cost(op) / 7)
    predicted = transfer([SOURCE], probes_of(truth, choose_probes(SOURCE, 5))).table
    error = np.abs(values(predicted) / values(truth) - 1)
    assert np.median(error) < 0.1


def test_intervals_hold_most_ops_not_probed() -> None:
    truth = target()
    chosen = choose_probes(SOURCE, 20)
    predicted = transfer([SOURCE], probes_of(truth, chosen)).table
    inside = []
    for op in set(OPS) - set(chosen):
        entry = predicted.entries[op]
        assert entry.ci_low is not None
        assert entry.ci_high is not None
        inside.append(entry.ci_low <= truth.entries[op].value <= entry.ci_high)
    assert np.mean(inside) > 0.85


def test_probed_ops_keep_their_measurement() -> None:
    truth = target()
    chosen = choose_probes(SOURCE, 6)
    predicted = transfer([SOURCE], probes_of(truth, chosen)).table
    for op in OPS:
        measured = predicted.entries[op] == truth.entries[op]
        assert measured == (op in chosen)
        assert (predicted.entries[op].samples is None) == (op not in chosen)


def test_the_header_says_that_the_table_is_transferred() -> None:
    truth = target()
    header = transfer([SOURCE], probes_of(truth, choose_probes(SOURCE, 6))).table.metadata
    assert header["statistic"] == "transferred"
    assert (header["device"], header["runtime"]) == ("new", "other")
    assert header["transferred_from"] == "known"
    assert "'known' (made-up) with 6 probes of 'probes'" in header["source"]
    assert [OpSpec.from_key(key) for key in header["probes"].split()] == choose_probes(SOURCE, 6)


def test_a_transferred_table_does_not_merge_with_a_measured_one() -> None:
    truth = target()
    chosen = choose_probes(SOURCE, 6)
    predicted = transfer([SOURCE], probes_of(truth, chosen)).table
    with pytest.raises(TableError, match="statistic is 'transferred'"):
        merge([predicted, truth])


def test_a_transferred_table_is_no_source_and_no_probe() -> None:
    truth = target()
    probes = probes_of(truth, choose_probes(SOURCE, 6))
    predicted = transfer([SOURCE], probes).table
    for source, other in ((predicted, probes), (SOURCE, predicted)):
        with pytest.raises(PredictorError, match="is itself transferred"):
            transfer([source], other)


def test_the_source_that_ranks_the_probes_best_is_used() -> None:
    truth = target()
    similar = table_of(OPS, slow_seven, noise=0.03, seed=4, name="similar")
    result = transfer([SOURCE, similar], probes_of(truth, choose_probes(SOURCE, 12)))
    assert result.source == "similar"
    assert set(result.rank_correlation) == {"known", "similar"}


def test_probes_are_spread_over_kernels_and_sizes() -> None:
    chosen = choose_probes(SOURCE, 12)
    assert len(set(chosen)) == 12
    assert {op.kernel for op in chosen if op.op == "mbconv"} == {3, 5, 7}
    assert {op.stride for op in chosen} == {1, 2}
    assert {op.op for op in chosen} == {"mbconv", "conv", "classifier"}


def test_fewer_probes_are_the_first_of_more() -> None:
    assert choose_probes(SOURCE, 5) == choose_probes(SOURCE, 20)[:5]


def test_chosen_probes_beat_random_ones() -> None:
    truth = target()

    def error(ops: list[OpSpec]) -> float:
        predicted = transfer([SOURCE], probes_of(truth, ops)).table
        return float(np.mean(np.abs(np.log(values(predicted) / values(truth)))))

    draw = np.random.default_rng(0)
    random = [error([OPS[i] for i in draw.permutation(len(OPS))[:8]]) for _ in range(7)]
    assert error(choose_probes(SOURCE, 8)) < np.median(random)


@pytest.mark.parametrize("n", [-1, 0, 2])
def test_too_few_probes_are_refused(n: int) -> None:
    with pytest.raises(PredictorError, match="at least 3 probes"):
        choose_probes(SOURCE, n)


def test_more_probes_than_ops_are_refused() -> None:
    with pytest.raises(PredictorError, match=f"{len(OPS) + 1} probes cannot be chosen"):
        choose_probes(SOURCE, len(OPS) + 1)
    with pytest.raises(PredictorError, match="from the 0 ops"):
        choose_probes(table_of([]), 3)


def test_probes_that_the_source_does_not_know_are_named() -> None:
    stranger = replace(OPS[5], in_c=1234)
    probes = table_of([*OPS[:4], stranger], name="probes")
    with pytest.raises(PredictorError, match=r"lacks 1 of 5:\n  mbconv .*1234"):
        transfer([SOURCE], probes)


def test_bad_inputs_are_refused_with_their_reason() -> None:
    probes = probes_of(SOURCE, OPS[:5])
    energy = table_of(OPS, metric="energy", unit="mJ", name="joules")
    with pytest.raises(PredictorError, match="'joules' holds energy"):
        transfer([energy], probes)
    with pytest.raises(PredictorError, match="has 0"):
        transfer([SOURCE], probes_of(SOURCE, []))
    with pytest.raises(PredictorError, match="has 1"):
        transfer([SOURCE], probes_of(SOURCE, OPS[:1]))
    with pytest.raises(PredictorError, match="costs 2 ms"):
        transfer([SOURCE], table_of(OPS[:5], lambda op: 2.0))
    with pytest.raises(PredictorError, match="received none"):
        transfer([], probes)
    with pytest.raises(PredictorError, match="lacks 5 of 5"):
        transfer([table_of([])], probes)


def another_device(op: OpSpec) -> float:
    """A device with other rates again: dear calls, and no trouble with large kernels."""
    return 0.8 + 2.0 * plain_cost(op) * (op.in_c / 100) ** 0.3


def contaminated(kind: str, truth: LatencyTable, seed: int) -> tuple[LatencyTable, set[OpSpec]]:
    """Fifteen probes, and those of them that were not measured on the target."""
    draw = np.random.default_rng(seed)
    chosen = choose_probes(SOURCE, 15)
    wrong = [chosen[i] for i in draw.permutation(15)[: {"clean": 0, "wild": 1}.get(kind, 3)]]
    entries = dict(probes_of(truth, chosen).entries)
    for op in wrong:
        value = {"device": another_device(op), "stale": 1.5 * entries[op].value}.get(kind)
        entries[op] = Entry(value or 20 * entries[op].value, samples=20)
    return LatencyTable(entries, truth.metadata, "probes"), set(wrong)


@pytest.mark.parametrize("kind", ["clean", "device", "stale", "wild"])
def test_intervals_hold_whatever_some_probes_were_measured_on(kind: str) -> None:
    coverages, widths, named = [], [], []
    for seed in range(4):
        truth = target()
        probes, wrong = contaminated(kind, truth, seed)
        result = transfer([SOURCE], probes)
        rest = [op for op in OPS if op not in probes]
        entries = [result.table.entries[op] for op in rest]
        inside = [
            entry.ci_low <= truth.entries[op].value <= entry.ci_high  # type: ignore[operator]
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
        assert np.mean(named) > 0.6


def test_a_wild_probe_hardly_moves_the_predictions_and_is_said_how_far_off() -> None:
    truth = target()
    chosen = choose_probes(SOURCE, 15)
    wild = chosen[4]
    probes = probes_of(truth, chosen)
    entry = replace(probes.entries[wild], value=30 * truth.entries[wild].value)
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
    truth = target()
    chosen = choose_probes(SOURCE, 15)
    probes = probes_of(truth, chosen)
    wild = chosen[4]
    spoilt = {**probes.entries, wild: Entry(30 * truth.entries[wild].value, samples=20)}
    result = transfer([SOURCE], LatencyTable(spoilt, probes.metadata, "probes"))
    entry = result.table.entries[wild]
    assert entry.value == 30 * truth.entries[wild].value
    assert entry.ci_low is not None
    assert entry.ci_high is not None
    assert entry.ci_low <= truth.entries[wild].value
    assert entry.ci_high >= entry.value
    assert result.table.metadata["suspicious_probes"] == wild.key


def test_probes_that_agree_are_not_suspected() -> None:
    result = transfer([SOURCE], probes_of(target(), choose_probes(SOURCE, 30)))
    assert result.suspects == ()
    assert "suspicious_probes" not in result.table.metadata


def test_with_very_few_probes_nobody_is_suspected() -> None:
    chosen = choose_probes(SOURCE, 5)
    probes = probes_of(target(), chosen)
    wild = Entry(100 * probes.entries[chosen[0]].value)
    spoilt = LatencyTable({**probes.entries, chosen[0]: wild}, probes.metadata, "probes")
    result = transfer([SOURCE], spoilt)
    assert result.suspects == ()
    assert result.half_width > transfer([SOURCE], probes).half_width


def test_a_source_is_not_chosen_by_probes_that_do_not_belong() -> None:
    truth = target()
    similar = table_of(OPS, slow_seven, noise=0.03, seed=4, name="similar")
    probes, _ = contaminated("device", truth, 1)
    assert transfer([SOURCE, similar], probes).source == "similar"


def test_the_order_of_the_probes_does_not_matter() -> None:
    probes, _ = contaminated("device", target(), 2)
    turned = LatencyTable(dict(reversed(probes.entries.items())), probes.metadata, "probes")
    first, second = transfer([SOURCE], probes), transfer([SOURCE], turned)
    assert {s.op for s in first.suspects} == {s.op for s in second.suspects}
    assert np.allclose(np.log(values(first.table)), np.log(values(second.table)), atol=1e-3)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return int(exit_.value.code or 0)


def test_the_commands_go_from_a_table_to_a_transferred_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, listed, probes, output = (
        str(tmp_path / name) for name in ("known.csv", "probes.txt", "probes.csv", "new.csv")
    )
    SOURCE.save(source)
    assert run("table", "probes", "--from", source, "-n", "8", "--output", listed) == 0
    ops = read_op_list(Path(listed))
    assert ops == choose_probes(LatencyTable.load(source), 8)
    probes_of(target(), ops).save(probes)
    arguments = ["table", "transfer", "--from", source, "--probes", probes, "--output", output]
    capsys.readouterr()
    assert run(*arguments, "--json", "--quiet") == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["rows"], document["probes"]) == (len(OPS), 8)
    assert printed.err == ""
    table = LatencyTable.load(output)
    assert table.metadata["statistic"] == "transferred"
    assert len(table) == len(OPS)


def test_the_command_names_suspicious_probes_even_when_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probes, wrong = contaminated("wild", target(), 0)
    (wild,) = wrong
    SOURCE.save(tmp_path / "known.csv")
    probes.save(tmp_path / "probes.csv")
    new = tmp_path / "new.csv"
    arguments = ["--from", str(tmp_path / "known.csv"), "--probes", str(tmp_path / "probes.csv")]
    command = ["table", "transfer", *arguments, "--output", str(new), "--json", "--quiet"]
    assert run(*command) == 0
    printed = capsys.readouterr()
    assert "1 of 15 probes disagree with the others" in printed.err
    assert f"  {wild.key}: " in printed.err
    assert "Measure them again" in printed.err
    (named,) = json.loads(printed.out)["suspicious_probes"]
    assert named["op"] == wild.key
    assert LatencyTable.load(new).metadata["suspicious_probes"] == wild.key


def test_probes_are_printed_one_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SOURCE.save(tmp_path / "known.csv")
    assert run("table", "probes", "--from", str(tmp_path / "known.csv"), "-n", "4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [OpSpec.from_key(line) for line in lines] == choose_probes(SOURCE, 4)


def test_an_existing_table_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "known.csv")
    SOURCE.save(path)
    assert run("table", "transfer", "--from", path, "--probes", path, "--output", path) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no op"),
        ("# only a comment\n\n", "names no op"),
        ("mbconv 14x14\n", "line 1: not an op key"),
        (f"{OPS[0].key}\n{OPS[0].key.replace('conv', 'wonder', 1)}\n", "line 2: no op 'wonder'"),
    ],
)
def test_a_bad_list_of_ops_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ops.txt"
    path.write_text(text)
    with pytest.raises(ProfilingError, match=message):
        read_op_list(path)


def test_a_missing_list_of_ops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfilingError, match="cannot read"):
        read_op_list(tmp_path / "none.txt")
