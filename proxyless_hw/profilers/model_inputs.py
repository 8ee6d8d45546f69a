"""The shapes that a model file is run with: its own, and what the user says where it is open.

The one function that decides is `shape_filling.fill_shapes`. Runners build their inputs from what
it returns and commands print the same: a result cannot state another setting than the one that ran.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxyless_hw.errors import ProfilingError

Shape = tuple[int, ...]
Size = int | str

ANONYMOUS: Final = "?"
"""An open size that the file gives no name."""
MAX_SIZE: Final = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class FileShape:
    """What the user says about the shape that a file runs with. Nothing here is a default.

    Attributes:
        batch: images per call; None where nothing was said.
        resolution: height and width of the image inputs.
        input_shapes: whole shapes by input name; the name "" means the only input.
        signature: which signature of a TFLite file is run.
    """

    batch: int | None = None
    resolution: int | None = None
    input_shapes: Mapping[str, Shape] = field(default_factory=dict, hash=False)
    signature: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """One input as its file declares it.

    Attributes:
        name: the runtime's name for it.
        sizes: a number where the file fixes a size, else the open size's name; None where the file
            does not even say how many axes there are.
        dtype: numpy's name of its type, or the format's own where numpy has none.
        low, high: integers are drawn from [low, high); None means the type's whole range.
        aliases: other names that a user may know it by.
        stored: the shape that a runtime takes without a resize; None if the file has no shape.
    """

    name: str
    sizes: tuple[Size, ...] | None
    dtype: str
    low: int | None = None
    high: int | None = None
    aliases: tuple[str, ...] = ()
    stored: Shape | None = None


@dataclass(frozen=True, kw_only=True)
class Filled:
    """The shapes that a file runs with.

    Attributes:
        shapes: shape of every input, in the file's order.
        batch: images per call; None where the inputs do not agree on one, or have none.
        resolution: side of the one image input, where it is square.
    """

    shapes: Mapping[str, Shape]
    batch: int | None
    resolution: int | None


def integer_range(
    dtype: str, bounds: tuple[int, int] | None, *, quantised: bool = False
) -> tuple[int | None, int | None]:
    """[low, high) that an input's integers are drawn from; (None, None) for the whole type.

    Pixels and quantised maps take their type's whole range. Other integers are tokens, masks,
    positions or sizes: within the table they index where that is known, else 0 and 1.
    """
    if bounds is None and re.fullmatch(r"u?int(16|32|64)", dtype) and not quantised:
        bounds = (0, 2)
    return bounds or (None, None)


def both_ranges(first: tuple[int, int] | None, second: tuple[int, int]) -> tuple[int, int]:
    """What lies in both ranges; 1, which no division refuses, where they have nothing in common."""
    if first is None:
        return second
    low, high = max(first[0], second[0]), min(first[1], second[1])
    return (low, high) if low < high else (1, 2)


def parse_input_shape(text: str) -> tuple[str, Shape]:
    """Reads ``NAME:1,3,224,224`` (or ``1x3x224x224``); without a name, that of the only input.

    Names may hold colons themselves: the last one counts.

    Raises:
        ProfilingError: the text has another form, or a size below 1.
    """
    name, _, sizes = text.rpartition(":")
    parts = [part.strip() for part in re.split(r"[,x]", sizes)] if sizes.strip() else []
    if not all(re.fullmatch(r"[0-9]{1,10}", part) for part in parts) or (not parts and not name):
        raise ProfilingError(
            f"--input-shape reads NAME:1,3,224,224: received {text[:120]!r}. Every size is a whole "
            "number."
        )
    shape = tuple(int(part) for part in parts)
    if any(not 1 <= size <= MAX_SIZE for size in shape):
        raise ProfilingError(
            f"--input-shape needs sizes from 1 to {MAX_SIZE}: received {text[:120]!r}."
        )
    return name, shape


def parse_input_shapes(texts: Sequence[str]) -> dict[str, Shape]:
    """Reads every --input-shape of a command.

    Raises:
        ProfilingError: a text has another form, or an input is given twice.
    """
    shapes: dict[str, Shape] = {}
    for text in texts:
        name, shape = parse_input_shape(text)
        if name in shapes:
            raise ProfilingError(
                f"--input-shape gives {f'input {name!r}' if name else 'the only input'} twice. "
                "Give each input once."
            )
        shapes[name] = shape
    return shapes


def shape_text(shapes: Mapping[str, Shape]) -> str:
    """The shapes in words: ``1x3x224x224``, or ``a:1x3x8x8, b:1x4`` where there are several."""
    texts = ["x".join(map(str, shape)) or "scalar" for shape in shapes.values()]
    if len(texts) == 1:
        return texts[0]
    return ", ".join(f"{name}:{text}" for name, text in zip(shapes, texts, strict=True))


def declared_text(item: ModelInput) -> str:
    """An input as the file declares it: ``x: batch x 3 x height x width``."""
    if item.sizes is None:
        return f"{item.name}: unknown"
    return f"{item.name}: {' x '.join(map(str, item.sizes)) or 'scalar'}"
