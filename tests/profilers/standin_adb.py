"""A stand-in for ``adb`` and the phone behind it, for tests.

`install` makes a folder with an executable ``adb`` and a phone: a root folder in which
``/data/local/tmp`` lies, and the commands a phone has (``taskset``, ``dumpsys``, ``getprop`` and
``benchmark_model``). Shell text runs in a real shell; ``benchmark_model`` runs the model through
the LiteRT interpreter and prints the lines of the real tool. ``phone.json`` in the same folder
says what else happens: which phones are attached, which output variant, which faults.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PHONE_TMP = "/data/local/tmp"


def install(folder: Path, **behaviour: Any) -> Path:
    """Makes the stand-in and returns the path of its ``adb``."""
    commands = folder / "commands"
    commands.mkdir(parents=True)
    (folder / "root/data/local/tmp").mkdir(parents=True)
    script = (
        f"#!/bin/sh\nexec '{sys.executable}' {{flags}} '{__file__}' {{name}} '{folder}' \"$@\"\n"
    )
    targets = [folder / "adb", *(commands / name for name in ("taskset", "dumpsys", "getprop"))]
    if behaviour.get("has_tool", True):
        targets.append(folder / "root/data/local/tmp/benchmark_model")
    for target in targets:
        # Only the tool needs the installed packages; the others start faster without them.
        flags = "" if target.name == "benchmark_model" else "-S"
        target.write_text(script.format(name=target.name, flags=flags), encoding="utf-8")
        target.chmod(0o755)
    (commands / "taskset").write_text('#!/bin/sh\nshift\nexec "$@"\n', encoding="utf-8")
    configure(folder, **behaviour)
    return folder / "adb"


def configure(folder: Path, **behaviour: Any) -> None:
    """Changes what the stand-in does from now on."""
    path = folder / "phone.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**known, **behaviour}), encoding="utf-8")


def calls(folder: Path) -> list[list[str]]:
    """The arguments of every call of ``adb`` so far."""
    path = folder / "calls.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def adb(folder: Path, arguments: list[str], phone: dict[str, Any]) -> int:
    with (folder / "calls.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(arguments) + "\n")
    devices = phone.get("devices", {"PHONE1": "device"})
    if len(calls(folder)) > phone.get("unplugged_after_calls", math.inf):
        devices = {}
    if arguments == ["devices"]:
        print("* daemon started successfully")
        print("List of devices attached")
        for serial, state in devices.items():
            print(f"{serial}\t{state}")
        print()
        return 0
    assert arguments[0] == "-s", arguments
    if arguments[1] not in devices:
        print(f"error: device '{arguments[1]}' not found", file=sys.stderr)
        return 1
    action, rest = arguments[2], arguments[3:]
    root = folder / "root"
    if action == "push":
        if phone.get("push_fails"):
            print("adb: error: failed to copy: No space left on device", file=sys.stderr)
            return 1
        target = root / rest[-1].lstrip("/")
        for source in map(Path, rest[:-1]):
            place = target / source.name if target.is_dir() else target
            place.write_bytes(source.read_bytes())
        return 0
    assert action == "shell", arguments
    text = " ".join(rest).replace(PHONE_TMP, str(root / PHONE_TMP.lstrip("/")))
    environment = {**os.environ, "PATH": f"{folder / 'commands'}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["sh", "-c", text], env=environment, capture_output=True, text=True, check=False
    )
    output = result.stdout.replace(str(root), "")
    unplugged = phone.get("unplugged_after_models")
    begun = output.split("\n@proxyless-hw begin ")
    if unplugged is not None and len(begun) - 1 > unplugged:
        sys.stdout.write("\n@proxyless-hw begin ".join(begun[: unplugged + 1]))
        configure(folder, devices={})
        print("error: closed", file=sys.stderr)
        return 1
    sys.stdout.write(output.replace("\n", "\r\n") if phone.get("carriage_returns") else output)
    return result.returncode


def getprop(arguments: list[str], phone: dict[str, Any]) -> int:
    values = {
        "ro.product.manufacturer": "Google",
        "ro.product.model": "Pixel 1",
        "ro.build.version.release": "10",
        "ro.board.platform": "msm8996",
    }
    print(values.get(arguments[0], ""))
    return 0


def dumpsys(folder: Path, arguments: list[str], phone: dict[str, Any]) -> int:
    temperatures = phone.get("battery_tenths", [300])
    if arguments[0] == "battery":
        print("Current Battery Service state:\n  AC powered: false\n  level: 87")
        print(f"  temperature: {temperatures[0]}")
        if len(temperatures) > 1:
            configure(folder, battery_tenths=temperatures[1:])
    else:
        print("IsStatusOverride: false\nThermalEventListeners:\nThermal Status: 0")
    return 0


def benchmark_model(arguments: list[str], phone: dict[str, Any]) -> int:
    if arguments == ["--help"]:
        side = "--model_runtime_info_output_file\n" if "runtime_info" in phone else ""
        print(f"usage: benchmark_model\n--graph\n{side}", file=sys.stderr)
        return 1
    flags = dict(item.removeprefix("--").split("=", 1) for item in arguments)
    name = Path(flags["graph"]).name
    prefix = phone.get("prefix", "INFO: ")
    if name in phone.get("crashing", ()):
        print(f"{prefix}STARTING!\n{prefix}Loaded model {flags['graph']}", flush=True)
        print("Aborted", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 6)
    if name in phone.get("garbage", ()):
        print("\x00\xff count=abc avg=?? \x1b[31m" * 50)
        return 0
    for flag, key in (
        ("model_runtime_info_output_file", "runtime_info"),
        ("result_file_path", "result"),
    ):
        if flag in flags and phone.get(key):
            Path(flags[flag]).write_bytes(bytes.fromhex(phone[key]))
    infer = _inference(flags, phone.get("times_us"))
    lines = [
        "STARTING!",
        f"Num threads: [{flags['num_threads']}]",
        f"Graph: [{flags['graph']}]",
        f"Loaded model {flags['graph']}",
        *phone.get("delegate_lines", []),
        f"The input model file size (MB): {Path(flags['graph']).stat().st_size / 2**20:.6g}",
        "Initialized session in 1.25ms.",
    ]
    means = []
    for runs in (int(flags["warmup_runs"]), int(flags["num_runs"])):
        lines.append(
            f"Running benchmark for at least {runs} iterations and at least "
            f"{flags['min_secs']} seconds but terminate if exceeding {flags['max_secs']} seconds."
        )
        times = [infer() for _ in range(max(1, runs))]
        lines += [stats_line(times, phone.get("variant", "full")), ""]
        means.append(statistics.fmean(times))
    if phone.get("variant") == "very old":
        lines.append(
            f"Average inference timings in us: Warmup: {means[0]:g}, Init: 1250, "
            f"no stats: {means[1]:g}"
        )
    else:
        lines.append(
            f"Inference timings in us: Init: 1250, First inference: {means[0]:g}, "
            f"Warmup (avg): {means[0]:g}, Inference (avg): {means[1]:g}"
        )
        lines.append("Overall peak memory footprint (MB) via periodic monitoring: 24.1")
    if flags.get("enable_op_profiling") == "true":
        # The tool logs each profile at once, so only its title has a prefix.
        for title, key in (
            ("Profiling Info for Benchmark Initialization:", "initial_profile"),
            ("Operator-wise Profiling Info for Regular Benchmark Runs:", "op_profile"),
        ):
            lines += [f"{title}\n{phone[key]}\n"] if key in phone else []
    text = "".join(f"{prefix if line else ''}{line}\n" for line in lines)
    sys.stdout.write(text[: phone.get("cut_after", len(text))])
    return 0


def stats_line(times: list[float], variant: str) -> str:
    """A statistics line in one of the forms that builds of the tool print."""
    ordered = sorted(times)
    line = (
        f"count={len(times)} first={times[0]:.0f} curr={times[-1]:.0f} min={ordered[0]:.0f} "
        f"max={ordered[-1]:.0f} avg={statistics.fmean(times):g} std={statistics.pstdev(times):.0f}"
    )
    if variant == "full":
        line += f" p5={ordered[0]:.0f} median={statistics.median(times):.0f} p95={ordered[-1]:.0f}"
    return line


def _inference(flags: dict[str, str], times_us: list[float] | None) -> Callable[[], float]:
    """What one inference takes in whole microseconds; made-up times where a test gives them."""
    if times_us is not None:
        return itertools.cycle(times_us).__next__
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(flags["graph"], num_threads=int(flags["num_threads"]))
    interpreter.allocate_tensors()

    def infer() -> float:
        start = time.perf_counter_ns()
        interpreter.invoke()
        return max(1.0, float(round((time.perf_counter_ns() - start) / 1e3)))

    return infer


def main() -> int:
    name, folder, arguments = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    phone = json.loads((folder / "phone.json").read_text(encoding="utf-8"))
    if name == "adb":
        return adb(folder, arguments, phone)
    if name == "dumpsys":
        return dumpsys(folder, arguments, phone)
    if name == "getprop":
        return getprop(arguments, phone)
    return benchmark_model(arguments, phone)


if __name__ == "__main__":
    sys.exit(main())
