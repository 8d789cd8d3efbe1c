"""Newton-Schulz in bfloat16, a running mean, and the gradient used as scratch space, as speed runs do it."""

import torch


@torch.no_grad()
def orthogonalise(g, steps=5):
    a, b, c = 3.4445, -4.7750, 2.0315
    X = g.bfloat16()
    if g.size(-2) > g.size(-1):
        X = X.mT
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.mT
        B = b * A + c * A @ A
        X = a * X + B @ X
    if g.size(-2) > g.size(-1):
        X = X.mT
    return X.to(g.dtype)


def muon_update(grad, buffer, beta):
    buffer.lerp_(grad, 1 - beta)
    return orthogonalise(grad.lerp_(buffer, beta))


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr=0.02, momentum=0.95, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    def add_param_group(self, group):
        params = group["params"]
        group["params"] = [params] if isinstance(params, torch.Tensor) else list(params)
        if any(p.dim() != 2 for p in group["params"]):
            raise ValueError("only matrices")
        super().add_param_group(group)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if len(state) == 0:
                    state["momentum_buffer"] = torch.zeros_like(p)
                update = muon_update(p.grad, state["momentum_buffer"], group["momentum"])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1, p.size(-2) / p.size(-1)) ** 0.5)
        return loss


def split_parameters(model):
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("blocks.")]
    rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and n.startswith("blocks."))]
    return hidden, rest
