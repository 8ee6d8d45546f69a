"""`run_search`: prepare, train the supernet, derive, write the run folder, verify if asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from proxyless_hw.data.base import DataSplits
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import SearchError
from proxyless_hw.network.network import Network
from proxyless_hw.runs.evaluation import evaluate
from proxyless_hw.runs.folder import default_folder
from proxyless_hw.runs.interrupt import stop_on_signals
from proxyless_hw.runs.lifecycle import held, joined
from proxyless_hw.runs.loop import RunPlace, going_on
from proxyless_hw.runs.objects import (
    check_all_given,
    check_channels,
    check_same_metric,
    check_same_objects,
)
from proxyless_hw.runs.task import Task
from proxyless_hw.runs.torch_device import choose_device
from proxyless_hw.search.config import SearchConfig, with_output
from proxyless_hw.search.context import Context, data_config, make_context
from proxyless_hw.search.finalists import (
    Finalist,
    constraint_costs,
    derive_finalists,
    pareto_points,
    rank,
    slot_margins,
)
from proxyless_hw.search.given import SearchObjects
from proxyless_hw.search.loop import SearchLoop
from proxyless_hw.search.objective import (
    Constraint,
    ObjectiveFunction,
    RewardFunction,
    expectations_of,
)
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.search.prepare import Problem, opening_line, prepare_problem
from proxyless_hw.search.result import SearchResult, read_result
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.search.schedule import alpha_lr
from proxyless_hw.search.state import SearchState, new_state, read_checkpoint, restore
from proxyless_hw.search.tensorboard import recorded
from proxyless_hw.search.verification import SearchVerification
from proxyless_hw.search.weights import StartingWeights, start_from, starting_weights
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.tensor_files import save_tensors
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.torchrun import launched_rank, launched_world_size

ObserverFactory = Callable[[Sequence[Constraint]], SearchObserver]


def run_search(
    config: SearchConfig,
    observer_factory: ObserverFactory | None = None,
    *,
    space: SearchSpace | None = None,
    table: LatencyTable | None = None,
    data: DataSplits | None = None,
    task: Task | None = None,
    target_ms: float | None = None,
    objective: ObjectiveFunction | None = None,
    reward: RewardFunction | None = None,
    weights: Network | None = None,
) -> SearchResult | None:
    """Runs one search from a configuration to a derived network.

    Objects take the place of the names in the settings. A name at its default counts as not given;
    another name beside an object is refused, unless both are the same. No file holds the objects:
    to resume, give them again. The run folder keeps facts of them and refuses others.

    Args:
        config: all settings (see `SearchConfig`); ``resume=True`` goes on with a search.
        observer_factory: makes the observer from the constraints; None reports nothing.
        space: the search space, in place of ``config.space``.
        table: the latency table, in place of ``config.table``.
        data: the images, in place of ``config.data`` and the settings that belong to it; the data's
            batch size holds.
        task: loss and metric; cross entropy and top-1 accuracy when None.
        target_ms: as ``config.target_ms``.
        objective: ``objective(loss, values, targets) -> scalar tensor`` that alpha lowers, in place
            of ``config.objective``. `loss` and `values` (the expected costs, one per constraint)
            are scalar tensors, `targets` floats; slopes are taken by autograd. No multipliers act.
        reward: ``reward(metric, costs, targets) -> float`` of one sampled network, in place of
            ``config.reward``; for REINFORCE.
        weights: the network whose weights the supernet starts from, in place of ``config.weights``.

    Returns:
        The result; its files lie in the run folder. None on torchrun's processes other than the
        first, which derives the network and writes it.

    Raises:
        SearchError: a target out of range, an existing output, an empty window, a NaN loss, a
            metric to verify that cannot be measured here; an object and a name that differ, an
            object that is missing or another on resumption.
        TaskError: a loss, metric, objective or reward of the user's does not give what it has to.
        DataError: the data cannot be used, or an image cannot be had; the state is saved.
        MissingEntryError: the table lacks ops of the space.
        InterruptedRunError: Ctrl-C or SIGTERM; the state is saved.

    Example:
        >>> import proxyless_hw as ph
        >>> result = ph.run_search(  # doctest: +SKIP
        ...     ph.SearchConfig(epochs=6, output="runs/own"),
        ...     space=space, table=table, data=data, task=ph.Task(loss=focal), target_ms=4.5,
        ... )
        >>> result.network, result.predicted_ms  # doctest: +SKIP
    """
    given = SearchObjects(
        space=space,
        table=table,
        data=data,
        task=task,
        objective=objective,
        reward=reward,
        weights=weights,
    )
    given.check_kinds(SearchConfig, config)
    facts = given.facts() if launched_rank() == 0 else {}
    if config.resume and config.output is not None:
        # Before anything else is said of a table or a space that is not the run's own.
        begun = SearchFolder(Path(config.output))
        check_all_given(begun, given.names())
        if facts and begun.objects():
            check_same_objects(begun, facts)
    config = given.settle(config, target_ms)
    make = observer_factory or (lambda constraints: SearchObserver())
    problem = prepare_problem(config, space, table)
    folder = _folder(config, problem)
    config = with_output(config, folder.path)
    if launched_rank() > 0:
        if _is_done(config, folder):  # the first process has nothing to do either
            return None
        start = starting_weights(problem.space, config, given.weights, folder)
        return _search(config, problem, given, start, {}, folder, SearchObserver(), lambda: None)
    with held(folder) as check_held:
        folder.check_may_run(config.to_dict(), config.resume, facts)
        if _is_done(config, folder):
            return read_result(folder.path)
        start = starting_weights(problem.space, config, given.weights, folder)
        if config.verify:
            from proxyless_hw.search.measurable import check_metric_is_measurable

            check_metric_is_measurable(problem.table)
            if _calibrated(config, problem, make):
                problem = prepare_problem(config, space, table)
        with make(problem.constraints) as observer, recorded(config, observer) as observers:
            return _search(config, problem, given, start, facts, folder, observers, check_held)


def _calibrated(config: SearchConfig, problem: Problem, make: ObserverFactory) -> bool:
    """Whether the table was calibrated for whole networks just now: the problem is then another.

    Several processes prepared the same problem each, so none of them calibrates.
    """
    from proxyless_hw.search.calibrate import calibrate_first

    if launched_world_size() > 1:
        return False
    with make(problem.constraints) as observer:
        return calibrate_first(config, observer, problem.space)


def _folder(config: SearchConfig, problem: Problem) -> SearchFolder:
    if config.output is None:
        name = f"{problem.constraints[0].name}-{problem.target:.4g}{problem.unit}"
        return SearchFolder(default_folder(name))
    return SearchFolder(Path(config.output))


def _is_done(config: SearchConfig, folder: SearchFolder) -> bool:
    """Whether a run to resume has its result, and its measurements where they are asked for."""
    if not config.resume or not folder.result.exists():
        return False
    return not config.verify or read_result(folder.path).verification is not None


def _search(
    config: SearchConfig,
    problem: Problem,
    given: SearchObjects,
    weights: StartingWeights | None,
    facts: Mapping[str, JsonObject],
    folder: SearchFolder,
    observer: SearchObserver,
    check_held: Callable[[], None],
) -> SearchResult | None:
    device = choose_device(config.device, SearchError)
    with joined(device, config.threads) as world:
        with observer.phase("loading the data, building the supernet"):
            data = load_data(data_config(config)) if given.data is None else given.data
            check_channels(data, problem.space.in_channels, problem.space.id, SearchError)
            context = make_context(config, problem, data, device, world, given, weights)
            context.require_usable_targets()
            state = _state(context, folder, observer)
        if world.is_main:
            folder.write_json(folder.config, context.config_document(facts))
            folder.keep_metrics(state.epoch)
        _train(state, context, folder, observer, check_held)
        world.barrier()  # nobody leaves while another is in its last exchange
        if not world.is_main:
            return None
        observer.note(
            "deriving the network: exact integer program, then ranking on held-out images"
        )
        return _derive(state, context, folder, observer, check_held)


def _state(context: Context, folder: SearchFolder, observer: SearchObserver) -> SearchState:
    config, problem = context.config, context.problem
    state = new_state(
        config,
        problem.space,
        context.data.num_classes,
        len(problem.constraints),
        alpha_lr(config, context.penalty.total_updates),
        context.device,
    )
    if config.resume and folder.checkpoint.exists():
        document = read_checkpoint(folder.checkpoint, problem.space)
        restore(state, document, folder.checkpoint)
        if state.baseline is not None:
            check_same_metric(folder, context.task)
    elif context.weights is not None:
        observer.note(start_from(state.supernet, context.weights))
    context.world.broadcast(state.supernet)
    return state


def _train(
    state: SearchState,
    context: Context,
    folder: SearchFolder,
    observer: SearchObserver,
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
            batch_size=config.batch_size,
            epochs=config.warmup_epochs + config.epochs,
            context=context,
            observer=observer,
        )
        observer.start(
            loop.epochs * loop.steps_per_epoch,
            state.epoch * loop.steps_per_epoch + state.step,
            opening_line(config, context.problem, context.data),
        )
        loop.run(state)


def _derive(
    state: SearchState,
    context: Context,
    folder: SearchFolder,
    observer: SearchObserver,
    check_held: Callable[[], None],
) -> SearchResult:
    """Derives the network from the trained supernet, verifies it if asked, writes the folder."""
    config, constraints = context.config, context.constraints
    started = time.perf_counter()
    costs = [constraint.costs for constraint in constraints]
    targets = [constraint.target for constraint in constraints]
    with observer.phase("deriving and ranking the finalists"), going_on(folder):
        found = derive_finalists(
            state.supernet, costs, targets, config.finalists, context.constrained
        )
        finalists = rank(
            state.supernet, found, context.problem, context.data, context.device, context.task
        )
    verification: SearchVerification | None = None
    if config.verify:
        from proxyless_hw.search.verify import verify_search

        finalists, verification = verify_search(state, finalists, context, observer)
    with observer.phase("testing the network, deriving further budgets"), going_on(folder):
        result = _result(state, finalists, verification, context, folder)
    result = replace(result, seconds=round(state.seconds + time.perf_counter() - started, 2))
    network = {key: value.cpu() for key, value in finalists[0].network.state_dict().items()}
    save_tensors(folder.network, {"state_dict": network}, SearchError, check_held)
    result.architecture.save(folder.architecture)
    folder.write_json(folder.result, result.to_json())
    return result


def _result(
    state: SearchState,
    finalists: Sequence[Finalist],
    verification: SearchVerification | None,
    context: Context,
    folder: SearchFolder,
) -> SearchResult:
    """The result of the first finalist."""
    best, problem, data = finalists[0], context.problem, context.data
    expectations, _ = expectations_of(problem.constraints, state.supernet.alpha.detach().cpu())
    test = data.test.batches(0, shuffle=False, augment=False, drop_last=False)
    tested = evaluate(best.network, test, context.device, SearchError, context.task)
    correction = 1.0 if verification is None else verification.correction
    low, high = problem.predictor.interval(best.arch)
    result = SearchResult(
        folder=folder.path,
        architecture=best.arch,
        metric=problem.table.metric,
        unit=problem.unit,
        target=problem.target,
        predicted=problem.predictor.predict(best.arch) * correction,
        predicted_interval=(low * correction, high * correction),
        expected=expectations[0],
        measured=None if verification is None else verification.measured,
        measured_interval=None if verification is None else verification.interval,
        accuracy=tested.top1,
        supernet_accuracy=best.score.top1,
        constraints=constraint_costs(problem, best),
        footprint=problem.footprint(best.arch),
        finalists=tuple(item.row for item in finalists),
        margins=slot_margins(state.supernet),
        pareto=pareto_points(state.supernet, problem.constraints[0].costs),
        verification=verification,
        task=context.task.result(tested.metric, best.score.metric),
    )
    provenance = {
        "table": problem.table.name,
        "metric": problem.table.metric,
        **result.figures(),
        "algorithm": context.config.algorithm,
        "objective": context.objective_name,
        "seed": context.config.seed,
    }
    return replace(result, architecture=replace(best.arch, provenance=provenance))
