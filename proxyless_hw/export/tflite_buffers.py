"""Weights of a TFLite file inside its flatbuffer, where every runtime finds them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

IDENTIFIER: Final = b"TFL3"
"""Of TFLite's flatbuffers (``schema.fbs``, version 3)."""


def with_inline_buffers(model: bytes) -> bytes:
    """The model with every buffer inside the flatbuffer.

    The quantizer appends buffers behind the flatbuffer and refers to them by offset, a form meant
    for models above 2 GiB. TFLite Micro does not read it: it takes such weights for empty tensors,
    reserves memory for them, and computes other outputs.

    Args:
        model: a serialised model below 2 GiB; returned as it is where nothing stands outside.
    """
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    held: Any = schema.ModelT.InitFromPackedBuf(model, 0)
    outside = [buffer for buffer in held.buffers if buffer.offset > 1]
    if not outside:
        return model
    for buffer in outside:
        content = model[buffer.offset : buffer.offset + buffer.size]
        buffer.data = np.frombuffer(content, np.uint8)
        buffer.offset = buffer.size = 0
    builder = flatbuffers.Builder(len(model))
    builder.Finish(held.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
