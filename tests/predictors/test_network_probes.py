"""Whole networks measured on a new device, in place of ops or beside them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from device_tables import HEADER, plain_cost, published_ops, table_of

from proxyless_hw.cli import main
from proxyless_hw.errors import MissingEntryError, PredictorError
from proxyless_hw.predictors.network_probes import (
    NetworkProbe,
    measurements,
    read_network_probes,
)
from proxyless_hw.predictors.probes import choose_probes
from proxyless_hw.predictors.provenance import transferred_ops
from proxyless_hw.predictors.scores import score
from proxyless_hw.predictors.transfer import transfer
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

SPACE = SearchSpace.load("imagenet")
OPS = published_ops()
SOURCE = table_of(OPS, noise=0.03, name="known")


def other_rates(op: OpSpec) -> float:
    """Dear calls, cheap work, and large kernels as cheap as small ones."""
    small = replace(op, kernel=3) if op.op == "mbconv" else op
    return 0.5 + 0.4 * plain_cost(small)


TRUTH = table_of(OPS, other_rates, noise=0.03, seed=9, name="whole", device="new")


def architectures(count: int, seed: int) -> list[Architecture]:
    draw = np.random.default_rng(seed)
    return [
        Architecture.from_choices(
            SPACE, [int(draw.integers(len(slot.candidates))) for slot in SPACE.slots]
        )
        for _ in range(count)
    ]


def probe(arch: Architecture, factor: float = 1.0) -> NetworkProbe:
    return NetworkProbe("net", tuple(arch.ops()), factor * TRUTH.latency_ms(arch))


def test_fifteen_networks_tell_other_networks() -> None:
    result = transfer([SOURCE], networks=[probe(arch) for arch in architectures(15, 0)])
    unseen = architectures(100, 1)
    true = [TRUTH.latency_ms(arch) for arch in unseen]
    scores = score([result.table.latency_ms(arch) for arch in unseen], true)
    assert scores.spearman > 0.95
    assert scores.mape < 0.03
    before = score([SOURCE.latency_ms(arch) for arch in unseen], true)
    assert before.mape > 0.1
    assert (result.probes, result.networks) == (0, 15)


def test_a_table_from_networks_alone_holds_no_measured_op() -> None:
    networks = [probe(arch) for arch in architectures(6, 0)]
    table = transfer([SOURCE], networks=networks, setting={"device": "cloud"}).table
    assert transferred_ops(table) == set(OPS)
    assert table.metadata["device"] == "cloud"
    assert "probes" not in table.metadata
    assert "with 6 whole networks" in table.metadata["source"]
    assert (table.metric, table.unit) == ("latency", "ms")


def test_networks_beside_probes_add_to_what_is_known() -> None:
    chosen = choose_probes(SOURCE, 4)
    probes = LatencyTable({op: TRUTH.entries[op] for op in chosen}, HEADER, "probes")
    networks = [probe(arch) for arch in architectures(12, 0)]
    true = np.array([entry.value for entry in TRUTH.entries.values()])

    def error(*given: object) -> float:
        result = transfer([SOURCE], *given).table  # type: ignore[arg-type]
        values = np.array([entry.value for entry in result.entries.values()])
        return float(np.mean(np.abs(values / true - 1)))

    assert error(probes, networks) < error(probes)


def test_a_network_that_was_measured_elsewhere_is_named() -> None:
    networks = [probe(arch) for arch in architectures(12, 0)]
    wrong = NetworkProbe("wrong", networks[3].ops, 6 * networks[3].value)
    result = transfer([SOURCE], networks=[*networks[:3], wrong, *networks[4:]])
    (suspect,) = result.suspects
    assert (suspect.name, suspect.op) == ("wrong", None)
    assert suspect.ratio == pytest.approx(6, rel=0.1)


def test_probes_and_networks_are_sums_of_ops() -> None:
    probes = LatencyTable({OPS[2]: TRUTH.entries[OPS[2]]}, HEADER, "probes")
    network = NetworkProbe("net", (OPS[0], OPS[3], OPS[3]), 5.0)
    measured = measurements(OPS[:4], probes, [network])
    assert measured.counts.tolist() == [[0, 0, 1, 0], [1, 0, 0, 2]]
    assert np.exp(measured.log_value) == pytest.approx([TRUTH.entries[OPS[2]].value, 5.0])


def test_too_few_networks_or_equal_ones_are_refused() -> None:
    networks = [probe(arch) for arch in architectures(2, 0)]
    with pytest.raises(
        PredictorError, match="at least 3 probes, ops or whole networks: received 2"
    ):
        transfer([SOURCE], networks=networks)
    alike = [NetworkProbe(str(i), networks[0].ops, 4.0) for i in range(3)]
    with pytest.raises(PredictorError, match="all of 'networks' costs 4 ms"):
        transfer([SOURCE], networks=alike)


def written(folder: Path, count: int) -> Path:
    lines = ["network,value"]
    for number, arch in enumerate(architectures(count, 0)):
        arch.save(folder / f"{number}.json")
        lines.append(f"{number}.json,{TRUTH.latency_ms(arch)!r}")
    (folder / "measured.csv").write_text("\n".join(lines) + "\n")
    return folder / "measured.csv"


def test_a_file_of_networks_is_read_relative_to_itself(tmp_path: Path) -> None:
    found = read_network_probes(written(tmp_path, 3), SOURCE)
    assert [each.name for each in found] == ["0.json", "1.json", "2.json"]
    for each, arch in zip(found, architectures(3, 0), strict=True):
        assert each.ops == tuple(arch.ops())
        assert each.value == TRUTH.latency_ms(arch)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,value\n", "line 1 must name the columns network and value"),
        ("network,value\n0.json,-1\n", "line 2: value must be positive and finite: received '-1'"),
        ("network,value\n0.json,fast\n", "line 2: value must be positive"),
        ("network,value\n0.json\n", "line 2: value must be positive"),
        ("network,value\n0.json,1\n0.json,2\n", "line 3 repeats the network '0.json'"),
    ],
)
def test_a_bad_file_of_networks_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, 1)
    path.write_text(text)
    with pytest.raises(PredictorError, match=message):
        read_network_probes(path, SOURCE)


def test_a_network_whose_ops_the_source_lacks_is_refused(tmp_path: Path) -> None:
    few = table_of(OPS[:20], name="few")
    with pytest.raises(MissingEntryError, match="has 10 ops that 'few' lacks"):
        read_network_probes(written(tmp_path, 1), few)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return int(exit_.value.code or 0)


def test_the_command_transfers_from_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks, known, new = written(tmp_path, 8), str(tmp_path / "known.csv"), tmp_path / "new.csv"
    SOURCE.save(known)
    command = ["table", "transfer", "--from", known, "--output", str(new)]
    assert run(*command) == 1
    assert "give --probes TABLE (ops), --networks CSV" in capsys.readouterr().err
    arguments = [*command, "--networks", str(networks), "--json"]
    assert run(*arguments, "--set", "devise=phone") == 1
    assert "'device'" in capsys.readouterr().err
    assert run(*arguments, "--set", "device=phone") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["networks"] == 8
    assert "8 whole networks measured" in printed.err
    assert LatencyTable.load(new).metadata["device"] == "phone"
    assert run(*arguments, "--set", "device=phone", "--probes", known, "--force") == 1
    assert "the header of --probes says it" in capsys.readouterr().err
