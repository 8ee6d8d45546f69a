"""Shipped search spaces, widths, trees, and the faults a user's space can have."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from proxyless_hw.errors import ArchitectureError, SpaceError
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.counting import op_macs
from proxyless_hw.space.search_space import SearchSpace, shipped_spaces
from proxyless_hw.space.specs import LayerSpec, describe
from proxyless_hw.space.wiring import TreeBlock, layer_numbers

NAMES = [*sorted(shipped_spaces()), "imagenet-w0.5", "imagenet-w1.4", "mobilenet-v3-w1.2"]


def random_network(space: SearchSpace, seed: int = 0) -> tuple[Architecture, tuple[int, ...]]:
    rng = random.Random(seed)
    choices = tuple(rng.randrange(len(slot.candidates)) for slot in space.slots)
    return Architecture.from_choices(space, choices), choices


@pytest.mark.parametrize("name", NAMES)
def test_choices_survive_the_way_through_a_network_and_its_file(name):
    space = SearchSpace.load(name)
    arch, choices = random_network(space)
    assert Architecture.from_json(arch.to_json()).choices_in(space) == choices


@pytest.mark.parametrize("name", NAMES)
def test_costs_are_separable(name):
    """Fixed ops and one op per slot are exactly the ops of the network."""
    space = SearchSpace.load(name)
    arch, choices = random_network(space)
    chosen = [ops[choice] for ops, choice in zip(space.slot_ops(), choices, strict=True)]
    parts = [*space.fixed_ops(), *(op for op in chosen if op is not None)]
    assert sorted(parts, key=str) == sorted(arch.ops(), key=str)
    assert sum(map(op_macs, parts)) == sum(map(op_macs, arch.ops()))


def test_the_imagenet_space_is_the_papers():
    space = SearchSpace.load("imagenet")
    assert (len(space.slots), space.num_candidates, len(space.ops())) == (21, 141, 70)
    assert space.resolutions == (128, 160, 192, 224)


def test_the_fbnet_space_is_the_papers():
    space = SearchSpace.load("fbnet")
    assert len(space.slots) == 22
    # 9 blocks where stride is 1 and channels match, Zero among them; 8 in the other 6 slots.
    assert sorted(len(slot.candidates) for slot in space.slots) == [8] * 6 + [9] * 16


def test_the_mobilenet_v4_space_has_every_form_in_its_slots():
    space = SearchSpace.load("mobilenet-v4")
    assert space.resolutions == (96, 128, 160, 192, 224, 256, 288, 320)
    for slot in space.slots[2:]:
        names = {
            describe(layer).partition(" ")[0].rstrip("0123456789") for layer in slot.candidates
        }
        forms = {"MB", "ExtraDW", "ConvNext"}
        if slot.candidates[0].stride == 1:
            forms |= {"FFN", "skip"}
        assert names == forms
    down = [slot.candidates[0].stride for slot in space.slots]
    assert down == [2, 2, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("fbnet", "fbnet-c"),
        ("efficientnet-lite", "efficientnet-lite0"),
        ("efficientnet-lite", "efficientnet-lite1"),
        ("mcu", "mcunet-256kb"),
        ("mcu", "mcunet-320kb"),
    ],
)
def test_published_networks_lie_in_the_spaces_around_them(space, name):
    found, arch = SearchSpace.load(space), zoo_architecture(name)
    stages = groupby(found.positions, key=lambda position: position.stage)
    depths = [len(list(group)) for _, group in stages]
    blocks = list(arch.blocks)
    filled = []
    for depth in depths:
        width = blocks[0].out_c
        stage = [blocks.pop(0) for _ in range(depth) if blocks and blocks[0].out_c == width]
        filled += stage + [LayerSpec("skip", width, width, skip=True)] * (depth - len(stage))
    choices = replace(arch, blocks=tuple(filled)).choices_in(found)
    back = Architecture.from_choices(found, choices, resolution=arch.resolution)
    assert [block for block in back.blocks if not block.is_zero] == [
        block for block in arch.blocks if not block.is_zero
    ]
    assert (back.stem, back.head) == (arch.stem, arch.head)
    assert arch.resolution in found.resolutions


@pytest.mark.parametrize(
    ("name", "stem", "widths", "last"),
    [
        ("imagenet-w0.5", 16, {8, 16, 24, 40, 48, 96, 160}, 1280),
        ("imagenet-w1.4", 48, {24, 32, 56, 112, 136, 272, 448}, 1792),
        ("mobilenet-v3-w1.2", 24, {24, 32, 48, 96, 136, 192}, 1536),
    ],
)
def test_a_width_multiplier_scales_every_width_to_eights(name, stem, widths, last):
    space = SearchSpace.load(name)
    assert space.id == name
    assert space.stem[0].out_c == stem
    assert {position.candidates[0].out_c for position in space.positions} == widths
    assert space.head[-1].in_c == last


def test_the_note10_space_has_the_published_squeeze_excite_and_activations():
    space = SearchSpace.load("mobilenet-v3-w1.2")
    keys = {(slot.candidates[0].out_c, slot.candidates[0].se, slot.candidates[0].act)
            for slot in space.slots}  # fmt: skip
    assert keys == {
        (32, 0, "relu"),
        (48, 1, "relu"),
        (96, 0, "hswish"),
        (136, 1, "hswish"),
        (192, 1, "hswish"),
    }


def test_the_tree_space_has_12_slots_of_7_candidates_in_each_of_54_blocks():
    space = SearchSpace.load("cifar-tree")
    assert len(space.wiring) == 54
    assert all(len(slot.candidates) == 7 for slot in space.slots)
    assert list(layer_numbers(space.wiring)) == list(range(len(space.positions)))
    for index, block in enumerate(space.wiring):
        assert isinstance(block, TreeBlock)
        slots = [n for n in layer_numbers((block,)) if space.positions[n].is_slot]
        assert len(slots) == 12
        assert all(space.positions[n].stage == index for n in slots)


def test_a_tree_network_wired_elsewise_is_not_in_the_space():
    space = SearchSpace.load("cifar-tree")
    arch, _ = random_network(space)
    other = SearchSpace.from_yaml(TREE.replace("blocks: 2", "blocks: 3"))
    with pytest.raises(ArchitectureError, match="wiring differ"):
        arch.choices_in(other)


TREE = """
schema: proxyless-hw-space/1
id: small-tree
resolution: 32
num_classes: 10
stem: {op: conv, kernel: 3, stride: 1, width: 8}
candidates:
  - {op: sepconv_pre, kernel: 3, act: relu}
  - {op: identity}
tree: {blocks: 2, first_width: 4, last_width: 8, expand: 2, reduce_at: [1]}
head: [{op: identity_pre, act: relu}, {op: classifier}]
"""

CHAIN = """
schema: proxyless-hw-space/1
id: mine
resolution: 32
num_classes: 10
stem: {op: conv, kernel: 3, stride: 1, width: 16}
candidates:
  - {op: mbconv, kernel: 3, expand: 3}
  - {op: mbconv, kernel: 5, expand: 3}
stages:
  - {width: 24, depth: 2, stride: 2}
head: [{op: classifier}]
"""


def test_a_small_tree_of_ones_own():
    space = SearchSpace.from_yaml(TREE)
    assert len(space.slots) == 24
    arch, _ = random_network(space)
    assert [shape.h for shape in arch.input_shapes()][-1] == 16


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("op: mbconv, kernel: 3", "op: mbcon, kernel: 3", "Did you mean 'mbconv'"),
        ("stride: 2", "stride: 3", r"stages\[0\].stride must be a whole number from 1 to 2"),
        ("kernel: 5", "kernel: 4", "must be odd"),
        ("kernel: 5, expand: 3", "kernel: 3, expand: 3", "must not repeat"),
        ("head: [{op: classifier}]", "head: []", "head must be a list"),
        ("stages:", "tree: {}\nstages:", "either 'stages'"),
        ("id: mine", "id: mine\ncolour: red", "unknown field 'colour'"),
    ],
)
def test_a_fault_names_its_field(old, new, text):
    with pytest.raises(SpaceError, match=text):
        SearchSpace.from_yaml(CHAIN.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("reduce_at: [1]", "reduce_at: [2]", "tree.reduce_at must list blocks from 0 to 1"),
        ("first_width: 4", "first_width: 1", "tree.first_width"),
        ("expand: 2", "expand: 1", "fewer channels than it receives"),
        ("{op: identity}", "{op: pool}", "keeps a feature map"),
        ("blocks: 2", "blocks: 2, leaves: 3", "unknown field 'leaves'"),
    ],
)
def test_a_fault_in_a_tree_names_its_field(old, new, text):
    with pytest.raises(SpaceError, match=text):
        SearchSpace.from_yaml(TREE.replace(old, new, 1))


def test_trees_take_no_width_multiplier():
    with pytest.raises(SpaceError, match="no chain"):
        SearchSpace.load("cifar-tree-w1.2")


def test_a_width_out_of_range_is_refused():
    with pytest.raises(SpaceError, match="width multiplier"):
        SearchSpace.load("imagenet-w9")


def test_the_space_in_the_guide_loads_and_has_30_lines_at_most():
    guide = Path(__file__).parents[2] / "docs" / "networks.md"
    text = guide.read_text().split("```yaml\n")[1].split("```")[0]
    assert len(text.splitlines()) <= 30
    space = SearchSpace.from_yaml(text)
    assert len(space.slots) == 11
    assert space.slots[-1].candidates[3].act == "hswish"
