"""Trainings that are given objects: regression, a loss and a metric of one's own, resuming."""

from __future__ import annotations

import json
import math
import os
import signal

import pytest
import torch
from own_data import Shades, closeness, distance, focal, shades, worst_class_recall
from tiny import SPACE
from torch.nn import functional

from proxyless_hw.data.load import load_data
from proxyless_hw.errors import DataError, TaskError, TrainingError
from proxyless_hw.network.network import build_network
from proxyless_hw.runs.interrupt import InterruptedRunError
from proxyless_hw.runs.task import Task
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.driver import run_training
from proxyless_hw.train.load import data_config, load
from proxyless_hw.train.observer import TrainObserver
from proxyless_hw.train.result import TrainResult

REGRESSION = Task(loss=distance, metric=closeness)
FOCAL = Task(loss=focal, metric=worst_class_recall)


def arch(choice=0):
    space = SearchSpace.from_yaml(SPACE)
    return Architecture.from_choices(space, [choice] * len(space.slots))


def config(folder, **changes):
    return TrainConfig(**{"output": str(folder), "epochs": 3, "lr": 0.05, **changes})


def train(settings, **objects):
    given = {"architecture": arch(), "data": shades(points=True), "task": REGRESSION, **objects}
    result = run_training(settings, **given)
    assert result is not None
    return result


def tensors(folder):
    best = torch.load(folder / "best.pt", weights_only=True)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["network"]
    return {**state, **{f"best.{key}": value for key, value in best["state_dict"].items()}}


def assert_same_run(one, other):
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    assert all(torch.equal(value, right[key]) for key, value in left.items())


class StopAt(TrainObserver):
    def __init__(self, step):
        self.left = step

    def step(self, loss, lr):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def joined(split):
    parts = list(split.batches(0, shuffle=False, augment=False, drop_last=False))
    return torch.cat([images for images, _ in parts]), torch.cat([t for _, t in parts])


def test_a_regression_is_judged_by_its_metric_and_kept_at_its_best_epoch(tmp_path):
    result = train(config(tmp_path / "run"))
    images, targets = joined(shades(points=True).test)
    with torch.no_grad():
        expected = closeness(result.network(images), targets)
    assert result.metric == pytest.approx(expected)
    assert (result.top1, result.top5, result.validation_top1) == (None, None, None)
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    values = [line["validation"]["metric"] for line in lines]
    assert result.best_epoch == max(range(3), key=values.__getitem__)
    assert result.task is not None
    assert (result.task.holdout, result.task.metric) == (max(values), "closeness")
    document = json.loads((tmp_path / "run" / "result.json").read_text())
    assert TrainResult.from_json(document, tmp_path / "run") == result


def test_a_training_with_objects_that_was_stopped_ends_bit_for_bit_as_one_that_ran_through(
    tmp_path,
):
    more = {"weights": build_network(arch().with_shape(num_classes=2), seed=9)}
    settings = {"dropout": 0.2, "drop_path": 0.2, "ema": 0.9, "cutout": 4}
    whole = train(config(tmp_path / "a", **settings), **more)
    with pytest.raises(InterruptedRunError, match="with architecture, weights, data, task"):
        train(config(tmp_path / "b", **settings), observer_factory=lambda: StopAt(8), **more)
    resumed = train(config(tmp_path / "b", resume=True, **settings), **more)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert resumed.metric == whole.metric


def test_weights_are_where_a_training_begins(tmp_path):
    network = build_network(arch().with_shape(num_classes=2), seed=9)
    settings = {"epochs": 1, "lr": 1e-12}
    result = train(config(tmp_path / "a", **settings), weights=network)
    for name, value in network.named_parameters():
        assert torch.allclose(result.network.state_dict()[name], value, atol=1e-6), name
    other = build_network(arch().with_shape(num_classes=7), seed=9)
    result = train(config(tmp_path / "b", **settings), weights=other.state_dict())
    assert result.network.arch.training.num_classes == 2


def test_the_same_settings_by_names_and_by_objects_give_the_same_network(tmp_path):
    file = tmp_path / "tiny.json"
    arch().save(file)
    names = {"arch": str(file), "limit": 128, "train_resolution": 16, "holdout": 0.25}
    named = config(tmp_path / "names", **names)
    by_names = run_training(named)
    by_objects = train(config(tmp_path / "objects"), data=load_data(data_config(named)), task=None)
    assert_same_run(tmp_path / "names", tmp_path / "objects")
    assert (by_objects.metric, by_objects.top5) == (by_names.metric, by_names.top5)
    both = config(tmp_path / "both", **names)
    train(both, data=load_data(data_config(named)), task=None)
    assert_same_run(tmp_path / "names", tmp_path / "both")


def test_cross_entropy_as_a_loss_of_ones_own_changes_nothing_but_label_smoothing(tmp_path):
    own = Task(loss=lambda outputs, labels: functional.cross_entropy(outputs, labels))
    train(config(tmp_path / "own"), data=shades(), task=own)
    train(config(tmp_path / "built-in", label_smoothing=0.0), data=shades(), task=None)
    assert_same_run(tmp_path / "own", tmp_path / "built-in")


def test_class_probabilities_are_targets_of_cross_entropy(tmp_path):
    task = Task(metric=lambda outputs, targets: -float((outputs.softmax(1) - targets).abs().mean()))
    assert train(config(tmp_path / "run", epochs=1), task=task).metric < 0


@pytest.mark.parametrize(
    ("settings", "objects", "text"),
    [
        ({"mixup": 0.4}, {}, "mixup is a setting of cross entropy.*the loss 'distance'"),
        ({"cutmix": 1.0}, {}, "cutmix is a setting of cross entropy"),
        ({"label_smoothing": 0.2}, {}, "label_smoothing is a setting of cross entropy"),
        ({"mixup": 0.4}, {"task": Task(metric=closeness)}, "mixed with their class labels"),
        ({"batch_size": 32}, {}, "say batch_size themselves .16.: received 32"),
        ({"augment": False}, {}, "say augment themselves"),
        ({"weights": "x.pt"}, {"weights": {}}, "weights is given twice"),
        ({}, {"architecture": None}, "name what to train"),
        ({"arch": "proxyless-mobile"}, {}, "arch is given twice, and the two differ"),
        ({}, {"architecture": "proxyless-mobile"}, "must be a Architecture: received str"),
        ({}, {"task": None}, "top-1 accuracy, the default metric"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, objects, text, tmp_path):
    with pytest.raises((TrainingError, TaskError), match=text):
        train(config(tmp_path / "run", **settings), **objects)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_metric_that_returns_nan_ends_the_epoch_saved_and_can_be_replaced(tmp_path):
    broken = Task(loss=distance, metric=lambda outputs, targets: math.nan)
    with pytest.raises(TaskError, match=r"must return a finite number.*step up to here is saved"):
        train(config(tmp_path / "b"), task=broken)
    state = torch.load(tmp_path / "b" / "checkpoint.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (0, 6)
    train(config(tmp_path / "b", resume=True))
    train(config(tmp_path / "a"))
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_a_metric_that_has_chosen_an_epoch_may_not_change(tmp_path):
    with pytest.raises(InterruptedRunError):
        train(config(tmp_path / "run"), observer_factory=lambda: StopAt(8))
    other = Task(loss=distance, metric=lambda outputs, targets: 0.0)
    with pytest.raises(TrainingError, match="chosen by the metric 'closeness' already"):
        train(config(tmp_path / "run", resume=True), task=other)


def test_a_dataset_that_raises_in_the_middle_loses_nothing(tmp_path):
    with pytest.raises(DataError, match=r"item 70 of the train dataset.*step up to here is saved"):
        train(config(tmp_path / "b"), data=shades(points=True, broken=70))
    train(config(tmp_path / "b", resume=True))
    train(config(tmp_path / "a"))
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_a_test_image_that_raises_loses_nothing(tmp_path):
    broken = shades(points=True, test=Shades(32, 3, points=True, broken=20))
    with pytest.raises(DataError, match=r"item 20 of the test.*Every step is saved.*resume"):
        train(config(tmp_path / "b"), data=broken)
    resumed = train(config(tmp_path / "b", resume=True))
    assert resumed.metric == train(config(tmp_path / "a")).metric
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_a_resume_with_other_objects_is_refused(tmp_path):
    train(config(tmp_path / "run"))
    with pytest.raises(TrainingError, match="another object for architecture: hash was"):
        train(config(tmp_path / "run", resume=True), architecture=arch(1))
    with pytest.raises(TrainingError, match=r"no file holds.*architecture=\.\.\., data=\.\.\., ta"):
        run_training(config(tmp_path / "run", resume=True))


def test_a_run_whose_data_were_an_object_names_no_data_set(tmp_path):
    from proxyless_hw.train.load import load_data_config

    train(config(tmp_path / "run"))
    assert load(tmp_path / "run").arch.training.data == "Shades"
    with pytest.raises(TrainingError, match="given as an object, from Python"):
        load_data_config(tmp_path / "run")
