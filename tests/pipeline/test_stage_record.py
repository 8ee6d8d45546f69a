"""stages.json: what is made again when a setting changes, and what stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxyless_hw.errors import SearchError
from proxyless_hw.pipeline.stage_record import RECORD, Stage, StageRecord

STAGES = (
    Stage("table", (), ("table*",)),
    Stage("search", ("table",), ("search",)),
    Stage("train", ("search",), ("train",)),
    Stage("files", ("train",), ("train/exports",)),
)
MADE_OF: dict[str, dict[str, Any]] = {
    "table": {"device": "cpu"},
    "search": {"target_ms": 8.0, "seed": 0},
    "train": {"from_scratch": False},
    "files": {},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which every stage is done."""
    record = StageRecord.open(tmp_path)
    for stage in STAGES:
        record.begin(stage.name, MADE_OF[stage.name])
        record.spend(stage.name, 2.0)
        record.finish(stage.name)
    (tmp_path / "table.csv").write_text("rows")
    (tmp_path / "table.csv.journal.jsonl").write_text("rounds")
    for name in ("search", "train/exports"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    return tmp_path


def opened(folder: Path, **changes: dict[str, Any]) -> tuple[StageRecord, list[str]]:
    record, said = StageRecord.open(folder), []  # type: ignore[var-annotated]
    record.drop_changed([(stage, {**MADE_OF, **changes}[stage.name]) for stage in STAGES],
                        said.append)  # fmt: skip
    return record, said


def test_nothing_is_made_again_where_nothing_has_changed(folder: Path) -> None:
    record, said = opened(folder)
    assert said == []
    assert all(record.is_done(stage.name) for stage in STAGES)
    assert record.spent_s == 8.0


def test_a_change_remakes_its_stage_and_what_came_from_it(folder: Path) -> None:
    record, said = opened(folder, search={"target_ms": 6.0, "seed": 0})
    assert said == [
        "changed since then: target_ms was 8.0, is 6.0. Made again: search, train, files; the "
        "rest is kept."
    ]
    assert [stage.name for stage in STAGES if record.is_done(stage.name)] == ["table"]
    assert (folder / "table.csv").exists()
    assert not (folder / "search").exists()
    assert not (folder / "train").exists()
    assert StageRecord.open(folder).spent_s == 2.0


def test_a_change_of_the_last_leaves_the_others(folder: Path) -> None:
    _, said = opened(folder, files={"softmax": True})
    assert "softmax was not given, is True" in said[0]
    assert (folder / "train").exists()
    assert not (folder / "train/exports").exists()


def test_a_change_of_the_first_remakes_all(folder: Path) -> None:
    opened(folder, table={"device": "gpu"})
    assert [path.name for path in folder.iterdir()] == [RECORD]


def test_a_stage_that_was_begun_is_judged_too(folder: Path) -> None:
    """A process was killed within it: what it has left is of the old setting."""
    record = StageRecord.open(folder)
    record.begin("search", MADE_OF["search"])
    _, said = opened(folder, search={"target_ms": 8.0, "seed": 1})
    assert "seed was 0, is 1" in said[0]
    assert not (folder / "search").exists()
    assert opened(folder)[1] == []


def test_a_note_stays_with_its_stage(folder: Path) -> None:
    record = StageRecord.open(folder)
    record.note("files", "int8 was refused")
    assert StageRecord.open(folder).note_of("files") == "int8 was refused"
    record.begin("files", {})
    assert StageRecord.open(folder).note_of("files") is None


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    assert StageRecord.open(tmp_path).stages == {}
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SearchError, match=r"has no stages\.json, and there is 'config\.json'"):
        StageRecord.open(tmp_path)
    with pytest.raises(SearchError, match="a file of that name"):
        StageRecord.open(tmp_path / "config.json")


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"schema": "proxyless-hw-stages/2", "stages": {}},
        {"schema": "proxyless-hw-stages/1", "stages": []},
        {"schema": "proxyless-hw-stages/1", "stages": {"search": None}},
        {"schema": "proxyless-hw-stages/1",
         "stages": {"search": {"made_of": {}, "done": 1, "seconds": 0}}},
        {"schema": "proxyless-hw-stages/1",
         "stages": {"search": {"made_of": {}, "done": True, "seconds": "long"}}},
    ],
)  # fmt: skip
def test_a_malformed_record_is_refused(document: object, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(json.dumps(document))
    with pytest.raises(SearchError, match=r"stages\.json"):
        StageRecord.open(tmp_path)
