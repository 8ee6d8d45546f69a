"""``devices``: what can be profiled here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._options import echo_json, output_options

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@output_options
def command(as_json: bool, quiet: bool) -> None:
    """List what can be profiled here: processor, runtimes, GPUs, phones, energy counters.

    \b
    Example:
      proxyless-hw devices
      proxyless-hw devices --json
    """
    from proxyless_hw.profilers.devices import find_devices

    found = find_devices()
    if as_json:
        echo_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    cpu = found["cpu"]
    grid = Table("device", "what", "state", box=None, pad_edge=False)
    isa = " ".join(cpu["isa"]) or "unknown instruction sets"
    grid.add_row(
        "cpu", escape(f"{cpu['model']}, {cpu['cores']} cores ({cpu['architecture']})"), isa
    )
    grid.add_row("", escape(cpu["system"]), f"governor {cpu['governor']}, usable {cpu['usable']}")
    for gpu in found["gpus"]:
        counts = "counts energy" if gpu["energy"] else "counts no energy"
        grid.add_row("gpu", escape(gpu["name"]), f"driver {gpu['driver']}, {counts}")
    for phone in found["phones"]:
        grid.add_row("mobile", escape(phone["serial"]), escape(phone["state"]))
    for name in found["energy"]:
        grid.add_row("energy", escape(name), "readable")
    for kind, note in (("gpu", "gpu_note"), ("mobile", "phone_note"), ("energy", "energy_note")):
        if found[note]:
            grid.add_row(kind, "none", escape(found[note].split(". ")[0]))
    for name in found["third_party"]["profilers"]:
        grid.add_row(escape(name), "a registered profiler", "")
    for name in found["third_party"]["ops"]:
        grid.add_row("", f"op {escape(name)}", "registered")
    console.print(grid)
    console.print()
    runtimes = Table("--device", "--runtime", "version", "", box=None, pad_edge=False)
    for runtime in found["runtimes"]:
        runtimes.add_row(
            runtime["device"], runtime["name"], runtime["version"], escape(runtime["note"])
        )
    console.print(runtimes)
    console.print()
    _print_options(console, found["options"])


def _print_options(console: Console, options: dict[str, list[dict[str, Any]]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    grid = Table("options of", "typed as", "value", "default", box=None, pad_edge=False)
    for place, listed in options.items():
        for index, item in enumerate(listed):
            default = "-" if item["default"] is None else str(item["default"])
            grid.add_row(
                *("" if index else escape(place), escape(item["typed"])),
                *(escape(item["value"]), escape(default)),
            )
    console.print(grid)
