"""What a file or name is that stands for a network: the one place that recognises it."""

from __future__ import annotations

from pathlib import Path

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.net_config import from_net_config
from proxyless_hw.formats.timm_strings import from_timm_strings
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.space.architecture import Architecture, architecture_file
from proxyless_hw.storage.documents import parse_json, read_text


def load_architecture(source: str | Path, resolution: int | None = None) -> Architecture:
    """Loads a network in any known form.

    Args:
        source: a zoo name; or the path of our JSON, a run folder (its ``architecture.json``), a
            published ``net.config``, timm block strings, or an ONNX file.
        resolution: height and width of an ONNX file that leaves them open.

    Raises:
        ArchitectureError: nothing has that name, or the file breaks a rule.
        PredictorError: an ONNX file holds something that no known op is; the message names it.
    """
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
    if "schema" not in document and "name" in document:
        return from_net_config(document, source=str(path))
    return Architecture.from_document(document, str(path))
