"""What the checks look at in an attention beside what they look at in any module, in plain torch.

These run in a worker beside the graded module `m` (grader/worker/look.py); attention.py and dropout.py ask
for them."""

import torch

from grader.worker import tools
from grader.worker.seeds import seed_all
from tests.exercises.battery.module_looks import build


def with_other_weights(m, unit, config, weights, x, others):
    """The output, and then that with each of these other weights in turn."""
    module, x = build(m, unit, config, weights), tools.tensor(x)
    found = {"y": module(x)}
    for name, changed in others.items():
        tools.set_parameters(module, changed)
        found[name] = module(x)
    return found


def operations(m, unit, cases):
    """How many operations a forward dispatches in each case (tools.count_operations)."""
    found = {}
    for name, case in cases.items():
        x, no_grad = tools.tensor(case.pop("x"), case["dtype"]), case.pop("no_grad")
        module = build(m, unit, **case)
        with torch.set_grad_enabled(not no_grad):
            found[name] = tools.count_operations(module, x)
    return found


def cost(m, unit, config, weights, x):
    """What a forward costs (tools.cost)."""
    return tools.cost(build(m, unit, config, weights), tools.tensor(x))


def two_calls(m, unit, config, weights, x, mixing):
    """Two outputs in train mode, with dropout; and two more with the weights `mixing`."""
    module, x = build(m, unit, config, weights, train=True), tools.tensor(x)
    found = {"w0": module(x), "w1": module(x)}
    tools.set_parameters(module, mixing)
    return found | {"y0": module(x), "y1": module(x)}


def switched(m, unit, plain, one_head, x, x_one_head, place):
    """Outputs, with dropout, of a module whose mode is switched, of one in bfloat16 and of one with one head.

    plain, one_head: config and weights of each. place: keyword arguments of one of the calls.
    """
    module = build(m, unit, **plain)
    low, single = (
        build(m, unit, **plain, train=True, dtype="bfloat16"),
        build(m, unit, **one_head, train=True),
    )
    # another module, with another config
    build(m, unit, plain["config"] | {"dropout": 0.0}, plain["weights"])
    found = {}
    module.train(False)
    found["eval at first"] = module(tools.tensor(x))
    module.train(True)
    found["then train"] = module(tools.tensor(x), **place)
    module.train(False)
    found["then eval"] = module(tools.tensor(x))
    module.train(True)
    with torch.no_grad():
        found["then train, under no_grad"] = module(tools.tensor(x))
    found["train, in bfloat16"] = low(tools.tensor(x, "bfloat16"))
    return found | {"train, with one head": single(tools.tensor(x_one_head))}


def slopes(m, unit, config, weights, x, cotangent, changes):
    """In train mode, with dropout of one seed: the output, the same again, its gradients, and the output
    after each change.

    changes: another x, as {"x": x}, or other weights, by the name of the change; each is taken back.
    """
    module = build(m, unit, config, weights, train=True, dtype="float64")

    def call(x):
        seed_all(5)
        return module(x)

    given = tools.tensor(x, "float64", requires_grad=True)
    first = call(given)
    gradients = tools.gradients(first, cotangent, x=given, module=module)
    found = {"first": first, "again": call(tools.tensor(x, "float64")), "gradients": gradients}
    for name, change in changes.items():
        tools.set_parameters(module, {key: value for key, value in change.items() if key != "x"})
        found[name] = call(tools.tensor(change.get("x", x), "float64"))
        tools.set_parameters(module, weights)
    return found
