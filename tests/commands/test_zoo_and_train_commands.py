"""zoo, train, evaluate and import-weights as a user types them."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from click.testing import CliRunner

from proxyless_hw.cli import main
from proxyless_hw.formats.net_config import to_net_config
from proxyless_hw.formats.published import published_state_dict
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.network.network import build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace


def run(*words, code=0, capsys):
    """Runs the command line; returns stdout and stderr."""
    # click ends a command by SystemExit, also when it went well.
    with pytest.raises(SystemExit) as stop:
        sys.exit(main([str(word) for word in words]))
    assert (stop.value.code or 0) == code, capsys.readouterr().err
    return capsys.readouterr()


@pytest.fixture
def network_file(tmp_path):
    space = SearchSpace.load("cifar-mbconv")
    path = tmp_path / "network.json"
    Architecture.from_choices(
        space, [6 if len(s.candidates) == 7 else 0 for s in space.slots]
    ).save(path)
    return path


def test_zoo_list_names_every_network_with_its_figures(capsys):
    out, _ = run("zoo", "list", capsys=capsys)
    assert "proxyless-mobile" in out
    assert "320.43 M" in out
    assert "top-1 74.6%" in out
    out, _ = run("zoo", "list", "--json", capsys=capsys)
    (line,) = out.splitlines()
    rows = {row["name"]: row for row in json.loads(line)["networks"]}
    assert rows["proxyless-cpu"]["parameters"] == 4_361_648
    assert rows["proxyless-cpu"]["published"]["latency_ms"]["CPU"] == 138.7


@pytest.mark.parametrize("name", ["proxyless-mobile", "proxyless-cifar", "mobilenet-v3-small"])
def test_zoo_show_json_adds_up(name, capsys):
    out, _ = run("zoo", "show", name, "--json", capsys=capsys)
    document = json.loads(out)
    assert sum(row["macs"] for row in document["blocks"]) == document["macs"]
    assert sum(row["parameters"] for row in document["blocks"]) == document["parameters"]
    outputs = [row["output"] for row in document["blocks"]]
    assert [row["input"] for row in document["blocks"]][1:] == outputs[:-1]


def test_zoo_show_prints_a_picture(capsys):
    out, _ = run("zoo", "show", "proxyless-mobile", capsys=capsys)
    assert "MB3 5x5" in out
    assert "█" in out
    assert "78 ms Google Pixel 1" in out


def test_zoo_show_writes_the_other_forms(capsys):
    arch = zoo_architecture("proxyless-mobile")
    out, _ = run("zoo", "show", "proxyless-mobile", "--format", "net-config", capsys=capsys)
    assert json.loads(out) == to_net_config(arch)
    out, _ = run("zoo", "show", "proxyless-mobile", "--format", "timm", capsys=capsys)
    assert "ir_r1_k5_s2_e3_c32" in out.splitlines()
    out, _ = run("zoo", "show", "proxyless-mobile", "--format", "json", capsys=capsys)
    assert Architecture.from_json(out) == arch


def test_an_unknown_network_is_one_message_and_code_1(capsys):
    _, err = run("zoo", "show", "proxyless-mobil", code=1, capsys=capsys)
    assert "Did you mean 'proxyless-mobile'" in err
    assert "Traceback" not in err


def test_train_then_evaluate(tmp_path, network_file, capsys):
    folder = tmp_path / "run"
    out, _ = run(
        *("train", network_file, "--limit", "128", "--batch-size", "32", "--epochs", "1"),
        *("--train-resolution", "16", "--output", folder, "--json", "--quiet"),
        capsys=capsys,
    )
    document = json.loads(out)
    assert document["test_images"] == 359
    out, _ = run("evaluate", folder, "--json", capsys=capsys)
    assert json.loads(out)["top1"] == document["top1"]
    _, err = run("train", network_file, "--output", folder, code=1, capsys=capsys)
    assert "already holds a run" in err
    # A finished run is left alone, and --resume needs no other word.
    out, _ = run("train", "--output", folder, "--resume", "--json", capsys=capsys)
    assert json.loads(out)["top1"] == document["top1"]


def test_train_without_a_network_says_what_is_missing(capsys):
    _, err = run("train", code=1, capsys=capsys)
    assert "name the network to train" in err


def test_evaluate_refuses_data_of_other_classes(tmp_path, capsys):
    arch = zoo_architecture("mobilenet-v2-0.1")
    torch.save(published_state_dict(build_network(arch, seed=0)), tmp_path / "w.pth")
    run(
        "import-weights", tmp_path / "w.pth", "--arch", "mobilenet-v2-0.1", "--output",
        tmp_path / "run", capsys=capsys,
    )  # fmt: skip
    _, err = run("evaluate", tmp_path / "run", code=1, capsys=capsys)
    assert "names no data set" in err
    _, err = run("evaluate", tmp_path / "run", "--data", "digits", code=1, capsys=capsys)
    assert "tells 1000 classes apart" in err


def test_import_weights_finds_the_network_by_its_tensors(tmp_path, capsys):
    network = build_network(zoo_architecture("proxyless-mobile"), seed=0)
    torch.save({"state_dict": published_state_dict(network)}, tmp_path / "weights.pth")
    out, _ = run(
        "import-weights", tmp_path / "weights.pth", "--output", tmp_path / "run", "--json",
        capsys=capsys,
    )  # fmt: skip
    assert json.loads(out)["arch"] == "proxyless-mobile"
    assert Architecture.load(tmp_path / "run") == zoo_architecture("proxyless-mobile")


def test_import_weights_names_the_nearest_network(tmp_path, capsys):
    network = build_network(zoo_architecture("proxyless-gpu"), seed=0)
    tensors = published_state_dict(network)
    tensors.pop("feature_mix_layer.bn.bias")
    torch.save(tensors, tmp_path / "weights.pth")
    _, err = run("import-weights", tmp_path / "weights.pth", code=1, capsys=capsys)
    assert "nearest is proxyless-gpu" in err


@pytest.mark.parametrize("name", ["zoo", "train", "evaluate", "import-weights"])
def test_help_shows_an_example(name):
    from proxyless_hw.cli import cli

    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output
