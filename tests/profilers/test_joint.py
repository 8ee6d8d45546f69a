"""Several runtimes in one measurement: who measures what, interleaved, each by its own session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Visit, Workload
from proxyless_hw.profilers.joint import JointProfiler, assigned, joint_profiler
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace

ARCH = Architecture.from_choices(SearchSpace.load("cifar-mbconv"), [0] * 15)
NET = Workload(name="net", arch=ARCH)
ONNX = Workload(name="a.onnx", file=Path("a.onnx"))
TFLITE = Workload(name="b.tflite", file=Path("b.tflite"))


def runtimes(workloads: Sequence[Workload], *named: str, device: str = "cpu") -> dict:
    settings = ProfilerSettings(runtime=named[0] if len(named) == 1 else None)
    found, settings_of = assigned(workloads, settings, device, named)
    assert [item.name for item in found] == list(settings_of)
    return {name: item.runtime for name, item in settings_of.items()}


def test_files_go_to_the_runtime_of_their_form_and_networks_join_them() -> None:
    assert runtimes([ONNX, TFLITE]) == {"a.onnx": "onnxruntime", "b.tflite": "litert"}
    assert runtimes([TFLITE, NET]) == {"b.tflite": "litert", "net": "litert"}
    assert runtimes([NET]) == {"net": None}
    assert runtimes([ONNX, NET], "onnxruntime") == {"a.onnx": "onnxruntime", "net": "onnxruntime"}
    assert runtimes([TFLITE], device="mobile") == {"b.tflite": None}


def test_a_network_is_measured_on_every_runtime_that_is_named() -> None:
    both = ("onnxruntime", "litert")
    assert runtimes([NET, ONNX, TFLITE], *both) == {
        "net (onnxruntime)": "onnxruntime",
        "net (litert)": "litert",
        "a.onnx": "onnxruntime",
        "b.tflite": "litert",
    }
    with pytest.raises(ProfilingError, match=r"b\.tflite is run by litert: received --run"):
        runtimes([TFLITE], "onnxruntime", "torch")
    with pytest.raises(ProfilingError, match="compared on a CPU"):
        runtimes([NET], *both, device="mobile")


class Made:
    """A profiler whose visits tell who made them."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.settings = ProfilerSettings(runtime=name)

    def describe(self) -> dict[str, str]:
        version = {"runtime_version": "1"} if self.name == "a" else {}
        return {"device": "d", "runtime": self.name, "unit": "ms", "only": self.name, **version}

    def open(self, workloads: Sequence[Workload]) -> MadeSession:
        self.log.append(f"{self.name} opens {[item.name for item in workloads]}")
        return MadeSession(self, [item.name for item in workloads])


class MadeSession:
    def __init__(self, made: Made, names: list[str]) -> None:
        self.made, self.names = made, names

    def visit(self, order: Sequence[int]) -> list[Visit]:
        self.made.log += [f"{self.made.name} visits {self.names[index]}" for index in order]
        return [Visit(value=float(index), min=0.0, p90=0.0, calls=1) for index in order]

    def close(self) -> None:
        self.made.log.append(f"{self.made.name} closes")

    def __enter__(self) -> MadeSession:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def test_visits_are_interleaved_in_the_order_asked_for() -> None:
    log: list[str] = []
    joint = JointProfiler(
        {"a": Made("a", log), "b": Made("b", log)}, {"x": "a", "y": "b", "z": "b"}
    )
    assert joint.describe() == {
        "device": "d",
        "unit": "ms",
        "runtime": "a + b",
        "runtime_version": "1 + ",
    }
    names = ["y", "x", "reference", "z"]
    with joint.open([Workload(name=name, arch=ARCH) for name in names]) as session:
        visits = session.visit([3, 0, 2, 1])
    assert [visit.value for visit in visits] == [1.0, 0.0, 1.0, 0.0]
    assert log == [
        "a opens ['x', 'reference']",
        "b opens ['y', 'z']",
        "b visits z",
        "b visits y",
        "a visits reference",
        "a visits x",
        "b closes",
        "a closes",
    ]


def test_what_has_one_runtime_in_common_needs_no_joint_profiler() -> None:
    one = ProfilerSettings(runtime="onnxruntime")
    assert joint_profiler({"x": one, "y": one}, "cpu") is None
    other = ProfilerSettings(runtime="litert")
    joint = joint_profiler({"x": one, "y": other}, "cpu")
    assert joint is not None
    assert list(joint.profilers) == ["onnxruntime", "litert"]
