"""Does it work, and tell the truth, on a machine that is not quiet? Row by row, each kept.

    python benchmarks/any_machine.py                       # the rows that are not there yet
    python benchmarks/any_machine.py --row validate        # one group of rows, again
    python benchmarks/any_machine.py --show                # the table of what is kept

All rows take some hours of a machine that does nothing else. What is kept stands in
benchmarks/results/any_machine.json; a lock keeps two of these apart. `busy.py` beside this file
makes the machine that is not quiet.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "any_machine.json"
BUSY = [sys.executable, str(HERE / "busy.py")]
TOOL = [sys.executable, "-m", "proxyless_hw"]
CAM96 = """\
schema: proxyless-hw-space/1
id: cam96
resolution: 96
num_classes: 3
batch_norm: {momentum: 0.1, eps: 0.001}
stem: {op: conv, kernel: 3, stride: 2, width: 16, act: relu6}
candidates:
  - {op: mbconv, kernel: 3, expand: 3}
  - {op: mbconv, kernel: 5, expand: 3}
  - {op: mbconv, kernel: 3, expand: 6}
zero: true
stages:
  - {width: 16, depth: 2, stride: 2, act: relu6}
  - {width: 32, depth: 2, stride: 2, act: relu6}
  - {width: 64, depth: 2, stride: 2, act: hswish}
head:
  - {op: conv, kernel: 1, width: 256, act: hswish}
  - {op: classifier}
"""
SEEDS = range(5)
RUNS = 10
"""Processes of a row that repeats a command."""
Row = dict[str, Any]


class Bench:
    """A folder to work in and the commands that are run there."""

    def __init__(self, folder: Path, runs: int = RUNS) -> None:
        self.folder = folder
        self.runs = runs
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cam96.yaml").write_text(CAM96)

    def run(
        self, words: list[str], *, busy: int | None = None, cpus: float | None = None
    ) -> tuple[int, float, str, str]:
        """Runs a command, quiet or beside hogs of a seed; returns code, seconds, both outputs."""
        before = [] if busy is None and cpus is None else [*BUSY, "--seed", str(busy or 0)]
        if cpus is not None:
            before += ["--hogs", "0", "--cpus", str(cpus)]
        words = [*before, "--", *words] if before else words
        begin = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        done = subprocess.run(
            words, cwd=self.folder, capture_output=True, text=True, env=environment, check=False
        )
        return done.returncode, time.monotonic() - begin, done.stdout, done.stderr

    def json(self, words: list[str], *, busy: int | None = None) -> dict[str, Any]:
        """Runs one of our commands with --json and returns the object."""
        code, seconds, out, err = self.run([*TOOL, *words, "--json", "--quiet"], busy=busy)
        try:
            found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        except (IndexError, ValueError):
            raise SystemExit(f"{' '.join(words)} ended with {code}: {err[-500:]}") from None
        return found | {"exit_code": code, "wall_s": round(seconds, 1)}

    def table(self, name: str, words: list[str], *, busy: int | None = None) -> Path:
        """Profiles a table unless it is there."""
        path = self.folder / f"{name}.csv"
        if not path.exists():
            self.json(["profile", *words, "--output", str(path)], busy=busy)
        return path

    def onnx(self) -> Path:
        """The published mobile network as an ONNX file."""
        path = self.folder / "mobile.onnx"
        if not path.exists():
            self.json(["export", "proxyless-mobile", "--format", "onnx", "--output", str(path)])
        return path

    def tflite(self) -> Path:
        """The same as TFLite."""
        path = self.folder / "mobile.tflite"
        if not path.exists():
            self.json(["export", "proxyless-mobile", "--format", "tflite", "--output", str(path)])
        return path


def profile_budget(bench: Bench) -> Row:
    """`profile --budget 60` beside other work: a table within 66 s?"""
    rows = []
    for seed in SEEDS:
        path = bench.folder / f"budget-{seed}.csv"
        path.unlink(missing_ok=True)
        Path(f"{path}.journal.jsonl").unlink(missing_ok=True)
        found = bench.json(["profile", "--budget", "60", "--output", str(path)], busy=seed)
        width = float(found["quality_median_half_width"])
        rows.append({"seconds": found["wall_s"], "code": found["exit_code"], "half_width": width})
    within = sum(row["code"] == 0 and row["seconds"] <= 66 for row in rows)
    return {"within_66_s": within, "of": len(rows), "runs": rows}


def demo(bench: Bench, name: str, limit_s: float, **how: Any) -> Row:
    """The demo in a new folder."""
    folder = bench.folder / f"demo-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    words = [*TOOL, "demo", "--output", str(folder)]
    if how.pop("one_core", False):
        words = ["taskset", "-c", "0", *words]
    code, seconds, out, _ = bench.run(words, **how)
    said = re.search(r"(Agrees|Undecided|Missed)", out)
    return {
        "code": code,
        "seconds": round(seconds, 1),
        "within": seconds <= limit_s,
        "said": said[0] if said else out[-200:],
    }


def demo_quiet(bench: Bench) -> Row:
    """`make demo`, set up already, on a quiet machine: within 3 minutes?"""
    return demo(bench, "quiet", 180)


def demo_busy(bench: Bench) -> Row:
    """The same beside other work, five seeds: exit 0 within 8 minutes?"""
    rows = [demo(bench, f"busy-{seed}", 480, busy=seed) for seed in SEEDS]
    return {"passed": sum(row["code"] == 0 and row["within"] for row in rows), "runs": rows}


def demo_scarce(bench: Bench) -> Row:
    """The demo on one core, and with 1.5 processors: exit 0?"""
    return {
        "one core": demo(bench, "one-core", 1e9, one_core=True),
        "1.5 processors": demo(bench, "rationed", 1e9, cpus=1.5),
    }


def tests(bench: Bench) -> Row:
    """The fast suite, quiet (within 5 minutes?) and beside other work (passes?)."""
    rows = {}
    for name, busy in (("quiet", None), ("busy", 0)):
        words = ["make", "-C", str(HERE.parent), "test"]
        code, seconds, out, _ = bench.run(words, busy=busy)
        last = [line for line in out.splitlines() if "passed" in line or "failed" in line]
        rows[name] = {"code": code, "seconds": round(seconds), "said": last[-1] if last else ""}
    return rows


def two_tables(bench: Bench) -> Row:
    """Two tables of one machine, one quiet and one made beside other work."""
    quiet = bench.table("quiet", ["--budget", "60"])
    again = bench.table("quiet-again", ["--budget", "60"])
    rows = {"quiet": compare(quiet, again)}
    for seed in (0, 1):
        busy = bench.table(f"busy-{seed}", ["--budget", "60"], busy=seed)
        rows[f"busy, seed {seed}"] = compare(quiet, busy)
    return rows


def compare(first: Path, second: Path) -> Row:
    """How two tables agree, as they are and at the first one's speed."""
    from scipy.stats import spearmanr

    import proxyless_hw as ph
    from proxyless_hw.tables.diff import compare as diff

    one, two = ph.LatencyTable.load(first), ph.LatencyTable.load(second)
    raw, level = diff(one, two), diff(one, two, at_table_speed=True)
    speed = level.machine_speed or 1.0
    overlap = []
    for op, entry in one.entries.items():
        other = two.entries[op]
        low, high = (other.ci_low or 0) * speed, (other.ci_high or 0) * speed
        overlap.append((entry.ci_low or 0) <= high and low <= (entry.ci_high or 0))
    values = [[change.before, change.after] for change in raw.changes]
    return {
        "spearman": round(float(spearmanr(values).statistic), 5),
        "raw_median_change": round(raw.median_absolute_change or 0, 4),
        "table_speed_median_change": round(level.median_absolute_change or 0, 4),
        "machine_speed": round(speed, 4),
        "intervals_overlap": round(statistics.mean(overlap), 4),
    }


def ten_benchmarks(bench: Bench) -> Row:
    """One file in ten processes (--runs), quiet and beside other work, at the table's speed."""
    table, file = bench.table("quiet", ["--budget", "60"]), bench.onnx()
    rows = {}
    for name in ("quiet", "busy"):
        found = [
            bench.json(
                ["benchmark", str(file), "--table", str(table)],
                busy=None if name == "quiet" else seed,
            )
            for seed in range(bench.runs)
        ]
        middle = statistics.median(item["table_speed_median"] for item in found)
        raw = statistics.median(item["median"] for item in found)
        rows[name] = {
            "intervals_hold_the_median": sum(
                item["table_speed_ci_low"] <= middle <= item["table_speed_ci_high"]
                for item in found
            ),
            "median_half_width": round(
                statistics.median(
                    (item["table_speed_ci_high"] - item["table_speed_ci_low"]) / 2 / middle
                    for item in found
                ),
                4,
            ),
            "raw_intervals_hold_their_median": sum(
                item["ci_low"] <= raw <= item["ci_high"] for item in found
            ),
            "table_speed": [round(item["table_speed_median"], 4) for item in found],
            "raw": [round(item["median"], 4) for item in found],
            "seconds": [item["wall_s"] for item in found],
        }
    return rows


STOP_WATCH = """
import sys, time, statistics
path = sys.argv[1]
if path.endswith(".onnx"):
    import numpy as np, onnxruntime as ort
    options = ort.SessionOptions(); options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    item = session.get_inputs()[0]
    image = {item.name: np.random.default_rng(0).standard_normal(item.shape, dtype=np.float32)}
    call = lambda: session.run(None, image)
else:
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=path, num_threads=1); interpreter.allocate_tensors()
    call = interpreter.invoke
for _ in range(20): call()
times = []
end = time.perf_counter() + 10
while time.perf_counter() < end:
    begin = time.perf_counter(); call(); times.append(time.perf_counter() - begin)
print(1e3 * statistics.median(times))
"""


def agreement(bench: Bench) -> Row:
    """verify, benchmark, a stop-watch loop and litert-benchmark on the same files, in turn."""
    table = bench.table("quiet", ["--budget", "60"])
    rows: Row = {}
    for file in (bench.onnx(), bench.tflite()):
        found: dict[str, list[float]] = {"benchmark": [], "stop-watch": []}
        for _ in range(3):
            words = ["benchmark", str(file)]
            if file.suffix == ".onnx":
                words += ["--table", str(table)]
                verified = bench.json(
                    ["verify", str(file), "--table", str(table), "--target-ms", "1000"]
                )
                found.setdefault("verify, raw", []).append(verified["measured_ms"])
                found.setdefault("verify, table speed", []).append(verified["table_speed_ms"])
            item = bench.json(words)
            found["benchmark"].append(item["median"])
            if "table_speed_median" in item:
                found.setdefault("benchmark, table speed", []).append(item["table_speed_median"])
            _, _, out, _ = bench.run([sys.executable, "-c", STOP_WATCH, str(file)])
            found["stop-watch"].append(float(out))
            tool = shutil.which("litert-benchmark", path=str(Path(sys.executable).parent))
            if file.suffix == ".tflite" and tool is not None:
                words = [tool, "--model", str(file), "--num_threads", "1", "--num_runs", "200"]
                _, _, out, err = bench.run(words)
                (figure,) = re.findall(r"Inference \(median\): +([0-9.]+) ms", out + err)
                found.setdefault("litert-benchmark", []).append(float(figure))
        rows[file.name] = {key: round(statistics.median(ms), 4) for key, ms in found.items()}
    return rows


VALIDATED = [
    (space, runtime)
    for runtime in ("onnxruntime", "litert")
    for space in ("imagenet", "cifar-mbconv", "cam96.yaml")
]


def validate(bench: Bench) -> Row:
    """Raw and calibrated error on whole networks: three spaces, two runtimes, quiet."""
    rows = {}
    for space, runtime in VALIDATED:
        name = f"{Path(space).stem}-{runtime}"
        path = bench.table(name, ["--space", space, "--runtime", runtime, "--budget", "60"])
        for side in (".calibration.json", ".validation.json"):
            path.with_name(path.stem + side).unlink(missing_ok=True)
        words = ["validate", "--space", space, "--table", str(path)]
        found = bench.json([*words, "--networks", "14", "--spread", "14"])
        keys = ("mape", "bias", "calibrated_mape", "kendall_tau", "machine_speed")
        rows[name] = {key: round(found[key], 4) for key in keys} | {
            "verdict": found["verdict"],
            "wall_s": found["wall_s"],
        }
    return rows


def verify(bench: Bench) -> Row:
    """Verdicts: on a target that a quiet run meets, and on one that the network exceeds by 6%."""
    table, file = bench.table("quiet", ["--budget", "60"]), bench.onnx()
    words = ["verify", str(file), "--table", str(table), "--target-ms"]
    true = [bench.json([*words, "1000"])["table_speed_ms"] for _ in range(3)]
    met, missed = statistics.median(true), statistics.median(true) / 1.06
    rows = {}
    for name, target, busy in (
        ("met, busy", met, True),
        ("6% over, quiet", missed, False),
        ("6% over, busy", missed, True),
    ):
        found = [
            bench.json([*words, f"{target:.6f}"], busy=seed if busy else None)
            for seed in range(bench.runs)
        ]
        verdicts = [item["verdict"] for item in found]
        rows[name] = {word: verdicts.count(word) for word in ("agrees", "undecided", "missed")} | {
            "seconds": [item["wall_s"] for item in found]
        }
    return {"target_met": round(met, 4), **rows}


def search(bench: Bench) -> Row:
    """`search --table tables/pixel1.csv` beside two hogs, over its quiet time."""
    seconds = {}
    for name, busy in (("quiet", None), ("busy", 0)):
        folder = bench.folder / f"search-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        words = [*TOOL, "search", "--table", "tables/pixel1.csv", "--output", str(folder)]
        code, wall, _, err = bench.run([*words, "--quiet"], busy=busy)
        if code:
            raise SystemExit(err[-500:])
        seconds[name] = round(wall, 1)
    return {**seconds, "ratio": round(seconds["busy"] / seconds["quiet"], 2)}


ROWS: dict[str, Callable[[Bench], Row]] = {
    "profile_budget": profile_budget,
    "two_tables": two_tables,
    "validate": validate,
    "ten_benchmarks": ten_benchmarks,
    "agreement": agreement,
    "demo_quiet": demo_quiet,
    "demo_busy": demo_busy,
    "verify": verify,
    "search": search,
    "demo_scarce": demo_scarce,
    "tests": tests,
}


def kept() -> dict[str, Row]:
    """The rows that are there."""
    found: dict[str, Row] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def show(rows: dict[str, Row]) -> None:
    """The rows for people."""
    for name, make in ROWS.items():
        print(f"== {name}: {(make.__doc__ or '').strip()}")
        row = rows.get(name)
        if row is None:
            print("   not run yet")
            continue
        for key, value in row.items():
            print(f"   {key}: {json.dumps(value)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--row", action="append", choices=list(ROWS), help="run it, again if kept")
    parser.add_argument("--folder", type=Path, default=Path("runs/any-machine"))
    parser.add_argument("--runs", type=int, default=RUNS, help="of ten_benchmarks and verify")
    parser.add_argument("--show", action="store_true", help="only print what is kept")
    parser.add_argument("--json", action="store_true", help="print one object as the last line")
    arguments = parser.parse_args()
    rows = kept()
    if not arguments.show:
        with (RESULTS.parent / ".any_machine.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SystemExit("another any_machine.py is measuring on this machine.") from None
            bench = Bench(arguments.folder.resolve(), arguments.runs)
            for name in arguments.row or [name for name in ROWS if name not in rows]:
                print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
                rows = kept() | {name: ROWS[name](bench)}
                RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    show(rows)
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
