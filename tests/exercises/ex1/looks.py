"""What the checks look at in fuse_heads, in plain torch.

These run in a worker beside the graded module `m` (grader/worker/look.py); checks.py asks for them. config
and weights are those of the baseline, a gpt_core.MultiHeadAttention.
"""

import gpt_core
from grader.worker import probes, tools


def baseline_of(config, weights, dtype="float32", train=False):
    """The lecture's attention with these weights."""
    config = tools.config(**config)
    return tools.build(gpt_core.MultiHeadAttention, config, parameters=weights, dtype=dtype, train=train)


def fused(m, config, weights, x, dtype="float32", train=False):
    """The modes and parameters of the fused module, the baseline's, and the output in this mode."""
    baseline = baseline_of(config, weights, dtype, train)
    fused = m.fuse_heads(baseline)
    found = {
        "modes": tools.modes(fused),
        "parameters": tools.parameters(fused),
        "of_baseline": tools.parameters(baseline),
    }
    fused.train(train)
    return found | {"y": fused(tools.tensor(x, dtype))}


def fused_values(m, config, weights):
    """The values of the fused module's parameters."""
    return {"values": tools.values(m.fuse_heads(baseline_of(config, weights)))}


def beside_a_new_one(m, config, weights, x, dtype, train, others):
    """The fused module, and beside it one that is built anew and given its weights: their outputs, with
    others, too."""
    fused = m.fuse_heads(baseline_of(config, weights, dtype, train))
    tools.require(fused, m.FusedMultiHeadAttention, "FusedMultiHeadAttention")
    fused.train(False)
    found = {"values": tools.values(fused), "parameters": tools.parameters(fused)}
    new = tools.build(m.FusedMultiHeadAttention, tools.config(**config), dtype=dtype)
    tools.copy_parameters(fused, new)
    x = tools.tensor(x, dtype)
    found |= {"y": fused(x), "own y": new(x)}
    for module in (fused, new):
        tools.set_parameters(module, others)
    return found | {"later": fused(x), "own later": new(x)}


def changed(m, config, weights, train):
    """The values of the baseline and of the fused module as first the one is changed in place, then the
    other.

    In train mode the state of the baseline before and after, too.
    """
    baseline = baseline_of(config, weights, train=train)
    probes.condition(baseline, [train], [False], 0.5)
    found = {"state": tools.state(baseline)} if train else {}
    fused = m.fuse_heads(baseline=baseline)
    found |= {"state_then": tools.state(baseline)} if train else {}
    found |= {"settings": probes.settings(), "kept": tools.values(baseline), "before": tools.values(fused)}
    tools.add_to_parameters(baseline, 1.0)
    found |= {"after": tools.values(fused), "changed": tools.values(baseline)}
    found["again"] = tools.values(m.fuse_heads(baseline=baseline))
    tools.add_to_parameters(fused, 1.0)
    found |= {
        "last": tools.values(baseline),
        "modes": tools.modes(baseline),
        "parameters": tools.parameters(baseline),
    }
    found["fused_modes"] = tools.modes(fused)
    baseline.train(not train)
    return found | {"fused_modes_then": tools.modes(fused)}
