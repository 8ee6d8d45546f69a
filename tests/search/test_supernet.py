"""The supernet against its own explicit sum, against the network built alone, and in isolation."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from proxyless_hw.errors import SpaceError, TaskError
from proxyless_hw.runs.task import LossFunction as Loss
from proxyless_hw.search.extract import extract_network
from proxyless_hw.search.gates import pair_gradient
from proxyless_hw.search.start import align_candidates
from proxyless_hw.search.supernet import SuperNet, still_statistics
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace


@pytest.fixture
def supernet(tiny_space: SearchSpace) -> SuperNet:
    net = SuperNet(tiny_space, 10, seed=3).double()
    with torch.no_grad():
        net.alpha.copy_(torch.randn_like(net.alpha))
    return net


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 16, 16, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, 10, (8,), generator=generator)


def explicit_gate_gradient(
    net: SuperNet,
    images: Tensor,
    labels: Tensor,
    choices: tuple[int, ...],
    loss_of: Loss = functional.cross_entropy,
) -> tuple[Tensor, Tensor]:
    """Autograd through y = sum_j g_j o_j(x) + shortcut with g the one-hot sample."""
    gates = torch.zeros_like(net.alpha)
    gates[torch.arange(len(choices)), list(choices)] = 1
    gates.requires_grad_()
    with still_statistics(net):
        x = net.stem(images)
        for row, mixed in enumerate(net.positions):
            total = torch.zeros(())
            for index, candidate in enumerate(mixed.candidates):
                if not mixed.is_zero[index]:
                    total = total + gates[row, index] * candidate(x)
            x = total + x if mixed.has_shortcut else total
            if mixed.has_shortcut and mixed.is_zero[choices[row]]:
                assert total.abs().max() == 0
        loss = loss_of(net.head(x), labels)
    (gradient,) = torch.autograd.grad(loss, [gates])
    return loss.detach(), gradient


def every_choice(space: SearchSpace) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(len(slot.candidates)) for slot in space.slots)))


@pytest.mark.parametrize("training", [True, False])
def test_gate_gradients_equal_autograd_of_the_explicit_sum_for_every_sample(
    supernet: SuperNet, batch: tuple[Tensor, Tensor], training: bool
) -> None:
    supernet.train(training)
    for choices in every_choice(supernet.space):
        loss, ours = supernet.gate_gradient(*batch, choices)
        expected_loss, expected = explicit_gate_gradient(supernet, *batch, choices)
        torch.testing.assert_close(loss, expected_loss)
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-12)


def test_the_alpha_gradient_follows_from_the_gates_for_every_sample_zero_included(
    supernet: SuperNet, batch: tuple[Tensor, Tensor]
) -> None:
    for choices in every_choice(supernet.space):
        _, ours = supernet.alpha_gradient(*batch, choices)
        _, gates = explicit_gate_gradient(supernet, *batch, choices)
        alpha = supernet.alpha.detach().clone().requires_grad_()
        p = torch.softmax(alpha.masked_fill(~supernet.mask, -torch.inf), 1)
        (p * gates).sum().backward()
        assert alpha.grad is not None
        torch.testing.assert_close(ours, alpha.grad, rtol=1e-8, atol=1e-12)


def test_the_two_path_gradient_equals_the_pair_softmax_of_the_gates(
    supernet: SuperNet, batch: tuple[Tensor, Tensor]
) -> None:
    choices, others = (0, 1, 2), (2, 0, 1)
    _, ours = supernet.alpha_gradient(*batch, choices, mode="two-path", others=others)
    _, gates = explicit_gate_gradient(supernet, *batch, choices)
    for row, (a, b) in enumerate(zip(choices, others, strict=True)):
        pair = supernet.alpha.detach()[row, [a, b]].requires_grad_()
        (torch.softmax(pair, 0) * gates[row, [a, b]]).sum().backward()
        assert pair.grad is not None
        torch.testing.assert_close(ours[row, [a, b]], pair.grad, rtol=1e-8, atol=1e-12)
        rest = [index for index in range(3) if index not in (a, b)]
        assert (ours[row, rest] == 0).all()


def test_an_alpha_gradient_leaves_weights_statistics_and_alpha_alone(
    supernet: SuperNet, batch: tuple[Tensor, Tensor]
) -> None:
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    supernet.alpha_gradient(*batch, (0, 1, 2))
    for name, value in supernet.state_dict().items():
        assert torch.equal(before[name], value), name
    assert all(parameter.grad is None for parameter in supernet.parameters())


def test_a_weight_step_moves_statistics_of_the_active_path_only(
    supernet: SuperNet, batch: tuple[Tensor, Tensor]
) -> None:
    before = {name: value.clone() for name, value in supernet.named_buffers()}
    supernet(batch[0], (0, 1, 2)).sum().backward()
    moved = {
        name
        for name, value in supernet.named_buffers()
        if "running_mean" in name and not torch.equal(before[name], value)
    }
    assert any(name.startswith("positions.0.candidates.0.") for name in moved)
    assert any(name.startswith("positions.1.candidates.1.") for name in moved)
    assert not any(name.startswith(("positions.0.candidates.1", "positions.1.candidates.0"))
                   for name in moved)  # fmt: skip
    assert not any(name.startswith("positions.2.") for name in moved)
    untouched = supernet.positions[0].candidates[1]
    assert all(parameter.grad is None for parameter in untouched.parameters())


def test_the_sampled_path_is_the_network_built_alone(
    supernet: SuperNet, batch: tuple[Tensor, Tensor]
) -> None:
    supernet.eval()
    for choices in every_choice(supernet.space):
        arch = Architecture.from_choices(supernet.space, choices)
        network = extract_network(supernet, arch, choices).double().eval()
        torch.testing.assert_close(network(batch[0]), supernet(batch[0], choices))


def test_the_relaxation_at_a_saturated_alpha_is_the_sampled_path(
    supernet: SuperNet, batch: tuple[Tensor, Tensor]
) -> None:
    supernet.eval()
    with torch.no_grad():
        supernet.alpha.zero_()
        supernet.alpha[torch.arange(3), [1, 0, 2]] = 900.0
    torch.testing.assert_close(supernet.relaxed(batch[0]), supernet(batch[0], (1, 0, 2)))


def test_alpha_is_no_weight(supernet: SuperNet) -> None:
    weights = supernet.weight_parameters()
    assert all(weight is not supernet.alpha for weight in weights)
    assert len(weights) + 1 == len(list(supernet.parameters()))


def test_wrong_choices_are_refused(supernet: SuperNet, batch: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(SpaceError, match="3 slots: received 2"):
        supernet(batch[0], (0, 1))
    with pytest.raises(SpaceError, match=r"slot 1 .* candidates 0 to 1: received 2"):
        supernet(batch[0], (0, 2, 0))


def test_aligned_candidates_begin_as_nearly_the_same_map(tiny_space: SearchSpace) -> None:
    net = SuperNet(tiny_space, 10, seed=0)
    apart = SuperNet(tiny_space, 10, seed=0)
    align_candidates(net, seed=0)
    x = torch.randn(8, 8, 16, 16)

    def likeness(supernet: SuperNet) -> float:
        first, second = (c(x).detach().flatten() for c in supernet.positions[1].candidates[:2])
        return float(torch.corrcoef(torch.stack([first, second]))[0, 1])

    assert likeness(net) > 0.9 > abs(likeness(apart))
    for choice in range(2):
        path = net.positions[0].path(x, choice)
        assert path is not None
        assert path.abs().max() == 0


@pytest.mark.parametrize("mode", ["full", "two-path"])
def test_any_loss_gives_the_gradient_of_autograd(
    supernet: SuperNet, batch: tuple[Tensor, Tensor], mode: str
) -> None:
    images = batch[0]
    points = torch.randn(8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    choices = (0, 1, 0)
    others = (1, 0, 1)
    loss = functional.smooth_l1_loss
    value, ours = supernet.alpha_gradient(
        images, points, choices, mode=mode, loss=loss, others=others
    )
    expected_value, gates = explicit_gate_gradient(supernet, images, points, choices, loss)
    torch.testing.assert_close(value, expected_value)
    p = supernet.probabilities.detach()
    if mode == "full":
        expected = p * (gates - (p * gates).sum(1, keepdim=True))
    else:
        rows = torch.arange(3)
        difference = gates[rows, list(choices)] - gates[rows, list(others)]
        expected = pair_gradient(difference, p, choices, others)
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("loss", [lambda a, b: (a - b).square(), lambda a, b: 1.0])
def test_a_loss_that_is_no_scalar_is_refused(
    supernet: SuperNet, batch: tuple[Tensor, Tensor], loss: Loss
) -> None:
    with pytest.raises(TaskError, match="must return a scalar tensor"):
        supernet.alpha_gradient(batch[0], torch.zeros(8, 10), (0, 0, 0), loss=loss)
