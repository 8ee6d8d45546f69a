"""Several deployment resolutions compete: one search at each, the best network wins.

Each resolution has its own expectation and its own integer program, since a network costs something
else at each. Training images shrink in proportion: the largest deployment resolution trains at the
resolution asked for, a smaller one at as much less. The network with the best held-out accuracy
wins. Its files are copied into the folder of the whole, which then reads like the folder of one
search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from proxyless_hw.errors import InfeasibleTargetError, SearchError
from proxyless_hw.runs.folder import default_folder
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.context import data_config
from proxyless_hw.search.driver import ObserverFactory, run_search
from proxyless_hw.search.prepare import asked_target, prepare_problem
from proxyless_hw.search.result import SearchResult, read_result
from proxyless_hw.search.result_rows import ResolutionResult
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.files import copy_atomically
from proxyless_hw.storage.locks import exclusive_lock
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.torchrun import launched_world_size

MIN_TRAINING_PIXELS = 8
"""Smallest training resolution that data sets accept."""


def search_resolutions(
    config: SearchConfig,
    resolutions: Sequence[int] = (),
    observer_factory: ObserverFactory | None = None,
) -> SearchResult:
    """Searches at every resolution and keeps the best network: ``search --all-resolutions``.

    Space, table and data are named in the settings: data that are given as an object have one
    resolution.

    Args:
        config: settings of each search; `resolution` is replaced.
        resolutions: deployment resolutions in pixels; when empty those that the table holds, of
            the ones the space lists.
        observer_factory: as for `run_search`.

    Returns:
        The winner, in the folder of the whole; ``result.json`` lists every resolution under
        ``resolutions``, those the target cannot be reached at with the reason.

    Raises:
        SearchError: the target can be reached at none of them, or as `run_search`.
        MissingEntryError: the table lacks ops at one of them.

    Example:
        >>> import proxyless_hw as ph
        >>> config = ph.SearchConfig(table="tables/cpu.csv", target_ms=8)
        >>> result = ph.search_resolutions(config, [160, 192, 224])  # doctest: +SKIP
        >>> result.architecture.resolution  # doctest: +SKIP
    """
    if launched_world_size() != 1:
        raise SearchError(
            "a choice among resolutions runs in one process. With torchrun, search each resolution "
            "on its own (one --resolution) and compare the reports."
        )
    table = LatencyTable.load(config.table)
    declared = SearchSpace.load(config.space).resolutions
    held = [size for size in table.resolutions if len(declared) == 1 or size in declared]
    chosen = sorted(set(resolutions or held))
    if not chosen:
        raise SearchError(
            f"table '{table.name}' holds none of the resolutions of space '{config.space}' (it "
            f"holds {', '.join(map(str, table.resolutions)) or 'no first layer'}). Profile them, "
            "or name resolutions with --resolution."
        )
    target = asked_target(config.target, config.target_ms, table)
    if target is None:
        raise SearchError(
            "several resolutions compete for one target: give it with --target-ms, or --target in "
            "the table's unit (by default a target is the middle of what one resolution can reach)."
        )
    name = "-".join((Path(table.name).stem, f"{target:.4g}{table.unit}", "resolutions"))
    folder = SearchFolder(default_folder(name) if config.output is None else Path(config.output))
    if folder.is_started() and not config.resume:
        raise SearchError(
            f"{folder.path} already holds a run. Go on with it: add --resume; or choose another "
            "--output."
        )
    with exclusive_lock(
        folder.path / ".resolutions.lock", SearchError, f"run folder {folder.path}"
    ):
        if config.resume and folder.result.exists():
            return read_result(folder.path)
        rows: list[ResolutionResult] = []
        results: list[SearchResult] = []
        for resolution in chosen:
            at = _config_at(config, resolution, chosen[-1], folder.path)
            row = ResolutionResult(resolution=resolution, train_resolution=at.train_resolution)
            try:
                prepare_problem(at)
            except InfeasibleTargetError as error:
                rows.append(replace(row, infeasible=str(error)))
                continue
            result = run_search(at, observer_factory)
            assert result is not None, "this process is the only one"
            rows.append(_with_result(row, result))
            results.append(result)
        if not results:
            reasons = " ".join(str(row.infeasible) for row in rows)
            raise SearchError(f"the target can be reached at no resolution. {reasons}")
        return _keep(_best(results), folder, rows)


def _with_result(row: ResolutionResult, result: SearchResult) -> ResolutionResult:
    return replace(
        row,
        predicted=result.predicted,
        measured=result.measured,
        supernet_accuracy=result.supernet_accuracy,
        accuracy=result.accuracy,
        run=result.folder.name,
        unit=result.unit,
    )


def _config_at(config: SearchConfig, resolution: int, largest: int, folder: Path) -> SearchConfig:
    """The settings of the search at one resolution. A search that has begun is resumed."""
    pixels = data_config(config).train_resolution
    output = folder / f"r{resolution}"
    return replace(
        config,
        resolution=resolution,
        train_resolution=max(MIN_TRAINING_PIXELS, round(pixels * resolution / largest)),
        output=str(output),
        resume=SearchFolder(output).is_started(),
    )


def _best(results: Sequence[SearchResult]) -> SearchResult:
    """The best by held-out accuracy; a result that missed its target wins only if all did."""
    agreeing = [result for result in results if result.verdict != "missed"]
    return max(agreeing or results, key=lambda result: result.supernet_accuracy or 0.0)


def _keep(
    winner: SearchResult, folder: SearchFolder, rows: Sequence[ResolutionResult]
) -> SearchResult:
    """Copies the winner's files into the folder of the whole; result.json comes last."""
    source = SearchFolder(winner.folder)
    for file in (source.config, source.metrics, source.checkpoint, source.network):
        copy_atomically(file, folder.path / file.name, SearchError)
    winner.architecture.save(folder.architecture)
    folder.write_json(folder.result, replace(winner, resolutions=tuple(rows)).to_json())
    return read_result(folder.path)
