"""``table transfer``: predict a new device's table from a known one and a few measured ops."""

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
    help="A known table; may be repeated: the one that ranks the probes best is used.",
)
@click.option("--probes", required=True, metavar="TABLE", help="Ops measured on the new device.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The new table.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@output_options
def command(
    sources: tuple[str, ...], probes: str, output: Path, force: bool, as_json: bool, quiet: bool
) -> None:
    """Predict the table of a new device from a known table and a few ops measured on the device.

    The result's header says that it is transferred, from what, and by which probes. Probes that
    disagree with the others (measured elsewhere, or long ago) are named, and intervals widen.

    \b
    Example:
      proxyless-hw table probes --from pixel1 -n 15 --output probes.txt
      proxyless-hw profile --runtime litert --only probes.txt --output probes.csv
      proxyless-hw table transfer --from pixel1 --probes probes.csv --output tables/new.csv
    """
    from proxyless_hw.errors import TableError
    from proxyless_hw.predictors.transfer import transfer
    from proxyless_hw.storage.locks import exclusive_lock, lock_beside
    from proxyless_hw.tables.table import LatencyTable

    with exclusive_lock(lock_beside(output), TableError, f"table {output}"):
        if output.exists() and not force:
            raise TableError(f"{output} exists already. Choose another --output, or give --force.")
        tables = [LatencyTable.load(name) for name in sources]
        with phase("transferring", quiet):
            result = transfer(tables, LatencyTable.load(probes))
        result.table.save(output)
    if as_json:
        echo_json(
            {
                "output": str(output),
                "rows": len(result.table),
                "source": result.source,
                "probes": result.probes,
                "rank_correlation": result.rank_correlation,
                "held_out_mape": result.held_out_mape,
                "median_half_width": result.half_width,
                "suspicious_probes": [
                    {
                        "op": suspect.op.key,
                        "ratio": suspect.ratio,
                        "probability": suspect.probability,
                    }
                    for suspect in result.suspects
                ],
            }
        )
    for name, correlation in result.rank_correlation.items():
        used = " (used)" if name == result.source else ""
        log(f"{name}: rank correlation with the probes {correlation:.3f}{used}", quiet)
    log(
        f"{output}: {len(result.table)} ops, {result.probes} of them measured. Each probe told "
        f"from the others is off by {result.held_out_mape:.1%} on average; half of the 95% "
        f"intervals reach less than {result.half_width:.0%} up.",
        quiet,
    )
    if result.suspects:
        log(_warning(result))


def _warning(result: Transferred) -> str:
    """What the user should do about probes that disagree."""
    lines = [
        f"warning: {len(result.suspects)} of {result.probes} probes disagree with the others. Were "
        "they measured on another device, under another setting, or long ago?"
    ]
    lines += [
        f"  {suspect.op.key}: {suspect.ratio:.2f} times what the others say "
        f"({suspect.probability:.0%} sure)"
        for suspect in result.suspects
    ]
    lines.append(
        "They count little, and the intervals are wider for the doubt. Measure them again on the "
        "new device (proxyless-hw profile --only), then transfer again."
    )
    return "\n".join(lines)
