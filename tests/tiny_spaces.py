"""The tiny spaces of the tests, as YAML: small enough to measure, search and enumerate."""

from __future__ import annotations

from typing import Final

TO_PROFILE: Final = """
schema: proxyless-hw-space/1
id: tiny
resolution: 32
num_classes: 10
stem: {op: conv, kernel: 3, stride: 2, width: 8}
candidates:
  - {op: mbconv, kernel: 3, expand: 3}
  - {op: mbconv, kernel: 5, expand: 6}
zero: true
stages:
  - {width: 16, depth: 3, stride: 2}
head: [{op: conv, width: 32}, {op: classifier}]
"""

TO_SEARCH: Final = """
schema: proxyless-hw-space/1
id: tiny
resolution: 32
num_classes: 10
stem: {op: conv, kernel: 3, stride: 2, width: 8, act: relu6}
candidates:
  - {op: mbconv, kernel: 3, expand: 2, act: relu6}
  - {op: mbconv, kernel: 5, expand: 3, act: relu6}
zero: true
stages:
  - {width: 8, depth: 1, stride: 1}
  - {width: 16, depth: 1, stride: 2}
  - {width: 16, depth: 1, stride: 1}
head:
  - {op: classifier}
"""

MADE_UP_HEADER: Final = {
    "metric": "latency",
    "unit": "ms",
    "device": "made up",
    "device_kind": "cpu",
    "runtime": "onnxruntime",
    "threads": "1",
    "batch_size": "1",
    "precision": "fp32",
    "statistic": "median",
    "num_classes": "10",
}
"""Of a table whose figures are made up, not measured."""
