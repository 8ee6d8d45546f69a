"""ONNX Runtime with a named provider: found by name, refused where the CPU would help out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from small_ops import SMALL_OPS

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.predictors.measured import options_of
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.registry import get_profiler
from proxyless_hw.profilers.runtimes.onnxruntime import OnnxRuntimeProfiler
from proxyless_hw.profilers.runtimes.onnxruntime_provider import (
    CPU_PROVIDER,
    NO_FALLBACK,
    ProviderProfiler,
    full_name,
    named_nodes,
)

OP = SMALL_OPS[0]
WORKLOAD = Workload(OP.key, op=OP)
CORE_ML = "CoreMLExecutionProvider"


class MadeUpRuntime:
    """ONNX Runtime that says it has CoreML; its models run on the real CPU provider.

    Args:
        used: the provider that a session says it uses.
    """

    def __init__(self, used: str = CORE_ML) -> None:
        self.used = used
        self.opened: list[tuple[list[str], str]] = []
        self.capi = onnxruntime.capi
        self.SessionOptions = onnxruntime.SessionOptions

    def get_available_providers(self) -> list[str]:
        return [CORE_ML, CPU_PROVIDER]

    def InferenceSession(self, model: Any, options: Any, providers: list[str]) -> Any:
        self.opened.append((providers, options.get_session_config_entry(NO_FALLBACK)))
        plain = onnxruntime.SessionOptions()
        session = onnxruntime.InferenceSession(model, plain, providers=[CPU_PROVIDER])
        used = self.used

        class Session:
            def __getattr__(self, name: str) -> Any:
                return getattr(session, name)

            def get_providers(self) -> list[str]:
                return [used]

        return Session()


def asked_for(provider: str, **settings: Any) -> ProfilerSettings:
    return ProfilerSettings(options={"provider": provider}, **settings)


@pytest.mark.parametrize(
    "asked", ["CoreML", "coreml", "CoreMLExecutionProvider", "coremlexecutionprovider"]
)
def test_a_provider_is_found_by_either_spelling(asked: str) -> None:
    assert full_name(asked, [CORE_ML, CPU_PROVIDER]) == CORE_ML


def test_directml_is_called_dml_by_onnx_runtime() -> None:
    assert full_name("DirectML", ["DmlExecutionProvider"]) == "DmlExecutionProvider"


def test_a_provider_that_is_not_there_is_refused_with_those_that_are() -> None:
    profiler = get_profiler("cpu", asked_for("QNN"))
    with pytest.raises(BackendUnavailableError, match=r"no provider 'QNN'.*CPUExecutionProvider"):
        profiler.describe()
    with pytest.raises(BackendUnavailableError, match="no provider 'QNN'"):
        profiler.open([WORKLOAD])


def test_without_the_option_ops_are_measured_as_before() -> None:
    assert isinstance(get_profiler("cpu", ProfilerSettings()), OnnxRuntimeProfiler)


def test_the_real_cpu_provider_by_name_measures_and_a_table_gives_the_option_back() -> None:
    profiler = get_profiler("cpu", asked_for("cpu"))
    header = profiler.describe()
    assert options_of(header)["provider"] == CPU_PROVIDER
    with profiler.open([WORKLOAD]) as session:
        assert session.visit([0])[0].value > 0


@pytest.mark.skipif(
    "AzureExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="this build of ONNX Runtime has no provider that leaves every node to the CPU",
)
def test_onnx_runtimes_own_refusal_becomes_a_message_that_names_nodes() -> None:
    # Azure's provider runs no local node: everything would fall back to the CPU.
    with pytest.raises(ProfilingError, match=r"AzureExecutionProvider does not run: .*\(Conv\)"):
        get_profiler("cpu", asked_for("Azure")).open([WORKLOAD])


def test_sessions_are_opened_for_the_provider_alone_and_without_fallback() -> None:
    made_up = MadeUpRuntime()
    with ProviderProfiler(ProfilerSettings(), "coreml", made_up).open([WORKLOAD]) as session:
        assert session.visit([0])[0].value > 0
    assert set(map(str, made_up.opened)) == {str(([CORE_ML], "1"))}


def test_a_session_that_uses_another_provider_is_refused() -> None:
    profiler = ProviderProfiler(ProfilerSettings(), "coreml", MadeUpRuntime(used=CPU_PROVIDER))
    with pytest.raises(BackendUnavailableError, match="fell back from CoreML"):
        profiler.open([WORKLOAD])


def test_fp16_models_are_refused() -> None:
    profiler = ProviderProfiler(ProfilerSettings(precision="fp16"), "cpu")
    with pytest.raises(BackendUnavailableError, match="fp16"):
        profiler.describe()


def test_only_nodes_that_the_cpu_ran_are_named(tmp_path: Path) -> None:
    def event(name: str, op: str, provider: str) -> dict[str, Any]:
        told = {"op_name": op, "provider": provider}
        return {"cat": "Node", "name": f"{name}_kernel_time", "args": told}

    trace = [
        event("conv1", "Conv", CORE_ML),
        event("pool", "GlobalAveragePool", CPU_PROVIDER),
        event("pool", "GlobalAveragePool", CPU_PROVIDER),
        {"cat": "Session", "name": "model_run"},
        *(event(f"clip{number}", "Clip", CPU_PROVIDER) for number in range(6)),
    ]
    told = named_nodes(json.loads(json.dumps(trace)))
    assert told.startswith("pool (GlobalAveragePool), clip0 (Clip)")
    assert told.endswith("and 2 more")
    assert "conv1" not in told
