"""``proxyless-hw export``: write a network as a model file, checked against torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._measuring_options import num_classes_option
from proxyless_hw.commands._options import (
    echo_json,
    log,
    max_broken_option,
    output_options,
    path_option,
)

if TYPE_CHECKING:
    from proxyless_hw.export.export import ExportedFile
    from proxyless_hw.export.quantise import FilePrecision, QuantisedForm
    from proxyless_hw.export.verify import FileFormat


def _batch_size(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """A whole number; ``dynamic`` is None."""
    if value == "dynamic":
        return None
    if not value.isdecimal() or not 1 <= int(value[:9]) <= 4096:
        raise click.BadParameter(f"a number from 1 to 4096, or dynamic: received {value[:40]!r}.")
    return int(value)


@click.command()
@click.argument("source", metavar="ARCH|DIR")
@click.option("--format", "file_format", type=click.Choice(["onnx", "tflite", "pte"]))
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    type=click.Choice(["fp32", "fp16", "int8", "int8-dynamic"]),
)
@path_option(
    "--output",
    "The file (with --all: the folder). An existing file is replaced once its successor "
    "has passed the check.",
)
@click.option("--all", "everything", is_flag=True, help="The whole set, with a manifest.")
@path_option(
    "--weights",
    "A checkpoint of other code for a bare architecture, or timm:NAME; without it weights are "
    "random.",
)
@click.option("--data", help="Data set for calibration and checking; a run brings its own.")
@click.option("--data-root", help="Its folder, where it needs one.")
@max_broken_option
@click.option("--resolution", type=click.IntRange(8, 8192), help="The deployment's by default.")
@num_classes_option("For a bare architecture.")
@click.option("--training-shape", is_flag=True, help="The shape it was trained at.")
@click.option(
    "--batch-size",
    default="1",
    show_default=True,
    metavar="N|dynamic",
    callback=_batch_size,
    help="Images per call; dynamic for ONNX only.",
)
@click.option(
    "--opset",
    type=click.IntRange(11, 20),
    default=20,
    show_default=True,
    help="Operator set of ONNX files; compilers of vendors want older ones.",
)
@click.option(
    "--quantised-as",
    type=click.Choice(["qdq", "qoperator"]),
    default="qdq",
    show_default=True,
    help="int8 ONNX files: QuantizeLinear pairs around float ops, or quantised ops.",
)
@click.option("--include-softmax", is_flag=True, help="Give probabilities instead of logits.")
@click.option("--normalise-in-graph", is_flag=True, help="Take RGB from 0 to 255.")
@click.option(
    "--check/--no-check",
    "--verify/--no-verify",
    "verify",
    default=True,
    show_default=True,
    help="Run the file, compare to torch (--verify: its older name).",
)
@click.option(
    "--measure/--no-measure", default=True, show_default=True, help="With --all: time the files."
)
@output_options
def command(
    source: str,
    file_format: FileFormat | None,
    precision: FilePrecision,
    output: Path | None,
    everything: bool,
    weights: Path | None,
    data: str | None,
    data_root: str | None,
    max_broken: int | float | None,
    resolution: int | None,
    num_classes: int | None,
    training_shape: bool,
    batch_size: int | None,
    opset: int,
    quantised_as: QuantisedForm,
    include_softmax: bool,
    normalise_in_graph: bool,
    verify: bool,
    measure: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a network as a model file, run it, and compare it with torch.

    ARCH is a zoo name or an architecture file; DIR is the folder of a search or a training.

    \b
    Example:
      proxyless-hw export runs/demo --all
      proxyless-hw export runs/demo --format tflite --precision int8 --output net.tflite
      proxyless-hw export proxyless-mobile --format onnx --output mobile.onnx
      proxyless-hw export runs/demo --format onnx --opset 13 --output old.onnx
    """  # fmt: skip
    from proxyless_hw.export.export import Target
    from proxyless_hw.pipeline.run_export import export_run

    if everything:
        for name, given in (("--format", file_format), ("--precision", precision != "fp32")):
            if given:
                raise click.UsageError(f"--all writes every format: leave out {name}.")
        folder, targets = output, None
    else:
        form = _format(file_format, output)
        folder = None
        targets = [(form, precision) if output is None else Target(form, precision, output)]
    found = export_run(
        source,
        folder,
        targets,
        weights=weights,
        data=data,
        data_root=data_root,
        max_broken=max_broken,
        resolution=resolution,
        num_classes=num_classes,
        training_shape=training_shape,
        batch_size=batch_size,
        opset=opset,
        quantised_as=quantised_as,
        softmax=include_softmax,
        normalise_in_graph=normalise_in_graph,
        check=verify,
        measure=measure,
        say=lambda message: log(message, quiet),
        quiet=quiet,
    )
    if found.manifest is None:
        _tell_one(found.files[0], as_json, quiet)
    else:
        _tell_all(found.manifest, found.folder, as_json, quiet)


def _format(asked: FileFormat | None, output: Path | None) -> FileFormat:
    """The format that was asked for, or that the name of the file says."""
    suffix = "" if output is None else output.suffix.removeprefix(".")
    formats: tuple[FileFormat, ...] = ("onnx", "tflite", "pte")
    for known in formats:
        if known == (asked or suffix):
            if suffix in formats and suffix != known and output is not None:
                raise click.UsageError(f"--format {known} contradicts the name {output.name}.")
            return known
    raise click.UsageError("give --format onnx, tflite or pte, or --all.")


def _tell_one(written: ExportedFile, as_json: bool, quiet: bool) -> None:
    if as_json:
        document = {"file": str(written.path), "seconds": round(written.seconds, 2)}
        echo_json({**written.to_dict(), **document})
    log(f"{written.path}: {written.size / 2**20:.2f} MiB", quiet)
    if written.verification is not None:
        log(written.verification.summary(), quiet)


def _tell_all(manifest: dict[str, Any], folder: Path, as_json: bool, quiet: bool) -> None:
    from proxyless_hw.pipeline.deploy import int8_over_fp32

    ratio = int8_over_fp32(manifest)
    if as_json:
        echo_json({"folder": str(folder), **manifest, "int8_over_fp32": ratio})
    if not quiet:
        _show(manifest, folder, ratio)


def _show(manifest: dict[str, Any], folder: Path, ratio: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{folder}", title_justify="left")
    table.add_column("file", no_wrap=True)
    for name in ("MiB", "max diff (sd)", "top-1", "accuracy", "latency"):
        table.add_column(name, justify="right", no_wrap=True)
    for file in manifest["files"]:
        check, latency = file["verification"] or {}, file["latency"] or {}
        accuracy = check.get("accuracy_after")
        table.add_row(
            file["file"],
            f"{file['bytes'] / 2**20:.2f}",
            f"{check['max_difference']:.2g}" if check else "–",
            f"{check['top1_agreement']:.1%}" if check else "–",
            "–" if accuracy is None else f"{accuracy:.1%}",
            f"{latency['median_ms']:.4g} ms" if latency else "–",
        )
    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(table)
    baseline = manifest["baseline"]
    if baseline is not None:
        console.print(
            f"The network in torch (float32) has {baseline['accuracy']:.1%} on the same "
            f"{baseline['images']} images: {baseline['source']}.",
            highlight=False,
        )
    if ratio is not None:
        console.print(f"TFLite int8 takes {ratio:.2f} times as long as fp32 on this machine.")
