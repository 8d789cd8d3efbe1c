"""What the checks look at in a whole model, a subclass of gpt_core.GPT, in plain torch.

`unit` is its name in the graded module `m`, config the fields of a GPTConfig, weights its parameters by name.
"""

import torch

from grader.worker import tools


class Doubled(torch.nn.Module):
    """A part that no model expects: it doubles its input."""

    def __init__(self, config):
        super().__init__()

    def forward(self, x):
        return 2 * x


def build(m, unit, config, weights=None, dtype="float32", parts=(), **options):
    """The model with these weights; parts: the names of those that are `Doubled`."""
    options |= dict.fromkeys(parts, Doubled)
    return tools.build(getattr(m, unit), tools.config(**config), parameters=weights, dtype=dtype, **options)


def outputs(m, unit, config, weights, idx, targets, train=False, dtype="float32", **options):
    """Logits, loss and its gradients, and the logits of a call without targets."""
    model = build(m, unit, config, weights, dtype, **options)
    model.train(train)
    idx = tools.tensor(idx, "int64")
    called = model(idx, tools.tensor(targets, "int64"))
    logits, loss = (tools.item(called, index, 2) for index in range(2))
    found = {"logits": logits, "loss": loss, "gradients": tools.gradients(loss, 1.0, model=model)}
    alone = model(idx)
    return found | {"alone": tools.item(alone, 0, 2), "no loss": tools.item(alone, 1, 2)}


def first_logits(m, unit, config, idx):
    """The logits of a fresh model in eval mode."""
    with torch.no_grad():
        return {"logits": tools.item(build(m, unit, config)(tools.tensor(idx, "int64")), 0, 2)}
