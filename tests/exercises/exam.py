"""The terms of the checks: a subject that answers, a check that a learner reads, and a failure that says what
was expected.

A check looks at a subject through a small function, `look(subject, *case) -> reading`, a dict of arrays
and plain values. The same look is taken at the attempt, at the reference (what is right) and at each known
mistake, so one function serves the verdict and the diagnosis.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import hypothesis
import numpy as np

Reading = dict
SHRINKS = 20


@dataclass(frozen=True)
class Location:
    """Where in a check the attempt is looked at, so that one case can be looked at again
    (grader/learner/replay.py).

    look: the number of calls of Exam.observe so far. series and case: which for_all had drawn which case;
    the looks are then counted from there.
    """

    look: int = 0
    series: int = 0
    case: object = None


class CaseOver(BaseException):
    """Ends a replay after its one case; not an Exception, which a check may catch."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a failed check expected and what came, from which the mistake may be read off (grader/judge/fits).

    kind:     what the numbers are; the families of fits are listed by it.
    allowed:  how far two right results may lie apart.
    facts:    sizes and parameters by the names of the contract: D, C, H, T, p, base, ..
    """

    kind: str
    expected: np.ndarray
    got: np.ndarray
    allowed: float = 0.0
    facts: dict = field(default_factory=dict)


class CheckFailed(Exception):
    """A check's verdict on an attempt.

    message: what was expected and the question that leads to the fix, then what came instead.
    details: further lines: where the output is wrong, the learner's lines.
    same:    equal for two subjects that fail in the same way without giving numbers.
    words:   of an exception: its type and message, which tell apart two that are of one kind.
    numbers: what was expected and what came, where a mistake may be read off them.
    shown:   what a report may draw (tests/exercises/shown.py).
    """

    def __init__(
        self,
        message: str,
        details: list[str] | None = None,
        same=None,
        words="",
        unfinished=False,
        mistake=None,
        numbers: Numbers | None = None,
        shown: tuple = (),
    ):
        super().__init__(message)
        self.message, self.details, self.numbers, self.shown = message, details or [], numbers, shown
        self.same, self.words = same, words
        self.unfinished = unfinished  # NotImplementedError: the stub, or a part of it
        self.case: dict | None = None
        self.mistake: str | None = mistake  # where the check itself can name it
        self.location: Location | None = None


def fail(case: dict, message: str, *details: str | list[str], **more):
    """A failed check with its case and the lines that show where it is wrong."""
    lines = [line for item in details for line in (item if isinstance(item, list) else [item])]
    failure = CheckFailed(message, lines, **more)
    failure.case = case
    raise failure


def more_patience() -> str:
    """The setting for a slow machine: three times the patience of this grade (grader/judge/host.py)."""
    return f"GRADE_PATIENCE={3 * float(os.environ.get('GRADE_PATIENCE', '1')):g}"


def look(exam: "Exam", case: dict, function, *arguments, **options):
    """Look at the attempt; a failure on the way carries the case."""
    try:
        return exam.observe(function, *arguments, **options)
    except CheckFailed as failure:
        failure.case = failure.case or case
        raise


def check(id: str, title: str, after: tuple[str, ...] = ()):
    """Mark a test function as the check `id`, shown as `title`, run only where all of `after` passed."""

    def mark(function):
        function.check = (id, title, after)
        return function

    return mark


@dataclass
class Answer:
    """What a subject gave back for a look: described values and their numbers."""

    values: dict
    arrays: dict[str, np.ndarray]

    def plain(self, name: str):
        """A JSON value, or a dict of them."""
        return self._plain(self.values[name])

    def _plain(self, value: dict):
        if value["kind"] == "dict":
            return {key: self._plain(item) for key, item in value["items"].items()}
        if value["kind"] in ("list", "tuple"):
            return [self._plain(item) for item in value["items"]]
        return value.get("value")

    def tensor(self, name: str, shape: tuple, what: str, dtype="float32", device=None) -> np.ndarray:
        """The numbers of a tensor that must have this shape and dtype; CheckFailed says what it is
        instead."""
        value = self.values[name]
        wanted = f"{what} must be a tensor of shape {tuple(shape)} and dtype {dtype}"
        came = describe(value)
        if value["kind"] != "tensor" or value.get("layout") != "strided" or value["device"] == "meta":
            forgotten = (
                " Does your function end in a return?"
                if value["kind"] == "plain" and value["value"] is None
                else ""
            )
            raise CheckFailed(
                f"{wanted}; it is {came}.{forgotten}", same=("kind", value["kind"], value.get("layout"))
            )
        if tuple(value["shape"]) != tuple(shape):
            raise CheckFailed(
                f"{wanted}; its shape is {tuple(value['shape'])}. Which dimension got lost or swapped?",
                same=("shape", tuple(value["shape"])),
            )
        if value["dtype"] != dtype:
            raise CheckFailed(f"{wanted}; its dtype is {value['dtype']}.", same=("dtype", value["dtype"]))
        if device is not None and value["device"] != device:
            raise CheckFailed(f"{wanted}, on {device}; it is on {value['device']}.", same=("device",))
        array = self.arrays.get(value.get("sent"))
        # The description and the numbers come from the same untrusted side.
        if array is None or array.shape != tuple(shape):
            raise CheckFailed(f"{wanted}; its numbers did not arrive.", same=("numbers",))
        return array

    def outcome(self, name: str) -> str:
        """An outcome in words: "ValueError", "raises X" for another exception, or "returns .."."""
        items = self.values[name]["items"]
        if "raised" not in items:
            return f"returns {describe(items['value'])}"
        kinds = [item.get("value") for item in items["raised"]["items"]]
        return "ValueError" if "ValueError" in kinds else f"raises {str(kinds[0])[:60]}"

    def array(self, name: str) -> np.ndarray | None:
        """The numbers of a tensor of any form; None where it is no tensor or they were not sent."""
        return self.arrays.get(self.values[name].get("sent"))

    def tensors(self, name: str) -> dict[str, np.ndarray | None]:
        """A dict of tensors as their numbers; None where the value is no tensor."""
        value = self.values[name]
        if value["kind"] != "dict":
            raise CheckFailed(f"{name} is {describe(value)}; expected a dict of tensors.", same=("kind",))
        return {key: self.arrays.get(item.get("sent")) for key, item in value["items"].items()}


def describe(value: dict) -> str:
    """A described value in words."""
    kind = value["kind"]
    if kind == "plain":
        return repr(value["value"])[:80]
    if kind in ("list", "tuple"):
        return f"a {kind} of {value['length']}"
    if kind == "dict":
        return "a dict"
    if kind == "tensor subclass":
        return f"a subclass of torch.Tensor, {value['type']}"
    if kind == "object":
        return f"an object of type {value['type']}"
    words = f"a {value['dtype']} tensor of shape {tuple(value['shape'])}"
    if value["layout"] != "strided":
        words += f" in the {value['layout']} layout"
    return words + f" on {value['device']}"


@dataclass
class Subject:
    """One implementation under examination: the attempt, the reference, or a known mistake.

    role: "attempt", "reference" (the per-head baseline where a check compares with it) or "mistake".
    ask:  asks for a look: (asked, seed) -> Answer; raises CheckFailed where the code failed.
    """

    role: str
    ask: Callable
    device: str = "cpu"
    gave_nan: bool = False  # whether there was NaN in an answer

    def run(self, asked, seed: int = 0) -> Answer:
        """The answer to a look; torch's generators are seeded with `seed` before it."""
        answer = self.ask(asked, seed)
        numbers = (array for array in answer.arrays.values() if array.dtype.kind == "f")
        self.gave_nan = self.gave_nan or any(bool(np.isnan(array).any()) for array in numbers)
        return answer


@dataclass(eq=False)
class Evidence:
    """A look and what it gave, so that another subject can be looked at in the same way.

    names: what the look took of the graded module. trains: whether it asked for a training run.
    """

    look: Callable
    case: tuple
    reading: Reading | CheckFailed
    same: Callable
    seconds: float = 0.0
    names: frozenset[str] = frozenset()
    trains: bool = False
    gave_nan: bool = False

    def shown_by(self, subject: Subject) -> bool:
        """Whether that subject gives the same reading."""
        parts = getattr(self.look, "parts", None)
        if parts is None or isinstance(self.reading, CheckFailed):
            return self.same(self._reading(self.look, subject), self.reading)
        seen = {}
        for name, part in parts.items():  # as far as the first that differs
            seen[name] = self._reading(part, subject)
            if isinstance(seen[name], CheckFailed) or not self.same(
                seen, {key: self.reading[key] for key in seen}
            ):
                return False
        return True

    def shown_exactly_by(self, subject: Subject) -> bool:
        """Whether that subject gives the same reading to the last word, which `same` may not ask for."""
        seen = self._reading(self.look, subject)
        if isinstance(seen, CheckFailed) and isinstance(self.reading, CheckFailed):
            return (seen.same, seen.words) == (self.reading.same, self.reading.words)
        return same_reading(seen, self.reading)

    def _reading(self, look, subject) -> Reading | CheckFailed:
        try:
            return look(subject, *self.case)
        except CheckFailed as failure:
            return failure


def in_parts(**looks: Callable) -> Callable:
    """A look that is several, whose reading is {name: the reading of that one}.

    The quick ones come first, since they rule out most mistakes. Its `same` must also compare readings with
    only some of the names.
    """

    def look_at(subject, *case):
        return {name: part(subject, *case) for name, part in looks.items()}

    look_at.parts = looks
    return look_at


@dataclass
class Exam:
    """What a check gets: the attempt, the reference, the device, and a place for the evidence."""

    attempt: Subject
    reference: Subject
    device: str
    seed: int = 0
    load_error: CheckFailed | None = None
    names: tuple[str, ...] = ()
    note: Callable[[str], None] = lambda text: None  # shows a line of progress
    measured: str = ""  # what the running check measured, reported where it passes
    shown: list = field(default_factory=list)  # and what of it may be drawn, whether it passes or not
    pace: float = 0.0  # seconds that one step of training takes, as short runs showed; 0 where none did
    remarks: list[str] = field(default_factory=list)  # what is right and worth knowing; see remark()
    # (asked, seed=0, *, other_hashes) -> the attempt's Answer from a fresh process, on the CPU; with
    # other_hashes strings have other hashes there than in the attempt's own.
    elsewhere: Callable | None = None
    # (id of the check that will need it): begins to start such a process, which takes seconds, in the
    # background.
    prepare: Callable[[str], object] = lambda check: None
    evidence: list[Evidence] = field(default_factory=list)
    seen: dict = field(default_factory=dict)  # looks without a case, that several checks share
    beside: dict = field(default_factory=dict)  # what was looked at for Numbers alone, of all checks
    wants_numbers: bool = True  # not in a replay, where a debugger would stop in each further look
    location: Location = Location()
    series: int = 0  # how many for_all the running check has begun
    only: Location | None = None  # in a replay: the one case to look at

    def begin(self) -> None:
        """Before each check."""
        self.evidence.clear()
        self.location, self.series, self.measured, self.shown = Location(), 0, "", []

    def remark(self, text: str) -> None:
        """Note what is right and worth knowing; the verdict does not depend on it."""
        if text not in self.remarks:
            self.remarks.append(text)

    @property
    def at_the_case(self) -> bool:
        """Whether a replay has come to its case."""
        only, here = self.only, self.location
        return only is not None and (here.series, here.look) == (only.series, only.look)

    def observe(self, look: Callable, *case, same: Callable | None = None) -> Reading:
        """Look at the attempt, and keep what was seen as evidence."""
        if self.at_the_case:
            raise CaseOver
        self.location = replace(self.location, look=self.location.look + 1)
        if not case and look in self.seen:
            self.evidence.append(replace(self.seen[look], same=same or same_reading))
            return self.seen[look].reading
        evidence = Evidence(look, case, {}, same or same_reading)
        self.evidence.append(evidence)

        def ask(asked, seed):
            evidence.names |= asked.names()
            evidence.trains |= asked.seconds is not None
            return self.attempt.ask(asked, seed)

        subject = replace(self.attempt, ask=ask, gave_nan=False)
        began = time.monotonic()
        try:
            evidence.reading = look(subject, *case)
        except CheckFailed as failure:
            evidence.reading = failure
            self.only = None
            raise
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            # The same look works on the reference, so the fault lies in the attempt's answer.
            evidence.reading = CheckFailed(
                "Your code's answers make no sense to the grader.", same=("nonsense",)
            )
            raise evidence.reading from error
        finally:
            evidence.seconds, evidence.gave_nan = time.monotonic() - began, subject.gave_nan
        if not case:
            self.seen[look] = evidence
        return evidence.reading

    def further(self, look: Callable, *case) -> Reading | None:
        """A look at the attempt for the numbers of a check that has failed already; None where it fails too,
        and in a replay.

        It is no evidence: the known mistakes are compared in what the check looks at whatever comes.
        """
        if not self.wants_numbers:
            return None
        try:
            return look(self.attempt, *case)
        except (CheckFailed, KeyError, IndexError, TypeError, ValueError, AttributeError):
            return None

    def in_another_process(self, asked, seed: int = 0) -> tuple[Answer, Answer]:
        """The attempt's answers to a look in two processes in which strings have other hashes, on the CPU."""
        one = (
            self.attempt.run(asked, seed)
            if self.device == "cpu"
            else self.elsewhere(asked, seed, other_hashes=False)
        )
        return one, self.elsewhere(asked, seed, other_hashes=True)

    def expected(self, look: Callable, *case) -> Reading:
        """The same look at the reference."""
        return look(self.reference, *case)


def for_all(exam: Exam, cases, body: Callable, *, max_examples: int = 12, always: tuple = ()) -> None:
    """body(exam, case) for cases that hypothesis draws from the seed, and for those of `always`.

    The drawn ones first: hypothesis shrinks a failing one to a small one, which says most. It may try
    SHRINKS smaller cases; all further ones count as right, so that a learner does not wait.
    """
    failing, tried = set(), set()
    exam.series += 1
    series, outside = exam.series, exam.location

    def look_at(case):
        exam.location = Location(0, series, case)
        try:
            body(exam, case)
        except CheckFailed as failure:
            failure.location = exam.location
            exam.only = None  # what a check looks at from here on is a part of its message
            raise
        exam.location = outside

    if exam.only is not None:
        if exam.only.series == series:
            look_at(exam.only.case)
            raise CaseOver
        return

    def drawn(case):
        if failing and case not in failing:
            if case in tried or len(tried) >= SHRINKS:
                return
            tried.add(case)
        try:
            look_at(case)
        except CheckFailed:
            failing.add(case)
            raise

    settings = hypothesis.settings(
        max_examples=max_examples,
        database=None,  # a verdict depends on the seed alone, not on what failed last time
        deadline=None,  # the judge has deadlines of its own
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    hypothesis.seed(exam.seed)(settings(hypothesis.given(cases)(drawn)))()
    for case in always:
        look_at(case)


def of_readings(same):
    """The `same` of a look, out of a comparison of two readings: two failures agree where they failed
    alike."""

    def compare(one, other) -> bool:
        if isinstance(one, CheckFailed) or isinstance(other, CheckFailed):
            return isinstance(one, CheckFailed) and isinstance(other, CheckFailed) and one.same == other.same
        return same(one, other)

    return compare


def same_reading(one, other, tolerance: float = 1e-5) -> bool:
    """Whether two readings agree: equal plain values, numbers within rounding, NaN where NaN is."""
    if isinstance(one, CheckFailed) or isinstance(other, CheckFailed):
        return (
            isinstance(one, CheckFailed)
            and isinstance(other, CheckFailed)
            and one.same is not None
            and one.same == other.same
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_reading(one[k], other[k], tolerance) for k in one)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
            return False
        if one.dtype.kind != "f":
            return bool((one == other).all())
        scale = max(1.0, float(np.abs(other[np.isfinite(other)]).max(initial=0)))
        return bool(np.allclose(one, other, rtol=0, atol=tolerance * scale, equal_nan=True))
    if isinstance(one, float) and isinstance(other, float):
        if np.isfinite(one) and np.isfinite(other):
            return abs(one - other) <= tolerance * max(1.0, abs(other))
        return one == other or one != one and other != other
    return type(one) is type(other) and one == other
