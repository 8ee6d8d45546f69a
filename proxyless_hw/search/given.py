"""Objects that a search is given from Python where its settings want names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from proxyless_hw.data.base import DataSplits
from proxyless_hw.errors import SearchError
from proxyless_hw.network.network import Network
from proxyless_hw.runs.given import RunObjects
from proxyless_hw.runs.objects import (
    GIVEN,
    choose_object,
    defaults,
    refuse_unused,
    tensors_hash,
    text_hash,
    with_data,
)
from proxyless_hw.runs.task import Task, name_of
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.objective import ObjectiveFunction, RewardFunction
from proxyless_hw.search.state import space_fingerprint
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.tables.csv_format import format_csv
from proxyless_hw.tables.table import LatencyTable


@dataclass(frozen=True, kw_only=True)
class SearchObjects(RunObjects[DataSplits]):
    """What `run_search` was given beside its settings; None where it was not.

    Attributes:
        space: the search space.
        table: the latency table.
        objective: how costs enter the loss.
        reward: REINFORCE's reward.
        weights: the network whose weights it starts from.
    """

    kinds: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "space": (SearchSpace,),
        "table": (LatencyTable,),
        "data": (DataSplits,),
        "task": (Task,),
        "weights": (Network,),
    }

    space: SearchSpace | None = None
    table: LatencyTable | None = None
    objective: ObjectiveFunction | None = None
    reward: RewardFunction | None = None
    weights: Network | None = None

    def settle(self, config: SearchConfig, target_ms: float | None) -> SearchConfig:
        """The settings that hold with these objects.

        Raises:
            SearchError: something is given twice and differs, or does not go together.
        """
        if target_ms is not None:
            if config.target is not None or config.target_ms not in (None, target_ms):
                asked = config.target_ms if config.target is None else config.target
                raise SearchError(
                    f"the target is given twice: {asked:g} in the settings and target_ms="
                    f"{target_ms:g}. Leave one of the two out."
                )
            config = replace(config, target_ms=target_ms)
        default = defaults(config)
        if self.space is not None:
            same = None
            if config.space not in (default["space"], GIVEN):
                named = SearchSpace.load(config.space)
                same = space_fingerprint(named) == space_fingerprint(self.space)
            config = choose_object(config, "space", same)
        if self.table is not None:
            same = None
            if config.table not in (default["table"], GIVEN):
                same = _table_hash(LatencyTable.load(config.table)) == _table_hash(self.table)
            config = choose_object(config, "table", same)
        if self.weights is not None:
            same = None if config.weights in (None, GIVEN) else False
            config = choose_object(config, "weights", same)
        if self.data is not None:
            if not len(self.data.holdout):
                raise SearchError(
                    "a search needs held-out images, which move alpha: the data given have none. "
                    "DataSplits.from_datasets(..., holdout=DATASET) or a share, holdout=0.3."
                )
            config = with_data(config, self.data)
        refuse_unused(config, self.task_or_default, ["label_smoothing"])
        return self._with_functions(config, default)

    def _with_functions(self, config: SearchConfig, default: dict[str, object]) -> SearchConfig:
        for name in ("objective", "reward"):
            if getattr(self, name) is None:
                continue
            if getattr(config, name) != default[name]:
                raise SearchError(
                    f"{name} is given twice: '{getattr(config, name)}' in the settings, and a "
                    "function. Leave one of the two out."
                )
        if self.reward is not None and config.algorithm != "reinforce":
            raise SearchError(
                f"a reward is for REINFORCE: received algorithm '{config.algorithm}'. Set "
                "algorithm='reinforce', or give objective=... instead."
            )
        if self.objective is not None and config.algorithm == "reinforce":
            raise SearchError(
                "REINFORCE takes a reward, and no objective: received an objective. Give "
                "reward=... instead, or another algorithm."
            )
        return config

    def facts(self) -> dict[str, JsonObject]:
        found: dict[str, JsonObject] = {}
        if self.space is not None:
            found["space"] = {"id": self.space.id, "hash": space_fingerprint(self.space)}
        if self.table is not None:
            found["table"] = {
                "device": self.table.metadata.get("device", ""),
                "entries": len(self.table),
                "hash": _table_hash(self.table),
            }
        found |= super().facts()
        if self.weights is not None:
            state = self.weights.state_dict()
            found["weights"] = {"tensors": len(state), "hash": tensors_hash(state)}
        for name in ("objective", "reward"):
            function = getattr(self, name)
            if function is not None:
                found[name] = {"name": name_of(function)}
        return found


def _table_hash(table: LatencyTable) -> str:
    return text_hash(format_csv(table))
