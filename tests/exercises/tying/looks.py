"""What the checks of TiedGPT look at beside the battery's looks, in plain torch; it runs in a worker."""

import copy

import torch

import gpt_core
from grader.worker import tools
from tests.exercises.battery.model_looks import build


def structure(m, unit, config):
    """Its parameters under all of their names, how many numbers an optimizer gets, and how far two matrices
    are alike: whether they begin so, share their memory, and are alike again after a call."""
    model = build(m, unit, config)
    head, table = model.lm_head.weight, model.token_embedding_table.weight
    found = {"is_gpt": isinstance(model, gpt_core.GPT), "parameters": tools.parameters(model)}
    found |= {"count": sum(p.numel() for p in model.parameters()), "alike": [torch.equal(head, table)]}
    found["alike"].append(head.data_ptr() == table.data_ptr())
    with torch.no_grad():
        table.add_(1.0)
        model(torch.zeros(1, 1, dtype=torch.long, device=table.device))
    return found | {"alike": [*found["alike"], torch.equal(model.lm_head.weight, table)]}


WAYS = {
    "itself": lambda model, new: model,
    "deepcopy": lambda model, new: copy.deepcopy(model),
    "to": lambda model, new: copy.deepcopy(model).to(torch.float64).to(torch.float32),
    "load": lambda model, new: (new.load_state_dict(model.state_dict(), strict=True), new)[1],
}


def copies(m, unit, config, weights, idx):
    """Of each way to come to a model: what it computes, both matrices once 1 was added to one, and the
    original's."""
    found = {}
    for way, copied in WAYS.items():
        model = build(m, unit, config, weights)
        other = copied(model, build(m, unit, config))
        count = len(list(other.parameters()))
        with torch.no_grad():
            other.lm_head.weight.add_(1.0)
        found |= {f"{way} head": other.lm_head.weight, f"{way} table": other.token_embedding_table.weight}
        found |= {f"{way} logits": tools.item(other(tools.tensor(idx, "int64")), 0, 2), f"{way} count": count}
        found |= {f"{way} original": model.token_embedding_table.weight}
    return found
