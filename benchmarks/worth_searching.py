"""Is the search worth its time? Found networks against uniform, width-scaled and random ones.

On Fashion-MNIST at 32 pixels, in the space `cifar-mbconv`, for two devices: ONNX Runtime and
LiteRT on this machine's CPU. The target on each is the latency of the uniform MobileNetV2-like
network (all 3x3, expansion 6) there. One search per device; then every network is trained in the
same way and measured on both devices:

- the two found networks and the uniform one, three seeds each;
- on each device 8 random networks of the same latency (drawn uniformly, kept when the table puts
  them into the target's window), one seed each;
- for a curve of accuracy against latency, networks derived from each search for further targets,
  and the uniform network at three widths. ONNX Runtime's fastest is trained with three seeds: can
  a network for ONNX Runtime be faster there than LiteRT's and as accurate? The one that has to
  fill the uniform network's latency cannot.

    python benchmarks/worth_searching.py --folder runs/worth            over three hours on 2 cores
    python benchmarks/worth_searching.py --folder runs/worth --json     the figures again
    python benchmarks/worth_searching.py --start independent            trained from another start
    python benchmarks/worth_searching.py --progress                     the accuracies so far

Every step leaves its result in the folder and is not repeated, so the study can be interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from proxyless_hw.predictors.fit import Predictor, fit_predictor
from proxyless_hw.predictors.sampling import uniform_choices
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.networks import measure_networks
from proxyless_hw.profilers.protocol.measurement import Measuring
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

SPACE = "cifar-mbconv"
RUNTIMES = ("onnxruntime", "litert")
BUDGETS_S = {"onnxruntime": 90, "litert": 240}  # a first LiteRT table converts every op
UNIFORM_CHOICE = 3  # 3x3, expansion 6
SEEDS = 3
RANDOM = 8
SHARES = {"onnxruntime": (0.6, 0.8), "litert": (0.7, 1.4)}  # of the target; 1 is the one found
DERIVED = {
    f"derived-{runtime}-{share:g}": (runtime, share)
    for runtime, shares in SHARES.items()
    for share in shares
}
WIDTHS = (0.75, 1.25)  # and 1
FASTEST = "derived-onnxruntime-0.6"
REPEATED = ("found-litert", "uniform", "found-onnxruntime", FASTEST)


class Study:
    """The steps, each of which finds what is done already in the folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder: Path = options.folder
        self.options = options
        self.trained = self.folder / f"trained-{options.start}"
        self.space = SearchSpace.load(SPACE)
        self.predictors: dict[str, Predictor] = {}

    def command(self, *arguments: str) -> None:
        """Runs the command line in a process of its own."""
        subprocess.run([sys.executable, "-m", "proxyless_hw", *arguments], check=True)

    def tables(self) -> None:
        """One table per runtime, calibrated on measured networks."""
        for runtime in RUNTIMES:
            path = self.folder / f"{runtime}.csv"
            if not path.exists():
                self.command(
                    *("profile", "--device", "cpu", "--runtime", runtime, "--space", SPACE),
                    *("--budget", str(BUDGETS_S[runtime]), "--resume", "--quiet"),
                    *("--output", str(path)),
                )
            if not path.with_suffix(".calibration.json").exists():
                self.command(
                    *("validate", "--table", str(path), "--space", SPACE, "--networks", "10"),
                    *("--spread", "20", "--calibrate", "--quiet"),
                )
            self.predictors[runtime] = fit_predictor(LatencyTable.load(str(path)))

    def uniform(self, width: float = 1.0) -> Architecture:
        """The network of all 3x3 blocks of expansion 6, at a width."""
        name = SPACE if width == 1.0 else f"{SPACE}-w{width:g}"
        space = SearchSpace.load(name)
        choices = [min(UNIFORM_CHOICE, len(slot.candidates) - 1) for slot in space.slots]
        return Architecture.from_choices(space, choices)

    def target(self, runtime: str) -> float:
        """The uniform network's latency on a device, by its table, in ms."""
        return self.predictors[runtime].predict_ms(self.uniform())

    def predicted(self, arch: Architecture) -> dict[str, float]:
        """A network's latency by each table, in ms."""
        return {runtime: self.predictors[runtime].predict_ms(arch) for runtime in RUNTIMES}

    def searches(self) -> None:
        """One search per device."""
        for runtime in RUNTIMES:
            output = self.folder / f"search-{runtime}"
            if (output / "result.json").exists():
                continue
            self.command(
                *("search", "--table", str(self.folder / f"{runtime}.csv"), "--space", SPACE),
                *("--target-ms", repr(self.target(runtime)), "--data", "fashion-mnist"),
                *("--limit", str(self.options.limit), "--resume", "--quiet", "--no-report"),
                *("--warmup-epochs", str(self.options.search_warmup)),
                *("--epochs", str(self.options.search_epochs)),
                *("--output", str(output)),
            )

    def curve(self) -> None:
        """Networks for other targets from the two searches, without new ones."""
        for runtime, share in DERIVED.values():
            if not (self.derived(runtime, share) / "architecture.json").exists():
                self.command(
                    *("derive", str(self.folder / f"search-{runtime}")),
                    *("--target-ms", f"{share * self.target(runtime):g}"),
                    *("--output", str(self.folder / "derived"), "--quiet"),
                )

    def derived(self, runtime: str, share: float) -> Path:
        """The folder of the network derived for a share of a device's target."""
        return self.folder / "derived" / f"{runtime}-{share * self.target(runtime):g}ms"

    def randoms(self, runtime: str) -> list[Architecture]:
        """Uniformly drawn networks whose predicted latency lies in the target's window."""
        costs = self.predictors[runtime].space_costs(self.space)
        drawn = uniform_choices(self.space, 400_000, seed=RUNTIMES.index(runtime))
        rows = np.arange(drawn.shape[1])
        latencies = costs.fixed + costs.slots[rows, drawn].sum(1)
        target = self.target(runtime)
        inside = drawn[(latencies >= 0.99 * target) & (latencies <= target)][:RANDOM]
        return [Architecture.from_choices(self.space, row.tolist()) for row in inside]

    def networks(self) -> dict[str, Architecture]:
        """Every network of the study by name, written to the folder."""
        named = {"uniform": self.uniform()}
        for runtime in RUNTIMES:
            named[f"found-{runtime}"] = Architecture.load(self.folder / f"search-{runtime}")
        for runtime in RUNTIMES:
            for index, arch in enumerate(self.randoms(runtime)):
                named[f"random-{runtime}-{index}"] = arch
        for name, (runtime, share) in DERIVED.items():
            named[name] = Architecture.load(self.derived(runtime, share))
        for width in WIDTHS:
            named[f"uniform-w{width:g}"] = self.uniform(width)
        for name, arch in named.items():
            arch.save(self.folder / "networks" / f"{name}.json")
        return named

    def trainings(self) -> Iterator[tuple[str, int]]:
        """(network, seed), the ones that carry the comparison first."""
        for seed in range(SEEDS):
            for name in REPEATED:
                yield name, seed
        for index in range(RANDOM):
            yield f"random-litert-{index}", 0
        for name in DERIVED:
            if name not in REPEATED:
                yield name, 0
        for width in WIDTHS:
            yield f"uniform-w{width:g}", 0
        for index in range(RANDOM):
            yield f"random-onnxruntime-{index}", 0

    def train(self, job: tuple[str, int]) -> None:
        """Trains one network with one seed, on one thread."""
        name, seed = job
        output = self.trained / f"{name}-{seed}"
        if not (output / "result.json").exists():
            self.command(
                *("train", str(self.folder / "networks" / f"{name}.json"), "--resume", "--quiet"),
                *("--data", "fashion-mnist", "--limit", str(self.options.limit)),
                *("--epochs", str(self.options.epochs), "--threads", "1", "--seed", str(seed)),
                *("--start", self.options.start, "--output", str(output)),
            )

    def measure(self, networks: dict[str, Architecture]) -> dict[str, dict[str, list[float]]]:
        """Latency and interval of every network on every runtime, interleaved; in ms."""
        path = self.folder / "measured.json"
        if not path.exists():
            found: dict[str, dict[str, list[float]]] = {}
            for runtime in RUNTIMES:
                how = Measuring(
                    settings=ProfilerSettings(runtime=runtime),
                    timing=TimingConfig(goal=0.005, max_rounds=60, spend=False),
                    sessions=3,
                )
                measured = measure_networks(list(networks.values()), how, names=list(networks))
                found[runtime] = {
                    item.name: [item.median, item.ci_low, item.ci_high] for item in measured
                }
            path.write_text(json.dumps(found, indent=1) + "\n")
        document: dict[str, dict[str, list[float]]] = json.loads(path.read_text())
        return document

    def accuracies(self, name: str) -> list[float]:
        """Test accuracy of each training of a network."""
        seeds = SEEDS if name in REPEATED else 1
        folders = [self.trained / f"{name}-{seed}" for seed in range(seeds)]
        return [json.loads((folder / "result.json").read_text())["top1"] for folder in folders]


def progress(study: Study) -> str:
    """Test top-1 of what is trained so far, in %, random networks of a device together."""
    groups: dict[str, list[float]] = {}
    for name, seed in study.trainings():
        path = study.trained / f"{name}-{seed}" / "result.json"
        if path.exists():
            group = name.rpartition("-")[0] if name.startswith("random-") else name
            groups.setdefault(group, []).append(100 * json.loads(path.read_text())["top1"])
    lines = [f"test top-1 in %, trained so far with --start {study.options.start}"]
    for group, values in groups.items():
        sd = f"sd {np.std(values, ddof=1):.2f}, " if len(values) > 1 else ""
        lines.append(f"  {group:23} {np.mean(values):.2f} ({sd}n {len(values)})")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation, and 95% t interval of the mean."""
    from scipy.stats import t

    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    reach = float(t.ppf(0.975, len(values) - 1)) * sd / len(values) ** 0.5
    return {"mean": mean, "sd": sd, "interval": [mean - reach, mean + reach], "n": len(values)}


def difference(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Mean difference with its 95% interval by Welch's t test."""
    from scipy.stats import ttest_ind

    test = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    gap = float(np.mean(first) - np.mean(second))
    return {"difference": gap, "interval": [float(test.low), float(test.high)]}


def judge(
    study: Study,
    networks: dict[str, Architecture],
    measured: dict[str, dict[str, list[float]]],
) -> dict[str, Any]:
    """The figures of the study."""
    uniform = study.accuracies("uniform")
    figures: dict[str, Any] = {"uniform": spread(uniform), "devices": {}}
    for runtime in RUNTIMES:
        found = study.accuracies(f"found-{runtime}")
        names = [f"random-{runtime}-{index}" for index in range(RANDOM)]
        random = [study.accuracies(name)[0] for name in names]
        latencies = measured[runtime]
        figures["devices"][runtime] = {
            "target_ms": study.target(runtime),
            "found": spread(found),
            "random": spread(random),
            "found_minus_uniform": difference(found, uniform),
            "found_minus_random": difference(found, random),
            "beats_uniform_by_sd": float(np.mean(found) - np.mean(uniform))
            / max(float(np.std(uniform, ddof=1)), float(np.std(found, ddof=1))),
            "beats_random_by_sd": float(np.mean(found) - np.mean(random))
            / float(np.std(random, ddof=1)),
            "measured_ms": {
                "found": latencies[f"found-{runtime}"],
                "uniform": latencies["uniform"],
                "random": float(np.mean([latencies[name][0] for name in names])),
            },
        }
    figures["specialisation"] = [
        point(study, measured, name) | {"predicted_ms": study.predicted(networks[name])}
        for name in ("found-onnxruntime", FASTEST, "found-litert", "uniform")
    ]
    figures["curves"] = {
        runtime: {
            "found": [
                point(study, measured, name)
                for name in (
                    f"found-{runtime}",
                    *(other for other, (device, _) in DERIVED.items() if device == runtime),
                )
            ],
            "uniform": [
                point(study, measured, name)
                for name in ("uniform", *(f"uniform-w{width:g}" for width in WIDTHS))
            ],
        }
        for runtime in RUNTIMES
    }
    return figures


def point(study: Study, measured: dict[str, dict[str, list[float]]], name: str) -> dict[str, Any]:
    """A network's latency with its interval on each device, and the accuracy of its seeds."""
    return {
        "network": name,
        "measured_ms": {runtime: measured[runtime][name] for runtime in RUNTIMES},
        "accuracies": study.accuracies(name),
    }


def described(document: dict[str, Any]) -> str:
    """The figures as lines of text: accuracies in percent, latencies in ms with 95% intervals."""
    lines = [
        "settings: " + ", ".join(f"{key} {value}" for key, value in document["settings"].items())
    ]
    for device, figures in document["devices"].items():
        lines.append(f"\n{device}: target {figures['target_ms']:.3f} ms")
        for name in ("found", "uniform", "random"):
            group = document["uniform"] if name == "uniform" else figures[name]
            low, high = (100 * end for end in group["interval"])
            measured = figures["measured_ms"][name]
            value = f"{measured:.3f}" if isinstance(measured, float) else latency_text(measured)
            lines.append(
                f"  {name:8} top-1 {100 * group['mean']:.2f} ({low:.2f} to {high:.2f}; sd "
                f"{100 * group['sd']:.2f}, n {group['n']})  measured {value} ms"
            )
        for other in ("uniform", "random"):
            gap = figures[f"found_minus_{other}"]
            low, high = (100 * end for end in gap["interval"])
            lead = figures[f"beats_{other}_by_sd"]
            lines.append(
                f"  found - {other}: {100 * gap['difference']:+.2f} points "
                f"({low:+.2f} to {high:+.2f}), {lead:+.1f} standard deviations"
            )
    lines.append("\nspecialisation, ms by the table and measured:")
    for item in document["specialisation"]:
        cells = "  ".join(
            f"on {name} {item['predicted_ms'][name]:.3f}, {latency_text(item['measured_ms'][name])}"
            for name in RUNTIMES
        )
        lines.append(f"  {item['network']:23} {cells}  {accuracy_text(item)}")
    for device, curves in document["curves"].items():
        lines.append(f"\naccuracy against measured latency on {device}:")
        for kind, points in curves.items():
            for item in sorted(points, key=lambda item: float(item["measured_ms"][device][0])):
                latency = latency_text(item["measured_ms"][device])
                lines.append(f"  {kind:8} {item['network']:23} {latency} ms  {accuracy_text(item)}")
    return "\n".join(lines)


def accuracy_text(item: dict[str, Any]) -> str:
    accuracies = item["accuracies"]
    seeds = f" (mean of {len(accuracies)} seeds)" if len(accuracies) > 1 else " (one seed)"
    return f"top-1 {100 * float(np.mean(accuracies)):.2f}{seeds}"


def latency_text(measured: Sequence[float]) -> str:
    return f"{measured[0]:.3f} ({measured[1]:.3f} to {measured[2]:.3f})"


def plot(curves: dict[str, dict[str, list[dict[str, Any]]]], path: Path) -> None:
    """Accuracy against measured latency, one panel per device; bars are the seeds' range."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True)
    labels = {"found": "one search, three targets", "uniform": "uniform 3x3, three widths"}
    for axes, (device, curve) in zip(panels, curves.items(), strict=True):
        for kind, marker in (("found", "o"), ("uniform", "s")):
            points = sorted(curve[kind], key=lambda item: float(item["measured_ms"][device][0]))
            means = np.array([100 * np.mean(item["accuracies"]) for item in points])
            least = np.array([100 * min(item["accuracies"]) for item in points])
            most = np.array([100 * max(item["accuracies"]) for item in points])
            axes.errorbar(
                [item["measured_ms"][device][0] for item in points],
                means,
                yerr=[means - least, most - means],
                marker=marker,
                capsize=3,
                label=labels[kind],
            )
        axes.set_title(device)
        axes.set_xlabel("measured latency (ms)")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("Fashion-MNIST top-1 (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=Path("runs/worth"))
    parser.add_argument("--limit", type=int, default=16000, help="training images")
    parser.add_argument("--epochs", type=int, default=4, help="of each training")
    parser.add_argument("--start", choices=["identity", "independent"], default="identity")
    parser.add_argument("--search-warmup", type=int, default=4)
    parser.add_argument("--search-epochs", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, a thread each")
    parser.add_argument(
        "--until", choices=["tables", "searches", "trainings"], help="stop after this step"
    )
    parser.add_argument("--progress", action="store_true", help="what is trained so far, and end")
    parser.add_argument("--plot", type=Path, help="draws the curves into this file")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    study = Study(options)
    if options.progress:
        print(progress(study))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    study.tables()
    if options.until == "tables":
        return
    study.searches()
    study.curve()
    networks = study.networks()
    if options.until == "searches":
        return
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in pool.map(study.train, study.trainings()):
            assert done is None
    if options.until == "trainings":
        return
    figures = judge(study, networks, study.measure(networks))
    settings = {
        name: getattr(options, name) for name in ("limit", "epochs", "start", "search_warmup")
    }
    document = {"settings": {**settings, "search_epochs": options.search_epochs}, **figures}
    if options.plot:
        plot(figures["curves"], options.plot)
    print(json.dumps(document) if options.json else described(document))


if __name__ == "__main__":
    main()
