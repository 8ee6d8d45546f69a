"""``proxyless-hw specialize``: from a folder of images to a verified file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._device_options import progress_bar
from proxyless_hw.commands._options import echo_json, log, output_options
from proxyless_hw.commands._setting_options import given_settings
from proxyless_hw.pipeline.specialize_config import SpecializeConfig

if TYPE_CHECKING:
    from proxyless_hw.pipeline.specialize_result import SpecializeResult


@click.command()
@given_settings(SpecializeConfig)
@output_options
def command(given: Mapping[str, object], as_json: bool, quiet: bool) -> None:
    """From a folder of images to a verified file: profile, search, train, export, verify.

    Stages that are done are not done again; a changed setting remakes only what depends on it.

    \b
    Example:
      proxyless-hw specialize --data-root photos --output runs/mine
      proxyless-hw specialize --data-root photos --target-ms 8 --budget 2h --output runs/mine
    """  # fmt: skip
    from proxyless_hw.pipeline.specialize import specialize
    from proxyless_hw.pipeline.stages import Talk

    config = SpecializeConfig.of(given, source="the command line")
    talk = Talk(
        say=lambda message: log(message, quiet),
        show_progress=lambda title: progress_bar(title, quiet),
        quiet=quiet,
    )
    result = specialize(config, talk=talk)
    steps = next_steps(result)
    if as_json:
        echo_json({**result.to_json(), "next": steps})
    elif not quiet:
        click.echo(summary(result, steps))
    problems = result.problems()
    for word, sentence in problems:
        click.echo(f"{word}: {sentence}", err=True)
    sys.exit(1 if any(word == "error" for word, _ in problems) else 0)


def summary(result: SpecializeResult, steps: list[str]) -> str:
    """The result for people: target, prediction, measurement, accuracy, files, what comes next."""
    from proxyless_hw.units import format_duration, format_ms

    # What is no success is said on stderr.
    lines = [] if result.verdict in ("missed", "undecided") else [result.sentence]
    lines += [_accuracy(result), "files:"]
    for file in result.files:
        accuracy = "" if file.accuracy is None else f", accuracy {file.accuracy:.1%}"
        latency = "" if file.median_ms is None else f", {format_ms(file.median_ms)} on this CPU now"
        size = f"{file.bytes / 2**20:.2f} MiB"
        lines.append(f"  {result.folder / file.file}   {size}{accuracy}{latency}")
    lines.append(f"report: {result.report}   ({format_duration(result.seconds)} in all)")
    return "\n".join([*lines, "next:", *(f"  {step}" for step in steps)])


def _accuracy(result: SpecializeResult) -> str:
    int8 = result.accuracy_of("int8")
    told = "" if int8 is None else f", of the int8 file {int8:.1%}"
    return (
        f"accuracy {result.accuracy:.1%}{told}, on {result.test_images} test images, after "
        f"{result.epochs} epochs"
    )


def next_steps(result: SpecializeResult) -> list[str]:
    """Commands that may come next."""
    run = result.folder
    steps = [["proxyless-hw", "pareto", str(run / "search")]]
    if result.verified_file is not None:
        file, table = str(run / result.verified_file), str(run / "table.csv")
        target = f"{result.target_ms:.4g}"
        verify = ["proxyless-hw", "verify", file, "--table", table, "--target-ms", target]
        steps.insert(0, verify)
    return [shlex.join(step) for step in steps]
