"""Several processes started by torchrun: each rank takes the same path, gradients are averaged."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, distributed, nn

from proxyless_hw.terminal.torchrun import launched_world_size

_MOST_DIMENSIONS: Final = 8
_TYPES: Final = (
    *(torch.float32, torch.int64, torch.float64, torch.float16, torch.bfloat16),
    *(torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


@dataclass(frozen=True, slots=True)
class World:
    """This process among its peers.

    Attributes:
        rank: 0 for the process that writes files and prints.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def average(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor over all processes; the tensor itself when there is one."""
        if self.size == 1:
            return tensor
        summed = tensor.clone()
        distributed.all_reduce(summed)
        return summed / self.size

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Averages the gradients that exist; every rank took the same path, so it has the same."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        offset = 0
        for gradient in gradients:
            gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
            offset += gradient.numel()

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, one after the other; their first dimensions may differ.

        Args:
            tensor: (n, ...), on the device where processes exchange tensors. The other dimensions
                and the type are the same on all processes; one that has nothing gives an empty
                tensor of any shape.
        """
        if self.size == 1:
            return tensor
        facts = torch.zeros(2 + _MOST_DIMENSIONS, dtype=torch.int64, device=tensor.device)
        if len(tensor):
            facts[: 2 + tensor.dim()] = torch.tensor(
                [_TYPES.index(tensor.dtype), tensor.dim(), *tensor.shape]
            )
        known = [torch.zeros_like(facts) for _ in range(self.size)]
        distributed.all_gather(known, facts)
        rows = [row.tolist() for row in known]
        kind, dimensions, _, *rest = max(rows, key=lambda row: row[1])
        lengths = [row[2] for row in rows]
        shape = (max(lengths), *rest[: max(0, dimensions - 1)])
        padded = torch.zeros(shape, dtype=_TYPES[kind], device=tensor.device)
        if len(tensor):
            padded[: len(tensor)] = tensor
        parts = [torch.zeros_like(padded) for _ in range(self.size)]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def broadcast(self, module: nn.Module) -> None:
        """Gives every rank the parameters and buffers of rank 0."""
        if self.size > 1:
            for tensor in (*module.parameters(), *module.buffers()):
                distributed.broadcast(tensor.detach(), 0)

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Gives every rank the buffers (running statistics) of rank 0."""
        if self.size > 1:
            for tensor in module.buffers():
                distributed.broadcast(tensor.detach(), 0)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set on any rank, so that all of them act together."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag), device=device)
        distributed.all_reduce(count)
        return bool(count > 0)

    def barrier(self) -> None:
        """Waits for all ranks."""
        if self.size > 1:
            distributed.barrier()


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process: torchrun's processes on one machine take one GPU each."""
    if device.type != "cuda" or device.index is not None or "LOCAL_RANK" not in os.environ:
        return device
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def join_world(device: torch.device) -> World:
    """Joins the process group that torchrun set up, if there is one."""
    size = launched_world_size()
    if size == 1:
        return World()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where NCCL's barriers, and tensors without a number, go
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(distributed.get_rank(), distributed.get_world_size())


def leave_world(world: World) -> None:
    """Leaves the process group."""
    if world.size > 1 and distributed.is_initialized():
        distributed.destroy_process_group()
