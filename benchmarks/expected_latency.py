"""Time and exactness of the differentiable expected latency, against a plain loop.

    python benchmarks/expected_latency.py [--space imagenet] [--table pixel1] [--json]

Forward and backward are timed together, from one padded alpha tensor to its gradient, on one
thread; `score` on random architectures. Exactness: the expectation against a Python loop over
slots and candidates in double precision, its gradient against central differences, and scores
against sums of table entries.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch

import proxyless_hw as ph
from proxyless_hw.predictors.sampling import uniform_choices

REPEATS = 15


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="imagenet")
    parser.add_argument("--table", default="pixel1")
    parser.add_argument("--scored", type=int, default=1_000_000, help="architectures to score")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    space = ph.SearchSpace.load(arguments.space)
    predictor = ph.fit_predictor(ph.LatencyTable.load(arguments.table), kind="lookup")
    expected = ph.ExpectedLatency(space, predictor)
    figures = {
        "space": space.id,
        "slots": len(space.slots),
        "candidates": space.num_candidates,
        **time_step(expected),
        **time_score(expected, space, arguments.scored),
        **exactness(expected, space, predictor),
    }
    if not arguments.json:
        print(f"{space.id}: {figures['slots']} slots, {figures['candidates']} candidates, 1 thread")
        print(
            f"forward and backward: {figures['step_us']:.1f} us (median of {REPEATS} repeats; "
            f"fastest {figures['step_min_us']:.1f}, slowest {figures['step_max_us']:.1f})"
        )
        print(
            f"score: {figures['scores_per_s'] / 1e6:.1f} M architectures/s "
            f"(median of {REPEATS} repeats over {arguments.scored})"
        )
        print(
            f"largest relative error: expectation {figures['expectation_error']:.1e}, gradient "
            f"{figures['gradient_error']:.1e}, scores {figures['score_error']:.1e}"
        )
    else:
        print(json.dumps(figures))


def time_step(expected: ph.ExpectedLatency) -> dict[str, float]:
    """Microseconds from alpha to its gradient."""
    alpha = torch.randn(expected.mask.shape, requires_grad=True)

    def step() -> None:
        alpha.grad = None
        expected(alpha).backward()

    for _ in range(500):
        step()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(1000):
            step()
        times.append((time.perf_counter() - start) * 1e3)
    return {
        "step_us": statistics.median(times),
        "step_min_us": min(times),
        "step_max_us": max(times),
    }


def time_score(
    expected: ph.ExpectedLatency, space: ph.SearchSpace, scored: int
) -> dict[str, float]:
    """Architectures scored a second."""
    choices = uniform_choices(space, scored, seed=0)
    expected.score(choices)
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        expected.score(choices)
        rates.append(scored / (time.perf_counter() - start))
    return {"scores_per_s": statistics.median(rates)}


def exactness(
    expected: ph.ExpectedLatency, space: ph.SearchSpace, predictor: object
) -> dict[str, float]:
    """Largest relative errors against plain loops and finite differences."""
    generator = torch.Generator().manual_seed(0)
    alpha = torch.randn(expected.mask.shape, dtype=torch.float64, generator=generator)
    alpha.requires_grad_(True)
    value = expected(alpha)
    value.backward()
    loop = plain_expectation(alpha.detach().numpy(), space, predictor)
    gradient = alpha.grad.numpy()
    scale = np.abs(gradient).max()
    worst = 0.0
    step = 1e-5
    with torch.no_grad():
        for slot, candidate in np.ndindex(*gradient.shape):
            moved = alpha.detach().clone()
            moved[slot, candidate] += step
            up = float(expected(moved))
            moved[slot, candidate] -= 2 * step
            difference = (up - float(expected(moved))) / (2 * step)
            worst = max(worst, abs(difference - gradient[slot, candidate]) / scale)
    choices = uniform_choices(space, 200, seed=1)
    sums = [
        predictor.predict_ms(ph.Architecture.from_choices(space, row.tolist())) for row in choices
    ]
    scores = expected.score(choices)
    return {
        "expectation_error": abs(float(value.detach()) - loop) / loop,
        "gradient_error": worst,
        "score_error": float(np.max(np.abs(scores / np.array(sums) - 1))),
    }


def plain_expectation(alpha: np.ndarray, space: ph.SearchSpace, predictor: object) -> float:
    """Sum over slots of p . L, written as loops."""
    total = float(sum(predictor.op_ms(space.fixed_ops())))
    for row, ops in zip(alpha.tolist(), space.slot_ops(), strict=True):
        powers = [np.exp(row[index]) for index in range(len(ops))]
        for power, op in zip(powers, ops, strict=True):
            if op is not None:
                total += power / sum(powers) * float(predictor.op_ms([op])[0])
    return total


if __name__ == "__main__":
    main()
