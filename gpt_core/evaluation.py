"""The loss of a model on a text, both ways: every target once, or a sample as in the lecture."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn as nn
from torch.nn import functional as F

from gpt_core.batches import Batches


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Dropout off inside; every submodule is left in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _float64_place(device: torch.device) -> torch.device:
    """Where to sum in float64 what was computed on `device`: there, or on the CPU where it has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def exhaustive_loss(model: nn.Module, tokens: torch.Tensor, *, batch_size: int = 64) -> float:
    """Mean cross entropy, in nats, over every target of tokens (N,): all N - 1 of them, once each.

    Windows of block_size that do not overlap, the last and shorter one included; float32 logits,
    eval mode, no randomness. Windows start without context, so a longer block_size has it easier.

    Raises ValueError for fewer than 2 tokens.
    """
    if len(tokens) < 2:
        raise ValueError(f"the text has {len(tokens)} characters; a loss takes at least 2.")
    T = model.config.block_size
    device = next(model.parameters()).device
    targets_in_all = len(tokens) - 1
    whole = targets_in_all // T * T
    bounds = [(start, min(start + batch_size * T, whole), T) for start in range(0, whole, batch_size * T)]
    if whole < targets_in_all:
        bounds.append((whole, targets_in_all, targets_in_all - whole))
    place = _float64_place(device)
    total = torch.zeros((), dtype=torch.float64, device=place)
    with eval_mode(model), torch.no_grad():
        for start, end, length in bounds:
            part = tokens[start : end + 1]
            if not isinstance(part, torch.Tensor):  # of a text that lies in a file
                part = part.tensor()
            part = part.to(device).long()
            logits, _ = model(part[:-1].view(-1, length))
            targets = part[1:]
            # Summed in float64: a float32 sum of 111,540 losses would be wrong in the sixth digit.
            loss = F.cross_entropy(logits.float().flatten(0, 1), targets, reduction="sum")
            total += loss.to(place).double()
    return total.item() / targets_in_all


def sampled_loss(model: nn.Module, tokens: torch.Tensor, *, batch_size: int, iters: int, seed: int) -> float:
    """The lecture's estimate_loss: the mean over `iters` random batches, eval mode.

    tokens (N,) on any device. The same seed samples the same windows; the global generators
    are not touched.
    """
    device = next(model.parameters()).device
    batches = Batches(tokens, model.config.block_size, seed, device=device)
    place = _float64_place(device)
    total = torch.zeros((), dtype=torch.float64, device=place)
    with eval_mode(model), torch.no_grad():
        for _ in range(iters):
            total += model(*batches.take(batches.draw(batch_size)))[1].to(place).double()
    return total.item() / iters
