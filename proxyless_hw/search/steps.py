"""One update each: of the weights on a sampled path, of alpha by gradient, REINFORCE or DARTS."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from proxyless_hw.errors import TaskError
from proxyless_hw.runs.loop import NotFiniteError
from proxyless_hw.runs.task import are_labels, as_number, called, name_of
from proxyless_hw.search.context import Context
from proxyless_hw.search.gates import (
    keep_pair_mass,
    path_probabilities,
    sample_others,
)
from proxyless_hw.search.objective import RewardFunction, expectations_of, pair_expectation_slopes
from proxyless_hw.search.state import SearchState
from proxyless_hw.search.supernet import still_statistics


def update_weights(
    state: SearchState, images: Tensor, targets: Tensor, context: Context, uniform: bool
) -> tuple[float, int | None]:
    """One SGD step on a sampled path (on all paths under the DARTS relaxation).

    Args:
        state: its supernet and weight optimiser are changed.
        images: (N, 3, H, W).
        targets: what the task's loss takes; for cross entropy labels (N,).
        context: settings.
        uniform: sample uniformly (warm-up) instead of by p.

    Returns:
        Mean loss and number of correct predictions; None where the targets are no class labels.

    Raises:
        NotFiniteError: the loss is NaN or infinite; nothing has been updated.
        TaskError: the user's loss gives no scalar tensor.
    """
    supernet = state.supernet
    relaxed = context.config.algorithm == "darts" and not uniform
    choices = None
    if not relaxed:
        sample = supernet.sample_uniform if uniform else supernet.sample
        choices = sample(state.generator)
    state.weight_optimizer.zero_grad(set_to_none=True)
    supernet.train()
    with context.autocast():
        logits = supernet.relaxed(images) if choices is None else supernet(images, choices)
        loss = context.task.value(logits.float(), targets, context.config.label_smoothing)
    value = _finite(loss, context)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    weights = supernet.weight_parameters()
    context.world.average_gradients(weights)
    if context.config.clip_norm is not None:
        state.scaler.unscale_(state.weight_optimizer)
        torch.nn.utils.clip_grad_norm_(weights, context.config.clip_norm)
    state.scaler.step(state.weight_optimizer)
    state.scaler.update()
    supernet.alpha.grad = None
    if not are_labels(targets):
        return value, None
    return value, int((logits.detach().argmax(1) == targets).sum())


def update_alpha(state: SearchState, images: Tensor, targets: Tensor, context: Context) -> float:
    """One Adam step on alpha by the configured algorithm, then one of the multipliers.

    Returns:
        The held-out loss (for REINFORCE, the mean over its networks).

    Raises:
        NotFiniteError: the loss is NaN or infinite; nothing has been updated.
    """
    state.supernet.train()
    algorithm = context.config.algorithm
    if algorithm == "reinforce":
        step = _reinforce
    elif algorithm == "darts":
        step = _darts
    elif context.config.gradient_mode == "two-path":
        step = _two_path
    else:
        step = _full
    try:
        loss = step(state, images, targets, context)
    except OverflowError as cause:
        raise NotFiniteError(
            f"the objective leaves the range of numbers ({cause}). Choose smaller powers: mul_log_b"
            " or mnas_w."
        ) from cause
    values, _ = expectations_of(context.constraints, state.supernet.alpha.detach().cpu())
    context.penalty.advance(values, state.multipliers)
    return loss


def _full(state: SearchState, images: Tensor, targets: Tensor, context: Context) -> float:
    supernet = state.supernet
    choices = supernet.sample(state.generator)
    with context.autocast():
        loss, task = supernet.alpha_gradient(
            images, targets, choices, mode="full", loss=context.task.loss
        )
    value, task = _finite(loss, context), context.world.average(task)
    values, slopes = _expectations(state, context)
    _apply(state, _combined(task, value, values, slopes, state, context))
    return value


def _two_path(state: SearchState, images: Tensor, targets: Tensor, context: Context) -> float:
    supernet = state.supernet
    choices = supernet.sample(state.generator)
    others = sample_others(
        supernet.probabilities.detach().cpu(), choices, supernet.mask.cpu(), state.generator
    )
    with context.autocast():
        loss, task = supernet.alpha_gradient(
            images, targets, choices, mode="two-path", others=others, loss=context.task.loss
        )
    value, task = _finite(loss, context), context.world.average(task)
    values, _ = _expectations(state, context)
    alpha, mask = supernet.alpha.detach(), supernet.mask
    slopes = pair_expectation_slopes(context.constraints, alpha, mask, choices, others)
    before = alpha.clone()
    _apply(state, _combined(task, value, values, slopes, state, context))
    with torch.no_grad():
        # Adam moves every logit that has a history; only the pairs may move (appendix D).
        pairs = torch.zeros_like(mask)
        rows = torch.arange(len(choices))
        pairs[rows, torch.as_tensor(choices)] = True
        pairs[rows, torch.as_tensor(others)] = True
        supernet.alpha.copy_(torch.where(pairs, supernet.alpha, before))
        keep_pair_mass(supernet.alpha, before, choices, others)
    return value


def _darts(state: SearchState, images: Tensor, targets: Tensor, context: Context) -> float:
    supernet = state.supernet
    with still_statistics(supernet), context.autocast():
        loss = context.task.value(supernet.relaxed(images).float(), targets)
    value = _finite(loss, context)
    (task,) = torch.autograd.grad(loss, [supernet.alpha])
    values, slopes = _expectations(state, context)
    _apply(state, _combined(context.world.average(task), value, values, slopes, state, context))
    return value


def _reinforce(state: SearchState, images: Tensor, targets: Tensor, context: Context) -> float:
    """The score-function estimate over a few sampled networks, with a moving baseline.

    The baseline starts from a separate first batch and is used before it is updated
    (b = 0.99 b + 0.01 mean r), so that it does not depend on the networks it judges.
    """
    supernet = state.supernet
    sampled = [supernet.sample(state.generator) for _ in range(context.config.reinforce_samples)]
    rewards, losses = [], []
    for choices in sampled:
        metric, loss = _metric(state, images, targets, choices, context)
        rewards.append(reward(metric, choices, state, context))
        losses.append(loss)
    mean_reward = math.fsum(rewards) / len(rewards)
    if state.baseline is None:
        state.baseline = mean_reward
        return math.fsum(losses) / len(losses)
    p = path_probabilities(supernet.alpha.detach(), supernet.mask)
    estimate = reinforce_gradient(p, sampled, [value - state.baseline for value in rewards])
    _apply(state, -estimate)
    state.baseline = 0.99 * state.baseline + 0.01 * mean_reward
    return math.fsum(losses) / len(losses)


def reward(metric: float, choices: Sequence[int], state: SearchState, context: Context) -> float:
    """REINFORCE's reward of one sampled network by the configured form."""
    config = context.config
    costs = [constraint.costs.cost(choices) for constraint in context.constraints]
    targets = [constraint.target for constraint in context.constraints]
    if context.given.reward is not None:
        return checked_reward(context.given.reward, metric, costs, targets)
    if config.reward == "mnas":
        factors = [
            math.pow(target / cost, config.mnas_w)
            for cost, target in zip(costs, targets, strict=True)
        ]
        return metric * math.prod(factors)
    if config.reward == "absolute":
        return metric + config.absolute_beta * math.fsum(
            abs(cost / target - 1) for cost, target in zip(costs, targets, strict=True)
        )
    if config.objective == "none":
        return metric
    return metric - context.penalty.reward_penalty(costs, state.multipliers)


def checked_reward(
    function: RewardFunction, metric: float, costs: Sequence[float], targets: Sequence[float]
) -> float:
    """What a reward of the user's gives, once it is known to be a finite number.

    Raises:
        TaskError: it is not.
    """
    received = called("reward", function, metric, tuple(costs), tuple(targets))
    value = as_number(received)
    if not math.isfinite(value):
        raise TaskError(
            f"the reward '{name_of(function)}' must return a finite number: received "
            f"{repr(received)[:100]} for metric {metric:g}, costs "
            f"{', '.join(f'{cost:g}' for cost in costs)}."
        )
    return value


def reinforce_gradient(
    probabilities: Tensor, sampled: Sequence[Sequence[int]], advantages: Sequence[float]
) -> Tensor:
    """Estimate of d E[r] / d alpha: mean of (r - b) d log p / d alpha (Eq. 7).

    Args:
        probabilities: p, (slots, max_candidates).
        sampled: choices of each network.
        advantages: r - b of each network.
    """
    estimate = torch.zeros_like(probabilities)
    rows = torch.arange(len(probabilities))
    for choices, advantage in zip(sampled, advantages, strict=True):
        score = -probabilities.clone()
        score[rows, torch.as_tensor(choices)] += 1
        estimate += advantage * score
    return estimate / len(sampled)


def _metric(
    state: SearchState, images: Tensor, targets: Tensor, choices: Sequence[int], context: Context
) -> tuple[float, float]:
    with torch.no_grad(), still_statistics(state.supernet), context.autocast():
        logits = state.supernet(images, choices).float()
    loss = _finite(context.task.value(logits, targets), context)
    metric = torch.tensor(context.task.on_batch(logits, targets), device=context.device)
    return float(context.world.average(metric)), loss


def _expectations(state: SearchState, context: Context) -> tuple[list[float], list[Tensor]]:
    return expectations_of(context.constraints, state.supernet.alpha)


def _combined(
    task: Tensor,
    loss: float,
    values: Sequence[float],
    slopes: Sequence[Tensor],
    state: SearchState,
    context: Context,
) -> Tensor:
    scale, weights = context.penalty.weights(loss, values, state.multipliers)
    total = scale * task
    for weight, slope in zip(weights, slopes, strict=True):
        total = total + weight * slope
    return total


def _apply(state: SearchState, gradient: Tensor) -> None:
    if not bool(gradient.isfinite().all()):
        raise NotFiniteError(
            "the gradient of alpha became NaN or infinite. Lower --lr, --rho or the powers of the "
            "objective."
        )
    alpha = state.supernet.alpha
    alpha.grad = gradient.to(alpha)
    state.alpha_optimizer.step()
    alpha.grad = None


def _finite(loss: Tensor, context: Context) -> float:
    value = float(context.world.average(loss.detach().float()))
    if not math.isfinite(value):
        raise NotFiniteError(
            f"the loss became {value}. Look for NaN or infinite images{context.task.suspect}, or "
            "lower --lr."
        )
    return value
