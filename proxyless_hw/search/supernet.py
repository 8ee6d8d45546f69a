"""The over-parameterised network: every candidate of every slot, of which one path runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from proxyless_hw.network.ops import build_body, build_layer, init_weights
from proxyless_hw.network.tree import run_wired
from proxyless_hw.runs.task import LossFunction, Task
from proxyless_hw.search.gate_probe import GateGradient, probe
from proxyless_hw.search.gates import (
    Choices,
    alpha_gradient_full,
    pair_gradient,
    path_probabilities,
    sample_choices,
    sample_others,
)
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import Position
from proxyless_hw.tables.given import space_of

GradientMode = Literal["full", "two-path"]


class MixedOp(nn.Module):
    """One slot: y = sum_j g_j o_j(x), plus the shortcut where the slot has one.

    Only the sampled candidate runs. The shortcut is the slot's own, so that Zero gives o(x) = 0.
    """

    def __init__(self, position: Position, space: SearchSpace) -> None:
        super().__init__()
        layers = position.candidates
        self.has_shortcut = all(layer.skip for layer in layers)
        build = build_body if self.has_shortcut else build_layer
        self.candidates = nn.ModuleList(build(layer, space.batch_norm) for layer in layers)
        self.is_zero = tuple(layer.is_zero for layer in layers)

    def path(self, x: Tensor, choice: int) -> Tensor | None:
        """o_choice(x) without the shortcut; None for Zero, whose output is 0."""
        if self.is_zero[choice] and self.has_shortcut:
            return None
        return self.candidates[choice](x)  # type: ignore[no-any-return]

    def join(self, x: Tensor, path: Tensor | None) -> Tensor:
        """Adds the shortcut to what the path gave."""
        if path is None:
            return x
        return path + x if self.has_shortcut else path

    def forward(self, x: Tensor, choice: int) -> Tensor:
        return self.join(x, self.path(x, choice))

    def relaxed(self, x: Tensor, probabilities: Tensor) -> Tensor:
        """Weighted sum of all paths (DARTS), each multiplied by its probability."""
        total: Tensor | None = None
        for index in range(len(self.candidates)):
            path = self.path(x, index)
            if path is not None:
                weighted = probabilities[index] * path
                total = weighted if total is None else total + weighted
        return self.join(x, total)


class SuperNet(nn.Module):
    """All candidates of a space under one set of architecture parameters.

    ``supernet(images, choices)`` runs only the sampled path; choices are an argument, there is no
    mode to set. Feature maps are kept channels-last, the faster layout on CPUs and GPUs.

    Args:
        space: the search space.
        num_classes: classes of the data (not of the deployment).
        seed: seeds weights and alpha; the global generator is used when None.

    Attributes:
        alpha: architecture parameters, (slots, max_candidates), N(0, 1e-3) at the start.
        mask: True where a candidate exists, same shape.

    Example:
        >>> import torch
        >>> import proxyless_hw as ph
        >>> supernet = ph.SuperNet(ph.SearchSpace.load("cifar-mbconv"), num_classes=10, seed=0)
        >>> choices = supernet.sample(torch.Generator().manual_seed(0))
        >>> supernet(torch.zeros(2, 3, 32, 32), choices).shape
        torch.Size([2, 10])
    """

    mask: Tensor

    def __init__(
        self, space: SearchSpace | str | Path, num_classes: int = 10, seed: int | None = None
    ) -> None:
        super().__init__()
        space = space_of(space)
        self.space = space
        self.num_classes = num_classes
        batch_norm = space.batch_norm
        self.stem = nn.Sequential(*(build_layer(layer, batch_norm) for layer in space.stem))
        self._mixed = [MixedOp(position, space) for position in space.positions]
        self.positions = nn.ModuleList(self._mixed)
        self._slot_numbers = [
            number for number, position in enumerate(space.positions) if position.is_slot
        ]
        self.head = nn.Sequential(
            *(build_layer(layer.with_classes(num_classes), batch_norm) for layer in space.head)
        )
        init_weights(self, seed)
        shape = (len(space.slots), space.max_candidates)
        generator = None if seed is None else torch.Generator().manual_seed(seed + 1)
        mask = torch.zeros(shape, dtype=torch.bool)
        for row, slot in zip(mask, space.slots, strict=True):
            row[: len(slot.candidates)] = True
        self.register_buffer("mask", mask, persistent=False)
        self.alpha = nn.Parameter(torch.randn(shape, generator=generator) * 1e-3)
        self.to(memory_format=torch.channels_last)

    def weight_parameters(self) -> list[nn.Parameter]:
        """Every parameter but alpha."""
        return [parameter for name, parameter in self.named_parameters() if name != "alpha"]

    @property
    def probabilities(self) -> Tensor:
        """Path probabilities, (slots, max_candidates), differentiable in alpha."""
        return path_probabilities(self.alpha, self.mask)

    def sample(self, generator: torch.Generator | None = None) -> Choices:
        """Samples one candidate per slot from the path probabilities."""
        return sample_choices(self.probabilities.detach().cpu(), generator)

    def sample_uniform(self, generator: torch.Generator | None = None) -> Choices:
        """Samples one candidate per slot, each equally likely (warm-up)."""
        return sample_choices(self.mask.float().cpu(), generator)

    def forward(self, images: Tensor, choices: Sequence[int]) -> Tensor:
        """Logits of the sampled network.

        Args:
            images: (N, 3, H, W).
            choices: one candidate index per slot.

        Returns:
            (N, num_classes).
        """
        chosen = self._chosen(choices)
        return self._run(images, lambda number, x: self._mixed[number](x, chosen[number]))

    def relaxed(self, images: Tensor) -> Tensor:
        """Logits of the DARTS-style relaxation: every path, weighted by its probability."""
        rows = dict(zip(self._slot_numbers, self.probabilities, strict=True))

        def apply(number: int, x: Tensor) -> Tensor:
            mixed = self._mixed[number]
            return mixed.relaxed(x, rows[number]) if number in rows else mixed(x, 0)

        return self._run(images, apply)

    def alpha_gradient(
        self,
        images: Tensor,
        targets: Tensor,
        choices: Sequence[int],
        mode: GradientMode = "full",
        loss: LossFunction = functional.cross_entropy,
        others: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The loss of the sampled network and its gradient with respect to alpha.

        dL/dg_j = <dL/dy, o_j(x)> at every slot, also where Zero was sampled. Weights receive no
        gradient and running statistics do not move.

        Args:
            images: (N, 3, H, W).
            targets: what the loss takes; for cross entropy labels (N,), int64.
            choices: the sampled candidate of each slot.
            mode: ``full`` evaluates every candidate; ``two-path`` one other per slot.
            loss: ``loss(outputs, targets)`` -> scalar, differentiable.
            others: the second candidate of each pair; sampled from p when None (two-path only).
            generator: for sampling `others`.

        Returns:
            The loss (scalar) and the gradient (slots, max_candidates); zero where masked.

        Raises:
            TaskError: the loss gives no scalar tensor.
        """
        choices = self.space.check_choices(choices)
        probabilities = self.probabilities.detach()
        if mode == "two-path":
            if others is None:
                others = sample_others(probabilities.cpu(), choices, self.mask.cpu(), generator)
            wanted = [{a, b} for a, b in zip(choices, others, strict=True)]
        else:
            wanted = [set(range(len(slot.candidates))) for slot in self.space.slots]
        value, gates = self._gate_gradient(images, targets, choices, wanted, loss)
        if mode == "full":
            return value, alpha_gradient_full(gates, probabilities)
        assert others is not None
        rows = torch.arange(len(choices))
        difference = gates[rows, torch.as_tensor(choices)] - gates[rows, torch.as_tensor(others)]
        return value, pair_gradient(difference, probabilities, choices, others)

    def gate_gradient(
        self,
        images: Tensor,
        targets: Tensor,
        choices: Sequence[int],
        loss: LossFunction = functional.cross_entropy,
    ) -> tuple[Tensor, Tensor]:
        """The loss and dL/dg of every candidate, (slots, max_candidates); 0 for Zero."""
        wanted = [set(range(len(slot.candidates))) for slot in self.space.slots]
        return self._gate_gradient(images, targets, self.space.check_choices(choices), wanted, loss)

    def _gate_gradient(
        self,
        images: Tensor,
        targets: Tensor,
        choices: Choices,
        wanted: Sequence[set[int]],
        loss: LossFunction,
    ) -> tuple[Tensor, Tensor]:
        chosen = self._chosen(choices)
        rows = dict(zip(self._slot_numbers, range(len(choices)), strict=True))
        gates = [torch.zeros_like(row, requires_grad=True) for row in self.alpha.detach()]

        def apply(number: int, x: Tensor) -> Tensor:
            mixed = self._mixed[number]
            path = mixed.path(x, chosen[number])
            outputs = mixed.join(x, path)
            if number not in rows:
                return outputs
            row = rows[number]
            # In a tree most outputs are needed by nothing else: computing them again costs one
            # candidate of many and saves their memory.
            kept = None if path is None or self.space.wiring else path.detach()
            measure = self._measure(number, row, x.detach(), kept, chosen[number], wanted[row])
            return probe(outputs, gates[row], measure)

        with still_statistics(self):
            logits = at_least_float32(self._run(images, apply))
            value = Task(loss).value(logits, targets)
            # Only the gates' gradients are asked for: no weight gradient is computed.
            gradients = torch.autograd.grad(value, gates)
        return value.detach(), torch.stack(gradients)

    def _measure(
        self, number: int, row: int, x: Tensor, kept: Tensor | None, choice: int, wanted: set[int]
    ) -> GateGradient:
        """dL/dg_j = <dL/dy, o_j(x)> of one slot, as a function of dL/dy."""
        mixed = self._mixed[number]

        def measure(slope: Tensor) -> Tensor:
            gradient = torch.zeros_like(self.alpha[row])
            for index in sorted(wanted):
                path = kept if index == choice and kept is not None else mixed.path(x, index)
                if path is not None:
                    gradient[index] = inner_product(slope, path)
            return gradient

        return measure

    def _run(self, images: Tensor, apply: Callable[[int, Tensor], Tensor]) -> Tensor:
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        x = run_wired(self.space.wiring, len(self.positions), x, apply)
        return self.head(x)  # type: ignore[no-any-return]

    def _chosen(self, choices: Sequence[int]) -> list[int]:
        """The candidate at every position: 0 where there is no choice."""
        chosen = [0] * len(self.positions)
        for number, choice in zip(
            self._slot_numbers, self.space.check_choices(choices), strict=True
        ):
            chosen[number] = choice
        return chosen


def at_least_float32(values: Tensor) -> Tensor:
    """Half-precision values of autocast as float32; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def inner_product(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> over all elements, whatever the memory layout."""
    return (at_least_float32(a) * b).sum()


@contextlib.contextmanager
def still_statistics(module: nn.Module) -> Iterator[None]:
    """Within it, BatchNorm in training mode uses batch statistics and leaves the running ones."""
    moved = [
        part
        for part in module.modules()
        if isinstance(part, nn.BatchNorm2d) and part.track_running_stats
    ]
    for part in moved:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part in moved:
            part.track_running_stats = True
