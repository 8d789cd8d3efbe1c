"""What the checks look at in an optimizer, in plain torch.

`unit` is the name of the class in the graded module `m`.
"""

import copy

import torch

from grader.worker import tools

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
