"""The checks of TiedGPT: the battery of a model, one matrix under two names, and that it stays one."""

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Looks
from tests.exercises.battery import model, module
from tests.exercises.battery.model import SIZES, Model
from tests.exercises.battery.module import checks_of
from tests.exercises.exam import Reading, check, fail, look

LOOKS = Looks.named("tests.exercises.tying.looks")
TABLE, HEAD = "token_embedding_table.weight", "lm_head.weight"
UNIT = Model(
    name="TiedGPT",
    one=(TABLE, HEAD),
    asks={
        "function": "What do you scale, leave out (the head's bias?) or not pass on to GPT?",
        "gradients": "The one matrix gets what the embedding gets plus what the head gets.",
        "first_loss": "Which character does your untrained model predict, and how long are the rows of the "
        "shared matrix?",
    },
)

test_runs = module.runs(UNIT.name)
globals().update(checks_of(UNIT, model.CHECKS))


def structure(subject) -> Reading:
    answer = subject.run(LOOKS("structure", unit=UNIT.name, config=SIZES))
    listed = {name: [tuple(p["shape"]), p["same_as"]] for name, p in answer.plain("parameters").items()}
    return {"listed": listed} | {key: answer.plain(key) for key in ("is_gpt", "count", "alike")}


@check("one", "lm_head.weight is token_embedding_table.weight: one parameter", ("runs",))
def test_one(exam):
    got, V, C = look(exam, SIZES, structure), SIZES["vocab_size"], SIZES["n_embd"]
    if got["is_gpt"] is not True:
        fail(SIZES, "TiedGPT must be a subclass of gpt_core.GPT. What does your class inherit from?")
    for name in (TABLE, HEAD):
        shape, _ = got["listed"].get(name, [None, None])
        if shape != (V, C):
            came = f"has the shape {shape}" if shape else "is not there"
            fail(SIZES, f"{name} must be a parameter of shape (V, C) = {(V, C)}; yours {came}.")
    if got["listed"][TABLE][1] != got["listed"][HEAD][1]:
        fail(
            SIZES,
            f"{HEAD} and {TABLE} must be one Parameter, and yours are two. Do you give the module the "
            "object, or only its numbers?",
        )


@check("parameters", "all other parameters are GPT's, and there are V * C numbers fewer", ("one",))
def test_parameters(exam):
    got, shapes = look(exam, SIZES, structure), models.shapes_of_default(SIZES)
    listed = {name: shape for name, (shape, _) in got["listed"].items()}
    lines = [f"missing: {name} {shape}" for name, shape in shapes.items() if name not in listed]
    lines += [f"not a GPT's: {name} {shape}" for name, shape in listed.items() if name not in shapes]
    lines += [
        f"{name} is {listed[name]}" for name in shapes if listed.get(name, shapes[name]) != shapes[name]
    ]
    if lines:
        fail(SIZES, "Beside the one matrix its parameters must be GPT's, lm_head.bias too.", lines)
    right = sum(int(np.prod(shape)) for name, shape in shapes.items() if name != HEAD)
    if got["count"] != right:
        fail(SIZES, f"An optimizer must get {right:,} numbers, and gets {got['count']:,}.")
