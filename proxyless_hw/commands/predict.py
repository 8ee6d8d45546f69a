"""``proxyless-hw predict``: the cost of networks from tables, in the tables' units."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._options import echo_json, kind_option, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.predictors.fit import Kind, Predictor
    from proxyless_hw.predictors.forecast import Forecast
    from proxyless_hw.space.architecture import Architecture


@click.command()
@click.argument("networks", metavar="ARCH...", nargs=-1, required=True)
@click.option("--table", "tables", multiple=True, required=True, help="Path or shipped name.")
@kind_option
@click.option("--breakdown", is_flag=True, help="Every op with its price and where it is from.")
@click.option("--compare", is_flag=True, help="Several networks on several tables, as a matrix.")
@click.option("--resolution", type=click.IntRange(1, 8192), help="Default: the network's own.")
@click.option(
    "--num-classes",
    type=click.IntRange(1, 65536),
    help="Default: an ONNX file's own, else the table's.",
)
@click.option("--coverage", default=0.9, show_default=True, help="Of the interval, as a fraction.")
@click.option("--no-calibration", is_flag=True, help="Sums of ops, even beside a calibration.")
@output_options
def command(
    networks: tuple[str, ...],
    tables: tuple[str, ...],
    kind: Kind,
    breakdown: bool,
    compare: bool,
    resolution: int | None,
    num_classes: int | None,
    coverage: float,
    no_calibration: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict what a network costs (latency, or energy), with an interval, from measured ops.

    ARCH is a zoo name, an architecture file, a run folder, a published net.config, timm block
    strings, or an ONNX file made of known ops. An ONNX file is priced at its own resolution and
    classes, unless other ones are given. Repeat --table, or name several networks, with --compare.

    \b
    Example:
      proxyless-hw predict proxyless-mobile --table pixel1 --breakdown
      proxyless-hw predict model.onnx --table tables/cpu.csv --kind lookup
      proxyless-hw predict --compare proxyless-mobile proxyless-cpu --table pixel1 --table cpu.csv
    """
    from proxyless_hw.formats.load import load_architecture
    from proxyless_hw.predictors.fit import fit_predictor
    from proxyless_hw.predictors.forecast import predict
    from proxyless_hw.predictors.sources import own_shape_note

    if not compare and (len(networks) > 1 or len(tables) > 1):
        raise click.UsageError("several networks or tables are compared with --compare.")
    predictors = [fit_predictor(name, kind, calibrate=not no_calibration) for name in tables]
    archs = [load_architecture(name, resolution) for name in networks]
    for name, arch in zip(networks, archs, strict=True):
        for predictor in predictors:
            note = own_shape_note(name, arch, predictor.table, resolution, num_classes)
            log(note or "", quiet or note is None)
    if compare:
        cells, reasons = _compare(networks, archs, predictors, coverage, resolution, num_classes)
        if as_json:
            units = [predictor.table.unit for predictor in predictors]
            echo_json(_matrix(networks, tables, units, cells, coverage))
        else:
            _print_matrix(networks, tables, cells)
        for reason in reasons:
            log(reason)
        sys.exit(1 if reasons else 0)
    result = predict(
        archs[0],
        predictors[0],
        coverage=coverage,
        resolution=resolution,
        num_classes=num_classes,
    )
    if as_json:
        echo_json({"network": networks[0], **result.to_json(breakdown)})
        return
    _print(networks[0], archs[0], result, breakdown)
    if result.not_priced:
        log(f"not priced: {', '.join(result.not_priced)}.", quiet)


def _compare(
    networks: Sequence[str],
    archs: Sequence[Architecture],
    predictors: Sequence[Predictor],
    coverage: float,
    resolution: int | None,
    num_classes: int | None,
) -> tuple[list[list[Forecast | None]], list[str]]:
    """A forecast a cell; None, and the reason, where a table cannot price a network."""
    from proxyless_hw.errors import MissingEntryError, PredictorError, TableError
    from proxyless_hw.predictors.forecast import predict
    from proxyless_hw.predictors.lookup import check_coverage

    check_coverage(coverage)
    rows: list[list[Forecast | None]] = []
    reasons = []
    for name, arch in zip(networks, archs, strict=True):
        row: list[Forecast | None] = []
        for predictor in predictors:
            try:
                found: Forecast | None = predict(
                    arch,
                    predictor,
                    coverage=coverage,
                    resolution=resolution,
                    num_classes=num_classes,
                )
            except (MissingEntryError, PredictorError, TableError) as cause:
                found = None
                reasons.append(f"{name} on {predictor.table.name}: {cause}")
            row.append(found)
        rows.append(row)
    return rows, reasons


def _matrix(
    networks: Sequence[str],
    tables: Sequence[str],
    units: Sequence[str],
    rows: list[list[Forecast | None]],
    coverage: float,
) -> dict[str, Any]:
    return {
        "networks": list(networks),
        "tables": list(tables),
        "coverage": coverage,
        "units": list(units),
        "values": [[cell and cell.value for cell in row] for row in rows],
        **(
            {"latency_ms": [[cell and cell.latency_ms for cell in row] for row in rows]}
            if set(units) == {"ms"}
            else {}
        ),
        "cells": [[cell and cell.to_json(False) for cell in row] for row in rows],
    }


def _print_matrix(
    networks: Sequence[str], tables: Sequence[str], rows: list[list[Forecast | None]]
) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table("network", box=None, pad_edge=False)
    for name in tables:
        grid.add_column(escape(name), justify="right")
    columns = list(zip(*rows, strict=True))
    best = [min((cell.value for cell in column if cell), default=0.0) for column in columns]
    for network, row in zip(networks, rows, strict=True):
        shown = []
        for cell, least in zip(row, best, strict=True):
            text = cell.text() if cell else "-"
            fastest = cell is not None and len(rows) > 1 and cell.value == least
            shown.append(f"[bold]{text}[/]" if fastest else text)
        grid.add_row(escape(network), *shown)
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(grid)
    meaning = _star([cell for row in rows for cell in row if cell])
    if meaning:
        console.print(f"* {meaning}", soft_wrap=True)


def _star(cells: Sequence[Forecast]) -> str:
    """What the stars of a matrix stand for; empty for a matrix without stars."""
    reasons = []
    if any(cell.regressed_ops for cell in cells):
        reasons.append("ops that the table lacks, regressed")
    if any(cell.transferred_ops for cell in cells):
        reasons.append("ops whose rows are predictions from another device's table")
    return f"with {'; or with '.join(reasons)}" if reasons else ""


def _print(network: str, arch: Architecture, result: Forecast, breakdown: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=160)
    if breakdown:
        grid = Table("layer", "op", box=None, pad_edge=False)
        for title in (result.unit, "share", "from"):
            grid.add_column(title, justify="right")
        for item in result.ops:
            note = item.source + (", extrapolated" if item.extrapolated else "")
            grid.add_row(
                _place(arch, item.layer),
                escape(str(item.op)),
                f"{item.ms:.4g}",
                f"{item.ms / result.sum_of_ops:.1%}",
                note,
            )
        console.print(grid)
    console.print(f"{escape(network)}: {result.sentence()}", highlight=False, soft_wrap=True)
    if result.footprint is not None:
        console.print(result.footprint.sentence(), highlight=False, soft_wrap=True)


def _place(arch: Architecture, layer: int) -> str:
    stem, blocks = len(arch.stem), len(arch.blocks)
    if layer < stem:
        return f"stem {layer}"
    if layer < stem + blocks:
        return f"block {layer - stem}"
    return f"head {layer - stem - blocks}"
