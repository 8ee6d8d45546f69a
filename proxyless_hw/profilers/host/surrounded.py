"""A session of runtimes that lay maps out in their own way: an op is called with surroundings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from proxyless_hw.profilers.base import Visit
from proxyless_hw.profilers.host.conditioning import Conditioning
from proxyless_hw.profilers.host.session import HostSession, Runner, VisitSize

LEAST_SHARE: Final = 0.05
"""What is left of a sample at least when its surroundings are taken off."""

IDLE_VISIT: Final = VisitSize(calls=1, warm_up=2, samples=4)


class SurroundedSession(HostSession):
    """Times ops between convolutions and takes off what these cost (see `models.surroundings`).

    A visit of an op is followed by a visit of its surroundings alone. Their median is taken off
    each sample of the op, but for the cost of a call, which every value of a session holds.

    Args:
        runners: what can be visited: ops with what surrounds them, networks and files.
        around: by a runner's number, its surroundings alone; runners that are absent have none.
        idle: runs the runtime on a model that does nothing.
        conditioning, worked, resources: as for `HostSession`.
    """

    def __init__(
        self,
        runners: Sequence[Runner],
        around: Mapping[int, Runner],
        idle: Runner,
        *,
        conditioning: Conditioning | None = None,
        worked: Callable[[], float] | None = None,
        resources: ExitStack | None = None,
    ) -> None:
        distinct = list({id(runner): runner for runner in around.values()}.values())
        super().__init__(
            [*runners, *distinct, idle],
            conditioning=conditioning,
            worked=worked,
            resources=resources,
        )
        first = len(runners)
        numbers = {id(runner): first + place for place, runner in enumerate(distinct)}
        self._around = {index: numbers[id(runner)] for index, runner in around.items()}
        self._idle = len(self.runners) - 1
        if conditioning is not None:
            self.sizes[self._idle] = IDLE_VISIT
        self._idle_cost = 0.0

    def visit(self, order: Sequence[int]) -> list[Visit]:
        """Visits runners in order; the cost of a call is measured first where it is needed."""
        if any(index in self._around for index in order):
            self._idle_cost = super().visit([self._idle])[0].value
        return super().visit(order)

    def _visit(self, index: int) -> Visit:
        visit = super()._visit(index)
        around = self._around.get(index)
        if around is None:
            return visit
        alone = super()._visit(around)
        taken = max(0.0, alone.value - self._idle_cost)
        return without(visit, taken, disturbed=alone.preempted)


def without(visit: Visit, taken: float, *, disturbed: bool = False) -> Visit:
    """A visit with a cost taken off each of its samples.

    Args:
        visit: the visit.
        taken: the cost, per call. Where a sample is hardly larger, `LEAST_SHARE` of the smallest
            one is left.
        disturbed: whether the processor was taken away while the cost was measured.
    """
    taken = min(taken, (1 - LEAST_SHARE) * visit.min)
    return replace(
        visit,
        value=visit.value - taken,
        min=visit.min - taken,
        p90=visit.p90 - taken,
        samples=tuple(sample - taken for sample in visit.samples),
        preempted=visit.preempted or disturbed,
    )
