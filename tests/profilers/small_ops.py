"""Small ops and a small space that several test modules use."""

from __future__ import annotations

from proxyless_hw.profilers.base import Workload
from proxyless_hw.space.specs import OpSpec

SMALL_OPS = (
    OpSpec("conv", 16, 16, 3, 8, 8, 8, kernel=3, stride=2, act="relu6"),
    OpSpec("mbconv", 8, 8, 8, 8, 8, 8, kernel=3, expand=3, skip=True, act="relu6"),
    OpSpec("classifier", 8, 8, 8, 1, 1, 10),
)

LARGE_OP = OpSpec("mbconv", 64, 64, 24, 64, 64, 24, kernel=5, expand=6, skip=True, act="relu6")
"""Takes far longer than any of the small ones, on any machine."""

TINY_SPACE = """\
schema: proxyless-hw-space/1
id: tiny
resolution: 16
num_classes: 10
stem: {op: conv, kernel: 3, stride: 2, width: 8}
candidates:
  - {op: mbconv, kernel: 3, expand: 3}
  - {op: mbconv, kernel: 5, expand: 3}
zero: true
stages:
  - {width: 8, depth: 1, stride: 1}
head:
  - {op: classifier}
"""


def small_workloads() -> list[Workload]:
    """Three ops that take microseconds."""
    return [Workload(op.key, op=op) for op in SMALL_OPS]
