"""Finished searches from Python: other targets, other tables, the front, with names and objects."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from own_data import closeness, distance, shades
from test_search_with_objects import (
    FOCAL,
    REGRESSION,
    Files,
    assert_same_run,
    config,
    search,
    slower,
)

from proxyless_hw.cli import main
from proxyless_hw.errors import SearchError
from proxyless_hw.pipeline.evaluate import evaluate
from proxyless_hw.runs.task import Task
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.finished import derive_run, pareto
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

TINY_ROOT = Path(__file__).parent.parent


@pytest.fixture
def named(tiny_files: Files, tmp_path: Path) -> Path:
    """A finished search by names alone."""
    names = {"space": str(tiny_files[0]), "table": str(tiny_files[1]), "target_ms": 7.2}
    of_data = {"limit": 96, "train_resolution": 16, "batch_size": 16}
    run_search(config(tmp_path / "named", **names, **of_data))
    return tmp_path / "named"


@pytest.fixture
def regression(tiny_files: Files, tmp_path: Path) -> Path:
    """A finished search whose space, table, data and task were objects."""
    search(tiny_files, config(tmp_path / "run"), data=shades(points=True), task=REGRESSION)
    return tmp_path / "run"


def objects(files: Files) -> dict[str, Any]:
    return {
        "space": SearchSpace.load(files[0]),
        "table": LatencyTable.load(files[1]),
        "data": shades(points=True),
        "task": REGRESSION,
    }


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_the_command_prints_what_the_function_gives(
    named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_function = derive_run(named, target_ms=[6.76, 7.2], quiet=True)
    assert [one.folder for one in by_function] == [None, None]
    assert not (named / "derived").exists()
    code, out, err = told(
        capsys, "derive", named, "--target-ms", 6.76, "--target-ms", 7.2, "--json"
    )
    assert code == 0
    printed = json.loads(out)["networks"]
    for one, row in zip(by_function, printed, strict=True):
        assert row["predicted_ms"] == one.predicted <= one.target
        assert row["architecture"] == one.architecture.to_dict()
        assert row["accuracy"] == one.accuracy
    assert (named / "derived" / "tiny-6.76ms" / "architecture.json").is_file()
    assert err.count("accuracy with the supernet's weights") == 2


def test_the_front_is_the_same_by_function_and_command(
    named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    front = pareto(named, points=5, quiet=True)
    _, out, _ = told(capsys, "pareto", named, "--points", 5, "--json")
    assert [row["value"] for row in json.loads(out)["points"]] == [point.cost for point in front]
    frame = front.to_pandas()
    assert (frame["cost"] <= frame["budget"] + 1e-9).all()
    assert frame["log_probability"].is_monotonic_increasing


def test_a_search_with_objects_is_derived_from_with_the_same_ones(
    regression: Path, tiny_files: Files, tmp_path: Path
) -> None:
    given = objects(tiny_files)
    (one,) = derive_run(regression, target_ms=6.76, output=tmp_path / "out", quiet=True, **given)
    assert one.folder is not None
    assert (one.folder / "network.pt").is_file()
    assert (one.accuracy, one.predicted <= 6.76) == (None, True)
    assert one.task is not None
    assert one.task.metric == "closeness"
    tested = evaluate(one.network, given["data"], task=REGRESSION, quiet=True)
    assert tested.metric == pytest.approx(one.task.test)
    # The search's own target gives its own network again.
    (again,) = derive_run(regression, target_ms=7.2, quiet=True, **given)
    theirs = torch.load(regression / "network.pt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, theirs[k]) for k, value in again.network.state_dict().items())


def test_another_table_may_be_given_as_an_object_or_by_name(
    regression: Path, tiny_files: Files
) -> None:
    given = objects(tiny_files)
    other = slower(given.pop("table"))
    assert other is not None
    (one,) = derive_run(regression, target_ms=6.82, table=other, quiet=True, **given)
    assert one.predicted == pytest.approx(other.latency_ms(one.architecture))
    (two,) = derive_run(regression, target_ms=6.76, table=tiny_files[1], quiet=True, **given)
    assert two.predicted == pytest.approx(
        LatencyTable.load(tiny_files[1]).latency_ms(two.architecture)
    )
    front = pareto(regression, points=3, table=tiny_files[1], space=given["space"], quiet=True)
    assert len(front) == 3


def test_objects_that_are_missing_or_others_are_named(regression: Path, tiny_files: Files) -> None:
    given = objects(tiny_files)
    with pytest.raises(SearchError, match=r"ph\.derive_run\(.*space=\.\.\., data=\.\.\., task"):
        derive_run(regression, target_ms=6.5, table=given["table"], quiet=True)
    for change, text in (
        ({"data": shades(points=True, seed=3)}, "another object for data: seed"),
        ({"task": Task(loss=lambda y, t: distance(y, t), metric=closeness)}, "for task: loss was"),
    ):
        with pytest.raises(SearchError, match=text):
            derive_run(regression, target_ms=6.5, quiet=True, **{**given, **change})
    with pytest.raises(SearchError, match="name a target"):
        derive_run(regression, quiet=True, **given)


def test_the_commands_refuse_a_search_with_objects_in_one_line(
    regression: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, words in (("derive", ["--target-ms", 6.76]), ("pareto", []), ("evaluate", [])):
        code, _, err = told(capsys, command, regression, *words, "--quiet")
        assert code == 1
        (line,) = err.strip().splitlines()
        assert line.startswith("error: ")
        assert f"ph.{command}" in line


@pytest.mark.slow
def test_a_search_with_objects_that_was_killed_ends_bit_for_bit_as_one_that_ran_through(
    tiny_files: Files, tmp_path: Path
) -> None:
    """SIGKILL in the third epoch, in a process of its own, as a script of a user's would."""
    script = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from killed import KilledInTheThirdEpoch
from own_data import shades
from test_search_with_objects import FOCAL, config, search

files = tuple(Path(name) for name in sys.argv[2].split(":"))
search(files, config(Path(sys.argv[1]), threads=1), data=shades(), task=FOCAL,
       observer_factory=lambda constraints: KilledInTheThirdEpoch())
"""
    names = ":".join(map(str, tiny_files))
    here = [str(TINY_ROOT), str(TINY_ROOT / "search")]
    environment = {**os.environ, "PYTHONPATH": str(TINY_ROOT.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "b"), names, *here],
        check=False,
        env=environment,
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "b" / "result.json").exists()
    search(tiny_files, config(tmp_path / "a", threads=1), data=shades(), task=FOCAL)
    again = config(tmp_path / "b", threads=1, resume=True)
    search(tiny_files, again, data=shades(), task=FOCAL)
    assert_same_run(tmp_path / "a", tmp_path / "b")
