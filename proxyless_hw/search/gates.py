"""Binary gates over a slot's candidates: sampling, and what a gate gradient says about alpha.

All tensors are padded to (slots, max_candidates); `mask` is True where a candidate exists.
ProxylessNAS, section 3.2 and appendix D.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Choices = tuple[int, ...]


def path_probabilities(alpha: Tensor, mask: Tensor) -> Tensor:
    """Path probabilities p = softmax(alpha) over each slot's candidates; 0 where none exists.

    Args:
        alpha: architecture parameters, shape (slots, max_candidates).
        mask: bool, same shape.
    """
    return torch.softmax(alpha.masked_fill(~mask, -torch.inf), dim=1)


def log_probabilities(alpha: Tensor, mask: Tensor) -> Tensor:
    """log p, shape (slots, max_candidates); -inf where no candidate exists."""
    return torch.log_softmax(alpha.masked_fill(~mask, -torch.inf), dim=1)


def slot_entropy(probabilities: Tensor) -> Tensor:
    """Entropy of each slot's choice in nats, shape (slots,)."""
    return -(probabilities * probabilities.clamp_min(1e-30).log()).sum(1)


def sample_choices(probabilities: Tensor, generator: torch.Generator | None = None) -> Choices:
    """Samples one candidate per slot from p, shape (slots, max_candidates)."""
    drawn = torch.multinomial(probabilities, 1, generator=generator)
    return tuple(drawn.squeeze(1).tolist())


def sample_others(
    probabilities: Tensor,
    choices: Sequence[int],
    mask: Tensor,
    generator: torch.Generator | None = None,
) -> Choices:
    """Samples a second candidate per slot from p without the one chosen first.

    Where the first has all the probability, the second is drawn uniformly from the others there.
    """
    rows, first = torch.arange(len(choices)), torch.as_tensor(choices)
    rest = probabilities.detach().clone()
    rest[rows, first] = 0
    exhausted = rest.sum(1) <= 0
    rest[exhausted] = mask[exhausted].to(rest)
    rest[rows, first] = 0
    return sample_choices(rest, generator)


def alpha_gradient_full(gate_gradient: Tensor, probabilities: Tensor) -> Tensor:
    """dL/dalpha_k = sum_j dL/dg_j p_j (delta_jk - p_k), shape (slots, max_candidates)."""
    weighted = gate_gradient * probabilities
    return weighted - probabilities * weighted.sum(1, keepdim=True)


def pair_gradient(
    difference: Tensor, probabilities: Tensor, first: Sequence[int], second: Sequence[int]
) -> Tensor:
    """Gradient of a pair's mixture with respect to its two logits (two-path, appendix D).

    With q the softmax over the pair alone: +q_a q_b d for a, the opposite for b.

    Args:
        difference: d = value of a minus value of b for each slot, shape (slots,).
        probabilities: p, shape (slots, max_candidates).
        first, second: a and b of each slot.

    Returns:
        Shape (slots, max_candidates), zero outside the pairs.
    """
    rows = torch.arange(len(first))
    a, b = torch.as_tensor(first), torch.as_tensor(second)
    p_a, p_b = probabilities[rows, a], probabilities[rows, b]
    q_a = p_a / (p_a + p_b).clamp_min(torch.finfo(p_a.dtype).tiny)
    slope = q_a * (1 - q_a) * difference
    gradient = torch.zeros_like(probabilities)
    gradient[rows, a] = slope
    gradient[rows, b] = -slope
    return gradient


def keep_pair_mass(
    alpha: Tensor, before: Tensor, first: Sequence[int], second: Sequence[int]
) -> None:
    """Shifts each updated pair by one constant so that p_a + p_b, and every other p, stay put.

    Args:
        alpha: the logits after an update that touched only the pairs; changed in place.
        before: the logits before it.
        first, second: a and b of each slot.
    """
    rows = torch.arange(len(first))
    pair = torch.stack([torch.as_tensor(first), torch.as_tensor(second)], dim=1)
    index = rows.unsqueeze(1)
    shift = before[index, pair].logsumexp(1) - alpha[index, pair].logsumexp(1)
    alpha[index, pair] += shift.unsqueeze(1)
