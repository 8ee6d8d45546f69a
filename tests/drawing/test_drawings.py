"""The pictures show what they should: blocks, kernels, expansions, curves, probabilities."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest

from proxyless_hw.drawing.canvas import Canvas, Line, Rect, Text, text_width
from proxyless_hw.drawing.charts import (
    Level,
    Series,
    _ticks,
    bar_chart,
    heat_map,
    interval_chart,
    line_chart,
)
from proxyless_hw.drawing.figures import architecture_canvas, architecture_svg
from proxyless_hw.drawing.palette import DARK, LIGHT
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.report.preferences import preferences
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import LayerSpec


def network(choice: int = 0, **options: int) -> Architecture:
    """The same candidate everywhere; the last one where it is given as -1."""
    space = SearchSpace.load("imagenet")
    choices = [choice % len(slot.candidates) for slot in space.slots]
    return Architecture.from_choices(space, choices, **options)


def blocks(arch: Architecture) -> list[Rect]:
    shapes = architecture_canvas(arch).shapes
    return [shape for shape in shapes if isinstance(shape, Rect) and shape.title]


def test_every_layer_is_drawn_once_and_inside() -> None:
    arch = network(4)
    canvas = architecture_canvas(arch)
    drawn = blocks(arch)
    assert len(drawn) == len(arch.layers)
    assert all(item.x >= 0 and item.x + item.width <= canvas.width for item in drawn)


def test_kernel_is_height_and_colour_expansion_is_width() -> None:
    small, large = blocks(network(0))[2], blocks(network(5))[2]
    assert small.title.startswith("MB3 3x3")
    assert large.title.startswith("MB6 7x7")
    assert large.height > small.height
    assert large.width > small.width
    assert (small.fill, large.fill) == ("k3", "k7")


def test_removed_blocks_are_dashed() -> None:
    arch = network(-1)
    removed = [item for item in blocks(arch) if item.dashed]
    assert len(removed) == sum(block.is_zero for block in arch.blocks) > 0
    assert all("removed" in item.title for item in removed)


def test_stages_carry_their_width_and_map() -> None:
    texts = {s.text for s in architecture_canvas(network()).shapes if isinstance(s, Text)}
    assert {"24", "40", "80", "96", "192", "320", "1280", "1000"} <= texts
    assert {"112²", "56²", "28²", "14²", "7²"} <= texts
    assert "80²" in {
        s.text for s in architecture_canvas(network(resolution=160)).shapes if isinstance(s, Text)
    }


def test_a_long_network_takes_several_rows() -> None:
    arch = network(5)
    more = (
        LayerSpec("mbconv", 320, 320, kernel=7, stride=1, expand=6, skip=True, act="relu6"),
    ) * 60
    twice = replace(arch, blocks=arch.blocks + more)
    canvas = architecture_canvas(twice)
    assert canvas.width < 1250
    assert canvas.height > 2 * architecture_canvas(arch).height


def test_the_svg_is_well_formed_and_named() -> None:
    root = ET.fromstring(architecture_svg(network(3)))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["aria-label"].startswith("imagenet: 22 blocks")


def test_text_in_svg_is_escaped() -> None:
    canvas = Canvas(10, 10, 'a "<b>"')
    canvas.add(Text(x=0, y=0, text="<x> & y"))
    root = ET.fromstring(canvas.svg(standalone=True))
    assert root[-1].text == "<x> & y"


def test_both_palettes_name_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_text_stands_out_from_its_ground(palette: dict[str, str]) -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(first: str, second: str) -> float:
        low, high = sorted((luminance(palette[first]), luminance(palette[second])))
        return (high + 0.05) / (low + 0.05)

    for ink in ("ink", "muted", "accent", "target"):
        assert contrast(ink, "paper") >= 4.5
    for block in ("k3", "k5", "k7", "kx"):
        assert contrast("on-block", block) >= 4.5


def test_a_curve_runs_from_left_to_right_and_breaks_at_gaps() -> None:
    curve = Series(name="loss", x=[1, 2, 3, 4, 5], y=[3.0, 2.0, None, 1.0, 0.5])
    canvas = line_chart("Loss", [curve], x_label="epoch", levels=[Level(name="goal", y=0.8)])
    lines = [s for s in canvas.shapes if isinstance(s, Line) and s.stroke == "accent"]
    assert [len(line.points) for line in lines] == [2, 2]
    (left, high), (right, low) = lines[0].points
    assert left < right
    assert high < low
    goal = next(s for s in canvas.shapes if isinstance(s, Line) and s.stroke == "target")
    assert lines[1].points[0][1] < goal.points[0][1] < lines[1].points[1][1]


def test_a_constant_curve_is_drawn() -> None:
    canvas = line_chart("E", [Series(name="E", x=[1], y=[4.0])], x_label="epoch")
    assert all(0 <= s.x <= canvas.width for s in canvas.shapes if isinstance(s, Text))


def test_epochs_are_whole_numbers() -> None:
    canvas = line_chart("E", [Series(name="E", x=[1, 2], y=[4.0, 5.0])], x_label="epoch")
    names = [s.text for s in canvas.shapes if isinstance(s, Text) and s.anchor == "middle"]
    assert names == ["1", "2"]


def test_the_name_of_a_mark_stays_inside() -> None:
    curve = Series(name="E", x=[1, 2], y=[4.0, 5.0])
    canvas = line_chart("E", [curve], x_label="ms", marks=[(1, "start"), (2, "target")])
    start, target = (s for s in canvas.shapes if isinstance(s, Text) and s.size == 10)
    assert start.anchor == "start"
    assert target.anchor == "end"
    assert target.x < canvas.width


def test_bars_are_as_long_as_their_values() -> None:
    canvas = bar_chart("ms", [("a", 1.0), ("b", 3.0)], "ms")
    first, second = (s.width for s in canvas.shapes if isinstance(s, Rect))
    assert second == pytest.approx(3 * first)


def test_intervals_lie_around_their_values() -> None:
    canvas = interval_chart("ms", [("target", 8, None, None), ("measured", 7.9, 7.8, 8.1)], "ms")
    bars = [s for s in canvas.shapes if isinstance(s, Line) and s.width == 5]
    assert len(bars) == 1
    assert bars[0].points[0][0] < bars[0].points[1][0]


def test_probabilities_are_shades_and_the_choice_is_framed() -> None:
    canvas = heat_map("p", [[0.2, 0.8], [1.0, None]], ["s1", "s2"], ["A 1", "B 2"], [1, None])
    cells = {s.key: s for s in canvas.shapes if isinstance(s, Rect) and s.key}
    assert {key: cell.opacity for key, cell in cells.items()} == {
        "0-0": 0.2,
        "0-1": 0.8,
        "1-0": 1.0,
    }
    (frame,) = [s for s in canvas.shapes if isinstance(s, Rect) and s.stroke]
    assert (frame.x, frame.y) == (cells["0-1"].x, cells["0-1"].y)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (3.71, 4.9), (-44, 0), (0.001, 0.0012), (7, 9e5)]
)
def test_ticks_are_round_numbers_within_the_range(low: float, high: float) -> None:
    ticks = _ticks(low, high, 5)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)
    steps = {round(b - a, 12) for a, b in pairwise(ticks)}
    assert len(steps) == 1
    assert f"{steps.pop():.0e}"[0] in "125"


def test_preferences_set_down_sampling_blocks_apart() -> None:
    space = SearchSpace.load("imagenet")
    # MB6 7x7 where the stride is 2, MB3 3x3 elsewhere.
    choices = [5 if slot.candidates[0].stride == 2 else 0 for slot in space.slots]
    found = preferences(Architecture.from_choices(space, choices))
    assert found is not None
    assert (found.down_kernel, found.down_expand) == (7, 6)
    assert (found.other_kernel, found.other_expand) == (3, 3)
    assert found.depth == found.positions == 22
    assert [(stage.channels, stage.resolution) for stage in found.stages] == [
        (24, 56),
        (40, 28),
        (80, 14),
        (96, 14),
        (192, 7),
        (320, 7),
    ]
    # First of four blocks is large: (7 + 3 * 3) / 4, (6 + 3 * 3) / 4.
    assert found.stages[0].kernel == 4.0
    assert found.stages[0].expand == 3.75


def test_removed_blocks_count_for_depth_only() -> None:
    found = preferences(network(-1))
    assert found is not None
    assert found.depth == 22 - sum(block.is_zero for block in network(-1).blocks)
    assert "of 22 blocks are there." in found.sentences()[0]


def published(name: str) -> tuple[int, float, float]:
    found = preferences(load_architecture(name))
    assert found is not None
    return found.depth, found.kernel, found.expand


def test_the_published_networks_show_what_the_paper_says_of_them() -> None:
    gpu, cpu, mobile = (published(f"proxyless-{name}") for name in ("gpu", "cpu", "mobile"))
    # "The GPU model is shallower and wider", and prefers large MBConvs; the CPU one small ones.
    assert gpu[0] < min(cpu[0], mobile[0])
    assert gpu[1] > cpu[1]
    assert gpu[2] > max(cpu[2], mobile[2])
    # All favour larger MBConvs where they down-sample: by kernel, by expansion, or both.
    for name in ("gpu", "cpu", "mobile"):
        found = preferences(load_architecture(f"proxyless-{name}"))
        assert found is not None
        assert None not in (found.down_kernel, found.other_kernel)
        down = found.down_kernel**2 * found.down_expand
        other = found.other_kernel**2 * found.other_expand
        assert down > other


def test_the_first_blocks_of_the_published_mobile_network() -> None:
    # From its net.config: MB3 5x5 s2, MB3 3x3, two removed; then MB3 7x7 s2, MB3 3x3, two MB3 5x5.
    drawn = [item.title.partition(",")[0] for item in blocks(load_architecture("proxyless-mobile"))]
    assert drawn[2:10] == [
        "MB3 5x5",
        "MB3 3x3",
        "removed: the 32 channels pass unchanged",
        "removed: the 32 channels pass unchanged",
        "MB3 7x7",
        "MB3 3x3",
        "MB3 5x5",
        "MB3 5x5",
    ]


def test_a_tree_is_one_frame_with_a_cell_per_op() -> None:
    arch = load_architecture("proxyless-cifar")
    canvas = architecture_canvas(arch)
    frames = [s for s in canvas.shapes if isinstance(s, Rect) and s.fill == "paper" and s.stroke]
    assert len(frames) == sum(not isinstance(part, int) for part in arch.wiring)
    assert any("sepconv" in item.title for item in blocks(arch))
    assert preferences(arch) is None


def edges(text: Text) -> tuple[float, float]:
    width = text_width(text.text, text.size, text.bold)
    start = text.x - {"start": 0.0, "middle": width / 2, "end": width}[text.anchor]
    return start, start + width


@pytest.mark.parametrize(
    "canvas",
    [
        bar_chart("Lead", [(f"slot {i}", v) for i, v in enumerate((30.3, 0.004, 100))], "points"),
        bar_chart("Latency by block", [("12 · a candidate of somebody's own · 1280", 0.0)], "ms"),
        line_chart(
            "Expected somebody/tables/with-a-very-long-name-of-a-phone.csv latency, ms",
            [
                Series(name=f"a-run-with-a-long-name-{i}", x=[1, 2], y=[1e-5 * i, 0])
                for i in (1, 2, 3)
            ],
            x_label="epoch",
            marks=[(2, "search")],
        ),
        interval_chart("ms", [("target", 1234.5, None, None), ("measured", 7.9, 0.1, 2e3)], "ms"),
        heat_map(
            "Path probabilities",
            [[0.1, 0.9]],
            ["slot 1 · 1280"],
            ["sepconv 3x3", "somebodysownop with options"],
            [1],
        ),
    ],
    ids=["values", "names", "curves", "intervals", "heat map"],
)
def test_no_text_is_clipped(canvas: Canvas) -> None:
    for shape in canvas.shapes:
        if isinstance(shape, Text):
            start, end = edges(shape)
            assert start >= -0.01, shape.text
            assert end <= canvas.width + 0.01, shape.text


def test_bars_of_length_zero_are_drawn() -> None:
    bars = [s for s in bar_chart("t", [("a", 0.0)], "ms").shapes if isinstance(s, Rect)]
    assert bars[0].width > 0
