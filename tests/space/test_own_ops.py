"""Ops of one's own: registered at run time, with options, counted by torch on what is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from proxyless_hw.errors import ArchitectureError, SpaceError
from proxyless_hw.network.network import build_network
from proxyless_hw.predictors.features import op_parts
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space import op_registry
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.counting import op_macs, op_parameters
from proxyless_hw.space.op_options import OpOptions, read_options
from proxyless_hw.space.op_registry import register_op
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import LayerSpec, OpSpec
from proxyless_hw.tables.table import Entry, LatencyTable


@dataclass(frozen=True, kw_only=True)
class GhostOptions:
    ratio: int = 2
    mode: str = "cheap"


class Ghost(nn.Module):
    """A part of the channels by a 1x1 convolution, the rest by a depthwise one of the kernel."""

    def __init__(self, layer: LayerSpec, batch_norm: Any) -> None:
        super().__init__()
        main = layer.out_c // layer.options["ratio"]
        self.main = nn.Conv2d(layer.in_c, main, 1, layer.stride, bias=False)
        rest = layer.out_c - main
        self.cheap = nn.Conv2d(main, rest, layer.kernel, padding=layer.kernel // 2, groups=main)

    def forward(self, x: Tensor) -> Tensor:
        main = self.main(x)
        return torch.cat([main, self.cheap(main)], 1)


@pytest.fixture
def ghost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", {})
    register_op("ghost", options=GhostOptions)(Ghost)


def space_with(*candidates: dict[str, object], **more: object) -> SearchSpace:
    return SearchSpace.from_dict(
        {
            "schema": "proxyless-hw-space/1",
            "id": "own",
            "resolution": 16,
            "num_classes": 4,
            "stem": {"op": "conv", "kernel": 3, "stride": 2, "width": 8},
            "candidates": [{"op": "mbconv", "kernel": 3, "expand": 3}, *candidates],
            "zero": True,
            "stages": [{"width": 8, "depth": 1, "stride": 1}],
            "head": [{"op": "classifier"}],
            **more,
        }
    )


def ghost_op(space: SearchSpace) -> OpSpec:
    return next(op for op in space.ops() if op.op == "ghost")


@pytest.mark.usefixtures("ghost")
def test_options_of_a_space_reach_the_layer_with_the_defaults_of_the_rest() -> None:
    space = space_with({"op": "ghost", "kernel": 3, "ratio": 4})
    layer = space.slots[0].candidates[1]
    assert dict(layer.options) == {"mode": "cheap", "ratio": 4}
    assert not layer.skip


@pytest.mark.usefixtures("ghost")
def test_a_misspelt_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpaceError, match=r"no option 'ratoi'.*Did you mean 'ratio'"):
        space_with({"op": "ghost", "ratoi": 4})
    with pytest.raises(SpaceError, match=r"option 'ratio' is of type int: received 'two'"):
        space_with({"op": "ghost", "ratio": "two"})


def test_an_op_without_declared_options_takes_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", {})
    register_op("free")(Ghost)
    layer = space_with({"op": "free", "gain": 1.5, "kind": "a"}).slots[0].candidates[1]
    assert layer.options == {"gain": 1.5, "kind": "a"}


def test_a_built_in_op_takes_no_options() -> None:
    with pytest.raises(SpaceError, match="unknown field 'ratio'"):
        space_with({"op": "conv", "kernel": 3, "ratio": 2})


@pytest.mark.usefixtures("ghost")
def test_two_ratios_are_two_ops_in_key_architecture_and_table(tmp_path: Path) -> None:
    space = space_with({"op": "ghost", "ratio": 2}, {"op": "ghost", "ratio": 4})
    two, four = (op for op in space.ops() if op.op == "ghost")
    assert two != four
    assert two.key.endswith("-mode=cheap-ratio=2")
    assert [OpSpec.from_key(op.key) for op in (two, four)] == [two, four]

    arch = Architecture.from_choices(space, (2,))
    assert Architecture.from_json(arch.to_json()) == arch
    assert arch.blocks[0].options["ratio"] == 4

    plain = space.fixed_ops()[0]
    entries = {plain: Entry(1.0), two: Entry(2.0), four: Entry(3.0)}
    table = LatencyTable(entries, {"metric": "latency", "unit": "ms"})
    table.save(tmp_path / "t.csv")
    assert LatencyTable.load(tmp_path / "t.csv").entries == table.entries
    frame = table.to_pandas()
    assert frame["options"].tolist() == ["", "mode=cheap;ratio=2", "mode=cheap;ratio=4"]
    assert LatencyTable.from_pandas(frame).entries == table.entries


def test_a_table_without_such_ops_has_no_options_column(tmp_path: Path) -> None:
    LatencyTable.load("pixel1").save(tmp_path / "t.csv")
    assert "options" not in (tmp_path / "t.csv").read_text()


@pytest.mark.usefixtures("ghost")
def test_macs_and_parameters_are_those_of_the_built_module() -> None:
    op = ghost_op(space_with({"op": "ghost", "kernel": 5, "ratio": 2}))
    area, main, rest = 8 * 8, 4, 4
    assert op_macs(op) == area * (8 * main + 25 * rest)
    assert op_parameters(op) == 8 * main + 25 * rest + rest
    (part,) = op_parts(op)
    assert part.macs == op_macs(op)


def test_an_op_that_gives_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", {})

    @register_op("shrinking")
    class Shrinking(nn.Conv2d):
        def __init__(self, layer: LayerSpec, batch_norm: Any) -> None:
            super().__init__(layer.in_c, layer.out_c, 3)

    op = OpSpec("shrinking", 8, 8, 4, 8, 8, 4, kernel=3)
    with pytest.raises(ArchitectureError, match=r"gave \(1, 4, 6, 6\)"):
        op_macs(op)


def test_a_builder_that_fails_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", {})
    register_op("broken")(lambda layer, batch_norm: nn.Conv2d(layer.in_c, layer.options["x"], 1))
    register_op("nothing")(lambda layer, batch_norm: None)
    with pytest.raises(ArchitectureError, match="builder of op 'broken' failed"):
        op_macs(OpSpec("broken", 8, 8, 4, 8, 8, 4))
    with pytest.raises(ArchitectureError, match="must return a torch module"):
        op_macs(OpSpec("nothing", 8, 8, 4, 8, 8, 4))


@pytest.mark.parametrize("name", ["mbconv", "conv_nobn", "skip", "Ghost", "a-b", ""])
def test_a_name_that_is_built_in_or_none_is_refused(name: str) -> None:
    with pytest.raises(ArchitectureError, match=r"is built in|op's name has"):
        register_op(name)


def test_options_that_are_no_frozen_dataclass_of_plain_fields_are_refused() -> None:
    @dataclass
    class Loose:
        ratio: int = 2

    @dataclass(frozen=True)
    class Listed:
        ratios: tuple[int, ...] = ()

    for cls in (Loose, Listed, dict):
        with pytest.raises(ArchitectureError):
            register_op("own", options=cls)


@pytest.mark.usefixtures("ghost")
def test_zero_is_the_identity_where_an_op_owns_its_addition() -> None:
    space = space_with({"op": "ghost", "ratio": 2})
    net = SuperNet(space, 4, seed=0).eval()
    mixed = net.positions[0]
    x = torch.randn(2, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(mixed(x, 2), x)
        torch.testing.assert_close(mixed(x, 1), mixed.candidates[1](x))
        # The inverted bottleneck keeps its own addition.
        torch.testing.assert_close(mixed(x, 0), mixed.candidates[0].body(x) + x)
        for choice in range(3):
            network = build_network(Architecture.from_choices(space, (choice,)), seed=0)
            assert network(torch.zeros(1, 3, 16, 16)).shape == (1, 4)


def test_with_shortcut_the_addition_is_put_around_the_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", {})
    register_op("ghost", options=GhostOptions, shortcut=True)(Ghost)
    layer = space_with({"op": "ghost", "ratio": 2}).slots[0].candidates[1]
    assert layer.skip


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_space_may_take_other_than_three_channels(channels: int) -> None:
    space = space_with(input={"channels": channels})
    assert space.in_channels == channels
    arch = Architecture.from_choices(space, (0,))
    assert Architecture.from_json(arch.to_json()).in_channels == channels
    assert build_network(arch, seed=0)(torch.zeros(1, channels, 16, 16)).shape == (1, 4)
    assert SuperNet(space, 4, seed=0)(torch.zeros(1, channels, 16, 16), (0,)).shape == (1, 4)
    assert arch.ops()[0].in_c == channels


@pytest.mark.parametrize("channels", [0, 5, 1.5, "3"])
def test_an_impossible_number_of_channels_is_refused(channels: object) -> None:
    with pytest.raises(SpaceError, match=r"input.channels must be a whole number from 1 to 4"):
        space_with(input={"channels": channels})


def test_options_read_back_with_their_types() -> None:
    given = OpOptions({"b": 2, "a": -1.5, "c": "word_1", "d": 1e-7})
    assert list(given) == ["a", "b", "c", "d"]
    assert read_options(given.to_text(";"), ";") == given
    op = OpSpec("own", 8, 8, 4, 8, 8, 4, options=given)
    back = OpSpec.from_key(op.key)
    assert back == op
    assert {name: type(value) for name, value in back.options.items()} == {
        "a": float, "b": int, "c": str, "d": float,
    }  # fmt: skip
    assert hash(back) == hash(op)


@pytest.mark.parametrize("value", [float("nan"), "a b", "a=b", "2", True, None, 10**20])
def test_an_option_that_has_no_text_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="option 'x' is a number or a word"):
        OpOptions({"x": value})  # type: ignore[dict-item]
