"""Where and how to compute: the device, the precision, the number of threads."""

import os

import torch

from gpt_core.train_config import TrainConfig


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """auto is the GPU of this rank where there is one, else the CPU; any other name is taken as it is.

    Raises ValueError for a name that torch does not know or a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device is {name!r}; it must be auto, cpu, cuda or cuda:N.") from None
    if device.type == "meta":
        raise ValueError("device is 'meta', which holds no numbers; it must be auto, cpu, cuda or cuda:N.")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("device is 'cuda', and torch sees no GPU here; use --device cpu.")
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        if device.index >= torch.cuda.device_count():
            raise ValueError(f"device is {device}, and there are {torch.cuda.device_count()} GPUs here.")
    elif device.type != "cpu":
        try:
            torch.zeros(1, device=device)
        except Exception as error:  # a backend that is not built in, or not here: each says so in its own way
            raise ValueError(f"device is {name!r}, and torch cannot use one here; use --device cpu.") from error
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast: bfloat16 where asked for, or under auto on a CUDA device that has it."""
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return getattr(torch, name)


# One thread per this many activations of a layer. Below it a second thread costs more in waiting for
# the first than it computes; when other programs want the core too, it can cost a multiple.
ACTIVATIONS_PER_THREAD = 2**18


def choose_threads(config: TrainConfig, processes_here: int = 1) -> int:
    """How many CPU threads one process computes with.

    The one asked for; else OMP_NUM_THREADS; else one per 2**18 activations (B * T * C) of a layer, at
    most the cores that this process may use, shared among the processes here. A rule and not a
    measurement, since sums are ordered by thread: a choice that varied would vary the losses.
    """
    if config.threads:
        return config.threads
    named = os.environ.get("OMP_NUM_THREADS", "")
    # torchrun sets OMP_NUM_THREADS=1 for its workers by itself, which says nothing of the user's wish.
    if named.isdigit() and int(named) > 0 and "TORCHELASTIC_RUN_ID" not in os.environ:
        return int(named)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    activations = config.batch_size * config.block_size * config.n_embd
    return max(1, min(cores // processes_here, activations // ACTIVATIONS_PER_THREAD))
