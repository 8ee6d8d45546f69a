"""Which phone and which tool adb finds, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import standin_adb
from android_phone import Phone

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.android.adb import benchmark_flags
from proxyless_hw.profilers.android.adb_device import choose_device, find_adb, list_devices
from proxyless_hw.profilers.base import ProfilerSettings, Workload


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
