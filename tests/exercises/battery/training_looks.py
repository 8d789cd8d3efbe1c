"""What checks look at in a function that trains, in plain torch: one observed run, and what comes back from
it.

These run in a worker beside the graded module `m` (grader/worker/look.py); training.py asks for them. A
`call` says how the function is called: {"args", "options": its keyword arguments, "width": how many tokens of
each row of input are kept}. A function that goes on from a pretrained model gets that and its tokenizer
first, as "pretrained" of the call describes them, and returns a tokenizer beside its model.
"""

import torch

import gpt_core
from grader.worker import probes, tools


def observed(m, unit, call):
    """All that was seen of a run, whatever came back."""
    run = called(m, unit, call)
    return counted(run) | {
        "rates": run.rates,
        "reports": run.reports,
        "report_kinds": run.report_kinds,
        **rows_of(run),
    }


def returned(m, unit, call):
    """What came back, but for its weights: sizes and parts of the model, the tokenizer's characters, the
    trained device."""
    run = called(m, unit, call)
    model, tokenizer = came_back(run, call)
    found = {
        "sizes": tools.sizes(model),
        "parts": probes.default_difference(model, 0),
        "device": run.parameter_device,
    }
    return found | ({} if tokenizer is None else {"chars": tools.chars(tokenizer)})


def trained(m, unit, call, largest, shake=0, sampled=1024):
    """The weights that came back, of at most `largest` numbers, and what was reported; and on what they were
    trained, where no model was given."""
    run = called(m, unit, call, shake=shake, sampled=sampled)
    model, tokenizer = came_back(run, call)
    found = counted(run) | {"sizes": tools.sizes(model), "weights": tools.weights(model, largest)}
    found["curve"] = torch.tensor(run.curve, dtype=torch.float64).reshape(-1, 2)
    if tokenizer is None:
        return found | rows_of(run)
    return found | {"chars": tools.chars(tokenizer)}


def compared(m, unit, call, changes):
    """A run for each change of the call's options: how far its weights are from those of the first, and its
    input.

    "shake" among the changes seeds the generators that a run is not to depend on.
    """
    given = pretrained_in(call)
    runs = [called(m, unit, call, given, **change) for change in changes]
    models = [came_back(run, call)[0] for run in runs]
    return {
        "apart": [probes.difference(models[0], model) for model in models[1:]],
        "rows": {str(i): rows_of(run)["rows"] for i, run in enumerate(runs)},
    }


def written(m, config, weights, prompts, count):
    """The `count` most likely tokens that a GPT of these weights writes after each prompt."""
    model = tools.build(gpt_core.GPT, tools.config(**config, dropout=0.0), parameters=weights)
    return {"tokens": probes.generate(model, tools.tensor(prompts, "int64"), count)}


def predicted(m, config, weights, rows):
    """The most likely token after each place of these rows, for a GPT of these weights."""
    model = tools.build(gpt_core.GPT, tools.config(**config, dropout=0.0), parameters=weights)
    with torch.no_grad():
        logits, _ = model(tools.tensor(rows, "int64"))
    return {"tokens": logits.argmax(dim=-1)}


# What these have in common.


def pretrained_in(call):
    """The pretrained model of a call and its tokenizer; nothing where it begins from fresh weights."""
    if "pretrained" not in call:
        return []
    given = call["pretrained"]
    model = tools.build(
        gpt_core.GPT, tools.config(**given["config"]), parameters=given["weights"], train=given["train"]
    )
    return [model, gpt_core.CharTokenizer(given["chars"])]


def called(m, unit, call, given=None, shake=0, sampled=1024, **options):
    """One observed call (probes.Training); options: other ones than the call's."""
    given = pretrained_in(call) if given is None else given
    options = {"width": call["width"], "shake": shake, "sampled": sampled} | call["options"] | options
    return tools.observe(getattr(m, unit), *given, *call["args"], **options)


def came_back(run, call):
    """The GPT that a run returned, and its tokenizer or None; StepError where something else came."""
    if "pretrained" not in call or run.model is probes.ENDED:
        return tools.gpt(run.model), None
    return tools.gpt(tools.item(run.model, 0, 2)), tools.item(run.model, 1, 2)


def counted(run):
    """How many updates were seen."""
    return {"updates": run.updates, "models": run.models, "optimizers": run.optimizers, "ended": run.ended}


def rows_of(run):
    """The training input: the beginnings of rows, cut to the longest of them."""
    return {"rows": run.rows[:, : run.longest], "longest": run.longest}
