"""Optimizers of your own, right ones and some with one mistake each."""

import torch

from solutions.more.muon import Muon
from solutions.more.muon import split_parameters as right_split


class Plain(torch.optim.Optimizer):
    """Gradient descent with momentum; it counts updates in its group, and in the state of each parameter."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr, "updates": 0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["updates"] += 1
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["last"] = 0.9 * state.get("last", torch.zeros_like(p)) + p.grad
                    state["count"] = state.get("count", 0) + 1
                    p -= group["lr"] / (group["updates"] + state["count"]) ** 0.5 * state["last"]


class Fixed(Plain):
    """Its rate is written down."""

    def step(self):
        for group in self.param_groups:
            group["lr"] = 0.1
        super().step()


class Forgets(Plain):
    """Its momentum stands beside the state."""

    @torch.no_grad()
    def step(self):
        mine = vars(self).setdefault("mine", {})
        for group in self.param_groups:
            for p in group["params"]:
                mine[p] = 0.9 * mine.get(p, 0) + p.grad
                p -= group["lr"] * mine[p]


class Lazy(Plain):
    """Leaves the last parameter alone."""

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"][:-1]:
            p -= self.param_groups[0]["lr"] * p.grad


class Breaks(Plain):
    def step(self):
        raise RuntimeError("no idea")


class Unsaved(Plain):
    """Keeps an object in its state."""

    def step(self):
        super().step()
        self.state[self.param_groups[0]["params"][0]]["shape"] = object()


class NotAnOptimizer(torch.nn.Module):
    pass


class OnMatrices(Muon):
    """Beside the split below it gets the matrices of the blocks, and AdamW all the rest."""


def split_parameters(model):
    if getattr(split_parameters, "loses", False):
        matrices, others = right_split(model)
        return matrices, others[1:]
    if getattr(split_parameters, "gives_all", True):
        return list(model.parameters()), []
    return right_split(model)
