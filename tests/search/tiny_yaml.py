"""The tiny space of these tests: three slots, small enough to enumerate."""

from tiny_spaces import TO_SEARCH

TINY_YAML = TO_SEARCH

# A space with many networks near any cost, so that every window has several.
MANY_YAML = """
schema: proxyless-hw-space/1
id: many
resolution: 32
num_classes: 10
stem: {op: conv, kernel: 3, stride: 2, width: 8, act: relu6}
candidates:
  - {op: mbconv, kernel: 3, expand: 2, act: relu6}
  - {op: mbconv, kernel: 5, expand: 3, act: relu6}
zero: true
stages:
  - {width: 8, depth: 3, stride: 1}
  - {width: 16, depth: 3, stride: 2}
head:
  - {op: classifier}
"""
