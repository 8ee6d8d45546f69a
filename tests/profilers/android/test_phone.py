"""A phone through adb measures models, with a stand-in that prints the real formats."""

from __future__ import annotations

import pytest
import standin_adb
from android_phone import Phone

from proxyless_hw.profilers.android.adb_device import PhoneState
from proxyless_hw.profilers.base import ProfilerSettings, Workload


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


def test_memory_is_the_peak_that_the_tool_prints(phone: Phone, models: list[Workload]) -> None:
    profiler = phone.profiler()
    profiler.settings = ProfilerSettings(metric="memory", options=profiler.settings.options)
    with profiler.open(models[:1]) as session:
        assert session.visit([0])[0].value == 24.1
    assert profiler.describe()["unit"] == "MB"
