"""What the checks of TiedGPT look at beside the battery's looks, in plain torch; it runs in a worker."""

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
