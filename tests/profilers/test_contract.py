"""What every profiler promises, asked of each of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import standin_adb
from fake_gpu import CUDA, TENSORRT, FakeGpu, FakeOnnxRuntime
from made_up_compiler import made_up_npu
from small_ops import LARGE_OP, SMALL_OPS

from proxyless_hw.errors import BackendUnavailableError, ProxylessHwError
from proxyless_hw.profilers.base import Profiler, ProfilerSettings, Session, Workload
from proxyless_hw.profilers.gpu.cuda_onnxruntime import CudaOnnxRuntimeProfiler, TensorRtProfiler
from proxyless_hw.profilers.gpu.torch_cuda import TorchCudaProfiler
from proxyless_hw.profilers.gpu.torch_cuda_device import Work
from proxyless_hw.profilers.host.energy import EnergyProfiler
from proxyless_hw.profilers.models.building import IDENTITY, build_module
from proxyless_hw.profilers.protocol.plan import Plan
from proxyless_hw.profilers.protocol.timing import TimingConfig, measure
from proxyless_hw.profilers.registry import BUILT_IN, get_profiler
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.entry import UNITS

SMALL, LARGE = SMALL_OPS[0], LARGE_OP
pytestmark = pytest.mark.usefixtures("converted")

WORKLOADS = (Workload(SMALL.key, op=SMALL), Workload(LARGE.key, op=LARGE))
HEADER = (
    *("device", "device_kind", "runtime", "runtime_version", "threads", "batch_size"),
    *("precision", "metric", "unit", "statistic", "fingerprint"),
)


class SizedGpu(FakeGpu):
    """A GPU that takes longer for larger ops."""

    def load(self, workload: Workload, settings: ProfilerSettings) -> Work:
        op = workload.op
        assert op is not None
        build_module(workload, settings.batch_size)

        def call() -> None:
            self.now_ms += op.out_h * op.out_w * op.mid_c * 1e-5

        return call

    def capture(self, work: Work, calls: int) -> Work:
        def replay() -> None:
            for _ in range(calls):
                work()

        return replay


class HostCounter:
    """Energy that grows with the host's clock: 1 W."""

    name = "made-up counter"
    block_s = 0.02

    def read_mj(self) -> float:
        import time

        return time.perf_counter() * 1e3


def cpu(runtime: str) -> Callable[[Path], Profiler]:
    return lambda _: get_profiler("cpu", ProfilerSettings(runtime=runtime))


def phone(folder: Path) -> Profiler:
    adb = standin_adb.install(folder / "phone")
    options = {"adb": str(adb), "runs": "5", "min_secs": "0", "warmup_runs": "1"}
    return get_profiler("mobile", ProfilerSettings(options=options))


def command(folder: Path) -> Profiler:
    tool = folder / "vendor-bench"
    tool.write_text(
        f"#!{sys.executable}\nimport sys, time, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "import numpy\n"
        "item = session.get_inputs()[0]\n"
        "feed = {item.name: numpy.zeros(item.shape, numpy.float32)}\n"
        "best = 1e9\n"
        "for _ in range(5):\n"
        "    start = time.perf_counter(); session.run(None, feed)\n"
        "    best = min(best, time.perf_counter() - start)\n"
        "print('best', best * 1e3, 'ms')\n",
        encoding="utf-8",
    )
    tool.chmod(0o755)
    return get_profiler("command", ProfilerSettings(options={"command": f"'{tool}' {{model}}"}))


def energy(_: Path) -> Profiler:
    inner = get_profiler("cpu", ProfilerSettings())
    return EnergyProfiler(inner, ProfilerSettings(metric="energy"), HostCounter)


def vela(_: Path) -> Profiler:
    found = get_profiler("npu", ProfilerSettings(precision="int8"))
    try:
        found.describe()
    except BackendUnavailableError as cause:
        pytest.skip(str(cause))
    return found


PROFILERS: dict[str, Callable[[Path], Profiler]] = {
    **{f"cpu {runtime}": cpu(runtime) for runtime in BUILT_IN["cpu"]},
    "gpu onnxruntime": lambda _: CudaOnnxRuntimeProfiler(ProfilerSettings(), FakeOnnxRuntime(CUDA)),
    "gpu tensorrt": lambda _: TensorRtProfiler(ProfilerSettings(), FakeOnnxRuntime(TENSORRT)),
    "gpu torch": lambda _: TorchCudaProfiler(ProfilerSettings(), SizedGpu(0)),
    "mobile tflite": phone,
    "npu vela": vela,
    "npu by a made-up compiler": lambda _: made_up_npu(),
    "command command": command,
    "energy": energy,
}


EXTRAS = {"cpu openvino": "openvino", "cpu executorch": "executorch"}
"""Profilers to the package of an extra that they need, whose name the extra has."""

PARAMETERS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name in EXTRAS and find_spec(EXTRAS[name]) is None,
            reason=f"{EXTRAS.get(name)} is not installed: make setup-devices",
        ),
    )
    for name in PROFILERS
]


@pytest.fixture(params=PARAMETERS, scope="module")
def profiler(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profiler:
    return PROFILERS[request.param](tmp_path_factory.mktemp("profiler"))


@pytest.fixture(scope="module")
def session(profiler: Profiler) -> Iterator[Session]:
    with profiler.open(WORKLOADS) as opened:
        yield opened


def test_every_built_in_runtime_is_in_the_suite() -> None:
    built_in = {f"{kind} {runtime}" for kind, homes in BUILT_IN.items() for runtime in homes}
    assert built_in <= set(PROFILERS)


def test_the_description_fills_a_tables_header(profiler: Profiler) -> None:
    described = profiler.describe()
    for key in HEADER:
        assert isinstance(described[key], str), key
        assert described[key], key
        assert described[key].isprintable(), key
    assert described["unit"] == UNITS[described["metric"]]
    assert described["statistic"] in ("median", "mean", "estimate")
    assert described["threads"] == str(profiler.settings.threads)
    assert described["batch_size"] == str(profiler.settings.batch_size)
    assert described["precision"] == profiler.settings.precision


def test_the_description_is_the_same_when_asked_again(profiler: Profiler) -> None:
    assert dict(profiler.describe()) == dict(profiler.describe())


def test_visits_are_finite_positive_and_ordered(session: Session) -> None:
    for visit in session.visit([0, 1]):
        assert math.isfinite(visit.value)
        assert 0 < visit.min <= visit.value
        assert visit.p90 >= visit.min
        assert visit.calls >= 1


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [1, 1, 0], [0]])
def test_visits_belong_to_the_workloads_asked_for(session: Session, order: Sequence[int]) -> None:
    values = [visit.value for visit in session.visit(order)]
    assert len(values) == len(order)
    small = [value for index, value in zip(order, values, strict=True) if index == 0]
    large = [value for index, value in zip(order, values, strict=True) if index == 1]
    assert not (small and large) or max(small) < min(large)


def test_no_workloads_give_no_visits(session: Session) -> None:
    assert session.visit([]) == []


def test_the_protocol_drives_it(session: Session) -> None:
    timing = TimingConfig(min_rounds=2, max_rounds=2, goal=0.5)
    measured = measure(session, Plan(workloads=WORKLOADS, reference=0, config=timing))
    assert [estimate.name for estimate in measured.estimates] == [SMALL.key, LARGE.key]
    small, large = measured.estimates
    assert small.rounds == large.rounds == 2
    assert 0 < small.interval.estimate < large.interval.estimate


def test_a_session_may_be_closed_twice(profiler: Profiler) -> None:
    opened = profiler.open(WORKLOADS[:1])
    opened.close()
    opened.close()


@pytest.mark.parametrize(
    "name", [item for item in PARAMETERS if str(item.values[0]).startswith(("cpu", "gpu"))]
)
def test_a_model_that_does_nothing_shows_the_overhead_of_a_call(name: str, tmp_path: Path) -> None:
    with PROFILERS[name](tmp_path).open([IDENTITY, WORKLOADS[1]]) as opened:
        nothing, large = opened.visit([0, 1])
    assert 0 < nothing.value < large.value


@pytest.mark.parametrize("name", ["broken.onnx", "broken.tflite", "weights.pt"])
def test_a_file_that_is_no_model_is_one_clear_error(
    profiler: Profiler, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"this is no model")
    with pytest.raises(ProxylessHwError) as caught:
        profiler.open([Workload(str(path), file=path)]).visit([0])
    assert len(str(caught.value)) < 2000


def test_a_third_partys_op_that_is_not_registered_is_one_clear_error(profiler: Profiler) -> None:
    unknown: Any = OpSpec("nobodys_op", 8, 8, 8, 8, 8, 8)
    with pytest.raises(ProxylessHwError, match="nobodys_op"):
        profiler.open([Workload(unknown.key, op=unknown)])
