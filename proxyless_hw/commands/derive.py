"""``proxyless-hw derive``: other targets, or another table, from a finished search."""

from __future__ import annotations

import time
from pathlib import Path

import click

from proxyless_hw.commands._options import echo_json, log, output_options, path_option
from proxyless_hw.terminal.progress import phase


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--target-ms", "targets_ms", multiple=True, type=float, help="A latency target. Repeatable."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=float,
    help="A target in the table's unit, as mJ. Repeatable.",
)
@click.option("--table", metavar="CSV", help="Price with another table than the search's own.")
@path_option(
    "--output", "Folder for the networks, one sub-folder per target; RUN/derived by default."
)
@output_options
def command(
    run: Path,
    targets_ms: tuple[float, ...],
    targets: tuple[float, ...],
    table: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Derive networks for further targets from a finished search, without a new search.

    \b
    Example:
      proxyless-hw derive runs/demo --target-ms 6 --target-ms 9
      proxyless-hw derive runs/demo --table tables/pixel1.csv --target-ms 80
    """  # fmt: skip
    from proxyless_hw.search.other_targets import derive_for, load_search_data, open_search
    from proxyless_hw.search.prepare import asked_target

    if not (targets or targets_ms):
        raise click.UsageError("name a target: --target-ms, or --target in the table's unit.")
    started = time.perf_counter()
    with phase("reading the search and its data", quiet):
        searched = open_search(run, table)
        priced_by, unit = searched.problem.table, searched.problem.unit
        in_ms = [asked_target(None, target, priced_by) for target in targets_ms]
        wanted = [target for target in (*in_ms, *targets) if target is not None]
        data = load_search_data(searched)
    root = output or run / "derived"
    networks = []
    for target in wanted:
        begun = time.perf_counter()
        with phase(f"deriving for {target:g} {unit}", quiet):
            derived = derive_for(searched, target, data)
        folder = root / f"{searched.problem.constraints[0].name}-{target:g}{unit}"
        derived.save(folder)
        seconds = round(time.perf_counter() - begun, 2)
        networks.append({**derived.to_json(), "seconds": seconds})
        accuracy = "unknown" if derived.accuracy is None else f"{derived.accuracy:.1%}"
        sizes = "" if derived.footprint is None else f"{derived.footprint.sentence()}, "
        log(
            f"target {target:g} {unit}: predicted {derived.predicted:.4g} {unit}, {sizes}accuracy "
            f"with the supernet's weights {accuracy}: {folder / 'architecture.json'}",
            quiet,
        )
    if as_json:
        first = networks[0] if len(networks) == 1 else {}
        seconds = round(time.perf_counter() - started, 2)
        echo_json({**first, "networks": networks, "seconds": seconds})
