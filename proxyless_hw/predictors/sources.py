"""What a user can name as a network to be priced, and the shape it is priced at."""

from __future__ import annotations

from pathlib import Path

from proxyless_hw.architecture import Architecture
from proxyless_hw.tables.table import LatencyTable


def load_network(source: str) -> Architecture:
    """An architecture file, run folder, zoo name, ``net.config``, timm strings, or ONNX file.

    Raises:
        ArchitectureError: nothing of that name, or the file breaks a rule.
        PredictorError: an ONNX file that is not made of known ops; the unknown ones are named.
    """
    if source.lower().endswith(".onnx"):
        from proxyless_hw.predictors.onnx_import import architecture_from_onnx

        return architecture_from_onnx(Path(source))
    return Architecture.load(source)


def at_deployment_shape(
    arch: Architecture,
    table: LatencyTable,
    resolution: int | None = None,
    num_classes: int | None = None,
) -> Architecture:
    """A network at the shape that a table prices it at.

    What is asked for comes first. Otherwise the network keeps its own resolution where the table
    has it (or has none or several), else takes the table's one; classes are the table's.
    """
    side = resolution
    if side is None and len(table.resolutions) == 1 and arch.resolution not in table.resolutions:
        side = table.resolutions[0]
    return arch.with_shape(resolution=side, num_classes=num_classes or table.num_classes)
