"""How well a calibrated table predicts networks it has not seen, measured on this machine.

    python benchmarks/calibration.py --runtime onnxruntime --networks 200 [--json]
    python benchmarks/calibration.py --runtime litert --networks 60 [--json]

Profiles the space (or takes --table), then measures three sets of whole networks by the same
protocol: 60 to calibrate on, drawn as `table calibrate` draws them, 30 others spread evenly for
the rank, and uniformly drawn ones for errors and coverage. The coverage of one calibration depends
on which networks it happened to see, so the spread over re-drawn calibration sets is printed too:
each draws as many networks from all measured ones and is judged on the rest.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

import proxyless_hw as ph
from proxyless_hw.predictors.calibration import (
    Calibration,
    CalibrationNetwork,
    fit_calibration,
    save_calibration,
)
from proxyless_hw.predictors.measured import measure_for, measuring_for, pair
from proxyless_hw.predictors.sampling import spread_choices, uniform_choices
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.profile import ProfileConfig, profile
from proxyless_hw.profilers.protocol.timing import TimingConfig

COVERAGES = (0.8, 0.9, 0.95)
REDRAWN = 200


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", default="onnxruntime", choices=["onnxruntime", "litert"])
    parser.add_argument("--space", default="imagenet")
    parser.add_argument("--table", type=Path, help="table made here before; else it is profiled")
    parser.add_argument("--output", type=Path, help="keep the table and its calibration here")
    parser.add_argument("--networks", type=int, default=200, help="uniform networks judged on")
    parser.add_argument("--calibrate-on", type=int, default=60)
    parser.add_argument("--ranked", type=int, default=30)
    parser.add_argument("--profile-budget", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--goal", type=float, default=0.01, help="of each network's interval")
    parser.add_argument("--rounds", type=int, default=40, help="at most, of each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    table = load_or_profile(arguments)
    sets = measure_sets(table, arguments)
    if arguments.output:
        table.save(arguments.output)
        save_calibration(arguments.output, fit(sets[0]))
    figures = judge(*sets, arguments.seed)
    figures = {"runtime": arguments.runtime, "goal": arguments.goal, **figures}
    if arguments.json:
        print(json.dumps(figures))
    else:
        print_for_people(figures)


def load_or_profile(arguments: argparse.Namespace) -> ph.LatencyTable:
    """The table to be judged."""
    if arguments.table:
        return ph.LatencyTable.load(arguments.table)
    output = arguments.output or Path(f"benchmarks/results/.calibration-{arguments.runtime}.csv")
    config = ProfileConfig(
        space=arguments.space,
        settings=ProfilerSettings(runtime=arguments.runtime),
        output=output,
        timing=TimingConfig(budget_s=arguments.profile_budget),
    )
    return profile(config)


def measure_sets(
    table: ph.LatencyTable, arguments: argparse.Namespace
) -> tuple[list[CalibrationNetwork], list[CalibrationNetwork], list[CalibrationNetwork]]:
    """Networks to calibrate on, spread evenly for the rank, and uniform, measured in one go."""
    space = ph.SearchSpace.load(arguments.space)
    costs = ph.fit_predictor(table, "lookup", calibrate=False).space_costs(space)
    seed = arguments.seed
    choices = [
        *spread_choices(costs, arguments.calibrate_on - arguments.calibrate_on // 2, seed),
        *uniform_choices(space, arguments.calibrate_on // 2, seed),
        *spread_choices(costs, arguments.ranked, seed + 1),
        *uniform_choices(space, arguments.networks, seed + 2),
    ]
    archs = [ph.Architecture.from_choices(space, row.tolist()) for row in choices]
    # Shuffled, so that no set is measured at another time than the others.
    order = np.random.default_rng(seed).permutation(len(archs))
    how = measuring_for(table, goal=arguments.goal)
    shuffled = measure_for(
        table,
        replace(how, timing=replace(how.timing, max_rounds=arguments.rounds)),
        archs=[archs[index] for index in order],
        names=[f"network {index}" for index in order],
    )
    measured = [shuffled[place] for place in np.argsort(order)]
    pairs = pair(table, archs, measured)
    first, second = arguments.calibrate_on, arguments.calibrate_on + arguments.ranked
    return pairs[:first], pairs[first:second], pairs[second:]


def fit(networks: list[CalibrationNetwork]) -> Calibration:
    """The calibration of measured networks."""
    return fit_calibration(
        [network.predicted_ms for network in networks],
        [network.blocks for network in networks],
        [network.measured_ms for network in networks],
        [network.name for network in networks],
    )


def judge(
    seen: list[CalibrationNetwork],
    ranked: list[CalibrationNetwork],
    uniform: list[CalibrationNetwork],
    seed: int,
) -> dict[str, object]:
    """The figures; ratios are fractions."""
    from scipy.stats import kendalltau

    calibration = fit(seen)
    truth = np.array([network.measured_ms for network in ranked])
    predicted = [calibration.apply(item.predicted_ms, item.blocks) for item in ranked]
    return {
        "calibrated_on": len(seen),
        "a": calibration.a,
        "b": calibration.b,
        "c": calibration.c,
        "networks": len(uniform),
        "mape_before": float(
            np.mean([abs(item.predicted_ms / item.measured_ms - 1) for item in uniform])
        ),
        "mape": float(np.mean(np.abs(errors(calibration, uniform)))),
        "ranked": len(ranked),
        "kendall_tau": float(kendalltau(predicted, truth).statistic),
        "coverage": {
            f"{coverage:g}": covered(calibration, uniform, coverage) for coverage in COVERAGES
        },
        "redrawn": redrawn([*seen, *ranked, *uniform], len(seen), seed),
    }


def errors(calibration: Calibration, networks: list[CalibrationNetwork]) -> np.ndarray:
    """Relative error of each network."""
    return np.array(
        [calibration.apply(item.predicted_ms, item.blocks) / item.measured_ms - 1
         for item in networks]
    )  # fmt: skip


def covered(calibration: Calibration, networks: list[CalibrationNetwork], coverage: float) -> float:
    """Share of networks inside their interval."""
    inside = 0
    for item in networks:
        low, high = calibration.interval_ms(item.predicted_ms, item.blocks, coverage)
        inside += low <= item.measured_ms <= high
    return inside / len(networks)


def redrawn(networks: list[CalibrationNetwork], size: int, seed: int) -> dict[str, float]:
    """90% coverage and MAPE over calibrations on random networks, judged on all others."""
    generator = np.random.default_rng(seed)
    shares, mapes = [], []
    for _ in range(REDRAWN):
        order = generator.permutation(len(networks))
        calibration = fit([networks[index] for index in order[:size]])
        rest = [networks[index] for index in order[size:]]
        shares.append(covered(calibration, rest, 0.9))
        mapes.append(float(np.mean(np.abs(errors(calibration, rest)))))
    return {
        "draws": REDRAWN,
        "coverage_mean": float(np.mean(shares)),
        "coverage_p5": float(np.quantile(shares, 0.05)),
        "coverage_p95": float(np.quantile(shares, 0.95)),
        "mape_mean": float(np.mean(mapes)),
    }


def print_for_people(figures: dict[str, object]) -> None:
    """A table for people."""
    draws = figures["redrawn"]
    print(f"{figures['runtime']}, one thread, networks measured to {figures['goal']:.0%}")
    print(
        f"calibrated on {figures['calibrated_on']} networks, half of them spread evenly: "
        f"{figures['a']:.4g} ms + {figures['b']:.4f} sum + {figures['c']:.4g} ms a block"
    )
    print(
        f"{figures['networks']} uniform networks not seen: MAPE {figures['mape_before']:.2%} "
        f"before, {figures['mape']:.2%} calibrated"
    )
    print(f"{figures['ranked']} networks spread evenly: Kendall tau {figures['kendall_tau']:.3f}")
    for coverage, share in figures["coverage"].items():
        print(f"{float(coverage):.0%} intervals cover {share:.1%}")
    print(
        f"{draws['draws']} re-drawn calibration sets: 90% intervals cover "
        f"{draws['coverage_mean']:.1%} on average (p5 {draws['coverage_p5']:.1%}, p95 "
        f"{draws['coverage_p95']:.1%}); MAPE {draws['mape_mean']:.2%}"
    )


if __name__ == "__main__":
    main()
