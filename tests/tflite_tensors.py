"""The tensors of a .tflite file that are alive at once, from its graph: what an arena must hold."""

from __future__ import annotations

import numpy as np

from proxyless_hw.export.runtimes import open_interpreter


def peak_of_tensors(model: bytes, *, padded_copies: bool = True) -> int:
    """Most bytes of activations that are alive at once, ops running in the file's order.

    Args:
        model: a serialised model.
        padded_copies: whether the output of a PAD is a tensor of its own, as in TFLite Micro. A
            runtime that pads while it reads has none.
    """
    interpreter = open_interpreter(model)
    ops = [op for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
    details = interpreter.get_tensor_details()
    sizes = {
        int(item["index"]): int(np.prod(item["shape"])) * np.dtype(item["dtype"]).itemsize
        for item in details
    }
    made = {int(item["index"]): 0 for item in interpreter.get_input_details()}
    same: dict[int, int] = {}
    read = {int(item["index"]): len(ops) for item in interpreter.get_output_details()}
    for step, op in enumerate(ops):
        inputs, outputs = ([int(index) for index in op[side]] for side in ("inputs", "outputs"))
        if op["op_name"] == "PAD" and not padded_copies:
            same[outputs[0]] = same.get(inputs[0], inputs[0])
        for index in inputs:
            read[same.get(index, index)] = step
        made |= {index: step for index in outputs if index not in same}
    return max(
        sum(sizes[index] for index, first in made.items() if first <= step <= read[index])
        for step in range(len(ops))
    )
