"""What exercise 3's checks look at in finetuning beside what every training must pass
(battery/training_looks.py), in plain torch.

left: the condition of a pretrained model, as its owner may have left it (probes.condition).
"""

import gpt_core
from gpt_core.evaluation import exhaustive_loss
from grader.worker import probes, tools
from grader.worker.seeds import seed_all
from tests.exercises.battery.training_looks import called, came_back, pretrained_in


def read(m, unit, call):
    """What a run read, trained on or not, in which modes, and what it was taught; and the characters of the
    tokens."""
    run = called(m, unit, call)
    _, tokenizer = came_back(run, call)
    return {
        "rows": run.rows,
        "rows_mode": run.rows_mode,
        "targets": run.targets,
        "looked": run.looked,
        "looked_mode": run.looked_mode,
        "chars": tools.chars(tokenizer),
    }


def kept(m, unit, call, left):
    """All that finetuning may not change, before and after it."""
    model, source = pretrained_in(call)
    probes.condition(model, **left)
    before = tools.observable(model, source=source)
    called(m, unit, call, [model, source])
    return {"before": before, "after": tools.observable(model, source=source)}


def thawed(m, unit, call, left):
    """How far apart the weights are that come back from a pretrained model in train mode and from one that
    was left so."""
    models = []
    for condition in ({"train": [True], "frozen": [False], "grad": None}, left):
        model, source = pretrained_in(call)
        probes.condition(model, **condition)
        models.append(came_back(called(m, unit, call, [model, source]), call)[0])
    return {"difference": probes.difference(*models)}


def refused(m, unit, calls, left):
    """What each call comes to, on the pretrained model of the first; all that may not change, before that and
    after it."""
    model, source = pretrained_in(calls[0])
    probes.condition(model, **left)
    found, device = {"before": tools.observable(model, source=source)}, next(model.parameters()).device.type
    for i, call in enumerate(calls):
        options = call["options"] | {"device": device, "report": probes.unheard}
        found[f"came{i}"] = tools.outcome(getattr(m, unit), model, source, *call["args"], **options)
        if i == 0:
            found["after"] = tools.observable(model, source=source)
    return found


def fresh(m, config, seed):
    """The weights of an untrained GPT."""
    seed_all(seed)
    return {"weights": tools.values(tools.build(gpt_core.GPT, tools.config(**config, dropout=0.0)))}


def text_loss(m, config, weights, tokens):
    """The mean cross entropy of a GPT of these weights over every target of the tokens."""
    model = tools.build(gpt_core.GPT, tools.config(**config, dropout=0.0), parameters=weights)
    return {"loss": exhaustive_loss(model, tools.tensor(tokens, "int64"))}
