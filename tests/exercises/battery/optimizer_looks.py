"""What the checks look at in an optimizer, in plain torch.

`unit` is the name of the class in the graded module `m`; of `split`, that of a function.
"""

import copy

import torch

import gpt_core
from grader.worker import tools
from tests.exercises.battery.model_looks import Doubled

SETTINGS = ("lr", "momentum", "weight_decay")


def refusals(m, unit, groups):
    """What the class does with groups of parameters of these shapes."""
    made = [{"params": [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]} for shapes in groups]
    return {"came": tools.outcome(getattr(m, unit), made if len(groups) > 1 else made[0]["params"])}


def updates(m, unit, weights, groups, options, schedule, dtype="float32", resume=None, grads="new"):
    """ "STEP INDEX": each parameter after each update; and the settings of the groups as they were made.

    groups: (indices, options) of each, or None for all parameters in one. schedule: for each update the
    gradients by index (None for none), and the options that the groups are given before it. resume: after
    which update another optimizer goes on with the state of this one. grads: whether gradients come as "new"
    tensors, or are written into the "same" ones.
    """
    parameters = [torch.nn.Parameter(tools.tensor(w, dtype)) for w in weights]

    def made():
        of_groups = [{"params": [parameters[i] for i in indices], **more} for indices, more in groups or ()]
        # An iterator, as model.parameters() is: it can be gone through once.
        return getattr(m, unit)(of_groups or iter(parameters), **options)

    optimizer = made()
    found = {"is_optimizer": isinstance(optimizer, torch.optim.Optimizer)}
    found["groups"] = [{key: float(group[key]) for key in SETTINGS} for group in optimizer.param_groups]
    for step, (gradients, changed) in enumerate(schedule):
        for group, more in zip(optimizer.param_groups, changed):
            group.update(more)
        for p, g in zip(parameters, gradients):
            if g is None or p.grad is None or grads == "new":
                p.grad = None if g is None else tools.tensor(g, dtype)
            else:
                p.grad.copy_(tools.tensor(g, dtype))
        optimizer.step()
        found |= {f"{step} {i}": p.detach().clone() for i, p in enumerate(parameters)}
        if step == resume:
            state, optimizer = copy.deepcopy(optimizer.state_dict()), made()
            optimizer.load_state_dict(state)
    return found


class WithCube(Doubled):
    """A part with parameters of one, two and three dimensions."""

    def __init__(self, config):
        super().__init__(config)
        for dimensions in (1, 2, 3):
            setattr(self, f"w{dimensions}", torch.nn.Parameter(torch.ones((2,) * dimensions)))


def split(m, unit, config, parts, frozen, count, **options):
    """The names of a GPT's parameters in each of the `count` lists that the function returns; what is no
    parameter of it is "?".

    parts: those that are of one's own. frozen: one parameter of how many is frozen; 0 for none.
    """
    options |= {part: WithCube if part == "feed_forward" else Doubled for part in parts}
    model = tools.build(gpt_core.GPT, tools.config(**config), **options)
    for i, p in enumerate(model.parameters()):
        p.requires_grad_(not frozen or i % frozen > 0)
    names = {id(p): name for name, p in model.named_parameters()}
    came = getattr(m, unit)(model)
    lists = [tools.item(came, index, count) for index in range(count)]
    found = {"lists": all(isinstance(one, (list, tuple)) for one in lists)}
    if found["lists"]:
        found |= {str(i): [names.get(id(p), "?") for p in one] for i, one in enumerate(lists)}
    return found | {"frozen": sum(not p.requires_grad for p in model.parameters())}
