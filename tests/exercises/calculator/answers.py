"""What the answers of a trained calculator tell: how many are right, where the first wrong step lies, and
whether the model uses its scratchpad at all.

A problem is (a, operator, b), an answer the text that a model wrote after "=".
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from tests.exercises.calculator.readings import decode, encode
from tests.exercises.shown import Curves, ErrorMap, Shares

OPERATORS = "+-*/"
_STEP = ("quotient's digit", "*", *["product"] * 3, "-", *["remainder"] * 2, ",")
# What each character of a right answer is.
KINDS = {
    "+": (*["digit of the sum"] * 4, ";"),
    "-": ("sign", *["digit of the difference"] * 3, ";"),
    "*": (*["first partial product"] * 3, "+", *["second partial product"] * 4, "=", *["sum"] * 4, ";"),
    "/": (*_STEP * 4, *["quotient"] * 4, ";"),
}


@dataclass(frozen=True)
class Answers:
    """What a model wrote to problems of one operator."""

    op: str
    problems: list[tuple[int, str, int]]
    written: list[str]

    @property
    def right(self) -> list[bool]:
        """Which answers are right, whatever the steps before them."""
        return [
            decode(self.op, text) == decode(self.op, encode(*problem)[1])
            for problem, text in zip(self.problems, self.written)
        ]

    @property
    def exact(self) -> float:
        """The share of right answers."""
        return float(np.mean(self.right))

    @property
    def traces(self) -> float:
        """The share of answers with every step right."""
        return float(
            np.mean([text == encode(*problem)[1] for problem, text in zip(self.problems, self.written)])
        )

    @property
    def agreeing(self) -> float | None:
        """The share of answers that agree with their own steps, right or wrong; None where there are none."""
        if self.op in "+-":
            return None
        return float(np.mean([agrees(self.op, text) for text in self.written]))

    def first_wrong(self) -> list[tuple[str, float]]:
        """What the first wrong character is, of the answers that have one: (kind, share), the commonest
        first."""
        found = Counter()
        for problem, text in zip(self.problems, self.written):
            at = first_difference(text, encode(*problem)[1])
            if at is not None:
                found[KINDS[self.op][at]] += 1
        return [(kind, count / found.total()) for kind, count in found.most_common()]

    def example(self) -> tuple[tuple[int, str, int], str, str] | None:
        """The first problem with a wrong answer, what was written, and what is right."""
        for problem, text, is_right in zip(self.problems, self.written, self.right):
            if not is_right:
                return problem, text, encode(*problem)[1]
        return None


def first_difference(text: str, right: str) -> int | None:
    """Where an answer first differs from the right one; None where it is the right one."""
    if text == right:
        return None
    return next(
        (at for at, (one, other) in enumerate(zip(text, right)) if one != other),
        min(len(text), len(right) - 1),
    )


def agrees(op: str, text: str) -> bool:
    """Whether the end of an answer is what its own steps say."""
    if decode(op, text) is None:
        return False
    if op == "*":
        one, other, total = text[0:3], text[4:8], text[9:13]
        return int(one[::-1]) + int(other[::-1]) == int(total[::-1])
    return "".join(text[9 * step] for step in range(4)) == text[36:40]


# Whether it uses its scratchpad: a digit of a step is changed by force, and the model goes on from there.


@dataclass(frozen=True)
class Forced:
    """A problem whose answer begins with a changed step, and the answer that follows from it."""

    problem: tuple[int, str, int]
    beginning: str
    follows: int  # the product, or the quotient


def forced(problem: tuple[int, str, int], rng: np.random.Generator) -> Forced | None:
    """Change one digit of the first partial product, or of one of the first three remainders.

    None where no digit can be changed: a remainder stays below the divisor, so that what follows is a
    division that the model knows."""
    a, op, b = problem
    answer = encode(*problem)[1]
    if op == "*":
        at, digit = int(rng.integers(3)), int(rng.integers(1, 10))
        part = answer[:at] + str((int(answer[at]) + digit) % 10) + answer[at + 1 : 3]
        return Forced(problem, part + "+", int(part[::-1]) + a * (b // 10) * 10)
    step = int(rng.integers(3))
    remainder = int(answer[9 * step + 6 : 9 * step + 8][::-1])
    others = [
        other
        for other in range(min(b, 100))
        if other != remainder and (other // 10 == remainder // 10 or other % 10 == remainder % 10)
    ]
    if not others:
        return None
    changed = int(rng.choice(others))
    quotient = "".join(answer[9 * k] for k in range(step + 1))
    left = changed
    for digit in f"{a:04d}"[step + 1 :]:
        left = 10 * left + int(digit)
        quotient += str(left // b)
        left %= b
    beginning = answer[: 9 * step + 6] + f"{changed:02d}"[::-1] + ","
    return Forced(problem, beginning, int(quotient))


def followed(case: Forced, text: str) -> bool:
    """Whether the answer that a model completed is the one that follows from the changed step."""
    found = decode(case.problem[1], text)
    return (found[0] if isinstance(found, tuple) else found) == case.follows


# What is shown and said of them.

SIZES = {"+": (1000, 1000), "-": (1000, 1000), "*": (100, 100), "/": (10_000, 100)}  # a and b lie below


def carries(a: int, op: str, b: int) -> int:
    """How many columns of a sum have a carry, or of a difference a borrow, the smaller number taken off."""
    low, high = sorted((a, b))
    if op == "+":
        return sum((a % 10**k + b % 10**k) >= 10**k for k in (1, 2, 3))
    return sum(high % 10**k < low % 10**k for k in (1, 2, 3))


def pictures(found: dict[str, Answers], curve: list[tuple[float, float]]) -> list:
    """What a report may draw of a model's answers by operator: where it errs, what is right by step and by
    carries; and the loss that was reported."""
    made = []
    for op, answers in found.items():
        a, b = ([problem[place] for problem in answers.problems] for place in (0, 2))
        right = np.array(answers.right)
        made.append(ErrorMap.of(f"Held-out problems a {op} b", a, b, ~right, SIZES[op]))
        made.append(Shares(f"a {op} b: right by step of the answer, digit by digit", by_kind(answers)))
        if op in "+-":
            count = np.array([carries(*problem) for problem in answers.problems])
            name = "carries" if op == "+" else "borrows"
            rows = (
                (f"{k} {name}", float(right[count == k].mean()), int((count == k).sum()))
                for k in np.unique(count)
            )
            made.append(Shares(f"a {op} b: right by the number of {name}", tuple(rows)))
    return [*made, Curves("The loss that was reported while training", "step", "loss", {"loss": curve})]


def by_kind(answers: Answers) -> tuple[tuple[str, float, int], ...]:
    """For each kind of character of the right answers: the share that is right at its place, and how many."""
    found: dict[str, list[bool]] = {}
    for problem, text in zip(answers.problems, answers.written):
        for at, (kind, char) in enumerate(zip(KINDS[answers.op], encode(*problem)[1])):
            places = kind.startswith("digit of")  # from the last one on, which comes first
            name = f"{kind}: {PLACES[at - (answers.op == '-')]}" if places else kind
            if kind not in "*+-=,;":
                found.setdefault(name, []).append(text[at : at + 1] == char)
    return tuple((name, float(np.mean(right)), len(right)) for name, right in found.items())


PLACES = ("units", "tens", "hundreds", "thousands")

QUESTIONS = {
    "digit of the sum": "Do the carries come out wrong? They can be read off only where the last digit "
    "comes first.",
    "sign": "Whether a is less than b is known from the digits before anything is written: are there enough "
    "problems with a < b among those that it trains on?",
    "digit of the difference": "Do the borrows come out wrong, or the differences with a < b?",
    "first partial product": "It is a times the last digit of b: are there enough products in a batch?",
    "second partial product": "It is a times the first digit of b, times ten: its last digit is always 0.",
    "sum": "The two partial products are added, as exercise 2 adds: is their order the one of the contract?",
    "quotient's digit": "How often the divisor goes into the remainder and the next digit is the hardest "
    "token of all: more divisions in each batch, more steps, and a rate that falls late all help.",
    "product": "It is the quotient's digit before it times b.",
    "remainder": "It is what was divided less the product before it.",
    "quotient": "It only has to be copied from the steps: is it among the targets?",
}
MARK = 'The form itself is not learned: are all marks, and the ";" that ends an answer, among the targets?'


def scratchpad_use(shares: dict[str, float]) -> str:
    """How many answers follow a changed digit (training.following), as a line."""
    return (
        f"when a digit of a partial product is changed by force, {shares['*']:.0%} of its products follow, "
        f"and of a remainder, {shares['/']:.0%} of its quotients"
    )


def said_of(answers: Answers) -> list[str]:
    """Lines on the answers of one operator."""
    op, count = answers.op, len(answers.problems)
    line = f"{op}  {answers.exact:.1%} of {count} right"
    if answers.agreeing is not None:
        line += (
            f"; every step right {answers.traces:.1%}; in agreement with its own steps {answers.agreeing:.1%}"
        )
    lines, example = [line], answers.example()
    if example is not None:
        kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in answers.first_wrong()[:3])
        (a, _, b), written, right = example
        lines.append(f"   what is wrong first: {kinds}")
        lines.append(f"   for example {a} {op} {b} must be written {right}")
        lines.append(f"   {' ' * (len(f'{a} {op} {b}') + 4)}and it writes {written}")
    return lines


def diagnosis(found: dict[str, Answers], wanted: float) -> tuple[str, list[str]]:
    """Why a model does not calculate, as far as its answers tell: a message, and lines with the numbers."""
    short = {op: answers for op, answers in found.items() if answers.exact < wanted}
    shares = ", ".join(f"{op} {answers.exact:.1%}" for op, answers in short.items())
    head = (
        f"At least {wanted:.0%} of held-out problems must be right for each operator, and there are {shares}."
    )
    lines = [line for answers in found.values() for line in said_of(answers)]
    if all(answers.exact < 0.02 for answers in found.values()):
        return (
            f"{head} That is no better than an untrained model. Does the loss fall, and is the model that "
            "you return the one that learned?",
            lines,
        )
    starved = [op for op, answers in short.items() if answers.exact < 0.02]
    if starved and len(starved) < len(found):
        return (
            f"{head} Of {' and '.join(starved)} it has learned nothing, though it can do others: how many of "
            "these problems are there in a batch, and how much do they count in the loss?",
            lines,
        )
    worst = min(short.values(), key=lambda answers: answers.exact)
    kind = worst.first_wrong()[0][0]
    return f"{head} With {worst.op} the {kind} is wrong first. {QUESTIONS.get(kind, MARK)}", lines
