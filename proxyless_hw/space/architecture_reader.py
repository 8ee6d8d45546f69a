"""The JSON form of an architecture, read back; a message names the field of every fault."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from proxyless_hw.errors import ArchitectureError, did_you_mean
from proxyless_hw.space.architecture import SCHEMA, Architecture, TrainingShape
from proxyless_hw.space.limits import MAX_CHANNELS, MAX_POSITIONS, MAX_RESOLUTION, MAX_STRIDE
from proxyless_hw.space.op_registry import is_known_op, known_ops
from proxyless_hw.space.specs import (
    ACTIVATIONS,
    ZERO,
    BatchNormSpec,
    LayerSpec,
)
from proxyless_hw.space.wiring import (
    wiring_from_document,
)

_LAYER_FIELDS = {item.name: item for item in fields(LayerSpec)}
_RANGES = {"kernel": (1, 31), "stride": (1, MAX_STRIDE), "se": (0, MAX_CHANNELS)}


def architecture_from(document: object, source: str) -> Architecture:
    """Turns a parsed JSON document into an architecture.

    Raises:
        ArchitectureError: a rule is broken; the message names the source, field and value.
    """
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise ArchitectureError(
            f"{source}: schema must be '{SCHEMA}': received {str(found)[:80]!r}."
        )
    if not isinstance(document.get("space"), str):
        raise ArchitectureError(
            f"{source}: space must be a name: received {str(document.get('space'))[:80]!r}."
        )
    provenance = document.get("provenance", {})
    if not isinstance(provenance, dict):
        raise ArchitectureError(f"{source}: provenance must be a mapping.")
    return Architecture(
        space=document["space"],
        resolution=_integer(document, "resolution", source, 1, MAX_RESOLUTION),
        num_classes=_integer(document, "num_classes", source, 1, MAX_CHANNELS),
        stem=_layers(document, "stem", source),
        blocks=_layers(document, "blocks", source),
        head=_layers(document, "head", source),
        batch_norm=_batch_norm(document.get("batch_norm", {}), source),
        wiring=wiring_from_document(document.get("wiring", []), source),
        training=_training(document.get("training"), source),
        provenance=provenance,
    )


def _layers(document: Mapping[str, Any], key: str, source: str) -> tuple[LayerSpec, ...]:
    items = document.get(key)
    if not isinstance(items, list) or len(items) > MAX_POSITIONS:
        raise ArchitectureError(
            f"{source}: {key} must be a list of at most {MAX_POSITIONS} layers."
        )
    return tuple(_layer(item, f"{source}: {key}[{index}]") for index, item in enumerate(items))


def _layer(item: object, where: str) -> LayerSpec:
    if not isinstance(item, dict):
        raise ArchitectureError(f"{where} must be a mapping of fields.")
    for name in item:
        if name not in _LAYER_FIELDS:
            hint = did_you_mean(str(name), _LAYER_FIELDS)
            raise ArchitectureError(f"{where} has an unknown field {str(name)[:60]!r}.{hint}")
    values: dict[str, Any] = {}
    for name in ("in_c", "out_c"):
        values[name] = _integer(item, name, where, 1, MAX_CHANNELS)
    for name, (low, high) in _RANGES.items():
        if name in item:
            values[name] = _integer(item, name, where, low, high)
    op = item.get("op")
    if not isinstance(op, str) or (op != ZERO and not is_known_op(op)):
        hint = did_you_mean(str(op), known_ops())
        raise ArchitectureError(f"{where}.op is unknown: received {str(op)[:80]!r}.{hint}")
    act = item.get("act", "none")
    if act not in ACTIVATIONS:
        raise ArchitectureError(
            f"{where}.act must be one of {', '.join(ACTIVATIONS)}: received {str(act)[:80]!r}."
        )
    expand = item.get("expand", 1)
    if type(expand) not in (int, float) or not 0 < expand <= 64:
        raise ArchitectureError(
            f"{where}.expand must lie in (0, 64]: received {str(expand)[:80]!r}."
        )
    skip = item.get("skip", False)
    if type(skip) is not bool:
        raise ArchitectureError(f"{where}.skip must be true or false: received {str(skip)[:80]!r}.")
    return LayerSpec(op=op, expand=expand, skip=skip, act=act, **values)


def _integer(fields_: Mapping[str, Any], key: str, where: str, low: int, high: int) -> int:
    value = fields_.get(key)
    if type(value) is not int or not low <= value <= high:
        raise ArchitectureError(
            f"{where}.{key} must be a whole number from {low} to {high}: "
            f"received {str(value)[:80]!r}."
        )
    return value


def _batch_norm(value: object, source: str) -> BatchNormSpec:
    if not isinstance(value, dict) or not set(value) <= {"momentum", "eps"}:
        raise ArchitectureError(f"{source}: batch_norm must hold momentum and eps only.")
    for name, number in value.items():
        if type(number) not in (int, float) or not 0 < number <= 1 or not math.isfinite(number):
            raise ArchitectureError(f"{source}: batch_norm.{name} must lie in (0, 1].")
    return BatchNormSpec(**value)


def _training(value: object, source: str) -> TrainingShape | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("data"), str):
        raise ArchitectureError(f"{source}: training must hold resolution, num_classes and data.")
    where = f"{source}: training"
    return TrainingShape(
        resolution=_integer(value, "resolution", where, 1, MAX_RESOLUTION),
        num_classes=_integer(value, "num_classes", where, 1, MAX_CHANNELS),
        data=value["data"],
    )
