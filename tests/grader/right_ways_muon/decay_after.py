"""Without a transpose, in float64, with the decay after the update and the momentum as the first gradient."""

import math

import torch
from torch import optim


def orthogonalise(g, steps=5):
    x = g.double()
    norm = torch.linalg.matrix_norm(x)
    if norm == 0:
        return torch.zeros_like(g)
    x = x / norm
    for _ in range(steps):
        gram = x.t() @ x
        x = 3.4445 * x - 4.7750 * x @ gram + 2.0315 * x @ gram @ gram
    return x.type_as(g)


class Muon(optim.Optimizer):
    def __init__(self, params, lr=0.02, momentum=0.95, weight_decay=0.0):
        params = list(params)
        groups = params if params and isinstance(params[0], dict) else [{"params": params}]
        for group in groups:
            group["params"] = list(group["params"])
            for p in group["params"]:
                if len(p.shape) != 2:
                    raise ValueError(f"a matrix, please, and not {p.shape}")
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                for p in filter(lambda p: p.grad is not None, group["params"]):
                    self.move(p, self.state[p], **{k: group[k] for k in ("lr", "momentum", "weight_decay")})

    @staticmethod
    def move(p, state, lr, momentum, weight_decay):
        old = state.get("m")
        state["m"] = p.grad.clone() if old is None else momentum * old + p.grad
        rows, columns = p.shape
        new = p - lr * math.sqrt(max(1.0, rows / columns)) * orthogonalise(p.grad + momentum * state["m"])
        p.copy_(new - lr * weight_decay * new)


def split_parameters(model):
    matrices, others, seen = [], [], set()
    for block in model.blocks:
        for p in block.parameters():
            if p.dim() == 2 and id(p) not in seen:
                matrices.append(p)
                seen.add(id(p))
    for p in model.parameters():
        if id(p) not in seen:
            seen.add(id(p))
            others.append(p)
    return matrices, others
