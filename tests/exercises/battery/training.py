"""What every function that trains must pass: its updates, what it returns, the seed, and its reports.

A *unit* describes such a function. A *case* is one call of it, with `steps`, call() for the
looks and as_case() for the report.
"""

import functools
import hashlib
import re
import time
from dataclasses import dataclass, replace

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Looks
from tests.exercises.exam import Answer, CheckFailed, Numbers, Reading, Subject, fail, look, more_patience

LOOKS = Looks.named("tests.exercises.battery.training_looks")
SAME_LOGITS = 1e-3
MOST_POINTS = 400  # of a reported curve
NO_TOKEN = 255  # of grader/worker/probes.py: behind the end of a short row


@dataclass(frozen=True)
class Unit:
    """A function that trains.

    name:    of the function.
    most:    how many parameters its model may have.
    draws:   what it draws from the seed, besides initial weights and dropout.
    sets:    the question whether the weights may depend on the order of a set.
    budget:  a further sentence where it does not make `steps` updates.
    seconds: the deadline for a few steps.
    """

    name: str
    most: int
    draws: str
    sets: str
    budget: str = ""
    seconds: float = 90.0

    def ask(self, function: str, case, *, looks: Looks = LOOKS, seconds: float | None = None, **given):
        """A look at one call of the function."""
        return looks(function, unit=self.name, call=case.call(), seconds=seconds or self.seconds, **given)


def same_by(facts):
    """The `same` of a look: whether two readings agree in these facts, or two failures failed alike."""

    def same(one, other):
        one, other = (
            found.same if isinstance(found, CheckFailed) else facts(found) for found in (one, other)
        )
        return one is not None and one == other

    return same


# Updates.


def observed(subject: Subject, unit: Unit, case) -> Answer:
    """What was seen of a run."""
    return subject.run(unit.ask("observed", case, once=True))


def read_updates(answer: Answer) -> Reading:
    """The updates of an observed run, over all models and optimizers together (grader/worker/probes.py)."""
    return {key: int(answer.plain(key)) for key in ("updates", "models", "optimizers", "ended")}


def updates(subject: Subject, unit: Unit, case) -> Reading:
    """How many updates were made, of how many models, by how many optimizers."""
    return read_updates(observed(subject, unit, case))


def facts_of_updates(steps: int, reading: Reading):
    """What two readings must have in common to be alike: "right", or how there come to be too many or too few
    updates."""
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
    asked = (
        f"With steps = {steps} weights must be updated exactly {steps} times, over all models and optimizers "
        f"together; "
    )
    if came == 0:
        return asked + (
            "no update was seen. Are gradients taken, with a forward pass of a gpt_core.GPT that the loss "
            "comes from, and are its weights changed?"
        )
    said = (
        f"yours are updated more than {came - 1} times, and were stopped."
        if reading["ended"]
        else f"yours are updated {came} times."
    )
    if came > steps and reading["models"] > 1:
        return (
            f"{asked}{said} {reading['models']} models were trained: training several models and keeping the "
            "best takes the budget of several."
        )
    if came > steps and reading["optimizers"] > 1:
        return (
            f"{asked}{said} {reading['optimizers']} optimizers stepped one after the other: is there a "
            f"second phase of training?"
        )
    return f"{asked}{said} What does your loop count, and what may end it?"


# Of runs that tell one update too few from half of them: the halves, thirds and quarters of these differ,
# however they are rounded.
FEW_STEPS = (12, 7, 3, 1)


def updates_numbers(exam, unit: Unit, case) -> Numbers | None:
    """The updates of a few short runs."""
    runs = [exam.further(updates, unit, replace(case, steps=steps)) for steps in FEW_STEPS]
    if None in runs:
        return None
    ended = [bool(run["ended"]) or run["models"] > 1 or run["optimizers"] > 1 for run in runs]
    got = np.array([run["updates"] for run in runs])
    return Numbers("updates", np.array(FEW_STEPS), got, facts={"ended": ended, "unit": unit.name})


def check_updates(exam, unit: Unit, cases) -> None:
    """Exactly `steps` updates, of all models together; and how long one takes, from the first case and the
    last."""
    seconds = []
    for case in cases:
        began = time.monotonic()
        got = look(
            exam,
            case.as_case(),
            updates,
            unit,
            case,
            same=same_by(functools.partial(facts_of_updates, case.steps)),
        )
        if message := complaint(case.steps, got):
            numbers = updates_numbers(exam, unit, case)
            fail(case.as_case(), f"{message} {unit.budget}".strip(), numbers=numbers)
        seconds.append(time.monotonic() - began)
    if len(cases) > 1:
        exam.pace = (seconds[0] - seconds[-1]) / (cases[0].steps - cases[-1].steps)


# What comes back.


def returned(subject: Subject, unit: Unit, case) -> Answer:
    """What came back from a run, but for its weights."""
    return subject.run(unit.ask("returned", case, once=True))


def parts(subject: Subject, unit: Unit, case) -> Reading:
    """Whether a GPT with default parts and the same weights gives the same logits; parameters that differ."""
    found = returned(subject, unit, case).plain("parts")
    difference = found["difference"]
    return {
        "missing": [str(name)[:80] for name in found["missing"]],
        "others": [str(name)[:80] for name in found["others"]],
        "same": difference is not None and difference <= SAME_LOGITS,
    }


def check_parts(exam, unit: Unit, case) -> None:
    """The model is a GPT with default parts."""
    got = look(exam, case.as_case(), parts, unit, case)
    if got["missing"] or got["others"]:
        fail(
            case.as_case(),
            "The model's parameters are not those of a gpt_core.GPT with default parts and its config. Was "
            "it built with parts of its own, or without a position table?",
            f"missing: {', '.join(got['missing']) or 'none'}",
            f"not in a default GPT: {', '.join(got['others']) or 'none'}",
        )
    if not got["same"]:
        fail(
            case.as_case(),
            "A gpt_core.GPT with default parts and your weights gives other logits than your model. Was it "
            "built with parts of its own?",
        )


def model_of(answer: Answer, unit: Unit, steps: int | None = None) -> tuple[dict, dict[str, np.ndarray]]:
    """The config and the weights out of an answer to the look `trained`; CheckFailed where no default GPT can
    have them, or they did not come from `steps` updates."""
    if steps is not None and (message := complaint(steps, read_updates(answer))):
        reading = read_updates(answer)
        raise CheckFailed(
            f"{message} {unit.budget}".strip(), same=("updates", facts_of_updates(steps, reading))
        )
    config = models.returned_config(answer.plain("sizes"), unit.most)
    weights = answer.tensors("weights")
    models.check_weights(weights, config, unit.most)
    return config, weights


# The problems that it trains on.


def read_rows(answer: Answer, width: int, problem: str) -> np.ndarray:
    """The rows of training input, (N, T) int64, out of an answer; CheckFailed where they cannot be told.

    width: how many tokens of each are looked at. problem: how long one is, in a message."""
    rows, longest = answer.arrays.get("rows"), answer.plain("longest")
    if rows is None or rows.ndim != 2 or rows.shape[1] != min(longest, width):
        raise CheckFailed("What the model trains on could not be read.", same=("rows",))
    if len(rows) == 0:
        raise CheckFailed(
            "The grader did not see on which problems the model trains, so it cannot say that none is held "
            "out. The tokens must be looked up in the token table of a gpt_core.GPT, by model(x) or "
            "model.token_embedding_table(x) with x of shape (B, T), and the loss must come from there.",
            same=("nothing seen",),
        )
    if longest > width:
        raise CheckFailed(
            f"It trains on rows of {longest} tokens, and {problem} tokens of input: up to {width} are looked "
            "at for problems that are held out. What else stands in a row?",
            same=("long rows",),
        )
    return rows.astype(np.int64)


def found_in(rows: np.ndarray, form: str, vocabulary: str) -> tuple[list[np.ndarray], np.ndarray]:
    """The problems of one form anywhere in rows (N, T): its numbers, an array for each, and (N,) how many of
    them each row holds.

    form: such as "ddd+ddd=", in which d is a digit. The ids of the digits are 0 to 9."""
    runs, count = [*re.finditer("d+", form)], np.zeros(len(rows), dtype=np.int64)
    found = [[np.zeros(0, dtype=np.int64)] for _ in runs]
    for at in range(rows.shape[1] - len(form) + 1):
        window = rows[:, at : at + len(form)]
        fits = np.all(
            [
                window[:, i] < 10 if mark == "d" else window[:, i] == vocabulary.index(mark)
                for i, mark in enumerate(form)
            ],
            axis=0,
        )
        for numbers, run in zip(found, runs):
            powers = 10 ** np.arange(len(run[0]) - 1, -1, -1, dtype=np.int64)
            numbers.append(window[fits, run.start() : run.end()] @ powers)
        count += fits
    return [np.concatenate(numbers) for numbers in found], count


def check_rows(rows: np.ndarray, count: np.ndarray, vocabulary: str) -> None:
    """CheckFailed where a row holds no problem."""
    if count.all():
        return
    shown = "".join(
        vocabulary[t] if t < len(vocabulary) else "?"
        for t in rows[int((count == 0).argmax())]
        if t != NO_TOKEN
    )
    raise CheckFailed(
        f"Of the rows that it trains on {(count == 0).mean():.0%} hold no problem as the contract writes it, "
        f"such as {shown!r}, so the grader cannot say that none is held out. Are they made by make_batch?",
        same=("no problems",),
    )


# The seed, and what is reported.


def same_weights(subject: Subject) -> float:
    """How far apart the same weights may be."""
    return 0.0 if subject.device == "cpu" else 1e-3  # on a GPU sums may come in another order


def compared(subject: Subject, unit: Unit, case, changes) -> tuple[list, list]:
    """For each run after the first, whether its weights are the first one's (None where they have another
    form); and the input of all."""
    answer = subject.run(unit.ask("compared", case, changes=changes))
    apart = [None if found is None else found <= same_weights(subject) for found in answer.plain("apart")]
    return apart, list(answer.tensors("rows").values())


def moved(subject: Subject, unit: Unit, case, more: int) -> Reading:
    """Whether more steps than those of the case give other weights."""
    [same], _ = compared(subject, unit, case, [{}, {"steps": more}])
    return {"moved": not same}


def seeded(subject: Subject, unit: Unit, case) -> Reading:
    """Whether the same seed gives the same weights, with every other generator changed, and another seed
    others."""
    # Seed 0, since "if seed:" does not seed with it.
    changes = [{"seed": seed, "shake": shake} for seed, shake in ((0, 1), (0, 2), (6, 1))]
    (again, other), rows = compared(subject, unit, case, changes)
    return {
        "repeats": again is True,
        "depends": other is not True,
        "rows_repeat": models.equal(rows[0], rows[1]),
    }


def check_seed(exam, unit: Unit, case, elsewhere) -> None:
    """The seed alone decides the weights; elsewhere: the case for another process, in which strings have
    other hashes."""
    got = look(exam, case.as_case(), seeded, unit, case)
    if not got["repeats"]:
        fail(
            case.as_case(),
            "Two runs with the same seed return different weights: they depend on torch's, numpy's or "
            f"Python's global generators as they were before. Are the first weights, the {unit.draws} and "
            "the dropout all drawn from the seed?",
        )
    if not got["depends"]:
        fail(
            case.as_case(),
            "Two runs with different seeds return the same weights. What does your code do with the seed?",
        )
    # Not through `look`: a difference between two processes is one known mistake, and comparing all others
    # would take minutes.
    largest = 10 * unit.most  # another check says that a model is too large
    here, there = exam.in_another_process(unit.ask("trained", elsewhere, largest=largest))
    chars = [answer.plain("chars") if "chars" in answer.values else None for answer in (here, there)]
    if chars[0] != chars[1] or models.far_apart(here.tensors("weights"), there.tensors("weights")):
        fail(
            elsewhere.as_case(),
            "With the same seed the result is different in another process. There the hashes of strings "
            f'differ, and with them the order of a set: is a seed made with hash(".."), or {unit.sets}? Make '
            "numbers from the seed by arithmetic, and sort a set before it is used.",
            mistake="seed_from_a_hash",
        )


def reports(subject: Subject, unit: Unit, case) -> Reading:
    """Whether `report` was called, and with what."""
    answer = observed(subject, unit, case)
    return {"called": bool(answer.plain("reports")), "kinds": answer.plain("report_kinds")}


def check_report(exam, unit: Unit, cases) -> None:
    """report(step, loss) is called, with an int and a float."""
    for case in cases:
        got = look(exam, case.as_case(), reports, unit, case)
        if not got["called"]:
            fail(
                case.as_case(),
                f"With steps = {case.steps} report is never called. It feeds the progress bar: call it "
                "every few steps, and after the last step.",
            )
        if got["kinds"]:
            step, loss = got["kinds"]
            fail(
                case.as_case(),
                f"report takes a step (an int) and a loss (a float); yours is called with {step} and {loss}. "
                "loss.item() is the number in a tensor, which would otherwise keep its graph alive.",
            )


# A long run, and what its model writes.


def reported(answer: Answer) -> list[tuple[float, float]]:
    """The (step, loss) that a run reported, an attempt's word, out of an answer to the look `trained`; empty
    where there is no such thing."""
    curve = answer.array("curve") if "curve" in answer.values else None
    if curve is None or curve.ndim != 2 or curve.shape[1] != 2:
        return []
    return [(float(step), float(loss)) for step, loss in curve[:MOST_POINTS]]


def trained_model(
    subject: Subject, unit: Unit, case, *, tokens: int, block: int, seconds: float, progress, sampled: int
) -> tuple[Answer, dict, dict[str, np.ndarray]]:
    """Train in the subject's worker: the answer, and the config and the weights of the model, which must have
    so many tokens and a block_size of at least `block`, to which its positions are cut.

    CheckFailed where what comes back is not the model asked for. sampled: rows of each training batch that
    are kept, to see what it was trained on."""
    asked = unit.ask(
        "trained",
        case,
        seconds=seconds,
        progress=progress,
        largest=unit.most,
        shake=case.seed,
        sampled=sampled,
        keep=True,
    )
    answer = subject.run(asked)
    config, weights = model_of(answer, unit, case.steps)  # a run may end early only where it is long
    if config["vocab_size"] != tokens or config["block_size"] < block:
        raise CheckFailed(
            f"The model must have {tokens} tokens and a block_size of at least {block}; its config is "
            f"{str(config)[:200]}."
        )
    key = "position_embedding_table.weight"
    # Positions past the longest problem are never looked up.
    return answer, config | {"block_size": block}, weights | {key: weights[key][:block]}


DECODED = 1000  # problems per request to the reference


def decoded(
    reference: Subject, config: dict, weights: dict, prompts: np.ndarray, count: int, seconds=None
) -> np.ndarray:
    """(N, count): what a model writes after prompts (N, T), decoded greedily in the reference's worker."""
    found = [np.zeros((0, count), dtype=np.int64)]
    for first in range(0, len(prompts), DECODED):
        some = prompts[first : first + DECODED]
        asked = LOOKS("written", config=config, weights=weights, prompts=some, count=count, seconds=seconds)
        answer = reference.run(asked)
        found.append(answer.tensor("tokens", (len(some), count), "the decoded tokens", "int64"))
    return np.concatenate(found)


def predicted(reference: Subject, config: dict, weights: dict, rows: np.ndarray, seconds=None) -> np.ndarray:
    """(N, T): the most likely token after each place of rows (N, T), in the reference's worker."""
    found = []
    for first in range(0, len(rows), DECODED):
        some = rows[first : first + DECODED]
        answer = reference.run(LOOKS("predicted", config=config, weights=weights, rows=some, seconds=seconds))
        found.append(answer.tensor("tokens", some.shape, "the predicted tokens", "int64"))
    return np.concatenate(found)


def long_run(exam, case: dict, progress: "RunProgress", train):
    """What train() gives, in a message for a run that missed its deadline. Not through `look`: to train every
    known mistake as well, to name one, would take an hour."""
    progress.begin(exam.pace)
    try:
        return train()
    except CheckFailed as failure:
        failure.case = case
        if failure.same is not None and failure.same[:2] == ("died", "deadline"):
            fail(case, progress.too_slow(), *failure.details)
        raise


def seed_of_held_out(exam) -> int:
    """A seed for held-out problems, which no attempt is given."""
    return int.from_bytes(hashlib.sha256(f"held-out problems {exam.seed}".encode()).digest()[:6], "big")


def about(seconds: float) -> str:
    """A time in words, "about 9 minutes"."""
    number, unit = (seconds, "second") if seconds < 90 else (seconds / 60, "minute")
    return f"about {max(number, 1):.0f} {unit}{'s' * (round(number) > 1)}"


class RunProgress:
    """What a training run says on its way; its numbers come from the attempt and are only shown."""

    def __init__(self, steps: int, note, enough: str = "two layers of 64 channels are enough"):
        self.steps, self.note, self.enough = steps, note, enough
        self.began, self.step, self.last = time.monotonic(), 0, 0.0

    def __call__(self, said) -> None:
        step, loss = (said.get(key) for key in ("step", "loss")) if isinstance(said, dict) else (None, None)
        if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= 10 * self.steps:
            return
        self.step, self.last = max(self.step, step), self.seconds
        words = f", loss {loss:.4f}" if isinstance(loss, float) else ""
        left = self.last / self.step * (self.steps - self.step) if 0 < self.step < self.steps else 0
        left = f", {about(left)} left" if left >= 1 else ""
        self.note(f"training, step {self.step} of {self.steps}{words}, {self.last:.0f} s{left}")

    def begin(self, pace: float) -> None:
        """Say how long it will take, by the pace of short runs in seconds per step; 0 where none is known."""
        self.began = time.monotonic()
        words = f", {about(pace * self.steps)}" if pace > 0 else ""
        self.note(f"training {self.steps} steps{words}")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def too_slow(self) -> str:
        """The message for a run that missed its deadline."""
        rate = self.step / self.last if self.last else 0.0
        needed = (
            f"at {rate:.2g} steps/s all of them would take {self.steps / rate / 60:.0f} minutes"
            if rate
            else "not one was seen"
        )
        return (
            f"Too slow, which does not mean wrong: {self.step} of {self.steps} steps were done in "
            f"{self.seconds:.0f} s; {needed}. A smaller model ({self.enough}) or "
            f"batch is faster; {more_patience()} gives three times as long."
        )
