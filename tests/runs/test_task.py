"""Losses and metrics of the user's: what is accepted, what they are given, what is computed."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from proxyless_hw.errors import TaskError, TrainingError
from proxyless_hw.runs.evaluation import evaluate
from proxyless_hw.runs.task import CLASSIFICATION, Task, name_of

CPU = torch.device("cpu")


def rows(count=11, classes=7, seed=0):
    """Outputs, labels, and the same as batches of 4 for a network that hands them on."""
    draw = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, classes, generator=draw)
    labels = torch.randint(classes, (count,), generator=draw)
    batches = [
        (outputs[start : start + 4, :, None, None], labels[start : start + 4])
        for start in range(0, count, 4)
    ]
    return outputs, labels, batches


def test_the_default_is_top_1_and_the_mean_cross_entropy():
    outputs, labels, batches = rows()
    score = evaluate(nn.Flatten(), batches, CPU, TrainingError)
    assert score.metric == score.top1 == float((outputs.argmax(1) == labels).double().mean())
    assert score.loss == pytest.approx(float(functional.cross_entropy(outputs, labels)))
    assert score.images == 11


def test_a_metric_sees_the_whole_split_in_its_order():
    outputs, labels, batches = rows()
    seen = []

    def metric(given, targets):
        seen.append((given, targets))
        return 0.25

    score = evaluate(nn.Flatten(), batches, CPU, TrainingError, Task(metric=metric))
    ((given, targets),) = seen
    assert torch.equal(given, outputs)
    assert torch.equal(targets, labels)
    assert score.metric == 0.25
    assert score.top1 == float((outputs.argmax(1) == labels).double().mean())


def test_the_loss_of_a_split_is_the_mean_over_images_not_over_batches():
    outputs, _, _ = rows()
    targets = torch.randn(11, 7, generator=torch.Generator().manual_seed(5))
    batches = [(outputs[i : i + 4, :, None, None], targets[i : i + 4]) for i in (0, 4, 8)]
    task = Task(loss=functional.mse_loss, metric=lambda y, t: 0.0)
    score = evaluate(nn.Flatten(), batches, CPU, TrainingError, task)
    assert score.loss == pytest.approx(float(functional.mse_loss(outputs, targets)), rel=1e-5)
    assert (score.top1, score.top5) == (None, None)


def test_top_5_is_of_cross_entropy_alone():
    _, _, batches = rows()
    own = Task(loss=lambda y, t: functional.cross_entropy(y, t))
    assert evaluate(nn.Flatten(), batches, CPU, TrainingError, own).top5 is None
    assert evaluate(nn.Flatten(), batches, CPU, TrainingError).top5 is not None


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (lambda y, t: (y - t).abs(), r"shape \(4, 2\), float32\. End it with \.mean\(\)"),
        (lambda y, t: (y - t).abs().mean().reshape(1), r"shape \(1,\).*Give floats, of shape \(\)"),
        (lambda y, t: float((y - t).abs().mean().detach()), "received float"),
        (lambda y, t: None, "received NoneType"),
        (lambda y, t: (y - t).abs().mean().detach(), "has no gradient"),
        (lambda y, t: (y > t).sum(), "received a tensor of shape"),
    ],
)
def test_a_loss_that_is_no_scalar_of_the_outputs_is_refused(loss, text):
    outputs = torch.zeros(4, 2, requires_grad=True)
    with pytest.raises(TaskError, match=text):
        Task(loss=loss).value(outputs, torch.ones(4, 2))


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, None, "0.5", torch.ones(2), True, [0.5], torch.tensor(math.nan)]
)
def test_a_metric_that_gives_no_number_is_refused(value):
    _, _, batches = rows()
    task = Task(metric=lambda y, t: value)
    with pytest.raises(TaskError, match=r"must return a finite number.*for 11 images"):
        evaluate(nn.Flatten(), batches, CPU, TrainingError, task)


def test_a_metric_may_return_a_tensor_of_one_number():
    _, _, batches = rows()
    task = Task(metric=lambda y, t: torch.tensor(0.5))
    assert evaluate(nn.Flatten(), batches, CPU, TrainingError, task).metric == 0.5


def test_a_loss_that_is_nan_on_good_outputs_is_the_loss_s_fault():
    _, _, batches = rows()
    task = Task(loss=lambda y, t: (y.mean() * 0 - 1).log())
    with pytest.raises(TaskError, match="all outputs of the network are finite"):
        evaluate(nn.Flatten(), batches, CPU, TrainingError, task)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("task", [CLASSIFICATION, Task(loss=lambda y, t: y.mean() * 0)])
def test_outputs_that_are_no_numbers_are_the_network_s_fault(bad, task):
    images = torch.full((4, 3, 1, 1), bad)
    with pytest.raises(TrainingError, match="statistics are spoilt"):
        evaluate(
            nn.Flatten(), [(images, torch.zeros(4, dtype=torch.int64))], CPU, TrainingError, task
        )


def test_targets_are_checked_against_what_is_built_in():
    labels, floats = torch.zeros(4, dtype=torch.int64), torch.zeros(4, 2)
    CLASSIFICATION.require_usable(labels)
    with pytest.raises(TaskError, match=r"needs one whole number per image.*shape \(4, 2\)"):
        Task(loss=functional.mse_loss).require_usable(floats)
    with pytest.raises(TaskError, match="cross entropy, the default loss"):
        Task(metric=lambda y, t: 0.0).require_usable(torch.zeros(4))
    Task(metric=lambda y, t: 0.0).require_usable(floats)  # probabilities of classes
    Task(loss=functional.mse_loss, metric=lambda y, t: 0.0).require_usable(torch.zeros(4))


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TaskError, match=r"loss must be a function.*received 'mse'"):
        Task(loss="mse")
    with pytest.raises(TaskError, match="metric must be a function"):
        Task(metric=0.5)


def test_names_are_those_that_people_wrote():
    assert Task().names() == {"loss": "cross_entropy", "metric": "top-1"}
    assert name_of(nn.L1Loss()) == "L1Loss"
    assert name_of(functools.partial(functional.mse_loss, reduction="mean")) == (
        "mse_loss(reduction='mean')"
    )

    def local(y, t):
        return 0.0

    assert repr(Task(metric=local)) == "Task(loss=cross_entropy, metric=local)"
