"""Measuring from Python: a space, a network or a model file, with objects instead of options."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from proxyless_hw.errors import InterruptedRunError, ProfilingError
from proxyless_hw.profilers.base import Metric, Precision, ProfilerSettings
from proxyless_hw.profilers.models.converted_models import user_cache
from proxyless_hw.profilers.profile import ProfileConfig
from proxyless_hw.profilers.profile import profile as run_profile
from proxyless_hw.profilers.protocol.timing import Progress, TimingConfig
from proxyless_hw.profilers.registry import default_precision
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.given import space_of
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.progress import phase

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def profile(
    space: SearchSpace | str | Path,
    *,
    device: str = "cpu",
    runtime: str | None = None,
    budget_s: float | None = None,
    goal: float = 0.02,
    options: Mapping[str, object] | DataclassInstance | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    threads: int = 1,
    batch_size: int = 1,
    precision: Precision | None = None,
    metric: Metric = "latency",
    cpus: Sequence[int] | None = None,
    resolutions: Sequence[int] = (),
    num_classes: int | None = None,
    missing_from: str | Path | None = None,
    only: str | Path | None = None,
    sessions: int | None = None,
    repeat: int = 1,
    correct_drift: bool = True,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    quiet: bool = False,
) -> LatencyTable:
    """Measures every op that a search space needs on a device: ``proxyless-hw profile``.

    Args:
        space: a space, or the name or path of one.
        device: ``cpu``, ``gpu``, ``mobile``, ``npu``, ``command``, or a registered kind
            (`register_profiler`).
        runtime: the device's default when None (``onnxruntime`` on a CPU).
        budget_s: seconds in all; measures until the goal is met when None.
        goal: half-width of the 95% interval at which an op is done, as a fraction.
        options: device options by name, or the profiler's own dataclass.
        output: where the table and its journal go. When None nothing is kept but the table that
            is returned: the journal lies in the user's cache folder and is removed.
        resume: goes on from an interrupted measurement in `output`.
        threads, batch_size, precision, metric: the setting, as in the table's header. The precision
            is fp32 when None, int8 on an NPU.
        cpus: processors to pin to.
        resolutions: input resolutions in pixels; the space's own when empty.
        num_classes: classes of the classifier; the space's own when None.
        missing_from: name or path of a table whose gaps are filled: its rows are kept.
        only: a file of op keys, one a line; other ops are not measured.
        sessions: times the runners are built; chosen when None.
        repeat: whole measurements; from 2 on the header says how they agree.
        correct_drift: correct each visit for the speed of the machine around it.
        seed: seeds the order of visits.
        progress: called after each round; without it progress is shown on stderr.
        quiet: shows no progress.

    Raises:
        ProfilingError: no such device, runtime or option; the output exists; a workload failed; or
            the budget was too short.
        BackendUnavailableError: the device or runtime is not there.
        SpaceError: no such space.
        InterruptedRunError: Ctrl-C.

    Example:
        >>> import proxyless_hw as ph
        >>> space = ph.SearchSpace.load("cifar-mbconv")
        >>> table = ph.profile(space, device="cpu", budget_s=60)  # doctest: +SKIP
        >>> table.save("tables/cpu.csv")  # doctest: +SKIP
    """
    if not isinstance(space, str | Path):
        space = space_of(space)
    config = ProfileConfig(
        output=Path("table.csv" if output is None else output),
        device=device,
        settings=ProfilerSettings(
            runtime=runtime,
            options={} if options is None else options,
            threads=threads,
            batch_size=batch_size,
            precision=precision or default_precision(device, runtime),
            metric=metric,
            cpus=None if cpus is None else tuple(cpus),
        ),
        space=space,
        resolutions=tuple(dict.fromkeys(resolutions)),
        num_classes=num_classes,
        timing=TimingConfig(goal=goal, budget_s=budget_s, correct_drift=correct_drift, seed=seed),
        resume=resume,
        missing_from=None if missing_from is None else str(missing_from),
        only=None if only is None else Path(only),
        sessions=sessions,
        repeat=repeat,
        started=time.perf_counter(),
    )
    if output is None and resume:
        raise ProfilingError("resume=True goes on in an output: received none. Give output=PATH.")
    named = config.loaded_space().id
    with phase(f"profiling {named} on {device}", quiet or progress is not None) as say:
        show = progress or (lambda state: say(state.text))
        if output is not None:
            return run_profile(config, show, say=say)
        with _cache_folder() as folder:
            try:
                table = run_profile(replace(config, output=folder / "table.csv"), show, say=say)
            except InterruptedRunError as cause:
                raise InterruptedRunError(
                    "interrupted; without output= no round is kept. Give output=PATH to be able "
                    "to go on with resume=True."
                ) from cause
    return replace(table, name=f"{named} on {device}")


@contextmanager
def _cache_folder() -> Iterator[Path]:
    """A folder in the user's cache that is removed at the end."""
    place = user_cache() / "profiles"
    try:
        place.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=place)
    except OSError as cause:
        raise ProfilingError(
            f"cannot write the cache folder {place}: {cause.strerror}. Set XDG_CACHE_HOME to a "
            "folder that can be written, or give output=PATH."
        ) from cause
    with folder as name:
        yield Path(name)
