"""How many updates a training run made: what exercises 2 and 3 ask of it, and say where it is not `steps`."""

from tests.exercises.exam import CheckFailed, Reading
from tests.exercises.program import Program, Ref


def counted(subject, program: Program, run: Ref) -> Reading:
    """The updates of an observed run, over all models and optimizers together (grader/worker/probes.py)."""
    return read(subject.run(asked(program, run)))


KEYS = ("updates", "models", "optimizers", "ended")


def asked(program: Program, run: Ref) -> Program:
    """The program, which then gives what `read` needs."""
    return program.give(**{key: run.attr(key) for key in KEYS})


def read(answer) -> Reading:
    """{"updates", "models", "optimizers", "ended"} out of the answer to such a program."""
    return {key: int(answer.plain(key)) for key in KEYS}


def facts(steps: int, reading: Reading | CheckFailed):
    """What two readings must agree in to show the same: "right", or which of the ways to make too many or too few."""
    if isinstance(reading, CheckFailed):
        return reading.same
    if reading["updates"] == steps:
        return "right"
    if reading["updates"] > steps and reading["models"] > 1:
        return "several models"
    if reading["updates"] > steps and reading["optimizers"] > 1:
        return "several optimizers"
    return reading["updates"], reading["ended"]


def complaint(steps: int, reading: Reading) -> str | None:
    """The message for a run that did not make exactly `steps` updates; None where it did."""
    came = reading["updates"]
    if came == steps:
        return None
    asked = f"With steps = {steps} weights must be updated exactly {steps} times, over all models and optimizers together; "
    if came == 0:
        return asked + (
            "no update was seen. Are gradients taken, with a forward pass of a gpt_core.GPT that the loss comes from, and are its "
            "weights changed?"
        )
    said = f"yours are updated more than {came - 1} times, and were stopped." if reading["ended"] else f"yours are updated {came} times."
    if came > steps and reading["models"] > 1:
        return f"{asked}{said} {reading['models']} models were trained: to train several and keep the best takes the budget of several."
    if came > steps and reading["optimizers"] > 1:
        return f"{asked}{said} {reading['optimizers']} optimizers stepped one after the other: is there a second phase of training?"
    return f"{asked}{said} What does your loop count, and what may end it?"
