"""The shape that a network is priced at."""

from __future__ import annotations

from proxyless_hw.errors import PredictorError
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.tables.table import LatencyTable


def at_deployment_shape(
    arch: Architecture,
    table: LatencyTable,
    resolution: int | None = None,
    num_classes: int | None = None,
) -> Architecture:
    """A network at the shape that a table prices it at.

    What is asked for comes first. Otherwise a model file keeps its own shape: it is that file which
    is priced. Another network keeps its own resolution where its file states one, and where the
    table has it (or has none or several); else it takes the table's one. Classes are the table's.

    Raises:
        PredictorError: a model file has another batch than the table.
    """
    if arch.provenance.get("own_shape"):
        _check_batch(arch, table)
        return arch.with_shape(resolution=resolution, num_classes=num_classes)
    side = resolution
    if side is None and "stated_resolution" not in arch.provenance:
        only = table.resolutions[0] if len(table.resolutions) == 1 else None
        side = None if arch.resolution in table.resolutions else only
    return arch.with_shape(resolution=side, num_classes=num_classes or table.num_classes)


def own_shape_note(
    name: str,
    arch: Architecture,
    table: LatencyTable,
    resolution: int | None = None,
    num_classes: int | None = None,
) -> str | None:
    """What to tell about a model file that is priced at its own shape and not at the table's.

    Args:
        name: what the user calls it.
        arch: the network in it.
        table: what prices it.
        resolution, num_classes: what the user asked for.

    Returns:
        A sentence with the options that ask for the table's shape; None where there is nothing to
        tell.
    """
    stated = arch.provenance.get("stated_resolution")
    if stated and resolution is None:
        return f"{name} is priced at {arch.resolution} pixels, as {stated} says."
    if not arch.provenance.get("own_shape"):
        return None
    deployed = at_deployment_shape(arch, table, resolution, num_classes)
    options = []
    if resolution is None and table.resolutions and deployed.resolution not in table.resolutions:
        options.append(f"--resolution {table.resolutions[0]}")
    if num_classes is None and table.num_classes not in (None, deployed.num_classes):
        options.append(f"--num-classes {table.num_classes}")
    if not options:
        return None
    return (
        f"{name} is priced at {deployed.resolution} pixels and {deployed.num_classes} classes, "
        f"as the file has them. At the shape of table '{table.name}': {' '.join(options)}."
    )


def _check_batch(arch: Architecture, table: LatencyTable) -> None:
    batch, priced = arch.provenance.get("batch_size"), table.metadata.get("batch_size")
    if batch is not None and priced is not None and str(batch) != str(priced):
        raise PredictorError(
            f"{arch.provenance.get('source')} runs a batch of {batch}, and table '{table.name}' is "
            f"of batch {priced}. Price a file with that batch, or profile with "
            f"--batch-size {batch}."
        )
