"""What the checks of Muon look at beside the battery's looks, in plain torch; it runs in a worker."""

import torch

import gpt_core
from grader.worker import tools
from tests.exercises.battery.model_looks import Doubled


def orthogonalised(m, given, dtype="float32", steps=None):
    """orthogonalise of each matrix; without steps where they are None."""
    more = () if steps is None else (steps,)
    return {str(i): m.orthogonalise(tools.tensor(g, dtype), *more) for i, g in enumerate(given)}


class WithCube(Doubled):
    """A part with parameters of one, two and three dimensions."""

    def __init__(self, config):
        super().__init__(config)
        for dimensions in (1, 2, 3):
            setattr(self, f"w{dimensions}", torch.nn.Parameter(torch.ones((2,) * dimensions)))


def split(m, config, parts, frozen, **options):
    """The names of what split_parameters gives, of a GPT; what is no parameter of it is "?".

    frozen: one parameter of how many is frozen; 0 for none."""
    options |= {part: WithCube if part == "feed_forward" else Doubled for part in parts}
    model = tools.build(gpt_core.GPT, tools.config(**config), **options)
    for i, p in enumerate(model.parameters()):
        p.requires_grad_(not frozen or i % frozen > 0)
    names = {id(p): name for name, p in model.named_parameters()}
    came = m.split_parameters(model)
    lists = [tools.item(came, index, 2) for index in range(2)]
    found = {"lists": all(isinstance(one, (list, tuple)) for one in lists)}
    if found["lists"]:
        found |= {str(i): [names.get(id(p), "?") for p in one] for i, one in enumerate(lists)}
    return found | {"frozen": sum(not p.requires_grad for p in model.parameters())}
