"""Once-for-All's encoding of a network: kernels, expansions and depths of a space's slots.

``{"ks": [3, 5, ...], "e": [3, 6, ...], "d": [2, 3, ...], "r": 176}``: one kernel and one expansion
for each slot, one depth for each stage with slots, and the resolution. Slots past the depth of
their stage are removed blocks, whose kernel and expansion say nothing.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.limits import MAX_RESOLUTION
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import Position
from proxyless_hw.storage.fields import Fields

_KEYS: Final = ("ks", "e", "d")
_SIDES: Final = ("r", "image_size", "resolution")


def is_encoding(document: object) -> bool:
    """Whether a document is an encoding."""
    return isinstance(document, dict) and all(key in document for key in _KEYS)


def from_encoding(document: object, space: SearchSpace, source: str = "encoding") -> Architecture:
    """Reads an encoding.

    Args:
        document: the parsed JSON.
        space: the space that it chooses from.
        source: names it in messages.

    Raises:
        ArchitectureError: a list has another length than the space's slots or stages, or a choice
            is not a candidate; the message names the field and the place.
    """
    fields = Fields(document, source, ArchitectureError)
    fields.only((*_KEYS, *_SIDES, "wid", "w"))
    stages = [list(group) for _, group in groupby(_slots(space), key=lambda slot: slot.stage)]
    count = sum(len(stage) for stage in stages)
    kernels = _wholes(fields, "ks", count, f"slots of space '{space.id}'")
    expansions = _wholes(fields, "e", count, f"slots of space '{space.id}'")
    depths = _wholes(fields, "d", len(stages), f"stages of space '{space.id}' with slots")
    for key in ("wid", "w"):
        if fields.values.get(key) not in (None, 1, 1.0):
            fields.fail(key, "must be null: choose the width by the space, as in mobilenet-v3-w1.2")
    choices: list[int] = []
    for number, (stage, depth) in enumerate(zip(stages, depths, strict=True)):
        if not 0 <= depth <= len(stage):
            fields.fail(f"d[{number}]", f"must be from 0 to {len(stage)}", depth)
        for place, slot in enumerate(stage):
            index = len(choices)
            kept = place < depth
            choices.append(_candidate(slot, kept, kernels[index], expansions[index], fields, index))
    resolution, provenance = None, {}
    for key in (key for key in _SIDES if fields.values.get(key) is not None):
        if resolution is not None:
            fields.fail(key, "must not stand beside another resolution")
        resolution = _wholes(fields, key, 1, "resolution")[0]
        if not 1 <= resolution <= MAX_RESOLUTION:
            fields.fail(key, f"must be from 1 to {MAX_RESOLUTION}", resolution)
        provenance = {"stated_resolution": f"its field {key}"}
    return Architecture.from_choices(space, choices, resolution=resolution, provenance=provenance)


def _slots(space: SearchSpace) -> list[Position]:
    return [position for position in space.positions if position.is_slot]


def _wholes(fields: Fields, key: str, count: int, what: str) -> list[int]:
    """A list of whole numbers; a lone number counts as a list of one."""
    given = fields.get(key)
    values = [given] if type(given) is int else given
    if not isinstance(values, list) or len(values) != count:
        fields.fail(key, f"must be a list of {count}, the {what}", given)
    found: list[int] = []
    for index, value in enumerate(values):
        if type(value) is not int:
            fields.fail(f"{key}[{index}]", "must be a whole number", value)
        found.append(value)
    return found


def _candidate(
    slot: Position, kept: bool, kernel: int, expand: int, fields: Fields, index: int
) -> int:
    if not kept:
        if not slot.candidates[-1].is_zero:
            fields.fail("d", f"removes slot {index}, which the space does not allow")
        return len(slot.candidates) - 1
    known = [(layer.kernel, layer.expand) for layer in slot.candidates if not layer.is_zero]
    if (kernel, expand) not in known:
        pairs = ", ".join(f"{one} and {other:g}" for one, other in known)
        rule = f"and e[{index}] must be a kernel and an expansion of the space ({pairs})"
        fields.fail(f"ks[{index}]", rule, f"{kernel} and {expand}")
    return known.index((kernel, expand))
