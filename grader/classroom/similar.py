"""Pairs of hand-ins that have more in common than chance: a place to look, never a verdict.

Winnowing (Schleimer, Wilkerson, Aiken 2003): the text is cut into overlapping runs of tokens, and of each few
neighbouring runs the one with the smallest hash is kept. Names that a file gives itself count as one name, so
renaming changes nothing; comments, strings and line ends are no tokens; runs stay the same where methods
change places. What the stub, the solution and the lecture's code have in them, and what stands in more than a
fifth of the class, is taken out first.

No file is run, and none is parsed by Python, whose parser can be crashed.
"""

import hashlib
import itertools
import keyword
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from grader.classroom.store import GRADED
from grader.classroom.summary import Result
from grader.workbook import REPOSITORY
from tests.exercises import Exercise

RUN = 10  # tokens that are hashed together
WINDOW = 4  # of so many neighbouring runs one is kept: what is common for RUN + WINDOW - 1 tokens is found
COMMON = 0.2  # a run that stands in more of the class says nothing
LEVEL = 0.5  # of what the smaller of two files has of its own, so much is in both
LEAST = 10  # runs that both have; fewer are chance
MOST_PAIRS = 30
RARE = 0.02  # a mistake that no more of the class make, or two of them
LECTURE = ("gpt_core/layers.py", "gpt_core/models.py")  # what a hand-in may have begun from

_TOKEN = re.compile(
    r"(?P<skip>\#[^\n]*|\s+|\\\n)"
    r"|(?P<string>[rRbBfFuU]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|\"(?:\\.|[^\"\\\n]){0,300}\"|'(?:\\.|[^'\\\n]){0,300}'))"
    r"|(?P<name>[^\W\d]\w*)|(?P<number>\d[\w.]*)|(?P<mark>\*\*|//|->|[=!<>+*/@-]=|\S)",
    re.S,
)


@dataclass(frozen=True)
class Pair:
    """Two hand-ins; share: of the smaller one's own runs; lines: of each, those with shared runs on them."""

    one: Result
    other: Result
    share: float
    runs: int
    lines: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Shared:
    """Students who made the same rare mistake."""

    mistake: str
    results: tuple[Result, ...]


def tokens(source: str) -> list[tuple[str, int]]:
    """(token, its line); a name that the file itself gives is "v"."""
    found, line = [], 1
    for match in _TOKEN.finditer(source):
        if match.lastgroup not in ("skip", "string"):
            found.append((match[0], match.lastgroup, line))
        line += match[0].count("\n")
    own = _own_names([token for token, _, _ in found])
    return [("v" if kind == "name" and token in own else token, at) for token, kind, at in found]


def _own_names(words: list[str]) -> set[str]:
    """Names that are assigned, defined, imported as, looped over, or taken as parameters."""
    own, depth, signature = set(), 0, None
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        after = words[at + 1] if at + 1 < len(words) else ""
        if word in "([{":
            depth += 1
        elif word in ")]}":
            depth -= 1
            signature = None if signature is not None and depth < signature else signature
        elif word == "def":
            signature = depth + 1
        elif word.isidentifier() and not keyword.iskeyword(word):
            assigned = after == "=" and depth == 0 or after in ("+=", "-=", "*=", "/=", ":=")
            parameter = signature == depth and before in ("(", ",", "*", "**")
            if assigned or parameter or before in ("def", "as", "for", "lambda"):
                own.add(word)
                # a, b = ..  and  for a, b in ..
                back = at - 1
                while assigned and back > 0 and words[back] == "," and words[back - 1].isidentifier():
                    own.add(words[back - 1])
                    back -= 2
            elif before == "," and depth == 0 and after in (",", "in"):
                own.add(word)
    return own


def runs(source: str) -> dict[str, tuple[int, int]]:
    """The hashes that are kept of a text, each with its first and last line, where it stands first."""
    found = tokens(source)
    hashed = _hashes(found)
    kept: dict[str, tuple[int, int]] = {}
    for start in range(max(len(hashed) - WINDOW + 1, min(len(hashed), 1))):
        at = min(range(start, min(start + WINDOW, len(hashed))), key=lambda place: (hashed[place], -place))
        kept.setdefault(hashed[at], (found[at][1], found[at + RUN - 1][1]))
    return kept


def _hashes(found: list[tuple[str, int]]) -> list[str]:
    """The hash of each run."""
    words = [token for token, _ in found]
    return [
        hashlib.blake2b("\0".join(words[at : at + RUN]).encode("utf-8", "replace"), digest_size=8).hexdigest()
        for at in range(len(words) - RUN + 1)
    ]


def pairs(results: Iterable[Result], exercise: Exercise) -> list[Pair]:
    """The pairs above LEVEL, the most alike first."""
    results = [result for result in results if result.record.status in GRADED and result.record.source]
    known = (exercise.stub_path, exercise.solution_path, *LECTURE)
    # All runs of these, and not only those that winnowing keeps: what stands beside them differs here.
    taken = set().union(*(_hashes(tokens((REPOSITORY / path).read_text(encoding="utf-8"))) for path in known))
    files = [runs(result.record.source) for result in results]
    count = Counter(itertools.chain.from_iterable(files))
    most = max(2, int(COMMON * len(files)))
    own = [{run: at for run, at in file.items() if run not in taken and count[run] <= most} for file in files]
    by_run: dict[str, list[int]] = {}
    for number, file in enumerate(own):
        for run in file:
            by_run.setdefault(run, []).append(number)
    shared: Counter = Counter()
    for numbers in by_run.values():
        shared.update(itertools.combinations(numbers, 2))
    found = []
    for (one, other), many in shared.items():
        share = many / min(len(own[one]), len(own[other]))
        if many >= LEAST and share >= LEVEL and not _same_student(results[one], results[other]):
            both = own[one].keys() & own[other].keys()
            lines = tuple(_lines(own[number][run] for run in both) for number in (one, other))
            found.append(Pair(results[one], results[other], share, many, lines))
    return sorted(found, key=lambda pair: (-pair.share, -pair.runs))[:MOST_PAIRS]


def _same_student(one: Result, other: Result) -> bool:
    """A pair that handed in one file, or a student with two."""
    return one.entry.name == other.entry.name or one.entry.student == other.entry.student


def _lines(spans: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(sorted({line for first, last in spans for line in range(first, last + 1)}))


def rare_mistakes(results: Iterable[Result]) -> list[Shared]:
    """Mistakes that few of the class made, and not one alone."""
    results = [result for result in results if result.record.verdict]
    made: dict[str, list[Result]] = {}
    for result in results:
        for mistake in dict.fromkeys(check["mistake"] for check in result.record.verdict["checks"]):
            if mistake:
                made.setdefault(mistake, []).append(result)
    most = max(2, int(RARE * len(results)))
    rare = [Shared(mistake, tuple(by)) for mistake, by in made.items() if 1 < len(by) <= most]
    return sorted(rare, key=lambda shared: (len(shared.results), shared.mistake))
