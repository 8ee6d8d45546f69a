"""The closed loop after a search, on a device whose networks cost what each test says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_yaml import MANY_YAML

from proxyless_hw.predictors.calibration import CalibrationNetwork, calibration_path
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring, TableSpeed
from proxyless_hw.search import calibrate, verify
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.derive import Derived
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.search.result import SearchResult
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable

Factor = Callable[[int], float]
TARGET = 8.54


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search, not verified yet, with its table and space beside it."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "tiny.yaml").write_text(MANY_YAML)
    space = SearchSpace.from_yaml(MANY_YAML)
    values = {op: 1.0 + (0.6180339887 * index) % 1.0 for index, op in enumerate(space.ops())}
    entries = {op: Entry(value, 0.99 * value, 1.01 * value) for op, value in values.items()}
    header = {
        "metric": "latency", "unit": "ms", "device": "made up", "device_kind": "cpu",
        "runtime": "onnxruntime", "threads": "1", "batch_size": "1", "precision": "fp32",
        "statistic": "median", "num_classes": "10",
    }  # fmt: skip
    LatencyTable(entries, header).save(folder / "tiny.csv")
    run_search(config(folder))
    return folder


def config(folder: Path, **changes: Any) -> SearchConfig:
    settings: dict[str, Any] = {
        "space": str(folder / "tiny.yaml"),
        "table": str(folder / "tiny.csv"),
        "output": str(folder / "run"),
        "target_ms": TARGET,
        "limit": 256,
        "train_resolution": 16,
        "batch_size": 32,
        "warmup_epochs": 1,
        "epochs": 1,
        "finalists": 3,
        **changes,
    }
    return SearchConfig(**settings)


class Device:
    """Networks cost what the table says, times a factor by their place in the measurement."""

    interval = (0.99, 1.01)

    def __init__(self, table: LatencyTable, factor: Factor, speed: float) -> None:
        self.table, self.factor, self.speed = table, factor, speed
        self.asked: list[list[Architecture]] = []

    def measure(
        self, table: LatencyTable, how: Measuring, *, archs: Sequence[Architecture], fresh: bool
    ) -> list[Measurement]:
        assert fresh
        self.asked.append(list(archs))
        found = []
        for place, arch in enumerate(archs):
            value = self.table.latency_ms(arch) * self.factor(place)
            now, (low, high) = value / self.speed, self.interval
            found.append(
                Measurement(
                    name=f"network {place}", median=now, ci_low=low * now, ci_high=high * now,
                    p90=now, min=now, unit="ms", rounds=9, samples=90, converged=True,
                    table_speed=TableSpeed(
                        median=value, ci_low=low * value, ci_high=high * value,
                        machine_speed=self.speed,
                    ),
                )
            )  # fmt: skip
        return found


@pytest.fixture
def verified(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[SearchResult, Device]]:
    """Verifies a copy of the finished run; nothing is calibrated first."""

    def run(factor: Factor, speed: float = 1.0, **changes: Any) -> tuple[SearchResult, Device]:
        folder = tmp_path / "copy"
        shutil.copytree(trained, folder)
        settings = json.loads((folder / "run" / "config.json").read_text())
        for key, value in changes.items():
            settings["settings"][key] = value
        (folder / "run" / "config.json").write_text(json.dumps(settings))
        device = Device(LatencyTable.load(folder / "tiny.csv"), factor, speed)
        monkeypatch.setattr(verify, "measure_for", device.measure)
        monkeypatch.setattr(verify, "measuring_for", lambda *_, **__: Measuring())
        monkeypatch.setattr(calibrate, "calibrate_first", lambda *_: False)
        kept = settings["settings"]
        chosen = config(folder, resume=True, verify=True, **changes)
        return run_search(replace(chosen, table=kept["table"], space=kept["space"])), device

    return run


def test_networks_that_were_visited_once_give_no_correction_and_no_verdict(
    verified: Callable[..., tuple[SearchResult, Device]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine on which the budget was over after one visit: intervals from 0 on."""
    monkeypatch.setattr(Device, "interval", (0.0, 2.0))
    result, _ = verified(lambda _: 1.05)
    assert result.verdict == "undecided"
    assert result.verification is not None
    assert result.verification.correction == 1.0


def test_networks_that_cost_what_the_table_says_agree_without_deriving_again(
    verified: Callable[..., tuple[SearchResult, Device]],
) -> None:
    result, device = verified(lambda _: 1.002)
    found = result.verification
    assert (result.verdict, found.to_json()["agrees"], found.failure) == ("agrees", True, None)
    assert [len(archs) for archs in device.asked] == [3, 1]
    assert found.correction == 1.0  # chance explains it
    assert result.measured == pytest.approx(found.table_sum * 1.002)


def test_a_slower_machine_is_no_miss(
    verified: Callable[..., tuple[SearchResult, Device]],
) -> None:
    """Everything takes twice as long as when the table was made, the anchors too."""
    result, _ = verified(lambda _: 1.0, speed=0.5)
    found = result.verification
    assert result.verdict == "agrees"
    assert found.raw_measured == pytest.approx(2 * found.measured)
    assert "50% slower" in found.sentence


def test_what_several_finalists_show_together_corrects_the_prediction(
    verified: Callable[..., tuple[SearchResult, Device]],
) -> None:
    result, device = verified(lambda _: 1.05)
    found = result.verification
    assert found.failure is None, found.failure
    assert found.correction == pytest.approx(1.05)
    assert result.predicted == pytest.approx(1.05 * found.table_sum)
    assert result.predicted <= 1.03 * result.target
    assert result.verdict == "agrees"
    assert len(device.asked) == 2


def test_one_disturbed_measurement_corrects_nothing(
    verified: Callable[..., tuple[SearchResult, Device]],
) -> None:
    result, _ = verified(lambda place: 1.6 if place == 1 else 1.0)
    found = result.verification
    assert found.correction == 1.0
    assert found.failure is None


@pytest.mark.parametrize(
    ("factor", "words"), [(1.7, "1.7 times too fast"), (0.5, "2 times too slow")]
)
def test_a_large_correction_is_a_failure_that_says_so(
    verified: Callable[..., tuple[SearchResult, Device]], factor: float, words: str
) -> None:
    result, device = verified(lambda _: factor)
    found = result.verification
    assert words in found.failure
    assert "--calibrate" in found.failure
    assert (result.verdict, found.verdict, found.to_json()["agrees"]) == (
        *("missed", "missed"),
        False,
    )
    assert found.correction == 1.0
    assert found.explanation == found.failure
    assert device.asked[0][0] == device.asked[1][0]  # the winner is the one that was found


def test_a_search_that_asked_for_one_finalist_is_judged_by_three(
    verified: Callable[..., tuple[SearchResult, Device]],
) -> None:
    _, device = verified(lambda _: 1.0, finalists=1)
    assert [len(archs) for archs in device.asked] == [3, 1]


def test_fewer_than_three_networks_never_decide(
    verified: Callable[..., tuple[SearchResult, Device]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window holds two networks only."""
    several = verify._several
    monkeypatch.setattr(verify, "_several", lambda *arguments: several(*arguments)[:2])
    result, device = verified(lambda _: 1.06)
    found = result.verification
    assert found.failure is None
    assert found.correction == 1.0
    assert len(device.asked[0]) == 2


def problem_of(target: float, unit: str = "ms") -> Any:
    costs = SimpleNamespace(range=(4.0, 10.0))
    return SimpleNamespace(
        target=target,
        unit=unit,
        constraints=[SimpleNamespace(costs=costs)],
        table=SimpleNamespace(name="mine.csv", metric="latency" if unit == "ms" else "energy"),
        space=SimpleNamespace(id="tiny"),
    )


@pytest.mark.parametrize(
    ("target", "ratio", "width", "words"),
    [
        (7.0, 1.0, 0.01, None),
        (7.0, 1.09, 0.01, None),
        (7.0, 0.92, 0.005, None),
        (9.9, 0.95, 0.01, "leaves what the space can reach (4 to 10 ms by the table)"),
        (9.9, 0.95, 0.06, None),  # the noise does not say that the table is off
        (4.05, 1.05, 0.01, "leaves what the space can reach"),
        (7.0, 1.14, 0.01, "1.14 times too fast for whole networks"),
        (7.0, 1.14, 0.1, None),
        (7.0, 0.6, 0.02, "1.67 times too slow for whole networks"),
    ],
)
def test_which_corrections_are_made(
    target: float, ratio: float, width: float, words: str | None
) -> None:
    """`width` is the relative half-width of what is known of the ratio."""
    low, high = ratio / (1 + width), ratio * (1 + width)
    found = verify._failure(ratio, low, high, problem_of(target))
    if words is None:
        assert found is None
    else:
        assert found is not None
        assert words in found


@pytest.mark.parametrize(
    ("target", "ratio", "words"),
    [
        (9.9, 0.95, "reach (4 to 10 mJ by the table). Choose another --target."),
        (7.0, 1.5, "1.5 times too low for whole networks: profile it again (proxyless-hw profile"),
        (7.0, 0.5, "2 times too high for whole networks"),
    ],
)
def test_a_correction_of_energy_is_refused_in_its_own_words(
    target: float, ratio: float, words: str
) -> None:
    found = verify._failure(ratio, 0.999 * ratio, 1.001 * ratio, problem_of(target, "mJ"))
    assert found is not None
    assert words in found
    assert "-ms" not in found


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        ((0, 0, 0, 0), (0, 0, 0, 1), True),
        ((0, 0, 0, 0), (0, 0, 1, 1), True),
        ((0, 0, 0, 0), (0, 1, 1, 1), False),
        ((1, 1, 1, 1), (2, 2, 2, 2), True),  # nothing was decided before either
    ],
)
def test_deriving_again_may_not_give_up_what_was_learned(
    before: tuple[int, ...], after: tuple[int, ...], taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choice 0 is the most probable one in every slot."""
    monkeypatch.setattr(verify, "log_p", lambda _: np.log([[0.6, 0.3, 0.1]] * 4))
    state: Any = SimpleNamespace(supernet=None)
    found = verify._forgets(state, Derived(before, 0.0, (7.0,)), Derived(after, 0.0, (6.5,)))
    assert (found is None) == taken
    if found is not None:
        assert "25% of the slots instead of 100%" in found


def test_a_corrected_window_without_a_network_does_not_lose_the_run(
    verified: Callable[..., tuple[SearchResult, Device]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(*_: object) -> None:
        raise verify.SearchError("no network costs between 6.6 and 6.7 ms.")

    monkeypatch.setattr(verify, "_derive_corrected", empty)
    result, _ = verified(lambda _: 1.06)
    found = result.verification
    assert "corrected by the measured factor 1.060, no network costs between" in found.failure
    assert result.verdict == "missed"
    assert (result.folder / "result.json").exists()


class Notes(SearchObserver):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


def test_a_table_is_calibrated_once_before_a_search_that_is_verified(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    budgets: list[float] = []
    calls: list[dict[str, Any]] = []

    def measuring(table: LatencyTable, **settings: Any) -> Measuring:
        budgets.append(settings["budget_s"])
        return Measuring()

    def networks(*_: object, **settings: Any) -> list[CalibrationNetwork]:
        calls.append(settings)
        return [
            CalibrationNetwork(name=str(n), predicted_ms=float(n), blocks=3, measured_ms=1.7 * n)
            for n in range(4, 20)
        ]

    monkeypatch.setattr(calibrate, "measuring_for", measuring)
    monkeypatch.setattr(calibrate, "measure_calibration_networks", networks)
    notes = Notes()
    chosen = config(folder, verify=True, verify_budget=50.0)
    assert calibrate.calibrate_first(chosen, notes) is True
    sidecar = calibration_path(folder / "tiny.csv")
    written = sidecar.read_bytes()
    assert budgets == [20.0]
    assert calls[0]["networks"] == 16
    assert calls[0]["fresh"]
    assert "up to 20 s" in notes.said[0]
    assert calibrate.calibrate_first(chosen, notes) is False
    assert sidecar.read_bytes() == written
    assert len(calls) == 1


def test_a_calibration_that_makes_a_network_cost_nothing_is_not_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a machine that is much too busy gives it: the range of the space would begin below 0."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    networks = [
        CalibrationNetwork(name=str(n), predicted_ms=100.0 + n, blocks=3, measured_ms=0.1 + 2.0 * n)
        for n in range(4, 20)
    ]
    monkeypatch.setattr(calibrate, "measuring_for", lambda *_, **__: Measuring())
    monkeypatch.setattr(calibrate, "measure_calibration_networks", lambda *_, **__: networks)
    notes = Notes()
    assert calibrate.calibrate_first(config(folder, verify=True), notes) is False
    assert not calibration_path(folder / "tiny.csv").exists()
    assert "no calibration is kept" in notes.said[-1]


def test_a_shipped_table_is_not_calibrated(trained: Path) -> None:
    assert calibrate.calibrate_first(SearchConfig(table="pixel1"), Notes()) is False
