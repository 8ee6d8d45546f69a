"""A text file of op keys, one a line: which ops to measure, where a space would name too many."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.space.op_registry import is_known_op
from proxyless_hw.space.specs import OpSpec

MAX_BYTES: Final = 16 * 2**20


def read_op_list(path: Path) -> list[OpSpec]:
    """Reads distinct ops in order; empty lines and lines that start with ``#`` are comments.

    Raises:
        ProfilingError: the file cannot be read, a line is no op key or names an op that is not
            known (file and line named), or there is no op in it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ProfilingError(f"{path}: a list of ops may have at most {MAX_BYTES >> 20} MiB.")
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as cause:
        raise ProfilingError(f"cannot read {path}: {cause.strerror or cause}.") from cause
    except UnicodeDecodeError as cause:
        raise ProfilingError(f"{path} is not UTF-8 text (byte {cause.start}).") from cause
    ops: dict[OpSpec, None] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            ops[_op(text, f"{path}, line {number}")] = None
    if not ops:
        raise ProfilingError(f"{path} names no op. Write one: proxyless-hw table probes --output")
    return list(ops)


def _op(text: str, where: str) -> OpSpec:
    try:
        op = OpSpec.from_key(text)
    except ValueError as cause:
        raise ProfilingError(f"{where}: {cause}. One op key a line is expected.") from cause
    if not is_known_op(op.op):
        raise ProfilingError(f"{where}: no op '{op.op[:60]}' is built in or registered.")
    return op
