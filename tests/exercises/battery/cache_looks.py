"""What the checks look at in an attention with a KV cache, in plain torch.

These run in a worker beside the graded module `m` (grader/worker/look.py); cache.py asks for them."""

import torch

from gpt_core import GPT
from gpt_core.kv_cache import supports_cache
from gpt_core.sampling import GREEDY, generate
from grader.worker import tools
from tests.exercises.battery.module_looks import build


@torch.no_grad()
def in_turn(m, unit, config, weights, texts, calls, dtype, layout, change, change_at, refused):
    """The outputs of calls in turn, and "x ..", each call's x after it; all are read at the end.

    calls: (cache, text, its first token, the token after its last) of each; a cache is made when it is first
    named, and None stands for forward. change: added to the weights before call number change_at. refused:
    the text whose calls come to nothing; of those the outcome is told. A ValueError of another call ends it:
    "refused_at" is the number of that call, and "says" what the error says.
    """
    module, caches, found = build(m, unit, config, weights, dtype=dtype), {}, {}
    for i, (cache, text, first, last) in enumerate(calls):
        if i == change_at:
            tools.add_to_parameters(module, change)
        x = tools.tensor(texts[text][:, first:last], dtype, layout)
        if cache is None:
            found[str(i)] = module(x)
            continue
        if cache not in caches:
            caches[cache] = module.new_cache()
        if text == refused:
            found[str(i)] = tools.outcome(module.forward_cached, x, caches[cache])
            continue
        try:
            found[str(i)] = module.forward_cached(x, caches[cache])
        except ValueError as error:
            if "unpack" in str(error):  # Python's, and no refusal
                raise
            return found | {"refused_at": i, "says": str(error)}
        found[f"x {i}"] = x
    return found


@torch.no_grad()
def work(m, unit, config, weights, x):
    """How many multiplications the last token takes, when all others are in the cache."""
    module, x = build(m, unit, config, weights), tools.tensor(x)
    cache = module.new_cache()
    module.forward_cached(x[:, :-2], cache)
    module.forward_cached(x[:, -2:-1], cache)  # makes what is made once
    return {"count": tools.count_multiplications(module.forward_cached, x[:, -1:], cache)}


@torch.no_grad()
def operations(m, unit, cases):
    """How many operations a text in two chunks takes in each case."""
    found = {}
    for name, case in cases.items():
        x = tools.tensor(case.pop("x"))
        module = build(m, unit, **case)

        def text(x, module=module):
            cache = module.new_cache()
            module.forward_cached(x[:, :-1], cache)
            return module.forward_cached(x[:, -1:], cache)

        found[name] = tools.count_operations(text, x)
    return found


def generated(m, unit, config, weights, idx, count):
    """Whether a GPT with this attention can use its cache, and what it writes without it and with it."""
    model = tools.build(GPT, tools.config(**config), parameters=weights, attention=getattr(m, unit))
    idx = tools.tensor(idx, "int64")
    settings = {"sampling": GREEDY, "generator": torch.Generator(idx.device).manual_seed(1)}
    found = {"supported": supports_cache(model)}
    return found | {
        name: generate(model, idx, count, cache=cache, **settings)
        for name, cache in (("without", False), ("with", None))
    }
