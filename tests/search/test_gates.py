"""Gate sampling and gradients against autograd and enumeration."""

from __future__ import annotations

import itertools

import torch

from proxyless_hw.search.gates import (
    alpha_gradient_full,
    keep_pair_mass,
    pair_gradient,
    path_probabilities,
    sample_choices,
    sample_others,
    slot_entropy,
)

MASK = torch.tensor([[True, True, True], [True, True, False]])


def random_alpha(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_absent_candidates_have_no_probability() -> None:
    p = path_probabilities(random_alpha(), MASK)
    assert p[1, 2] == 0
    torch.testing.assert_close(p.sum(1), torch.ones(2, dtype=torch.float64))


def test_the_full_gradient_is_that_of_the_explicit_sum_over_gates() -> None:
    alpha = random_alpha().requires_grad_()
    gate_gradient = torch.randn(2, 3, dtype=torch.float64)
    (path_probabilities(alpha, MASK) * gate_gradient).sum().backward()
    ours = alpha_gradient_full(gate_gradient, path_probabilities(alpha.detach(), MASK))
    assert alpha.grad is not None
    torch.testing.assert_close(ours, alpha.grad)


def test_the_pair_gradient_is_that_of_a_softmax_over_the_pair_alone() -> None:
    alpha = random_alpha(1)
    first, second, values = (0, 1), (2, 0), torch.tensor([0.7, -0.4], dtype=torch.float64)
    others = torch.tensor([0.1, 0.5], dtype=torch.float64)
    pair = torch.stack([alpha[[0, 1], first], alpha[[0, 1], second]], 1).requires_grad_()
    q = torch.softmax(pair, 1)
    (q[:, 0] * values + q[:, 1] * others).sum().backward()
    ours = pair_gradient(values - others, path_probabilities(alpha, MASK), first, second)
    assert pair.grad is not None
    torch.testing.assert_close(ours[[0, 1], first], pair.grad[:, 0])
    torch.testing.assert_close(ours[[0, 1], second], pair.grad[:, 1])
    assert ours[0, 1] == 0


def test_a_pair_update_leaves_every_other_probability_unchanged() -> None:
    before = random_alpha(2)
    alpha = before.clone()
    alpha[0, 0] += 0.3
    alpha[0, 2] -= 0.1
    alpha[1, 1] += 0.5
    alpha[1, 0] -= 0.5
    keep_pair_mass(alpha, before, (0, 1), (2, 0))
    old, new = path_probabilities(before, MASK), path_probabilities(alpha, MASK)
    torch.testing.assert_close(new[0, 1], old[0, 1])
    torch.testing.assert_close(new[0, 0] + new[0, 2], old[0, 0] + old[0, 2])
    assert not torch.isclose(new[0, 0], old[0, 0])


def test_the_second_candidate_of_a_pair_is_never_the_first() -> None:
    generator = torch.Generator().manual_seed(0)
    p = path_probabilities(random_alpha(3), MASK)
    for choices in itertools.product(range(3), range(2)):
        for _ in range(20):
            others = sample_others(p, choices, MASK, generator)
            assert all(a != b for a, b in zip(choices, others, strict=True))
            assert others[1] < 2


def test_a_saturated_alpha_still_gives_a_pair() -> None:
    alpha = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]])
    p = path_probabilities(alpha, MASK)
    others = sample_others(p, (0, 1), MASK, torch.Generator().manual_seed(0))
    assert others[0] in (1, 2)
    assert others[1] != 1


def test_samples_follow_the_probabilities() -> None:
    p = path_probabilities(random_alpha(4), MASK)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.tensor([sample_choices(p, generator) for _ in range(4000)])
    for slot in range(2):
        frequency = torch.bincount(drawn[:, slot], minlength=3) / 4000
        torch.testing.assert_close(frequency.double(), p[slot], atol=0.03, rtol=0)


def test_entropy_of_a_uniform_slot_is_the_log_of_its_size() -> None:
    entropy = slot_entropy(path_probabilities(torch.zeros(2, 3), MASK))
    torch.testing.assert_close(entropy, torch.tensor([3.0, 2.0]).log())
