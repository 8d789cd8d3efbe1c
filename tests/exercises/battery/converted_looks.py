"""What the checks look at in a function that makes an attention of exercise 1's, in plain torch.

These run in a worker; an exercise's own look calls `converted` with the function (converted.py)."""

import torch
from torch import nn
from torch.nn import functional as F

from grader.worker import probes, tools


class Fused(nn.Module):
    """An attention with the parameters of exercise 1."""

    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.dropout(self.proj(out.transpose(1, 2).flatten(2)))


def converted(function, kind, config, weights, x, arguments, dtype, train, change):
    """What function(attention, config) gives, which must be of this kind, what that computes, and what the
    call does to the attention; then what a change of one of the two does to the other."""
    config = tools.config(**config)
    source = tools.build(Fused, config, parameters=weights, dtype=dtype, train=train)
    probes.condition(source, [train], [False], 0.5)
    before = tools.state(source)
    found = tools.require(function(source, config, **arguments), kind, kind.__name__)
    result = {"state": before, "state_then": tools.state(source), "values": tools.values(found)}
    result |= {"parameters": tools.parameters(found), "modes": tools.modes(found)}
    with torch.no_grad():
        result["y"] = found(tools.tensor(x, dtype))
    tools.add_to_parameters(source, change)
    result["values_then"] = tools.values(found)
    tools.add_to_parameters(found, -2 * change)
    result["source_then"] = tools.values(source)
    source.train(not train)
    return result | {"modes_then": tools.modes(found)}
