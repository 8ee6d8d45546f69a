"""Reads the wire form of protocol buffers: field numbers and values, without a schema.

The messages that LiteRT's tools write have a handful of fields that matter here; a reader of the
wire form needs no library and no generated code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from proxyless_hw.errors import ProfilingError

Value = int | bytes


class WireError(ProfilingError):
    """The bytes are not a protocol buffer message."""


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of a message in order: number and value.

    Integers are unsigned; fixed-width and length-delimited values are bytes.

    Raises:
        WireError: the message was cut off or is malformed.
    """
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise WireError("a protocol buffer field has the number 0.")
        if wire_type == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire_type == 2:
            size, place = _varint(data, place)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise WireError(f"protocol buffer wire type {wire_type} is not known.")
        if size > len(data) - place:
            raise WireError("a protocol buffer message was cut off.")
        yield number, data[place : place + size]
        place += size


def integers(values: list[Value]) -> list[int]:
    """The integers of a repeated field, packed or not.

    Raises:
        WireError: a packed value was cut off.
    """
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        place = 0
        while place < len(value):
            item, place = _varint(value, place)
            found.append(item)
    return found


def float32(value: Value) -> float:
    """A field of type float.

    Raises:
        WireError: the field has another type.
    """
    if not isinstance(value, bytes) or len(value) != 4:
        raise WireError("a field of a protocol buffer must be a float and is not.")
    number: float = struct.unpack("<f", value)[0]
    return number


def grouped(data: bytes) -> dict[int, list[Value]]:
    """The fields of a message by number.

    Raises:
        WireError: as `fields`.
    """
    found: dict[int, list[Value]] = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def messages(values: list[Value]) -> list[bytes]:
    """The nested messages of a repeated field.

    Raises:
        WireError: a value is a number.
    """
    if not all(isinstance(value, bytes) for value in values):
        raise WireError("a protocol buffer field that must be a message is a number.")
    return [value for value in values if isinstance(value, bytes)]


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise WireError("a protocol buffer message was cut off.")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise WireError("a protocol buffer number is too long.")
