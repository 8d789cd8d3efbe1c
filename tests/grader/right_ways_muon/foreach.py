"""Momentum of a whole group at once, and matrices of one shape in one batched product."""

from collections import defaultdict

import torch

A, B, C = (3.4445, -4.7750, 2.0315)


def newton_schulz(x, steps):
    """(N, R, S)"""
    x = x / x.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
    for _ in range(steps):
        s = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(A * x, torch.baddbmm(B * s, s, s, alpha=C), x)
    return x


def orthogonalise(g, steps=5):
    return newton_schulz(g[None].float(), steps)[0].to(g.dtype)


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr=0.02, momentum=0.95, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        shapes = {p.shape for group in self.param_groups for p in group["params"]}
        if {len(shape) for shape in shapes} - {2}:
            raise ValueError(f"Muon is for matrices: {shapes}")

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            mine = [p for p in group["params"] if p.grad is not None]
            if not mine:
                continue
            grads = [p.grad for p in mine]
            buffers = [self.state[p].setdefault("buffer", torch.zeros_like(p)) for p in mine]
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, grads)
            looks = torch._foreach_add(grads, torch._foreach_mul(buffers, group["momentum"]))
            by_shape = defaultdict(list)
            for p, u in zip(mine, looks):
                by_shape[p.shape, p.dtype].append((p, u))
            torch._foreach_mul_(mine, 1 - group["lr"] * group["weight_decay"])
            for (shape, dtype), pairs in by_shape.items():
                made = newton_schulz(torch.stack([u for _, u in pairs]).float(), 5).to(dtype)
                for (p, _), o in zip(pairs, made):
                    p.sub_(group["lr"] * max(1, shape[0] / shape[1]) ** 0.5 * o)


def split_parameters(model):
    inside = {p: None for p in model.blocks.parameters() if p.ndim == 2}
    return list(inside), [p for p in model.parameters() if p not in inside]
