"""Training: resuming to the bit, starting from weights, faults, and what comes out."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny import tiny_config, tiny_network

import proxyless_hw as ph
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import ArchitectureError, TrainingError
from proxyless_hw.formats.published import published_state_dict
from proxyless_hw.network.network import build_network
from proxyless_hw.runs.interrupt import InterruptedRunError
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.train import loop
from proxyless_hw.train.config import config_from
from proxyless_hw.train.driver import run_training, test_score
from proxyless_hw.train.load import data_config, load, load_data_config, save_imported
from proxyless_hw.train.observer import TrainObserver
from proxyless_hw.train.result import TrainResult
from proxyless_hw.train.state import new_state

test_score.__test__ = False  # a function of the package, not a test

# Everything random at once: a resumed run must repeat all of it.
RANDOM = {
    "holdout": 0.2,
    "mixup": 0.4,
    "cutmix": 1.0,
    "cutout": 4,
    "dropout": 0.2,
    "drop_path": 0.2,
    "ema": 0.9,
}


class At(TrainObserver):
    """Does something at one step."""

    def __init__(self, step, action):
        self.left, self.action = step, action

    def step(self, loss, lr):
        self.left -= 1
        if self.left == 0:
            self.action()


class Crash(BaseException):
    """Stands for kill -9: nothing in the package may catch it."""


def crash():
    raise Crash


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def files_of(folder):
    best = torch.load(folder / "best.pt", weights_only=True)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds")
    return best, state, lines


def assert_same(left, right):
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left.keys() - {"seconds", "config", "sums"}:
            assert_same(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right


@pytest.mark.parametrize(("action", "error"), [(interrupt, InterruptedRunError), (crash, Crash)])
@pytest.mark.parametrize("step", [2, 6])
def test_a_resumed_training_equals_an_uninterrupted_one_to_the_bit(tmp_path, action, error, step):
    whole = tiny_config(tmp_path, "whole", **RANDOM)
    parts = tiny_config(tmp_path, "parts", **RANDOM)
    expected = run_training(whole).to_json()
    with pytest.raises(error):
        run_training(parts, lambda: At(step, action))
    torch.manual_seed(99)  # what other code drew in between must not matter
    resumed = run_training(replace(parts, resume=True)).to_json()
    for found, wanted in zip(
        files_of(tmp_path / "parts"), files_of(tmp_path / "whole"), strict=True
    ):
        assert_same(found, wanted)
    assert resumed["top1"] == expected["top1"]
    assert resumed["loss"] == expected["loss"]


def test_a_signal_during_validation_ends_it_and_its_score_is_not_used(tmp_path, monkeypatch):
    settings = {"holdout": 0.5, "ema": 0.9}
    run_training(tiny_config(tmp_path, "whole", **settings))
    parts = tiny_config(tmp_path, "parts", **settings)
    real, seen = loop.run_split, []

    def interrupted(network, batches, *rest):
        if len(seen) == 1:  # in the second epoch's validation, after its first batch
            batches = iter(batches)
            first = next(batches)
            interrupt()
            batches = itertools.chain([first], batches)
        outputs = real(network, batches, *rest)
        seen.append(int(outputs.sums[3]))  # images
        return outputs

    monkeypatch.setattr(loop, "run_split", interrupted)
    with pytest.raises(InterruptedRunError, match="epoch 2"):
        run_training(parts)
    assert seen[1] < seen[0]
    run_training(replace(parts, resume=True))
    for found, wanted in zip(
        files_of(tmp_path / "parts"), files_of(tmp_path / "whole"), strict=True
    ):
        assert_same(found, wanted)


def test_an_interruption_says_how_to_go_on(tmp_path):
    config = tiny_config(tmp_path)
    with pytest.raises(InterruptedRunError, match=r"train --output .*run --resume") as caught:
        run_training(config, lambda: At(3, interrupt))
    assert caught.value.exit_code == 130


def test_the_loss_falls_and_the_files_are_there(tmp_path):
    result = run_training(tiny_config(tmp_path, limit=None, epochs=5, lr=0.1))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"] - 0.5
    assert result.top1 > 0.5
    assert {"config.json", "architecture.json", "best.pt", "checkpoint.pt", "result.json"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    arch = Architecture.load(tmp_path / "run")
    assert (arch.training.resolution, arch.training.num_classes) == (16, 10)


def test_load_gives_the_trained_network_in_eval_mode(tmp_path):
    config = tiny_config(tmp_path)
    result = run_training(config)
    network = ph.load(tmp_path / "run")
    assert not network.training
    assert load_data_config(tmp_path / "run") == data_config(config)
    score = test_score(network, load_data(data_config(config)), torch.device("cpu"))
    assert score.top1 == result.top1 == result.metric
    assert result.network.state_dict().keys() == network.state_dict().keys()
    assert not result.network.training
    assert score.top5 >= score.top1


def test_held_out_images_choose_the_best_epoch(tmp_path):
    run_training(tiny_config(tmp_path, holdout=0.25, epochs=4))
    best, state, lines = files_of(tmp_path / "run")
    scores = [line["validation"]["top1"] for line in lines]
    assert best["accuracy"] == max(scores)
    assert best["epoch"] == scores.index(max(scores)) == state["best_epoch"]


def test_batch_norm_and_biases_have_no_weight_decay(tmp_path):
    network = build_network(Architecture.load(tiny_network(tmp_path)))
    state = new_state(network, tiny_config(tmp_path), torch.device("cpu"))
    decayed, free = state.optimizer.param_groups
    assert decayed["weight_decay"] == 1e-4
    assert free["weight_decay"] == 0
    assert {parameter.ndim for parameter in decayed["params"]} == {2, 4}
    assert {parameter.ndim for parameter in free["params"]} == {1}
    counted = sum(len(group["params"]) for group in state.optimizer.param_groups)
    assert counted == len(list(network.parameters()))


def test_an_existing_run_is_refused_and_a_finished_one_is_not_trained_again(tmp_path):
    config = tiny_config(tmp_path, epochs=1)
    first = run_training(config)
    with pytest.raises(TrainingError, match="already holds a run"):
        run_training(config)
    assert run_training(replace(config, resume=True), lambda: At(1, crash)) == first


def test_resuming_with_other_settings_is_refused(tmp_path):
    config = tiny_config(tmp_path)
    with pytest.raises(Crash):
        run_training(config, lambda: At(2, crash))
    with pytest.raises(TrainingError, match=r"lr was 0\.05, received 0\.2"):
        run_training(replace(config, lr=0.2, resume=True))


def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(tmp_path):
    config = tiny_config(tmp_path, epochs=4, lr=1e18, warmup_epochs=2.0)
    with pytest.raises(TrainingError, match=r"the loss became .*(checkpoint\.pt|No checkpoint)"):
        run_training(config)


def test_too_few_images_for_a_batch_is_said(tmp_path):
    with pytest.raises(TrainingError, match="Lower --batch-size"):
        run_training(tiny_config(tmp_path, limit=20))


def test_fine_tuning_starts_from_a_run(tmp_path):
    run_training(tiny_config(tmp_path, limit=None, epochs=4, lr=0.1))
    tuned = run_training(
        tiny_config(tmp_path, "tuned", epochs=1, lr=1e-6, weights=str(tmp_path / "run"))
    )
    fresh = run_training(tiny_config(tmp_path, "fresh", epochs=1, lr=1e-6))
    assert tuned.loss < fresh.loss - 0.3


def test_fine_tuning_from_published_weights_keeps_all_but_the_classifier(tmp_path):
    arch = Architecture.load(tiny_network(tmp_path)).with_shape(num_classes=7)
    tensors = published_state_dict(build_network(arch, seed=5))
    torch.save({"state_dict": tensors}, tmp_path / "published.pth")
    config = tiny_config(
        tmp_path, epochs=1, lr=1e-9, weights=str(tmp_path / "published.pth"), weight_decay=0.0
    )
    run_training(config)
    network = load(tmp_path / "run")
    torch.testing.assert_close(
        network.state_dict()["stem.0.conv.weight"], tensors["first_conv.conv.weight"]
    )
    assert network.head[-1].linear.out_features == 10


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"state_dict": {"first_conv.conv.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(ArchitectureError, match="does not fit"):
        run_training(tiny_config(tmp_path, weights=str(tmp_path / "other.pth")))


def test_a_folder_without_a_trained_network_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"no trained network"):
        load(tmp_path)


def test_a_folder_with_the_networks_of_two_runs_is_refused(tmp_path):
    network = build_network(Architecture.load(tiny_network(tmp_path)), seed=3)
    save_imported(network, tmp_path / "run", {})
    (tmp_path / "run" / "network.pt").write_bytes((tmp_path / "run" / "best.pt").read_bytes())
    with pytest.raises(TrainingError, match=r"holds one network.*network\.pt.*best\.pt"):
        load(tmp_path / "run")


def test_imported_weights_load_like_a_run(tmp_path):
    network = build_network(Architecture.load(tiny_network(tmp_path)), seed=3).eval()
    save_imported(network, tmp_path / "imported", {"source": "x.pth"})
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(load(tmp_path / "imported")(images), network(images))
    assert load_data_config(tmp_path / "imported") is None
    with pytest.raises(TrainingError, match="already holds a run"):
        save_imported(network, tmp_path / "imported", {})


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path):
    arch = tiny_network(tmp_path)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--standalone", "-m", "proxyless_hw", "train", arch, "--limit", "1400"),
        *("--train-resolution", "16", "--batch-size", "16", "--epochs", "4", "--json"),
        *("--holdout", "0.1", "--lr", "0.1", "--output", str(tmp_path / "run")),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["test_images"] == 359
    assert document["top1"] > 0.3
    _, state, lines = files_of(tmp_path / "run")
    assert state["epoch"] == 4
    assert len(lines) == 4


STILL = {"epochs": 1, "lr": 1e-12}  # what comes out is what it began with


def scales(run):
    """Largest scale of the last BatchNorm of each residual block."""
    return [
        float(value.abs().max())
        for name, value in load(run).state_dict().items()
        if name.endswith(".body.project.bn.weight")
    ]


def test_fresh_weights_are_the_start_that_is_asked_for(tmp_path):
    begun = scales(run_training(tiny_config(tmp_path, "near", **STILL)).folder)
    assert begun == pytest.approx([0.0] * 3, abs=1e-6)
    config = tiny_config(tmp_path, "far", start="independent", **STILL)
    assert scales(run_training(config).folder) == pytest.approx([1.0] * 3, abs=1e-6)


def test_given_weights_are_kept_whatever_the_start(tmp_path):
    run = run_training(tiny_config(tmp_path, epochs=1, start="independent")).folder
    tuned = run_training(tiny_config(tmp_path, "tuned", weights=str(run), **STILL)).folder
    trained = dict(load(run).named_parameters())
    for name, value in load(tuned).named_parameters():
        torch.testing.assert_close(value, trained[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("preset", ["imagenet", "cifar10"])
def test_published_recipes_leave_every_op_as_drawn(preset):
    assert config_from({"arch": "x"}, preset).start == "independent"


def test_a_result_reads_back_what_it_wrote(tmp_path):
    result = TrainResult(
        folder=tmp_path, top1=0.75, top5=0.9, loss=0.7, test_images=100, best_epoch=0,
        validation_top1=None, epochs=3, parameters=4_000, macs=1_000_000, resolution=32,
        seconds=61.5, seconds_per_epoch=20.5,
    )  # fmt: skip
    assert TrainResult.from_json(json.loads(json.dumps(result.to_json())), tmp_path) == result
    assert result.metric == 0.75


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "lacks top1"),
        ({"top1": "high"}, "top1 must be a number: received 'high'"),
        ({"top1": True}, "top1 must be a number"),
        ({"top1": 0.5, "epochs": -1}, "epochs must be a count"),
        ([], "must be a mapping"),
    ],
)
def test_a_malformed_result_is_an_error_that_names_file_and_field(tmp_path, document, message):
    with pytest.raises(TrainingError, match=message) as caught:
        TrainResult.from_json(document, tmp_path)
    assert str(tmp_path / "result.json") in str(caught.value)
