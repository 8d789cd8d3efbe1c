"""Training of exercise 2: a few observed steps, and the run whose model must add.

The run happens in the attempt's worker, the measurement in the reference's. What comes back from the attempt
is a config and weights. They are checked here before anything is built from them; a GPT with default parts
then decodes problems that the attempt has never seen.
"""

from dataclasses import dataclass, field

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery.training import (
    RunProgress,
    Unit,
    check_rows,
    decoded,
    found_in,
    observed,
    read_rows,
    reported,
    returned,
    trained_model,
)
from tests.exercises.ex2 import readings
from tests.exercises.exam import Reading, Subject
from tests.exercises.shown import Curves, ErrorMap, Shares

OWN_LOOKS = Looks.named("tests.exercises.ex2.training_looks")
MOST_PARAMETERS = 1_000_000
UNIT = Unit(
    "train_adder", MOST_PARAMETERS, draws="problems", sets="are problems taken from a set in its order"
)
STEPS, WANTED = 2000, 0.99  # the budget, and the share of held-out problems that must be right
SECONDS = 600.0  # generous: the reference needs half a minute
SAMPLED = 64  # rows of each training batch that are kept, to see what it was trained on


@dataclass(frozen=True)
class Adding:
    """One call of train_adder."""

    n_digits: int
    steps: int
    seed: int = 1

    def call(self) -> dict:
        """For the looks."""
        return {
            "args": [self.n_digits],
            "options": {"steps": self.steps, "seed": self.seed},
            "width": row_width(self.n_digits),
        }

    def as_case(self, **more) -> dict:
        """For the report and the JSON."""
        return {"n_digits": self.n_digits, "steps": self.steps} | more


def row_width(n: int) -> int:
    """How many tokens of a row of training input are looked at: many whole problems, if it holds so many."""
    return max(256, 3 * (3 * n + 3))


def sizes(subject: Subject, case: Adding) -> Reading:
    """The config of the model, its number of parameters, and the device that it was trained on."""
    answer = returned(subject, UNIT, case)
    return {"sizes": answer.plain("sizes"), "device": answer.plain("device")}


def problems_of(rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The problems in rows of training input (N, width): a, b, and (N,) how many of them each row holds.

    A problem is "a+b=" with numbers of as many digits as each other, n or (to begin with easy ones) fewer,
    anywhere in a row."""
    found, count = [], np.zeros(len(rows), dtype=np.int64)
    for m in range(1, n + 1):
        pair, held = found_in(rows, "d" * m + "+" + "d" * m + "=", readings.VOCABULARY)
        found.append(pair)
        count += held
    a, b = (np.concatenate(side) for side in zip(*found))
    return a, b, count


def read_problems(answer, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The problems that a run trained on, out of an answer's rows and longest; CheckFailed where they cannot
    be told."""
    problem = f"a problem with n_digits = {n} has 3n + 2 = {3 * n + 2}"
    rows = read_rows(answer, row_width(n), problem)
    a, b, count = problems_of(rows, n)
    check_rows(rows, count, readings.VOCABULARY)
    return a, b


def trained_on(subject: Subject, reference: Subject, case: Adding) -> Reading:
    """How many of the problems that it trains on are held out."""
    a, b = read_problems(observed(subject, UNIT, case), case.n_digits)
    held = readings.held_out(reference, a, b, case.n_digits)
    return {"held_out": float(held.mean()), "example": readings.first_of(a, b, held)}


# The run whose model must add.


@dataclass
class Trained:
    """A trained model: the config's fields, the weights by name, the problems that it was trained on, and the
    (step, loss) that were reported."""

    config: dict
    weights: dict[str, np.ndarray]
    problems: tuple[np.ndarray, np.ndarray]
    curve: list[tuple[float, float]] = field(default_factory=list)


def trained(subject: Subject, case: Adding, progress: RunProgress) -> Trained:
    """Train in the subject's worker; CheckFailed where what comes back is not the model asked for."""
    n = case.n_digits
    answer, config, weights = trained_model(
        subject,
        UNIT,
        case,
        tokens=len(readings.VOCABULARY),
        block=3 * n + 2,
        seconds=SECONDS,
        progress=progress,
        sampled=SAMPLED,
    )
    return Trained(config, weights, read_problems(answer, n), reported(answer))


@dataclass
class Result:
    """The answers of a model: right (N,) bool, its digits (N, n + 1), and the problems."""

    a: np.ndarray
    b: np.ndarray
    digits: np.ndarray
    expected: np.ndarray
    chain: np.ndarray
    right: np.ndarray = field(init=False)

    def __post_init__(self):
        self.right = (self.digits == self.expected).all(axis=1)

    @property
    def exact(self) -> float:
        return float(self.right.mean())

    def by_place(self) -> dict[str, float]:
        """Name of a digit of the sum to the share of answers in which it is right."""
        names = ["units", "tens", "hundreds", "thousands"]
        names += [f"10^{k}" for k in range(4, self.digits.shape[1])]
        return dict(zip(names, (self.digits == self.expected).mean(axis=0).tolist()))

    def by_chain(self) -> dict[int, tuple[float, int]]:
        """Longest run of carries to (share right, how many problems)."""
        return {
            int(length): (float(self.right[self.chain == length].mean()), int((self.chain == length).sum()))
            for length in np.unique(self.chain)
        }


def chains(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """The longest run of neighbouring columns with a carry."""
    carry, run, longest = (np.zeros_like(a) for _ in range(3))
    for place in range(n):
        carry = (a // 10**place % 10 + b // 10**place % 10 + carry) // 10
        run = (run + 1) * carry
        longest = np.maximum(longest, run)
    return longest


def solved(reference: Subject, model: Trained, a: np.ndarray, b: np.ndarray, n: int) -> Result:
    """The model's answers to these problems, decoded greedily in the reference's worker."""
    rows = readings.tokens(a, b, n)
    written = decoded(reference, model.config, model.weights, rows[:, : 2 * n + 2], n + 1)
    return Result(a, b, written, rows[:, 2 * n + 2 :], chains(a, b, n))


def measured(reference: Subject, model: Trained, n: int, count: int, seed: int) -> Result:
    """The model on `count` held-out problems drawn from a seed that no attempt is given."""
    answer = reference.run(OWN_LOOKS("held_out_problems", count=count, n=n, seed=seed))
    a, b = (answer.tensor(key, (count,), "held-out problems", "int64") for key in ("a", "b"))
    return solved(reference, model, a, b, n)


def measured_on(reference: Subject, model: Trained, n: int, most: int = 1000) -> tuple[float, int, int]:
    """On problems that it trained on: the share right, how many were seen, how many of these different."""
    a, b = model.problems
    pairs = np.unique(a * 10**n + b)
    some = pairs[np.linspace(0, len(pairs) - 1, min(most, len(pairs))).astype(int)]
    return solved(reference, model, some // 10**n, some % 10**n, n).exact, len(a), len(pairs)


def pictures(result: Result, model: Trained, n: int) -> list:
    """What a report may draw: where the model errs, what is right by digit and by carries, and its loss."""
    places = tuple((name, share, len(result.a)) for name, share in result.by_place().items())
    chain = tuple((f"{k} carries in a row", *found) for k, found in result.by_chain().items())
    borders = (10**n, 10**n)
    return [
        ErrorMap.of(f"Held-out sums of {n} digits", result.a, result.b, ~result.right, borders),
        Shares("Right by digit of the sum", places),
        Shares("Right by the longest run of carries", chain),
        Curves("The loss that was reported while training", "step", "loss", {"loss": model.curve}),
    ]


def diagnosis(result: Result, seen, model: Trained, n: int, wanted: float) -> tuple[str, list[str]]:
    """Why a model does not add, as far as its answers tell: a message, and the numbers."""
    chain, places = result.by_chain(), result.by_place()
    lines = ["right by digit: " + ", ".join(f"{name} {share:.0%}" for name, share in places.items())]
    lines.append(
        "right by carries in a row: "
        + ", ".join(f"{k}: {share:.0%} (of {count})" for k, (share, count) in chain.items())
    )
    row = int((~result.right).argmax())
    lines.append(
        f"for example {int(result.a[row])} + {int(result.b[row])} must be written "
        f"{_text(result.expected[row])}, and it writes {_text(result.digits[row])}"
    )
    head = f"It must solve at least {wanted:.0%} of held-out problems, and solves {result.exact:.1%}."
    if seen is not None:
        lines.append(
            f"of the problems that it trained on: {seen[0]:.1%} right ({seen[2]:,} different among "
            f"{seen[1]:,} looked at)"
        )
        if seen[2] < 0.25 * seen[1] and seen[0] > result.exact + 0.1:
            return (
                f"{head} It has memorised what it trained on: {seen[0]:.1%} of these are right, and there "
                f"were only about {seen[2]:,} different ones. Are new problems drawn in every step?"
            ), lines
    none, carried = chain.get(0, (0.0, 0))[0], [share for k, (share, _) in chain.items() if k > 0]
    without = _columns_without_carry(result, n)
    if without > 0.8:
        return (
            f"{head} It adds each column by itself, without carries: {without:.0%} of its answers are that. "
            f"Does the attention see both the digits and what came before?",
            lines,
        )
    top = result.right[result.expected[:, -1] == 0]
    carried_over = result.right[result.expected[:, -1] == 1]
    if len(top) and len(carried_over) and top.mean() > 0.9 and carried_over.mean() < 0.1:
        return (
            f"{head} Sums below {10**n} are right and larger ones wrong: the last carry is missing. Is the "
            f"answer n + 1 digits long in training?",
            lines,
        )
    reversed_ = (result.digits[:, ::-1] == result.expected).all(axis=1).mean()
    if reversed_ > 0.5 and reversed_ > result.exact:
        return (
            f"{head} {reversed_:.0%} of its answers are right when read the other way round: it was trained "
            f"on sums with the first digit first.",
            lines,
        )
    if np.mean(list(places.values())) < 0.35 and result.exact < 0.02:
        return (
            f"{head} That is no better than an untrained model. Does the loss fall, and is the model that "
            f"you return the one that learned?",
            lines,
        )
    if none > 0.9 and carried and min(carried) < 0.5:
        return (
            f"{head} Without a carry it is right, and the longer carries run, the worse it gets: it has not "
            f"learned them yet. Does the learning rate fall too early?",
            lines,
        )
    return (
        f"{head} It has begun to learn. Does the loss still fall at the end? A learning rate of about 3e-3 "
        "that falls late, first weights larger than 0.02, and a loss on the answer's digits alone make it "
        "fast.",
        lines,
    )


def _columns_without_carry(result: Result, n: int) -> float:
    """How many answers to problems with a carry are the sums of the columns, modulo 10."""
    carrying = result.chain > 0
    columns = np.zeros_like(result.digits)
    for place in range(n):
        columns[:, place] = (result.a // 10**place % 10 + result.b // 10**place % 10) % 10
    return float((result.digits == columns)[carrying][:, :n].all(axis=1).mean()) if carrying.any() else 0.0


def _text(digits: np.ndarray) -> str:
    return "".join(readings.VOCABULARY[int(d)] if 0 <= d < 12 else "?" for d in digits)
