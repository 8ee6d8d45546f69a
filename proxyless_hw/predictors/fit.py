"""Stop-gap until the real one lands: exact look-up only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class SpaceCosts:
    fixed_ms: float
    slot_ms: np.ndarray
    mask: np.ndarray


class Predictor:
    def __init__(self, table):
        self.table = table

    def op_ms(self, ops):
        self.table.require(ops)
        return np.array([self.table.entries[op].value for op in ops])

    def predict_ms(self, arch):
        return self.table.latency_ms(arch)

    def interval_ms(self, arch, coverage=0.9):
        v = self.predict_ms(arch)
        return v * 0.98, v * 1.02

    def space_costs(self, space, resolution=None, num_classes=None):
        self.table.require(space.ops(resolution, num_classes))
        mask = np.zeros((len(space.slots), space.max_candidates), bool)
        ms = np.zeros(mask.shape)
        for r, ops in enumerate(space.slot_ops(resolution)):
            mask[r, : len(ops)] = True
            ms[r, : len(ops)] = [0 if op is None else self.table.entries[op].value for op in ops]
        return SpaceCosts(self.table.total(space.fixed_ops(resolution, num_classes)), ms, mask)


def fit_predictor(table, kind="auto"):
    return Predictor(table)
