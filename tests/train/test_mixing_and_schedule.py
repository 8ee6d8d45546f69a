"""Mixing, drop-path, learning rate, settings: each against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import tiny_config

from proxyless_hw.errors import TrainingError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.network.drop_path import drop_path
from proxyless_hw.network.network import build_network, set_drop_path
from proxyless_hw.network.ops import Residual
from proxyless_hw.train.config import config_from
from proxyless_hw.train.evaluate import evaluate
from proxyless_hw.train.mixing import beta_sample, cutout, mixed_batch, smooth_targets
from proxyless_hw.train.schedule import learning_rate


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_smoothed_targets_by_hand():
    targets = smooth_targets(torch.tensor([1]), 4, 0.2)
    torch.testing.assert_close(targets, torch.tensor([[0.05, 0.85, 0.05, 0.05]]))


def test_mixup_mixes_images_and_targets_alike(tmp_path):
    config = tiny_config(tmp_path, mixup=1.0)
    count = 16
    targets = torch.eye(count)
    images = targets.view(count, count, 1, 1).expand(-1, -1, 4, 4)  # image i is one-hot too
    mixed, mixed_targets = mixed_batch(images, targets, config, generator())
    torch.testing.assert_close(mixed[:, :, 0, 0], mixed_targets)
    torch.testing.assert_close(mixed_targets.sum(1), torch.ones(count))
    assert (mixed_targets.max(1).values < 1).any()


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_weighs_the_targets_by_area(tmp_path, seed):
    config = tiny_config(tmp_path, cutmix=1.0)
    count = 8
    targets = torch.eye(count)
    images = targets.view(count, count, 1, 1).expand(-1, -1, 9, 9).clone()
    mixed, mixed_targets = mixed_batch(images, targets, config, generator(seed))
    torch.testing.assert_close(mixed.mean((2, 3)), mixed_targets, rtol=1e-5, atol=1e-6)


def test_beta_samples_have_the_right_moments():
    source = generator()
    draws = torch.tensor([beta_sample(0.4, source) for _ in range(4000)])
    # Var of Beta(a, a) is 1 / (4 (2a + 1)).
    assert abs(float(draws.mean()) - 0.5) < 0.02
    assert abs(float(draws.var()) - 1 / (4 * 1.8)) < 0.01


def test_cutout_blanks_one_square_per_image():
    images = torch.ones(50, 3, 12, 12)
    out = cutout(images, 4, generator())
    blank = (out == 0).sum((1, 2, 3)) // 3
    assert blank.max() == 16
    assert blank.min() >= 4  # at least a quarter stays inside at a corner
    assert not (out.sum(0)[0] == 50).all()


def test_drop_path_keeps_the_expectation_and_drops_whole_images():
    torch.manual_seed(0)
    out = drop_path(torch.ones(4000, 2, 3, 3), 0.25)
    torch.testing.assert_close(out.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert (out.flatten(1).std(1) == 0).all()
    assert abs(float(out.mean()) - 1) < 0.03


@pytest.mark.parametrize("name", ["proxyless-mobile", "proxyless-cifar"])
def test_drop_path_rises_linearly_and_leaves_evaluation_alone(name):
    network = build_network(zoo_architecture(name), seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = network(images)
        set_drop_path(network, 0.3)
        assert torch.equal(network(images), before)
    rates = network.drop_rates or [
        block.drop_rate for block in network.blocks if isinstance(block, Residual)
    ]
    assert rates[-1] == pytest.approx(0.3)
    assert rates[0] == pytest.approx(0.3 / len(rates))


def test_the_learning_rate_rises_then_falls_to_zero(tmp_path):
    config = tiny_config(tmp_path, epochs=10, warmup_epochs=2.0, lr=0.4)
    rates = [learning_rate(config, epoch, step, 5) for epoch in range(10) for step in range(5)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[10] == pytest.approx(0.4)
    assert learning_rate(config, 6, 0, 5) == pytest.approx(0.2)
    assert 0 < rates[-1] < 0.01


def test_top_1_and_top_5_by_hand():
    logits = torch.tensor([[9.0, 8, 7, 6, 5, 4], [4, 5, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4]])
    labels = torch.tensor([0, 1, 5])
    score = evaluate(torch.nn.Flatten(), [(logits[:, :, None, None], labels)], torch.device("cpu"))
    assert (score.top1, score.top5, score.images) == (
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
        3,
    )
    assert score.loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)))


def test_the_presets_are_the_published_lengths():
    imagenet = config_from({"arch": "proxyless-mobile"}, "imagenet")
    assert (imagenet.epochs, imagenet.batch_size, imagenet.lr) == (300, 256, 0.05)
    cifar = config_from({"arch": "proxyless-cifar"}, "cifar10")
    assert cifar.epochs == 600
    assert cifar.drop_path > 0


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"arch": "x", "epoch": 3}, "Did you mean 'epochs'"),
        ({"epochs": 3}, "must name 'arch'. What to train"),
        ({"arch": "x", "lr": -1.0}, "lr must be positive"),
        ({"arch": "x", "lr": float("nan")}, "lr must be a number"),
        ({"arch": "x", "batch_size": "8"}, "batch_size must be of type int"),
        ({"arch": "x", "autocast": "fp8"}, "autocast must be one of"),
        ({"arch": "x", "holdout": 1.0}, r"holdout must lie in \[0, 1\)"),
        ({"arch": "x", "warmup_epochs": 12.0}, "warm-up"),
    ],
)
def test_settings_out_of_range_are_refused(settings, text):
    with pytest.raises(TrainingError, match=text):
        config_from(settings)


def test_the_tree_network_trains_a_step_with_drop_path(tmp_path: Path):
    arch = load_architecture("proxyless-cifar")
    network = build_network(arch, seed=0)
    set_drop_path(network, 0.5)
    torch.manual_seed(0)
    network.train()(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in network.head.parameters())
