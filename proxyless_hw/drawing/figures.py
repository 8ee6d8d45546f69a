"""A network as a picture, in the manner of the paper's figures of its searched networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from proxyless_hw.drawing.canvas import Canvas, Line, Polygon, Rect, Text
from proxyless_hw.drawing.palette import kernel_colour
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.op_names import uib_form
from proxyless_hw.space.specs import LayerSpec, bottleneck_name, describe, op_variant
from proxyless_hw.space.wiring import Node, TreeBlock

GAP, STAGE_GAP = 4, 12
"""Between blocks, and between stages, in pixels."""

ROW_HEIGHT, ROW_WIDTH = 184, 1180
CELL: Final = 10
TREE_COLUMNS: Final = 2
MIDDLE: Final = 72
"""Vertical middle of the blocks within a row."""


@dataclass(frozen=True)
class _Block:
    """One layer, or one tree, with its place in the network.

    `size` is the map it gives, in pixels; `cells` are the ops of a tree in running order, and
    `layer` then stands for its output.
    """

    layer: LayerSpec
    size: tuple[int, int]
    part: str
    cells: tuple[LayerSpec, ...] = ()

    @property
    def width(self) -> float:
        if self.cells:
            return 4 + CELL * TREE_COLUMNS
        if self.layer.is_zero:
            return 14
        return 18 + 4 * min(self.layer.expand, 12) if self.part == "block" else 30

    @property
    def height(self) -> float:
        if self.cells:
            return 4 + CELL * -(-len(self.cells) // TREE_COLUMNS)
        if self.layer.is_zero:
            return 30
        return 34 + 9 * (min(self.layer.largest_kernel, 11) - 3) if self.part == "block" else 34

    @property
    def stage(self) -> tuple[str, int, tuple[int, int]]:
        return self.part, self.layer.out_c, self.size


def architecture_svg(arch: Architecture, *, standalone: bool = True) -> str:
    """Draws a network: kernel as colour and height, expansion as width, stages marked.

    Args:
        arch: the network, at its deployment resolution.
        standalone: a file of its own, with colours for light and dark; inside a page without.
    """
    return architecture_canvas(arch).svg(standalone=standalone)


def architecture_canvas(arch: Architecture) -> Canvas:
    """The drawing behind `architecture_svg`; removed blocks are dashed, strides marked."""
    rows = list(_rows(_stages(arch)))
    width = max(_row_width(row) for row in rows) + 24
    legend = _legend(arch)
    width = max(width, legend.width)
    removed = sum(block.is_zero for block in arch.blocks)
    title = f"{arch.space}: {arch.depth} blocks, {removed} removed, at {arch.resolution} pixels"
    canvas = Canvas(width, len(rows) * ROW_HEIGHT + legend.height, title)
    for index, row in enumerate(rows):
        _draw_row(canvas, row, index * ROW_HEIGHT)
    shift = len(rows) * ROW_HEIGHT
    canvas.add(*(_moved(shape, shift) for shape in legend.shapes))
    return canvas


def _stages(arch: Architecture) -> list[list[_Block]]:
    shapes = [layer.output_size(*size) for layer, size in _inputs(arch)]
    layers = list(zip(arch.layers, shapes, strict=True))
    first, last = len(arch.stem), len(arch.stem) + len(arch.blocks)
    blocks = [_Block(layer, size, "stem") for layer, size in layers[:first]]
    inner = layers[first:last]
    for part in arch.wiring or range(len(inner)):
        if isinstance(part, int):
            blocks.append(_Block(*inner[part], "block"))
        else:
            blocks.append(_tree(part, inner))
    blocks += [_Block(layer, size, "head") for layer, size in layers[last:]]
    return [list(group) for _, group in groupby(blocks, key=lambda block: block.stage)]


def _inputs(arch: Architecture) -> Iterator[tuple[LayerSpec, tuple[int, int]]]:
    for layer, shape in zip(arch.layers, arch.input_shapes(), strict=True):
        yield layer, (shape.h, shape.w)


def _tree(block: TreeBlock, inner: Sequence[tuple[LayerSpec, tuple[int, int]]]) -> _Block:
    numbers = list(_tree_numbers(block.cell))
    end = next(
        number for number in (block.norm, block.out_bottle, numbers[-1]) if number is not None
    )
    layer, size = inner[end]
    shortcut, _ = inner[block.shortcut]
    stands_for = replace(layer, stride=min(shortcut.stride, 2))
    return _Block(stands_for, size, "block", tuple(inner[number][0] for number in numbers))


def _tree_numbers(node: Node) -> Iterator[int]:
    for branch in node.branches:
        yield branch.edge
        if branch.child is not None:
            yield from _tree_numbers(branch.child)


def _stage_width(stage: list[_Block]) -> float:
    return sum(block.width for block in stage) + GAP * (len(stage) - 1)


def _row_width(row: list[list[_Block]]) -> float:
    return sum(_stage_width(stage) + STAGE_GAP for stage in row)


def _rows(stages: list[list[_Block]]) -> Iterator[list[list[_Block]]]:
    row: list[list[_Block]] = []
    for stage in stages:
        for piece in _pieces(stage):
            if row and _row_width([*row, piece]) > ROW_WIDTH:
                yield row
                row = []
            row.append(piece)
    yield row


def _pieces(stage: list[_Block]) -> Iterator[list[_Block]]:
    """A stage too long for a row, in parts that fit."""
    piece: list[_Block] = []
    for block in stage:
        if piece and _stage_width([*piece, block]) > ROW_WIDTH - STAGE_GAP:
            yield piece
            piece = []
        piece.append(block)
    yield piece


def _draw_row(canvas: Canvas, row: list[list[_Block]], top: float) -> None:
    x = 12.0
    end = x + _row_width(row) - STAGE_GAP
    canvas.add(
        Line(points=[(x - 8, top + MIDDLE), (end + 8, top + MIDDLE)], stroke="grid", width=2)
    )
    for stage in row:
        start = x
        for block in stage:
            _draw_block(canvas, block, x, top)
            x += block.width + GAP
        x -= GAP
        _draw_stage_label(canvas, stage, start, x, top)
        x += STAGE_GAP


def _draw_block(canvas: Canvas, block: _Block, x: float, top: float) -> None:
    layer, middle = block.layer, top + MIDDLE
    y = middle - block.height / 2
    centre = x + block.width / 2
    if block.cells:
        _draw_tree(canvas, block, x, y)
        _draw_stride(canvas, block, centre, y)
        return
    fill = kernel_colour(layer.largest_kernel) if block.part == "block" else "fixed"
    box = Rect(
        x=x, y=y, width=block.width, height=block.height, fill=fill, radius=3, title=_title(block)
    )
    if layer.is_zero:
        canvas.add(replace(box, fill="paper", stroke="muted", dashed=True))
        return
    canvas.add(box)
    first, second = _label(block)
    ink = "on-block" if block.part == "block" else "ink"
    lines = [(middle + 4, first)] if not second else [(middle - 1, first), (middle + 10, second)]
    canvas.add(
        *(Text(x=centre, y=y, text=text, size=9, fill=ink, anchor="middle") for y, text in lines)
    )
    _draw_stride(canvas, block, centre, y)


def _draw_stride(canvas: Canvas, block: _Block, centre: float, top: float) -> None:
    if block.layer.stride > 1:
        tip = top - 4
        canvas.add(
            Polygon(
                points=[(centre - 5, tip - 8), (centre + 5, tip - 8), (centre, tip)],
                fill="accent",
                title=f"stride {block.layer.stride}",
            )
        )


def _draw_tree(canvas: Canvas, block: _Block, x: float, y: float) -> None:
    """A frame with a cell per op, in running order, two in a row."""
    frame = Rect(
        x=x, y=y, width=block.width, height=block.height, fill="paper", stroke="muted", radius=3
    )
    canvas.add(frame)
    for index, layer in enumerate(block.cells):
        row, column = divmod(index, TREE_COLUMNS)
        canvas.add(
            Rect(
                x=x + 3 + CELL * column,
                y=y + 3 + CELL * row,
                width=CELL - 2,
                height=CELL - 2,
                fill=_cell_colour(layer),
                radius=1,
                title=describe(layer),
            )
        )


def _cell_colour(layer: LayerSpec) -> str:
    variant = op_variant(layer.op)
    if variant.base in ("avgpool", "maxpool"):
        return "third"
    if variant.base == "identity":
        return "grid"
    return "kx" if variant.dilation > 1 else kernel_colour(layer.kernel)


def _label(block: _Block) -> tuple[str, str]:
    layer = block.layer
    if layer.op == "classifier":
        return "FC", ""
    if layer.op == "pool":
        return "pool", ""
    base = op_variant(layer.op).base
    if base == "uib":
        return _uib_label(layer)
    if base == "fused_mbconv":
        return f"FMB{layer.expand:g}", f"{layer.kernel}×{layer.kernel}"
    short = {"avgpool": "pool", "maxpool": "pool", "identity": "BN", "sepconv": "sep"}
    name = bottleneck_name(layer) if base == "mbconv" else short.get(base, base[:5])
    return name, f"{layer.kernel}×{layer.kernel}" if base != "identity" else ""


def _uib_label(layer: LayerSpec) -> tuple[str, str]:
    """Form and expansion; kernels of the depthwise convolutions: ``XDW4``, ``5, 3``."""
    short = {"ExtraDW": "XDW", "ConvNext": "CNx"}
    form = uib_form(layer.start_kernel, layer.kernel)
    kernels = [str(size) for size in (layer.start_kernel, layer.kernel) if size > 1]
    second = ", ".join(kernels) if len(kernels) > 1 else "".join(f"{k}×{k}" for k in kernels)
    return f"{short.get(form, form)}{layer.expand:g}", second


def _title(block: _Block) -> str:
    layer = block.layer
    if layer.is_zero:
        return f"removed: the {layer.in_c} channels pass unchanged"
    text = f"{describe(layer)}, {layer.in_c} to {layer.out_c} channels, stride {layer.stride}"
    if layer.op not in ("classifier", "pool"):
        text += f", gives {block.size[0]}×{block.size[1]}"
    for there, word in ((layer.skip, "shortcut"), (layer.se, "squeeze-and-excite")):
        text += f", {word}" if there else ""
    return text


def _draw_stage_label(
    canvas: Canvas, stage: list[_Block], start: float, end: float, top: float
) -> None:
    y, centre = top + 132, (start + end) / 2
    canvas.add(
        Line(points=[(start, y - 4), (start, y), (end, y), (end, y - 4)], stroke="muted"),
        Text(
            x=centre, y=y + 15, text=f"{stage[0].layer.out_c}", size=11, anchor="middle", bold=True
        ),
    )
    if stage[0].layer.op != "classifier" and end - start >= 24:
        height, width = stage[0].size
        text = f"{height}²" if height == width else f"{height}×{width}"
        canvas.add(Text(x=centre, y=y + 30, text=text, size=10, fill="muted", anchor="middle"))


def _legend(arch: Architecture) -> Canvas:
    canvas = Canvas(0, 30, "legend")
    x = 12.0
    if arch.wiring:
        return _tree_legend(canvas)
    kernels = sorted({layer.largest_kernel for layer in arch.blocks if not layer.is_zero})
    for kernel in kernels:
        canvas.add(
            Rect(x=x, y=6, width=12, height=12, fill=kernel_colour(kernel), radius=2),
            Text(x=x + 17, y=16, text=f"{kernel}×{kernel}", size=11),
        )
        x += 56
    for text in ("height: kernel", "width: expansion"):
        canvas.add(Text(x=x, y=16, text=text, size=11, fill="muted"))
        x += 6.2 * len(text) + 14
    canvas.add(
        Polygon(points=[(x, 8), (x + 10, 8), (x + 5, 16)], fill="accent"),
        Text(x=x + 15, y=16, text="stride 2", size=11, fill="muted"),
        Rect(x=x + 74, y=5, width=10, height=14, stroke="muted", dashed=True, radius=2),
        Text(x=x + 90, y=16, text="removed", size=11, fill="muted"),
        Text(x=x + 152, y=16, text="below: channels, map", size=11, fill="muted"),
    )
    canvas.width = x + 290
    return canvas


def _tree_legend(canvas: Canvas) -> Canvas:
    names = (
        *(("k3", "3×3"), ("k5", "5×5"), ("k7", "7×7"), ("kx", "dilated, 1×1")),
        *(("third", "pooling"), ("grid", "identity")),
    )
    x = 12.0
    for colour, name in names:
        canvas.add(
            Rect(x=x, y=6, width=12, height=12, fill=colour, radius=2),
            Text(x=x + 17, y=16, text=name, size=11),
        )
        x += 36 + 6.5 * len(name)
    canvas.add(Text(x=x, y=16, text="a frame: one tree, its ops in order", size=11, fill="muted"))
    canvas.width = x + 230
    return canvas


def _moved(shape: object, dy: float) -> Rect | Polygon | Text:
    if isinstance(shape, Polygon):
        return replace(shape, points=[(x, y + dy) for x, y in shape.points])
    assert isinstance(shape, Rect | Text)
    return replace(shape, y=shape.y + dy)
