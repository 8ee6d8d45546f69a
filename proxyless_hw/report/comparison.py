"""Several runs beside each other: results, what each network costs on each device, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from proxyless_hw.drawing.canvas import Canvas
from proxyless_hw.drawing.charts import Level, Series, line_chart
from proxyless_hw.errors import MissingEntryError
from proxyless_hw.report.page import DASH, Figure, Table, amount, percent
from proxyless_hw.report.preferences import preferences
from proxyless_hw.report.run_data import RunData
from proxyless_hw.report.run_figures import architecture_of
from proxyless_hw.space.counting import count_macs, count_parameters
from proxyless_hw.tables.entry import PEAKS
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.units import format_count


@dataclass(frozen=True, kw_only=True)
class Block:
    """One part of the comparison."""

    title: str = ""
    note: str = ""
    table: Table | None = None
    figures: list[Figure] = field(default_factory=list)
    wide: bool = False


def compare(runs: Sequence[RunData]) -> list[Block]:
    """Lays out the comparison of at least two runs."""
    blocks = [Block(table=_results(runs))]
    matrix = _specialisation(runs)
    if matrix is not None:
        blocks.append(matrix)
    canvas = convergence(runs)
    if canvas is not None:
        blocks.append(Block(title="Convergence", figures=[Figure(svg=Markup(canvas.svg()))]))
    pictures = [
        Figure(svg=Markup(architecture_of(run.arch)), caption=run.name)
        for run in runs
        if run.arch is not None
    ]
    if pictures:
        blocks.append(Block(title="Architectures", figures=pictures, wide=True))
    blocks.append(Block(title="Preferences", table=_preferences(runs)))
    return blocks


def convergence(runs: Sequence[RunData]) -> Canvas | None:
    """Expected over target cost by epoch, a curve per run; None where no run has both."""
    curves = []
    for run in runs:
        ratios = [
            epoch.expected[name] / epoch.targets[name] if name in epoch.targets else None
            for epoch in run.epochs
            for name in list(epoch.expected)[:1]
        ]
        if any(ratio is not None for ratio in ratios):
            xs = [float(index + 1) for index in range(len(ratios))]
            curves.append(Series(name=run.name, x=xs, y=ratios))
    if not curves:
        return None
    levels = [Level(name="target", y=1.0)]
    metrics = {run.metric for run in runs}
    what = metrics.pop() if len(metrics) == 1 else "cost"
    return line_chart(f"Expected {what} over target", curves, x_label="epoch", levels=levels)


def _results(runs: Sequence[RunData]) -> Table:
    rows = []
    for run in runs:
        macs = parameters = DASH
        if run.arch is not None:
            parameters = format_count(count_parameters(run.arch))
            macs = format_count(count_macs(run.arch))
        rows.append(
            (
                run.name,
                _device(run.table) if run.table else str(run.settings.get("table", DASH)),
                *(
                    amount(value, run.cost_unit)
                    for value in (run.target, run.predicted, run.measured)
                ),
                run.verdict or DASH,
                percent(run.accuracy),
                parameters,
                macs,
            )
        )
    head = (
        *("run", "device", "target", "predicted", "measured", "verdict"),
        *("accuracy", "parameters", "MACs"),
    )
    return Table(head=head, rows=rows, numeric=frozenset((2, 3, 4, 6, 7, 8)))


def _specialisation(runs: Sequence[RunData]) -> Block | None:
    """Every network priced by every table: what a network made for one device costs elsewhere."""
    tables: dict[str, LatencyTable] = {}
    for run in runs:
        if run.table is not None and run.table.metric not in PEAKS:
            tables.setdefault(_device(run.table), run.table)
    networks = [run for run in runs if run.arch is not None]
    if not tables or not networks:
        return None
    gaps = False
    rows = []
    for run in networks:
        cells = [run.name]
        for table in tables.values():
            cell = _price(run, table)
            gaps = gaps or cell == DASH
            cells.append(cell)
        rows.append((*cells, percent(run.accuracy)))
    note = (
        "Exact sums of each device's table over the network's ops, before any correction by a "
        "measurement."
    )
    if gaps:
        note += f" {DASH}: the table lacks ops of that network, and nothing is substituted."
    return Block(
        title="Specialisation",
        note=note,
        table=Table(
            head=("network", *tables, "accuracy"),
            rows=rows,
            numeric=frozenset(range(1, len(tables) + 2)),
        ),
    )


def _price(run: RunData, table: LatencyTable) -> str:
    assert run.arch is not None
    try:
        return amount(table.total(run.arch.ops()), table.unit)
    except MissingEntryError:
        return DASH


def _device(table: LatencyTable) -> str:
    header = table.metadata
    metric = "" if table.metric == "latency" else f", {table.metric}"
    device = header.get("device", table.name)
    return f"{device}, {header.get('runtime', 'runtime unknown')}{metric}"


def _preferences(runs: Sequence[RunData]) -> Table:
    rows = []
    for run in runs:
        found = None if run.arch is None else preferences(run.arch)
        if found is None:
            continue
        rows.append(
            (
                run.name,
                f"{found.depth} of {found.positions}",
                f"{found.kernel:.1f}",
                f"{found.expand:.1f}",
                DASH if found.down_kernel is None else f"{found.down_kernel:.1f}",
                DASH if found.down_expand is None else f"{found.down_expand:.1f}",
            )
        )
    head = (
        *("network", "blocks", "mean kernel", "mean expansion"),
        *("kernel, down-sampling", "expansion, down-sampling"),
    )
    return Table(head=head, rows=rows, numeric=frozenset(range(1, 6)))
