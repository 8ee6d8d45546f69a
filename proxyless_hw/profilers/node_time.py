"""The time of one node of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node of a model as its runtime ran it.

    Attributes:
        name: the node's name after optimisation.
        op_type: its type, as ``Conv``.
        ms: its time in one run of the model.
        share: of the sum over the nodes of the model's own graph, a fraction.
        inside: name of what it is part of (the node If, Loop or Scan whose body it is in; another
            graph of the file): its time is contained there. None in the model's own graph.
        statistic: what `ms` is over the profiled runs.
    """

    name: str
    op_type: str
    ms: float
    share: float
    inside: str | None = None
    statistic: Literal["median", "mean"] = "median"

    def to_json(self) -> dict[str, Any]:
        """The fields; `ms` is called ``median_ms`` or ``mean_ms``."""
        return {
            "name": self.name,
            "op_type": self.op_type,
            f"{self.statistic}_ms": self.ms,
            "share": self.share,
            "inside": self.inside,
        }
