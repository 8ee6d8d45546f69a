"""A bundle: the models of a profile, with a script that times them elsewhere.

DIR/manifest.json     which op each model is, the order of visits, the setting
DIR/models/*.tflite   one model per op
DIR/run.sh            times them with ``benchmark_model``; may be stopped and started again
DIR/logs/             what run.sh writes: ``device.txt`` and one file per finished round
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.adb import DEFAULT_TOOL
from proxyless_hw.profilers.android.phone_flags import DELEGATE_KEYS, benchmark_flags, tool_command
from proxyless_hw.profilers.android.phone_loop import loop_script
from proxyless_hw.profilers.base import Workload
from proxyless_hw.profilers.device_options import MobileOptions
from proxyless_hw.profilers.models.building import REFERENCE_OP
from proxyless_hw.profilers.models.model_files import write_model_files
from proxyless_hw.profilers.options import described_options, given_options
from proxyless_hw.profilers.profile import ProfileConfig, needed_ops
from proxyless_hw.profilers.registry import profiler_settings
from proxyless_hw.space.search_space import SearchSpace

SCHEMA: Final = "proxyless-hw-bundle/1"
DEFAULT_ROUNDS: Final = 15
MAX_ROUNDS: Final = 999

_TOOL = '"$TOOL"'
_OPTION_KEYS = ("delegate", *DELEGATE_KEYS, "taskset")
"""Options that the manifest keeps, because reading the logs needs them."""
_FLAG_KEYS = ("runs", "min_secs", "max_secs", "warmup_runs", "warmup_min_secs")
"""Options that stand in the script as flags of the tool."""


def write_bundle(config: ProfileConfig, directory: Path, rounds: int = DEFAULT_ROUNDS) -> int:
    """Writes the models that a profile needs, with a script that times them elsewhere.

    Args:
        config: what to profile; its output is not used.
        directory: a folder that does not exist yet, or is empty.
        rounds: passes over all models, each in an order of its own.

    Returns:
        The number of models.

    Raises:
        ProfilingError: the folder holds something, cannot be written, or an option is wrong.
        BackendUnavailableError: the TFLite converter is not installed.
        SpaceError: the space is malformed.
    """
    if not 1 <= rounds <= MAX_ROUNDS:
        raise ProfilingError(f"a bundle has 1 to {MAX_ROUNDS} rounds: received {rounds}.")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ProfilingError(
            f"{directory} is there already and is not empty. Give --bundle a new folder."
        )
    if config.settings.metric == "energy":
        raise ProfilingError(
            "benchmark_model does not measure energy. Bundle with --metric latency."
        )
    _check_options(given_options(config.settings.options))
    config = replace(config, settings=profiler_settings("mobile", config.settings))
    flags, command = benchmark_flags(config.settings), tool_command(config.settings, "TOOL")
    space = config.loaded_space()
    ops = list(needed_ops(space, config))
    listed = ops if REFERENCE_OP in ops else [*ops, REFERENCE_OP]
    workloads = [Workload(op.key, op=op, batch_norm=space.batch_norm) for op in listed]
    names = [workload.name for workload in workloads]
    generator = np.random.default_rng(config.timing.seed)
    orders = [
        _segments(generator.permutation(len(ops)).tolist(), config.timing.segment)
        for _ in range(rounds)
    ]
    manifest = _manifest(config, space, names, orders, [*command[:-1], *flags])
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=directory.parent) as temporary:
            work = Path(temporary) / "bundle"
            (work / "models").mkdir(parents=True)
            write_model_files(workloads, config.settings, "tflite", work / "models")
            (work / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
            script = work / "run.sh"
            text = _script(manifest, [*(shlex.quote(word) for word in command[:-1]), _TOOL], flags)
            script.write_text(text, "utf-8")
            script.chmod(0o755)
            os.replace(work, directory)
    except OSError as cause:
        raise ProfilingError(
            f"cannot write the bundle {directory}: {cause.strerror or cause}."
        ) from cause
    return len(workloads)


def _check_options(given: Mapping[str, str]) -> None:
    """Refuses options for a phone that is attached here; a bundle's script has no such phone."""
    known = {option.name for option in described_options(MobileOptions)}
    useless = sorted(known.intersection(given) - {*_OPTION_KEYS, *_FLAG_KEYS})
    if useless:
        raise ProfilingError(
            f"option '{useless[0]}' is for a phone that is attached here; a bundle runs elsewhere. "
            f"With --bundle these apply: {', '.join([*_OPTION_KEYS, *_FLAG_KEYS])}."
        )


def _segments(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _manifest(
    config: ProfileConfig,
    space: SearchSpace,
    names: Sequence[str],
    orders: list[list[list[int]]],
    command: Sequence[str],
) -> dict[str, Any]:
    settings = config.settings
    return {
        "schema": SCHEMA,
        "id": secrets.token_hex(8),
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "space": space.id,
        "resolutions": list(config.resolutions or (space.resolution,)),
        "num_classes": config.num_classes or space.num_classes,
        "threads": settings.threads,
        "batch_size": settings.batch_size,
        "precision": settings.precision,
        "metric": settings.metric,
        "command": " ".join(command),
        "options": {
            key: value
            for key, value in given_options(settings.options).items()
            if key in _OPTION_KEYS
        },
        "reference": names.index(REFERENCE_OP.key),
        "models": list(names),
        "rounds": orders,
        "seed": config.timing.seed,
        "segment": config.timing.segment,
    }


def visited(segments: list[list[int]], reference: int) -> list[int]:
    """The models of a round in order, the reference before, between and after its segments."""
    order = [reference]
    for segment in segments:
        order += [*segment, reference]
    return order


def _script(manifest: dict[str, Any], command: Sequence[str], flags: Sequence[str]) -> str:
    parts = [_SCRIPT_HEAD.format(tool=DEFAULT_TOOL, id=manifest["id"])]
    total = len(manifest["rounds"])
    for number, segments in enumerate(manifest["rounds"], start=1):
        models = [
            f"models/m{index:04d}.tflite" for index in visited(segments, manifest["reference"])
        ]
        log = f"logs/{log_name(number)}"
        parts.append(
            f"if [ ! -e {log} ]; then\n"
            f'echo "round {number} of {total}" >&2\n'
            "{\n"
            + loop_script(models, " ".join(command), flags, (), "logs/run")
            + f"}} > logs/part.txt\n"
            f"mv logs/part.txt {log}\nfi\n"
        )
    parts.append(_SCRIPT_TAIL)
    return "".join(parts)


def log_name(number: int) -> str:
    """Name of the log of a round; rounds count from 1."""
    return f"round-{number:03d}.txt"


_SCRIPT_HEAD = """\
#!/bin/sh
# Times the models of this folder with TFLite's benchmark_model, on the device it runs on.
# On a phone:  adb push DIR /data/local/tmp/  then  adb shell sh /data/local/tmp/DIR/run.sh
# It may be stopped at any time; started again, it goes on after the last finished round.
# Afterwards copy the folder logs back and read it: proxyless-hw table import DIR --output T.csv
cd "$(dirname "$0")" || exit 1
TOOL="${{BENCHMARK_MODEL:-{tool}}}"
if [ -e ./benchmark_model ]; then TOOL=./benchmark_model; fi
if [ ! -x "$TOOL" ]; then
  echo "no benchmark_model that can be run at $TOOL: put it in this folder, make it executable," >&2
  echo "or name it: BENCHMARK_MODEL=PATH sh run.sh" >&2
  exit 1
fi
mkdir -p logs || exit 1
property() {{ getprop "$1" 2>/dev/null; }}
{{
echo "bundle: {id}"
echo "manufacturer: $(property ro.product.manufacturer)"
echo "model: $(property ro.product.model)"
echo "android: $(property ro.build.version.release)"
echo "platform: $(property ro.board.platform)"
echo "system: $(uname -srm)"
echo "host: $(uname -n)"
echo "governor: $(cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null)"
echo "tool: $(md5sum "$TOOL" 2>/dev/null | cut -c 1-32)"
echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
}} > logs/device.txt
"""

_SCRIPT_TAIL = """\
echo "done: the logs are in $(pwd)/logs" >&2
"""
