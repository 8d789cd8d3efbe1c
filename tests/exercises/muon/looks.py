"""What the checks of Muon look at, in plain torch; it runs in a worker."""

import copy

import torch

import gpt_core
from grader.worker import tools
from tests.exercises.battery.model_looks import Doubled


def orthogonalised(m, given, dtype="float32", steps=None):
    """orthogonalise of each matrix; without steps where they are None."""
    more = () if steps is None else (steps,)
    return {str(i): m.orthogonalise(tools.tensor(g, dtype), *more) for i, g in enumerate(given)}


def refusals(m, groups):
    """What Muon does with groups of parameters of these shapes."""
    made = [{"params": [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]} for shapes in groups]
    return {"came": tools.outcome(m.Muon, made if len(groups) > 1 else made[0]["params"])}


def updates(m, weights, groups, options, schedule, dtype="float32", resume=None, grads="new"):
    """ "STEP INDEX": each parameter after each update, and the groups as they were made.

    groups: (indices, options) of each, or None for a plain list. schedule: for each update the gradients by
    index (None for none) and the options that the groups are given before it. resume: after which update
    another Muon goes on with the state of this one. grads: whether gradients come as new tensors, or are
    written into the "same" ones.
    """
    parameters = [torch.nn.Parameter(tools.tensor(w, dtype)) for w in weights]

    def muon():
        made = [{"params": [parameters[i] for i in indices], **more} for indices, more in groups or ()]
        # As model.parameters() comes: it can be gone through once.
        return m.Muon(made or iter(parameters), **options)

    optimizer, found = muon(), {}
    found["is_optimizer"] = isinstance(optimizer, torch.optim.Optimizer)
    keys = ("lr", "momentum", "weight_decay")
    found["groups"] = [{key: float(group[key]) for key in keys} for group in optimizer.param_groups]
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
            state, optimizer = copy.deepcopy(optimizer.state_dict()), muon()
            optimizer.load_state_dict(state)
    return found


def split(m, config, parts, frozen, **options):
    """The names of what split_parameters gives, of a GPT; what is no parameter of it is "?".

    frozen: of how many parameters each is frozen; 0 for none."""
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
    return found | {
        "frozen": sum(not p.requires_grad for p in model.parameters()),
        "all": list(names.values()),
    }


class WithCube(Doubled):
    """A part with parameters of one, two and three dimensions."""

    def __init__(self, config):
        super().__init__(config)
        for dimensions in (1, 2, 3):
            setattr(self, f"w{dimensions}", torch.nn.Parameter(torch.ones((2,) * dimensions)))
