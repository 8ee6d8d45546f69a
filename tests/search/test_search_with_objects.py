"""Searches given objects: resumed bit for bit, equal to names, refused when they differ."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from own_data import Shades, closeness, distance, focal, shades, worst_class_recall
from torch.nn import functional

from proxyless_hw.data.load import load_data
from proxyless_hw.errors import DataError, PredictorError, SearchError, TaskError
from proxyless_hw.runs.interrupt import InterruptedRunError
from proxyless_hw.runs.run_network import load_derived_network
from proxyless_hw.runs.task import Task
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.context import data_config
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.search.prepare import prepare_problem
from proxyless_hw.search.result import SearchResult, read_result
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable
from proxyless_hw.terminal.notices import Notice

Files = tuple[Path, Path]
REGRESSION = Task(loss=distance, metric=closeness)
FOCAL = Task(loss=focal, metric=worst_class_recall)


def config(output: Path, **changes: Any) -> SearchConfig:
    settings: dict[str, Any] = {
        "output": str(output),
        "warmup_epochs": 1,
        "epochs": 2,
        "finalists": 3,
        **changes,
    }
    return SearchConfig(**settings)


def search(files: Files, settings: SearchConfig, **objects: Any) -> SearchResult:
    given: dict[str, Any] = {
        "space": SearchSpace.load(files[0]),
        "table": LatencyTable.load(files[1]),
        "target_ms": 7.2,
        **objects,
    }
    result = run_search(settings, **given)
    assert result is not None
    return result


def tensors(folder: Path) -> dict[str, Any]:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    return {**state["supernet"], "baseline": state["baseline"], **state["multipliers"]}


def assert_same_run(one: Path, other: Path) -> None:
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    for key, value in left.items():
        same = torch.equal(value, right[key]) if isinstance(value, torch.Tensor) else None
        assert value == right[key] if same is None else same, key
    nets = [load_derived_network(folder).state_dict() for folder in (one, other)]
    assert all(torch.equal(value, nets[1][key]) for key, value in nets[0].items())


class StopAt(SearchObserver):
    """Sends this process a signal after so many steps."""

    def __init__(self, step: int) -> None:
        self.left = step

    def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "full": ({}, {"task": FOCAL}),
    "two-path": ({"gradient_mode": "two-path"}, {"task": FOCAL}),
    "darts": ({"algorithm": "darts"}, {"task": FOCAL}),
    "reinforce": (
        {"algorithm": "reinforce", "reinforce_samples": 2},
        {
            "task": Task(loss=focal, metric=lambda y, t: -float(focal(y, t))),
            "reward": lambda metric, costs, targets: metric * targets[0] / costs[0],
        },
    ),
    "objective": (
        {},
        {"task": FOCAL, "objective": lambda loss, values, targets: loss * values[0].sqrt()},
    ),
    "regression": ({}, {"task": REGRESSION}),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_search_with_objects_that_was_stopped_ends_bit_for_bit_as_one_that_ran_through(
    name: str, tiny_files: Files, tmp_path: Path
) -> None:
    changes, objects = FORMS[name]
    points = name == "regression"
    whole = search(tiny_files, config(tmp_path / "a", **changes), data=shades(points), **objects)
    with pytest.raises(InterruptedRunError, match="from Python, with space, table, data, task"):
        search(
            tiny_files,
            config(tmp_path / "b", **changes),
            data=shades(points),
            observer_factory=lambda constraints: StopAt(10),
            **objects,
        )
    again = config(tmp_path / "b", resume=True, **changes)
    resumed = search(tiny_files, again, data=shades(points), **objects)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert (resumed.task, resumed.accuracy) == (whole.task, whole.accuracy)
    assert read_result(tmp_path / "b").task == whole.task


@pytest.mark.parametrize("explicit", [False, True])
def test_the_same_settings_by_names_and_by_objects_give_the_same_network(
    explicit: bool, tiny_files: Files, tmp_path: Path
) -> None:
    names = {"space": str(tiny_files[0]), "table": str(tiny_files[1]), "target_ms": 7.2}
    of_data = {"limit": 256, "train_resolution": 16, "batch_size": 32, "seed": 2}
    named = config(tmp_path / "names", **names, **of_data)
    by_names = run_search(named)
    settings = {**names, **of_data} if explicit else {"seed": 2}
    by_objects = search(
        tiny_files, config(tmp_path / "objects", **settings), data=load_data(data_config(named))
    )
    assert_same_run(tmp_path / "names", tmp_path / "objects")
    assert by_names is not None
    assert (by_objects.predicted, by_objects.accuracy) == (by_names.predicted, by_names.accuracy)
    assert by_objects.finalists == by_names.finalists
    assert by_objects.task is None


def test_cross_entropy_as_a_loss_of_ones_own_changes_nothing_but_label_smoothing(
    tiny_files: Files, tmp_path: Path
) -> None:
    own = Task(loss=lambda outputs, labels: functional.cross_entropy(outputs, labels))
    search(tiny_files, config(tmp_path / "own"), data=shades(), task=own)
    search(tiny_files, config(tmp_path / "built-in", label_smoothing=0.0), data=shades())
    assert_same_run(tmp_path / "own", tmp_path / "built-in")


def test_the_metric_ranks_the_finalists_and_is_told(tiny_files: Files, tmp_path: Path) -> None:
    result = search(tiny_files, config(tmp_path / "run"), data=shades(points=True), task=REGRESSION)
    scores = [row.score for row in result.finalists]
    assert scores == sorted(scores, reverse=True)
    assert result.task is not None
    assert result.task.holdout == scores[0]
    assert (result.task.loss, result.task.metric) == ("distance", "closeness")
    test = shades(points=True).test
    images, targets = _joined(test)
    with torch.no_grad():
        assert result.task.test == pytest.approx(closeness(result.network(images), targets))
    document = json.loads((tmp_path / "run" / "result.json").read_text())
    assert document["accuracy"] is None
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["train_accuracy"] is None for line in lines)


def _joined(split: Any) -> tuple[torch.Tensor, torch.Tensor]:
    parts = list(split.batches(0, shuffle=False, augment=False, drop_last=False))
    return torch.cat([images for images, _ in parts]), torch.cat([t for _, t in parts])


def test_a_dataset_that_raises_in_the_middle_loses_nothing(
    tiny_files: Files, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        search(tiny_files, config(tmp_path / "b"), data=shades(broken=70), task=FOCAL)
    message = str(caught.value)
    assert "item 70 of the train dataset cannot be used: ValueError: this file is cut" in message
    assert "Every step up to here is saved" in message
    search(tiny_files, config(tmp_path / "b", resume=True), data=shades(), task=FOCAL)
    search(tiny_files, config(tmp_path / "a"), data=shades(), task=FOCAL)
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_a_test_image_that_raises_loses_nothing(tiny_files: Files, tmp_path: Path) -> None:
    broken = shades(test=Shades(32, 3, broken=20))
    with pytest.raises(DataError, match=r"item 20 of the test.*Every step is saved.*resume"):
        search(tiny_files, config(tmp_path / "b"), data=broken, task=FOCAL)
    resumed = search(tiny_files, config(tmp_path / "b", resume=True), data=shades(), task=FOCAL)
    assert (
        resumed.task == search(tiny_files, config(tmp_path / "a"), data=shades(), task=FOCAL).task
    )
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_a_metric_that_returns_nan_can_be_replaced(tiny_files: Files, tmp_path: Path) -> None:
    broken = Task(loss=focal, metric=lambda outputs, labels: math.nan)
    with pytest.raises(TaskError, match=r"must return a finite number.*is saved.*then go on"):
        search(tiny_files, config(tmp_path / "b"), data=shades(), task=broken)
    steps = tensors(tmp_path / "b")
    again = search(tiny_files, config(tmp_path / "b", resume=True), data=shades(), task=FOCAL)
    after = tensors(tmp_path / "b")
    assert all(torch.equal(v, after[k]) for k, v in steps.items() if isinstance(v, torch.Tensor))
    assert again.task is not None
    assert again.task.metric == "worst_class_recall"


def test_a_loss_that_is_no_scalar_or_nan_is_refused(tiny_files: Files, tmp_path: Path) -> None:
    vector = Task(loss=lambda outputs, labels: outputs.sum(1))
    with pytest.raises(TaskError, match=r"End it with \.mean\(\)"):
        search(tiny_files, config(tmp_path / "a"), data=shades(), task=vector)
    nan = Task(loss=lambda outputs, labels: outputs.mean() * math.nan)
    with pytest.raises(SearchError, match=r"loss became nan.*at the loss '<lambda>'"):
        search(tiny_files, config(tmp_path / "b"), data=shades(), task=nan)


def test_a_resume_names_the_objects_that_are_missing(tiny_files: Files, tmp_path: Path) -> None:
    search(tiny_files, config(tmp_path / "run"), data=shades(), task=FOCAL)
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(SearchError) as caught:
        run_search(config(tmp_path / "run", resume=True))
    assert "space=..., table=..., data=..., task=..." in str(caught.value)
    assert "name Shades, train 96" in str(caught.value)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"data": lambda: shades(train=112)}, "another object for data: train was 96, received"),
        ({"data": lambda: shades(seed=3)}, "another object for data: seed was 0, received 3"),
        ({"task": lambda: Task(loss=functional.cross_entropy)}, "object for task: loss was"),
        ({"table": lambda: slower()}, "another object for table"),
        ({"objective": lambda: lambda loss, values, targets: loss}, "without an object for obj"),
    ],
)
def test_a_resume_with_another_object_is_refused(
    other: dict[str, Any], text: str, tiny_files: Files, tmp_path: Path
) -> None:
    search(tiny_files, config(tmp_path / "run"), data=shades(), task=FOCAL)
    given = {"data": shades(), "task": FOCAL, **{key: make() for key, make in other.items()}}
    if "table" in given:
        given["table"] = slower(LatencyTable.load(tiny_files[1]))
    with pytest.raises(SearchError, match=text):
        search(tiny_files, config(tmp_path / "run", resume=True), **given)


def slower(table: LatencyTable | None = None) -> LatencyTable | None:
    if table is None:
        return None
    entries = {
        op: Entry(1.01 * entry.value, entry.value, 1.02 * entry.value)
        for op, entry in table.entries.items()
    }
    return LatencyTable(entries, table.metadata)


@pytest.mark.parametrize(
    ("settings", "objects", "text"),
    [
        ({"batch_size": 32}, {}, "say batch_size themselves .16.: received 32"),
        ({"data": "mnist"}, {}, "say data themselves .'Shades'.: received 'mnist'"),
        ({"limit": 50}, {}, "say limit themselves"),
        ({"space": "imagenet-x"}, {}, "imagenet-x"),
        ({"space": "cifar-mbconv"}, {}, "space is given twice, and the two differ"),
        ({"table": "note10"}, {}, "table is given twice, and the two differ"),
        ({"target_ms": 5.0}, {}, "the target is given twice: 5 in the settings and target_ms=7.2"),
        ({"label_smoothing": 0.2}, {"task": FOCAL}, "label_smoothing is a setting of cross entro"),
        ({"objective": "none"}, {"objective": lambda *_: None}, "objective is given twice"),
        ({}, {"reward": lambda *_: 0.0}, "a reward is for REINFORCE"),
        (
            {"algorithm": "reinforce"},
            {"objective": lambda *_: None},
            "REINFORCE takes a reward, and no objective",
        ),
        ({}, {"data": "digits"}, "data must be a DataSplits: received str"),
        ({}, {"data": None, "task": "mse"}, "task must be a Task: received str"),
        ({}, {"data": shades(holdout=None)}, "a search needs held-out images"),
    ],
)
def test_what_is_given_twice_or_does_not_fit_is_refused(
    settings: dict[str, Any],
    objects: dict[str, Any],
    text: str,
    tiny_files: Files,
    tmp_path: Path,
) -> None:
    with pytest.raises(Exception, match=text) as caught:
        search(tiny_files, config(tmp_path / "run", **settings), **{"data": shades(), **objects})
    assert type(caught.value).__module__ == "proxyless_hw.errors"
    assert not (tmp_path / "run").exists()


def test_float_targets_want_a_loss_and_a_metric(tiny_files: Files, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="top-1 accuracy, the default metric"):
        search(tiny_files, config(tmp_path / "run"), data=shades(points=True))


@pytest.mark.parametrize("value", [math.nan, None, "1"])
def test_a_reward_that_is_no_number_is_refused(
    value: Any, tiny_files: Files, tmp_path: Path
) -> None:
    settings = config(tmp_path / "run", algorithm="reinforce", reinforce_samples=2)
    with pytest.raises(TaskError, match="the reward '<lambda>' must return a finite number"):
        search(tiny_files, settings, data=shades(), reward=lambda *_: value)


def test_three_hundred_images_are_enough(tiny_files: Files, tmp_path: Path) -> None:
    data = shades(train=300, holdout=0.2, batch_size=50)
    result = search(tiny_files, config(tmp_path / "run"), data=data, task=FOCAL)
    assert result.task is not None
    assert 0 <= result.task.test <= 1


def test_the_report_of_such_a_search_tells_the_metric_and_the_call(
    tiny_files: Files, tmp_path: Path
) -> None:
    from proxyless_hw.report.report import write_report

    search(tiny_files, config(tmp_path / "run"), data=shades(points=True), task=REGRESSION)
    page = write_report([tmp_path / "run"]).read_text()
    assert "closeness" in page
    assert "run_search(settings, space=..., table=..., data=..., task=...)" in page
    assert "given as an object, from Python" in page


def test_a_poor_table_that_is_given_is_warned_of_and_a_named_one_refused(
    tiny_files: Files, tmp_path: Path
) -> None:
    space, path = tiny_files
    poor = LatencyTable.load(path).with_metadata(quality_median_half_width="0.2")
    poor.save(tmp_path / "poor.csv")
    settings = {"space": str(space), "table": str(tmp_path / "poor.csv")}
    with pytest.raises(PredictorError, match="too poor to search with"):
        prepare_problem(SearchConfig(**settings))
    with pytest.warns(Notice, match=r"poor table.*20\.0%"):
        prepare_problem(SearchConfig(space=str(space)), table=poor)
