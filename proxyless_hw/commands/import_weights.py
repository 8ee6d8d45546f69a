"""``proxyless-hw import-weights``: a checkpoint of other code becomes a run folder."""

from __future__ import annotations

from pathlib import Path

import click

from proxyless_hw.commands._options import echo_json, log, output_options, path_option
from proxyless_hw.units import format_count


@click.command()
@click.argument("file", metavar="FILE|timm:NAME")
@click.option(
    "--arch",
    metavar="ARCH",
    help="The network: zoo name or net.config; by default found by its tensors.",
)
@path_option("--output", "Folder to write; without it the file is only checked.", metavar="DIR")
@output_options
def command(file: str, arch: str | None, output: Path | None, as_json: bool, quiet: bool) -> None:
    """Load a checkpoint, every tensor accounted for; nothing in it is executed.

    FILE holds the weights of a network under the names of the ProxylessNAS or Once-for-All code,
    of torchvision (MobileNetV2, MobileNetV3, MNASNet, EfficientNet-B0) or of timm, as a torch or a
    safetensors file. timm:NAME takes pretrained weights from timm, where it is installed.

    \b
    Example:
      proxyless-hw import-weights proxyless_mobile.pth --output runs/mobile
      proxyless-hw import-weights mobilenet_v3_large.pth --output runs/v3
      proxyless-hw evaluate runs/mobile --data folder --data-root imagenet
    """
    from proxyless_hw.space.counting import count_parameters
    from proxyless_hw.train.imported import import_weights

    found = import_weights(file, arch, output=output)
    parameters = count_parameters(found.network.arch)
    if as_json:
        run = None if output is None else str(output)
        echo_json({"arch": found.name, "parameters": parameters, "run": run})
    place = "" if output is None else f" Run folder: {output}"
    log(f"{found.source} fits {found.name}: {format_count(parameters)} parameters.{place}", quiet)
