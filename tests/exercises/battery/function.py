"""What every function of a contract must pass, whatever the exercise: it exists, returns and refuses what it
should, leaves its arguments as they are, and draws from its generator alone.

`unit` is its name; the looks stand in function_looks.py. Each exercise checks the values itself."""

import json

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.exam import Answer, CheckFailed, Reading, Subject, describe, fail, look, of_readings

LOOKS = Looks.named("tests.exercises.battery.function_looks")


def defined(exam, names: tuple[str, ...]) -> None:
    """The file runs, and defines these."""
    if exam.load_error is not None:
        raise exam.load_error
    for wanted in names:
        if wanted not in exam.names:
            raise CheckFailed(
                f"Your file does not define {wanted}; the contract names it so. A typing error?"
            )


# What it returns.


def returned(
    subject: Subject, unit: str, kinds: tuple, calls: tuple, told="{call} must give {kind}; it gives {came}."
) -> list:
    """What the function returns for each tuple of arguments (a dict at its end holds keyword arguments): a
    plain value of one of these kinds.

    told: the message where another kind comes.
    """
    answer = subject.run(LOOKS("returned", unit=unit, calls=calls))
    values = []
    for i, arguments in enumerate(calls):
        described = answer.values[str(i)]
        value = answer.plain(str(i))
        value = tuple(value) if described["kind"] == "tuple" else value
        if type(value) not in kinds:
            kind = " or ".join("an int" if kind is int else f"a {kind.__name__}" for kind in kinds)
            raise CheckFailed(
                told.format(
                    call=f"{unit}({', '.join(map(repr, arguments))})", kind=kind, came=describe(described)
                ),
                same=("kind",),
            )
        values.append(value)
    return values


def has_form(subject: Subject, reading, *case) -> Reading:
    """Only whether the answer has the right form; CheckFailed where not."""
    reading(subject, *case)
    return {"right": True}


# What it refuses.


def refused(subject: Subject, unit: str, calls: tuple) -> Reading:
    """What each call comes to: "ValueError", another exception that it "raises", or what it "returns"."""
    answer = subject.run(LOOKS("refused", unit=unit, calls=calls))
    return {"came": [answer.outcome(str(i)) for i in range(len(calls))]}


@of_readings
def same_outcomes(one, other) -> bool:
    """The same calls are refused, by the same exceptions; what the others return depends on much else."""
    kinds = [
        ["returns" if what.startswith("returns") else what for what in got["came"]] for got in (one, other)
    ]
    return kinds[0] == kinds[1]


def refuses(exam, unit: str, calls: tuple, why: str) -> None:
    """Each of these calls must raise a ValueError; `why` ends the message."""
    came = look(exam, {"calls": calls}, refused, unit, calls, same=same_outcomes)["came"]
    for arguments, what in zip(calls, came):
        if what != "ValueError":
            fail(
                {"arguments": list(arguments)},
                f"{unit}({', '.join(map(repr, arguments))}) must raise a ValueError, and {what}. {why}",
            )


# What it may not change.


def kept(subject: Subject, unit: str, **arguments) -> Reading:
    """{an argument, or a setting of torch: whether it is as it was}, after a call with these, in this
    order."""
    answer = subject.run(LOOKS("kept", unit=unit, arguments=arguments))
    return arguments_kept(answer, **arguments) | settings_kept(answer)


def arguments_kept(answer: Answer, **arguments) -> dict[str, bool]:
    """{an argument: whether it is as it was}, out of a look that gives each as it is afterwards."""
    found = {}
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            found[name] = bool(
                np.array_equal(answer.tensor(name, value.shape, name, str(value.dtype)), value)
            )
        else:
            found[name] = answer.plain(name) == json.loads(json.dumps(value))  # tuples arrive as lists
    return found


def settings_kept(answer: Answer) -> dict[str, bool]:
    """{a setting of torch, or a generator: whether it is as it was}, out of a look's "before" and "after"."""
    before, after = answer.plain("before"), answer.plain("after")
    return {str(key)[:60]: after.get(key) == value for key, value in before.items()}


def all_kept(exam, case: dict, unit: str, reading, *arguments) -> None:
    """Nothing of what a reading {what: whether it is as it was} lists may have changed."""
    changed = [key for key, kept in look(exam, case, reading, *arguments).items() if not kept]
    if changed:
        fail(
            case,
            f"{unit} must change nothing of what it is given, nor torch's settings; {' and '.join(changed)} "
            "changed. What writes there?",
        )


# Whether the generator alone decides what is drawn.


def draws(subject: Subject, unit: str, arguments: tuple, items: int | None, form, seconds: float) -> Reading:
    """Whether the generator, which is its last argument, and nothing else decides what the function draws.

    items: how many tensors a draw is a tuple of; None for one value. form: (answer, name) -> what can be
    compared of one."""
    answer = subject.run(LOOKS("seeded_draws", unit=unit, arguments=arguments, items=items, seconds=seconds))
    names = ("first", "next", "again", "other", "reseeded")
    drawn = {name: [form(answer, f"{name}{index}") for index in range(items or 1)] for name in names}

    def alike(name: str) -> bool:
        return all(np.array_equal(one, other) for one, other in zip(drawn["first"], drawn[name]))

    return {
        "repeats": alike("again") and alike("reseeded"),
        "advances": not alike("next"),
        "depends": not alike("other"),
        "kept": settings_kept(answer),
    }


def generator_decides(exam, case: dict, unit: str, reading, *arguments) -> None:
    """The check of such a reading."""
    got = look(exam, case, reading, *arguments)
    if not got["repeats"]:
        fail(
            case,
            "Two generators with the same seed must give the same problems, and yours give different ones. "
            "Which of your random calls has no generator=?",
        )
    if not got["advances"]:
        fail(
            case,
            "A second call with the same generator must give new problems, and yours gives the first ones "
            "again: a model would train on a single batch. Is the generator used itself, or only its seed?",
        )
    changed = [key for key, kept in got["kept"].items() if not kept]
    if changed:
        fail(
            case,
            f"{unit} is given a generator, and must draw from that alone; {' and '.join(changed)} changed. "
            "Other code draws from the same generators. Is a global generator seeded, or drawn from?",
        )
    if not got["depends"]:
        fail(
            case,
            "A generator with another seed must give other problems, and yours gives the same. What "
            "decides the draw in your code?",
        )
