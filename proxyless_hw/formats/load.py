"""What a file or name is that stands for a network: the one place that recognises it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.encodings import from_encoding, is_encoding
from proxyless_hw.formats.net_config import from_net_config
from proxyless_hw.formats.timm_strings import from_timm_strings
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.space.architecture import (
    Architecture,
    architecture_file,
    require_architecture,
)
from proxyless_hw.space.limits import MAX_RESOLUTION
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.fields import Fields


def load_architecture(
    source: str | Path, resolution: int | None = None, space: SearchSpace | None = None
) -> Architecture:
    """Loads a network in any known form.

    Args:
        source: a zoo name; or the path of our JSON, a run folder (its ``architecture.json``), a
            published ``net.config``, Once-for-All's encoding, timm block strings, or an ONNX file.
            A ``run.config`` beside a ``net.config`` gives the resolution.
        resolution: height and width of an ONNX file that leaves them open.
        space: the space that an encoding chooses from; other forms need none.

    Raises:
        ArchitectureError: nothing has that name, or the file breaks a rule.
        PredictorError: an ONNX file holds something that no known op is; the message names it.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.load_architecture("proxyless-mobile").resolution
        224
    """
    if not isinstance(source, str | Path):
        raise ArchitectureError(
            f"a network is loaded by name or path: received {type(source).__name__}."
        )
    if str(source).lower().endswith(".onnx"):
        from proxyless_hw.formats.onnx_import import architecture_from_onnx  # loads onnx

        return architecture_from_onnx(Path(source), resolution)
    path = architecture_file(source)
    if not path.is_file():
        return zoo_architecture(str(source))
    text = read_text(path, ArchitectureError, "architecture file")
    if not text.lstrip().startswith("{"):
        return from_timm_strings(text, source=str(path))
    document = parse_json(text, ArchitectureError, str(path))
    if is_encoding(document):
        if space is None:
            raise ArchitectureError(
                f"{path} is an encoding (ks, e, d): say which space it chooses from. Example: "
                f"proxyless-hw zoo show {path} --space mobilenet-v3 --format json > network.json"
            )
        return from_encoding(document, space, str(path))
    if isinstance(document, dict) and "schema" not in document and "name" in document:
        return _beside_run_config(from_net_config(document, source=str(path)), path)
    return Architecture.from_document(document, str(path))


def given_architecture(network: Architecture | str | Path) -> Architecture:
    """An architecture, or what a name or a path names (see `load_architecture`).

    Raises:
        ArchitectureError: as `load_architecture`, or it is something else.
    """
    if isinstance(network, str | Path):
        return load_architecture(network)
    require_architecture(network)
    return network


RUN_CONFIG = "run.config"


def _beside_run_config(arch: Architecture, path: Path) -> Architecture:
    """The network at the resolution that a run.config beside its file gives, if there is one.

    Raises:
        ArchitectureError: the run.config is malformed.
    """
    beside = path.with_name(RUN_CONFIG)
    if not beside.is_file():
        return arch
    text = read_text(beside, ArchitectureError, "run.config")
    fields = Fields(
        parse_json(text, ArchitectureError, str(beside)), str(beside), ArchitectureError
    )
    if "image_size" not in fields:
        return arch
    side = fields.whole("image_size", 1, MAX_RESOLUTION)
    provenance = {**arch.provenance, "stated_resolution": RUN_CONFIG}
    return replace(arch.with_shape(resolution=side), provenance=provenance)
