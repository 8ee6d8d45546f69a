"""Everything that a search must remember, and its checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from proxyless_hw.errors import SearchError
from proxyless_hw.runs.checkpoint import CheckpointFormat
from proxyless_hw.runs.precision import grad_scaler, sgd
from proxyless_hw.runs.state import EpochSums, RunState
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.objective import Multipliers
from proxyless_hw.search.start import align_candidates
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.tensor_files import finite, load_optimizer, plain_tensors, whole

CHECKPOINT: Final = CheckpointFormat("proxyless-hw-search/1", "search", SearchError)


@dataclass
class SearchSums(EpochSums):
    """Running sums over the epoch in progress."""

    train_loss: float = 0.0
    train_correct: int = 0
    train_images: int = 0
    alpha_steps: int = 0
    holdout_loss: float = 0.0


@dataclass(kw_only=True)
class SearchState(RunState[SearchSums]):
    """The moving parts of a search.

    Attributes:
        supernet: weights and alpha.
        weight_optimizer: SGD over the weights; alpha is not among them (asserted).
        alpha_optimizer: Adam over alpha alone.
        generator: draws paths; on the CPU, the same on every rank.
        multipliers: of the constraints.
        baseline: REINFORCE's baseline; None before its first batch.
        alpha_batches: held-out batches used so far.
        epoch: epochs completed, warm-up included.
    """

    supernet: SuperNet
    weight_optimizer: torch.optim.Optimizer
    alpha_optimizer: torch.optim.Optimizer
    generator: torch.Generator
    multipliers: Multipliers
    sums: SearchSums = field(default_factory=SearchSums)
    baseline: float | None = None
    alpha_batches: int = 0

    def weights(self) -> nn.Module:
        return self.supernet


def new_state(
    config: SearchConfig,
    space: SearchSpace,
    num_classes: int,
    constraints: int,
    alpha_lr: float,
    device: torch.device,
) -> SearchState:
    """Builds the supernet and its two optimisers over disjoint parameters."""
    supernet = SuperNet(space, num_classes, seed=config.seed)
    if config.aligned_start:
        align_candidates(supernet, config.seed)
    supernet.to(device)
    weights = supernet.weight_parameters()
    assert all(weight is not supernet.alpha for weight in weights), "alpha is no weight"
    weight_optimizer = sgd(
        weights, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    alpha_optimizer = torch.optim.Adam(
        [supernet.alpha], lr=alpha_lr, betas=(0.0, 0.999), weight_decay=0.0
    )
    return SearchState(
        supernet=supernet,
        weight_optimizer=weight_optimizer,
        alpha_optimizer=alpha_optimizer,
        scaler=grad_scaler(config.autocast, device),
        generator=torch.Generator().manual_seed(config.seed),
        multipliers=Multipliers([0.0] * constraints),
    )


def space_fingerprint(space: SearchSpace) -> str:
    """A short hash of what the supernet's shapes and alpha depend on."""
    text = repr((space.stem, space.positions, space.head, space.batch_norm))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_checkpoint(
    path: Path, state: SearchState, config: SearchConfig, check: Callable[[], None] | None = None
) -> None:
    """Writes the checkpoint as `CheckpointFormat.write`.

    Raises:
        SearchError: the place cannot be written.
    """
    parts = {
        "space": state.supernet.space.id,
        "space_fingerprint": space_fingerprint(state.supernet.space),
        "num_classes": state.supernet.num_classes,
        "supernet": state.supernet.state_dict(),
        "weight_optimizer": state.weight_optimizer.state_dict(),
        "alpha_optimizer": state.alpha_optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "multipliers": {
            "values": list(state.multipliers.values),
            "first": state.multipliers.first,
            "updates": state.multipliers.updates,
        },
        "baseline": state.baseline,
        "alpha_batches": state.alpha_batches,
    }
    CHECKPOINT.write(path, state, config, parts, check)


def read_checkpoint(path: Path, space: SearchSpace | None = None) -> Mapping[str, object]:
    """Reads a checkpoint with ``weights_only=True``.

    Args:
        path: the file.
        space: when given, the checkpoint must be of this space.

    Raises:
        SearchError: unreadable, not a search checkpoint, or of another space.
    """
    document = CHECKPOINT.read(path)
    if space is not None and document.get("space_fingerprint") != space_fingerprint(space):
        raise SearchError(
            f"{path} was made in space '{str(document.get('space'))[:80]}', this search uses "
            f"'{space.id}' (or the space file has changed). Choose another --output, or the same "
            "space."
        )
    return document


def restore(state: SearchState, document: Mapping[str, object], path: Path) -> None:
    """Puts a checkpoint's contents into a freshly built state.

    Raises:
        SearchError: a part is missing or has another shape.
    """
    with CHECKPOINT.restoring(state, document, path):
        state.supernet.load_state_dict(plain_tensors(document["supernet"]))
        load_optimizer(state.weight_optimizer, document["weight_optimizer"], ("momentum_buffer",))
        load_optimizer(
            state.alpha_optimizer, document["alpha_optimizer"], ("step", "exp_avg", "exp_avg_sq")
        )
        generator = document["generator"]
        if not isinstance(generator, Tensor):
            raise ValueError("the state of the generator is a tensor")
        state.generator.set_state(generator)
        state.multipliers = _multipliers(document["multipliers"], len(state.multipliers.values))
        baseline = document["baseline"]
        state.baseline = None if baseline is None else finite(baseline, "baseline")
        state.alpha_batches = whole(document["alpha_batches"], "alpha_batches")


def _mapping(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a mapping")
    return value


def _multipliers(value: object, count: int) -> Multipliers:
    kept = _mapping(value, "multipliers")
    first, numbers = kept["first"], kept["values"]
    if not isinstance(numbers, list) or not isinstance(first, list | None):
        raise ValueError("multipliers are lists of numbers")
    values = [finite(number, "multiplier") for number in numbers]
    starts = [finite(number, "first expectation") for number in first or []]
    if len(values) != count or len(starts) not in (0, count) or any(x <= 0 for x in starts):
        raise ValueError("the multipliers are of other constraints")
    updates = whole(kept["updates"], "updates")
    return Multipliers(values, None if first is None else starts, updates)
