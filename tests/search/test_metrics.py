"""A search for another cost than latency: from a table in mJ to the report, with its unit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_yaml import TINY_YAML

from proxyless_hw.cli import main
from proxyless_hw.errors import SearchError, TableError, TrainingError
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.measured import settings_of
from proxyless_hw.runs.torch_device import choose_device
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.prepare import prepare_problem
from proxyless_hw.search.resolutions import search_resolutions
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable
from proxyless_hw.units import figure_key, in_unit

TARGET = 7.2


def table_of(metric: str, unit: str, name: str = "made up") -> LatencyTable:
    """A table whose figures are made up, not measured."""
    ops = SearchSpace.from_yaml(TINY_YAML).ops()
    values = {op: 1.0 + 0.25 * index + 0.1 * op.kernel for index, op in enumerate(ops)}
    entries = {op: Entry(value, 0.99 * value, 1.01 * value) for op, value in values.items()}
    metadata = {
        **{"metric": metric, "unit": unit, "device": "made up", "device_kind": "cpu"},
        **{"runtime": "onnxruntime", "threads": "1", "batch_size": "1", "precision": "fp32"},
        **{"statistic": "median", "num_classes": "10"},
    }
    return LatencyTable(entries, metadata, name)


def keys_in(document: Any) -> set[str]:
    """Every key of a JSON document, at any depth."""
    if isinstance(document, dict):
        return set(document).union(*map(keys_in, document.values()))
    return set().union(*map(keys_in, document)) if isinstance(document, list) else set()


def ms_keys(document: Any) -> set[str]:
    return {key for key in keys_in(document) if key.endswith("_ms") or key == "ms"}


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    code = exit_.value.code
    return 0 if code is None else int(code)


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return document


class Energy:
    """A finished search on a table of energy, made by the command."""

    def __init__(self, folder: Path) -> None:
        self.space, self.table = folder / "tiny.yaml", folder / "energy.csv"
        self.run = folder / "run"
        self.space.write_text(TINY_YAML, encoding="utf-8")
        table_of("energy", "mJ").save(self.table)
        self.code = run(
            *("search", "--space", self.space, "--table", self.table, "--target", TARGET),
            *("--limit", 128, "--train-resolution", 16, "--batch-size", 32, "--finalists", 2),
            *("--warmup-epochs", 1, "--epochs", 2, "--output", self.run, "--json"),
        )

    def read(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.run / name).read_text(encoding="utf-8"))
        return document

    def other_target(self) -> float:
        """A target that some network meets: the cost of the cheapest on the front."""
        return round(1.002 * float(self.read("result.json")["pareto"][0]["value"]), 3)


@pytest.fixture(scope="module")
def energy(tmp_path_factory: pytest.TempPathFactory) -> Energy:
    return Energy(tmp_path_factory.mktemp("energy"))


def test_a_search_for_energy_ends_with_a_network_in_its_window(energy: Energy) -> None:
    assert energy.code == 0
    result = energy.read("result.json")
    assert (result["metric"], result["unit"], result["target"]) == ("energy", "mJ", TARGET)
    assert 0.99 * TARGET <= result["predicted"] <= TARGET
    low, high = result["predicted_interval"]
    assert low < result["predicted"] < high
    assert result["measured"] is None
    network = Architecture.load(energy.run)
    assert fit_predictor(LatencyTable.load(energy.table)).predict(network) == pytest.approx(
        result["predicted"]
    )


def test_no_file_of_it_calls_energy_milliseconds(energy: Energy) -> None:
    for name in ("result.json", "config.json", "architecture.json"):
        document = energy.read(name)
        document.get("settings", {}).pop("target_ms", None)  # the option, which was not given
        assert ms_keys(document) == set(), name
    provenance = energy.read("architecture.json")["provenance"]
    assert (provenance["metric"], provenance["unit"]) == ("energy", "mJ")
    lines = (energy.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    for line in map(json.loads, lines):
        assert line["expected"].keys() == {"energy"}
        assert line["expected_ms"] == {}


def test_its_report_shows_the_unit(energy: Energy) -> None:
    page = (energy.run / "report.html").read_text(encoding="utf-8")
    assert f"{TARGET} mJ" in page
    assert "Energy by block" in page
    assert "Expected energy, mJ" in page
    assert "Energy table" in page
    assert " ms<" not in page
    assert "latency, ms" not in page
    assert f"--target {TARGET}" in page


def test_other_targets_are_derived_in_its_unit(
    energy: Energy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = energy.other_target()
    assert run("derive", energy.run, "--target", target, "--output", tmp_path, "--json") == 0
    captured = capsys.readouterr()
    assert f"target {target:g} mJ: predicted " in captured.err
    document = json.loads(captured.out)
    assert document["unit"] == "mJ"
    assert document["predicted"] <= target
    assert ms_keys(document) == set()
    assert (tmp_path / f"energy-{target:g}mJ" / "architecture.json").is_file()
    assert run("derive", energy.run, "--target-ms", 6.5, "--output", tmp_path / "other") == 1
    assert "measures energy in mJ: received 6.5" in capsys.readouterr().err
    assert run("derive", energy.run) == 2


def test_its_front_is_in_its_unit(energy: Energy, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pareto", energy.run, "--points", 5, "--json") == 0
    points = printed(capsys)["points"]
    assert all(point["unit"] == "mJ" and point["value"] <= point["budget"] for point in points)
    assert ms_keys(points) == set()
    assert run("pareto", energy.run, "--points", 5) == 0
    assert "budget mJ" in capsys.readouterr().out


def test_predict_gives_value_and_unit(energy: Energy, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", energy.run, "--table", energy.table, "--breakdown", "--json") == 0
    document = printed(capsys)
    assert document["unit"] == "mJ"
    assert document["value"] == pytest.approx(energy.read("result.json")["predicted"])
    assert sum(item["value"] for item in document["breakdown"]) == pytest.approx(document["value"])
    assert ms_keys(document) == set()
    assert run("predict", energy.run, "--table", energy.table) == 0
    assert " mJ; 90% interval" in capsys.readouterr().out
    compared = ("predict", "--compare", energy.run, energy.run, "--table", energy.table)
    assert run(*compared, "--json") == 0
    document = printed(capsys)
    assert document["units"] == ["mJ"]
    assert ms_keys(document) == set()


def test_latency_keeps_its_keys_in_milliseconds(
    tmp_path: Path, energy: Energy, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "latency.csv"
    table_of("latency", "ms").save(table)
    assert run("predict", energy.run, "--table", table, "--breakdown", "--json") == 0
    document = printed(capsys)
    assert document["unit"] == "ms"
    assert document["value"] == document["latency_ms"]
    assert document["interval"] == document["interval_ms"]
    assert all(item["value"] == item["ms"] for item in document["breakdown"])
    target = energy.other_target()
    asked = ("--table", table, "--target-ms", target, "--output", tmp_path)
    assert run("derive", energy.run, *asked, "--json") == 0
    document = printed(capsys)
    assert document["predicted"] == document["predicted_ms"] <= target
    assert document["target_ms"] == target
    provenance = document["architecture"]["provenance"]
    assert provenance["predicted"] == provenance["predicted_ms"]
    assert run("pareto", energy.run, "--table", table, "--points", 3, "--json") == 0
    for point in printed(capsys)["points"]:
        assert point["budget"] == point["budget_ms"]
        assert point["value"] == point["latency_ms"]


def test_a_comparison_prices_each_table_in_its_unit(energy: Energy, tmp_path: Path) -> None:
    page = tmp_path / "both.html"
    assert run("report", energy.run, energy.run, "--output", page) == 0
    text = page.read_text(encoding="utf-8")
    assert "made up, onnxruntime, energy" in text
    assert "Expected energy over target" in text


@pytest.mark.parametrize("command", ["show", "plot", "diff"])
def test_tables_of_energy_are_shown_in_millijoule(
    command: str, energy: Energy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: dict[str, tuple[object, ...]] = {
        "show": (energy.table,),
        "plot": (energy.table, "--output", tmp_path / "t.svg"),
        "diff": (energy.table, energy.table, "--all"),
    }
    assert run("table", command, *arguments[command]) == 0
    shown = capsys.readouterr().out
    if command == "plot":
        shown = (tmp_path / "t.svg").read_text(encoding="utf-8")
    assert "mJ" in shown
    assert " ms" not in shown.replace("params", "")


def config(tmp_path: Path, table: LatencyTable, **changes: Any) -> SearchConfig:
    (tmp_path / "tiny.yaml").write_text(TINY_YAML, encoding="utf-8")
    table.save(tmp_path / "t.csv")
    settings = {"space": str(tmp_path / "tiny.yaml"), "table": str(tmp_path / "t.csv")}
    return SearchConfig(**{**settings, **changes})


def test_milliseconds_are_refused_on_a_table_of_energy(tmp_path: Path) -> None:
    asked = config(tmp_path, table_of("energy", "mJ"), target_ms=7.2)
    with pytest.raises(SearchError, match=r"in mJ: received 7.2. Give .* in mJ: --target VALUE"):
        prepare_problem(asked)


def test_both_forms_of_a_target_are_refused_and_either_will_do(tmp_path: Path) -> None:
    table = table_of("latency", "ms")
    with pytest.raises(SearchError, match="--target and --target-ms are one setting"):
        config(tmp_path, table, target=7.0, target_ms=7.2)
    for form in ("target", "target_ms"):
        assert prepare_problem(config(tmp_path, table, **{form: 7.2})).target == 7.2


def test_a_sum_of_peaks_is_no_networks_memory(
    tmp_path: Path, energy: Energy, capsys: pytest.CaptureFixture[str]
) -> None:
    table = table_of("memory", "MB")
    with pytest.raises(TableError, match="not the sum of its ops' peaks"):
        prepare_problem(config(tmp_path, table))
    with pytest.raises(TableError, match="not the sum of its ops' peaks"):
        fit_predictor(table).interval(Architecture.load(energy.run))
    assert run("predict", energy.run, "--table", tmp_path / "t.csv") == 1
    assert "measures memory (MB)" in capsys.readouterr().err
    assert run("table", "show", tmp_path / "t.csv") == 0


def test_several_resolutions_compete_in_the_tables_unit(tmp_path: Path) -> None:
    asked = config(tmp_path, table_of("energy", "mJ"), target_ms=7.2)
    with pytest.raises(SearchError, match="measures energy in mJ"):
        search_resolutions(asked, [32])
    with pytest.raises(SearchError, match="give it with --target-ms, or --target"):
        search_resolutions(replace(asked, target_ms=None), [32])


def test_a_comparison_goes_on_where_one_table_holds_peaks(
    tmp_path: Path, energy: Energy, capsys: pytest.CaptureFixture[str]
) -> None:
    table_of("memory", "MB").save(tmp_path / "memory.csv")
    tables = ("--table", energy.table, "--table", tmp_path / "memory.csv")
    assert run("predict", "--compare", energy.run, *tables, "--json") == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["values"][0][0] > 0
    assert document["values"][0][1] is None
    assert "measures memory (MB)" in captured.err


def test_predictions_in_milliseconds_are_of_latency_only() -> None:
    predictor = fit_predictor(table_of("energy", "mJ"))
    network = Architecture.from_choices(SearchSpace.from_yaml(TINY_YAML), [0, 0, 0])
    with pytest.raises(TableError, match="measures energy"):
        predictor.predict_ms(network)
    with pytest.raises(TableError, match="measures energy"):
        predictor.interval_ms(network)
    low, high = predictor.interval(network)
    assert low < predictor.predict(network) < high
    assert predictor.unit == "mJ"


def test_verification_measures_what_the_table_does() -> None:
    _, settings = settings_of(table_of("energy", "mJ"))
    assert settings.metric == "energy"


def test_figures_carry_their_unit() -> None:
    assert in_unit({"target": 2.0}, "mJ") == {"unit": "mJ", "target": 2.0}
    assert in_unit({"target": 2.0}, "ms") == {"unit": "ms", "target": 2.0, "target_ms": 2.0}
    assert figure_key({"target_ms": 2.0}, "target") == "target_ms"
    assert figure_key({"target": None, "target_ms": 2.0}, "target") == "target_ms"
    assert figure_key({"target": 1.0, "target_ms": 2.0}, "target") == "target"
    assert figure_key({}, "target") == "target"


@pytest.mark.parametrize("error", [SearchError, TrainingError])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cpu:foo", "received 'cpu:foo'. Did you mean 'cpu'"),
        ("cpu:", "received 'cpu:'"),
        ("cpu:²", "must be cpu, cuda, mps or auto"),
        ("cuda:-1", "must be cpu, cuda, mps or auto"),
        ("CPU", "must be cpu, cuda, mps or auto"),
        ("gpu", "Did you mean 'cuda'"),
        ("", "received ''"),
        ("meta", "must be cpu"),
        ("cpu:1", "has 1 cpu device"),
        ("cpu:9999", "must be cpu"),
    ],
)
def test_a_torch_device_that_is_none_is_named(
    name: str, message: str, error: type[SearchError] | type[TrainingError]
) -> None:
    with pytest.raises(error) as refusal:
        choose_device(name, error)
    assert message in str(refusal.value)


def test_a_gpu_beyond_the_last_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1", SearchError) == torch.device("cuda:1")
    with pytest.raises(SearchError, match=r"cuda:2 is not here: this machine has 2 cuda"):
        choose_device("cuda:2", SearchError)


def test_search_and_train_refuse_it_with_one_message(
    energy: Energy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ("search", "--space", energy.space, "--table", energy.table, "--output", tmp_path / "s"),
        ("train", energy.run, "--data", "digits", "--output", tmp_path / "t"),
    ):
        assert run(*arguments, "--device", "cpu:foo") == 1
        assert "--device must be cpu, cuda, mps or auto" in capsys.readouterr().err
