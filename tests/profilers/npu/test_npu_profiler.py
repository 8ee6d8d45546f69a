"""What an NPU's profiler makes of a compiler's estimates; the compiler here is made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_compiler import AROUND, HZ, MadeUpCompiler, made_up_npu
from small_ops import SMALL_OPS

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, TableError
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.measured import settings_of, without_anchors
from proxyless_hw.predictors.verdict import verification_of
from proxyless_hw.profilers.base import ProfilerSettings, Visit, Workload
from proxyless_hw.profilers.device_options import NpuOptions
from proxyless_hw.profilers.networks import measure_workloads
from proxyless_hw.profilers.npu.compiler import ModelEstimate, OperatorEstimate
from proxyless_hw.profilers.npu.profiler import EstimateSession
from proxyless_hw.profilers.profile import ProfileConfig, profile
from proxyless_hw.profilers.protocol.measurement import Measuring
from proxyless_hw.profilers.protocol.plan import Plan
from proxyless_hw.profilers.protocol.timing import TimingConfig, measure
from proxyless_hw.profilers.registry import default_precision, get_profiler
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.counting import op_macs, op_parameters
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

WORKLOADS = [Workload(op.key, op=op) for op in SMALL_OPS]


def tiny_table(tiny: Path, profiler: object, **changes: object) -> LatencyTable:
    config = ProfileConfig(output=tiny.with_suffix(".csv"), device="npu", space=tiny, **changes)
    return profile(config, profiler=profiler)


def test_an_op_costs_what_stands_between_the_layers_around_it() -> None:
    with made_up_npu().open(WORKLOADS) as session:
        values = [visit.value for visit in session.visit(range(3))]
    assert values == pytest.approx([1e3 * op_macs(op) / HZ for op in SMALL_OPS])


def test_flash_is_that_of_the_op_alone_and_sram_that_of_the_whole() -> None:
    with made_up_npu(metric="flash").open(WORKLOADS) as session:
        flash = [visit.value for visit in session.visit(range(3))]
    with made_up_npu(metric="sram").open(WORKLOADS) as session:
        sram = [visit.value for visit in session.visit(range(3))]
    assert flash == pytest.approx([op_parameters(op) / 1e6 for op in SMALL_OPS])
    assert sram == pytest.approx([2 * op_macs(op) / 1e6 for op in SMALL_OPS])


def test_a_table_holds_the_estimates_with_intervals_of_no_width(tiny: Path) -> None:
    compiler = MadeUpCompiler()
    table = tiny_table(tiny, made_up_npu(compiler))
    assert {op: entry.value for op, entry in table.entries.items()} == pytest.approx(
        {op: 1e3 * op_macs(op) / HZ for op in SearchSpace.load(tiny).ops()}
    )
    for entry in table.entries.values():
        assert entry.ci_low == entry.value == entry.ci_high
        assert entry.rounds == entry.samples == 1
    assert len(compiler.compiled) == len(table), "no reference and no anchors are compiled"
    header = LatencyTable.load(tiny.with_suffix(".csv")).metadata
    assert header["statistic"] == "estimate"
    assert header["runtime"] == "made-up 1.0"
    assert "made-up 1.0" in header["fingerprint"]
    assert "1 GHz" in header["fingerprint"]
    assert not {"anchors", "reference_op", "quality_drift", "affinity"} & set(header)


def test_a_sum_of_ops_is_the_networks_estimate(tiny: Path) -> None:
    table = tiny_table(tiny, made_up_npu())
    arch = Architecture.from_choices(SearchSpace.load(tiny), [1, 0, 1])
    how = Measuring(settings=made_up_npu().settings, device="npu")
    found = measure_workloads(
        [Workload("network", arch=arch, batch_norm=arch.batch_norm)], how, profiler=made_up_npu()
    )[0]
    assert found.median == found.ci_low == found.ci_high == pytest.approx(table.latency_ms(arch))
    assert found.table_speed is None
    assert fit_predictor(table).predict_ms(arch) == pytest.approx(found.median)
    assert "no width" in without_anchors(table)
    judged = verification_of(found.median, found.median, found)
    assert judged.verdict == "agrees"
    assert "estimated by the compiler" in judged.sentence()
    assert verification_of(found.median / 1.04, None, found).verdict == "missed"


def test_gaps_are_filled_without_a_change_of_level(tiny: Path) -> None:
    whole = tiny_table(tiny, made_up_npu())
    first = tiny.with_name("part.csv")
    kept = dict(list(whole.entries.items())[:2])
    LatencyTable(kept, whole.metadata, str(first)).save(first)
    output = tiny.with_name("filled.csv")
    config = ProfileConfig(output=output, device="npu", space=tiny, missing_from=str(first))
    filled = profile(config, profiler=made_up_npu())
    assert {op: e.value for op, e in filled.entries.items()} == {
        op: e.value for op, e in whole.entries.items()
    }


def test_another_version_of_the_compiler_is_another_setting(tiny: Path) -> None:
    whole = tiny_table(tiny, made_up_npu())
    part = tiny.with_name("part.csv")
    LatencyTable(dict(list(whole.entries.items())[:2]), whole.metadata, str(part)).save(part)
    newer = MadeUpCompiler()
    newer.version = "1.1"
    config = ProfileConfig(
        output=tiny.with_name("o.csv"), device="npu", space=tiny, missing_from=str(part)
    )
    with pytest.raises(TableError, match=r"made-up 1\.0.*made-up 1\.1"):
        profile(config, profiler=made_up_npu(newer))


def test_operators_left_to_the_cpu_are_refused_by_name() -> None:
    profiler = made_up_npu(MadeUpCompiler(["Softmax", "Gather"]))
    with pytest.raises(ProfilingError) as caught:
        profiler.open(WORKLOADS)
    for word in ("Softmax, Gather", SMALL_OPS[0].key, SMALL_OPS[2].key, "cpu_operators=allow"):
        assert word in str(caught.value)


def test_operators_left_to_the_cpu_are_named_in_the_header_where_they_are_allowed(
    tiny: Path,
) -> None:
    allowed = NpuOptions(cpu_operators="allow")
    table = tiny_table(tiny, made_up_npu(MadeUpCompiler(["Softmax"]), options=allowed))
    assert table.metadata["left_to_cpu"].count("Softmax") == len(table)


def test_a_configuration_without_flash_is_no_number() -> None:
    profiler = made_up_npu(MadeUpCompiler(keeps_flash=False), metric="flash")
    with pytest.raises(ProfilingError, match="keeps constants in flash"):
        profiler.open(WORKLOADS)


def test_a_model_is_compiled_once() -> None:
    compiler = MadeUpCompiler()
    profiler = made_up_npu(compiler)
    profiler.open(WORKLOADS).close()
    with profiler.open([WORKLOADS[1], WORKLOADS[1]]) as session:
        assert len(session.visit([0, 1])) == 2
    assert len(compiler.compiled) == len(WORKLOADS)


def test_every_operator_of_a_model_has_its_time() -> None:
    nodes = made_up_npu().nodes(WORKLOADS[1])
    whole = 2 * AROUND + op_macs(SMALL_OPS[1])
    assert [node.name for node in nodes] == ["before", "op", "after"]
    assert [node.share for node in nodes] == pytest.approx(
        [AROUND / whole, 1 - 2 * AROUND / whole, AROUND / whole]
    )
    assert sum(node.ms for node in nodes) == pytest.approx(1e3 * whole / HZ)


def test_sums_of_a_peak_are_refused(tiny: Path) -> None:
    table = tiny_table(tiny, made_up_npu(metric="sram"))
    arch = Architecture.from_choices(SearchSpace.load(tiny), [1, 0, 1])
    with pytest.raises(TableError, match=r"not the sum of its ops' peaks.*--metric sram"):
        fit_predictor(table).predict(arch)


def test_an_npu_takes_int8_by_default() -> None:
    assert default_precision("npu") == "int8"
    assert {default_precision(kind) for kind in ("cpu", "gpu", "mobile", "own")} == {"fp32"}
    with pytest.raises(ProfilingError, match="int8"):
        get_profiler("npu", ProfilerSettings())


@pytest.mark.parametrize("name", ["threads", "batch_size"])
def test_threads_and_batches_are_refused(name: str) -> None:
    with pytest.raises(ProfilingError, match=f"--{name.replace('_', '-')} 2"):
        get_profiler("npu", ProfilerSettings(precision="int8", **{name: 2}))


def test_other_devices_do_not_tell_flash() -> None:
    with pytest.raises(BackendUnavailableError, match="--device npu"):
        get_profiler("cpu", ProfilerSettings(metric="flash"))


def test_a_tables_setting_is_read_back(tiny: Path) -> None:
    kind, settings = settings_of(tiny_table(tiny, made_up_npu()))
    assert (kind, settings.runtime, settings.precision) == ("npu", "made-up", "int8")
    assert settings.options == {"clock": "1 GHz"}


def test_values_that_change_are_no_estimates() -> None:
    class Moody(EstimateSession):
        def visit(self, order: object) -> list[Visit]:
            self.values[0] += 1
            return super().visit([0])

    workload = Workload("op", op=SMALL_OPS[0])
    timing = TimingConfig(exact=True, min_rounds=2, max_rounds=2)
    with pytest.raises(ProfilingError, match="same each time"):
        measure(Moody([1.0]), Plan(workloads=[workload], reference=None, config=timing)).estimates  # noqa: B018


def test_a_model_of_nothing_but_its_surroundings_is_refused() -> None:
    operators = tuple(OperatorEstimate(name=n, kind="Conv2D", cycles=1) for n in "ab")
    model = ModelEstimate(seconds=1, cycles=2, sram_bytes=1, flash_bytes=1, operators=operators)
    with pytest.raises(ValueError, match="2 operators"):
        model.seconds_between(1, 1)
