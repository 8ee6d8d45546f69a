"""``proxyless-hw import-weights``: a published checkpoint becomes a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._options import echo_json, log, output_options
from proxyless_hw.errors import ArchitectureError
from proxyless_hw.units import format_count

if TYPE_CHECKING:
    from torch import Tensor


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--arch", metavar="ARCH", help="The network: zoo name or net.config; found by its tensors else."
)
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder to write; else only check.",
)
@output_options
def command(file: Path, arch: str | None, output: Path | None, as_json: bool, quiet: bool) -> None:
    """Load the published checkpoint FILE, every tensor accounted for; nothing in it is executed.

    \b
    Example:
      proxyless-hw import-weights proxyless_mobile.pth --output runs/mobile
      proxyless-hw evaluate runs/mobile --data folder --data-root imagenet
    """
    from proxyless_hw.formats.load import load_architecture
    from proxyless_hw.formats.published import fill_from_published, read_published
    from proxyless_hw.network.network import build_network
    from proxyless_hw.space.counting import count_parameters
    from proxyless_hw.train.load import save_imported

    tensors = read_published(file)
    name = arch or _matching_network(tensors, file)
    network = build_network(load_architecture(name))
    fill_from_published(network, tensors, str(file))
    parameters = count_parameters(network.arch)
    if output is not None:
        save_imported(network, output, {"source": file.name, "arch": name})
    if as_json:
        run = None if output is None else str(output)
        echo_json({"arch": name, "parameters": parameters, "run": run})
    place = "" if output is None else f" Run folder: {output}"
    log(f"{file.name} fits {name}: {format_count(parameters)} parameters.{place}", quiet)


def _matching_network(tensors: dict[str, Tensor], file: Path) -> str:
    """The zoo network whose tensors these are, by names and shapes.

    Raises:
        ArchitectureError: no network fits; the nearest is named.
    """
    import torch

    from proxyless_hw.formats.published import published_names
    from proxyless_hw.formats.zoo import zoo_architecture, zoo_names
    from proxyless_hw.network.network import Network

    given = {
        (name, tuple(tensor.shape))
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }
    nearest, most = "", -1.0
    for name in zoo_names():
        with torch.device("meta"):
            network = Network(zoo_architecture(name))
        state = network.state_dict()
        try:
            names = published_names(network)
        except ArchitectureError:
            continue  # a baseline that the published code has no names for
        wanted = {
            (theirs, tuple(state[ours].shape))
            for ours, theirs in names.items()
            if not theirs.endswith("num_batches_tracked")
        }
        if wanted == given:
            return name
        share = len(wanted & given) / len(wanted | given)
        nearest, most = (name, share) if share > most else (nearest, most)
    raise ArchitectureError(
        f"{file} is the checkpoint of no network of the zoo; nearest is {nearest} with {most:.0%} "
        "of the tensors. Give its net.config: --arch FILE."
    )
