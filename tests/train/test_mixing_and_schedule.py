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
from proxyless_hw.runs.evaluation import evaluate
from proxyless_hw.train.config import config_from
from proxyless_hw.train.mixing import cutout, mixed_batch, mixing
from proxyless_hw.train.schedule import learning_rate


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_hot_images(count, side):
    """Image i is one in channel i alone, so that a mixed image shows the shares it is made of."""
    return torch.eye(count).view(count, count, 1, 1).expand(-1, -1, side, side).clone()


@pytest.mark.parametrize("seed", range(5))
def test_mixup_mixes_images_and_targets_alike(tmp_path, seed):
    config = tiny_config(tmp_path, mixup=1.0)
    count = 16
    images, targets = mixed_batch(
        one_hot_images(count, 4), torch.arange(count), config, count, seed
    )
    torch.testing.assert_close(images[:, :, 0, 0], targets)
    torch.testing.assert_close(targets.sum(1), torch.ones(count))
    assert (targets.max(1).values < 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_weighs_the_targets_by_area(tmp_path, seed):
    config = tiny_config(tmp_path, cutmix=1.0)
    count = 8
    images, targets = mixed_batch(
        one_hot_images(count, 9), torch.arange(count), config, count, seed
    )
    assert set(images.unique().tolist()) == {0.0, 1.0}  # each pixel is of one image
    torch.testing.assert_close(images.mean((2, 3)), targets, rtol=1e-5, atol=1e-6)


def test_with_both_each_batch_draws_one(tmp_path):
    config = tiny_config(tmp_path, mixup=1.0, cutmix=1.0)
    batches = [
        mixed_batch(one_hot_images(8, 9), torch.arange(8), config, 8, seed)[0] for seed in range(20)
    ]
    whole = [set(images.unique().tolist()) == {0.0, 1.0} for images in batches]
    assert any(whole)
    assert not all(whole)


def test_a_mixed_batch_depends_on_its_seed_alone_and_disturbs_no_other_draw(tmp_path):
    config = tiny_config(tmp_path, mixup=0.4, cutmix=1.0, cutout=3)
    images, labels = torch.randn(8, 3, 12, 12), torch.arange(8)
    torch.manual_seed(1)
    first = mixed_batch(images, labels, config, 8, seed=5)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    again = mixed_batch(images, labels, config, 8, seed=5)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], mixed_batch(images, labels, config, 8, seed=6)[0])


@pytest.mark.parametrize("alpha", [1e-30, 1e-6, 1e6, 1e30])
def test_shares_stay_in_range_for_any_alpha(alpha):
    mix = mixing(alpha, 0.0, 4)
    assert mix is not None
    images, targets = mix(torch.rand(4, 3, 5, 5), torch.arange(4))
    assert images.isfinite().all()
    torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_without_mixing_the_batch_stays_as_it_is(tmp_path):
    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    kept = mixed_batch(images, labels, tiny_config(tmp_path), 4, seed=0)
    assert kept[0] is images
    assert kept[1] is labels


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
    batches = [(logits[:, :, None, None], labels)]
    score = evaluate(torch.nn.Flatten(), batches, torch.device("cpu"), TrainingError)
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
