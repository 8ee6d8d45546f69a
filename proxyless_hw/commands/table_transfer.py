"""``table transfer``: predict a new device's table from known ones and a few measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._options import echo_json, log, output_options
from proxyless_hw.terminal.progress import phase

if TYPE_CHECKING:
    from proxyless_hw.predictors.transfer import Transferred


@click.command()
@click.option(
    "--from",
    "sources",
    multiple=True,
    required=True,
    metavar="TABLE",
    help="A known table; may be repeated: each counts as far as it explains the probes. The ops "
    "of the new table are those of the first.",
)
@click.option("--probes", metavar="TABLE", help="Ops measured on the new device.")
@click.option(
    "--networks",
    metavar="CSV",
    type=click.Path(path_type=Path),
    help="Whole networks measured on the new device (columns network,value), beside --probes or in "
    "their place.",
)
@click.option(
    "--set",
    "stated",
    multiple=True,
    metavar="KEY=VALUE",
    help="Without --probes: a header line of the new device (device, runtime, threads, ...). "
    "Repeatable.",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The new table.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@output_options
def command(
    sources: tuple[str, ...],
    probes: str | None,
    networks: Path | None,
    stated: tuple[str, ...],
    output: Path,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict the table of a new device from known tables and a few measurements on the device.

    The result's header says that it is transferred, from what, and by which probes. Probes that
    disagree with the others (measured elsewhere, or long ago) are named, and intervals widen.

    \b
    Example:
      proxyless-hw table probes --from pixel1 -n 10 --output probes.txt
      proxyless-hw profile --runtime litert --only probes.txt --output probes.csv
      proxyless-hw table transfer --from pixel1 --probes probes.csv --output tables/new.csv
      proxyless-hw table transfer --from pixel1 --networks timed.csv --output tables/new.csv
    """
    from proxyless_hw.commands.table_import import pairs
    from proxyless_hw.errors import TableError
    from proxyless_hw.predictors.transfer import transfer
    from proxyless_hw.storage.locks import exclusive_lock, lock_beside

    with exclusive_lock(lock_beside(output), TableError, f"table {output}"):
        if output.exists() and not force:
            raise TableError(f"{output} exists already. Choose another --output, or give --force.")
        with phase("transferring", quiet):
            result = transfer(sources, probes, networks or (), pairs(stated, "--set"))
        result.table.save(output)
    if as_json:
        echo_json(_document(result, output))
    _tell(result, output, quiet)


def _document(result: Transferred, output: Path) -> dict[str, object]:
    return {
        "output": str(output),
        "rows": len(result.table),
        "source": result.source,
        "probes": result.probes,
        "networks": result.networks,
        "source_weights": result.source_weights,
        "rank_correlation": result.rank_correlation,
        "bound_by": result.bound_by,
        "held_out_mape": result.held_out_mape,
        "median_half_width": result.half_width,
        "suspicious_probes": [
            {
                "op" if suspect.op else "network": suspect.name,
                "ratio": suspect.ratio,
                "probability": suspect.probability,
            }
            for suspect in result.suspects
        ],
    }


def _tell(result: Transferred, output: Path, quiet: bool) -> None:
    for name, correlation in result.rank_correlation.items():
        log(
            f"{name}: counts {result.source_weights[name]:.0%}, rank correlation with the probes "
            f"{correlation:.3f}",
            quiet,
        )
    words, probability = max(result.bound_by.items(), key=lambda item: item[1])
    bound = {
        "as the source": "as the source does",
        "launches": "on launches (it hardly matters how large an op is)",
        "work": "on work",
        "unlike the source": "on other things than the source does",
    }[words]
    log(f"The device spends its time {bound} ({probability:.0%} sure).", quiet)
    counted = [f"{result.probes} of them measured"] if result.probes else []
    counted += [f"{result.networks} whole networks measured"] if result.networks else []
    log(
        f"{output}: {len(result.table)} ops, {', '.join(counted)}. Each measurement told "
        f"from the others is off by {result.held_out_mape:.1%} on average; half of the 95% "
        f"intervals reach less than {result.half_width:.0%} up.",
        quiet,
    )
    if result.suspects:
        log(_warning(result))


def _warning(result: Transferred) -> str:
    """What the user should do about probes that disagree."""
    total = result.probes + result.networks
    lines = [
        f"warning: {len(result.suspects)} of {total} probes disagree with the others. Were "
        "they measured on another device, under another setting, or long ago?"
    ]
    lines += [
        f"  {suspect.name}: {suspect.ratio:.2f} times what the others say "
        f"({suspect.probability:.0%} sure)"
        for suspect in result.suspects
    ]
    lines.append(
        "They count little, and the intervals are wider for the doubt. Measure them again on the "
        "new device (proxyless-hw profile --only), then transfer again."
    )
    return "\n".join(lines)
