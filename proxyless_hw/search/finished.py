"""What a finished search gives from Python: networks for other targets, and the Pareto front."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from proxyless_hw.data.base import DataSplits
from proxyless_hw.errors import SearchError
from proxyless_hw.runs.task import Task
from proxyless_hw.search.finalists import pareto_points
from proxyless_hw.search.given import SearchObjects
from proxyless_hw.search.other_targets import (
    DerivedNetwork,
    derive_for,
    load_search_data,
    open_search,
)
from proxyless_hw.search.prepare import asked_target
from proxyless_hw.search.result_rows import ParetoPoint
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.progress import phase

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ParetoFront:
    """The most probable networks within budgets.

    Attributes:
        points: one per budget, the cheapest first.
        space: id of the search space.
        name: what the costs are, as the table's name.
        unit: unit of budgets and costs.
    """

    points: tuple[ParetoPoint, ...]
    space: str
    name: str
    unit: str

    def __iter__(self) -> Iterator[ParetoPoint]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def to_pandas(self) -> DataFrame:
        """One row a budget: ``budget``, ``cost``, ``log_probability``, ``choices``."""
        import pandas as pd

        rows = [
            (point.budget, point.cost, point.derived.log_probability, point.derived.choices)
            for point in self.points
        ]
        return pd.DataFrame(rows, columns=["budget", "cost", "log_probability", "choices"])


def derive_run(
    run: str | Path,
    *,
    target_ms: float | Sequence[float] = (),
    target: float | Sequence[float] = (),
    table: LatencyTable | str | Path | None = None,
    space: SearchSpace | None = None,
    data: DataSplits | None = None,
    task: Task | None = None,
    output: str | Path | None = None,
    say: Callable[[str], None] = lambda message: None,
    quiet: bool = False,
) -> list[DerivedNetwork]:
    """Derives networks for further targets from a finished search: ``proxyless-hw derive``.

    Nothing is trained: each target is an integer program over the search's path probabilities,
    whose networks are ranked on the held-out images with the supernet's weights.

    Args:
        run: the folder of the search.
        target_ms: a latency target, or several.
        target: the same in the table's unit, as mJ.
        table: price with another table than the search's own: an object, a name or a path. Of a
            search that was given a table as an object: that one again, or another.
        space, data, task: what the search was given as objects, again.
        output: takes a folder for each network; nothing is written when None.
        say: told of each network, a line at a time.
        quiet: shows no progress.

    Returns:
        One network per target, those in ms first.

    Raises:
        SearchError: no finished search, no target, a target out of range or an empty window; an
            object of the search is missing or another.
        MissingEntryError: the other table lacks ops of the space.
        DataError: the data cannot be read.
        TaskError: loss or metric of the user's does not give what it has to.

    Example:
        >>> import proxyless_hw as ph
        >>> fast, slow = ph.derive_run("runs/x", target_ms=[6, 9])  # doctest: +SKIP
        >>> fast.predicted, fast.network  # doctest: +SKIP
    """
    in_ms, in_unit_of_table = _listed(target_ms), _listed(target)
    if not (in_ms or in_unit_of_table):
        raise SearchError("name a target: target_ms=..., or target=... in the table's unit.")
    given = SearchObjects(space=space, data=data, task=task)
    with phase("reading the search and its data", quiet):
        searched = open_search(run, table, given)
        priced_by, unit = searched.problem.table, searched.problem.unit
        asked = [asked_target(None, value, priced_by) for value in in_ms]
        wanted = [value for value in (*asked, *in_unit_of_table) if value is not None]
        images = load_search_data(searched)
    networks = []
    for value in wanted:
        begun = time.perf_counter()
        with phase(f"deriving for {value:g} {unit}", quiet):
            derived = derive_for(searched, value, images)
        if output is not None:
            name = f"{searched.problem.constraints[0].name}-{value:g}{unit}"
            derived = derived.save(Path(output) / name)
        networks.append(replace(derived, seconds=round(time.perf_counter() - begun, 2)))
        say(derived.sentence())
    return networks


def pareto(
    run: str | Path,
    *,
    points: int = 50,
    table: LatencyTable | str | Path | None = None,
    space: SearchSpace | None = None,
    quiet: bool = False,
) -> ParetoFront:
    """The most probable network within each of many budgets: ``proxyless-hw pareto``.

    Args:
        run: the folder of a finished search.
        points: budgets, evenly spread over the feasible range.
        table: as for `derive_run`.
        space: what the search was given as an object, again.
        quiet: shows no progress.

    Raises:
        SearchError: no finished search, fewer than 2 points, or an object of the search is missing
            or another.
        MissingEntryError: the other table lacks ops of the space.

    Example:
        >>> import proxyless_hw as ph
        >>> front = ph.pareto("runs/x", points=20)  # doctest: +SKIP
        >>> front.to_pandas().plot("cost", "log_probability")  # doctest: +SKIP
    """
    if not 2 <= points <= 1000:
        raise SearchError(f"a front has 2 to 1000 points: received {points}.")
    with phase(f"deriving at {points} budgets", quiet):
        searched = open_search(run, table, SearchObjects(space=space), needs=("space",))
        costs = searched.problem.constraints[0].costs
        found = pareto_points(searched.supernet, costs, points)
    return ParetoFront(found, searched.problem.space.id, costs.name, costs.unit)


def _listed(values: float | Sequence[float]) -> list[float]:
    return [float(values)] if isinstance(values, int | float) else list(values)
