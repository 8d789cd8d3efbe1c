"""Muon, solved.

The one idea: the gradient of a weight matrix is U S V^T with few large singular values and many small ones.
U V^T is the same matrix with all of them 1: the step that gains most per unit of its spectral norm (Bernstein
& Newhouse 2024, arXiv 2409.20325). The polynomial a x + b x^3 + c x^5, applied to a matrix by products alone,
acts on each singular value and leaves U and V as they are; five times it brings everything from about 0.01
up to between 0.7 and 1.2. That it is not exactly 1 does no harm.

What one tries first:
- torch.linalg.svd. Exact, and one to two times as slow on one core of a CPU. What the update needs is not
  exact, and matrix products can be taken in bfloat16, too.
- Normalising by the largest entry. The polynomial diverges above a singular value of 1.3, and only a norm
  that is at least the largest one keeps it below: Frobenius is the cheapest.
- x^T x for a tall matrix. It works, and is R x R work where S x S would do: transpose first.
- Momentum of the orthogonalised gradients. Then noise of every batch comes in at full size; the sum of
  gradients averages it out before it is made orthogonal.
- One optimizer for everything. For an embedding, whose rows are used one at a time, the singular values of a
  gradient say how often a token came: the table learns rare tokens as fast as the noise in them.

In how many steps does it come to the loss at which AdamW ends? Measured with this file, `--preset cpu
--seeds 3`: 500 steps, paired seeds, exhaustive validation loss in nats per character, tiny Shakespeare.
AdamW 2.2366, Muon for the matrices of the blocks 1.9266: a difference of -0.3100, with a 95 % interval from
-0.3574 to -0.2626. It comes to AdamW's last loss after 193 of the 500 steps. A step takes 2.0 times as long
on one core of a CPU (60 steps, two pairs), since each matrix is made orthogonal by itself, so that is about
three quarters of AdamW's seconds.
"""

import torch

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # Jordan 2024: steep at 0, and bounded around 1


def orthogonalise(g: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """g (R, S) with singular values between about 0.5 and 1.5, by Newton-Schulz steps (Jordan 2024)."""
    a, b, c = COEFFICIENTS
    x = g.to(torch.promote_types(g.dtype, torch.float32))
    x = x / x.norm().clamp(min=torch.finfo(x.dtype).tiny)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x  # x x^T is the smaller of the two products then
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    x = x.T if tall else x
    return x.to(g.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised: w -= lr * max(1, R / S) ** 0.5 * orthogonalise(u), for 2-D
    parameters.

    ValueError for others, when it is built. weight_decay is decoupled: w -= lr * weight_decay * w.
    """

    def __init__(self, params, lr=0.02, momentum=0.95, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon takes 2-D parameters; one has the shape {tuple(p.shape)}.")

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].mul_(momentum).add_(p.grad)
                update = orthogonalise(p.grad + momentum * m)
                p.mul_(1 - lr * group["weight_decay"])
                p.add_(update, alpha=-lr * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def split_parameters(model):
    """(matrices, others): the 2-D weights of the blocks, for Muon; the rest, for AdamW."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    return matrices, [p for p in model.parameters() if id(p) not in known]


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--optimizer", "solutions.more.muon:Muon"]))
