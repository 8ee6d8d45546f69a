"""What a phone's tool says of delegates and flags, and what has to be true of it."""

from __future__ import annotations

import pytest
from android_phone import Phone

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Workload

XNNPACK_RAN = "Replacing 58 out of 58 node(s) with delegate (TfLiteXNNPackDelegate) node"


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
