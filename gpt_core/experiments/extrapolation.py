"""How a model does beyond the length that it was trained on: its loss by position in windows of several
times block_size.

A rotary model has an angle for every position. A learned table ends at block_size; here it gets further rows
with their initial values, which were never trained. Both can avoid it as sampling does, by reading only the
last block_size tokens: `cropped_loss` measures that.
"""

from dataclasses import replace

import torch
from torch.nn import functional as F

from gpt_core.evaluation import eval_mode
from gpt_core.models import LanguageModel
from gpt_core.training.plugins import build_model
from gpt_core.training.trained import TrainedModel


def stretch(trained: TrainedModel, factor: int) -> LanguageModel:
    """The trained model with `factor` times its block_size, in eval mode on the same device.

    Every weight is kept. A position table keeps its rows and gets fresh ones behind them; buffers (masks,
    angles) are those of the longer model. ValueError where a part cannot be built at that length.
    """
    config = replace(trained.config, block_size=factor * trained.config.block_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # of the fresh rows
        model = build_model(config, trained.tokenizer.vocab_size)
    weights = dict(trained.model.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            known = weights[name]
            parameter[tuple(slice(size) for size in known.shape)].copy_(known)
    return model.to(next(trained.model.parameters()).device).eval()


def loss_by_position(model: LanguageModel, tokens: torch.Tensor, *, batch_size: int = 16) -> torch.Tensor:
    """The mean cross entropy, in nats, of each position in windows of block_size that do not overlap.

    tokens (N,), N at least block_size + 1, else ValueError -> (block_size,) float64 on the CPU.
    """
    T = model.config.block_size
    count = (len(tokens) - 1) // T
    if count < 1:
        raise ValueError(
            f"the text has {len(tokens)} characters, and a window with its targets takes block_size + 1 = "
            f"{T + 1}: use a longer text or a smaller stretch."
        )
    losses = _losses(model, tokens.unfold(0, T + 1, T)[:count], batch_size)
    return losses.mean(dim=0)


def cropped_loss(
    model: LanguageModel, tokens: torch.Tensor, *, stride: int = 16, batch_size: int = 64
) -> float:
    """The mean cross entropy, in nats, of a token that follows exactly block_size tokens: what a position
    anywhere beyond block_size costs where the context is cropped to the last block_size tokens.

    tokens (N,), N at least block_size + 1, else ValueError. Every stride-th target is scored.
    """
    T = model.config.block_size
    if len(tokens) <= T:
        raise ValueError(
            f"the text has {len(tokens)} characters, and a full context with its target takes block_size + 1 "
            f"= {T + 1}."
        )
    losses = _losses(model, tokens.unfold(0, T + 1, stride), batch_size)
    return losses[:, -1].mean().item()


def _losses(model, windows: torch.Tensor, batch_size: int) -> torch.Tensor:
    """windows (N, T + 1) of tokens -> the loss of each target, (N, T) float64 on the CPU."""
    device = next(model.parameters()).device
    found = []
    with eval_mode(model), torch.no_grad():
        for rows in windows.split(batch_size):
            rows = rows.to(device).long()
            logits, _ = model(rows[:, :-1])
            losses = F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
            found.append(losses.view(len(rows), -1).cpu().double())
    return torch.cat(found)
