"""How the checks look at the calculator: text by its characters, batches by their numbers, a sampler by the
shares of what it draws, `calculate` through test models whose answers are known.
"""

import re

from tests.exercises.battery import function
from tests.exercises.exam import Reading, Subject

VOCABULARY = "0123456789+-*/=,;"
OPERATORS = "+-*/"
LARGEST = {"+": (999, 999), "-": (999, 999), "*": (99, 99), "/": (9999, 99)}
# How an answer is written: d is a digit, s a sign, and every other character itself.
FORMS = {"+": "dddd;", "-": "sddd;", "*": "ddd+dddd=dddd;", "/": 4 * "d*ddd-dd," + "dddd;"}
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
