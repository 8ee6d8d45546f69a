"""Fixed random inputs of models, by type and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.model_inputs import ModelInput, Shape, shape_text

INPUT_SEED: Final = 0
FLOATS: Final = ("float32", "float16", "float64")
INTEGERS: Final = (
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    "bool",
)
DTYPES: Final = (*FLOATS, *INTEGERS)
MOST_BYTES: Final = 2**33


def random_arrays(
    inputs: Sequence[ModelInput], shapes: Mapping[str, Shape], source: str
) -> dict[str, NDArray[Any]]:
    """One array per input.

    Args:
        inputs: types and ranges.
        shapes: shape of every input.
        source: what the inputs are for, in messages.

    Raises:
        ProfilingError: an input has a type other than `DTYPES`, or is larger than the memory.
    """
    generator = np.random.default_rng(INPUT_SEED)
    try:
        return {item.name: _array(item, shapes[item.name], generator, source) for item in inputs}
    except MemoryError as cause:
        raise ProfilingError(
            f"the inputs of {source} do not fit into memory: {shape_text(shapes)}."
        ) from cause


def _array(item: ModelInput, shape: Shape, generator: Any, source: str) -> NDArray[Any]:
    if item.dtype not in DTYPES:
        raise ProfilingError(
            f"{source} has the input '{item.name}' of type {item.dtype}, for which no values can "
            "be made. Floats, integers and booleans can: bring the part of the model behind it."
        )
    kind = np.dtype(item.dtype)
    size = kind.itemsize
    for length in shape:
        size *= length
    if size > MOST_BYTES:
        raise ProfilingError(
            f"input '{item.name}' of {source} would take {size / 2**30:.0f} GiB at "
            f"{shape_text({item.name: shape})}; at most {MOST_BYTES >> 30} GiB are made."
        )
    if item.dtype in FLOATS:
        values = generator.standard_normal(shape, dtype=np.float32)
        return np.asarray(values, dtype=kind)
    low, high = _range(item, kind)
    return np.asarray(generator.integers(low, high, shape, dtype=kind))


def _range(item: ModelInput, kind: np.dtype[Any]) -> tuple[int, int]:
    """[low, high) of an integer input."""
    if kind == np.bool_:
        return 0, 2
    limits = np.iinfo(kind)
    low = int(limits.min) if item.low is None else item.low
    high = int(limits.max) + 1 if item.high is None else item.high
    return max(low, int(limits.min)), min(high, int(limits.max) + 1)


CALIBRATION_SEED: Final = 0


def calibration_inputs(shape: Sequence[int]) -> NDArray[np.float32]:
    """Random inputs that set the ranges of an int8 model. Their values do not change its time.

    Returns:
        Array of shape (4, *shape).
    """
    generator = np.random.default_rng(CALIBRATION_SEED)
    return generator.standard_normal((4, *shape), dtype=np.float32)
