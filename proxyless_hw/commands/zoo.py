"""``proxyless-hw zoo``: the published networks and baselines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._measuring_options import resolution_option
from proxyless_hw.commands._options import echo_json, output_options
from proxyless_hw.units import format_count

if TYPE_CHECKING:
    from proxyless_hw.formats.zoo import Published
    from proxyless_hw.space.architecture import Architecture

_BAR = 24


@click.group()
def command() -> None:
    """Published networks and baselines.

    \b
    Example:
      proxyless-hw zoo list
      proxyless-hw zoo show proxyless-mobile
    """


@command.command("list")
@output_options
def list_networks(as_json: bool, quiet: bool) -> None:
    """All networks with counts and published figures.

    \b
    Example:
      proxyless-hw zoo list
    """
    from rich.table import Table

    from proxyless_hw.formats.zoo import zoo_architecture, zoo_names, zoo_published
    from proxyless_hw.space.counting import count_macs, count_parameters

    rows: list[dict[str, Any]] = []
    for name in zoo_names():
        arch = zoo_architecture(name)
        rows.append(
            {
                "name": name,
                "parameters": count_parameters(arch),
                "macs": count_macs(arch),
                "resolution": arch.resolution,
                "published": asdict(zoo_published(name)),
            }
        )
    if as_json:
        echo_json({"networks": rows})
        return
    if quiet:
        return
    table = Table(box=None)
    table.add_column("network", no_wrap=True)
    devices = {
        "Pixel 1": "Google Pixel 1, batch 1",
        "Pixel 6": "Google Pixel 6 CPU",
        "V100 x8": "NVIDIA V100, batch 8",
        "CPU": "CPU",
    }
    for title in ("parameters", "MACs", "at", *(f"{short} ms" for short in devices)):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("published accuracy", no_wrap=True)
    for row in rows:
        published = zoo_published(row["name"])
        latencies = [published.latency_ms.get(device) for device in devices.values()]
        table.add_row(
            row["name"],
            format_count(row["parameters"]),
            format_count(row["macs"]),
            str(row["resolution"]),
            *("" if value is None else f"{value:g}" for value in latencies),
            _accuracy(published),
        )
    _console().print(table)


def _console() -> Any:
    """Standard output, 160 columns wide where it is not a terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=160)


@command.command("show")
@click.argument("name")
@resolution_option("Input resolution; the network's own by default.")
@click.option("--space", help="Of an encoding (ks, e, d): the space that it chooses from.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "net-config", "timm"]),
    default="table",
    help="table; or the architecture as our JSON, a published net.config, or timm strings.",
)
@output_options
def show(
    name: str, resolution: int | None, space: str | None, form: str, as_json: bool, quiet: bool
) -> None:
    """One network, block by block: shapes, parameters, MACs. NAME may be any architecture file.

    \b
    Example:
      proxyless-hw zoo show proxyless-mobile
      proxyless-hw zoo show runs/search --format net-config > net.config
      proxyless-hw zoo show subnet.json --space mobilenet-v3 --format json > network.json
    """
    from proxyless_hw.formats.load import load_architecture
    from proxyless_hw.space.search_space import SearchSpace

    chosen_from = None if space is None else SearchSpace.load(space)
    arch = load_architecture(name, resolution, chosen_from).with_shape(resolution=resolution)
    if form != "table":
        text = _written(arch, form)
        if as_json:
            echo_json({"name": name, "format": form, "text": text})
        else:
            click.echo(text, nl=False)
        return
    if as_json:
        echo_json(_document(arch))
        return
    if not quiet:
        _print_network(arch, name)


def _written(arch: Architecture, form: str) -> str:
    if form == "json":
        return arch.to_json()
    if form == "timm":
        from proxyless_hw.formats.timm_strings import to_timm_text

        return to_timm_text(arch)
    from proxyless_hw.formats.net_config import to_net_config

    return json.dumps(to_net_config(arch), indent=4) + "\n"


def _document(arch: Architecture) -> dict[str, Any]:
    from proxyless_hw.space.counting import count_macs, count_parameters
    from proxyless_hw.space.footprint import footprint

    return {
        "parameters": count_parameters(arch),
        "macs": count_macs(arch),
        "resolution": arch.resolution,
        "num_classes": arch.num_classes,
        "footprints": [footprint(arch, "fp32").to_json(), footprint(arch, "int8").to_json()],
        "blocks": _rows(arch),
    }


def _rows(arch: Architecture) -> list[dict[str, Any]]:
    """One row per layer; of a tree, per tree block."""
    from proxyless_hw.space.counting import op_macs, op_parameters
    from proxyless_hw.space.specs import describe
    from proxyless_hw.space.wiring import TreeBlock, layer_numbers

    layers = list(arch.layer_ops())
    shapes = arch.input_shapes()
    first = len(arch.stem)
    groups: list[tuple[str, list[int]]] = []
    parts = arch.wiring or tuple(range(len(arch.blocks)))
    for number in range(first):
        groups.append(("stem", [number]))
    for part in parts:
        numbers = [first + number for number in layer_numbers((part,))]
        groups.append(("tree" if isinstance(part, TreeBlock) else "block", numbers))
    for number in range(first + len(arch.blocks), len(layers)):
        groups.append(("head", [number]))
    rows = []
    for part_name, numbers in groups:
        ops = [op for op in (layers[number][1] for number in numbers) if op is not None]
        start, last = shapes[numbers[0]], layers[numbers[-1]][0]
        before = shapes[numbers[-1]]
        height, width = last.output_size(before.h, before.w)
        layer = layers[numbers[0]][0]
        rows.append(
            {
                "part": part_name,
                "op": describe(layer) if part_name != "tree" else f"tree of {len(ops)} ops",
                "input": [start.h, start.w, start.c],
                "output": [height, width, last.out_c],
                "skip": part_name == "tree" or layer.skip,
                "act": layer.act,
                "se": layer.se,
                "parameters": sum(op_parameters(op) for op in ops),
                "macs": sum(op_macs(op) for op in ops),
            }
        )
    return rows


def _print_network(arch: Architecture, name: str) -> None:
    from rich.table import Table

    from proxyless_hw.space.footprint import footprint

    document = _document(arch)
    console = _console()
    console.print(
        f"{name}: {format_count(document['parameters'])} parameters, "
        f"{format_count(document['macs'])} MACs at {arch.resolution} pixels, "
        f"{arch.num_classes} classes",
        highlight=False,
    )
    sizes = (footprint(arch, "fp32"), footprint(arch, "int8"))
    console.print("; ".join(size.sentence() for size in sizes), highlight=False)
    published = _published(name)
    if published is not None and published.source:
        figures = "; ".join(part for part in (_accuracy(published), _latency(published)) if part)
        console.print(f"published: {figures or 'structure'} ({published.source})", highlight=False)
    table = Table(box=None)
    for title in ("", "op", "input", "output"):
        table.add_column(title, no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("MACs", justify="right")
    table.add_column("", no_wrap=True)
    most = max((row["macs"] for row in document["blocks"]), default=1) or 1
    for row in document["blocks"]:
        extras = [row["act"]] if row["act"] not in ("relu6", "none") else []
        extras += ["se"] if row["se"] else []
        extras += ["+"] if row["skip"] and row["op"] != "skip" else []
        table.add_row(
            row["part"],
            " ".join([row["op"], *extras]),
            "x".join(map(str, row["input"])),
            "x".join(map(str, row["output"])),
            format_count(row["parameters"]),
            format_count(row["macs"]),
            "█" * round(_BAR * row["macs"] / most),
        )
    console.print(table)


def _published(name: str) -> Published | None:
    from proxyless_hw.formats.zoo import zoo_names, zoo_published

    return zoo_published(name) if name in zoo_names() else None


def _accuracy(published: Published) -> str:
    parts = [
        f"{label} {value:g}%"
        for label, value in (
            ("top-1", published.top1),
            ("top-5", published.top5),
            ("CIFAR-10 error", published.test_error),
        )
        if value is not None
    ]
    return ", ".join(parts)


def _latency(published: Published) -> str:
    return ", ".join(f"{value:g} ms {device}" for device, value in published.latency_ms.items())
