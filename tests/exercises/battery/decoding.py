"""What every function that lets a model write must pass, whatever the exercise: it decodes greedily, in eval
mode, without gradients, and leaves the model as it was.

A *unit* is such a function. A *case* is one call of it, with as_case() for the report, arguments() that it
takes after the model, by name, and tables(): the (steps, table) of a test model that takes its problem.
"""

from dataclasses import dataclass

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Asked, Looks
from tests.exercises.battery import function
from tests.exercises.exam import Answer, CheckFailed, Reading, Subject, fail, look

LOOKS = Looks.named("tests.exercises.battery.decoding_looks")
STATES = 97  # of a test model


@dataclass(frozen=True)
class Unit:
    """A function that lets a model write.

    name: of the function. what: what it is asked for, such as "a sum". token: what it writes: "digit".
    """

    name: str
    what: str
    token: str

    def form(self, subject: Subject, answer: Answer, key: str, case):
        """The result under `key` as what can be compared; CheckFailed where it has another form."""
        raise NotImplementedError


def tables_of(rng, T: int, V: int, winners, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """The tables of a test model (grader/worker/probes.py): steps (T, V) int64, table (T, STATES, V) float32.

    winners: the token that wins by `margin` at a position in a state, (T, STATES), drawn by winners(rng).
    """
    steps = rng.integers(0, STATES, size=(T, V))
    table = rng.uniform(0, 1, size=(T, STATES, V))
    np.put_along_axis(table, winners(rng)[..., None], 1.0 + margin, axis=2)
    return steps, table.astype(np.float32)


def written(steps: np.ndarray, table: np.ndarray, prompts: np.ndarray, count: int) -> np.ndarray:
    """(B, count) int64: what the model of these tables writes after prompts (B, P), greedily."""
    row = prompts
    for _ in range(count):
        states = steps[np.arange(row.shape[1]), row].sum(axis=1) % STATES
        row = np.concatenate([row, table[row.shape[1] - 1, states].argmax(axis=1)[:, None]], axis=1)
    return row[:, prompts.shape[1] :]


# Readings.


def given(unit: Unit, case) -> dict:
    """What every look is given."""
    steps, table = case.tables()
    return {"unit": unit.name, "steps": steps, "table": table, "arguments": case.arguments()}


def asked(unit: Unit, case, train: tuple = (False,)) -> Asked:
    """A look at one call. Once, since nearly every check begins with the same call."""
    return LOOKS("decoded", train=train, **given(unit, case), once=True)


def answers(subject: Subject, unit: Unit, case) -> Reading:
    """The answers with a test model."""
    return {"answers": unit.form(subject, subject.run(asked(unit, case)), "answers", case)}


def greedy(subject: Subject, unit: Unit, case, seeds: int) -> Reading:
    """Whether the answers are the same whatever seed torch has, and what was written on the way to them."""
    answer = subject.run(LOOKS("decoded_with_seeds", **given(unit, case), seeds=seeds))
    found = [unit.form(subject, answer, str(seed), case) for seed in range(seeds)]
    last = [answer.array(f"last{seed}") for seed in range(seeds)]
    return {"alike": all(models.equal(row[0], other) for row in (found, last) for other in row)}


def calls(subject: Subject, unit: Unit, case, train: tuple = (False,)) -> list[dict]:
    """The calls of the model, in order: {"tokens": (B, T), "grad": bool, "training": whether any dropout may
    be on}.

    train: the modes in which the model comes.
    """
    answer = subject.run(asked(unit, case, train))
    found = []
    for item, grad, training in zip(
        answer.values["tokens"]["items"], answer.plain("grad"), answer.plain("training")
    ):
        array = answer.arrays[item["sent"]]
        if array.ndim != 2:
            raise CheckFailed("The model must be called with tokens of shape (B, T).", same=("tokens",))
        found.append({"tokens": array.astype(np.int64), "grad": bool(grad), "training": bool(training)})
    return found


def inside(subject: Subject, unit: Unit, key: str, asks: tuple) -> Reading:
    """Of each (case, modes in which the model comes): the share of the model's calls in which "grad"
    (gradients are recorded) or "training" (dropout may be on) held; None where it was never called."""
    found = [calls(subject, unit, case, train) for case, train in asks]
    return {"on": [float(np.mean([call[key] for call in of_one])) if of_one else None for of_one in found]}


def modes(subject: Subject, unit: Unit, asks: tuple) -> Reading:
    """The modes of the model and of the modules in it, before and after, for each (case, modes in which the
    model comes)."""
    seen = [subject.run(asked(unit, case, train)) for case, train in asks]
    return {"modes": [{key: answer.plain(key) for key in ("before", "after")} for answer in seen]}


def kept(subject: Subject, unit: Unit, case, train: tuple = (True,)) -> Reading:
    """Which of what can be observed of the arguments, the model and torch's settings is as it was; modes have
    a reading of their own."""
    answer = subject.run(LOOKS("decoded_in_training", train=train, **given(unit, case)))
    same = models.same_state(models.state_of(answer, "model"), models.state_of(answer, "model_after"))
    of_model = {f"the model's {models.WHAT[key]}": same[key] for key in same if key != "modes"}
    return function.arguments_kept(answer, **case.arguments()) | of_model | function.settings_kept(answer)


# Checks.

# All in train mode, all in eval mode, and mixed: a frozen part of a model in training, and a part that trains
# in one that does not.
TRAIN, EVAL, MIXED, MIXED_IN_EVAL = (True,), (False,), (True, False, True, False, False), (False, True, True)


def in_all_modes(case, *others) -> tuple:
    """(case, modes) pairs: one case in all modes, and further ones in train mode."""
    asks = [(case, train) for train in (TRAIN, EVAL, MIXED, MIXED_IN_EVAL)]
    return (*asks, *((other, TRAIN) for other in others))


def check_greedy(exam, unit: Unit, case, seeds: int = 3) -> None:
    """The most likely token, every time."""
    if not look(exam, case.as_case(), greedy, unit, case, seeds)["alike"]:
        fail(
            case.as_case(),
            "The same model gives the same problems different answers from call to call. Sampling suits "
            f"prose; {unit.what} has one answer: take the most likely {unit.token}.",
        )


def check_eval(exam, unit: Unit, asks: tuple) -> None:
    """It decodes in eval mode."""
    found = look(exam, asks[0][0].as_case(), inside, unit, "training", asks)["on"]
    for (case, train), on in zip(asks, found):
        case = case.as_case(training=list(train))
        if on is None:
            fail(case, "The model was never called: where does the answer come from?")
        if on:
            part = "The model" if train[0] else "A part of the model"
            fail(
                case,
                f"{part} came in train mode, and was asked in it: dropout then makes its answers random, and "
                f"worse than they are. Call model.eval() first, whatever model.training says, and put the "
                f"mode back afterwards.",
            )


def check_mode(exam, unit: Unit, asks: tuple) -> None:
    """The mode is put back. A model whose parts are in mixed modes may come back in its own: what its parts
    are in then is not asked."""
    found = look(exam, asks[0][0].as_case(), modes, unit, asks)["modes"]
    for (case, train), got in zip(asks, found):
        case = case.as_case(training=list(train))
        parts = [""] if len(train) > 1 else list(got["before"])
        changed = [key or "the model itself" for key in parts if got["after"].get(key) != got["before"][key]]
        if changed:
            was = "train" if train[0] else "eval"
            fail(
                case,
                f"The model came in {was} mode and must be in it afterwards; {len(changed)} of its "
                f"{len(got['before'])} modules are in the other one. Remember model.training before "
                "model.eval(), and call model.train(that) at the end.",
                f"for example {changed[0]}",
            )


def check_gradients(exam, unit: Unit, asks: tuple) -> None:
    """No gradients are recorded."""
    found = look(exam, asks[0][0].as_case(), inside, unit, "grad", asks)["on"]
    for (case, train), on in zip(asks, found):
        if on:
            fail(
                case.as_case(training=list(train)),
                "The model ran with gradients on: every activation is kept for a backward pass that never "
                "comes. Which decorator or context switches them off?",
            )


def check_kept(exam, unit: Unit, asks: tuple) -> None:
    """Nothing else has changed."""
    for case, train in asks:
        function.all_kept(exam, case.as_case(training=list(train)), unit.name, kept, unit, case, train)
