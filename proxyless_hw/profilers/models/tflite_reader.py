"""The inputs and outputs that a .tflite file declares, read from its flatbuffer.

No interpreter is needed: a phone runs files on hosts where LiteRT is not installed. Field numbers
are those of TFLite's schema (``schema.fbs``, version 3).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.model_inputs import (
    ANONYMOUS,
    ModelInput,
    Size,
    both_ranges,
    integer_range,
)

MOST_ITEMS: Final = 1 << 20
"""Most entries of a list in a file. A file with more is damaged."""

_TYPES: Final = (
    *("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64"),
    *("int8", "float64", "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4"),
    *("bfloat16", "int2", "uint4", "float8_e4m3fn", "float8_e5m2"),
)
"""Names of the schema's TensorType, by number."""

_EMBEDDING_LOOKUP: Final = 7
_GATHER: Final = 36
_PASSING: Final = frozenset((22, 43, 53, 70))  # RESHAPE, SQUEEZE, CAST, EXPAND_DIMS
_DIVIDING: Final = frozenset((42, 90, 95))  # DIV, FLOOR_DIV, FLOOR_MOD


@dataclass(frozen=True)
class TfliteSignature:
    """One signature: a name for a graph of the file and names for its inputs."""

    name: str
    graph: int
    inputs: dict[int, str]


@dataclass(frozen=True)
class TfliteInterface:
    """What a .tflite file says about itself; inputs and outputs are those of its first graph."""

    inputs: tuple[ModelInput, ...]
    outputs: tuple[tuple[Size, ...], ...]
    signatures: tuple[TfliteSignature, ...]


def read_tflite(content: bytes, source: str) -> TfliteInterface:
    """Reads a file's inputs, outputs and signatures.

    Raises:
        ProfilingError: it is not a TFLite file, or is damaged.
    """
    if content[4:8] != b"TFL3":
        raise ProfilingError(f"{source} is not a TFLite file: it lacks the mark 'TFL3'.")
    try:
        model = _Table(content, _root(content))
        return _interface(model)
    except (struct.error, IndexError, UnicodeDecodeError) as cause:
        raise ProfilingError(f"{source} is a damaged TFLite file: {cause}.") from cause


def _root(content: bytes) -> int:
    return int(struct.unpack_from("<I", content, 0)[0])


class _Table:
    """A flatbuffer table: fields by number, absent ones with the default given."""

    def __init__(self, content: bytes, place: int) -> None:
        self.content = content
        self.place = place
        self.fields = place - int(struct.unpack_from("<i", content, place)[0])

    def _field(self, number: int) -> int:
        """Where a field's value lies; 0 where it is absent."""
        if self.fields < 0:
            raise IndexError("a table points before the file")
        size = struct.unpack_from("<H", self.content, self.fields)[0]
        slot = 4 + 2 * number
        if slot + 2 > size:
            return 0
        offset = struct.unpack_from("<H", self.content, self.fields + slot)[0]
        return self.place + int(offset) if offset else 0

    def number(self, number: int, form: str, default: int = 0) -> int:
        place = self._field(number)
        return int(struct.unpack_from(f"<{form}", self.content, place)[0]) if place else default

    def _target(self, place: int) -> int:
        return place + int(struct.unpack_from("<I", self.content, place)[0])

    def _list(self, number: int) -> tuple[int, int]:
        """(where its items begin, how many)."""
        place = self._field(number)
        if not place:
            return 0, 0
        start = self._target(place)
        count = int(struct.unpack_from("<I", self.content, start)[0])
        if count > MOST_ITEMS:
            raise IndexError(f"a list of {count} entries")
        return start + 4, count

    def has(self, number: int) -> bool:
        return self._list(number)[1] > 0

    def numbers(self, number: int) -> tuple[int, ...]:
        start, count = self._list(number)
        return struct.unpack_from(f"<{count}i", self.content, start)

    def text(self, number: int) -> str:
        start, count = self._list(number)
        return self.content[start : start + count].decode()

    def table(self, number: int) -> _Table | None:
        place = self._field(number)
        return _Table(self.content, self._target(place)) if place else None

    def tables(self, number: int) -> list[_Table]:
        start, count = self._list(number)
        return [_Table(self.content, self._target(start + 4 * index)) for index in range(count)]


def _interface(model: _Table) -> TfliteInterface:
    graphs = model.tables(2)
    if not graphs:
        raise IndexError("no graph")
    graph = graphs[0]
    tensors = graph.tables(0)
    if min((*graph.numbers(1), *graph.numbers(2)), default=0) < 0:
        raise IndexError("an input or output without a tensor")
    signatures = tuple(
        TfliteSignature(
            name=item.text(2),
            graph=item.number(4, "I"),
            inputs={entry.number(1, "I"): entry.text(0) for entry in item.tables(0)},
        )
        for item in model.tables(7)
    )
    aliases: dict[int, str] = {}
    for signature in signatures:
        if signature.graph == 0:
            aliases |= signature.inputs
    ranges = _ranges(model, graph, tensors)
    inputs: list[ModelInput] = []
    for position, index in enumerate(graph.numbers(1)):
        item = _input(tensors[index], ranges.get(index), aliases.get(index))
        if not item.name or item.name in (other.name for other in inputs):
            item = replace(item, name=f"{item.name or 'input'}#{position}")
        inputs.append(item)
    outputs = tuple(_sizes(tensors[index]) or () for index in graph.numbers(2))
    return TfliteInterface(inputs=tuple(inputs), outputs=outputs, signatures=signatures)


def _sizes(tensor: _Table) -> tuple[Size, ...] | None:
    """Shape with open sizes; None for a tensor of unknown rank."""
    signature = tensor.numbers(7) or tensor.numbers(0)
    if not signature and not tensor.number(8, "B"):
        return None
    return tuple(ANONYMOUS if size < 0 else size for size in signature)


def _input(tensor: _Table, bounds: tuple[int, int] | None, alias: str | None) -> ModelInput:
    code = tensor.number(1, "B")
    dtype = _TYPES[code] if code < len(_TYPES) else f"type {code}"
    quantisation = tensor.table(4)
    quantised = quantisation is not None and quantisation.has(2)
    low, high = integer_range(dtype, None if quantised else bounds, quantised=quantised)
    stored = tensor.numbers(0)
    return ModelInput(
        name=tensor.text(3),
        sizes=_sizes(tensor),
        dtype=dtype,
        low=low,
        high=high,
        aliases=() if alias is None else (alias,),
        stored=None if -1 in stored else stored,
    )


def _ranges(model: _Table, graph: _Table, tensors: Sequence[_Table]) -> dict[int, tuple[int, int]]:
    """[low, high) of the tensors that are used as indices or divisors."""
    codes = [max(code.number(0, "b"), code.number(3, "i")) for code in model.tables(1)]
    ranges: dict[int, tuple[int, int]] = {}
    for operator in reversed(graph.tables(3)):
        kind, inputs = codes[operator.number(0, "I")], operator.numbers(1)
        outputs = operator.numbers(2)
        if kind in (_GATHER, _EMBEDDING_LOOKUP) and len(inputs) > 1:
            data, indices = inputs[:2] if kind == _GATHER else inputs[1::-1]
            options = operator.table(4) if kind == _GATHER else None
            axis = options.number(0, "i") if options is not None else 0
            sizes = tensors[data].numbers(0) if data >= 0 else ()
            if sizes and -len(sizes) <= axis < len(sizes) and sizes[axis] > 0:
                ranges[indices] = both_ranges(ranges.get(indices), (0, sizes[axis]))
        elif kind in _DIVIDING and len(inputs) > 1:
            ranges[inputs[1]] = both_ranges(ranges.get(inputs[1]), (1, 2))
        elif kind in _PASSING and inputs and outputs and outputs[0] in ranges:
            ranges[inputs[0]] = both_ranges(ranges.get(inputs[0]), ranges[outputs[0]])
    return ranges
