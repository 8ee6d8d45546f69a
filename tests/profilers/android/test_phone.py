"""A phone through adb, with a stand-in that runs the models and prints the real formats."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import standin_adb
from small_ops import TINY_SPACE

from proxyless_hw.cli import main
from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.android import adb as adb_module
from proxyless_hw.profilers.android.adb import (
    AdbProfiler,
    AdbSession,
    benchmark_flags,
    tool_command,
)
from proxyless_hw.profilers.android.adb_device import (
    AdbDevice,
    PhoneState,
    choose_device,
    find_adb,
    list_devices,
    parse_state,
)
from proxyless_hw.profilers.android.phone_loop import loop_script, split_runs
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.tables.table import LatencyTable

XNNPACK_RAN = "Replacing 58 out of 58 node(s) with delegate (TfLiteXNNPackDelegate) node"


class Phone:
    """A stand-in phone with the settings that reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.adb = folder / "adb"

    def configure(self, **behaviour: Any) -> None:
        standin_adb.configure(self.folder, **behaviour)

    def profiler(
        self, sleep: Callable[[float], None] = lambda _: None, **options: str
    ) -> AdbProfiler:
        quick = {"runs": "3", "min_secs": "0", "warmup_runs": "1", "adb": str(self.adb)}
        return AdbProfiler(ProfilerSettings(options={**quick, **options}), sleep)

    @property
    def device(self) -> AdbDevice:
        return choose_device(str(self.adb), None)

    def leftovers(self) -> list[str]:
        return [
            path.name
            for path in (self.folder / "root/data/local/tmp").iterdir()
            if path.name != "benchmark_model"
        ]


@pytest.fixture
def phone(tmp_path: Path) -> Phone:
    standin_adb.install(tmp_path / "phone", times_us=[1200, 1300, 1250])
    return Phone(tmp_path / "phone")


@pytest.fixture
def models(tmp_path: Path) -> list[Workload]:
    """Files that the stand-in does not look into: it prints made-up times."""
    found = []
    for name in ("conv", "mbconv", "classifier"):
        (tmp_path / f"{name}.tflite").write_bytes(name.encode())
        found.append(Workload(name, file=tmp_path / f"{name}.tflite"))
    return found


def test_a_phone_times_models_in_the_order_asked_for(
    phone: Phone, tflite_workloads: list[Workload]
) -> None:
    phone.configure(times_us=None)
    with phone.profiler().open(tflite_workloads) as session:
        visits = session.visit([1, 0, 1])
    assert len(visits) == 3
    assert all(0 < visit.min <= visit.value <= visit.p90 for visit in visits)
    assert all(visit.calls == 3 for visit in visits)
    assert phone.leftovers() == []


def test_many_models_take_one_adb_call(phone: Phone, models: list[Workload]) -> None:
    with phone.profiler().open(models) as session:
        before = len(standin_adb.calls(phone.folder))
        session.visit([0, 1, 2, 0])
        assert len(standin_adb.calls(phone.folder)) == before + 1
        assert session.last_state == PhoneState(30.0, 87, 0)


def test_the_description_names_the_phone_and_its_setting(phone: Phone) -> None:
    described = phone.profiler(taskset="f0", delegate="none").describe()
    assert described["device"] == "Google Pixel 1"
    assert described["device_kind"] == "mobile"
    assert described["runtime"] == "tflite-none"
    assert described["runtime_version"].startswith("md5 ")
    assert "Android 10" in described["fingerprint"]
    assert "taskset f0 benchmark_model" in described["command"]
    assert "--use_xnnpack=false" in described["command"]


@pytest.mark.parametrize("variant", ["mean only", "very old"])
@pytest.mark.parametrize("returns", [False, True])
def test_older_builds_give_means_and_the_description_says_so(
    phone: Phone, models: list[Workload], variant: str, returns: bool
) -> None:
    phone.configure(variant=variant, prefix="", carriage_returns=returns)
    profiler = phone.profiler()
    with profiler.open(models[:1]) as session:
        assert session.visit([0])[0].value > 0
    assert profiler.describe()["visit_statistic"] == "mean"


def test_a_build_that_changes_half_way_is_noticed(phone: Phone, models: list[Workload]) -> None:
    with phone.profiler().open(models) as session:
        phone.configure(variant="mean only")
        with pytest.raises(ProfilingError, match="gave a median before and a mean"):
            session.visit([0])


def test_memory_is_the_peak_that_the_tool_prints(phone: Phone, models: list[Workload]) -> None:
    profiler = phone.profiler()
    profiler.settings = ProfilerSettings(metric="memory", options=profiler.settings.options)
    with profiler.open(models[:1]) as session:
        assert session.visit([0])[0].value == 24.1
    assert profiler.describe()["unit"] == "MB"


def test_without_adb_both_ways_on_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BackendUnavailableError, match=r"adb is not installed.*--bundle.*litert"):
        find_adb(None)


def test_without_a_phone_both_ways_on_are_named(phone: Phone) -> None:
    phone.configure(devices={})
    with pytest.raises(BackendUnavailableError, match=r"no phone is attached.*--bundle.*litert"):
        choose_device(str(phone.adb), None)


def test_an_unauthorised_phone_says_what_to_press(phone: Phone) -> None:
    phone.configure(devices={"A1": "unauthorized"})
    with pytest.raises(BackendUnavailableError, match=r"A1 is not ready: unauthorized.*accept"):
        choose_device(str(phone.adb), None)


def test_an_offline_phone_is_named(phone: Phone) -> None:
    phone.configure(devices={"A1": "offline"})
    with pytest.raises(BackendUnavailableError, match="A1 is not ready: offline"):
        choose_device(str(phone.adb), None)


def test_two_phones_need_a_serial(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    phone.configure(devices={"A1": "unauthorized", "B2": "device"})
    with pytest.raises(BackendUnavailableError, match=r"2 phones are attached.*--serial B2"):
        choose_device(str(phone.adb), None)
    assert choose_device(str(phone.adb), "B2").serial == "B2"
    monkeypatch.setenv("ANDROID_SERIAL", "B2")
    assert choose_device(str(phone.adb), None).serial == "B2"


def test_a_wrong_serial_names_the_nearest(phone: Phone) -> None:
    with pytest.raises(BackendUnavailableError, match="Did you mean 'PHONE1'"):
        choose_device(str(phone.adb), "PHONE2")


def test_the_list_of_phones_leaves_out_messages_of_the_daemon(phone: Phone) -> None:
    assert list_devices(str(phone.adb)) == {"PHONE1": "device"}
    phone.configure(devices={"A1": "no permissions (user is not in the plugdev group)"})
    assert list(list_devices(str(phone.adb))) == ["A1"]


def test_a_phone_without_the_tool_says_how_to_get_it(
    tmp_path: Path, models: list[Workload]
) -> None:
    standin_adb.install(tmp_path / "bare", has_tool=False)
    bare = Phone(tmp_path / "bare")
    with pytest.raises(BackendUnavailableError, match=r"cannot be run.*benchmark_model=FILE"):
        bare.profiler().open(models)
    assert bare.leftovers() == []


def test_a_local_tool_is_copied_to_the_phone(
    phone: Phone, tmp_path: Path, models: list[Workload]
) -> None:
    on_phone = phone.folder / "root/data/local/tmp/benchmark_model"
    local = tmp_path / "my benchmark"
    on_phone.rename(local)
    profiler = phone.profiler(benchmark_model=str(local))
    with profiler.open(models[:1]) as session:
        assert session.visit([0])[0].value > 0
    assert profiler.describe()["runtime_version"].startswith("md5 ")


def test_a_model_that_crashes_the_tool_is_named(phone: Phone, models: list[Workload]) -> None:
    phone.configure(crashing=["m0001.tflite"])
    with (
        phone.profiler().open(models) as session,
        pytest.raises(ProfilingError, match=r"failed on mbconv.*exit code 134 \(signal 6\)"),
    ):
        session.visit([0, 1, 2])


@pytest.mark.parametrize("behaviour", [{"garbage": ["m0001.tflite"]}, {"cut_after": 700}])
def test_garbage_and_cut_off_output_are_refused(
    phone: Phone, models: list[Workload], behaviour: dict[str, Any]
) -> None:
    with phone.profiler().open(models) as session:
        phone.configure(**behaviour)
        with pytest.raises(ProfilingError, match=r"mbconv.* (cut off|holds no number)"):
            session.visit([1])


def test_a_phone_unplugged_half_way_says_how_to_go_on(phone: Phone, models: list[Workload]) -> None:
    with phone.profiler().open(models) as session:
        phone.configure(unplugged_after_models=1)
        with pytest.raises(ProfilingError, match=r"(gone|after 1 of 3 models).*--resume"):
            session.visit([0, 1, 2])


def test_a_full_phone_is_one_message(phone: Phone, models: list[Workload]) -> None:
    phone.configure(push_fails=True)
    with pytest.raises(ProfilingError, match="No space left on device"):
        phone.profiler().open(models)


def test_a_refused_delegate_is_an_error(phone: Phone, models: list[Workload]) -> None:
    phone.configure(delegate_lines=["Failed to apply GPU delegate."])
    with pytest.raises(ProfilingError, match="the gpu delegate was refused"):
        phone.profiler(delegate="gpu").open(models)


def test_a_partly_applied_delegate_needs_consent(phone: Phone, models: list[Workload]) -> None:
    applied = "Explicitly applied GPU delegate, and the model graph will be partially executed by"
    phone.configure(delegate_lines=[f"{applied} the delegate w/ 1 delegate kernels."])
    with pytest.raises(ProfilingError, match="ran only a part"):
        phone.profiler(delegate="gpu").open(models)
    with phone.profiler(delegate="gpu", delegate_partial="allow").open(models):
        pass


def test_a_gpu_that_fell_back_to_the_cpu_is_an_error(phone: Phone, models: list[Workload]) -> None:
    phone.configure(delegate_lines=[XNNPACK_RAN])
    with pytest.raises(ProfilingError, match="TfLiteXNNPackDelegate 58 of 58 nodes"):
        phone.profiler(delegate="gpu").open(models)


def test_the_header_says_what_ran_the_nodes_and_which_flags_the_tool_missed(
    phone: Phone, models: list[Workload]
) -> None:
    unknown = "Unconsumed cmdline flags: --warmup_min_secs=0.02"
    phone.configure(delegate_lines=[XNNPACK_RAN, unknown])
    profiler = phone.profiler(delegate="xnnpack")
    assert "ran_on" not in profiler.describe()
    with profiler.open(models) as session:
        session.visit([0, 1, 1])
    described = profiler.describe()
    assert described["ran_on"] == "TfLiteXNNPackDelegate 116 of 116 nodes in 2 models"
    assert described["unknown_flags"] == "--warmup_min_secs=0.02"


def test_a_flag_that_decides_what_is_measured_must_be_known(
    phone: Phone, models: list[Workload]
) -> None:
    phone.configure(delegate_lines=["Unconsumed cmdline flags: --num_threads=1"])
    with pytest.raises(ProfilingError, match="does not know --num_threads=1"):
        phone.profiler().open(models)


def test_a_model_that_something_else_runs_now_is_noticed(
    phone: Phone, models: list[Workload]
) -> None:
    phone.configure(delegate_lines=[XNNPACK_RAN])
    with phone.profiler().open(models) as session:
        phone.configure(delegate_lines=[])
        with pytest.raises(ProfilingError, match="58 of 58 nodes before; one table holds one"):
            session.visit([0])


def test_a_newer_tools_files_say_what_ran_and_how_long(
    phone: Phone, models: list[Workload]
) -> None:
    from test_runtime_info import result, runtime_info

    info = runtime_info({"LITERT_CL": [0, 1], "TfLiteXNNPackDelegate": [2]}, 4)
    phone.configure(runtime_info=info.hex(), result=result(5.015).hex(), times_us=[5000.0, 5040.0])
    with pytest.raises(ProfilingError, match=r"LITERT_CL 2 of 4 nodes, .*CPU 1 of 4 nodes"):
        phone.profiler(delegate="gpu").open(models)
    profiler = phone.profiler(delegate="gpu", delegate_partial="allow")
    with profiler.open(models[:1]) as session:
        assert session.visit([0])[0].value == pytest.approx(5.015)
    assert profiler.describe()["ran_on"] == (
        "LITERT_CL 2 of 4 nodes; TfLiteXNNPackDelegate 1 of 4 nodes; CPU 1 of 4 nodes in 1 models"
    )
    assert phone.leftovers() == []


def test_the_library_of_an_external_delegate_reaches_the_tool(
    phone: Phone, models: list[Workload]
) -> None:
    phone.configure(
        delegate_lines=["Replacing 3 out of 3 node(s) with delegate (TfLiteQnnDelegate) node"]
    )
    profiler = phone.profiler(delegate="external", delegate_library="/d/libQnn.so")
    assert "--external_delegate_path=/d/libQnn.so" in profiler.describe()["command"]
    assert profiler.describe()["runtime"] == "tflite-external"
    with profiler.open(models[:1]):
        pass
    assert profiler.describe()["ran_on"] == "TfLiteQnnDelegate 3 of 3 nodes in 1 models"


def test_a_hot_phone_cools_down_before_the_next_segment(
    phone: Phone, models: list[Workload]
) -> None:
    waits: list[float] = []
    phone.configure(battery_tenths=[300, 455, 440, 410])
    with phone.profiler(sleep=waits.append).open(models) as session:
        session.visit([0])
        assert waits == []
        session.visit([0])
    assert waits == [10.0, 10.0]


def test_a_phone_that_stays_hot_is_an_error(phone: Phone, models: list[Workload]) -> None:
    phone.configure(battery_tenths=[500])
    with (
        phone.profiler(cool_down_s="30").open(models) as session,
        pytest.raises(ProfilingError, match=r"stays hot after 30 s .*50.0 °C.*max_battery_c"),
    ):
        session.visit([0])


def test_a_hanging_phone_ends_at_the_time_limit(
    phone: Phone, models: list[Workload], tmp_path: Path
) -> None:
    sleeper = tmp_path / "adb-that-hangs"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    sleeper.chmod(0o755)
    with pytest.raises(ProfilingError, match="did not end within 0 s"):
        AdbDevice("A1", str(sleeper)).shell("true", 0.3)


def test_a_file_that_is_no_program_is_one_message(tmp_path: Path) -> None:
    broken = tmp_path / "adb"
    broken.write_text("\x7fELF", encoding="latin-1")
    broken.chmod(0o755)
    with pytest.raises(BackendUnavailableError, match=r"cannot be run|devices failed"):
        list_devices(str(broken))


def test_another_kind_of_file_is_refused(phone: Phone, tmp_path: Path) -> None:
    with pytest.raises(ProfilingError, match=r"runs .tflite files.*net.onnx"):
        phone.profiler().open([Workload("net", file=tmp_path / "net.onnx")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": "many"}, "runs must be a whole number from 1"),
        ({"runs": "2.5"}, "runs must be a whole number from 1"),
        ({"min_secs": "nan"}, "min_secs must be a number"),
        ({"delegate": "tpu"}, "--delegate must be one of"),
    ],
)
def test_bad_options_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ProfilingError, match=message):
        benchmark_flags(ProfilerSettings(options=options))


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


@pytest.mark.usefixtures("converted")
def test_profile_measures_a_phone_end_to_end(
    phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone.configure(times_us=None)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE, encoding="utf-8")
    monkeypatch.setenv("PATH", f"{phone.folder}:{os.environ['PATH']}")
    out = tmp_path / "phone.csv"
    with pytest.raises(SystemExit) as exit_:
        main(
            [
                *("profile", "--device", "mobile", "--space", str(tmp_path / "tiny.yaml")),
                *("--serial", "PHONE1", "--taskset", "f0", "--goal", "0.9", "--quiet"),
                *("--option", "runs=3", "--option", "min_secs=0", "--output", str(out)),
            ]
        )
    assert exit_.value.code in (0, None)
    table = LatencyTable.load(out)
    assert len(table) == 4
    assert table.metadata["device"] == "Google Pixel 1"
    assert table.metadata["visit_statistic"] == "median"
    assert table.metadata["space"] == "tiny"
    assert all(entry.rounds is not None and entry.rounds >= 5 for entry in table.entries.values())
    assert phone.leftovers() == []


def test_a_profile_goes_on_after_the_phone_was_unplugged(
    phone: Phone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(adb_module, "write_model_files", dummy_files)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE, encoding="utf-8")
    out = tmp_path / "phone.csv"
    arguments = [
        *("profile", "--device", "mobile", "--space", str(tmp_path / "tiny.yaml"), "--quiet"),
        *("--option", f"adb={phone.adb}", "--goal", "0.5", "--output", str(out)),
    ]
    # The first ten calls find the phone, set it up and try a model; then there are two rounds.
    phone.configure(unplugged_after_calls=12)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 1
    assert "the phone PHONE1 is gone: error: device 'PHONE1' not found" in capsys.readouterr().err
    assert not out.exists()
    phone.configure(unplugged_after_calls=10**6)
    before = measured_segments(phone)
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, "--resume"])
    assert exit_.value.code in (0, None)
    again = measured_segments(phone) - before
    table = LatencyTable.load(out)
    rounds = max(entry.rounds or 0 for entry in table.entries.values())
    assert rounds == 5
    assert again == rounds - 2, "finished rounds are not measured again"


def measured_segments(phone: Phone) -> int:
    """Loops over more than one model, that is, without the trial when a session opens."""
    return sum("m0001" in call[-1] and "shell" in call for call in standin_adb.calls(phone.folder))


def dummy_files(workloads: list[Workload], _: Any, form: str, folder: Path) -> list[Path]:
    """Files without models, for tests in which nothing runs them."""
    paths = [folder / f"m{index:04d}.{form}" for index in range(len(workloads))]
    for path in paths:
        path.write_bytes(b"model")
    return paths


def test_profile_without_a_phone_is_one_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    out = tmp_path / "t.csv"
    with pytest.raises(SystemExit) as exit_:
        main(["profile", "--device", "mobile", "--output", str(out)])
    assert exit_.value.code == 1
    captured = capsys.readouterr()
    assert "error: adb is not installed" in captured.err
    assert "--bundle" in captured.err
    assert not out.exists()


def test_a_closed_session_may_be_closed_again(phone: Phone, models: list[Workload]) -> None:
    session = phone.profiler().open(models[:1])
    assert isinstance(session, AdbSession)
    session.close()
    session.close()
    assert phone.leftovers() == []
