"""What the checks look at in a whole model, a subclass of gpt_core.GPT, in plain torch.

`unit` is its name in the graded module `m`, config the fields of a GPTConfig, weights its parameters by name.
"""

import copy

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


WAYS = {
    "itself": lambda model, new: model,
    "deepcopy": lambda model, new: copy.deepcopy(model),
    "to": lambda model, new: copy.deepcopy(model).to(torch.float64).to(torch.float32),
    "load": lambda model, new: (new.load_state_dict(model.state_dict(), strict=True), new)[1],
}


def of_name(model, name):
    """A parameter by any of its names."""
    return dict(model.named_parameters(remove_duplicate=False))[name]


def copies(m, unit, config, weights, idx, changed, shown):
    """Of each way to come to a model, once 1 was added to the parameter `changed`: its logits, the parameter
    `shown`, that of the original, and how many parameters it has."""
    found = {}
    for way, copied in WAYS.items():
        model = build(m, unit, config, weights)
        other = copied(model, build(m, unit, config))
        count = len(list(other.parameters()))
        with torch.no_grad():
            of_name(other, changed).add_(1.0)
        found |= {f"{way} changed": of_name(other, changed), f"{way} shown": of_name(other, shown)}
        found |= {f"{way} logits": tools.item(other(tools.tensor(idx, "int64")), 0, 2), f"{way} count": count}
        found |= {f"{way} original": of_name(model, shown)}
    return found
