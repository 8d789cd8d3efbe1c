"""The checks of grouped-query attention: the batteries of an attention, of its groups, and of group_heads."""

from dataclasses import dataclass

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery import attention, converted, dropout, grouped, module
from tests.exercises.battery.converted import Conversion
from tests.exercises.battery.grouped import SIX, Grouped
from tests.exercises.battery.module import checks_of
from tests.exercises.ex1 import checks as ex1
from tests.exercises.numbers import EPSILON

UNIT = Grouped(
    name="GroupedQueryAttention",
    part="attention",
    same_as="that of an attention whose heads share keys and values in groups",
    asks=attention.ASKS
    | {
        "values": "T below block_size, one head, one group, as many groups as heads, head size 1",
        "in_gpt": "GPT(config, attention=..) must work, and alone yours is right. Does it need more than "
        "config, n_kv_head and x?",
    },
    corners=attention.CORNERS,
    long=attention.LONG_TEXT,
    by_name=False,
)
test_runs = module.runs(UNIT.name, "group_heads")
# No head of a group has keys of its own; `groups` looks at whose they are.
OF_ATTENTION = [one for one in attention.CHECKS if one is not attention.heads_keep_to_themselves]
TITLES_OF_ATTENTION = ex1.TITLES | {
    "parameters": "its parameters are q.weight, kv.weight, proj.weight and proj.bias, and no others",
    "trainable": "all four parameters are trainable",
    "values": "the right output, for any B, T, C and H, in both modes",
}
BATTERIES = (*module.CHECKS, *OF_ATTENTION, *dropout.CHECKS, *grouped.CHECKS)
AFTER = {"converted": ("built",), "values": ("output", "groups")}
globals().update(checks_of(UNIT, BATTERIES, TITLES_OF_ATTENTION, ex1.AFTER | AFTER))


@dataclass(frozen=True, eq=False)
class Means(Conversion):
    """group_heads."""

    def right(self, weights, n_kv_head=2):
        weights = {key: w.astype(np.float64) for key, w in weights.items()}
        q, *kv = np.split(weights.pop("qkv.weight"), 3)
        heads = [UNIT.of(n_kv_head).by_group(self.size, m) for m in kv]
        means = [m.mean(axis=1).reshape(-1, self.size.n_embd) for m in heads]
        return {"q.weight": q, "kv.weight": np.concatenate(means)} | weights

    def room(self, key, right, dtype):
        # A mean in float32 is off by its own rounding, and is then rounded once to the dtype.
        return (1.01 * EPSILON[dtype] / 2 * np.abs(right) + 1e-6) * (key == "kv.weight")


CASES = [({"n_kv_head": G}, "float32", False) for G in (3, 2, 1, 6)] + [({}, "float32", False)]
CASES += [({"n_kv_head": G}, dtype, False) for G, dtype in ((2, "bfloat16"), (3, "float64"))]
GROUP_HEADS = Means(
    function="group_heads",
    looks=Looks.named("tests.exercises.gqa.looks"),
    look="grouped",
    unit=UNIT,
    source=ex1.UNIT,
    size=SIX,
    cases=(*CASES, ({}, "float32", True)),
    asks="Queries and proj are copied; kv has all keys, then all values, of each group the mean over its "
    "H / G neighbouring heads, in float32 at least. Over which dimension do you average, in which dtype?",
)
TITLES = {
    "converted": "group_heads: queries and proj copied, the mean of each group's keys and values",
    "kept": "group_heads keeps dtype, device and mode, shares nothing, and leaves its source as it was",
}
globals().update(checks_of(GROUP_HEADS, converted.CHECKS, TITLES, AFTER))
