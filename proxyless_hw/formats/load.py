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
from proxyless_hw.storage.documents import json_of, parse_json, read_text
from proxyless_hw.storage.fields import Fields


def load_architecture(
    source: str | Path, resolution: int | None = None, space: SearchSpace | None = None
) -> Architecture:
    """Loads a network in any known form.

    Args:
        source: a zoo name; or the path of our JSON, a run folder (its ``architecture.json``), a
            published ``net.config`` or its folder, Once-for-All's encoding, timm block strings (or
            timm's nested list of them), or an ONNX file. A ``run.config`` beside a ``net.config``
            gives the resolution.
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
    for suffixes, way_on in _NO_NETWORKS.items():
        if Path(source).suffix.lower() in suffixes and Path(source).is_file():
            raise ArchitectureError(f"{source} {way_on.format(source)}")
    path = _file_in(Path(source)) or architecture_file(source)
    if not path.is_file():
        return zoo_architecture(str(source))
    text = read_text(path, ArchitectureError, "architecture file")
    if text.lstrip()[:1] not in ("{", "["):
        return from_timm_strings(text, source=str(path))
    document = parse_json(json_of(text), ArchitectureError, str(path))
    if isinstance(document, list):
        return from_timm_strings(_block_lines(document, path), source=str(path))
    if is_encoding(document):
        if space is None:
            raise ArchitectureError(
                f"{path} is an encoding (ks, e, d): say which space it chooses from. Example: "
                f"proxyless-hw zoo show {path} --space mobilenet-v3 --format json > network.json"
            )
        return from_encoding(document, space, str(path))
    if isinstance(document, dict) and "schema" not in document and "name" in document:
        return _beside_run_config(from_net_config(document, source=str(path)), path)
    if isinstance(document, dict) and "schema" not in document:
        keys = ", ".join(str(key) for key in document)[:80]
        raise ArchitectureError(
            f"{path} has no known form of a network: its keys are {keys}. Known are {FORMS}."
        )
    return Architecture.from_document(document, str(path))


def _file_in(folder: Path) -> Path | None:
    """The net.config of a folder that is no run; None where there is none."""
    if not folder.is_dir() or (folder / "architecture.json").exists():
        return None
    found = [folder / name for name in CONFIGS if (folder / name).is_file()]
    return found[0] if len(found) == 1 else None


def _block_lines(document: list[object], path: Path) -> str:
    """timm's nested list of block strings, one list per stage, as lines.

    Raises:
        ArchitectureError: it holds something else.
    """
    stages = [stage if isinstance(stage, list) else [stage] for stage in document]
    blocks = [block for stage in stages for block in stage]
    other = next((block for block in blocks if not isinstance(block, str)), None)
    if other is not None or not blocks:
        raise ArchitectureError(
            f"{path} is a list, which must hold block strings as timm's definitions do, such as "
            f"'ds_r1_k3_s1_e1_c16': received {'nothing' if other is None else repr(other)[:60]}. "
            f"Known are {FORMS}."
        )
    return "\n".join(str(block) for block in blocks)


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
_NO_NETWORKS = {
    (".pth", ".pt", ".ckpt", ".safetensors", ".bin"): "holds weights, and no network. Next: "
    "proxyless-hw import-weights {} --output RUN, and use RUN.",
    (".tflite",): "is measured as it is, not priced or built. Next: proxyless-hw benchmark {}.",
}
CONFIGS = ("net.config", "subnet.config")
FORMS = (
    "our JSON (schema), a published net.config (name, blocks), Once-for-All's encoding (ks, e, d), "
    "timm block strings, and ONNX files"
)


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
