"""Exercise 2's problems as text and as batches, that are in another format: which digits stand where, and
which of them are targets.

Tokens are exact: a fit gives every one of them. A problem is written in the contract's format with one thing
changed, and a batch is such problems, with targets that are shifted or masked in another way.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from grader.judge.fits import Fit
from grader.judge.fits.shared import known
from tests.exercises.ex2.readings import VOCABULARY
from tests.exercises.exam import Numbers


@dataclass(frozen=True)
class Format:
    """How a problem is written; the contract's as it stands.

    first, second: the operands. reversed_: which of them have their units first. pad: what stands where
    digits are missing, pads: whose. width: digits of an operand beyond n, or (as `fixed`) in all. The answer
    has n + `more` digits, or as many as it takes; it is padded before or after it is reversed.
    """

    first: str = "a"
    second: str = "b"
    reversed_: str = ""
    pad: str = "0"
    pads: str = "ab"
    behind: bool = False
    width: int = 0
    fixed: int | None = None
    plus: str = "+"
    equals: str = "="
    answer_reversed: bool = True
    more: int | None = 1
    answer_pad: str = "0"
    padded_after: bool = False
    carry: bool = True

    def write(self, a: int, b: int, n: int) -> str:
        numbers = {"a": a, "b": b}
        first, second = (self._operand(which, numbers[which], n) for which in (self.first, self.second))
        return f"{first}{self.plus}{second}{self.equals}{self._answer(a + b, n)}"

    def _operand(self, which: str, number: int, n: int) -> str:
        text = str(number)
        if which in self.pads:
            missing = self.pad * ((n + self.width if self.fixed is None else self.fixed) - len(text))
            text = text + missing if self.behind else missing + text
        return text[::-1] if which in self.reversed_ else text

    def _answer(self, total: int, n: int) -> str:
        text = str(total if self.carry else total % 10**n)
        missing = "" if self.more is None else self.answer_pad * (n + self.more - len(text))
        if self.padded_after:
            return missing + text[::-1]
        text = missing + text
        return text[::-1] if self.answer_reversed else text


RIGHT = Format()
# Of operands: what is changed, the id in a text and in a batch (None: no batch can have it), and the name.
OPERANDS = (
    ({"reversed_": "ab"}, "operands_reversed", "batch_operands_reversed", "a and b are reversed too"),
    ({"reversed_": "a"}, "one_operand_reversed", "one_operand_reversed", "a is reversed too"),
    ({"reversed_": "b"}, "one_operand_reversed", "one_operand_reversed", "b is reversed too"),
    ({"first": "b", "second": "a"}, "operands_swapped", "operands_swapped", "b stands before a"),
    ({"second": "a"}, "operand_twice", "batch_a_twice", "a stands in the place of b"),
    ({"first": "b"}, "operand_twice", "operand_twice", "b stands in the place of a"),
    ({"behind": True}, "zeros_behind", "zeros_behind", "the zeros stand behind a and b, not in front"),
    ({"pads": ""}, "operands_not_padded", None, "a and b are not padded with zeros"),
    ({"pads": "a"}, "only_a_padded", None, "b is not padded with zeros"),
    ({"pads": "b"}, "only_b_padded", None, "a is not padded with zeros"),
    ({"pad": " "}, "operands_padded_with_spaces", None, "a and b are padded with spaces"),
    ({"plus": "", "equals": "="}, "plus_missing", None, '"+" is missing'),
    ({"plus": " + "}, "spaces_around_symbols", None, "there are spaces around the symbols"),
    ({"plus": " + ", "equals": " ="}, "spaces_around_symbols", None, "there are spaces around the symbols"),
    ({"plus": "=", "equals": "+"}, "symbols_swapped", "batch_symbols_swapped", '"+" and "=" are swapped'),
    *(
        ({"width": more}, "operands_padded_to_another_length", None, f"a and b are padded to n {sign} digits")
        for more, sign in ((1, "+ 1"), (2, "+ 2"), (-1, "- 1"))
    ),
    *(
        (
            {"fixed": digits},
            "operands_padded_to_another_length",
            None,
            f"a and b are padded to {digits} digits, whatever n_digits is",
        )
        for digits in range(2, 10)
    ),
    *(
        ({"pad": char}, "operands_padded_with_another", None, f"a and b are padded with {char!r}")
        for char in "_.-*x#"
    ),
)
ANSWERS = (
    (
        {"answer_reversed": False},
        "answer_not_reversed",
        "batch_not_reversed",
        "the sum is written with its first digit first",
    ),
    ({"more": None}, "answer_not_padded", None, "the sum is not padded to n + 1 digits"),
    ({"more": 0}, "answer_padded_to_n", None, "the sum is padded to n digits instead of n + 1"),
    ({"more": 2}, "answer_padded_too_far", None, "the sum is padded to n + 2 digits, not to n + 1"),
    ({"more": 3}, "answer_padded_too_far", None, "the sum is padded to n + 3 digits, not to n + 1"),
    (
        {"padded_after": True},
        "padded_after_reversing",
        "zeros_before_the_units",
        "the sum is padded after it is reversed",
    ),
    ({"answer_pad": " "}, "answer_padded_with_spaces", None, "the sum is padded with spaces"),
    ({"equals": "= "}, "spaces_around_symbols", None, "there are spaces around the symbols"),
    ({"carry": False, "more": 0}, "top_carry_dropped", None, "the last carry of the sum is dropped"),
    (
        {"carry": False},
        "top_digit_always_zero",
        "top_carry_dropped_in_batch",
        "the last carry of the sum is replaced by a zero",
    ),
)
WHY = {
    "one_operand_reversed": "One of the two operands has its units first. The contract reverses the sum "
    "alone: a and b are written as one reads them.",
    "operands_swapped": "The sum is the same, and the problem is another one: the contract writes a, then b. "
    "Held-out pairs and answers would be read the wrong way round.",
    "operand_twice": "One operand is written twice and the other one never, while the answer is that of a + "
    "b: no model could find it. Look at the names in the line that joins the parts.",
    "zeros_behind": "You fill up behind the number, so that 7 with three digits reads 700. Zeros in front "
    'leave a number what it is: f"{a:0{n_digits}d}" or zfill.',
    "only_b_padded": 'You pad b to n_digits and leave a as it is. Both have n digits, so that "+" always '
    "stands at the same place.",
    "plus_missing": 'You write the two numbers one behind the other. "+" is a token of the vocabulary and '
    "stands between them.",
    "spaces_around_symbols": "You write the problem with spaces, and the vocabulary has none. Nothing but "
    'digits, one "+" and one "=" stand in it.',
    "symbols_swapped": '"+" stands between the numbers and "=" in front of the answer; yours are the other '
    "way round.",
    "operands_padded_to_another_length": "Both operands have exactly n_digits digits, so that every problem "
    "of one n_digits has the same length. Which width do you pad to?",
    "operands_padded_with_another": "You pad with a character that is not in the vocabulary. Pad with zeros: "
    "0 in front of the width, or zfill.",
    "answer_padded_too_far": "Two numbers of n digits have a sum of at most n + 1: further zeros are tokens "
    "that say nothing, and problems get longer than 3n + 3. Pad to n_digits + 1.",
    "zeros_before_the_units": "You reverse first and pad then, so the zeros stand in front of the units. Pad "
    "to n_digits + 1 digits, then reverse.",
    "answer_padded_with_spaces": "You pad the sum with spaces, and the vocabulary has none. Pad with zeros "
    "to n_digits + 1 digits, before you reverse.",
}


def _fit(id: str, name: str) -> Fit:
    return Fit(id, name, WHY[id]) if id in WHY else known("ex2", id, name)


def of_text(numbers: Numbers) -> list[Fit]:
    """kind "text": the part facts["part"], "problem" or "answer", of each of facts["problems"], (a, b, n)."""
    part, problems = numbers.facts["part"], numbers.facts["problems"]
    if numbers.expected.shape != numbers.got.shape or (numbers.expected == numbers.got).all():
        return []
    found = []
    for changes, id, _, name in OPERANDS if part == "problem" else ANSWERS:
        form = replace(RIGHT, **changes)
        if all(part_of(form.write(*one), part) == came for one, came in zip(problems, numbers.got)):
            found.append(_fit(id, name))
    return found


def part_of(text: str, part: str) -> str:
    """What stands before the first "=" of an encoded problem, or what stands after it."""
    problem, _, answer = text.partition("=")
    return problem if part == "problem" else answer


# Batches.


def of_batch(numbers: Numbers) -> list[Fit]:
    """kind "tokens": x and y of make_batch, (2, B, 3n + 2), for the numbers a and b of n_digits in facts."""
    expected, (x, y) = numbers.expected, numbers.got
    a, b, n = (numbers.facts[key] for key in ("a", "b", "n_digits"))
    if expected.shape != numbers.got.shape or (expected == numbers.got).all():
        return []
    found = []
    for fit, form in _formats():
        rows = _rows(form, a, b, n)
        if rows is None or not (x == rows[:, :-1]).all():
            continue
        for what in _targets(rows, y, n):
            if fit is None or what is None:
                found += [one for one in (fit, what) if one is not None]
    return found


def _formats() -> Iterator[tuple[Fit | None, Format]]:
    yield None, RIGHT
    for changes, _, id, name in (*OPERANDS, *ANSWERS):
        if id is not None:
            yield _fit(id, f"{name}, in the batch"), replace(RIGHT, **changes)


def _rows(form: Format, a, b, n: int) -> np.ndarray | None:
    """(B, 3n + 3) tokens; None where the texts have other lengths or characters."""
    texts = [form.write(int(i), int(j), n) for i, j in zip(a, b)]
    if any(len(text) != 3 * n + 3 or set(text) - set(VOCABULARY) for text in texts):
        return None
    return np.array([[VOCABULARY.index(char) for char in text] for text in texts])


def _targets(rows: np.ndarray, y: np.ndarray, n: int) -> Iterator[Fit | None]:
    """What makes these targets of rows of tokens (B, 3n + 3): None where they are right."""
    width, right = y.shape[1], set(range(2 * n + 1, 3 * n + 2))
    for shift in (1, 0, 2, 3, -1):
        hits = {
            place
            for place in range(width)
            if 0 <= place + shift <= width and (y[:, place] == rows[:, place + shift]).all()
        }
        # Where the shift goes beyond the row, its beginning may have come round (torch.roll).
        ends = [place for place in range(width) if not 0 <= place + shift <= width and place not in hits]
        rolled = {p for p in ends if (y[:, p] == rows[:, (p + shift) % rows.shape[1]]).all()}
        others = y[:, sorted(set(range(width)) - hits - rolled)]
        values = np.unique(others)
        if len(values) > 1:
            continue
        value = int(values[0]) if len(values) else -1
        if shift == 1:
            if hits == right and value == -1:
                yield None
            elif hits == right:
                yield _masked_by(value)
            elif value == -1:
                yield _places(hits, n)
        else:
            reach = {place for place in range(width) if 0 <= place + shift <= width}
            moved = set(range(2 * n + 2 - shift, width))
            if value == -1 and hits in (right & reach, moved & reach) and hits:
                yield _shifted(shift)


def _masked_by(value: int) -> Fit:
    name = f"masked targets are {value}"
    if value in (-100, 0):
        return known("ex2", "mask_minus_100" if value else "mask_zero", name)
    return Fit(
        "mask_value",
        f"{name}, not -1",
        f"You write {value} where no loss is to be taken. masked_loss, gpt_core and the contract leave out "
        "targets of -1 and nothing else, so that yours would count as a token.",
    )


def _shifted(shift: int) -> Fit:
    if shift == 0:
        return known("ex2", "targets_not_shifted", "the targets are the tokens themselves, not the next ones")
    if shift < 0:
        return Fit(
            "targets_shifted_back",
            "the targets are the tokens before, not the next ones",
            "Target t is token t - 1 in yours: the model would learn to repeat what it has just read. x "
            "leaves out the last token, tokens[:, :-1], and y the first, tokens[:, 1:].",
        )
    return Fit(
        "targets_shifted_too_far",
        f"the targets are shifted by {shift} places, not by 1",
        f"Target t is token t + {shift} in yours, so that the model skips the digit that comes next. It is "
        "shifted once where x is cut off, and once where y is: x = tokens[:, :-1] and y = tokens[:, 1:].",
    )


def _places(hits: set[int], n: int) -> Fit | None:
    """The fit for targets at these places, where all others are masked."""
    width, first = 3 * n + 2, 2 * n + 1
    right = set(range(first, width))
    begin, end = min(hits, default=width), max(hits, default=-1) + 1
    operands = {place for place in range(width) if place not in (n - 1, 2 * n)}
    if hits == operands:
        return known("ex2", "operands_are_targets", "the digits of the problem are targets too")
    if hits == right | {n - 1}:
        return known("ex2", "plus_is_target", '"+" is a target too')
    if not hits:
        return Fit(
            "everything_masked",
            "no target counts: the mask covers the answer too",
            "Every target is -1, so that the loss is 0 and nothing is learned. The mask ends in front of "
            'the target under "=": y[:, : 2 * n_digits + 1].',
        )
    if hits == set(range(width)) - right:
        return Fit(
            "mask_inverted",
            "the problem is taught, and the answer is masked",
            "The mask is the other way round: the digits of the problem are random and cannot be learned, "
            'and the answer is. Put -1 in front of the target under "=", and leave the others.',
        )
    if hits != set(range(begin, end)):
        return None
    if end == width:
        return _begin(begin, n)
    if begin == first:
        missing = width - end
        if missing == 1:
            return known("ex2", "last_target_missing", "the last digit of the answer is no target")
        return Fit(
            "targets_end_early",
            f"the last {missing} digits of the answer are no targets",
            "The mask covers the end of the answer, so that its high digits are never learned. All n + 1 "
            "digits of the answer are targets, up to the last place of y.",
        )
    if end - begin == len(right):
        moved = first - begin
        return Fit(
            "targets_moved",
            f"the targets that count begin and end {_count(moved)} early",
            "As many targets count as should, and they stand too early: the last digits of the answer are "
            'never taught. The first target that counts stands under "=", at 2 * n_digits + 1.',
        )
    return None


def _count(places: int) -> str:
    return ("one place", "two places", "three places")[places - 1] if places <= 3 else f"{places} places"


def _begin(begin: int, n: int) -> Fit:
    """The fit for targets from `begin` to the end."""
    first = 2 * n + 1
    exactly = {
        first + 1: ("targets_one_late", "the targets begin one place late"),
        first - 1: ("targets_one_early", 'the targets begin one place early: "=" is a target'),
        0: ("nothing_masked", "every token is a target"),
        n: ("only_a_masked", "the digits of b are targets too"),
    }
    if begin in exactly:
        return known("ex2", *exactly[begin])
    if begin == first - 2:
        return Fit(
            "mask_without_symbols",
            'the mask is that of a format without "+" and "="',
            'You mask 2n - 1 targets. That is right for two numbers without symbols between them; "+" and '
            '"=" are tokens too, so that the last digit of b and "=" are targets in yours. Mask 2n + 1.',
        )
    late = begin - first
    if late > 0:
        return Fit(
            "targets_late",
            f"the targets begin {_count(late)} late",
            f"The first {_count(late).split()[0]} digits of the answer are never taught. The first target "
            'that counts stands under "=", at place 2 * n_digits + 1.',
        )
    return Fit(
        "targets_early",
        f"the targets begin {_count(-late)} early",
        "Digits of the problem are targets too. They are random: most of the loss can never fall. The first "
        'target that counts stands under "=", at place 2 * n_digits + 1.',
    )


def of_ahead(numbers: Numbers) -> list[Fit]:
    """kind "ahead": how many places after a token the one stands that it is taught, in exercise 3."""
    ahead = int(numbers.got[0])
    if ahead == 0:
        return [known("ex3", "target_is_the_same_token", "a token is taught itself")]
    if ahead == 2:
        return [known("ex3", "target_two_ahead", "a token is taught the one after the next")]
    if ahead < 2:
        return []
    return [
        Fit(
            "target_further_ahead",
            f"a token is taught the one {ahead} places on, not the next",
            f"y is {ahead} places ahead of x, so that the model never learns which character comes next. x "
            "is row[:-1] and y is row[1:]. Where is the shift made more than once?",
        )
    ]
