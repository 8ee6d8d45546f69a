"""``table probes``: the few ops to measure on a new device, at once or one by one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._options import echo_json, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.space.specs import OpSpec
    from proxyless_hw.tables.table import LatencyTable


DEFAULT_COUNT = 15


@click.command()
@click.option("--from", "source", required=True, metavar="TABLE", help="The table to start from.")
@click.option("-n", "count", type=int, help=f"How many ops to measure. [default: {DEFAULT_COUNT}]")
@click.option(
    "--next",
    "measured",
    metavar="TABLE",
    help="Ops measured so far: name the one that is best measured next, given what they cost. A "
    "file that is not there yet stands for none.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Where the list goes, one op a line; standard output by default.",
)
@output_options
def command(
    source: str,
    count: int | None,
    measured: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Choose the ops to measure on a new device, so that the rest can be told from a known table.

    The most informative op comes first; measure fewer by taking lines from the top. With
    --next one op is named at a time, given what the ones before it cost.

    \b
    Example:
      proxyless-hw table probes --from pixel1 -n 15 --output probes.txt
      proxyless-hw profile --runtime litert --only probes.txt --output probes.csv
    \b
    One by one, as often as wanted (the first op makes probes.csv, the next ones join it):
      proxyless-hw table probes --from pixel1 --next probes.csv --output next.txt
      proxyless-hw profile --runtime litert --only next.txt --output one.csv
      proxyless-hw table merge probes.csv one.csv --output probes.csv --overwrite
    """
    from proxyless_hw.errors import PredictorError
    from proxyless_hw.predictors.probes import choose_probes
    from proxyless_hw.storage.files import write_text_atomically
    from proxyless_hw.tables.table import LatencyTable

    if count is not None and measured is not None:
        raise PredictorError("--next names one op at a time: leave -n out.")
    known = LatencyTable.load(source)
    if measured is None:
        chosen = choose_probes(known, DEFAULT_COUNT if count is None else count)
    else:
        chosen = [_next(known, measured, quiet)]
    text = "".join(f"{op.key}\n" for op in chosen)
    if output is not None:
        write_text_atomically(output, text, PredictorError)
        number = "1 op" if measured else f"{len(chosen)} ops"
        table = measured or "probes.csv"
        joins = measured is not None and Path(measured).exists()
        profiled = "one.csv" if joins else table
        merged = f"proxyless-hw table merge {table} one.csv --output {table} --overwrite, then "
        log(
            f"{output}: {number}. Next: proxyless-hw profile ... --only {output} --output "
            f"{profiled}, then {merged if joins else ''}proxyless-hw table transfer "
            f"--from {source} --probes {table} --output TABLE",
            quiet,
        )
    if as_json:
        where = None if output is None else str(output)
        echo_json({"ops": [op.key for op in chosen], "output": where})
    elif output is None:
        sys.stdout.write(text)


def _next(source: LatencyTable, measured: str, quiet: bool) -> OpSpec:
    from proxyless_hw.predictors.probes import next_probe
    from proxyless_hw.tables.table import LatencyTable

    if Path(measured).exists():
        return next_probe(source, LatencyTable.load(measured))
    log(f"{measured} is not there yet: the first op to measure.", quiet)
    header = {"metric": source.metric, "unit": source.unit}
    return next_probe(source, LatencyTable({}, header, measured))
