"""What the checks look at in any module (B, T, C) -> (B, T, C), in plain torch.

These run in a worker beside the graded module `m` (grader/worker/look.py); module.py asks for them. `unit` is
the name of the class in `m`, config the fields of a GPTConfig, weights its parameters by name. Under
"arguments" config may hold what the class takes beside it.
"""

import functools

import torch

import gpt_core
from grader.worker import probes, tools

MODES = {"eval": False, "train": True}


def build(m, unit, config, weights, **options):
    """The unit with these sizes and weights."""
    config, arguments = split(config)
    return tools.build(getattr(m, unit), config, parameters=weights, **arguments, **options)


def split(config: dict):
    """The GPTConfig of these fields, and what the class takes beside it."""
    fields = {key: value for key, value in config.items() if key != "arguments"}
    return tools.config(**fields), config.get("arguments", {})


def parameters(m, unit, config, by_name):
    """What the module lists as its parameters, and the names of its "plain" tensors, which are none; config
    is passed by its name here, where it has one."""
    make, (config, arguments) = getattr(m, unit), split(config)
    module = tools.build(make, config=config) if by_name else tools.build(make, config, **arguments)
    held = [
        (f"{path}.{name}".lstrip("."), value)
        for path, part in module.named_modules()
        for name, value in (vars(part) | part._buffers).items()
    ]
    plain = [name for name, value in held if isinstance(value, torch.Tensor)]
    return {"parameters": tools.parameters(module), "plain": plain}


def fresh(m, unit, config):
    """The parameters as they begin."""
    return {"values": tools.values(tools.build(getattr(m, unit), tools.config(**config)))}


def built(m, unit, config, each):
    """What building the unit with each of these keyword arguments comes to."""
    make, config = getattr(m, unit), tools.config(**config)
    return {str(number): tools.outcome(make, config, **given) for number, given in enumerate(each)}


def settings(m):
    """torch's global settings."""
    return {"settings": probes.settings()}


def forward(m, unit, config, weights, x, dtype="float32", modes=("eval",)):
    """The output for x in each of these modes."""
    module, x, found = build(m, unit, config, weights, dtype=dtype), tools.tensor(x, dtype), {}
    for mode in modes:
        module.train(MODES[mode])  # its return value is not used: a learner may have overridden train
        found[mode] = module(x)
    return found


def gradients(m, unit, config, weights, x, cotangent, modes, dtype="float32", of="all"):
    """The gradients of sum(output * cotangent) for x and every parameter, in each mode.

    modes: the keyword arguments of the call by mode. of: "all", or which alone require a gradient: "x" (the
    weights are frozen) or "parameters". Another call comes before the backward pass, which needs what the
    first one computed."""
    module = build(m, unit, config, weights, dtype=dtype, train=True)
    if of == "x":
        probes.condition(module, [True], [True], None)
    found = {}
    for mode, more in modes.items():
        module.train(MODES[mode])
        first = tools.tensor(x, dtype, requires_grad=of != "parameters")
        y = module(first, **more)
        module(tools.tensor(x[:, ::-1, ::-1], dtype, requires_grad=of != "parameters"))
        found[mode] = tools.gradients(y, cotangent, x=first, module=module)
    return found


def sequences_alone(m, unit, config, weights, x):
    """Every sequence of the batch on its own, then all of them together."""
    module = build(m, unit, config, weights)
    alone = {f"y{b}": module(tools.tensor(x[b : b + 1])) for b in range(len(x))}
    return alone | {"y": module(tools.tensor(x))}


def calls(m, unit, first, other, inputs, other_input, growing, change, by_name):
    """A module's calls, in turn with those of another size, in both modes; all outputs are read at the end.

    first, other: config and weights of the two. growing: (x, keyword arguments) of calls in which a text
    grows token by token, as while it is written; then `change` is added to the weights, and taken away again.
    """
    module, another = build(m, unit, **first), build(m, unit, **other)
    found = {}
    for i, x in enumerate(inputs):
        module.train(i == 1)
        # Under no_grad some attempts take another path, or write into their buffers.
        with torch.set_grad_enabled(i not in (0, 1, 4)):
            found[f"y{i}"] = module(tools.tensor(x))
        x = tools.tensor(other_input)
        found[f"z{i}"] = another(x=x) if by_name else another(x)
    for mode in ("eval", "train"):
        module.train(MODES[mode])
        with torch.no_grad():
            for i, (x, more) in enumerate(growing):
                found[f"{mode} {i}"] = module(tools.tensor(x), **more)
            tools.add_to_parameters(module, change)
            found[f"{mode} changed"] = module(tools.tensor(x))
            tools.add_to_parameters(module, -change)
    module.eval()
    module.to(torch.float64)
    return found | {"moved": module(tools.tensor(inputs[0], "float64"))}


def in_layouts(m, unit, config, weights, given):
    """The output for x in each layout, and "x LAYOUT", which is x after that; given: x by layout."""
    module, found = build(m, unit, config, weights), {}
    for layout, x in given.items():
        x = tools.tensor(x, layout=layout)
        found |= {layout: module(x), f"x {layout}": x}
    return found


def after_calls(m, unit, config, weights, x, dtype):
    """The input, in two layouts, the weights and torch's settings after some calls in both modes."""
    module = build(m, unit, config, weights, dtype=dtype)
    inputs = {"x": tools.tensor(x, dtype), "x, not contiguous,": tools.tensor(x, dtype, "transposed")}
    for given in inputs.values():
        module.eval()
        module(given)
        with torch.no_grad():
            module(given)
        module.train()
        module(given)
    return inputs | {"parameters": tools.values(module), "settings": probes.settings()}


def with_dropout(m, unit, config, weights, x, cotangent, ps, calls):
    """Modules with these probabilities of dropout, all built before the first is called.

    "P 0", ..: the outputs in the modes of `calls`; "P gradients": of sum(y * cotangent) in train mode; "P
    kept": in eval mode of the same sum over the places that this y kept, divided by 1 - P.
    """
    modules = {p: build(m, unit, config | {"dropout": p}, weights) for p in ps}
    found, given = {}, tools.tensor(x, requires_grad=True)
    for p, module in modules.items():
        for number, mode in enumerate(calls):
            module.train(mode != "eval")
            with torch.set_grad_enabled("no_grad" not in mode):
                found[f"{p} {number}"] = module(tools.tensor(x))
        module.train(True)
        y = module(given)
        kept = cotangent * (y != 0).cpu().numpy() / (1 - p)
        found[f"{p} gradients"] = tools.gradients(y, cotangent, x=given, module=module)
        module.train(False)
        found[f"{p} kept"] = tools.gradients(module(given), kept, x=given, module=module)
    return found


def gpt_logits(m, unit, part, options, config, weights, idx):
    """The logits of a GPT with the unit as one of its parts; options: further arguments of GPT."""
    config, arguments = split(config)
    options |= {part: functools.partial(getattr(m, unit), **arguments) if arguments else getattr(m, unit)}
    model = tools.build(gpt_core.GPT, config, parameters=weights, **options)
    return {"logits": tools.item(model(tools.tensor(idx, "int64")), 0, 2)}
