"""A made-up GPU and a made-up ONNX Runtime with its providers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.gpu.torch_cuda_device import Work

LAUNCH_MS = 0.01
COLD_PENALTY_MS = 0.5


class FakeGpu:
    """A GPU whose clock moves by what is run on it."""

    def __init__(self, op_ms: float) -> None:
        self.op_ms = op_ms
        self.now_ms = 0.0
        self.captured: list[int] = []
        self.cold = False
        self.flushes = 0

    def name(self) -> str:
        return "made-up GPU"

    def load(self, workload: Workload, settings: ProfilerSettings) -> Work:
        def call() -> None:
            self._run()
            self.now_ms += LAUNCH_MS

        return call

    def _run(self) -> None:
        self.now_ms += self.op_ms + (COLD_PENALTY_MS if self.cold else 0)
        self.cold = False

    def timed_ms(self, works: Sequence[Work]) -> list[float]:
        times = []
        for work in works:
            start = self.now_ms
            work()
            times.append(self.now_ms - start)
        return times

    def capture(self, work: Work, calls: int) -> Work:
        self.captured.append(calls)

        def replay() -> None:
            for _ in range(calls):
                self._run()

        return replay

    def flush_l2(self) -> None:
        self.flushes += 1
        self.cold = True
        self.now_ms += 1.0

    def peak_mb(self, work: Work) -> float:
        work()
        return 12.5

    def synchronise(self) -> None:
        pass


class FakeOnnxRuntime:
    """ONNX Runtime with a CUDA provider; models run on the real CPU provider."""

    def __init__(self, providers: Sequence[str], falls_back: bool = False) -> None:
        import onnxruntime

        self.real = onnxruntime
        self.providers = list(providers)
        self.falls_back = falls_back
        self.opened: list[dict[str, Any]] = []
        self.placed: list[tuple[str, int]] = []
        self.capi = onnxruntime.capi
        outer = self

        class OrtValue:
            @staticmethod
            def ortvalue_from_numpy(values: Any, device: str, index: int) -> Any:
                outer.placed.append((device, index))
                return onnxruntime.OrtValue.ortvalue_from_numpy(values)

        class SessionOptions:
            def __init__(self) -> None:
                self.entries: dict[str, str] = {}

            def add_session_config_entry(self, key: str, value: str) -> None:
                self.entries[key] = value

        self.OrtValue = OrtValue
        self.SessionOptions = SessionOptions

    def get_available_providers(self) -> list[str]:
        return self.providers

    def InferenceSession(self, model: Any, options: Any, providers: Any) -> Any:
        self.opened.append({"providers": providers, **options.entries})
        session = self.real.InferenceSession(model, providers=["CPUExecutionProvider"])
        return _FakeSession(session, "CPUExecutionProvider" if self.falls_back else providers[0][0])


class _FakeSession:
    def __init__(self, session: Any, provider: str) -> None:
        self.session = session
        self.provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def get_providers(self) -> list[str]:
        return [self.provider, "CPUExecutionProvider"]

    def io_binding(self) -> Any:
        binding = self.session.io_binding()
        bind = binding.bind_output
        binding.bind_output = lambda name, device, index: bind(name)
        return binding


CUDA = ("CUDAExecutionProvider", "CPUExecutionProvider")


TENSORRT = ("TensorrtExecutionProvider", *CUDA)
