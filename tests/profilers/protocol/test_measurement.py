"""Measurements and how they were made, in the form that goes between processes and to people."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.protocol.measurement import Anchors, Measurement, Measuring, TableSpeed
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.anchors import ANCHORS_KEY, format_anchors
from proxyless_hw.tables.table import Entry, LatencyTable

VALUES = st.floats(1e-6, 1e6)
MEASUREMENTS = st.builds(
    Measurement,
    name=st.text(max_size=20),
    median=VALUES,
    ci_low=VALUES,
    ci_high=VALUES,
    p90=VALUES,
    min=VALUES,
    unit=st.sampled_from(["ms", "mJ", "MB"]),
    rounds=st.integers(1, 1000),
    samples=st.integers(1, 10**6),
    converged=st.booleans(),
    cache=st.sampled_from(["", "network", "hot", "cold"]),
    batch_size=st.none() | st.integers(1, 64),
    input_shape=st.none() | st.just("1x3x224x224"),
    table_speed=st.none()
    | st.builds(TableSpeed, median=VALUES, ci_low=VALUES, ci_high=VALUES, machine_speed=VALUES),
)


@settings(deadline=None, max_examples=60)
@given(MEASUREMENTS)
def test_a_measurement_comes_back_from_its_json(item: Measurement) -> None:
    assert Measurement.from_json(json.loads(json.dumps(item.to_json(), allow_nan=False))) == item


@settings(deadline=None, max_examples=60)
@given(MEASUREMENTS)
def test_milliseconds_stand_in_the_json_only_where_the_unit_is_ms(item: Measurement) -> None:
    document = item.to_json()
    keys = {key for key in document if key.endswith("_ms")}
    expected = {"median_ms", "ci_low_ms", "ci_high_ms", "p90_ms", "min_ms"}
    assert keys == (expected if item.unit == "ms" else set())
    assert {"median", "ci_low", "ci_high", "unit", "cache", "batch_size", "input_shape"} <= set(
        document
    )


@settings(deadline=None, max_examples=60)
@given(MEASUREMENTS)
def test_table_speed_stands_in_the_json_where_it_is_known(item: Measurement) -> None:
    document = item.to_json()
    keys = {"table_speed_median", "table_speed_ci_low", "table_speed_ci_high", "machine_speed"}
    assert keys & set(document) == (set() if item.table_speed is None else keys)
    assert "table_speed" not in document


def test_what_another_version_adds_is_not_taken_for_a_field() -> None:
    item = Measurement(
        name="x", median=2.0, ci_low=1.9, ci_high=2.1, p90=2.2, min=1.8, unit="ms", rounds=9,
        samples=90, converged=True,
    )  # fmt: skip
    assert Measurement.from_json({**item.to_json(), "file_mb": 3.0}) == item
    assert item.half_width == pytest.approx(0.05)


@pytest.mark.parametrize(
    "how",
    [
        Measuring(),
        Measuring(
            settings=ProfilerSettings(
                runtime="litert", threads=2, cpus=(0, 2), options={"cache": "hot"}
            ),
            device="cpu",
            timing=TimingConfig(goal=0.006, budget_s=12.5, spend=False),
            sessions=5,
            anchors=Anchors({"conv-8x8x3-4x4x8-k3-s2-e1-skip0-relu6-se0": 0.25}, "network 3 MB"),
        ),
    ],
)
def test_how_to_measure_goes_to_another_process_whole(how: Measuring) -> None:
    again = Measuring.from_dict(json.loads(json.dumps(how.to_dict())))
    assert again == how


def test_every_setting_of_measuring_goes_to_the_other_process() -> None:
    left_behind = {"progress", "say"}
    assert set(Measuring().to_dict()) == {item.name for item in fields(Measuring)} - left_behind


def test_typed_device_options_go_as_what_differs_from_their_defaults() -> None:
    from proxyless_hw.profilers.device_options import CpuOptions

    typed = ProfilerSettings(options=CpuOptions(cache="cold", cache_mb=3.0))
    again = Measuring.from_dict(json.loads(json.dumps(Measuring(settings=typed).to_dict())))
    assert again.settings.options == {"cache": "cold", "cache_mb": "3.0"}


def test_anchors_of_a_table_hold_its_caches() -> None:
    op = OpSpec("conv", 8, 8, 3, 4, 4, 8, kernel=3, stride=2, act="relu6")
    header = {"metric": "latency", "cache": "network 3 MB", ANCHORS_KEY: format_anchors({op: 0.25})}
    found = Anchors.of(LatencyTable({op: Entry(0.25)}, header))
    assert found is not None
    assert found == Anchors({op.key: 0.25}, "network 3 MB")
    (workload,) = found.workloads()
    assert workload.op == op
    assert workload.name != op.key  # a network or file may have that name


def test_a_table_without_anchors_gives_none() -> None:
    assert Anchors.of(LatencyTable.load("pixel1")) is None
