"""A network small enough to train in a test, and settings for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.train.config import TrainConfig

SPACE = """
schema: proxyless-hw-space/1
id: tiny
resolution: 16
num_classes: 10
stem: {op: conv, kernel: 3, stride: 2, width: 8}
candidates:
  - {op: mbconv, kernel: 3, expand: 3}
  - {op: mbconv, kernel: 5, expand: 3}
stages:
  - {width: 8, depth: 2, stride: 1}
  - {width: 16, depth: 2, stride: 2}
head: [{op: conv, kernel: 1, width: 32}, {op: classifier}]
"""


def tiny_network(folder: Path) -> str:
    space = SearchSpace.from_yaml(SPACE)
    path = folder / "tiny.json"
    Architecture.from_choices(space, [0] * len(space.slots)).save(path)
    return str(path)


def tiny_config(folder: Path, name: str = "run", **settings: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "arch": tiny_network(folder),
        "limit": 160,
        "train_resolution": 16,
        "batch_size": 32,
        "epochs": 3,
        "lr": 0.05,
        "threads": 1,
        "output": str(folder / name),
        **settings,
    }
    return TrainConfig(**values)
