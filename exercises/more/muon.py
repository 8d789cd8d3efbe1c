"""Muon: an optimizer whose updates are nearly orthogonal matrices.

AdamW treats the weights of a layer as a list of numbers. Muon (Jordan 2024,
https://kellerjordan.github.io/posts/muon/) treats them as a matrix: it takes the momentum of the gradient,
and makes all of its singular values nearly 1, so that the directions that the gradient hardly mentions are
learned as fast as those that dominate it. The singular values are never computed: a few matrix products do
it, the Newton-Schulz steps.

The contract (`python grade.py muon` checks every line of it):

  orthogonalise(g, steps=5) -> tensor    g is (R, S); the result has g's shape, dtype and device, and g is not
                                         changed
    x = g / its Frobenius norm (the root of the sum of all squares); 0 for g = 0
    then `steps` times: s = x @ x.T, x = a x + (b s + c s @ s) @ x, with a, b, c = 3.4445, -4.7750, 2.0315
    in bfloat16 or better; a result that is some per cent off is as good

  Muon(params, lr=0.02, momentum=0.95, weight_decay=0.0)    a torch.optim.Optimizer
    params: 2-D parameters, or groups of them; any other is a ValueError when it is built
    step(): for each parameter w (R, S) with a gradient g
      m = momentum * m + g, from m = 0; u = g + momentum * m (Nesterov's)
      or, as a running mean, m = momentum * m + (1 - momentum) * g; u = momentum * m + (1 - momentum) * g
      w -= lr * max(1, R / S) ** 0.5 * orthogonalise(u)
      w -= lr * weight_decay * w, before it or after, without that factor
    a parameter without a gradient is left alone; lr, momentum and weight_decay come from its group
    state_dict() into load_state_dict() of a new Muon goes on as if nothing had happened
    what becomes of p.grad is up to you

  split_parameters(model) -> (matrices, others)    two lists of the Parameters of a gpt_core.GPT
    matrices: the 2-D weights in its blocks; others: all the rest, frozen ones included; each once
    Embeddings and the head are tables of rows, not maps between spaces: they stay with AdamW.

A worked example. g = [[3, 0], [0, 4]] has the norm 5, so x = [[0.6, 0], [0, 0.8]]. After one step they are
a * 0.6 + b * 0.6**3 + c * 0.6**5 = 1.193 and 0.976, and both wander between 0.7 and 1.2 from there on.

The question: in how many steps, and seconds, does it come to the loss at which AdamW ends?
`python exercises/more/muon.py` trains both (`--preset`, `--seeds`, `--steps`), and says what that shows.
"""

import torch


def orthogonalise(g: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """g (R, S) with singular values that are all nearly 1."""
    raise NotImplementedError("exercise muon: the Newton-Schulz steps")


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: for 2-D parameters."""

    def __init__(self, params, lr=0.02, momentum=0.95, weight_decay=0.0):
        raise NotImplementedError("exercise muon: take the groups, and refuse what is not 2-D")

    @torch.no_grad()
    def step(self):
        raise NotImplementedError("exercise muon: update each parameter that has a gradient")


def split_parameters(model):
    """(matrices, others): what Muon trains, and what it leaves to AdamW."""
    raise NotImplementedError("exercise muon: sort the parameters of the model")


if __name__ == "__main__":
    from gpt_core.experiment import main

    raise SystemExit(main(["--optimizer", "exercises.more.muon:Muon"]))
