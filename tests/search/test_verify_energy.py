"""A search that verifies a table of energy: refused before training, or carried through in mJ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_yaml import MANY_YAML

from proxyless_hw.cli import main
from proxyless_hw.errors import BackendUnavailableError, PredictorError, SearchError, TableError
from proxyless_hw.predictors.measured import measuring_for, require_same_setting
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.host import energy
from proxyless_hw.profilers.host.environment import host_device
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring, TableSpeed
from proxyless_hw.profilers.registry import get_profiler
from proxyless_hw.report.report import write_report
from proxyless_hw.search import calibrate, driver, verify
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.measurable import check_device_is_here, check_metric_is_measurable
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable


class Counter:
    name = "made up"
    block_s = 0.01

    def read_mj(self) -> float:
        return 0.0


@pytest.fixture
def without_counters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(energy, "find_counter", lambda *_: energy.RaplCounter(tmp_path / "none"))


@pytest.fixture
def with_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "find_counter", lambda *_: Counter())


def table_of(metric: str = "energy", unit: str = "mJ", **header: str) -> LatencyTable:
    """A table of this machine whose figures are made up, not measured."""
    ops = SearchSpace.from_yaml(MANY_YAML).ops()
    values = {op: 1.0 + (0.6180339887 * index) % 1.0 for index, op in enumerate(ops)}
    entries = {op: Entry(value, 0.99 * value, 1.01 * value) for op, value in values.items()}
    metadata = {
        **{"metric": metric, "unit": unit, "device": host_device(), "device_kind": "cpu"},
        **{"runtime": "onnxruntime", "threads": "1", "batch_size": "1", "precision": "fp32"},
        **{"statistic": "median", "num_classes": "10", **header},
    }
    return LatencyTable(entries, metadata, "mine.csv")


def config(folder: Path, **changes: Any) -> SearchConfig:
    (folder / "tiny.yaml").write_text(MANY_YAML, encoding="utf-8")
    table_of().save(folder / "mine.csv")
    settings: dict[str, Any] = {
        **{"space": str(folder / "tiny.yaml"), "table": str(folder / "mine.csv")},
        **{"output": str(folder / "run"), "limit": 256, "train_resolution": 16, "batch_size": 32},
        **{
            "warmup_epochs": 1,
            "epochs": 1,
            "finalists": 3,
            "target": 8.54,
            "verify": True,
            **changes,
        },
    }
    return SearchConfig(**settings)


@pytest.mark.usefixtures("without_counters")
def test_energy_that_cannot_be_measured_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object) -> None:
        raise AssertionError("the search trains")

    monkeypatch.setattr(driver, "_search", trained)
    with pytest.raises(SearchError) as refusal:
        run_search(config(tmp_path))
    message = str(refusal.value)
    assert "mine.csv' cannot be measured here: this machine shows no energy counters" in message
    assert message.endswith("Or search without --verify.")


@pytest.mark.usefixtures("without_counters")
def test_the_command_refuses_it_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = config(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["search", "--table", asked.table, "--space", asked.space, "--verify"])
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert "the energy of" in error
    assert "cannot be measured here" in error


@pytest.mark.usefixtures("with_counters")
def test_energy_that_can_be_measured_is_let_through() -> None:
    check_device_is_here(table_of())
    check_metric_is_measurable(table_of())


@pytest.mark.usefixtures("with_counters")
def test_what_the_profiler_writes_into_a_header_is_understood_when_it_is_verified() -> None:
    """The header of a table that this machine makes, with its line about the caches."""
    described = get_profiler(
        "cpu", ProfilerSettings(runtime="onnxruntime", metric="energy")
    ).describe()
    table = table_of(**described)
    check_device_is_here(table)
    assert measuring_for(table).settings.metric == "energy"


@pytest.mark.parametrize("kind", ["mobile", "command"])
def test_devices_that_tell_no_energy_are_refused(kind: str) -> None:
    table = table_of(device_kind=kind, runtime="", device="another")
    with pytest.raises(SearchError, match="cannot be measured here"):
        check_device_is_here(table)


def test_a_table_of_peaks_is_refused_for_what_it_is() -> None:
    with pytest.raises(TableError, match="not the sum of its ops' peaks"):
        check_device_is_here(table_of("memory", "MB"))


def test_latency_asks_for_no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    def counter(*_: object) -> None:
        raise BackendUnavailableError("a counter was asked for")

    monkeypatch.setattr(energy, "find_counter", counter)
    check_device_is_here(table_of("latency", "ms"))


def test_another_unit_than_the_tables_is_refused() -> None:
    with pytest.raises(PredictorError, match="measured with unit 'mJ', here it is 'ms'"):
        require_same_setting(table_of(), {"unit": "ms"})


class Notes(SearchObserver):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


def test_a_table_of_energy_is_not_calibrated_and_says_so(tmp_path: Path) -> None:
    notes = Notes()
    assert calibrate.calibrate_first(config(tmp_path), notes) is False
    assert notes.said == ["tables of energy are not calibrated: its sums are taken as they are"]


@pytest.mark.usefixtures("with_counters")
def test_a_verified_search_for_energy_ends_in_its_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def measure(
        table: LatencyTable, how: Measuring, *, archs: Sequence[Architecture], fresh: bool
    ) -> list[Measurement]:
        asked.append(len(archs))
        values = [1.05 * table.total(arch.ops()) for arch in archs]
        return [measured(value) for value in values]

    monkeypatch.setattr(verify, "measure_for", measure)
    monkeypatch.setattr(verify, "measuring_for", lambda *_, **__: Measuring())
    result = run_search(config(tmp_path))
    document = json.loads((result.folder / "result.json").read_text(encoding="utf-8"))
    found = document["verify"]
    assert asked == [3, 1]
    assert (result.verdict, found["failure"]) == ("agrees", None)
    assert (document["unit"], found["unit"]) == ("mJ", "mJ")
    assert document["measured"] == found["measured"] == pytest.approx(1.05 * found["table_sum"])
    assert document["predicted"] == found["predicted"]
    assert found["raw_measured"] == pytest.approx(2 * found["measured"])
    assert " mJ" in found["sentence"]
    rows = found["rounds"][0]["networks"]
    assert all(row["measured"] == pytest.approx(1.05 * row["predicted"]) for row in rows)
    assert '_ms": ' not in json.dumps(document)
    page = write_report([result.folder], None).read_text(encoding="utf-8")
    assert "Measured against the sum of the table, mJ" in page
    assert "agrees" in page
    again = run_search(replace(config(tmp_path), resume=True))
    assert again.verdict == "agrees"


def measured(value: float) -> Measurement:
    now = 2 * value
    return Measurement(
        name="network", median=now, ci_low=0.99 * now, ci_high=1.01 * now, p90=now, min=now,
        unit="mJ", rounds=9, samples=90, converged=True,
        table_speed=TableSpeed(
            median=value, ci_low=0.99 * value, ci_high=1.01 * value, machine_speed=0.5
        ),
    )  # fmt: skip
