"""The checks of TiedGPT: the battery of a model, one matrix under two names, and that it stays one."""

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Looks
from tests.exercises.battery import model, module
from tests.exercises.battery.model import AXES, SIZES, Model, outputs, tokens
from tests.exercises.battery.module import checks_of, expect
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


WAYS = {
    "itself": "The model itself",
    "deepcopy": "copy.deepcopy(model)",
    "to": "A copy after .to(torch.float64) and back",
    "load": "A new model, after a strict load_state_dict of another one's state_dict,",
}


def copies(subject, weights, idx) -> Reading:
    """By way: both matrices once 1 was added to one, the original's, the logits, the number of parameters."""
    asked = LOOKS("copies", unit=UNIT.name, config=SIZES, weights=weights, idx=idx)
    answer, found = subject.run(asked), {}
    shapes = dict.fromkeys(("head", "table", "original"), weights[TABLE].shape)
    for way in WAYS:
        for key, shape in (shapes | {"logits": (*idx.shape, SIZES["vocab_size"])}).items():
            found[f"{way} {key}"] = answer.tensor(f"{way} {key}", shape, key, device=subject.device)
        found[f"{way} count"] = answer.plain(f"{way} count")
    return found


@check("copies", "it stays one in a deepcopy, after .to() and after load_state_dict", ("function",))
def test_copies(exam):
    weights, idx = UNIT.weights(SIZES, 9), tokens(SIZES, 2, 7)
    moved = weights | {name: weights[name] + np.float32(1) for name in (TABLE, HEAD)}
    expected = exam.expected(outputs, UNIT, SIZES, moved, idx, idx, "float64")["logits"]
    got = look(exam, SIZES, copies, weights, idx)
    for way, words in WAYS.items():
        case = SIZES | {"way": way}
        if not np.allclose(got[f"{way} head"], moved[HEAD], atol=1e-5):
            fail(case, f"{words} does not hold the weights that it should.")
        if not np.allclose(got[f"{way} table"], moved[TABLE], atol=1e-5):
            fail(
                case,
                f"{words} has two matrices: 1 was added to lm_head.weight, and token_embedding_table.weight "
                "did not move. Is it one Parameter object in both modules?",
            )
        if got[f"{way} count"] != len(weights) - 1:
            fail(case, f"{words} has {got[f'{way} count']} parameters, not {len(weights) - 1}.")
        if way != "itself" and not np.allclose(got[f"{way} original"], weights[TABLE], atol=1e-5):
            fail(case, f"{words} shares its matrix with the original. Where is it kept: on the class?")
        message = f"{words}, with 1 added to the matrix, gives other logits than GPT with these weights."
        allowed = UNIT.allowance(SIZES, moved, SIZES["n_embd"], expected)
        expect(expected, got[f"{way} logits"], allowed, case, message, AXES)
