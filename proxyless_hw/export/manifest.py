"""The manifest of a set of exported files: what an app needs of each, and how they compare."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from proxyless_hw.errors import ExportError
from proxyless_hw.export.export import ExportConfig, ExportedFile
from proxyless_hw.network.network import Network
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.files import write_text_atomically

MANIFEST_SCHEMA: Final = "proxyless-hw-manifest/1"


def write_manifest(
    path: Path,
    files: Sequence[ExportedFile],
    network: Network,
    config: ExportConfig,
    latencies: Mapping[str, Mapping[str, object]] | None = None,
) -> None:
    """Writes what a set of files consists of, with hashes and each file's ends, as JSON.

    Args:
        path: where it goes.
        files: the files.
        network: what they were made from.
        config: their shape and ends.
        latencies: measured latency by file name, where there is one.

    Raises:
        ExportError: the place cannot be written.
    """
    document = {
        "schema": MANIFEST_SCHEMA,
        "resolution": config.resolution,
        "num_classes": network.arch.num_classes,
        "batch_size": config.batch_size,
        "include_softmax": config.include_softmax,
        "normalise_in_graph": config.normalise_in_graph,
        "weights": config.weights,
        "baseline": baseline(files),
        "files": [
            {**file.to_dict(), "latency": (latencies or {}).get(file.target.path.name)}
            for file in files
        ],
    }
    write_text_atomically(path, json.dumps(document, indent=1, allow_nan=False) + "\n", ExportError)


def baseline(files: Sequence[ExportedFile]) -> JsonObject | None:
    """The accuracy that the files' accuracies are compared with; None without labels or checks.

    It is one figure for all files: the float32 network's in torch, on the images that every one of
    them was run on.
    """
    checks = [file.verification for file in files if file.verification is not None]
    if not checks or checks[0].accuracy_before is None:
        return None
    first = checks[0]
    return {
        "network": "torch, float32",
        "accuracy": first.accuracy_before,
        "images": first.images,
        "source": first.source,
    }
