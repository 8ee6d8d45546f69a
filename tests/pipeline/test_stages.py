"""The stages that demo joins: each goes on where a killed one ended, and fits the machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyless_hw.errors import ExportError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.pipeline import demo, stages
from proxyless_hw.pipeline.lengths import SearchLength
from proxyless_hw.pipeline.stages import Talk
from proxyless_hw.predictors.verdict import verification_of
from proxyless_hw.profilers import registry
from proxyless_hw.profilers.profile import ProfileConfig
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring, TableSpeed
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.result import SearchResult
from proxyless_hw.tables.table import LatencyTable

LENGTH = SearchLength(seconds=45.0)
MEASURED = Measurement(
    name="demo.onnx", median=12.0, ci_low=11.9, ci_high=12.1, p90=13.0, min=11.0, unit="ms",
    rounds=9, samples=99, converged=True,
    table_speed=TableSpeed(median=6.0, ci_low=5.9, ci_high=6.1, machine_speed=0.5),
)  # fmt: skip


@settings(deadline=None)
@given(st.floats(0, 1e4), st.floats(1e-9, 1e4))
def test_epochs_lie_within_their_bounds(seconds: float, per_epoch: float) -> None:
    length = SearchLength(seconds=seconds)
    warm_up, after = length.epochs(per_epoch)
    assert length.least[0] <= warm_up <= length.most[0]
    assert length.least[1] <= after <= length.most[1]


@settings(deadline=None)
@given(st.floats(0.01, 20))
def test_epochs_fit_the_time_unless_the_least_does_not(per_epoch: float) -> None:
    warm_up, after = LENGTH.epochs(per_epoch)
    if (warm_up, after) != LENGTH.least and warm_up > LENGTH.least[0]:
        # Both numbers are rounded, so that one epoch more may be asked for.
        assert (warm_up + after - 1) * per_epoch <= LENGTH.seconds


@settings(deadline=None)
@given(st.floats(0.01, 20), st.floats(1.0, 10.0))
def test_a_slower_machine_never_trains_for_longer(per_epoch: float, factor: float) -> None:
    fast, slow = LENGTH.epochs(per_epoch), LENGTH.epochs(per_epoch * factor)
    assert slow[0] <= fast[0]
    assert slow[1] <= fast[1]


def test_a_fast_machine_trains_as_long_as_is_useful() -> None:
    assert LENGTH.epochs(0.01) == LENGTH.most
    assert LENGTH.epochs(1000.0) == LENGTH.least


class Heard:
    """What stages said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: list[str] = []

    @property
    def talk(self) -> Talk:
        return Talk(say=self.lines.append, show_progress=self.bar, quiet=True)

    @contextmanager
    def bar(self, title: str) -> Iterator[Callable[[Any], None]]:
        self.bars.append(title)
        yield lambda _: None


def never(*_: object, **__: object) -> Any:
    raise AssertionError("this is not done again")


def test_a_finished_table_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    LatencyTable.load("pixel1").save(path)
    monkeypatch.setattr(registry, "get_profiler", never)
    heard = Heard()
    table = stages.profile_stage(ProfileConfig(output=path, resume=True), heard.talk)
    assert len(table) == len(LatencyTable.load("pixel1"))
    assert heard.bars == ["profiling imagenet"]


def test_the_first_start_of_a_search_decides_how_long_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going on keeps to that: the machine may be faster or slower by then."""
    asked: list[SearchConfig] = []

    def search(config: SearchConfig, _: object) -> Any:
        asked.append(config)
        (tmp_path / "run").mkdir(exist_ok=True)
        text = json.dumps({"settings": config.to_dict()})
        (tmp_path / "run" / "config.json").write_text(text)
        return "searched"

    monkeypatch.setattr(stages, "run_search", search)
    monkeypatch.setattr(stages, "seconds_per_epoch", lambda _: 3.0)
    config = SearchConfig(output=str(tmp_path / "run"), resume=True)
    heard = Heard()
    assert stages.search_stage(config, LENGTH, heard.talk) == "searched"
    assert (asked[0].warmup_epochs, asked[0].epochs) == LENGTH.epochs(3.0)
    assert "an epoch takes about 3.0 s here: 5 of warm-up, then 10" in heard.lines[0]

    monkeypatch.setattr(stages, "seconds_per_epoch", never)
    stages.search_stage(config, LENGTH, heard.talk)
    assert (asked[1].warmup_epochs, asked[1].epochs) == LENGTH.epochs(3.0)

    (tmp_path / "run" / "result.json").write_text("{}")
    monkeypatch.setattr(stages, "run_search", never)
    monkeypatch.setattr(stages, "read_result", lambda folder: f"read from {folder.name}")
    assert stages.search_stage(config, LENGTH, heard.talk) == "read from run"


def test_exported_files_are_kept_once_the_manifest_says_they_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "load_source", never)
    (tmp_path / "exports").mkdir()
    with pytest.raises(AssertionError):  # none yet: it begins
        stages.export_stage(tmp_path, "demo", Heard().talk)
    (tmp_path / "exports" / "manifest.json").write_text("{}")
    onnx, tflite = stages.export_stage(tmp_path, "demo", Heard().talk)
    assert (onnx.name, tflite.name) == ("demo-fp32.onnx", "demo-fp32.tflite")


def test_an_exported_file_is_judged_at_the_tables_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def measure(table: object, how: object, **more: Any) -> list[Measurement]:
        asked.update(more)
        return [MEASURED]

    monkeypatch.setattr(stages, "measuring_for", lambda table, **more: asked.update(more))
    monkeypatch.setattr(stages, "measure_for", measure)
    result = SearchResult(
        folder=Path("run"),
        architecture=load_architecture("mobilenet-v2"),
        target=6.0,
        predicted=6.1,
        accuracy=0.9,
    )
    table = LatencyTable.load("pixel1")
    found = stages.verify_stage(Path("demo.onnx"), table, result, 10.0, Heard().talk)
    assert (found.verdict, found.predicted) == ("agrees", 6.1)
    assert asked["budget_s"] == 10.0
    assert asked["fresh"]


def test_files_that_no_table_is_for_have_a_budget_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Measuring] = []

    def measure(*, paths: object, how: Measuring) -> list[Measurement]:
        asked.append(how)
        return [MEASURED]

    monkeypatch.setattr(stages, "measure_in_fresh_process", measure)
    assert stages.measure_stage([Path("demo.tflite")], 10.0, Heard().talk) == [MEASURED]
    assert (asked[0].timing.budget_s, asked[0].timing.spend) == (10.0, False)


class Loop:
    """The demo's stages, replaced; `fails` names one that fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, width: float = 0.01) -> None:
        self.done: list[str] = []
        self.fails: str | None = None
        self.configs: list[SearchConfig] = []
        table = LatencyTable.load("pixel1")
        self.table = table.with_metadata(quality_median_half_width=str(width))
        self.found = SimpleNamespace(
            document={"target_ms": 6.0, "predicted_ms": 6.1, "verify": {"failure": None}}
        )
        answers: dict[str, Any] = {
            "profile_stage": self.table,
            "search_stage": self.found,
            "export_stage": (Path("demo.onnx"), Path("demo.tflite")),
            "verify_stage": verification_of(6.0, 6.1, MEASURED),
            "measure_stage": [MEASURED],
            "_record": self.found,
            "write_report": None,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(demo, name, self.stage(name, answer))

    def stage(self, name: str, answer: Any) -> Callable[..., Any]:
        def run(*arguments: object, **_: object) -> Any:
            if self.fails == name:
                raise ExportError("no room")
            self.done.append(name)
            self.configs += [item for item in arguments if isinstance(item, SearchConfig)]
            return answer

        return run


def test_the_demo_says_first_what_will_happen_and_then_each_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, heard = Loop(monkeypatch), Heard()
    found = demo.run_demo(tmp_path, 0, heard.talk)
    assert found.onnx.verdict == "agrees"
    assert "minutes" in heard.lines[0]
    assert "the same command goes on" in heard.lines[0]
    assert [line[:3] for line in heard.lines[1:]] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert loop.done == [
        "profile_stage", "search_stage", "export_stage", "verify_stage", "measure_stage",
        "_record", "write_report",
    ]  # fmt: skip


def test_a_demo_that_failed_goes_on_with_every_stage_asked_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(monkeypatch)
    loop.fails = "export_stage"
    with pytest.raises(ExportError):
        demo.run_demo(tmp_path, 0, Heard().talk)
    loop.fails = None
    demo.run_demo(tmp_path, 0, Heard().talk)
    assert all(config.resume for config in loop.configs)
    assert demo._profile_config(tmp_path / "table.csv", 0).resume


def test_a_poor_table_is_said_and_the_demo_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, heard = Loop(monkeypatch, width=0.2), Heard()
    demo.run_demo(tmp_path, 0, heard.talk)
    assert any("±20.0%" in line and "goes on" in line for line in heard.lines)
    assert all(config.force for config in loop.configs)


def test_every_measuring_stage_of_the_demo_has_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(monkeypatch)
    demo.run_demo(tmp_path, 0, Heard().talk)
    config = demo._profile_config(tmp_path / "table.csv", 0)
    assert config.timing.budget_s == demo.PROFILE_SECONDS
    assert loop.configs[0].verify_budget == demo.VERIFY_SECONDS
