"""The checks of the KV cache: the batteries of exercise 1's attention, and that of a cache."""

from dataclasses import replace

from tests.exercises.battery import attention, cache, dropout, module
from tests.exercises.battery.module import checks_of
from tests.exercises.ex1 import checks as ex1

UNIT = replace(
    ex1.UNIT,
    name="CachedAttention",
    by_name=False,
    asks=ex1.UNIT.asks
    | {
        "in_gpt": "GPT(config, attention=CachedAttention) must give the baseline's logits, and alone your "
        "attention is right. Does it need anything else than config and x?"
    },
)

test_runs = module.runs(UNIT.name)
BATTERIES = (*module.CHECKS, *attention.CHECKS, *dropout.CHECKS, *cache.CHECKS)
globals().update(checks_of(UNIT, BATTERIES, ex1.TITLES, ex1.AFTER))
