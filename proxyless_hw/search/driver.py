"""`run_search`: prepare, train the supernet, derive, write the run folder, verify if asked."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from proxyless_hw.data.base import DataConfig, DataSplits
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import SearchError
from proxyless_hw.predictors.verdict import verdict_from
from proxyless_hw.runs.distributed import World
from proxyless_hw.runs.folder import default_folder
from proxyless_hw.runs.interrupt import stop_on_signals
from proxyless_hw.runs.lifecycle import held, joined
from proxyless_hw.runs.loop import RunPlace, full_batches
from proxyless_hw.runs.torch_device import choose_device
from proxyless_hw.search.config import SearchConfig, with_output
from proxyless_hw.search.derived import accuracy
from proxyless_hw.search.finish import (
    constraint_report,
    derive_finalists,
    pareto_points,
    rank,
    slot_margins,
)
from proxyless_hw.search.loop import SearchLoop
from proxyless_hw.search.objective import Constraint, Penalty, expectations_of
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.search.prepare import Problem, opening_line, prepare_problem
from proxyless_hw.search.result import (
    SearchResult,
    config_document,
    parse_architecture,
    placeholder,
    provenance_of,
    read_result,
)
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.search.schedule import alpha_lr, alpha_updates
from proxyless_hw.search.state import SearchState, new_state, read_checkpoint, restore
from proxyless_hw.search.steps import Context
from proxyless_hw.storage.tensor_files import save_tensors
from proxyless_hw.terminal.torchrun import launched_rank, launched_world_size
from proxyless_hw.units import in_unit

ObserverFactory = Callable[[Sequence[Constraint]], SearchObserver]


def run_search(
    config: SearchConfig, observer_factory: ObserverFactory | None = None
) -> SearchResult:
    """Runs one search from a configuration to a derived network.

    Args:
        config: all settings.
        observer_factory: makes the observer from the constraints; None reports nothing.

    Returns:
        The result; its files lie in the run folder.

    Raises:
        SearchError: a target out of range, an existing output, an empty window, a NaN loss, a
            metric to verify that cannot be measured here.
        MissingEntryError: the table lacks ops of the space.
        InterruptedRunError: Ctrl-C or SIGTERM; the state is saved.
    """
    make = observer_factory or (lambda constraints: SearchObserver())
    problem = prepare_problem(config)
    folder = _folder(config, problem)
    config = with_output(config, folder.path)
    if launched_rank() > 0:
        if _is_done(config, folder):  # the first process has nothing to do either
            return SearchResult(folder.path, placeholder(problem), {}, None)
        return _search(config, problem, folder, SearchObserver(), lambda: None)
    with held(folder) as check_held:
        folder.check_may_run(config.to_dict(), config.resume)
        if _is_done(config, folder):
            return read_result(folder.path)
        if config.verify:
            from proxyless_hw.search.measurable import check_metric_is_measurable

            check_metric_is_measurable(problem.table)
            problem = _calibrated(config, problem, make)
        with make(problem.constraints) as observer, _events(config, observer) as told:
            return _search(config, problem, folder, told, check_held)


def _calibrated(config: SearchConfig, problem: Problem, make: ObserverFactory) -> Problem:
    """The problem with the table calibrated for whole networks, where that is not done yet.

    Several processes prepared the same problem each, so none of them calibrates.
    """
    from proxyless_hw.search.verify import calibrate_first

    if launched_world_size() > 1:
        return problem
    with make(problem.constraints) as observer:
        return prepare_problem(config) if calibrate_first(config, observer) else problem


@contextlib.contextmanager
def _events(config: SearchConfig, observer: SearchObserver) -> Iterator[SearchObserver]:
    """The observer, with TensorBoard events beside it where they are asked for."""
    if not config.tensorboard:
        yield observer
        return
    from proxyless_hw.search.tensorboard import TensorBoardObserver

    events = TensorBoardObserver(observer, Path(config.output or "."))
    try:
        yield events
    finally:
        events.close()


def _folder(config: SearchConfig, problem: Problem) -> SearchFolder:
    if config.output is None:
        name = f"{problem.constraints[0].name}-{problem.target:.4g}{problem.unit}"
        return SearchFolder(default_folder(name))
    return SearchFolder(Path(config.output))


def _is_done(config: SearchConfig, folder: SearchFolder) -> bool:
    """Whether a run to resume has its result, and its measurements where they are asked for."""
    if not config.resume or not folder.result.exists():
        return False
    return not config.verify or bool(folder.read_json(folder.result).get("verify"))


def _search(
    config: SearchConfig,
    problem: Problem,
    folder: SearchFolder,
    observer: SearchObserver,
    check_held: Callable[[], None],
) -> SearchResult:
    device = choose_device(config.device, SearchError)
    with joined(device, config.threads) as world:
        with observer.phase("loading the data, building the supernet"):
            data = load_data(data_config(config))
            context = make_context(config, problem, data, device, world)
            state = _state(config, problem, data, context, folder)
        if world.is_main:
            folder.write_json(folder.config, config_document(config, problem, data))
            folder.keep_metrics(state.epoch)
        _train(state, context, data, folder, observer, problem, check_held)
        world.barrier()  # nobody leaves while another is in its last exchange
        if not world.is_main:
            return SearchResult(folder.path, placeholder(problem), {}, None)
        observer.note(
            "deriving the network: exact integer program, then ranking on held-out images"
        )
        return _finish(state, context, data, folder, problem, observer, check_held)


def data_config(config: SearchConfig) -> DataConfig:
    """The data settings of a search."""
    return DataConfig(**config.data_settings())


def make_context(
    config: SearchConfig,
    problem: Problem,
    data: DataSplits,
    device: torch.device,
    world: World | None = None,
) -> Context:
    """Binds settings, constraints and device for the step functions."""
    world = world or World()
    steps = full_batches(data.train, config.batch_size, world, SearchError)
    penalty = Penalty(config, problem.constraints, alpha_updates(config, steps))
    return Context(config, problem.constraints, penalty, device, world)


def _state(
    config: SearchConfig, problem: Problem, data: DataSplits, context: Context, folder: SearchFolder
) -> SearchState:
    updates = context.penalty.total_updates
    state = new_state(
        config,
        problem.space,
        data.num_classes,
        len(problem.constraints),
        alpha_lr(config, updates),
        context.device,
    )
    if config.resume and folder.checkpoint.exists():
        document = read_checkpoint(folder.checkpoint, problem.space)
        restore(state, document, folder.checkpoint)
    context.world.broadcast(state.supernet)
    return state


def _train(
    state: SearchState,
    context: Context,
    data: DataSplits,
    folder: SearchFolder,
    observer: SearchObserver,
    problem: Problem,
    check_held: Callable[[], None],
) -> None:
    with stop_on_signals() as stop:
        config = context.config
        loop = SearchLoop(
            place=RunPlace(
                folder=folder,
                device=context.device,
                world=context.world,
                stop=stop,
                check_held=check_held,
            ),
            data=data,
            batch_size=config.batch_size,
            epochs=config.warmup_epochs + config.epochs,
            context=context,
            observer=observer,
        )
        observer.start(
            loop.epochs * loop.steps_per_epoch,
            state.epoch * loop.steps_per_epoch + state.step,
            opening_line(config, problem, data),
        )
        loop.run(state)


def _finish(
    state: SearchState,
    context: Context,
    data: DataSplits,
    folder: SearchFolder,
    problem: Problem,
    observer: SearchObserver,
    check_held: Callable[[], None],
) -> SearchResult:
    config, constraints = context.config, problem.constraints
    started = time.perf_counter()
    costs = [constraint.costs for constraint in constraints]
    targets = [constraint.target for constraint in constraints]
    with observer.phase("deriving and ranking the finalists"):
        found = derive_finalists(
            state.supernet, costs, targets, config.finalists, config.objective != "none"
        )
        finalists = rank(state.supernet, found, problem, config, data, context.device)
    verification: dict[str, Any] | None = None
    if config.verify:
        from proxyless_hw.search.verify import verify_search

        finalists, verification = verify_search(state, finalists, problem, context, data, observer)
    best = finalists[0]
    expectations, _ = expectations_of(constraints, state.supernet.alpha.detach().cpu())
    with observer.phase("testing the network, deriving further budgets"):
        test = data.test.batches(0, shuffle=False, augment=False, drop_last=False)
        test_accuracy = accuracy(best.network, test, context.device)
        pareto = pareto_points(state.supernet, costs[0])
    correction = verification["correction"] if verification else 1.0
    interval = problem.predictor.interval(best.arch)
    figures = in_unit(
        {
            "target": problem.target,
            "predicted": problem.predictor.predict(best.arch) * correction,
            "predicted_interval": [bound * correction for bound in interval],
            "expected": expectations[0],
            "measured": verification["measured"] if verification else None,
            "measured_interval": verification["interval"] if verification else None,
        },
        problem.unit,
    )
    document: dict[str, Any] = {
        "metric": problem.table.metric,
        **figures,
        "accuracy": test_accuracy,
        "supernet_accuracy": best.accuracy,
        "constraints": constraint_report(constraints, best.derived),
        "finalists": [
            {
                "choices": list(item.derived.choices),
                **in_unit({"predicted": item.derived.costs[0]}, problem.unit),
                "log_probability": item.derived.log_probability,
                "accuracy": item.accuracy,
            }
            for item in finalists
        ],
        "margins": slot_margins(state.supernet),
        "pareto": pareto,
        "seconds": round(state.seconds + time.perf_counter() - started, 2),
        "verify": verification,
    }
    arch = replace(best.arch, provenance=provenance_of(figures, problem, config))
    document = {"architecture": parse_architecture(arch), **document}
    network = {key: value.cpu() for key, value in best.network.state_dict().items()}
    save_tensors(folder.network, {"state_dict": network}, SearchError, check_held)
    arch.save(folder.architecture)
    folder.write_json(folder.result, document)
    verdict = verdict_from(verification) if verification else None
    return SearchResult(folder.path, arch, document, verdict)
