"""Checks what a search needs before its first step: space, costs and targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proxyless_hw.data.base import DataSplits
from proxyless_hw.errors import SearchError
from proxyless_hw.predictors.costs import COUNTED, CostTable, counted_costs
from proxyless_hw.predictors.expected import ExpectedLatency
from proxyless_hw.predictors.fit import Predictor, fit_predictor
from proxyless_hw.predictors.judgement import require_usable, why_too_poor
from proxyless_hw.runs.objects import GIVEN
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.derive import (
    WINDOW,
    default_target,
    feasible_target,
    geometric_mean_target,
    most_probable_within,
)
from proxyless_hw.search.limits import (
    MemoryLimit,
    PeakLimit,
    limit_to_memory,
    limit_to_peaks,
    require_precision,
    split_limits,
)
from proxyless_hw.search.objective import Constraint
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import Footprint, Precision, footprint
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.check import table_precision
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.notices import notice


@dataclass(frozen=True)
class Problem:
    """The search problem: what to choose from, for which device, within which limits.

    Attributes:
        space: the search space, without what limits of memory and peaks take out.
        table: the first constraint's table.
        predictor: its predictor.
        constraints: the first is the table's cost at `target`.
        resolution: deployment resolution in pixels.
        num_classes: deployment classes.
        precision: number format in which flash and memory count; None where it is not known.
        memory: the limit of memory; None without one.
        peaks: the limits by tables of peaks.
    """

    space: SearchSpace
    table: LatencyTable
    predictor: Predictor
    constraints: tuple[Constraint, ...]
    resolution: int
    num_classes: int
    precision: Precision | None = None
    memory: MemoryLimit | None = None
    peaks: tuple[PeakLimit, ...] = ()

    @property
    def target(self) -> float:
        """Target of the first constraint, in `unit`."""
        return self.constraints[0].target

    @property
    def unit(self) -> str:
        """Unit of the table: ms, mJ."""
        return self.table.unit

    def footprint(self, arch: Architecture) -> Footprint | None:
        """Flash and memory of a network; None where the precision is not known."""
        return None if self.precision is None else footprint(arch, self.precision)


def prepare_problem(
    config: SearchConfig, space: SearchSpace | None = None, table: LatencyTable | None = None
) -> Problem:
    """Loads space and tables and checks that every target can be reached.

    Args:
        config: the settings.
        space, table: in place of those that the settings name. A given table that is too poor to
            search with is warned of; a named one is refused.

    Raises:
        SearchError: a target outside the feasible range (the message gives it), or in another
            unit than the table; a limit of memory that no network keeps.
        MissingEntryError: the table lacks ops of the space; all are named.
        TableError: a network's cost is no sum of the table's values (memory).
        SpaceError, TableError, PredictorError: a file is malformed.
    """
    for name, value in (("space", space), ("table", table)):
        if value is None and getattr(config, name) == GIVEN:
            raise SearchError(
                f"this search was given its {name} as an object, from Python, and no file holds "
                f"it. Give it again: {name}=..."
            )
    space = SearchSpace.load(config.space) if space is None else space
    given = table
    table = LatencyTable.load(config.table) if given is None else given
    # A verified search calibrates first what is not calibrated.
    networks = not config.verify
    if given is None and not config.force:
        require_usable(table, "search", networks=networks)
    elif not config.force and (reason := why_too_poor(table, networks=networks)) is not None:
        # Who hands over a table has it in hand: a script goes on, and is told.
        notice(f"the search goes on with a poor table. {reason}")
    asked = asked_target(config.target, config.target_ms, table)
    resolution = deployment_resolution(table, space, config.resolution)
    num_classes = config.num_classes or table.num_classes or space.num_classes
    asked_precision = config.constraint_precision
    precision = table_precision(table) if asked_precision == "table" else asked_precision
    memory_limit, sums = split_limits(config.constraints)
    memory = None
    if memory_limit is not None:
        space, memory = limit_to_memory(space, memory_limit, precision, resolution, num_classes)
    space, peaks, sums = limit_to_peaks(space, sums, resolution, num_classes)
    predictor = fit_predictor(table, kind=config.predictor)
    costs = table_costs(predictor, table, space, resolution, num_classes)
    # The result has an interval: a table without intervals is refused now, not after
    # training.
    first = Architecture.from_choices(
        space, [0] * len(space.slots), resolution=resolution, num_classes=num_classes
    )
    predictor.interval(first)
    target = feasible_target(costs, _target(asked, costs))
    constraints = [Constraint(ExpectedLatency.from_costs(costs), target)]
    for name, number in sums:
        if name in COUNTED:
            kind = require_precision(precision, name) if name == "flash" else precision or "fp32"
            extra = counted_costs(name, space, resolution, num_classes, kind)
            number /= 1e6
        else:
            extra = _other_table_costs(name, config, space)
        if extra.name in {constraint.name for constraint in constraints}:
            raise SearchError(f"two constraints are named '{extra.name}'. Give each table once.")
        if number >= extra.range[1]:
            notice(
                f"every network of the space keeps {name}={number:g} {extra.unit}: the largest "
                f"costs {extra.range[1]:.4g}. The search goes on without that limit."
            )
            continue
        limit = feasible_target(extra, number)
        constraints.append(Constraint(ExpectedLatency.from_costs(extra), limit))
    if config.objective != "none":
        _check_window(constraints)
    return Problem(
        space=space,
        table=table,
        predictor=predictor,
        constraints=tuple(constraints),
        resolution=resolution,
        num_classes=num_classes,
        precision=precision,
        memory=memory,
        peaks=peaks,
    )


def _target(asked: float | None, costs: CostTable) -> float:
    """The target of the main cost.

    The geometric mean of the range is the default target, also where a script has worked it out.
    Nobody chose that figure, so where no network costs so much, the search takes the nearest cost
    below, and says so.
    """
    middle = geometric_mean_target(costs)
    if asked is not None and not math.isclose(asked, middle, rel_tol=1e-9):
        return asked
    target = default_target(costs)
    if asked is not None and target < WINDOW * asked:
        notice(
            f"no network costs between {WINDOW} T and T for T = {asked:.6g} {costs.unit}, the "
            f"middle of the range: the search takes the nearest cost below, {target:.6g}."
        )
    return target


def asked_target(
    target: float | None, target_ms: float | None, table: LatencyTable
) -> float | None:
    """The target that was asked for, in the table's unit; None when none was.

    Raises:
        SearchError: milliseconds are asked of a table that measures something else.
    """
    if target_ms is None:
        return target
    if table.unit != "ms":
        raise SearchError(
            f"--target-ms is a latency, and '{table.name}' measures {table.metric} in "
            f"{table.unit}: received {target_ms:g}. Give the target in {table.unit}: --target VALUE"
        )
    return target_ms


def deployment_resolution(table: LatencyTable, space: SearchSpace, wanted: int | None) -> int:
    """The resolution at which latency is counted: as asked, else the table's.

    Raises:
        SearchError: the table holds several and none was asked for.
    """
    if wanted is not None:
        return wanted
    held = table.resolutions
    if len(held) == 1:
        return held[0]
    if not held or space.resolution in held:
        return space.resolution
    listed = ", ".join(str(value) for value in held)
    raise SearchError(
        f"table '{table.name}' holds several resolutions ({listed}); choose one with --resolution."
    )


def table_costs(
    predictor: Predictor,
    table: LatencyTable,
    space: SearchSpace,
    resolution: int,
    num_classes: int,
) -> CostTable:
    """The cost of every choice by a table's predictor.

    Raises:
        MissingEntryError: a look-up lacks ops; all are named.
    """
    return predictor.space_costs(space, resolution=resolution, num_classes=num_classes)


def _check_window(constraints: Sequence[Constraint]) -> None:
    """Checks before any training that a network meets all targets, as the derivation would.

    Raises:
        InfeasibleTargetError: none does; the nearest costs are named.
    """
    costs = [constraint.costs for constraint in constraints]
    anything = np.zeros(costs[0].mask.shape)
    most_probable_within(anything, costs, [constraint.target for constraint in constraints])


def _other_table_costs(name: str, config: SearchConfig, space: SearchSpace) -> CostTable:
    """The costs by another table, at a shape that it holds."""
    table = LatencyTable.load(name)
    predictor = fit_predictor(table, kind=config.predictor)
    at = deployment_resolution(table, space, config.resolution)
    classes = config.num_classes or table.num_classes or space.num_classes
    return table_costs(predictor, table, space, at, classes)


def describe_constraints(constraints: Sequence[Constraint]) -> str:
    """One line for people: ``pixel1 75.0 ms (reachable 21.0 to 261)``."""
    parts = []
    for constraint in constraints:
        low, high = constraint.costs.range
        unit = constraint.costs.unit
        parts.append(
            f"{constraint.name} {constraint.target:.4g} {unit} (reachable {low:.3g} to {high:.3g})"
        )
    return ", ".join(parts)


def opening_line(config: SearchConfig, problem: Problem, data: DataSplits) -> str:
    """What is searched, on what, for what, with both shapes; and for how many epochs."""
    limits = (*(() if problem.memory is None else (problem.memory,)), *problem.peaks)
    memory = "".join(f", {limit.sentence()}" for limit in limits)
    return (
        f"searching '{problem.space.id}' on {data.name} at {data.resolution} px, "
        f"{data.num_classes} classes; {problem.table.metric} counted at {problem.resolution} px, "
        f"{problem.num_classes} classes: {describe_constraints(problem.constraints)}{memory}\n"
        f"{epochs_line(config)}"
    )


def epochs_line(config: SearchConfig) -> str:
    """The epochs in words. `--epochs` counts those after warm-up."""
    first = config.warmup_epochs or config.epochs
    epochs = "epoch" if first == 1 else "epochs"
    if config.warmup_epochs == 0:
        return f"no warm-up, {config.epochs} {epochs} of search"
    return f"{config.warmup_epochs} warm-up {epochs}, then {config.epochs} of search"
