"""A model file and its inputs as JSON, for a child process that runs the file.

The shapes travel, not the question: reading the file there would count as its memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.model_inputs import ModelInput
from proxyless_hw.profilers.models.file_shapes import FileSetting
from proxyless_hw.profilers.models.random_inputs import random_arrays
from proxyless_hw.profilers.options import given_options


def file_request(path: Path, settings: ProfilerSettings, setting: FileSetting) -> dict[str, Any]:
    """What the process needs: path, inputs, runtime (or None), threads, delegate."""
    return {
        "path": str(path.absolute()),
        "inputs": inputs_as_json(setting),
        "runtime": settings.runtime,
        "threads": settings.threads,
        "delegate": given_options(settings.options).get("delegate", "xnnpack"),
    }


def inputs_as_json(setting: FileSetting) -> list[dict[str, Any]]:
    """The inputs with the sizes that they run with."""
    return [
        {
            "name": item.name,
            "sizes": list(setting.shapes[item.name]),
            "dtype": item.dtype,
            "low": item.low,
            "high": item.high,
        }
        for item in setting.inputs
    ]


def requested_arrays(inputs: Sequence[Mapping[str, Any]], source: str) -> dict[str, NDArray[Any]]:
    """One random array per input that `inputs_as_json` gave.

    Raises:
        ProfilingError: as `random_arrays`.
    """
    items = [ModelInput(**{**item, "sizes": tuple(item["sizes"])}) for item in inputs]
    shapes = {item["name"]: tuple(item["sizes"]) for item in inputs}
    return random_arrays(items, shapes, source)
