"""AdamW with decay on matrices only, and the learning rate of each update."""

import math

import torch
import torch.nn as nn

from gpt_core.training.train_config import TrainConfig

FUSED_DEVICES = ("cpu", "cuda")


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) over every trainable parameter.

    Weight decay on parameters of two or more dimensions only: pulling a bias or a norm's gain
    towards 0 regularises nothing. Fused, one kernel for all parameters, where the device has it.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    settings = {"lr": config.lr, "betas": (config.beta1, config.beta2)}
    # Some versions of torch refuse a device without the kernel here, others only at the first update.
    fused = all(p.device.type in FUSED_DEVICES for p in trainable)
    return torch.optim.AdamW(groups, fused=fused, **settings)


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of update `step`, counted from 1: linear warm-up to lr, then half a cosine to min_lr."""
    if step <= config.warmup:
        return config.lr * step / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)  # above 0, 1 at the last update
    return config.min_lr + 0.5 * (1 + math.cos(math.pi * done)) * (config.lr - config.min_lr)
