"""How the checks look at the calculator: text by its characters, batches by their numbers, a sampler by the
shares of what it draws, `calculate` through test models whose answers are known.
"""

import re
from dataclasses import dataclass

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery import decoding, function, sampling
from tests.exercises.exam import Answer, CheckFailed, Reading, Subject

LOOKS = Looks.named("tests.exercises.calculator.looks")

VOCABULARY = "0123456789+-*/=,;"
OPERATORS = "+-*/"
LARGEST = {"+": (999, 999), "-": (999, 999), "*": (99, 99), "/": (9999, 99)}
# How an answer is written: d is a digit, s a sign, and every other character itself.
FORMS = {"+": "dddd;", "-": "sddd;", "*": "ddd+dddd=dddd;", "/": 4 * "d*ddd-dd," + "dddd;"}
PROMPTS = {"+": "ddd+ddd=", "-": "ddd-ddd=", "*": "dd*dd=", "/": "dddd/dd="}
WIDTH = 48  # tokens of a row
SIDES = {"a": 0, "b": 2}  # the columns of problems that are drawn; 1 is the place of the operator
Problem = tuple[int, str, int]

# What is right.


def backwards(number: int, count: int) -> str:
    """`count` digits of a number, the last one first."""
    return str(number).zfill(count)[::-1]


def encode(a: int, op: str, b: int) -> tuple[str, str]:
    """(prompt, answer) of a problem."""
    widths = [len(str(largest)) for largest in LARGEST[op]]
    prompt = f"{a:0{widths[0]}}{op}{b:0{widths[1]}}="
    if op == "+":
        return prompt, backwards(a + b, 4) + ";"
    if op == "-":
        return prompt, "+-"[a < b] + backwards(abs(a - b), 3) + ";"
    if op == "*":
        parts = backwards(a * (b % 10), 3), backwards(a * (b - b % 10), 4)
        return prompt, f"{'+'.join(parts)}={backwards(a * b, 4)};"
    answer = ""
    for place in (1000, 100, 10, 1):
        so_far = a // place
        digit, rest = so_far // b % 10, so_far % b
        answer += f"{digit}*{backwards(digit * b, 3)}-{backwards(rest, 2)},"
    return prompt, f"{answer}{a // b:04};"


def decode(op: str, answer: str) -> int | tuple[int, int] | None:
    """What an answer says; None for another form."""
    pattern = re.escape(FORMS[op]).replace("d", "[0-9]").replace("s", "[+-]")
    if not re.fullmatch(pattern, answer):
        return None
    if op == "/":
        return int(answer[-5:-1]), int(answer[-8:-6][::-1])
    number = int(answer[-5 + (op == "-") : -1][::-1])
    return -number if op == "-" and answer[0] == "-" else number


# Text.


def encoded(subject: Subject, problems: tuple) -> Reading:
    """{"texts": [[prompt, answer], ..]} of each problem; what else came in the place of such a pair."""
    return {"texts": [list(pair) for pair in function.returned(subject, "encode", (tuple,), problems)]}


def part_of(subject: Subject, part: int, problems: tuple) -> Reading:
    """The prompt (part 0) or the answer (part 1) of each problem; None where there are no two strings."""
    pairs = encoded(subject, problems)["texts"]
    return {
        "parts": [
            pair[part][:200] if len(pair) == 2 and {*map(type, pair)} == {str} else None for pair in pairs
        ]
    }


def decoded(subject: Subject, answers: tuple) -> Reading:
    """The number of each (operator, answer), and of which type it is."""
    found = function.returned(subject, "decode", (int, tuple), answers)
    return {
        "numbers": [[*value] if type(value) is tuple else value for value in found],
        "types": [str([type(part) for part in value]) if type(value) is tuple else "" for value in found],
    }


# Batches.


def tokens(text: str) -> list[int]:
    """The ids of a text."""
    return [VOCABULARY.index(character) for character in text]


def batch(problems: tuple) -> tuple[np.ndarray, np.ndarray]:
    """x and y of make_batch."""
    x = np.full((len(problems), WIDTH + 1), VOCABULARY.index(";"), dtype=np.int64)
    y = np.full((len(problems), WIDTH), -1, dtype=np.int64)
    for row, problem in enumerate(problems):
        prompt, answer = encode(*problem)
        x[row, : len(prompt + answer)] = tokens(prompt + answer)
        y[row, len(prompt) - 1 : len(prompt + answer) - 1] = tokens(answer)
    return x[:, :WIDTH], y


def made_batch(subject: Subject, problems: tuple) -> Reading:
    """x and y, (B, 48) each."""
    answer, shape = subject.run(LOOKS("made_batch", problems=problems)), (len(problems), WIDTH)
    return {key: answer.tensor(key, shape, f"{key} of make_batch", "int64", "cpu") for key in ("x", "y")}


def split_batch(part: str, problems: tuple, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A part of a batch. "problem": of each row of x what the form has; "padding": what stands behind it;
    "places": where y counts; "targets": y where it should count."""
    if part in ("places", "targets"):
        return y != -1 if part == "places" else y[batch(problems)[1] != -1]
    own = np.arange(WIDTH) < np.array([[len("".join(encode(*problem)))] for problem in problems])
    return x[own if part == "problem" else ~own]


def part_of_batch(subject: Subject, part: str, problems: tuple) -> Reading:
    """A part of what make_batch gives."""
    return {"part": split_batch(part, problems, **made_batch(subject, problems))}


def batch_kept(subject: Subject, problems: tuple) -> Reading:
    """Whether the list of problems is as it was."""
    answer = subject.run(LOOKS("made_batch", problems=problems))
    return {"the list of problems": answer.plain("problems") == [list(problem) for problem in problems]}


# The sampler.


def drawn(subject: Subject, count: int, calls: int = 1, seed: int = 3) -> np.ndarray:
    """(count * calls, 3) int64: a, the place of the operator in OPERATORS, and b, of `calls` calls with one
    generator, in a row. Once, since most checks of the sampler look at the same large draw."""
    answer = subject.run(
        LOOKS("drawn", count=count, calls=calls, seed=seed, once=True, seconds=sampling.SECONDS)
    )
    asked = f"sample_problems({count}, generator) must give a list of {count} tuples of int, str and int"
    if wrong := answer.plain("wrong"):
        raise CheckFailed(f"{asked}; yours gives {str(wrong)[:120]}.", same=("form", str(wrong)[:120]))
    sizes = answer.array("sizes")
    if sizes is None or (sizes != count).any():
        came = "other numbers of them" if sizes is None else int(sizes[(sizes != count).argmax()])
        raise CheckFailed(f"{asked}; yours gives {came}.", same=("count",))
    return answer.tensor("problems", (count * calls, 3), "the problems", "int64")


def held_out(reference: Subject, problems: np.ndarray) -> np.ndarray:
    """(N,) bool: is_held_out of data.arithmetic, as the reference's worker computes it; False outside of the
    ranges."""
    inside = ~outside(problems).any(axis=1)
    held = np.zeros(len(problems), dtype=bool)
    if inside.any():
        answer = reference.run(LOOKS("held_out", problems=problems[inside]))
        held[inside] = answer.tensor("held", (int(inside.sum()),), "is_held_out", "bool")
    return held


def outside(problems: np.ndarray) -> np.ndarray:
    """(N, 3): whether a, the operator or b is outside of its range."""
    a, ops, b = problems.T
    largest = np.array([LARGEST[op] for op in OPERATORS])[ops]
    least = ops == OPERATORS.index("/")
    return np.stack([(a < 0) | (a > largest[:, 0]), ops < 0, (b < least) | (b > largest[:, 1])], axis=1)


def first_of(problems: np.ndarray, chosen: np.ndarray) -> list | None:
    """The first problem that is chosen, [a, operator, b]."""
    if not chosen.any():
        return None
    a, op, b = problems[chosen.argmax()].tolist()
    return [a, OPERATORS[op], b]


def outside_ranges(subject: Subject, count: int) -> Reading:
    """Which numbers of which operators are below or above their range; "?" for other operators."""
    problems, found = drawn(subject, count), set()
    for (a, op, b), (of_a, of_op, of_b) in zip(problems.tolist(), outside(problems).tolist()):
        name = "?" if of_op else OPERATORS[op]
        found |= {name} if of_op else set()
        found |= {f"a of {name} {'above' if a > 0 else 'below'}"} if of_a else set()
        found |= {f"b of {name} {'above' if b > 1 else 'below'}"} if of_b else set()
    return {"outside": sorted(found)}


def held_out_shares(subject: Subject, reference: Subject, count: int) -> Reading:
    """Of each operator, how many of the draws are held out: of those with a <= b, and of the others."""
    problems = drawn(subject, count)
    held, (a, ops, b) = held_out(reference, problems), problems.T
    shares = {
        f"{op}{order}": float(held[mask].mean()) if (mask := (ops == place) & which).any() else 0.0
        for place, op in enumerate(OPERATORS)
        for order, which in (("", a <= b), (" swapped", a > b))
    }
    return {"shares": list(shares.values()), "example": first_of(problems, held)}


def seeds(subject: Subject, count: int) -> Reading:
    """What the generator decides."""

    def form(answer: Answer, key: str):
        return answer.plain(key)

    return function.draws(subject, "sample_problems", (count,), None, form, sampling.SECONDS)


def small_draws(subject: Subject, reference: Subject) -> Reading:
    """SMALL_CALLS draws of one problem each: for sampling.check_small_calls."""
    answer = subject.run(
        LOOKS("drawn", count=1, calls=sampling.SMALL_CALLS, seed=7, seconds=2 * sampling.SECONDS)
    )
    problems = answer.array("problems")
    held, different = held_out(reference, problems), np.unique(problems, axis=0)
    return {
        "short": int((answer.array("sizes") < 1).sum()),
        "held_out": int(held.sum()),
        "example": first_of(problems, held),
        "again": len(problems) - len(different),
    }


PARTS = 100  # of a range, of which each is counted


def operators(subject: Subject, count: int) -> Reading:
    """How often each operator comes."""
    return {"operators": np.bincount(drawn(subject, count)[:, 1].clip(0), minlength=4)[:4]}


def counts(subject: Subject, count: int) -> Reading:
    """How often each operator comes, and of each operator and side each hundredth of its range, each last
    digit, and the ends of the range; and of each operator which operand is larger."""
    problems = drawn(subject, count)
    ops = problems[:, 1]
    found = {"operators": np.bincount(ops, minlength=4)[:4]}
    for place, op in enumerate(OPERATORS):
        for side, column in SIDES.items():
            numbers = problems[ops == place, column]
            found |= cells(f"{side} of {op}", np.bincount(numbers, minlength=LARGEST[op][column // 2] + 1))
        a, _, b = problems[ops == place].T
        found[f"a up to b and above of {op}"] = np.bincount((a > b).astype(int), minlength=2)
    return found


def cells(name: str, table: np.ndarray) -> dict[str, np.ndarray]:
    """The cells in which numbers are counted, out of how often each number comes."""
    numbers = np.arange(len(table))
    parts = np.bincount(numbers * PARTS // len(table), weights=table)
    return {
        name: parts,
        f"the last digit of {name}": np.bincount(numbers % 10, weights=table),
        f"the ends of {name}": table[[0, -1]],
    }


def pools(reference: Subject) -> dict[str, np.ndarray]:
    """The shares that `counts` should have, by its keys."""
    answer = reference.run(LOOKS("pools"))
    found = {"operators": np.full(4, 0.25)}
    for op in OPERATORS:
        for side in SIDES:
            found |= cells(f"{side} of {op}", answer.array(f"{op}{side}"))
        found[f"a up to b and above of {op}"] = answer.array(f"{op}order")
    return found


def different(subject: Subject, count: int) -> Reading:
    """Of each operator, how many problems were drawn, how many of them are different, and how many in
    whatever order."""
    problems, found = drawn(subject, count), {}
    for place, op in enumerate(OPERATORS):
        a, _, b = problems[problems[:, 1] == place].T
        low, high = np.minimum(a, b), np.maximum(a, b)
        found[op] = [len(a), len(np.unique(10000 * a + b)), len(np.unique(10000 * low + high))]
    return found


def dependence(subject: Subject, count: int, calls: int) -> Reading:
    """The strongest correlation of operators, a and b, in standard deviations, and of which; and how evenly
    the operators come in each call, as chi-square."""
    problems = drawn(subject, count, calls)
    a, ops, b = problems.T
    largest = np.array([LARGEST[op] for op in OPERATORS])[ops]
    least = ops == OPERATORS.index("/")
    series = {"a": a / largest[:, 0], "b": (b - least) / (largest[:, 1] - least), "operator": ops}
    strongest, where = sampling.strongest(series)
    each = (ops.reshape(calls, count, 1) == np.arange(4)).sum(axis=1)
    return {
        "strongest": strongest,
        "where": where,
        "spread": float(((each - count / 4) ** 2).sum() / (count / 4)),
    }


# Answers.


@dataclass(frozen=True)
class Asking:
    """A call of `calculate` with a test model.

    text: what it is given. form: what the test model writes, as in FORMS (other marks stand for themselves):
    the digits and signs that win, by `margin`, depend on all that it was given.
    """

    text: str
    form: str = ""
    seed: int = 0
    margin: float = 40.0

    @property
    def problem(self) -> Problem:
        a, op, b = re.split(r"([-+*/])", self.text.replace(" ", ""))
        return int(a), op, int(b)

    @property
    def op(self) -> str:
        return self.problem[1]

    @property
    def prompt(self) -> str:
        return encode(*self.problem)[0]

    def arguments(self) -> dict:
        """What calculate takes after the model."""
        return {"text": self.text}

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """steps and table of the test model, which takes 48 tokens."""
        form, first = self.form or FORMS[self.op], len(self.prompt) - 1

        def winners(rng):
            found = rng.integers(0, len(VOCABULARY), size=(WIDTH, decoding.STATES))
            for place, mark in enumerate(form, first):
                among = {"d": range(10), "s": tokens("+-")}.get(mark) or tokens(mark)
                found[place] = rng.choice(among, size=decoding.STATES)
            return found

        rng = np.random.default_rng((self.seed, 23))
        return decoding.tables_of(rng, WIDTH, len(VOCABULARY), winners, self.margin)

    def written(self) -> str:
        """What the model writes, up to ";" or the length of an answer."""
        prompts = np.array([tokens(self.prompt)])
        [ids] = decoding.written(*self.tables(), prompts, len(FORMS[self.op]))
        return re.match("[^;]*;?", "".join(VOCABULARY[id] for id in ids))[0]

    def result(self) -> str:
        """What calculate gives."""
        number = decode(self.op, self.written())
        return "?" if number is None else "{} r {}".format(*number) if self.op == "/" else str(number)

    def as_case(self, **more) -> dict:
        """For the report and the JSON."""
        return {"text": self.text, "the model writes": self.written()} | more


@dataclass(frozen=True)
class Calculate(decoding.Unit):
    """calculate: its result is a text."""

    name: str = "calculate"
    what: str = "a problem"
    token: str = "token"

    def form(self, subject, answer, key, case):
        value = answer.plain(key)
        if not isinstance(value, str):
            raise CheckFailed(
                f"calculate(model, {case.text!r}) must give a str; it gives {str(value)[:60]!r}.",
                same=("kind",),
            )
        return value[:200]


CALCULATE = Calculate()


def results(subject: Subject, asks: tuple) -> Reading:
    """The result of each call."""
    return {"results": [decoding.answers(subject, CALCULATE, case)["answers"] for case in asks]}


def seen(subject: Subject, case: Asking) -> list[str]:
    """The tokens that each call of the model was given, as text; "?" for what is no token."""
    calls = decoding.calls(subject, CALCULATE, case)
    return [
        "".join(VOCABULARY[t] if 0 <= t < len(VOCABULARY) else "?" for t in call["tokens"][0])
        for call in calls
    ]


def prompts(subject: Subject, asks: tuple) -> Reading:
    """Of each call of calculate the different beginnings, as long as a prompt, that the model was given."""
    return {
        "prompts": [sorted({text[: len(case.prompt)] for text in seen(subject, case)})[:20] for case in asks]
    }


def feedback(subject: Subject, case: Asking) -> Reading:
    """What each call of the model saw behind the prompt, as far as something was written."""
    first = len(case.prompt)
    return {"seen": [text[first : first + k] for k, text in enumerate(seen(subject, case))]}


def call_counts(subject: Subject, asks: tuple) -> Reading:
    """How often the model was called in each call of calculate."""
    return {"calls": [len(seen(subject, case)) for case in asks]}


def refusals(subject: Subject, texts: tuple) -> Reading:
    """What comes of texts that are no problem, and whether the model's mode is as it was."""
    steps, table = Asking("1+2").tables()
    answer = subject.run(LOOKS("refused", steps=steps, table=table, texts=texts))
    return {"came": [answer.outcome(str(i)) for i in range(len(texts))]} | {
        key: answer.plain(key) for key in ("kept", "silent")
    }


def refused_modes(subject: Subject, texts: tuple) -> Reading:
    """Whether the model's mode is as it was, for each text that is no problem."""
    return {"kept": refusals(subject, texts)["kept"]}
