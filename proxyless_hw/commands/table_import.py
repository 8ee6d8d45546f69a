"""``table import``: read a table of another tool, or the logs of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from proxyless_hw.commands._options import echo_json, log, output_options


@click.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The table's CSV.")
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="OURS=THEIRS",
    help="CSV or records: which column is ours, as in value=latency_us. Repeatable.",
)
@click.option(
    "--set",
    "stated",
    multiple=True,
    metavar="KEY=VALUE",
    help="A header line (device, runtime, threads, source, ...), or one value for a column that "
    "the file lacks (op=mbconv). Repeatable.",
)
@click.option("--unit", help="CSV or records: ns, us, ms, s; uJ, mJ, J; kB, MB. Default: ms.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@output_options
def command(
    source: Path,
    output: Path,
    mapped: tuple[str, ...],
    stated: tuple[str, ...],
    unit: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Import a latency table of another form; the form is detected.

    FILE is a look-up table that the ProxylessNAS or Once-for-All authors published (YAML or JSON),
    a CSV or a list of records (JSON or YAML) with one row per measurement of an op, NNI's lines of
    dicts, a table of this tool, or the folder of a bundle with its logs. Several rows of an op
    become one: their median and its interval.

    \b
    Example:
      proxyless-hw table import mobile_trim.yaml --set device="Google Pixel 1" --output pixel.csv
      proxyless-hw table import theirs.csv --map value=latency_us --unit us --output T.csv
      proxyless-hw table import bundle/ --output tables/phone.csv
    """
    from proxyless_hw.errors import TableError
    from proxyless_hw.profilers.import_table import import_table
    from proxyless_hw.storage.locks import exclusive_lock, lock_beside

    with exclusive_lock(lock_beside(output), TableError, f"table {output}"):
        if output.exists() and not overwrite:
            raise TableError(f"{output} is there already. Give another --output, or --overwrite.")
        table = import_table(
            source,
            columns=pairs(mapped, "--map"),
            values=pairs(stated, "--set"),
            unit=unit,
        )
        table.save(output)
    if as_json:
        echo_json(
            {
                "output": str(output),
                "rows": len(table),
                "metric": table.metric,
                "unit": table.unit,
                "metadata": dict(table.metadata),
                "resolutions": list(table.resolutions),
            }
        )
    elif not quiet:
        log(f"{output}: {len(table)} ops, {table.metric} in {table.unit}.")


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """KEY=VALUE texts as a dict.

    Raises:
        TableError: a text has no '=', or a key stands twice.
    """
    from proxyless_hw.errors import TableError

    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip() or key.strip() in found:
            raise TableError(f"{option} takes KEY=VALUE, each key once: received {text[:80]!r}.")
        found[key.strip()] = value.strip()
    return found
