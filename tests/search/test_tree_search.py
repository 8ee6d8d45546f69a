"""Trees: the supernet's gate gradients, and a search from CIFAR-shaped files to an ONNX file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.network.network import build_network
from proxyless_hw.runs.run_network import load_derived_network
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.extract import extract_network
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable

TREE = """
schema: proxyless-hw-space/1
id: small-tree
resolution: 32
num_classes: 10
batch_norm: {momentum: 0.1, eps: 0.00001}
stem: [{op: conv_nobn, kernel: 3, stride: 1, width: 8, act: none}, {op: identity_pre}]
candidates:
  - {op: sepconv_pre, kernel: 3, act: relu}
  - {op: sepconv_pre_d2, kernel: 3, act: relu}
  - {op: avgpool, kernel: 3}
  - {op: maxpool, kernel: 3}
  - {op: identity}
tree: {blocks: 2, first_width: 4, last_width: 8, expand: 2, reduce_at: [1], depth: 1}
head: [{op: avgpool_pre, kernel: 16, stride: 16, act: relu}, {op: classifier}]
"""


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace.from_yaml(TREE)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 32, 32, generator=generator, dtype=torch.float64)
    return images, torch.tensor([0, 1, 2, 3])


def test_every_gate_gradient_of_a_tree_equals_a_finite_difference(space: SearchSpace) -> None:
    # In eval mode the statistics stand still, so that the loss is smooth in one gate.
    supernet = SuperNet(space, num_classes=10, seed=0).double().eval()
    images, labels = batch()
    choices = [index % 5 for index in range(len(space.slots))]
    _, gates = supernet.gate_gradient(images, labels, choices)
    chosen = supernet._chosen(choices)

    def loss(row: int, candidate: int, by: float) -> float:
        """The loss with `by` times another candidate added at one slot."""

        def apply(number: int, x: torch.Tensor) -> torch.Tensor:
            mixed = supernet._mixed[number]
            out = mixed(x, chosen[number])
            if number == supernet._slot_numbers[row]:
                out = out + by * mixed.path(x, candidate)
            return out

        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(supernet._run(images, apply), labels))

    for row in range(len(space.slots)):
        for candidate in range(5):
            step = 1e-5
            slope = (loss(row, candidate, step) - loss(row, candidate, -step)) / (2 * step)
            assert float(gates[row, candidate]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_a_path_of_the_supernet_is_the_derived_network(space: SearchSpace) -> None:
    supernet = SuperNet(space, num_classes=10, seed=0)
    choices = [(3 * index) % 5 for index in range(len(space.slots))]
    network = extract_network(supernet, Architecture.from_choices(space, choices), choices)
    images = batch()[0].float()
    with torch.no_grad():
        torch.testing.assert_close(
            network.eval()(images), supernet.eval()(images, choices), rtol=1e-5, atol=1e-6
        )


def write_cifar(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (*((f"data_batch_{n}", 20) for n in range(1, 6)), ("test_batch", 20)):
        labels = rng.integers(0, 10, (count, 1))
        pixels = rng.integers(0, 256, (count, 3072))
        (folder / f"{name}.bin").write_bytes(np.hstack([labels, pixels]).astype(np.uint8).tobytes())


def write_table(space: SearchSpace, path: Path) -> None:
    """Made-up latencies: this tests the way through, not a device."""
    values = {op: 0.1 + 0.01 * index for index, op in enumerate(space.ops())}
    metadata = {
        **{"metric": "latency", "unit": "ms", "device": "made up", "device_kind": "cpu"},
        **{"runtime": "onnxruntime", "threads": "1", "batch_size": "1", "precision": "fp32"},
        **{"statistic": "median", "num_classes": "10"},
    }
    LatencyTable({op: Entry(v, v, v) for op, v in values.items()}, metadata).save(path)


def test_a_tree_search_ends_in_a_network_that_exports_to_onnx(
    space: SearchSpace, tmp_path: Path
) -> None:
    write_cifar(tmp_path)
    write_table(space, tmp_path / "table.csv")
    (tmp_path / "tree.yaml").write_text(TREE)
    result = run_search(
        SearchConfig(
            table=str(tmp_path / "table.csv"),
            space=str(tmp_path / "tree.yaml"),
            data="cifar10",
            data_root=str(tmp_path),
            batch_size=8,
            warmup_epochs=1,
            epochs=2,
            finalists=2,
            output=str(tmp_path / "run"),
        )
    )
    arch = result.architecture
    assert len(arch.choices_in(space)) == len(space.slots)
    target = result.target
    assert 0.99 * target <= result.predicted <= target
    network = load_derived_network(tmp_path / "run")
    session = onnxruntime.InferenceSession(onnx_bytes(network, (1, 3, 32, 32)))
    images = torch.randn(1, 3, 32, 32)
    (got,) = session.run(None, {"input": images.numpy()})
    with torch.no_grad():
        want = network(images).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


STEP = """
import resource, time, torch
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.search_space import SearchSpace
started = time.process_time()
net = SuperNet(SearchSpace.load("cifar-tree"), 10, seed=0)
seconds = time.process_time() - started
images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
choices = net.sample(torch.Generator().manual_seed(0))
optimizer = torch.optim.SGD(net.weight_parameters(), lr=0.01, momentum=0.9)
torch.nn.functional.cross_entropy(net(images, choices), labels).backward()
optimizer.step()
optimizer.zero_grad()
net.alpha_gradient(images, labels, choices, mode="two-path")
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_the_whole_tree_space_builds_in_10_s_and_steps_in_4_gb() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEP], capture_output=True, text=True, timeout=280, check=True
    )
    seconds, gigabytes = map(float, done.stdout.split())
    assert seconds < 10
    assert gigabytes < 4


def test_the_published_tree_network_can_be_built_and_is_finite_untrained() -> None:
    network = build_network(zoo_architecture("proxyless-cifar"), seed=0).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 32, 32)).isfinite().all()
