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
from proxyless_hw.predictors.probes import choose_probes, next_probe
from proxyless_hw.predictors.scores import spearman
from proxyless_hw.predictors.transfer import transfer
from proxyless_hw.profilers.op_list import read_op_list
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.merge import merge
from proxyless_hw.tables.table import LatencyTable

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
    # Random ones are often as good, and sometimes very bad.
    assert error(choose_probes(SOURCE, 8)) < np.mean(random)


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
    with pytest.raises(PredictorError, match="received 0"):
        transfer([SOURCE], probes_of(SOURCE, []))
    with pytest.raises(PredictorError, match="received 1"):
        transfer([SOURCE], probes_of(SOURCE, OPS[:1]))
    with pytest.raises(PredictorError, match="costs 2 ms"):
        transfer([SOURCE], table_of(OPS[:5], lambda op: 2.0))
    with pytest.raises(PredictorError, match="received none"):
        transfer([], probes)
    with pytest.raises(PredictorError, match="lacks 5 of 5"):
        transfer([table_of([])], probes)


def launching(op: OpSpec) -> float:
    """A device that spends its time on launches, however large an op is: 0.2 ms a kernel."""
    if op.op != "mbconv":
        return 0.2
    return 0.2 * (2 + (op.expand != 1) + op.skip)


@pytest.mark.parametrize("next_one", [False, True])
def test_ten_probes_tell_a_device_that_only_launches(next_one: bool) -> None:
    truth = table_of(OPS, launching, noise=0.02, seed=9, device="gpu")
    chosen = [] if next_one else choose_probes(SOURCE, 10)
    while len(chosen) < 10:
        chosen.append(next_probe(SOURCE, probes_of(truth, chosen)))
    result = transfer([SOURCE], probes_of(truth, chosen))
    rest = [op for op in OPS if op not in chosen]
    ratio = [result.table.entries[op].value / truth.entries[op].value for op in rest]
    assert np.mean(np.abs(np.array(ratio) - 1)) < 0.08
    assert result.bound_by["launches"] > 0.8


@pytest.mark.parametrize("cost", [launching, slow_seven])
def test_five_probes_are_no_worse_than_a_constant_or_the_shape_of_the_source(
    cost: Callable[[OpSpec], float],
) -> None:
    truth = table_of(OPS, cost, noise=0.03, seed=9)
    chosen = choose_probes(SOURCE, 5)
    rest = [op for op in OPS if op not in chosen]
    true = np.array([truth.entries[op].value for op in rest])
    predicted = transfer([SOURCE], probes_of(truth, chosen)).table

    def error(shape: list[float]) -> float:
        """With the best of all factors, which takes all true values to know."""
        ratios = true / np.array(shape)
        return min(float(np.mean(np.abs(factor / ratios - 1))) for factor in ratios)

    own = np.mean(np.abs(np.array([predicted.entries[op].value for op in rest]) / true - 1))
    assert own < error([1.0] * len(rest))
    assert own < error([SOURCE.entries[op].value for op in rest])


def test_a_source_that_explains_the_probes_better_counts_more() -> None:
    truth = target()
    similar = table_of(OPS, slow_seven, noise=0.03, seed=4, name="similar")
    probes = probes_of(truth, choose_probes(SOURCE, 10))
    both = transfer([SOURCE, similar], probes)
    assert both.source_weights["similar"] > 0.9
    assert sum(both.source_weights.values()) == pytest.approx(1)
    error = np.mean(np.abs(values(both.table) / values(truth) - 1))
    assert error < np.mean(np.abs(values(transfer([SOURCE], probes).table) / values(truth) - 1))


def test_a_further_source_may_be_of_other_ops() -> None:
    """It tells rates only: here those of a device without any trouble at 7x7."""
    other = table_of(published_ops(192), noise=0.03, name="other sizes")
    truth = target(lambda op: plain_cost(op) / 7)
    result = transfer([SOURCE, other], probes_of(truth, choose_probes(SOURCE, 6)))
    assert list(result.table.entries) == OPS
    with pytest.raises(PredictorError, match="'other sizes' lacks 6 of 6"):
        transfer([other, SOURCE], probes_of(truth, choose_probes(SOURCE, 6)))
    with pytest.raises(PredictorError, match="'nothing' is empty"):
        transfer([SOURCE, table_of([], name="nothing")], probes_of(truth, OPS[:4]))


def test_the_next_probe_is_new_and_the_first_is_that_of_the_list() -> None:
    truth, chosen = target(), []
    for _ in range(7):
        chosen.append(next_probe(SOURCE, probes_of(truth, chosen)))
    assert chosen[0] == choose_probes(SOURCE, 3)[0]
    assert len(set(chosen)) == 7


def test_there_is_no_next_probe_when_all_ops_are_measured() -> None:
    few = table_of(OPS[:4])
    with pytest.raises(PredictorError, match="nothing is left to measure"):
        next_probe(few, few)
    with pytest.raises(PredictorError, match="lacks 1 of 1"):
        next_probe(few, table_of(OPS[5:6]))


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


def test_probes_are_printed_one_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SOURCE.save(tmp_path / "known.csv")
    assert run("table", "probes", "--from", str(tmp_path / "known.csv"), "-n", "4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [OpSpec.from_key(line) for line in lines] == choose_probes(SOURCE, 4)


def test_the_next_probe_is_printed_given_a_table_that_may_not_be_there_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SOURCE.save(tmp_path / "known.csv")
    probes = tmp_path / "probes.csv"
    arguments = ["table", "probes", "--from", str(tmp_path / "known.csv"), "--next", str(probes)]
    assert run(*arguments) == 0
    printed = capsys.readouterr()
    known = LatencyTable.load(tmp_path / "known.csv")
    assert OpSpec.from_key(printed.out.strip()) == choose_probes(known, 3)[0]
    assert "is not there yet" in printed.err
    probes_of(target(), choose_probes(known, 4)).save(probes)
    assert run(*arguments, "--json") == 0
    (key,) = json.loads(capsys.readouterr().out)["ops"]
    assert OpSpec.from_key(key) == next_probe(known, LatencyTable.load(probes))
    assert run(*arguments, "-n", "4") == 1
    assert "leave -n out" in capsys.readouterr().err


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
