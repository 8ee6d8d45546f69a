"""What profiling promises, measured: budget, precision, repeatability, conversion, accuracy.

    python benchmarks/profiling.py                       every part, about 20 minutes
    python benchmarks/profiling.py budget repeat         some parts
    python benchmarks/profiling.py --json                the figures as one JSON object, last line

Parts: budget, repeat, repeat-loaded, convert, transposes, validate, validate-litert.
Each part runs `proxyless-hw` in fresh processes, as a user would. `--option KEY=VALUE` is passed
on to every profile and validate (``priority=realtime`` on a machine that is shared).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proxyless_hw.profilers.host.environment import fingerprint
from proxyless_hw.profilers.protocol.drift import Round
from proxyless_hw.profilers.protocol.estimates import estimates
from proxyless_hw.profilers.protocol.journal import Journal, journal_path
from proxyless_hw.profilers.protocol.quality import agreement, table_agreement
from proxyless_hw.profilers.protocol.sessions import fine_timing
from proxyless_hw.profilers.protocol.timing_config import TimingConfig
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

BUSY = "while True: sum(range(10_000))"


class Bench:
    """Runs the parts; holds the folder of tables and the options of every command."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.folder = folder
        self.options = [part for option in options for part in ("--option", option)]

    def command(self, *arguments: str, **environment: str) -> str:
        """Runs the command line and returns its standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "proxyless_hw", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, **environment},
        )
        return done.stdout

    def profile(self, name: str, *arguments: str) -> tuple[LatencyTable, float]:
        """Profiles into a table of the folder; returns it with the wall-clock seconds."""
        output = self.folder / f"{name}.csv"
        start = time.perf_counter()
        self.command(
            "profile", "--device", "cpu", "--output", str(output), "--quiet",
            *arguments, *self.options,
        )  # fmt: skip
        return LatencyTable.load(output), time.perf_counter() - start

    def budget(self) -> dict[str, Any]:
        """imagenet space at 224, ONNX Runtime, one thread, --budget 60, process start included."""
        table, seconds = self.profile("budget", "--budget", "60")
        return {"seconds": seconds, "ops": len(table), **precision(table)}

    def repeat(self) -> dict[str, Any]:
        """The same profile twice, each in its own process."""
        first, _ = self.profile("first", "--budget", "60")
        second, _ = self.profile("second", "--budget", "60")
        return {**vars_of(table_agreement(first, second)), **self.correction("first", "second")}

    def repeat_loaded(self) -> dict[str, Any]:
        """The second profile has one core kept busy by another process for half of its time."""
        first, _ = self.profile("quiet", "--budget", "60")
        busy: list[subprocess.Popen[bytes]] = []
        starter = subprocess.Popen(
            [sys.executable, "-c", f"import time; time.sleep(30)\n{BUSY}"],
        )
        busy.append(starter)
        try:
            second, _ = self.profile("loaded", "--budget", "60")
        finally:
            for process in busy:
                process.kill()
                process.wait()
        return {**vars_of(table_agreement(first, second)), **self.correction("quiet", "loaded")}

    def correction(self, first: str, second: str) -> dict[str, Any]:
        """The same raw samples evaluated with and without drift correction."""
        figures: dict[str, Any] = {}
        for corrects in (True, False):
            timing = TimingConfig(correct_drift=corrects)
            rows = [self.evaluate(name, timing) for name in (first, second)]
            outcome = agreement(rows[0], rows[1])
            word = "on" if corrects else "off"
            figures[f"correction_{word}"] = vars_of(outcome)
        return figures

    def evaluate(self, name: str, timing: TimingConfig) -> list[tuple[float, float, float]]:
        """Evaluates a table's journal again under other settings."""
        output = self.folder / f"{name}.csv"
        table = LatencyTable.load(output)
        names = [op.key for op in table.entries]
        rounds = read_rounds(journal_path(output))
        return [
            (item.interval.estimate, item.interval.low, item.interval.high)
            for item in estimates(rounds, names, fine_timing(timing, dict(table.metadata)))
        ]

    def convert(self) -> dict[str, Any]:
        """LiteRT models of the whole space: 2 processes and an empty cache, then from the cache."""
        code = (
            "import json, time; start = time.perf_counter()\n"
            "from proxyless_hw.profilers.base import ProfilerSettings, Workload\n"
            "from proxyless_hw.profilers.models.tflite_cache import tflite_models\n"
            "from proxyless_hw.space.search_space import SearchSpace\n"
            "space = SearchSpace.load('imagenet')\n"
            "items = [Workload(op.key, op=op, batch_norm=space.batch_norm) for op in space.ops()]\n"
            "models = tflite_models(items, ProfilerSettings(), processes=2)\n"
            "print(json.dumps([len(models), time.perf_counter() - start]))\n"
        )
        figures: dict[str, Any] = {}
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")}
        for name in ("first_seconds", "cached_seconds"):
            done = subprocess.run(
                [sys.executable, "-c", code],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env=environment,
            )
            figures["models"], figures[name] = json.loads(done.stdout)
        return figures

    def transposes(self) -> dict[str, Any]:
        """Layout ops in the isolated LiteRT models of the whole space."""
        from proxyless_hw.profilers.base import ProfilerSettings, Workload
        from proxyless_hw.profilers.models.tflite_cache import tflite_models
        from proxyless_hw.profilers.runtimes.litert import make_interpreter

        space = SearchSpace.load("imagenet")
        items = [Workload(op.key, op=op, batch_norm=space.batch_norm) for op in space.ops()]
        counts: dict[str, int] = {}
        for item, model in zip(items, tflite_models(items, ProfilerSettings()), strict=True):
            interpreter = make_interpreter(model, 1, "none", item.name)
            for detail in interpreter._get_ops_details():
                counts[detail["op_name"]] = counts.get(detail["op_name"], 0) + 1
        return {"transposes": counts.get("TRANSPOSE", 0), "nodes": counts}

    def validate(self) -> dict[str, Any]:
        """100 uniform and 30 evenly spread networks, ONNX Runtime, no calibration."""
        return self._validate("validated", "100", "30", "--budget", "60")

    def validate_litert(self) -> dict[str, Any]:
        """10 uniform and 10 evenly spread networks, LiteRT, no calibration."""
        return self._validate("litert", "10", "10", "--runtime", "litert")

    def _validate(self, name: str, networks: str, spread: str, *profiled: str) -> dict[str, Any]:
        table, _ = self.profile(name, *profiled)
        output = self.command(
            "validate", "--table", str(self.folder / f"{name}.csv"), "--networks", networks,
            "--spread", spread, "--json", "--quiet", *self.options,
        )  # fmt: skip
        return {**json.loads(output), "table": precision(table)}


def precision(table: LatencyTable) -> dict[str, float]:
    """The precision figures of a table's header."""
    header = table.metadata
    return {
        "median_half_width": float(header["quality_median_half_width"]),
        "p90_half_width": float(header["quality_p90_half_width"]),
        "within_2_percent": float(header["quality_within_2_percent"]),
        "drift": float(header["quality_drift"]),
    }


def vars_of(record: Any) -> dict[str, float]:
    """The fields of a small dataclass."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def read_rounds(path: Path) -> list[Round]:
    """The rounds in a finished measurement's journal."""
    with path.open(encoding="utf-8") as stream:
        header = json.loads(stream.readline())["record"]
    header.pop("schema")
    with Journal(path, header, resume=True) as journal:
        return journal.rounds


PARTS: dict[str, tuple[Callable[[Bench], dict[str, Any]], str]] = {
    "budget": (Bench.budget, "at most 60 s; median half-width 1%, nine in ten within 2%"),
    "repeat": (Bench.repeat, "Spearman 0.999, median |change| 1%, intervals of 90% overlap"),
    "repeat-loaded": (Bench.repeat_loaded, "the same with one core busy for half of the run"),
    "convert": (Bench.convert, "at most 60 s first, 5 s from the cache"),
    "transposes": (Bench.transposes, "none"),
    "validate": (Bench.validate, "MAPE at most 2% raw; Kendall tau at least 0.95 (spread)"),
    "validate-litert": (Bench.validate_litert, "for comparison"),
}


def main() -> None:
    """Runs the parts asked for and prints what each gave."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, help="where the tables go; a temporary one")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; parts: {', '.join(PARTS)}")
    figures: dict[str, Any] = {"machine": fingerprint(), "options": arguments.option}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, arguments.option)
        for name in arguments.parts or PARTS:
            run, goal = PARTS[name]
            print(f"{name}: {run.__doc__}", flush=True)
            print(f"  goal: {goal}", flush=True)
            figures[name] = run(bench)
            for key, value in figures[name].items():
                shown = f"{value:.4g}" if isinstance(value, float) else value
                print(f"  {key}: {shown}", flush=True)
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
