"""``table probes``: the few ops to measure first on a new device."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from proxyless_hw.commands._options import echo_json, log, output_options


@click.command()
@click.option("--from", "source", required=True, metavar="TABLE", help="The table to start from.")
@click.option("-n", "count", default=15, show_default=True, help="How many ops to measure.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Where the list goes, one op a line; standard output by default.",
)
@output_options
def command(source: str, count: int, output: Path | None, as_json: bool, quiet: bool) -> None:
    """Choose the ops to measure on a new device, so that the rest can be told from a known table.

    The most informative op comes first; measure fewer by taking lines from the top.

    \b
    Example:
      proxyless-hw table probes --from pixel1 -n 15 --output probes.txt
      proxyless-hw profile --runtime litert --only probes.txt --output probes.csv
    """
    from proxyless_hw.errors import PredictorError
    from proxyless_hw.predictors.probes import choose_probes
    from proxyless_hw.storage.files import write_text_atomically
    from proxyless_hw.tables.table import LatencyTable

    chosen = choose_probes(LatencyTable.load(source), count)
    text = "".join(f"{op.key}\n" for op in chosen)
    if output is not None:
        write_text_atomically(output, text, PredictorError)
        log(
            f"{output}: {len(chosen)} ops. Next: proxyless-hw profile ... --only {output} "
            f"--output probes.csv, then proxyless-hw table transfer --from {source} "
            "--probes probes.csv --output TABLE",
            quiet,
        )
    if as_json:
        where = None if output is None else str(output)
        echo_json({"ops": [op.key for op in chosen], "output": where})
    elif output is None:
        sys.stdout.write(text)
