"""Faults while a phone measures: crashes, cut-off output, heat, a cable that is pulled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from android_phone import Phone

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.adb import AdbSession
from proxyless_hw.profilers.android.adb_device import AdbDevice
from proxyless_hw.profilers.base import Workload


def test_a_build_that_changes_half_way_is_noticed(phone: Phone, models: list[Workload]) -> None:
    with phone.profiler().open(models) as session:
        phone.configure(variant="mean only")
        with pytest.raises(ProfilingError, match="gave a median before and a mean"):
            session.visit([0])


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


def test_a_closed_session_may_be_closed_again(phone: Phone, models: list[Workload]) -> None:
    session = phone.profiler().open(models[:1])
    assert isinstance(session, AdbSession)
    session.close()
    session.close()
    assert phone.leftovers() == []
