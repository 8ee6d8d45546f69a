"""``proxyless-hw evaluate``: accuracy of a trained network on a test set."""

from __future__ import annotations

import click

from proxyless_hw.commands._options import echo_json, log, max_broken_option, output_options


@click.command()
@click.argument("run")
@click.option("--data", metavar="NAME", help="Data set; that of the run by default.")
@click.option("--data-root", metavar="DIR", help="Its folder; that of the run by default.")
@click.option("--train-resolution", type=click.IntRange(8, 1024), help="Resolution of the images.")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True)
@click.option("--workers", type=click.IntRange(0), help="Data-loading processes.")
@max_broken_option
@click.option("--device", metavar="DEVICE", default="cpu", show_default=True)
@output_options
def command(
    run: str,
    data: str | None,
    data_root: str | None,
    train_resolution: int | None,
    batch_size: int,
    workers: int | None,
    max_broken: int | float | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Accuracy of the trained network in folder RUN on the test set.

    \b
    Example:
      proxyless-hw evaluate runs/trained
    """
    from proxyless_hw.pipeline.evaluate import evaluate

    found = evaluate(
        run,
        data,
        data_root=data_root,
        train_resolution=train_resolution,
        batch_size=batch_size,
        workers=workers,
        max_broken=max_broken,
        device=device,
        quiet=quiet,
    )
    score = found.score
    if as_json:
        echo_json(found.to_json())
    log(
        f"top-1 {score.top1:.2%}, top-5 {score.top5:.2%}, loss {score.loss:.4f} on "
        f"{score.images} images of {found.data} at {found.resolution} pixels",
        quiet,
    )
