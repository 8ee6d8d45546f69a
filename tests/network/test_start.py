"""The start near the identity: what it does to blocks and kernels, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch

from proxyless_hw.network.network import Network, build_network
from proxyless_hw.network.ops import Residual
from proxyless_hw.network.start import identity_start
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace


def drawn(seed: int = 0) -> Network:
    """A network with kernels of 3, 5 and 7, as `build_network` draws it."""
    space = SearchSpace.load("cifar-mbconv")
    choices = [index % 3 for index in range(len(space.slots))]
    return build_network(Architecture.from_choices(space, choices), seed=seed)


@pytest.fixture
def network() -> Network:
    built = drawn()
    identity_start(built, seed=0)
    return built


def is_depthwise(name: str, weight: torch.Tensor) -> bool:
    return "depthwise" in name and weight.ndim == 4


def test_residual_blocks_begin_as_their_shortcut(network: Network) -> None:
    residuals = [part for part in network.modules() if isinstance(part, Residual)]
    assert residuals
    for block in residuals:
        x = torch.randn(4, block.body.project.get_submodule("bn").num_features, 8, 8)
        assert torch.equal(block(x), x)


def test_blocks_without_a_shortcut_pass_the_gradient_on(network: Network) -> None:
    network.train()
    network(torch.randn(8, 3, 32, 32)).square().sum().backward()
    stem = next(network.parameters())
    assert stem.grad is not None
    assert stem.grad.abs().max() > 0


def test_large_kernels_begin_as_a_small_one_in_their_middle(network: Network) -> None:
    sizes = set()
    for name, weight in network.named_parameters():
        if is_depthwise(name, weight) and weight.shape[-1] > 3:
            sizes.add(weight.shape[-1])
            margin = (weight.shape[-1] - 3) // 2
            middle = weight.detach()[:, :, margin : margin + 3, margin : margin + 3]
            # Independently drawn, the middle holds 9 parts of 25 or 49.
            assert middle.square().sum() / weight.square().sum() > 0.8
            # As a 3x3 kernel is drawn (He et al., 2015): variance 2 / 9.
            assert float(middle.std()) == pytest.approx((2 / 9) ** 0.5, rel=0.25)
    assert sizes == {5, 7}


def test_everything_else_stays_as_drawn(network: Network) -> None:
    before = drawn().state_dict()
    for name, value in network.state_dict().items():
        large = is_depthwise(name, value) and value.shape[-1] > 3
        if not large and not name.endswith(".body.project.bn.weight"):
            assert torch.equal(value, before[name]), name


def test_the_seed_decides(network: Network) -> None:
    again, other = drawn(), drawn()
    identity_start(again, seed=0)
    identity_start(other, seed=1)
    first = network.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in again.state_dict().items())
    assert any(not torch.equal(value, first[name]) for name, value in other.state_dict().items())
