"""The optimizers of a run, and the learning rate of each update.

That is AdamW with decay on matrices only; or one of your own beside it (plugins.py).
"""

import math

import torch
import torch.nn as nn

from gpt_core.training.train_config import TrainConfig

FUSED_DEVICES = ("cpu", "cuda")


def adamw(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) over those of the parameters that are trainable.

    Weight decay on parameters of two or more dimensions only: pulling a bias or a norm's gain
    towards 0 regularises nothing. Fused, one kernel for all parameters, where the device has it.
    """
    trainable = [p for p in parameters if p.requires_grad]
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


class Optimizers:
    """The optimizers of a run as one: each has a part of the parameters.

    All rates follow the schedule of `learning_rate`; an optimizer that was built with another rate than lr
    keeps its distance from it.
    """

    def __init__(self, each: list[torch.optim.Optimizer], config: TrainConfig):
        self.each, self.config = each, config
        self.factors = [[group["lr"] / config.lr for group in one.param_groups] for one in each]

    @property
    def names(self) -> str:
        """For people: "fused AdamW", "Muon and fused AdamW"."""
        return " and ".join(_name(one) for one in self.each)

    def set_rates(self, step: int) -> None:
        """Those of update `step`, counted from 1."""
        for optimizer, factors in zip(self.each, self.factors):
            for group, factor in zip(optimizer.param_groups, factors):
                group["lr"] = factor * learning_rate(step, self.config)

    def step(self) -> None:
        """One update of all parameters, whose gradients are gone afterwards."""
        for optimizer in self.each:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self, names: dict[nn.Parameter, str]) -> tuple[dict[str, torch.Tensor], dict]:
        """What the next update depends on: tensors as "parameter.what", and the rest as JSON takes it.

        names: of the model's parameters.
        """
        tensors, numbers = {}, {}
        for optimizer in self.each:
            for parameter, kept in optimizer.state.items():
                for what, value in kept.items():
                    place = tensors if isinstance(value, torch.Tensor) else numbers
                    place[f"{names[parameter]}.{what}"] = value
        groups = [
            [{key: value for key, value in group.items() if key != "params"} for group in one.param_groups]
            for one in self.each
            if not isinstance(one, torch.optim.AdamW)
        ]
        return tensors, {"numbers": numbers, "groups": groups}

    def restore(self, parameters: dict[str, nn.Parameter], tensors: dict, rest: dict) -> None:
        """Set what `state` gave; parameters: the model's, by name."""
        of = {p: one for one in self.each for group in one.param_groups for p in group["params"]}
        for key, value in (tensors | rest["numbers"]).items():
            name, _, what = key.rpartition(".")
            parameter = parameters[name]
            optimizer = of[parameter]
            if isinstance(value, torch.Tensor):
                value = value.to(_place(optimizer, parameter, what))
            optimizer.state[parameter][what] = value
        own = [one for one in self.each if not isinstance(one, torch.optim.AdamW)]
        for optimizer, groups in zip(own, rest["groups"]):
            for group, kept in zip(optimizer.param_groups, groups):
                group.update(kept)


def _place(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, what: str) -> torch.device:
    """Where an optimizer keeps what it knows of a parameter: torch's own count steps on the host, unless
    their kernel is fused."""
    on_host = what == "step" and not any(optimizer.defaults.get(key) for key in ("fused", "capturable"))
    return torch.device("cpu") if on_host else parameter.device


def _name(optimizer: torch.optim.Optimizer) -> str:
    if not isinstance(optimizer, torch.optim.AdamW):
        return type(optimizer).__name__
    return f"{'fused' if optimizer.defaults.get('fused') else 'unfused'} AdamW"
