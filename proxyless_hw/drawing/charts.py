"""Curves, bars, intervals and heat maps as drawings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from proxyless_hw.drawing.canvas import (
    Canvas,
    Circle,
    Line,
    Polygon,
    Rect,
    Text,
    shortened,
    text_width,
)

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 36
"""Margins around the axes, in pixels."""

MAX_NAME: Final = 200
"""Widest name beside a bar, in pixels."""

SERIES_COLOURS: Final = ("accent", "second", "third", "kx")


@dataclass(frozen=True, kw_only=True)
class Series:
    """A curve: points from left to right; None interrupts it."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    dots: bool = False


@dataclass(frozen=True, kw_only=True)
class Level:
    """A horizontal line with a name: a target, a limit."""

    name: str
    y: float


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    levels: Sequence[Level] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> Canvas:
    """Curves over a common axis.

    Args:
        title: above the drawing, with the unit of y.
        series: curves with at least one point among them.
        x_label: under the axis.
        levels: dashed horizontal lines.
        marks: dotted vertical lines with their names, as (x, name).
    """
    canvas = Canvas(WIDTH, HEIGHT, title)
    xs = [x for curve in series for x in curve.x] + [x for x, _ in marks]
    values = [y for curve in series for y in curve.y if y is not None]
    values += [level.y for level in levels]
    axis = _Axis.over(xs, values)
    _draw_frame(canvas, axis, title, x_label)
    for level in levels:
        y = axis.y(level.y)
        # Below the line on the left: curves come down to a target from above.
        below = y + 14 < HEIGHT - BOTTOM - 2
        canvas.add(
            Line(points=[(LEFT, y), (WIDTH - RIGHT, y)], stroke="target", width=1.5, dashed=True),
            Text(x=LEFT + 5, y=y + 14 if below else y - 5, text=level.name, size=11, fill="target"),
        )
    for x, name in marks:
        canvas.add(
            Line(points=[(axis.x(x), TOP), (axis.x(x), HEIGHT - BOTTOM)], stroke="fixed"),
            _beside(axis.x(x), name),
        )
    for curve, colour in zip(series, _cycle(len(series)), strict=True):
        _draw_curve(canvas, axis, curve, colour)
    if len(series) > 1:
        _draw_names(canvas, [curve.name for curve in series])
    return canvas


def scatter_chart(title: str, series: Sequence[Series], *, x_label: str) -> Canvas:
    """Points without lines over two axes of one quantity, and the diagonal where they agree.

    Args:
        title: above the drawing, with the unit of y.
        series: groups of points, each with one at least.
        x_label: under the axis.
    """
    canvas = Canvas(WIDTH, HEIGHT, title)
    xs = [x for group in series for x in group.x]
    ys = [y for group in series for y in group.y if y is not None]
    margin = (max(xs + ys) - min(xs + ys)) * 0.08 or max(xs) * 0.05
    low, high = min(xs + ys) - margin, max(xs + ys) + margin
    axis = _Axis(low, high, low, high)
    _draw_frame(canvas, axis, title, x_label)
    ends = [(axis.x(low), axis.y(low)), (axis.x(high), axis.y(high))]
    canvas.add(Line(points=ends, stroke="target", width=1.5, dashed=True))
    for group, colour in zip(series, _cycle(len(series)), strict=True):
        points = [(x, y) for x, y in zip(group.x, group.y, strict=True) if y is not None]
        canvas.add(*(Circle(x=axis.x(x), y=axis.y(y), radius=3.5, fill=colour) for x, y in points))
    _draw_names(canvas, [group.name for group in series])
    return canvas


def bar_chart(title: str, bars: Sequence[tuple[str, float]], unit: str) -> Canvas:
    """Horizontal bars, one per row; the longest has the full width, and values are written out."""
    row = 19
    canvas = Canvas(WIDTH, TOP + row * len(bars) + 8, title)
    canvas.add(_title(title))
    longest = max(value for _, value in bars)
    written = [f"{value:.3g} {unit}" for _, value in bars]
    names = [shortened(name, 11, MAX_NAME) for name, _ in bars]
    name_width = max(text_width(name, 11) for name in names) + 8
    room = WIDTH - name_width - 5 - max(text_width(text, 10.5) for text in written)
    for index, (name, text, (_, value)) in enumerate(zip(names, written, bars, strict=True)):
        y = TOP + index * row
        length = max(1.0, room * value / longest) if longest > 0 else 1.0
        canvas.add(
            Text(x=name_width - 8, y=y + 12, text=name, size=11, anchor="end"),
            Rect(x=name_width, y=y + 2, width=length, height=row - 5, fill="accent", radius=2),
            Text(x=name_width + length + 5, y=y + 12, text=text, size=10.5),
        )
    return canvas


def interval_chart(
    title: str, rows: Sequence[tuple[str, float, float | None, float | None]], unit: str
) -> Canvas:
    """Values with their intervals on one axis: (name, value, low, high), interval optional."""
    step = 34
    height = TOP + step * len(rows) + BOTTOM
    canvas = Canvas(WIDTH, height, title)
    numbers = [number for _, *row in rows for number in row if number is not None]
    low, high = min(numbers), max(numbers)
    margin = (high - low) * 0.15 or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin
    left = 108

    def x(value: float) -> float:
        return left + (WIDTH - RIGHT - 24 - left) * (value - low) / (high - low)

    canvas.add(_title(title))
    bottom = TOP + step * len(rows)
    for tick in _ticks(low, high, 4):
        canvas.add(
            Line(points=[(x(tick), TOP), (x(tick), bottom)], stroke="grid"),
            Text(
                x=x(tick), y=bottom + 16, text=f"{tick:g}", size=11, fill="muted", anchor="middle"
            ),
        )
    canvas.add(Text(x=WIDTH - RIGHT, y=bottom + 30, text=unit, size=11, fill="muted", anchor="end"))
    for index, (name, value, lower, upper) in enumerate(rows):
        y = TOP + step * index + step / 2
        colour = "target" if index == 0 else _cycle(len(rows))[index - 1]
        canvas.add(Text(x=left - 12, y=y + 4, text=name, size=12, anchor="end"))
        if lower is not None and upper is not None:
            canvas.add(Line(points=[(x(lower), y), (x(upper), y)], stroke=colour, width=5))
        canvas.add(
            Circle(x=x(value), y=y, radius=5.5, fill=colour),
            Text(x=x(value), y=y - 9, text=f"{value:.4g}", size=11, anchor="middle"),
        )
    return canvas


def heat_map(
    title: str,
    rows: Sequence[Sequence[float | None]],
    row_names: Sequence[str],
    column_names: Sequence[str],
    chosen: Sequence[int | None],
) -> Canvas:
    """Probabilities from 0 to 1 as shades, one row per slot; the chosen cell is framed.

    Cells have the keys ``row-column``, so that a script can show another moment.
    """
    height, top = 19, 52
    columns = max(len(row) for row in rows)
    # Names have two lines, parted at the first space.
    widest = max(text_width(part, 10) for name in column_names for part in name.split(" ", 1))
    cell = max(46.0, widest + 4)
    left = max(text_width(name, 10.5) for name in row_names) + 8
    canvas = Canvas(max(left + cell * columns + 8, 300), top + height * len(rows) + 6, title)
    canvas.add(_title(title))
    for column, name in enumerate(column_names):
        first, _, second = name.partition(" ")
        centre = left + cell * column + cell / 2
        canvas.add(
            Text(x=centre, y=top - 17, text=first, size=10, fill="muted", anchor="middle"),
            Text(x=centre, y=top - 5, text=second, size=10, fill="muted", anchor="middle"),
        )
    frames = []
    for row, values in enumerate(rows):
        y = top + height * row
        canvas.add(
            Text(x=left - 8, y=y + 13, text=row_names[row], size=10.5, fill="muted", anchor="end")
        )
        for column, value in enumerate(values):
            if value is None:
                continue
            cell_shape = Rect(
                x=left + cell * column + 1,
                y=y + 1,
                width=cell - 2,
                height=height - 2,
                radius=2,
                fill="panel",
            )
            shade = replace(
                cell_shape,
                fill="accent",
                opacity=value,
                key=f"{row}-{column}",
                title=f"{row_names[row]}, {column_names[column]}: {value:.1%}",
            )
            canvas.add(cell_shape, shade)
            if chosen[row] == column:
                frames.append(replace(cell_shape, fill=None, stroke="target"))
    canvas.add(*frames)
    return canvas


@dataclass(frozen=True)
class _Axis:
    """Maps data to pixels inside the frame."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float

    @classmethod
    def over(cls, xs: Sequence[float], ys: Sequence[float]) -> _Axis:
        low, high = min(ys), max(ys)
        margin = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
        # A quantity that is never negative does not get an axis below zero.
        bottom = max(0.0, low - margin) if low >= 0 else low - margin
        left, right = min(xs), max(xs)
        return cls(left, right if right > left else left + 1, bottom, high + margin)

    def x(self, value: float) -> float:
        share = (value - self.low_x) / (self.high_x - self.low_x)
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def y(self, value: float) -> float:
        share = (value - self.low_y) / (self.high_y - self.low_y)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _draw_frame(canvas: Canvas, axis: _Axis, title: str, x_label: str) -> None:
    canvas.add(_title(title))
    for tick in _ticks(axis.low_y, axis.high_y, 5):
        y = axis.y(tick)
        canvas.add(
            Line(points=[(LEFT, y), (WIDTH - RIGHT, y)], stroke="grid"),
            _tick_name(y, f"{tick:.6g}"),
        )
    whole = x_label == "epoch"
    for tick in _ticks(axis.low_x, axis.high_x, 6, least=1.0 if whole else 0.0):
        x = axis.x(tick)
        canvas.add(
            Line(points=[(x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 4)], stroke="muted"),
            Text(
                x=x,
                y=HEIGHT - BOTTOM + 17,
                text=f"{tick:.6g}",
                size=11,
                fill="muted",
                anchor="middle",
            ),
        )
    canvas.add(
        Line(points=[(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)], stroke="muted"),
        Text(x=WIDTH - RIGHT, y=HEIGHT - 4, text=x_label, size=11, fill="muted", anchor="end"),
    )


def _tick_name(y: float, name: str) -> Text:
    """The name of a tick left of the frame; a long name is smaller."""
    size = min(11.0, 11 * (LEFT - 8) / text_width(name, 11))
    return Text(x=LEFT - 7, y=y + 4, text=name, size=size, fill="muted", anchor="end")


def _title(title: str) -> Text:
    text = shortened(title, 13, WIDTH, bold=True)
    return Text(x=0, y=16, text=text, size=13, bold=True)


def _beside(x: float, name: str) -> Text:
    """The name of a vertical line: on its right, on its left where the drawing ends."""
    if x + 6.5 * len(name) + 4 < WIDTH - RIGHT:
        return Text(x=x + 4, y=TOP + 11, text=name, size=10, fill="muted")
    return Text(x=x - 4, y=TOP + 11, text=name, size=10, fill="muted", anchor="end")


def _draw_curve(canvas: Canvas, axis: _Axis, curve: Series, colour: str) -> None:
    piece: list[tuple[float, float]] = []
    pieces = [piece]
    for x, y in zip(curve.x, curve.y, strict=True):
        if y is None:
            piece = []
            pieces.append(piece)
        else:
            piece.append((axis.x(x), axis.y(y)))
    for points in pieces:
        if len(points) > 1:
            canvas.add(Line(points=points, stroke=colour, width=2))
        if curve.dots or len(points) == 1:
            canvas.add(*(Circle(x=x, y=y, radius=3, fill=colour) for x, y in points))


def _draw_names(canvas: Canvas, names: Sequence[str]) -> None:
    x = float(LEFT)
    room = (WIDTH - LEFT) / len(names) - 24
    names = [shortened(name, 10.5, room) for name in names] if _too_wide(names) else names
    for name, colour in zip(names, _cycle(len(names)), strict=True):
        square = [(x, 22), (x + 10, 22), (x + 10, 30), (x, 30)]
        canvas.add(Polygon(points=square, fill=colour), Text(x=x + 14, y=30, text=name, size=10.5))
        x += text_width(name, 10.5) + 24


def _too_wide(names: Sequence[str]) -> bool:
    return sum(text_width(name, 10.5) + 24 for name in names) > WIDTH - LEFT


def _cycle(count: int) -> list[str]:
    return [SERIES_COLOURS[index % len(SERIES_COLOURS)] for index in range(count)]


def _ticks(low: float, high: float, about: int, least: float = 0.0) -> list[float]:
    """Round numbers within [low, high], roughly `about` of them, at least `least` apart."""
    raw = max((high - low) / about, least)
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)]
