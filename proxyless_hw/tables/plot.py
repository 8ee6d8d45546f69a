"""A picture of a table: what shape, kernel and expansion cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxyless_hw.drawing.plots import check_plot_path, new_figure, save_figure
from proxyless_hw.errors import TableError
from proxyless_hw.space.op_names import SHORTCUT_OPS, uib_form
from proxyless_hw.space.specs import OpSpec, op_variant
from proxyless_hw.tables.entry import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from proxyless_hw.tables.table import LatencyTable

SHAPES_PER_ROW: Final = 20
MAX_SHAPES: Final = 400
MAX_OTHERS: Final = 60

_COLOURS: Final = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377", "#66ccee", "#555555")
_MARKERS: Final = (*("o", "s", "^", "D", "v", "P", "X", "<", ">"), *("p", "*", "h", "d", "H", "8"))

Shape = tuple[int, int, int, int, int]


def plot_table(table: LatencyTable, path: str | Path) -> Path:
    """Draws a table into a file, atomically, and returns the path.

    Blocks stand side by side by shape, coloured by kernel size, marked by expansion, with their
    95% intervals, on a logarithmic scale; other ops follow as bars.

    Args:
        table: what to draw.
        path: a file that ends with .png, .svg or .pdf.

    Raises:
        TableError: the ending is another one, the table has too many shapes to draw, or the
            place cannot be written.
    """
    path = Path(path)
    check_plot_path(path, TableError)
    save_figure(table_figure(table), path, TableError)
    return path


def table_figure(table: LatencyTable) -> Figure:
    """Draws a table as a matplotlib figure, as `plot_table` does.

    Raises:
        TableError: the table has too many shapes to draw.
    """
    blocks: dict[Shape, list[OpSpec]] = {}
    for op in table.entries:
        if op_variant(op.op).base in SHORTCUT_OPS:
            shape = (op.in_h, op.in_w, op.in_c, op.out_c, op.stride)
            blocks.setdefault(shape, []).append(op)
    others = [op for op in table.entries if op_variant(op.op).base not in SHORTCUT_OPS]
    if len(blocks) > MAX_SHAPES or len(others) > MAX_OTHERS:
        raise TableError(
            f"'{table.name}' has {len(blocks)} block shapes and {len(others)} other ops; a "
            f"picture holds at most {MAX_SHAPES} and {MAX_OTHERS}. Keep fewer rows."
        )
    return _figure(table, blocks, others)


def _figure(table: LatencyTable, blocks: dict[Shape, list[OpSpec]], others: list[OpSpec]) -> Figure:
    shapes = sorted(blocks, key=lambda shape: (-shape[0] * shape[1], shape[2], shape[3], shape[4]))
    rows = [
        shapes[start : start + SHAPES_PER_ROW] for start in range(0, len(shapes), SHAPES_PER_ROW)
    ]
    heights = [3.6] * len(rows) + ([0.8 + 0.26 * len(others)] if others else [])
    figure = new_figure(11, 0.6 + sum(heights))
    figure.suptitle(_title(table), fontsize=11)
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    styles = _Styles([op for ops in blocks.values() for op in ops])
    for axis, row in zip(axes, rows, strict=False):
        _draw_blocks(axis, table, row, blocks, styles)
    if rows:
        styles.legend(axes[0])
    if others:
        _draw_others(axes[-1], table, others)
    return figure


class _Styles:
    """A colour per kernel size, and a marker per expansion and squeeze-and-excite."""

    def __init__(self, ops: Sequence[OpSpec]) -> None:
        kernels = sorted({op.largest_kernel for op in ops})
        variants = sorted({_variant(op) for op in ops})
        self.colours = {
            kernel: _COLOURS[index % len(_COLOURS)] for index, kernel in enumerate(kernels)
        }
        self.markers = {
            variant: _MARKERS[index % len(_MARKERS)] for index, variant in enumerate(variants)
        }

    def legend(self, axis: Axes) -> None:
        from matplotlib.lines import Line2D

        handles = [
            Line2D([], [], color=colour, marker="o", linestyle="", label=f"kernel {kernel}")
            for kernel, colour in self.colours.items()
        ]
        handles += [
            Line2D([], [], color="#777777", marker=marker, linestyle="", label=variant)
            for variant, marker in self.markers.items()
        ]
        axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def _variant(op: OpSpec) -> str:
    parts = [f"expand {op.expand:g}"]
    if op.op == "fused_mbconv":
        parts.append("fused")
    elif op.op == "uib":
        parts.append(uib_form(op.start_kernel, op.kernel))
    else:
        parts += op.op.split("_")[1:]
    if op.se:
        parts.append("SE")
    if op.act not in ("relu6", "none"):
        parts.append(op.act)
    return ", ".join(parts)


def _draw_blocks(
    axis: Axes,
    table: LatencyTable,
    shapes: Sequence[Shape],
    blocks: dict[Shape, list[OpSpec]],
    styles: _Styles,
) -> None:
    from matplotlib.ticker import LogLocator

    for place, shape in enumerate(shapes):
        ops = sorted(blocks[shape], key=lambda op: (op.largest_kernel, op.expand, op.se))
        for index, op in enumerate(ops):
            entry = table.entries[op]
            offset = 0.0 if len(ops) == 1 else (index / (len(ops) - 1) - 0.5) * 0.7
            axis.errorbar(
                place + offset,
                entry.value,
                yerr=_error(entry),
                color=styles.colours[op.largest_kernel],
                marker=styles.markers[_variant(op)],
                markersize=5,
                capsize=2,
                linewidth=1,
            )
        if place:
            axis.axvline(place - 0.5, color="#dddddd", linewidth=0.6, zorder=0)
    labels = [
        f"{height}×{width}\n{in_c}→{out_c}" + (f"\nstride {stride}" if stride > 1 else "")
        for height, width, in_c, out_c, stride in shapes
    ]
    axis.set_xticks(range(len(shapes)), labels, fontsize=7.5)
    axis.set_xlim(-0.6, len(shapes) - 0.4)
    axis.set_yscale("log")
    for level in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
        level(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axis.tick_params(axis="y", which="both", labelsize=8)
    axis.set_ylabel(f"{table.metric} ({table.unit}) per block")
    axis.grid(axis="y", which="both", color="#eeeeee")
    axis.set_axisbelow(True)


def _draw_others(axis: Axes, table: LatencyTable, others: Sequence[OpSpec]) -> None:
    for place, op in enumerate(others):
        entry = table.entries[op]
        axis.barh(place, entry.value, color="#99aabb", xerr=_error(entry), capsize=2, height=0.7)
    axis.set_yticks(range(len(others)), [str(op) for op in others], fontsize=7.5)
    axis.invert_yaxis()
    axis.set_xlabel(f"{table.metric} ({table.unit}), other ops")
    axis.grid(axis="x", color="#eeeeee")
    axis.set_axisbelow(True)


def _error(entry: Entry) -> list[list[float]] | None:
    if entry.ci_low is None or entry.ci_high is None:
        return None
    return [[entry.value - entry.ci_low], [entry.ci_high - entry.value]]


def _title(table: LatencyTable) -> str:
    words = [table.metadata.get(key, "") for key in ("device", "runtime", "precision")]
    words.append(f"{table.metadata['threads']} thread(s)" if "threads" in table.metadata else "")
    words.append(f"batch {table.metadata['batch_size']}" if "batch_size" in table.metadata else "")
    return ", ".join(word[:60] for word in words if word) or table.name[:80]
