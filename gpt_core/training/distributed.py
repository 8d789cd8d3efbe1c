"""The processes of one run: what torchrun says of them, and the little they tell each other."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class World:
    """The processes that train together.

    rank: this one's number, 0 alone writes; size: how many; local_rank: its number on this machine;
    local_size: how many are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def from_environment(cls) -> "World":
        """As torchrun set it; a single process where there is no torchrun."""
        numbers = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
        return cls(*(int(os.environ.get(name, default)) for name, default in numbers))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def connect(self, device: torch.device) -> None:
        """Join the others: nccl between GPUs, gloo between CPUs. A single process does nothing."""
        if self.size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def leave(self) -> None:
        """Part from the others once all are done: one that left early would look like a failure."""
        if self.size > 1 and dist.is_initialized():
            dist.barrier()
            dist.destroy_process_group()

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The element-wise mean over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process, so that all leave the loop at the same step."""
        if self.size == 1:
            return flag
        votes = torch.tensor([float(flag)], device=device)
        dist.all_reduce(votes)
        return votes.item() > 0

    def gather(self, tensor: torch.Tensor, device: torch.device) -> list[torch.Tensor]:
        """Every process' tensor, by rank; all have the same shape and dtype. Results on the CPU."""
        if self.size == 1:
            return [tensor]
        mine = tensor.to(device)
        everyone = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(everyone, mine)
        return [t.cpu() for t in everyone]
