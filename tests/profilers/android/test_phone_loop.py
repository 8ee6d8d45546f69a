"""The shell loop that runs models on a phone: its words, its flags, its output."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.adb import benchmark_flags, tool_command
from proxyless_hw.profilers.android.adb_device import PhoneState, parse_state
from proxyless_hw.profilers.android.phone_loop import loop_script, split_runs
from proxyless_hw.profilers.base import ProfilerSettings


def test_processors_become_a_mask() -> None:
    assert tool_command(ProfilerSettings(cpus=(4, 5)), "t") == ["taskset", "30", "t"]
    with pytest.raises(ProfilingError, match="hexadecimal mask"):
        tool_command(ProfilerSettings(options={"taskset": "f0; reboot"}), "t")
    with pytest.raises(ProfilingError, match="hexadecimal mask without 0x that names a processor"):
        tool_command(ProfilerSettings(options={"taskset": "00"}), "t")
    with pytest.raises(ProfilingError, match="--taskset and --cpus both say where to run"):
        tool_command(ProfilerSettings(cpus=(4,), options={"taskset": "f0"}), "t")
    with pytest.raises(ProfilingError, match="--cpus on a phone lists processors from 0 to 63"):
        tool_command(ProfilerSettings(cpus=(64,)), "t")


def test_the_tools_flags_carry_every_digit() -> None:
    options = {"min_secs": "0.0500001", "max_secs": "1e2", "runs": "7"}
    flags = benchmark_flags(ProfilerSettings(options=options))
    assert {"--min_secs=0.0500001", "--max_secs=100", "--num_runs=7"} <= set(flags)


def run_in_shell(script: str) -> str:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


def test_nothing_from_outside_is_run_by_the_phones_shell(tmp_path: Path) -> None:
    evil = f"/tmp/$(touch {tmp_path}/pwned)'; touch {tmp_path}/pwned; '.tflite"
    script = loop_script([evil], "printf '%s\\n'", ["--flag=$(touch " + str(tmp_path) + "/pwned)"])
    output = split_runs(run_in_shell(script))
    assert not (tmp_path / "pwned").exists()
    assert output.runs[0].output.splitlines()[0] == f"--graph={evil}"


def test_a_loop_that_was_cut_off_is_not_finished() -> None:
    whole = run_in_shell(loop_script(["a", "b"], "echo", []))
    assert split_runs(whole).finished
    for cut in range(len(whole) - 1):
        output = split_runs(whole[:cut])
        assert not output.finished
        assert len(output.runs) <= 2
    assert [run.exit_code for run in split_runs(whole).runs] == [0, 0]


def test_state_that_a_phone_does_not_tell_is_unknown() -> None:
    assert parse_state("") == PhoneState()
    assert parse_state("  temperature: -15\n  level: x\n") == PhoneState(battery_c=-1.5)
