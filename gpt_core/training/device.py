"""Where and how to compute: the device, its generators, the precision, the number of threads."""

import contextlib
import copy
import functools
import os
from collections.abc import Callable, Iterator

import torch

from gpt_core.batches import Batches
from gpt_core.config import GPTConfig
from gpt_core.models import GPT
from gpt_core.training.train_config import TrainConfig
from gpt_core.training.trial import first_line

NAMES = "auto, cpu, cuda, cuda:N or mps"


def choose_device(
    name: str, local_rank: int = 0, *, processes: int = 1, note: Callable[[str], None] = lambda text: None
) -> torch.device:
    """auto is the GPU of this rank where there is one, else Apple's (mps) where a trial step goes well on it
    and one process trains alone, else the CPU; any other name is taken as it is.

    note: called with one sentence where there is an mps device that auto does not take.

    Raises ValueError for a name that torch does not know or a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and processes == 1 and torch.backends.mps.is_available():
            if wrong := trial_step("mps"):
                note(f"A trial step on the device mps goes wrong ({wrong}), so this is computed on the CPU.")
            else:
                name = "mps"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device is {name!r}; it must be {NAMES}.") from None
    if device.type == "meta":
        raise ValueError(f"device is 'meta', which holds no numbers; it must be {NAMES}.")
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
            raise ValueError(
                f"device is {name!r}, and torch cannot use one here; use --device cpu."
            ) from error
    return device


@functools.cache
def trial_step(device: str) -> str | None:
    """Forward and backward of a tiny GPT, on the CPU and on `device`: what goes wrong there, or None.

    Not all of torch is there on every Mac, and what is there has given wrong numbers without an error.
    """
    found = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT(GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.0))
    tokens = (torch.arange(64) ** 2 % 11).to(torch.uint8)
    try:
        for place in ("cpu", device):
            there = copy.deepcopy(model).to(place)
            batches = Batches(tokens.to(place), block_size=8, seed=0)
            loss = there(*batches.take(batches.draw(4)))[1]
            loss.backward()
            found.append(torch.stack([loss.detach(), *(p.grad.norm() for p in there.parameters())]).cpu())
    except Exception as error:  # whatever a backend that is half there may raise
        return first_line(error)
    return None if torch.allclose(*found, rtol=1e-3, atol=1e-5) else "it gives other numbers than the CPU"


def generator_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's global generators that a model on `device` draws from: cpu, and cuda or mps."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_generator_states(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Set what `generator_states` gave; the state of a device of another kind is left out."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


@contextlib.contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """What is drawn inside from the global generators does not move them."""
    states = generator_states(device)
    try:
        yield
    finally:
        set_generator_states(states, device)


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
