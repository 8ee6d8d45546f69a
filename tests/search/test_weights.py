"""A supernet that starts from a network: which paths compute what the network does, and the run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_yaml import TINY_YAML
from torch import Tensor, nn

from proxyless_hw.cli import main
from proxyless_hw.errors import SearchError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.published import published_state_dict
from proxyless_hw.network.network import Network, build_network
from proxyless_hw.runs.objects import GIVEN
from proxyless_hw.runs.run_network import load_network
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.search.start import align_candidates
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.search.weights import StartingWeights, fit, paired, start_from, starting_weights
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import LayerSpec
from proxyless_hw.terminal.notices import Notice
from proxyless_hw.train.load import save_imported

GATED = TINY_YAML.replace("act: relu6}", "act: hswish, se: 1}").replace("width: 8,", "width: 24,")
MIXED = TINY_YAML.replace(
    "zero: true", "  - {op: mbconv, kernel: 7, expand: 2, act: relu6}\nzero: true"
)


def network_of(space: SearchSpace, choices: list[int], classes: int = 10) -> Network:
    """A network with weights and running statistics that no start has."""
    arch = Architecture.from_choices(space, choices).with_shape(num_classes=classes)
    network = build_network(arch, seed=5)
    generator = torch.Generator().manual_seed(6)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                assert tensor is not None
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            for tensor in (part.bias.data, part.running_mean):
                assert tensor is not None
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return network.eval()


def started(space: SearchSpace, network: Network, classes: int = 10) -> tuple[SuperNet, str]:
    supernet = SuperNet(space, classes, seed=1)
    align_candidates(supernet, 1)
    said = start_from(supernet, StartingWeights(network, "given", {}))
    return supernet.eval(), said


def images() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("text", [TINY_YAML, GATED, MIXED])
@pytest.mark.parametrize("choices", [[0, 1, 0], [1, 0, 1], [0, 1, 2]])
def test_the_path_of_the_networks_own_choices_gives_its_logits(
    text: str, choices: list[int]
) -> None:
    space = SearchSpace.from_yaml(text)
    network = network_of(space, choices)
    supernet, _ = started(space, network)
    torch.testing.assert_close(supernet(images(), choices), network(images()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("text", [TINY_YAML, GATED, MIXED])
def test_every_candidate_that_contains_the_block_computes_it(text: str) -> None:
    space = SearchSpace.from_yaml(text)
    network = network_of(space, [0, 0, 0])
    supernet, said = started(space, network)
    larger = 2 if text == MIXED else 1  # kernel 7 and as wide; else kernel 5 and wider
    for choices in ([larger] * 3, [0, 1, larger], [1, 0, 1]):
        torch.testing.assert_close(
            supernet(images(), choices), network(images()), rtol=1e-5, atol=1e-5
        )
    candidates = 9 if text == MIXED else 6  # kernel 7 and as wide contains it too
    assert f"3 of 3 blocks (candidates: {candidates} in full, 0 in part)" in said
    assert "\n" not in said


def test_what_is_zero_at_the_start_receives_gradients() -> None:
    space = SearchSpace.from_yaml(TINY_YAML)
    supernet, _ = started(space, network_of(space, [0, 0, 0]))
    supernet(images(), [1, 1, 1]).square().sum().backward()
    block = supernet.positions[1].candidates[1]  # type: ignore[index, union-attr]
    project, depthwise = block.project.conv.weight, block.depthwise.conv.weight  # type: ignore
    added = project[:, 16:]  # the block has 16 channels in the middle, the candidate 24
    assert added.abs().max() == 0
    assert (project.grad[:, 16:] != 0).float().mean() > 0.5  # a few channels are 0 after ReLU6
    border = torch.ones(5, 5, dtype=torch.bool)
    border[1:4, 1:4] = False
    assert depthwise[:16, 0, border].abs().max() == 0
    assert (depthwise.grad[:16, 0, border] != 0).float().mean() > 0.5


def test_a_smaller_candidate_takes_first_channels_and_middles_and_that_is_said() -> None:
    space = SearchSpace.from_yaml(TINY_YAML)
    network = network_of(space, [1, 1, 2])
    supernet, said = started(space, network)
    given: Any = network.blocks[1]
    taken: Any = supernet.positions[1].candidates[0]  # type: ignore[index, union-attr]
    assert torch.equal(taken.depthwise.conv.weight, given.depthwise.conv.weight[:16, :, 1:4, 1:4])
    assert torch.equal(taken.expand.conv.weight, given.expand.conv.weight[:16])
    assert torch.equal(taken.project.conv.weight, given.project.conv.weight[:, :16])
    assert torch.equal(taken.depthwise.bn.running_var, given.depthwise.bn.running_var[:16])
    assert said.splitlines() == [
        "weights of given: 2 of 3 blocks (candidates: 2 in full, 2 in part), stem 1 of 1 layers, "
        "head 1 of 1",
        "no weights for block 3: removed in the network",
    ]


def test_a_classifier_of_other_classes_begins_anew_and_that_is_said() -> None:
    space = SearchSpace.from_yaml(TINY_YAML)
    drawn = SuperNet(space, 10, seed=1)
    supernet, said = started(space, network_of(space, [0, 0, 0], classes=7))
    assert torch.equal(supernet.head[0].linear.weight, drawn.head[0].linear.weight)  # type: ignore
    assert "head 0 of 1 (the classifier begins anew: 7 classes there, 10 here)" in said


def test_a_deeper_or_shallower_network_is_paired_in_running_order() -> None:
    space = SearchSpace.from_yaml(TINY_YAML.replace("width: 16, depth: 1", "width: 16, depth: 2"))
    short = SearchSpace.from_yaml(TINY_YAML)
    arch = Architecture.from_choices(short, [0, 1, 0])
    # Of the space: 8 -> 8, 8 -> 16 at stride 2, then three of 16 -> 16.
    assert paired(space, arch) == [0, 1, 2, None, None]
    deep = Architecture.from_choices(space, [0, 1, 2, 0, 1])
    assert paired(short, deep) == [0, 1, 3]  # number 2 is removed there
    _, said = started(space, network_of(short, [0, 0, 0]))
    assert "block 4, 5: no block of the network is paired with it" in said


def test_the_blocks_of_a_published_network_fit_the_space_for_imagenet() -> None:
    space, arch = SearchSpace.load("imagenet"), load_architecture("proxyless-mobile")
    pairs = paired(space, arch)
    assert pairs == list(range(len(space.positions)))
    for number, (position, block) in enumerate(zip(space.positions, arch.blocks, strict=True)):
        fits = {fit(candidate, block) for candidate in position.candidates}
        if block.is_zero or 1 <= number < 6:  # that stage is 32 wide there, 24 in the space
            assert fits == {"none"}
        else:
            assert "whole" in fits


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({}, "whole"),
        ({"kernel": 7}, "whole"),
        ({"expand": 6}, "whole"),
        ({"kernel": 3}, "part"),
        ({"act": "hswish"}, "part"),
        ({"se": 1}, "part"),
        ({"expand": 1}, "none"),
        ({"stride": 2, "skip": False}, "none"),
        ({"out_c": 24, "skip": False}, "none"),
        ({"op": "conv", "expand": 1}, "none"),
        ({"op": "mbconv_pw", "expand": 1}, "part"),
        ({"op": "mbconv_g2_shuffle"}, "none"),
        ({"op": "skip", "expand": 1}, "none"),
    ],
)
def test_fit(changes: dict[str, Any], taken: str) -> None:
    settings = {"kernel": 5, "expand": 3, "act": "relu6", "skip": True, "out_c": 16}
    block = LayerSpec(**{"op": "mbconv", "in_c": 16, **settings})
    assert fit(LayerSpec(**{"op": "mbconv", "in_c": 16, **settings, **changes}), block) == taken


def test_grouped_blocks_fit_those_of_the_same_groups_and_width() -> None:
    block = LayerSpec("mbconv_g2_shuffle", 16, 16, kernel=3, expand=3, act="relu")
    assert fit(block, block) == "whole"
    assert fit(replace(block, kernel=5), block) == "whole"
    for other in ({"expand": 6}, {"op": "mbconv"}, {"op": "mbconv_g2"}, {"op": "mbconv_g4"}):
        assert fit(replace(block, **other), block) == "none"


def test_another_eps_is_said() -> None:
    space = SearchSpace.from_yaml(TINY_YAML)
    other = SearchSpace.from_yaml(TINY_YAML + "batch_norm: {momentum: 0.1, eps: 0.01}\n")
    with pytest.warns(Notice, match="trained with a BatchNorm eps of 0.01"):
        started(space, network_of(other, [0, 0, 0]))


# Where the weights come from.


def test_a_network_is_loaded_from_a_folder_a_file_in_it_and_a_published_file(
    tmp_path: Path,
) -> None:
    network = network_of(SearchSpace.from_yaml(TINY_YAML), [0, 1, 2])
    save_imported(network, tmp_path / "run", {})
    for source in (tmp_path / "run", tmp_path / "run" / "best.pt"):
        loaded = load_network(source, SearchError)
        assert torch.equal(loaded(images()), network(images()))
    alone = tmp_path / "alone.pt"
    shutil.copy(tmp_path / "run" / "best.pt", alone)
    with pytest.raises(SearchError, match=r"no\s+architecture\.json"):
        load_network(alone, SearchError)
    with pytest.raises(SearchError, match=r"no weights file .*none\.pt"):
        load_network(tmp_path / "none.pt", SearchError)
    published = build_network(load_architecture("proxyless-mobile").with_shape(num_classes=5), 0)
    torch.save({"state_dict": published_state_dict(published)}, tmp_path / "published.pth")
    loaded = load_network(tmp_path / "published.pth", SearchError)
    assert loaded.arch.num_classes == 5
    assert not loaded.training
    state = published.state_dict()
    assert all(torch.equal(held, state[key]) for key, held in loaded.state_dict().items())


class Notes(SearchObserver):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def config(files: tuple[Path, Path], output: Path, **changes: Any) -> SearchConfig:
    settings: dict[str, Any] = {
        "space": str(files[0]),
        "table": str(files[1]),
        "target_ms": 7.2,
        "limit": 160,
        "train_resolution": 16,
        "batch_size": 32,
        "warmup_epochs": 0,
        "epochs": 1,
        "finalists": 1,
        **changes,
    }
    return SearchConfig(output=str(output), **settings)


def test_a_search_starts_from_a_run_and_refuses_other_weights_on_resumption(
    tiny_files: tuple[Path, Path], tmp_path: Path
) -> None:
    space, run, notes = SearchSpace.load(tiny_files[0]), tmp_path / "run", Notes()
    save_imported(network_of(space, [0, 0, 0]), tmp_path / "given", {})
    settings = config(tiny_files, run, weights=str(tmp_path / "given"))
    run_search(settings, lambda constraints: notes)
    assert any("3 of 3 blocks" in said for said in notes.said)
    kept = json.loads((run / "config.json").read_text())
    assert kept["settings"]["weights"] == str(tmp_path / "given")
    assert len(kept["weights"]["hash"]) == 16
    resumed = config(tiny_files, run, weights=str(tmp_path / "given"), resume=True)
    folder = SearchFolder(run)
    again = starting_weights(space, resumed, None, folder)
    assert again is not None
    assert again.facts == kept["weights"]
    shutil.move(tmp_path / "given", tmp_path / "gone")
    gone = starting_weights(space, resumed, None, folder)  # the checkpoint has all
    assert gone is not None
    assert gone.network is None
    assert gone.facts == kept["weights"]
    save_imported(network_of(space, [1, 0, 0]), tmp_path / "given", {})
    with pytest.raises(SearchError, match="holds others now than when the run began"):
        starting_weights(space, resumed, None, folder)


def test_a_search_is_given_a_network_and_the_resumption_needs_it_again(
    tiny_files: tuple[Path, Path], tmp_path: Path
) -> None:
    network = network_of(SearchSpace.load(tiny_files[0]), [0, 1, 0])
    settings = config(tiny_files, tmp_path / "run")
    run_search(settings, weights=network)
    resumed = replace(settings, resume=True)
    with pytest.raises(SearchError, match=r"begun with objects.*weights=\.\.\."):
        run_search(resumed)
    other = network_of(SearchSpace.load(tiny_files[0]), [0, 0, 0])
    with pytest.raises(SearchError, match="another object for weights"):
        run_search(resumed, weights=other)
    assert run_search(resumed, weights=network) is not None  # it is finished
    with pytest.raises(SearchError, match="weights is given twice"):
        run_search(replace(settings, weights="runs/x"), weights=network)
    with pytest.raises(SearchError, match="given its weights as an object"):
        starting_weights(
            SearchSpace.load(tiny_files[0]),
            replace(settings, weights=GIVEN),
            None,
            SearchFolder(tmp_path),
        )


def test_weights_that_no_candidate_takes_are_refused_before_anything_is_trained(
    tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TINY_YAML.replace("width: 16", "width: 20").replace("width: 8", "width: 12")
    other = SearchSpace.from_yaml(text)
    save_imported(network_of(other, [0, 0, 0]), tmp_path / "given", {})
    with pytest.raises(SystemExit, match="1"):
        main(
            [
                *("search", "--space", str(tiny_files[0]), "--table", str(tiny_files[1])),
                *("--output", str(tmp_path / "run"), "--weights", str(tmp_path / "given")),
            ]
        )
    assert "no candidate of space 'tiny' takes any of" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.json").exists()
