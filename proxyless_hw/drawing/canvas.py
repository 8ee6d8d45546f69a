"""A small drawing in pixels with two outputs: SVG text for pages, PNG for slides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Literal

from proxyless_hw.drawing.palette import LIGHT, css_classes, css_variables
from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.storage.files import atomic_path

Anchor = Literal["start", "middle", "end"]
Points = Sequence[tuple[float, float]]

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rect:
    """A rectangle. `key` names it for a script; `title` is shown when pointed at."""

    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    dashed: bool = False
    radius: float = 0
    opacity: float = 1
    title: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points."""

    points: Points
    stroke: str
    width: float = 1
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A shape in one colour. `title` is shown when pointed at."""

    fill: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygon(Filled):
    """A filled polygon."""

    points: Points
    opacity: float = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle(Filled):
    """A disc."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A line of text; `y` is its baseline, `turned` reads upwards."""

    x: float
    y: float
    text: str
    size: float = 12
    fill: str = "ink"
    anchor: Anchor = "start"
    bold: bool = False
    turned: bool = False


Shape = Rect | Line | Polygon | Circle | Text


@dataclass
class Canvas:
    """Shapes in the order they are painted. Colours are names of `palette`.

    Attributes:
        width, height: size in pixels.
        title: what the picture shows, for readers who cannot see it.
        shapes: what is drawn.
    """

    width: float
    height: float
    title: str
    shapes: list[Shape] = field(default_factory=list)

    def add(self, *shapes: Shape) -> None:
        """Paints shapes over what is there."""
        self.shapes.extend(shapes)

    def svg(self, *, standalone: bool = False) -> str:
        """SVG text. Inside a page it takes the page's colours; standalone it brings its own."""
        style = xmlns = background = ""
        if standalone:
            xmlns = ' xmlns="http://www.w3.org/2000/svg"'
            style = f"<style>{css_variables()}{css_classes()}</style>"
            background = '<rect width="100%" height="100%" class="f-paper"/>'
        body = "".join(_svg(shape) for shape in self.shapes)
        return (
            f'<svg{xmlns} viewBox="0 0 {_number(self.width)} {_number(self.height)}" '
            f'width="{_number(self.width)}" height="{_number(self.height)}" role="img" '
            f'aria-label="{escape(self.title)}" font-family="{FONT}">'
            f"{style}{background}{body}</svg>"
        )

    def save_svg(self, path: Path, error: type[ProxylessHwError]) -> None:
        """Writes the standalone SVG, atomically.

        Raises:
            ProxylessHwError: (as `error`) the place cannot be written.
        """
        with atomic_path(path, error) as temporary:
            temporary.write_text(self.svg(standalone=True) + "\n", encoding="utf-8")

    def save_png(self, path: Path, error: type[ProxylessHwError], scale: float = 2) -> None:
        """Writes a PNG with the light colours, atomically.

        Raises:
            ProxylessHwError: (as `error`) the place cannot be written.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width / 72, self.height / 72), dpi=72 * scale)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        axes.axis("off")
        figure.set_facecolor(LIGHT["paper"])
        for order, shape in enumerate(self.shapes):
            _paint(axes, shape, order)
        with atomic_path(path, error) as temporary:
            figure.savefig(temporary, format="png")


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a text is in the widest of the fonts that a page may get, in pixels."""
    return len(text) * size * (0.69 if bold else 0.62)


def shortened(text: str, size: float, room: float, bold: bool = False) -> str:
    """The text, or as much of its beginning as fits, with an ellipsis."""
    while text and text_width(text, size, bold) > room:
        text = text.removesuffix("…")[:-1].rstrip() + "…" if len(text) > 1 else ""
    return text


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _points(points: Points) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _titled(tag: str, attributes: str, title: str) -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f"<{tag} {attributes}>{inner}</{tag}>" if inner else f"<{tag} {attributes}/>"


def _svg(shape: Shape) -> str:
    match shape:
        case Rect():
            return _svg_rect(shape)
        case Line():
            dashes = ' stroke-dasharray="5 4"' if shape.dashed else ""
            return (
                f'<polyline points="{_points(shape.points)}" fill="none" '
                f'class="s-{shape.stroke}" stroke-width="{_number(shape.width)}" '
                f'stroke-linejoin="round"{dashes}/>'
            )
        case Polygon():
            attributes = f'points="{_points(shape.points)}" class="f-{shape.fill}"'
            if shape.opacity != 1:
                attributes += f' fill-opacity="{shape.opacity:.3g}"'
            return _titled("polygon", attributes, shape.title)
        case Circle():
            attributes = (
                f'cx="{_number(shape.x)}" cy="{_number(shape.y)}" r="{_number(shape.radius)}" '
                f'class="f-{shape.fill}"'
            )
            return _titled("circle", attributes, shape.title)
        case Text():
            return _svg_text(shape)


def _svg_rect(shape: Rect) -> str:
    classes = [f"f-{shape.fill}"] if shape.fill else []
    classes += [f"s-{shape.stroke}"] if shape.stroke else []
    attributes = (
        f'x="{_number(shape.x)}" y="{_number(shape.y)}" width="{_number(shape.width)}" '
        f'height="{_number(shape.height)}" class="{" ".join(classes)}"'
    )
    attributes += "" if shape.fill else ' fill="none"'
    attributes += f' rx="{_number(shape.radius)}"' if shape.radius else ""
    attributes += ' stroke-dasharray="4 3"' if shape.dashed else ""
    attributes += f' fill-opacity="{shape.opacity:.3g}"' if shape.opacity != 1 else ""
    attributes += f' data-key="{escape(shape.key)}"' if shape.key else ""
    return _titled("rect", attributes, shape.title)


def _svg_text(shape: Text) -> str:
    x, y = _number(shape.x), _number(shape.y)
    turn = f' transform="rotate(-90 {x} {y})"' if shape.turned else ""
    weight = ' font-weight="600"' if shape.bold else ""
    anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
    return (
        f'<text x="{x}" y="{y}" font-size="{_number(shape.size)}" class="f-{shape.fill}"'
        f"{anchor}{weight}{turn}>{escape(shape.text)}</text>"
    )


def _paint(axes: object, shape: Shape, order: int) -> None:
    from matplotlib import patches
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    match shape:
        case Rect():
            axes.add_patch(
                patches.Rectangle(
                    (shape.x, shape.y),
                    shape.width,
                    shape.height,
                    facecolor=(LIGHT[shape.fill], shape.opacity) if shape.fill else "none",
                    edgecolor=LIGHT[shape.stroke] if shape.stroke else "none",
                    linestyle="--" if shape.dashed else "-",
                    zorder=order,
                )
            )
        case Line():
            axes.plot(
                [x for x, _ in shape.points],
                [y for _, y in shape.points],
                color=LIGHT[shape.stroke],
                linewidth=shape.width,
                linestyle="--" if shape.dashed else "-",
                zorder=order,
            )
        case Polygon():
            axes.add_patch(
                patches.Polygon(
                    list(shape.points),
                    facecolor=(LIGHT[shape.fill], shape.opacity),
                    zorder=order,
                )
            )
        case Circle():
            axes.add_patch(
                patches.Circle(
                    (shape.x, shape.y), shape.radius, facecolor=LIGHT[shape.fill], zorder=order
                )
            )
        case Text():
            axes.text(
                shape.x,
                shape.y,
                shape.text.replace("$", r"\$"),
                fontsize=shape.size,
                color=LIGHT[shape.fill],
                ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor],
                va="baseline",
                weight="bold" if shape.bold else "normal",
                rotation=90 if shape.turned else 0,
                rotation_mode="anchor",
                zorder=order,
            )
