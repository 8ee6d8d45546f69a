"""--json is one line on stdout for every command that has it; nothing piped holds a colour."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from tiny_spaces import TO_PROFILE

from proxyless_hw.cli import cli, main
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.published import published_names
from proxyless_hw.network.network import build_network
from proxyless_hw.pipeline import demo
from proxyless_hw.predictors.probes import choose_probes
from proxyless_hw.predictors.verdict import verification_of
from proxyless_hw.profilers.protocol.measurement import Measurement, TableSpeed
from proxyless_hw.search.result import SearchResult
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.entry import Entry
from proxyless_hw.tables.table import LatencyTable

# Every command with --json but the demo and specialize (tests/pipeline/test_specialize.py), in an
# order in which each finds what it reads.
COMMANDS = {
    "devices": "",
    "profile": "--space tiny.yaml --goal 0.5 --sessions 1 --output cpu.csv",
    "validate": "--table cpu.csv --space tiny.yaml --networks 3 --spread 3 --budget 1 --force",
    "verify": "tiny.json --table cpu.csv --target-ms 1000 --budget 1",
    "table show": "pixel1",
    "table check": "pixel1",
    "table diff": "pixel1 slower.csv --force",
    "table merge": "first.csv second.csv --output merged.csv",
    "table plot": "cpu.csv --output cpu.svg",
    "table import": "cpu.csv --output imported.csv",
    "table calibrate": "slower.csv --from measured.json",
    "table probes": "--from pixel1 -n 3 --output probes.txt",
    "table transfer": "--from pixel1 --probes probes.csv --output transferred.csv",
    "fit": "first.csv",
    "predict": "network-0.json --table pixel1 --breakdown --kind lookup",
    "search": "--space tiny.yaml --table made-up.csv --target-ms 5 --limit 64 --batch-size 16 "
    "--epochs 1 --warmup-epochs 1 --finalists 1 --output run",
    "derive": "run --target-ms 6",
    "pareto": "run --points 3",
    "train": "run --epochs 1 --limit 64 --batch-size 16 --output trained",
    "evaluate": "trained",
    "export": "trained --format onnx --resolution 32 --output net.onnx",
    "benchmark": "net.onnx --budget 1",
    "report": "run",
    "space list": "imagenet cifar-mbconv",
    "zoo list": "",
    "zoo show": "proxyless-mobile",
    "import-weights": "mobile.pth --output imported",
}
# Cheap ones that print for people on stdout.
FOR_PEOPLE = (
    *("devices", "table show", "table check", "table diff", "fit", "predict", "pareto"),
    *("report", "space list", "zoo list", "zoo show"),
)


@dataclass(frozen=True)
class Said:
    """What a command gave."""

    code: int
    out: str
    err: str


def call(*words: str) -> Said:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def with_json(group: click.Group, context: click.Context, before: str = "") -> Iterator[str]:
    """The names of all commands that have --json."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from with_json(command, context, f"{name} ")
        elif command is not None and any("--json" in option.opts for option in command.params):
            yield before + name


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """Every command with --json, run once."""
    folder = tmp_path_factory.mktemp("forms")
    told: dict[str, Said] = {}
    with contextlib.chdir(folder):
        write_inputs()
        for name, options in COMMANDS.items():
            told[name] = call(*name.split(), *options.split(), "--json")
        for name in FOR_PEOPLE:
            told[f"{name}, for people"] = call(*name.split(), *COMMANDS[name].split())
    return told


def write_inputs() -> None:
    """What the commands read and none of them writes."""
    Path("tiny.yaml").write_text(TO_PROFILE)
    tiny = SearchSpace.from_yaml(TO_PROFILE)
    Architecture.from_choices(tiny, [0] * len(tiny.slots)).save(Path("tiny.json"))
    costs = {op: Entry(1.0, 0.99, 1.01) for op in tiny.ops()}
    one_ms = {"metric": "latency", "unit": "ms", "device": "made up", "num_classes": "10"}
    LatencyTable(costs, one_ms).save(Path("made-up.csv"))
    pixel1 = LatencyTable.load("pixel1")
    rows = list(pixel1.entries.items())
    LatencyTable(dict(rows[:40]), pixel1.metadata).save(Path("first.csv"))
    LatencyTable(dict(rows[40:]), pixel1.metadata).save(Path("second.csv"))
    slower = {
        op: replace(entry, value=2 * entry.value, ci_low=None, ci_high=None) for op, entry in rows
    }
    other = {**pixel1.metadata, "device": "another phone"}
    LatencyTable(slower, other).save(Path("slower.csv"))
    chosen = choose_probes(pixel1, 12)
    LatencyTable({op: slower[op] for op in chosen}, other).save(Path("probes.csv"))
    space, generator = SearchSpace.load("imagenet"), np.random.default_rng(0)
    networks = []
    for index in range(8):
        choices = [int(generator.integers(len(slot.candidates))) for slot in space.slots]
        arch = Architecture.from_choices(space, choices)
        arch.save(Path(f"network-{index}.json"))
        latency = 2 * pixel1.latency_ms(arch) * (1.02 + 0.01 * generator.standard_normal())
        networks.append({"network": f"network-{index}.json", "measured_ms": latency})
    Path("measured.json").write_text(json.dumps(networks))
    network = build_network(load_architecture("proxyless-mobile"), seed=0)
    names = published_names(network)
    torch.save({names[key]: value for key, value in network.state_dict().items()}, "mobile.pth")


def test_every_command_with_json_is_here() -> None:
    found = set(with_json(cli, click.Context(cli)))
    assert found == {*COMMANDS, "demo", "specialize"}


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_object_on_one_line(name: str, said: dict[str, Said]) -> None:
    assert said[name].code == 0, said[name].err
    assert one_object(said[name].out)


def one_object(out: str) -> Any:
    assert out.endswith("\n")
    assert len(out.splitlines()) == 1
    document = json.loads(out)
    assert isinstance(document, dict)
    return document


def test_json_holds_for_the_other_forms_of_a_network(said: dict[str, Said]) -> None:
    document = one_object(call("zoo", "show", "mnasnet-b1", "--format", "timm", "--json").out)
    assert document["format"] == "timm"
    assert "ds_r1_k3_s1_c16" in document["text"]


def test_json_holds_for_several_networks_and_for_an_incomplete_table(
    tmp_path: Path, said: dict[str, Said]
) -> None:
    several = call("predict", "--compare", "mobilenet-v2", "mnasnet-b1", "--table", "pixel1",
                   "--kind", "lookup", "--json")  # fmt: skip
    assert several.code == 1
    assert one_object(several.out)["latency_ms"] == [[None], [None]]
    lacking = call("table", "check", "pixel1", "--resolution", "64", "--json")
    assert lacking.code == 1
    assert one_object(lacking.out)["complete"] is False


@pytest.mark.parametrize(
    ("target", "verdict"), [(6.2, "agrees"), (6.0, "undecided"), (5.0, "missed")]
)
def test_the_demo_ends_well_whatever_it_finds(
    target: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the loop itself replaced: it takes minutes. A disagreement is a sentence, no error."""
    speed = TableSpeed(median=6.2, ci_low=6.1, ci_high=6.3, machine_speed=0.5)
    measured = Measurement(
        name="demo.onnx", median=12.4, ci_low=12.2, ci_high=12.6, p90=13.0, min=12.0, unit="ms",
        rounds=10, samples=90, converged=True, table_speed=speed,
    )  # fmt: skip
    arch = load_architecture("mobilenet-v2")
    found = SearchResult(
        folder=Path("run"), architecture=arch, target=target, predicted=6.2, accuracy=0.9
    )
    onnx = verification_of(target, 6.2, measured)
    result = demo.DemoResult(Path("run"), found, onnx, replace(measured, table_speed=None), 1.0)
    monkeypatch.setattr(demo, "run_demo", lambda *_: result)
    told = call("demo", "--json")
    assert told.code == 0
    document = one_object(told.out)
    assert document["verdict"] == verdict
    assert [item["runtime"] for item in document["files"]] == ["ONNX Runtime", "LiteRT"]
    shown = call("demo")
    assert shown.code == 0
    assert "\x1b" not in shown.out
    assert "50% slower" in " ".join(shown.out.split())


@pytest.mark.parametrize("name", [*COMMANDS, *(f"{name}, for people" for name in FOR_PEOPLE)])
def test_nothing_piped_holds_an_escape_sequence(name: str, said: dict[str, Said]) -> None:
    assert "\x1b" not in said[name].out
    assert "\x1b" not in said[name].err
    if name.endswith("people") and name != "report, for people":
        assert said[name].out.strip()


def test_a_pipe_gets_no_colours_and_a_terminal_does() -> None:
    words = [sys.executable, "-m", "proxyless_hw", "zoo", "list"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"}
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        environment.pop(name, None)
    piped = subprocess.run(words, env=environment, capture_output=True, check=True)
    assert b"proxyless-mobile" in piped.stdout
    assert b"\x1b" not in piped.stdout + piped.stderr
    reader, writer = pty.openpty()
    with subprocess.Popen(words, env=environment, stdout=writer, stderr=writer) as process:
        os.close(writer)
        shown = b""
        with contextlib.suppress(OSError):  # Linux ends a terminal's reader with EIO
            while part := os.read(reader, 4096):
                shown += part
        os.close(reader)
    assert process.returncode == 0
    assert b"proxyless-mobile" in shown
    assert b"\x1b[" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "export mobilenet-v2 --resolution 32 --format tflite --output net.tflite",
        "export mobilenet-v2 --resolution 32 --format tflite --precision int8 --output int8.tflite",
        "profile --runtime litert --only ops.txt --goal 0.5 --sessions 1 --output litert.csv",
        "profile --device mobile --only ops.txt --bundle bundle",
    ],
)
def test_converters_print_nothing_into_the_json(command: str, tmp_path: Path) -> None:
    """As a process of its own: what libraries write past Python would show here."""
    ops = list(SearchSpace.load("imagenet").ops(32))[:2]
    (tmp_path / "ops.txt").write_text("".join(f"{op.key}\n" for op in ops))
    done = subprocess.run(
        [sys.executable, "-m", "proxyless_hw", *command.split(), "--json"],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one_object(done.stdout)
    assert "\x1b" not in done.stderr
