"""torch's SGD keeps the momentum, and sees orthogonal gradients of a helper."""

import torch


def orthogonalise(g, steps=5):
    x = torch.nn.functional.normalize(g.reshape(1, -1).to(torch.float32), dim=1).view(g.shape)
    while steps > 0:
        s = torch.einsum("ij,kj->ik", x, x)
        x = 3.4445 * x + torch.einsum("ik,kj->ij", -4.7750 * s + 2.0315 * torch.matmul(s, s), x)
        steps -= 1
    return x.to(dtype=g.dtype)


class Muon(torch.optim.SGD):
    def __init__(self, params, lr=0.02, momentum=0.95, weight_decay=0.0):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)
        for group in self.param_groups:
            if not all(p.ndim == 2 for p in group["params"]):
                raise ValueError("2-D parameters only")

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for p in group["params"]:
                if p.grad is not None:
                    buffer = self.state[p].get("momentum_buffer")
                    buffer = p.grad.clone() if buffer is None else buffer.mul(momentum).add(p.grad)
                    self.state[p]["momentum_buffer"] = buffer
                    size = (p.shape[0] / p.shape[1]) ** 0.5 if p.shape[0] > p.shape[1] else 1.0
                    update = orthogonalise(p.grad.add(buffer, alpha=momentum))
                    p.data = p.data * (1 - lr * group["weight_decay"]) - lr * size * update


def split_parameters(model):
    matrices = []
    for name, p in model.named_parameters():
        if name.split(".")[0] == "blocks" and p.ndim == 2:
            matrices.append(p)
    return matrices, [p for p in model.parameters() if not any(p is q for q in matrices)]
