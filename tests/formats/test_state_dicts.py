"""Of several sets of weights in a file the averaged ones are taken, and it is said."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from proxyless_hw.cli import main
from proxyless_hw.errors import ArchitectureError, TrainingError
from proxyless_hw.formats.published import load_published_weights, published_state_dict
from proxyless_hw.formats.state_dicts import AVERAGED, PLAIN, choose_state_dict
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.network.network import build_network
from proxyless_hw.terminal.notices import Notice
from proxyless_hw.train.load import initialise_from

RAW = {"a.weight": torch.zeros(2), "a.bias": torch.zeros(1)}
MEAN = {"a.weight": torch.ones(2), "a.bias": torch.ones(1)}


def chosen(document: dict[str, Any]) -> tuple[dict[Any, Any], list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tensors = choose_state_dict(document, "x.pth")
    return tensors, [str(item.message) for item in caught]


@pytest.mark.parametrize("plain", ["state_dict", "model", "network"])
@pytest.mark.parametrize("averaged", AVERAGED)
def test_averaged_weights_are_taken_and_said(averaged: str, plain: str) -> None:
    for document in ({plain: RAW, averaged: MEAN}, {averaged: MEAN, plain: RAW}):
        tensors, said = chosen({"epoch": 3, **document})
        assert tensors == MEAN
        assert said == [
            f"x.pth: the averaged weights are taken ({averaged}), not those under {plain}."
        ]


@pytest.mark.parametrize("key", PLAIN)
def test_one_set_of_weights_is_taken_without_a_word(key: str) -> None:
    assert chosen({key: RAW, "optimizer": {"state": {}}, "epoch": 1}) == (RAW, [])
    assert chosen(dict(RAW)) == (RAW, [])


@pytest.mark.parametrize("nothing", [None, {}, 0.999, {"decay": 0.999}, torch.tensor(0.9)])
def test_an_average_that_holds_no_weights_is_none(nothing: object) -> None:
    assert chosen({"state_dict": RAW, "ema": nothing, "model_ema": nothing}) == (RAW, [])


def test_timms_order_decides_between_two_averages() -> None:
    other = {name: tensor + 1 for name, tensor in MEAN.items()}
    tensors, _ = chosen({"model_ema": other, "state_dict": RAW, "state_dict_ema": MEAN})
    assert tensors == MEAN


def test_of_two_plain_sets_it_is_said_which() -> None:
    tensors, said = chosen({"model": MEAN, "state_dict": RAW})
    assert tensors == RAW
    assert said == ["x.pth: the weights under state_dict are taken, not those under model."]


@pytest.mark.parametrize(
    "wrappers",
    [
        *("module.", "_orig_mod.", "module._orig_mod.", "module.module."),
        *("model.", "net.", "network.", "backbone.", "model._orig_mod."),
    ],
)
def test_wrapped_models_lose_their_prefix_and_their_counter(wrappers: str) -> None:
    wrapped = {f"{wrappers}{name}": tensor for name, tensor in MEAN.items()}
    document = {"model": RAW, "model_ema": {"n_averaged": torch.tensor(7), **wrapped}}
    assert chosen(document)[0] == MEAN
    mixed = {"module.a": RAW["a.bias"], "b": RAW["a.bias"]}
    assert chosen({"state_dict": mixed})[0] == mixed


def test_an_average_with_its_settings_is_looked_into() -> None:
    tensors, _ = chosen({"model": RAW, "ema": {"decay": 0.9, "module": MEAN}})
    assert tensors == MEAN


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file with raw and averaged weights of a published network, and the averaged ones."""
    raw, averaged = (
        published_state_dict(build_network(zoo_architecture("mobilenet-v2-0.1"), seed=seed))
        for seed in (0, 1)
    )
    path = tmp_path / "both.pth"
    torch.save({"state_dict": raw, "state_dict_ema": averaged, "epoch": 9}, path)
    return path, averaged


def test_every_reader_takes_the_averaged_weights(
    checkpoint: tuple[Path, dict[str, torch.Tensor]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, averaged = checkpoint
    arch = zoo_architecture("mobilenet-v2-0.1")
    with pytest.warns(Notice, match=r"averaged weights are taken \(state_dict_ema\)"):
        loaded = load_published_weights(arch, path)
    tuned = build_network(arch, seed=5)
    with pytest.warns(Notice, match=r"averaged weights are taken \(state_dict_ema\)"):
        initialise_from(tuned, path)
    words = ["import-weights", str(path), "--arch", "mobilenet-v2-0.1"]
    with pytest.raises(SystemExit):
        main([*words, "--output", str(tmp_path / "run")])
    assert capsys.readouterr().err.count("the averaged weights are taken (state_dict_ema)") == 1
    from proxyless_hw.train.load import load

    for network in (loaded, tuned, load(tmp_path / "run")):
        found = published_state_dict(network)
        assert all(torch.equal(found[name], averaged[name]) for name in averaged)


def test_a_training_checkpoint_of_ours_gives_its_average(tmp_path: Path) -> None:
    arch = zoo_architecture("mobilenet-v2-0.1")
    raw, averaged = (build_network(arch, seed=seed).state_dict() for seed in (0, 1))
    torch.save({"network": raw, "average": averaged, "epoch": 1}, tmp_path / "checkpoint.pt")
    network = build_network(arch, seed=2)
    with pytest.warns(Notice, match=r"averaged weights are taken \(average\)"):
        initialise_from(network, tmp_path / "checkpoint.pt")
    state = network.state_dict()
    assert all(torch.equal(state[name], averaged[name]) for name in averaged)


def test_weights_of_another_network_are_still_refused(tmp_path: Path) -> None:
    torch.save({"model": MEAN, "ema": MEAN}, tmp_path / "other.pth")
    network = build_network(zoo_architecture("mobilenet-v2-0.1"))
    with pytest.warns(Notice), pytest.raises((ArchitectureError, TrainingError), match="not fit"):
        initialise_from(network, tmp_path / "other.pth")
