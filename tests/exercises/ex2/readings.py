"""How the checks look at exercise 2: text by its characters, batches by their numbers, a sampler by the
shares of what it draws, `add` through test models whose answers are known.
"""

from dataclasses import asdict, dataclass

import numpy as np

from tests.exercises.asked import Asked, Looks
from tests.exercises.battery import decoding, function, sampling
from tests.exercises.exam import CheckFailed, Reading, Subject

LOOKS = Looks.named("tests.exercises.ex2.looks")
VOCABULARY = "0123456789+="
PLUS, EQUALS = 10, 11


@dataclass(frozen=True)
class Problems:
    """B problems of n_digits digits, drawn from a seed."""

    n_digits: int = 3
    B: int = 4
    seed: int = 0

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """a and b, (B,) int64, of all lengths: a uniform draw would hardly ever need a zero in front."""
        rng = np.random.default_rng((self.seed, 11))
        limits = 10 ** rng.integers(1, self.n_digits + 1, size=(2, self.B))
        a, b = rng.integers(0, limits)
        if self.B >= 5:  # a carry through all places
            a[0], b[0] = 10**self.n_digits - 1, 1
        return a, b

    def as_case(self, **more) -> dict:
        """For the report and the JSON."""
        return asdict(self) | more


# What is right, in numpy.


def encode(a: int, b: int, n: int) -> str:
    """The problem as text."""
    return f"{a:0{n}d}+{b:0{n}d}={str(a + b).zfill(n + 1)[::-1]}"


def tokens(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """(B, 3n + 3): all tokens of the problems, their answers included."""
    return np.array(
        [[VOCABULARY.index(c) for c in encode(int(i), int(j), n)] for i, j in zip(a, b)], dtype=np.int64
    )


def batch(a: np.ndarray, b: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of make_batch."""
    all_ = tokens(a, b, n)
    y = all_[:, 1:].copy()
    y[:, : 2 * n + 1] = -1
    return all_[:, :-1], y


def loss_and_gradient(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """masked_loss and its gradient for the logits, in float64."""
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    exponents = np.exp(shifted)
    total = exponents.sum(axis=-1, keepdims=True)
    counted = targets != -1
    count = max(int(counted.sum()), 1)
    one_hot = np.eye(logits.shape[-1])[np.where(counted, targets, 0)]
    losses = np.log(total)[..., 0] - (shifted * one_hot).sum(axis=-1)
    gradient = np.where(counted[..., None], exponents / total - one_hot, 0.0) / count
    return float(losses[counted].sum() / count), gradient


@dataclass(frozen=True)
class Asking:
    """A call of `add` for these problems with a test model, in which a digit always wins by `margin`,
    whatever the sum is.

    seed: of its tables. spare: the tokens that the model takes beyond 3n + 2, its longest problem.
    """

    problems: Problems
    seed: int = 0
    margin: float = 40.0
    spare: int = 0

    def arguments(self) -> dict:
        """What add takes after the model."""
        a, b = self.problems.numbers()
        return {"a": a, "b": b, "n_digits": self.problems.n_digits}

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """steps and table of the test model."""
        T = 3 * self.problems.n_digits + 2 + self.spare
        rng = np.random.default_rng((self.seed, self.problems.n_digits, 5))

        def digits(rng):
            return rng.integers(0, 10, size=(T, decoding.STATES))

        return decoding.tables_of(rng, T, len(VOCABULARY), digits, self.margin)

    def digits(self) -> np.ndarray:
        """(B, n + 1) int64: what the model writes after each problem, greedily."""
        n = self.problems.n_digits
        prompts = tokens(*self.problems.numbers(), n)[:, : 2 * n + 2]
        return decoding.written(*self.tables(), prompts, n + 1)

    def as_case(self, **more) -> dict:
        """For the report and the JSON."""
        if self.spare:
            more |= {"block_size": 3 * self.problems.n_digits + 2 + self.spare}
        return self.problems.as_case(**more)


def value_of(digits: np.ndarray) -> np.ndarray:
    """(B, n + 1) digits, the last first -> (B,) int64."""
    return (digits * 10 ** np.arange(digits.shape[1], dtype=np.int64)).sum(axis=1)


# Text.


def encoded(subject: Subject, problems: tuple) -> Reading:
    """The text of each (a, b, n_digits)."""
    return {"texts": [text[:200] for text in function.returned(subject, "encode_problem", (str,), problems)]}


def decoded(subject: Subject, texts: tuple) -> Reading:
    """The number of each answer."""
    return {"numbers": function.returned(subject, "decode_answer", (int,), tuple((text,) for text in texts))}


# Batches and the loss.


def made_batch(subject: Subject, case: Problems) -> Reading:
    """x and y, (B, 3n + 2) each."""
    return batch_of(subject, *case.numbers(), case.n_digits)


def batch_asked(a: np.ndarray, b: np.ndarray, n: int) -> Asked:
    """A look at make_batch."""
    return LOOKS("made_batch", a=a, b=b, n=n)


def batch_of(subject: Subject, a: np.ndarray, b: np.ndarray, n: int) -> Reading:
    """x and y of these numbers."""
    answer = subject.run(batch_asked(a, b, n))
    shape = (len(a), 3 * n + 2)
    return {
        key: answer.tensor(key, shape, f"{key} of make_batch", "int64", subject.device) for key in ("x", "y")
    }


def batch_kept(subject: Subject, case: Problems) -> Reading:
    """Whether make_batch leaves a, b and torch's settings as they are."""
    a, b = case.numbers()
    return function.kept(subject, "make_batch", a=a, b=b, n_digits=case.n_digits)


def loss_asked(logits: np.ndarray, targets: np.ndarray, layout: str = "contiguous") -> Asked:
    """A look at masked_loss."""
    return LOOKS("loss", logits=logits, targets=targets, layout=layout)


def loss_of(subject: Subject, logits: np.ndarray, targets: np.ndarray, layout: str = "contiguous") -> Reading:
    """masked_loss, its gradient for the logits (None where there is none), and whether it kept its inputs."""
    answer = subject.run(loss_asked(logits, targets, layout))
    wider = answer.values["loss"].get("dtype") == "float64"  # as precise as one likes
    value = answer.tensor("loss", (), "the loss", "float64" if wider else "float32", subject.device)
    found = answer.array("gradient")
    if found is not None and found.shape != logits.shape:
        raise CheckFailed(
            "The gradient of the loss does not have the shape of the logits.", same=("gradient",)
        )
    return {
        "loss": float(value),
        "gradient": found,
        "kept": {
            f"the {key}": same
            for key, same in function.arguments_kept(answer, logits=logits, targets=targets).items()
        }
        | function.settings_kept(answer),
    }


def loss_value(subject: Subject, logits: np.ndarray, targets: np.ndarray) -> Reading:
    """The loss alone."""
    return {"loss": loss_of(subject, logits, targets)["loss"]}


def loss_gradient(subject: Subject, logits: np.ndarray, targets: np.ndarray) -> Reading:
    """Its gradient at the targets that count."""
    gradient = loss_of(subject, logits, targets)["gradient"]
    return {"gradient": None if gradient is None else gradient[targets != -1]}


def loss_masked_gradient(subject: Subject, logits: np.ndarray, targets: np.ndarray) -> Reading:
    """Its gradient at the targets that do not."""
    gradient = loss_of(subject, logits, targets)["gradient"]
    return {"gradient": None if gradient is None else gradient[targets == -1]}


def loss_layout(subject: Subject, logits: np.ndarray, targets: np.ndarray, layout: str) -> Reading:
    """The loss and its gradient where logits and targets are views."""
    reading = loss_of(subject, logits, targets, layout)
    return {key: reading[key] for key in ("loss", "gradient")}


def loss_kept(subject: Subject, logits: np.ndarray, targets: np.ndarray) -> Reading:
    """Whether the logits, the targets and torch's settings are as they were."""
    return loss_of(subject, logits, targets)["kept"]


# The sampler.


def drawn(subject: Subject, count: int, n: int, seed: int, calls: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """a and b of `calls` calls of sample_problems with one generator, in a row: each of (count / calls,) long
    on the CPU."""
    size = count // calls
    answer = subject.run(
        LOOKS("drawn", count=size, n=n, seed=seed, calls=calls, seconds=min(calls, 2) * sampling.SECONDS)
    )
    what = f"of sample_problems({size}, {n}, generator)"
    return tuple(
        np.concatenate(
            [
                answer.tensor(f"{side}{call}", (size,), f"{side} {what}", "int64", "cpu")
                for call in range(calls)
            ]
        )
        for side in "ab"
    )


def sample_range(subject: Subject, count: int, n: int) -> Reading:
    """Whether numbers are below 0, or have too many digits."""
    a, b = drawn(subject, count, n, 2)
    return {"below": bool(min(a.min(), b.min()) < 0), "above": bool(max(a.max(), b.max()) >= 10**n)}


def held_out(subject: Subject, a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """is_held_out of data.addition, as this subject's worker computes it; only the reference's counts. False
    for numbers of more than n digits."""
    inside = (np.minimum(a, b) >= 0) & (np.maximum(a, b) < 10**n)
    answer = subject.run(LOOKS("held_out", a=np.where(inside, a, 0), b=np.where(inside, b, 0), n=n))
    return answer.tensor("held", a.shape, "is_held_out", "bool") & inside


def first_of(a: np.ndarray, b: np.ndarray, held: np.ndarray) -> list[int] | None:
    """The first pair that is held out."""
    return [int(a[held.argmax()]), int(b[held.argmax()])] if held.any() else None


def held_out_shares(subject: Subject, reference: Subject, count: int, n: int) -> Reading:
    """How many of the draws are held out: of those with a <= b, and of the others."""
    a, b = drawn(subject, count, n, 3)
    held = held_out(reference, a, b, n)
    shares = [float(held[mask].mean()) if mask.any() else 0.0 for mask in (a <= b, a > b)]
    return {"ordered": shares[0], "swapped": shares[1], "example": first_of(a, b, held)}


def seeds(subject: Subject, count: int, n: int) -> Reading:
    """What the generator decides."""

    def form(answer, key):
        return answer.tensor(key, (count,), "a draw", "int64", "cpu")

    return function.draws(subject, "sample_problems", (count, n), 2, form, sampling.SECONDS)


def pair_table(subject: Subject, count: int) -> Reading:
    """(10, 10) shares of the pairs of one digit among the draws."""
    a, b = drawn(subject, count, 1, 4)
    table = np.zeros((10, 10))
    np.add.at(table, (a % 10, b % 10), 1.0 / count)
    return {"shares": table}


def distinct(subject: Subject, count: int, n: int) -> Reading:
    """How many different pairs there are among the draws."""
    a, b = drawn(subject, count, n, 5)
    return {"distinct": int(len(np.unique(a * 10**n + b)))}


def small_draws(subject: Subject, reference: Subject) -> Reading:
    """Small draws of problems of 3 digits: how many calls gave none, how many problems are held out, and how
    many came before."""
    answer = subject.run(
        LOOKS("drawn", count=1, n=3, seed=7, calls=sampling.SMALL_CALLS, seconds=2 * sampling.SECONDS)
    )
    found, short = [], 0
    for call in range(sampling.SMALL_CALLS):
        try:
            found.append([answer.tensor(f"{side}{call}", (1,), "a draw", "int64", "cpu") for side in "ab"])
        except CheckFailed:
            short += 1
    a, b = np.concatenate(found, axis=1) if found else np.zeros((2, 0), np.int64)
    held, again = held_out(reference, a, b, 3), len(a) - np.unique(np.stack([a, b]), axis=1).shape[1]
    return {"short": short, "held_out": int(held.sum()), "example": first_of(a, b, held), "again": again}


def independence(subject: Subject, count: int, calls: int, n: int) -> Reading:
    """Of draws of n digits: how many pairs are different, ordered and unordered; how few different couples
    there are of two numbers that stand some way apart; how evenly the numbers come; and the strongest
    correlation of any two of them.

    distinct, unordered: numbers of different ones. couples: how many too few, as a share of farthest;
    strongest: in standard deviations; couples_where, strongest_where: of which. spread: chi-square of a and
    of b over 1000 equal parts of their range."""
    a, b = drawn(subject, count, n, 8, calls)
    a, b = (np.clip(side, 0, 10**n - 1) for side in (a, b))  # the range is another check's
    couples, couples_where = _fewest_couples(a, b, count // calls, n)
    strongest, strongest_where = sampling.strongest({"a": a, "b": b})
    parts = [np.bincount(side * 1000 // 10**n, minlength=1000) for side in (a, b)]
    return {
        "distinct": len(np.unique(a * 10**n + b)),
        "unordered": len(np.unique(np.minimum(a, b) * 10**n + np.maximum(a, b))),
        "couples": couples,
        "couples_where": couples_where,
        "spread": [float(((counts - count / 1000) ** 2).sum() / (count / 1000)) for counts in parts],
        "strongest": strongest,
        "strongest_where": strongest_where,
    }


def _fewest_couples(a: np.ndarray, b: np.ndarray, size: int, n: int) -> tuple[float, str]:
    """Couples of a number and one some pairs later that take fewer different values than independent draws
    would: the largest shortfall, as a share of farthest, and which couple.

    A number that is computed from an earlier one forms few different couples with it, whatever the rule.
    size: of one call.
    """
    found = []
    for later in sorted({1, 2, 3, size // 2, size} - {len(a)}):
        for (one, first), (other, second) in (
            (x, y) for x in (("a", a), ("b", b)) for y in (("a", a), ("b", b))
        ):
            different = len(np.unique(first[:-later] * 10**n + second[later:]))
            # of independent ones, a Poisson number of them to begin with
            alike = (len(a) - later) ** 2 / 2 / 10.0 ** (2 * n)
            found.append(
                (
                    float((len(a) - later - alike - different) / sampling.farthest(alike)),
                    f"{one} and the {other} {later} pair{'s' * (later > 1)} later",
                )
            )
    return max(found)


def digit_shares(subject: Subject, count: int, n: int) -> Reading:
    """(2, n, 10): how often each digit stands at each place of a and of b; place 0 is the units."""
    pair = drawn(subject, count, n, 6)
    shares = np.zeros((2, n, 10))
    for side, numbers in enumerate(pair):
        for place in range(n):
            shares[side, place] = np.bincount(numbers // 10**place % 10, minlength=10)[:10] / count
    return {"shares": shares}


# Answers.


@dataclass(frozen=True)
class Add(decoding.Unit):
    """add: its result is a tensor."""

    name: str = "add"
    what: str = "a sum"
    token: str = "digit"

    def form(self, subject, answer, key, case):
        shape = (case.problems.B,)
        return answer.tensor(key, shape, "the result of add", "int64", subject.device)


ADD = Add()


def calls(subject: Subject, case: Asking) -> list[dict]:
    """The calls of the model."""
    return decoding.calls(subject, ADD, case)


def prompts(subject: Subject, case: Asking) -> Reading:
    """The different beginnings, up to "=", of all that the model was called with."""
    width = 2 * case.problems.n_digits + 2
    rows = {tuple(row[:width].tolist()) for call in calls(subject, case) for row in call["tokens"]}
    return {"prompts": sorted(map(list, rows))[:50]}


def call_sizes(subject: Subject, case: Asking) -> Reading:
    """How many problems each call of the model had."""
    return {"sizes": [len(call["tokens"]) for call in calls(subject, case)]}


def feedback(subject: Subject, case: Asking) -> Reading:
    """What call k saw in the places of the k digits that were written before it; -1 where it saw nothing."""
    n, B = case.problems.n_digits, case.problems.B
    seen = np.full((n + 1, B, n), -1, dtype=np.int64)
    for k, call in enumerate(calls(subject, case)[: n + 1]):
        digits = call["tokens"][:, 2 * n + 2 : 2 * n + 2 + k]
        if len(digits) == B:
            seen[k, :, : digits.shape[1]] = digits
    return {"seen": seen}
