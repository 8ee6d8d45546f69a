"""ONNX Runtime, LiteRT and torch on this host, with tiny ops."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_ops import SMALL_OPS

from proxyless_hw.errors import BackendUnavailableError, ExportError, ProfilingError
from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.models import converted_models, tflite_cache
from proxyless_hw.profilers.models.between import between_convolutions
from proxyless_hw.profilers.models.building import build_module, gives_output, takes_input
from proxyless_hw.profilers.models.conversion_jobs import job_digest
from proxyless_hw.profilers.runtimes.litert import LiteRtProfiler, make_interpreter
from proxyless_hw.profilers.runtimes.network_form import cut_out
from proxyless_hw.profilers.runtimes.onnxruntime import OnnxRuntimeProfiler
from proxyless_hw.profilers.runtimes.onnxruntime_session import make_session
from proxyless_hw.profilers.runtimes.torch_cpu import TorchCpuProfiler
from proxyless_hw.space.specs import OpSpec

STEM = OpSpec("conv", 32, 32, 3, 16, 16, 16, kernel=3, stride=2, act="relu6")
BLOCK = OpSpec("mbconv", 16, 16, 16, 16, 16, 16, kernel=3, expand=3, skip=True, act="relu6")
STRIDED = OpSpec("mbconv", 16, 16, 24, 8, 8, 40, kernel=5, stride=2, expand=6, act="relu6")
CLASSIFIER = OpSpec("classifier", 8, 8, 32, 1, 1, 10)
OPS = [STEM, BLOCK, STRIDED, CLASSIFIER]


def workload(op: OpSpec) -> Workload:
    return Workload(op.key, op=op)


def cut(op: OpSpec) -> tuple[onnx.ModelProto, np.ndarray, onnx.ModelProto]:
    """The cut model, its input, and the whole model it was cut from."""
    item = workload(op)
    whole = OnnxRuntimeProfiler(ProfilerSettings()).model(item)
    model, example = cut_out(
        whole, item.name, first=takes_input(item), last=gives_output(item), threads=1
    )
    return onnx.load_from_string(model), example, onnx.load_from_string(whole)


@pytest.mark.parametrize("op", OPS, ids=str)
def test_an_isolated_op_pays_for_no_layout_change_that_a_network_would_not_have(op: OpSpec) -> None:
    model, _, _ = cut(op)
    kinds = [node.op_type for node in model.graph.node]
    assert "ReorderInput" not in kinds
    assert "Transpose" not in kinds
    # A classifier leaves the blocked layout inside a network too: once, after the pooling.
    assert kinds.count("ReorderOutput") <= (1 if op.op == "classifier" else 0)


def test_a_residual_addition_is_fused_as_it_is_in_a_network() -> None:
    model, _, _ = cut(BLOCK)
    kinds = [node.op_type for node in model.graph.node]
    if "ReorderOutput" in kinds or not any("nchwc" in node.domain for node in model.graph.node):
        pytest.fail("this processor has no blocked layout; the test needs another assertion here")
    assert "Add" not in kinds
    assert kinds == ["Conv", "Conv", "Conv"]


@pytest.mark.parametrize("op", OPS, ids=str)
def test_what_is_cut_out_computes_what_the_op_computes_inside(op: OpSpec) -> None:
    """Whole model against before + cut + after, all by ONNX Runtime."""
    model, example, whole = cut(op)
    session = make_session(model.SerializeToString(), 1, "cut", optimise=False)
    (inside,) = session.run(None, {session.get_inputs()[0].name: example})
    if not gives_output(workload(op)):
        assert inside.shape[0] == 1
        assert np.isfinite(inside).all()
        return
    generator = np.random.default_rng(0)
    shape = [size.dim_value for size in whole.graph.input[0].type.tensor_type.shape.dim]
    image = generator.standard_normal(shape, dtype=np.float32)
    reference = make_session(whole.SerializeToString(), 1, "whole").run(None, {"input": image})[0]
    np.testing.assert_allclose(inside, reference, rtol=1e-4, atol=1e-5)


def test_int8_really_runs_in_int8() -> None:
    settings = ProfilerSettings(precision="int8")
    item = workload(STRIDED)
    whole = OnnxRuntimeProfiler(settings).model(item)
    model, example = cut_out(whole, item.name, first=False, last=False, threads=1)
    kinds = {node.op_type for node in onnx.load_from_string(model).graph.node}
    assert any(kind.startswith("QLinear") for kind in kinds), kinds
    assert "Conv" not in kinds
    assert example.dtype in (np.int8, np.uint8)
    with OnnxRuntimeProfiler(settings).open([item]) as session:
        assert session.visit([0])[0].value > 0


@pytest.mark.parametrize(
    ("profiler", "match"),
    [
        (OnnxRuntimeProfiler(ProfilerSettings(precision="fp16")), "no fp16 kernels"),
        (LiteRtProfiler(ProfilerSettings(precision="fp16")), "expand fp16 weights"),
        (TorchCpuProfiler(ProfilerSettings(precision="int8")), "no int8 convolutions"),
    ],
)
def test_a_precision_that_would_be_another_one_in_truth_is_refused(
    profiler: OnnxRuntimeProfiler, match: str
) -> None:
    with pytest.raises(BackendUnavailableError, match=match):
        profiler.describe()


def test_batches_and_threads_reach_the_runtime() -> None:
    settings = ProfilerSettings(batch_size=3, threads=2)
    model = onnx.load_from_string(OnnxRuntimeProfiler(settings).model(workload(BLOCK)))
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    described = OnnxRuntimeProfiler(settings).describe()
    assert (described["threads"], described["batch_size"]) == ("2", "3")


def test_a_dynamic_batch_is_filled_in(tmp_path: Path) -> None:
    module, shape = build_module(workload(STEM), 1)
    path = tmp_path / "dynamic.onnx"
    path.write_bytes(onnx_bytes(module, shape, dynamic_batch=True))
    item = Workload(str(path), file=path)
    with OnnxRuntimeProfiler(ProfilerSettings(batch_size=2)).open([item]) as session:
        assert session.visit([0])[0].value > 0


def test_files_for_another_runtime_are_refused_with_the_way_on(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"x")
    with pytest.raises(ProfilingError, match="--runtime litert"):
        OnnxRuntimeProfiler(ProfilerSettings()).open([Workload("f", file=path)])
    with pytest.raises(ProfilingError, match="--runtime onnxruntime"):
        LiteRtProfiler(ProfilerSettings()).open([Workload("f", file=path.with_suffix(".onnx"))])


def test_torch_runs_in_the_threads_asked_for_and_restores_its_own() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    with TorchCpuProfiler(ProfilerSettings(threads=1)).open([workload(BLOCK)]) as session:
        seen.append(torch.get_num_threads())
        assert session.visit([0])[0].value > 0
    assert seen == [1]
    assert torch.get_num_threads() == before


def test_an_op_that_cannot_be_found_after_optimisation_is_named() -> None:
    module, shape = build_module(workload(CLASSIFIER), 1)
    with pytest.raises(ProfilingError, match=r"classifier.*no known beginning"):
        cut_out(onnx_bytes(module, shape), "classifier", first=False, last=True, threads=1)


@pytest.fixture(scope="module")
def models(converted: None) -> list[bytes]:
    return tflite_cache.tflite_models([workload(op) for op in SMALL_OPS], ProfilerSettings())


def test_isolated_litert_ops_carry_no_transpose(models: list[bytes]) -> None:
    for op, model in zip(SMALL_OPS, models, strict=True):
        interpreter = make_interpreter(model, 1, "none", op.key)
        kinds = [detail["op_name"] for detail in interpreter._get_ops_details()]
        assert "TRANSPOSE" not in kinds, (str(op), kinds)
        shape = tuple(interpreter.get_input_details()[0]["shape"])
        assert shape == (1, op.in_h, op.in_w, op.in_c)


def test_converted_ops_compute_what_torch_computes(models: list[bytes]) -> None:
    generator = np.random.default_rng(1)
    for op, model in zip(SMALL_OPS, models, strict=True):
        module, shape = build_module(workload(op), 1)
        image = generator.standard_normal(shape, dtype=np.float32)
        with torch.no_grad():
            expected = module(torch.from_numpy(image)).numpy()
        interpreter = make_interpreter(model, 1, "xnnpack", op.key)
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"], image.transpose(0, 2, 3, 1)
        )
        interpreter.invoke()
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        if found.ndim == 4:
            found = found.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(found, expected, atol=1e-4 * max(1.0, expected.std()))


def test_the_cache_is_used_the_second_time(
    models: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("nothing is left to convert")

    monkeypatch.setattr(converted_models, "_convert", fail)
    items = [workload(op) for op in SMALL_OPS]
    assert tflite_cache.tflite_models(items, ProfilerSettings()) == models


def test_the_cache_forgets_what_is_oldest_and_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{index}.tflite" for index in range(5)]
    for index, path in enumerate(paths):
        path.write_bytes(b"x" * 100)
        os.utime(path, (index, index))
    monkeypatch.setattr(converted_models, "MOST_BYTES", 250)
    converted_models._shrink(tmp_path, {paths[0]})
    assert [path.exists() for path in paths] == [True, False, False, False, True]


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_entry_counts_as_absent(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "entry.tflite"
    converted_models.write_entry(path, b"model" * 100)
    assert converted_models.read_entry(path) == b"model" * 100
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?" if damage is None else damage)
    assert converted_models.read_entry(path) is None


def test_entries_depend_on_what_decides_the_model_and_on_nothing_else() -> None:
    def digest(op: OpSpec, name: str = "x", **settings: object) -> str:
        item = Workload(name, op=op)
        job = tflite_cache._job(item, ProfilerSettings(**settings))  # type: ignore[arg-type]
        return job_digest(job)

    base = digest(BLOCK)
    assert digest(BLOCK, name="y", threads=2) == base
    assert (
        len({base, digest(STEM), digest(BLOCK, batch_size=2), digest(BLOCK, precision="int8")}) == 4
    )


@pytest.mark.parametrize(
    ("ops", "networks", "processes"),
    [(0, 1, 1), (2, 0, 1), (7, 0, 1), (8, 0, 2), (70, 0, 2), (0, 2, 2), (3, 1, 1), (4, 1, 2)],
)
def test_a_converter_process_is_started_where_it_has_work_for_longer_than_it_loads(
    ops: int, networks: int, processes: int
) -> None:
    assert converted_models.process_count(ops, networks, most=2) == processes


def test_a_cache_that_cannot_be_written_says_what_to_set(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("x")
    with pytest.raises(ExportError, match="XDG_CACHE_HOME"):
        tflite_cache.tflite_models([workload(STEM)], ProfilerSettings(), folder=blocker / "cache")


def test_the_layer_of_an_op_gives_the_op_back() -> None:
    for op in OPS:
        assert op.layer.at(op.in_h, op.in_w) == op


def test_an_op_stands_between_layers_only_where_a_network_has_them() -> None:
    module, _ = build_module(workload(CLASSIFIER), 1)
    last = between_convolutions(module, 32, 10, first=False, last=True)
    assert last.before is not None
    assert last.after is None
