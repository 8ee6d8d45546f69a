"""The JSON form of an architecture, read back; a message names the field of every fault."""

from __future__ import annotations

from dataclasses import fields

from proxyless_hw.errors import ArchitectureError, did_you_mean
from proxyless_hw.space.architecture import SCHEMA, Architecture, TrainingShape
from proxyless_hw.space.limits import MAX_CHANNELS, MAX_POSITIONS, MAX_RESOLUTION, MAX_STRIDE
from proxyless_hw.space.op_options import NO_OPTIONS, OpOptions
from proxyless_hw.space.op_registry import is_known_op, known_ops, op_options
from proxyless_hw.space.specs import ACTIVATIONS, ZERO, BatchNormSpec, LayerSpec
from proxyless_hw.space.wiring import wiring_from_document
from proxyless_hw.storage.fields import Fields

_LAYER_FIELDS = tuple(item.name for item in fields(LayerSpec))


def architecture_from(document: object, source: str) -> Architecture:
    """Turns a parsed JSON document into an architecture.

    Raises:
        ArchitectureError: a rule is broken; the message names the source, field and value.
    """
    root = Fields(document, source, ArchitectureError)
    root.schema(SCHEMA)
    return Architecture(
        space=root.text("space"),
        resolution=root.whole("resolution", 1, MAX_RESOLUTION),
        num_classes=root.whole("num_classes", 1, MAX_CHANNELS),
        stem=_layers(root, "stem"),
        blocks=_layers(root, "blocks"),
        head=_layers(root, "head"),
        batch_norm=_batch_norm(root.inner("batch_norm")),
        wiring=wiring_from_document(root.values.get("wiring", []), source),
        training=_training(root) if root.values.get("training") is not None else None,
        provenance=root.inner("provenance").values,
    )


def _layers(root: Fields, key: str) -> tuple[LayerSpec, ...]:
    return tuple(_layer(row) for row in root.rows(key, MAX_POSITIONS))


def _layer(row: Fields) -> LayerSpec:
    row.only(_LAYER_FIELDS)
    op = row.text("op")
    if op != ZERO and not is_known_op(op):
        row.fail("op", "is unknown", hint=did_you_mean(op, known_ops()))
    return LayerSpec(
        op=op,
        in_c=row.whole("in_c", 1, MAX_CHANNELS),
        out_c=row.whole("out_c", 1, MAX_CHANNELS),
        kernel=row.whole("kernel", 1, 31, default=1),
        stride=row.whole("stride", 1, MAX_STRIDE, default=1),
        expand=row.number("expand", 0, 64, default=1, above=True),
        skip=row.flag("skip", default=False),
        act=row.choice("act", ACTIVATIONS, default="none"),
        se=row.whole("se", 0, MAX_CHANNELS, default=0),
        options=NO_OPTIONS if op == ZERO else _options(op, row),
    )


def _options(op: str, row: Fields) -> OpOptions:
    try:
        return op_options(op, row.inner("options").values)
    except ValueError as cause:
        raise ArchitectureError(f"{row.place('options')}: {cause}.") from cause


def _batch_norm(given: Fields) -> BatchNormSpec:
    plain = BatchNormSpec()
    given.only(("momentum", "eps"))
    return BatchNormSpec(
        momentum=given.number("momentum", 0, 1, default=plain.momentum, above=True),
        eps=given.number("eps", 0, 1, default=plain.eps, above=True),
    )


def _training(root: Fields) -> TrainingShape:
    given = root.inner("training")
    return TrainingShape(
        resolution=given.whole("resolution", 1, MAX_RESOLUTION),
        num_classes=given.whole("num_classes", 1, MAX_CHANNELS),
        data=given.text("data"),
    )
