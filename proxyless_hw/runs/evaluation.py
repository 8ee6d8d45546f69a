"""How good a network is on a split: the one evaluation that searches and trainings share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from proxyless_hw.errors import ProxylessHwError, TaskError
from proxyless_hw.runs.distributed import World
from proxyless_hw.runs.task import (
    CLASSIFICATION,
    NO_LABELS,
    Task,
    are_labels,
    checked_metric,
    name_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Result of an evaluation.

    Attributes:
        own_metric: the metric of the user's, higher is better; None where top-1 takes its place.
        top1: accuracy in [0, 1]; None where the targets are no class labels.
        top5: the same for the five largest outputs; None with a loss of the user's, too.
        loss: mean loss.
        images: number of images.
    """

    own_metric: float | None
    top1: float | None
    top5: float | None
    loss: float
    images: int

    @property
    def metric(self) -> float:
        """What networks are compared by; higher is better."""
        value = self.top1 if self.own_metric is None else self.own_metric
        assert value is not None, "without a metric the targets are class labels"
        return value

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values for JSON; ``metric`` is that of the user's, and is left out without one."""
        return {
            **({} if self.own_metric is None else {"metric": self.own_metric}),
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "images": self.images,
        }


@dataclass
class Outputs:
    """What a network gave for the images of a split, as far as its score needs it.

    Attributes:
        task: loss and metric.
        sums: correct, correct among five, loss, images, images without a class label, outputs that
            are NaN or infinite; float64, (6,).
        kept: outputs and targets of each batch, on the CPU; with a metric of the user's.
    """

    task: Task
    sums: Tensor = field(default_factory=lambda: torch.zeros(6, dtype=torch.float64))
    kept: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Takes in one batch: outputs (N, ...), float32, and targets on the same device."""
        count, unlabelled = len(targets), 0
        correct = torch.zeros(2, device=outputs.device)
        if are_labels(targets) and outputs.dim() == 2:
            ranked = outputs.topk(min(5, outputs.shape[1]), dim=1).indices == targets[:, None]
            correct = torch.stack([ranked[:, 0].sum().float(), ranked.any(1).sum().float()])
        else:
            unlabelled = count
        if self.task.has_cross_entropy:
            loss = functional.cross_entropy(outputs, targets, reduction="sum")
        else:
            loss = self.task.value(outputs, targets) * count
        spoilt = (~outputs.isfinite()).sum().float()
        part = torch.cat([correct, torch.stack([loss.float(), spoilt])]).cpu().double()
        first, five, total, bad = part.tolist()
        self.sums += torch.tensor([first, five, total, count, unlabelled, bad])
        if self.task.metric is not None:
            self.kept.append((outputs.cpu(), targets.cpu()))

    def score(
        self,
        error: type[ProxylessHwError],
        device: torch.device,
        world: World | None = None,
    ) -> Score:
        """The score of all batches; with several processes, of all batches of all of them.

        Args:
            error: raised for a network that is spoilt.
            device: where processes exchange tensors.
            world: this process among its peers; process r holds batches r, r + size, ...

        Raises:
            ProxylessHwError: as `error`: outputs or loss are NaN or infinite.
            TaskError: the user's loss or metric gives no finite number, or the targets are no class
                labels and there is no metric.
        """
        world = world or World()
        sums = self.sums
        if world.size > 1:
            sums = world.average(sums.to(device, torch.float32)).cpu() * world.size
        first, five, loss, count, unlabelled, spoilt = sums.tolist()
        if spoilt or not math.isfinite(loss):
            self._refuse(error, round(count), loss, bool(spoilt))
        total = max(1.0, count)
        top1 = None if unlabelled else first / total
        return Score(
            own_metric=self._own_metric(top1, world, device),
            top1=top1,
            top5=five / total if top1 is not None and self.task.has_cross_entropy else None,
            loss=loss / total,
            images=round(count),
        )

    def _refuse(self, error: type[ProxylessHwError], count: int, loss: float, spoilt: bool) -> None:
        if not spoilt and not self.task.has_cross_entropy:
            raise TaskError(
                f"the loss '{name_of(self.task.loss)}' on {count} images is {loss}, though all "
                "outputs of the network are finite. Keep away from zero what it takes logarithms, "
                "roots or quotients of."
            )
        what = "has outputs that are NaN or infinite; its loss" if spoilt else "has a loss that"
        raise error(
            f"the network {what} on {count} images is {loss}: its weights or BatchNorm statistics "
            "are spoilt. Lower --lr, or go back to an earlier checkpoint."
        )

    def _own_metric(self, top1: float | None, world: World, device: torch.device) -> float | None:
        if self.task.metric is None:
            if top1 is None:
                raise TaskError(NO_LABELS)
            return None
        outputs = self._joined(0, world, device)
        return checked_metric(self.task.metric, outputs, self._joined(1, world, device))

    def _joined(self, part: int, world: World, device: torch.device) -> Tensor:
        """Outputs (0) or targets (1) of the whole split, in its order."""
        batches = [pair[part] for pair in self.kept]
        own = torch.cat(batches) if batches else torch.empty(0)
        if world.size == 1:
            return own
        sizes = [
            torch.full((len(batch),), world.rank + index * world.size)
            for index, batch in enumerate(batches)
        ]
        numbers = torch.cat(sizes) if sizes else torch.empty(0, dtype=torch.int64)
        order = world.gather(numbers.to(device)).cpu().argsort(stable=True)
        return world.gather(own.to(device)).cpu()[order]


def run_split(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device,
    task: Task = CLASSIFICATION,
) -> Outputs:
    """Runs a network on a split; it is in eval mode afterwards.

    Args:
        network: gives (N, ...) for images.
        batches: images and targets; with several processes, this process's share.
        device: where the network is.
        task: loss and metric.
    """
    network.eval()
    found = Outputs(task)
    with torch.no_grad():
        for images, targets in batches:
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            found.add(network(images).float(), targets.to(device))
    return found


def evaluate(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device,
    error: type[ProxylessHwError],
    task: Task = CLASSIFICATION,
) -> Score:
    """Evaluates a network in this process; it is in eval mode afterwards.

    Args:
        network: gives (N, ...) for images.
        batches: images and targets.
        device: where the network is.
        error: raised for a network that is spoilt.
        task: loss and metric.

    Raises:
        ProxylessHwError: as `error`: outputs or loss are NaN or infinite: the network's weights or
            statistics are spoilt.
        TaskError: the user's loss or metric gives no finite number.
    """
    return run_split(network, batches, device, task).score(error, device)
