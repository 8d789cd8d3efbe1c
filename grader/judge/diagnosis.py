"""Names the mistake behind a failed check: the one known mistake that does exactly what the attempt did.

The mistakes are variants of the solution, so they run in the reference's worker. A check's evidence holds the
look and the attempt's reading. A mistake is named where it alone gives the same reading. Where several do,
only those stay that also give the attempt's readings in the other checks. Where none gives all of them, the
attempt has a further mistake: then the one is named that gives the same reading here, and is right wherever
the attempt does exactly what the solution does. What is then left is looked for beside each mistake that is
named: the named one is put into the solution first, and a second one into that. Where a few mistakes cannot
be told apart, they are candidates, and none is named.

The learner waits for it, so it has a time budget. The likeliest mistakes come first, and of each the looks
that are cheap or rule out most; what a mistake does not touch is not looked at. Pass or fail never depends on
it.
"""

import itertools
import math
import re
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from grader.judge import fits
from grader.judge.changes import changed_names
from grader.judge.host import reference_subject
from grader.judge.results import CheckResult
from grader.workbook import REPOSITORY, InstallationError
from tests.exercises import Exercise, Mistake
from tests.exercises.exam import CheckFailed, Evidence, Subject

# A failing look rules out nearly all mistakes, a passed one few of them: it comes first only where it is this
# much cheaper.
CHEAPER = 30
SOLUTION = Mistake("solution", "no mistake", "", ())
MOST_CANDIDATES = 3  # more than that help nobody
_numbers = itertools.count()


@dataclass(frozen=True)
class Budget:
    """Seconds that naming the mistakes of one grade may take.

    plain, training: for all looks without a training run together, and for all that have one.
    stuck: for one look at which the attempt was stopped by its deadline. That is several times what the
    solution takes."""

    plain: float = 3.0
    training: float = 20.0
    stuck: float = 2.0

    @classmethod
    def of(cls, patience: float, thorough: bool) -> "Budget":
        """thorough: for a proof of the checks, in which every mistake must be named, however long it
        takes."""
        factor = patience * (20 if thorough else 1)
        return cls(cls.plain * factor, cls.training * factor, cls.stuck * patience)


class _OutOfTime(Exception):
    """The budget is used up."""


def name_mistakes(
    exercise: Exercise,
    reference,
    results: list[CheckResult],
    evidence: dict[str, list[Evidence]],
    budget: Budget,
) -> None:
    """Write the id of the mistake into every failed check where one, and only one, explains it.

    reference: the Host of the reference's worker. A check for which the budget did not last says so in a line
    of its details.
    """
    unnamed = [check for check in results if check.status == "failed" and check.mistake is None]
    unnamed = [check for check in unnamed if evidence.get(check.id) and not check.unfinished]
    if not unnamed:
        return
    passed = {
        check.id: evidence[check.id] for check in results if check.status == "passed" and check.id in evidence
    }
    suspects = _Suspects(exercise, reference, budget, passed)
    named = [check.mistake for check in results if check.mistake in suspects.mistakes]
    for check in unnamed:
        out_of_time = False
        try:
            # One mistake shows in many checks: where one that is known already explains this too, look no
            # further.
            check.mistake = next((id for id in named if suspects.explains(id, evidence[check.id])), None)
            if check.mistake is None:
                found, out_of_time = suspects.search(check, evidence)
                if len(found) == 1:
                    check.mistake = found[0]
                elif len(found) <= MOST_CANDIDATES and not out_of_time:
                    check.candidates = found
        except _OutOfTime:
            out_of_time = True
        if check.mistake is not None:
            named.append(check.mistake)
        elif out_of_time:
            check.details.append(
                "Some known mistakes were not compared, since the time ran out. The same command with "
                "GRADE_PATIENCE=5 in front of it has five times as long."
            )
    _settle(unnamed)
    for check in unnamed:
        if check.mistake is None:
            _name_second(check, dict.fromkeys(named), evidence, suspects)
    _take_back(unnamed, evidence, suspects)
    _read_off(unnamed)


def _name_second(check: CheckResult, named, evidence: dict, suspects: "_Suspects") -> None:
    """Name the mistake that explains this check together with one that is named already."""
    for first in named:
        try:
            found = suspects.search_beside(first, check, evidence)
        except _OutOfTime:
            return
        if len(found) == 1:
            check.mistake, check.candidates = found[0], []
            return


def _settle(failed: list[CheckResult]) -> None:
    """Name a candidate of one check that is named in another: one mistake explains more than two do."""
    named = {check.mistake for check in failed if check.mistake is not None}
    for check in failed:
        both = [id for id in check.candidates if id in named]
        if len(both) == 1:
            check.mistake, check.candidates = both[0], []


def _read_off(failed: list[CheckResult]) -> None:
    """Name what no known mistake gives exactly and the numbers themselves tell (fits)."""
    for check in failed:
        if check.mistake is None and check.numbers is not None:
            check.fit = fits.explain(check.numbers)
            check.mistake = check.fit.id if check.fit else None
        if check.mistake is not None:
            check.candidates = []


def _take_back(failed: list[CheckResult], evidence: dict[str, list[Evidence]], suspects: "_Suspects") -> None:
    """Take back the names that may have been found by chance.

    Where there is more to explain than the known mistakes explain, an unknown one is at work. What it does in
    its own area, and in later ones that build on it, a known one can do as well if a short answer is all
    there is to compare, such as yes or no. And where several known ones could be meant, none of them is.
    """
    areas = [suspects.area(check.id) for check in failed]
    unexplained = [i for i, check in enumerate(failed) if check.mistake is None and not check.candidates]
    for index, check in enumerate(failed):
        of_unknown = any(other < index or areas[other] == areas[index] for other in unexplained)
        if of_unknown and (check.candidates or not any(_is_telling(piece) for piece in evidence[check.id])):
            check.mistake, check.candidates = None, []


def _is_telling(piece: Evidence) -> bool:
    """Whether a reading holds so many numbers that no other mistake gives them by chance."""
    values = piece.reading.values() if isinstance(piece.reading, dict) else ()
    return any(
        isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size >= 8 for value in values
    )


class _Suspects:
    """The known mistakes, each loaded into the reference's worker when it is first needed."""

    def __init__(self, exercise: Exercise, reference, budget: Budget, passed: dict[str, list[Evidence]]):
        self.reference, self.budget, self.passed = reference, budget, passed
        self.solution = (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")
        self.mistakes = {mistake.id: mistake for mistake in (*exercise.mistakes(), SOLUTION)}
        self.pairs: dict[str, Mistake] = {}  # two mistakes as one, by both ids
        self.same_as_solution = reference_subject(reference, "solution", "mistake")
        self.subjects: dict[str, Subject] = {}
        self.loaded: dict[str, Subject] = {}
        self.seen: dict[tuple[str, Evidence], bool] = {}
        self._changed: dict[str, frozenset[str] | None] = {}
        self.spent = {False: 0.0, True: 0.0}  # seconds, of looks that train and of others
        self.of_passed = {piece for evidence in passed.values() for piece in evidence}
        words = [_words(mistake.id, mistake.name, mistake.why) for mistake in self.mistakes.values()]
        self.count = Counter(word for of_one in words for word in of_one)

    def of(self, check: str) -> list[str]:
        """The ids of those that are looked for where this check fails: mistakes of devices where devices are
        checked, and nowhere else."""
        of_devices = check.endswith("devices")
        return [
            id
            for id, mistake in self.mistakes.items()
            if check.startswith(mistake.area) and mistake.devices == of_devices and mistake is not SOLUTION
        ]

    def area(self, check: str) -> str:
        """The area of mistakes that the check belongs to, "" for none."""
        areas = {mistake.area for mistake in self.mistakes.values() if check.startswith(mistake.area)}
        return max(areas, key=len)

    def likeliest_first(self, check: CheckResult) -> list[str]:
        """The same as `of`: first those that are described in the words in which the check failed, rare ones
        above all."""
        said = _words(check.id, check.title, check.message)

        def likely(id: str) -> float:
            mistake = self.mistakes[id]
            common = said & _words(mistake.id, mistake.name, mistake.why)
            return sum(math.log(len(self.mistakes) / self.count[word]) for word in common)

        return sorted(self.of(check.id), key=likely, reverse=True)

    def changed(self, id: str) -> frozenset[str] | None:
        """What of the solution the mistake may change, None for all of it."""
        if id not in self._changed:
            self._changed[id] = changed_names(self.solution, self._mistake(id).patches)
        return self._changed[id]

    def subject(self, id: str) -> Subject:
        """The mistake as a subject; what it has in common with the solution is asked of that, once for
        all."""
        if id not in self.subjects:
            source, changed = self._mistake(id).apply(self.solution), self.changed(id)

            def ask(asked, seed):
                if changed is None or asked.names() & changed:
                    return self._loaded(id, source).run(asked, seed)
                return self.same_as_solution.run(asked, seed)

            self.subjects[id] = Subject("mistake", ask)
        return self.subjects[id]

    def _loaded(self, id: str, source: str) -> Subject:
        if id not in self.loaded:
            name = f"mistake_{id}" + (f"_{next(_numbers)}" if self._mistake(id).keeps else "")
            if name not in self.reference.sources:
                answer = self.reference.load(name, name, f"<{id}>", source.encode())
                if "error" in answer:
                    raise InstallationError(f"the mistake {id} does not load: {answer['error']}.")
            self.loaded[id] = reference_subject(self.reference, name, "mistake")
        return self.loaded[id]

    def _mistake(self, id: str) -> Mistake:
        return self.pairs.get(id) or self.mistakes[id]

    def _pair(self, first: str, second: str) -> str | None:
        """The id of both mistakes as one; None where the second does not fit where the first has been."""
        one, other, id = self.mistakes[first], self.mistakes[second], f"{first}+{second}"
        if id not in self.pairs:
            both = Mistake(id, "", "", one.patches + other.patches, keeps=one.keeps or other.keeps)
            try:
                compile(both.apply(self.solution), id, "exec")
            except (ValueError, SyntaxError):
                return None
            self.pairs[id] = both
        return id

    def search_beside(self, first: str, check: CheckResult, evidence: dict) -> list[str]:
        """The mistakes that explain why this check failed where `first` is in the file as well."""
        pairs = {id: self._pair(first, id) for id in self.likeliest_first(check) if id != first}
        seen = evidence[check.id]
        found = [id for id, pair in pairs.items() if pair is not None and self.explains(pair, seen)]
        if len(found) > 1 or not any(_is_telling(piece) for piece in seen):
            # There are so many pairs that a short answer is soon one of theirs: what the two do must then be
            # all that the attempt does.
            every = sorted(evidence.values(), key=_cost)
            found = [id for id in found if all(self.explains(pairs[id], pieces) for pieces in every)]
        return found

    def search(self, check: CheckResult, evidence: dict[str, list[Evidence]]) -> tuple[list[str], bool]:
        """The mistakes that explain why this check failed, one if they can be told apart; and whether the
        budget ended the search."""
        seen, area = evidence[check.id], self.area(check.id)
        if self.explains(SOLUTION.id, seen):
            return [], False  # the reading is the solution's, so it names no mistake
        trains = any(piece.trains for piece in seen)
        order = sorted(self.passed, key=lambda id: (not id.startswith(area), _cost(self.passed[id])))
        passed = [self.passed[id] for id in order]
        passed = [pieces for pieces in passed if all(self._worth(piece, trains) for piece in pieces)]
        cheap = [pieces for pieces in passed if _cost(pieces) * CHEAPER < seen[-1].seconds]
        order = [*cheap, seen, *(pieces for pieces in passed if pieces not in cheap)]
        found, out_of_time = self._that(check, lambda id: all(self.explains(id, pieces) for pieces in order))
        no_number = isinstance(seen[-1].reading, CheckFailed)
        if len(found) > 1 or found and no_number:
            # Several would have failed here in the same way: which of them fails the other checks in the same
            # way too? The same question where there are no numbers: quite different code can raise the same
            # exception.
            failed = [pieces for id, pieces in evidence.items() if id not in self.passed]
            found = [id for id in found if all(self.explains(id, pieces) for pieces in [*failed, *order])]
        if len(found) > 1:
            found = [id for id in found if all(self.explains(id, pieces) for pieces in self.passed.values())]
        if len(found) > 1:
            found = [id for id in found if seen[-1].shown_exactly_by(self.subject(id))] or found
        if not found and not out_of_time and not no_number:
            # The attempt may have another mistake beside, which shows in what it does where it passes too.
            def agrees(id, pieces):
                return (
                    self.explains(id, pieces) or pieces is not seen and not self.explains(SOLUTION.id, pieces)
                )

            found, out_of_time = self._that(check, lambda id: all(agrees(id, pieces) for pieces in order))
        return found, out_of_time

    def _worth(self, piece: Evidence, trains: bool) -> bool:
        """Whether a look at which the attempt passed is asked of each suspect, and not only where several are
        left.

        A training run says little about a check that needed none, and a few long looks would use up the
        budget."""
        return piece.trains <= trains and piece.seconds * 4 < (
            self.budget.training if piece.trains else self.budget.plain
        )

    def _that(self, check: CheckResult, agrees) -> tuple[list[str], bool]:
        """The ids of those that agree, likeliest first, and whether the budget ended before all were
        asked."""
        found = []
        for id in self.likeliest_first(check):
            try:
                if agrees(id):
                    found.append(id)
            except _OutOfTime:
                return found, True
        return found, False

    def explains(self, id: str, evidence: list[Evidence]) -> bool:
        """Whether this mistake, looked at in the same way each time, does what the attempt did."""
        # The last look first: where a check failed, it is the one that shows it.
        return all(self._explains(id, piece) for piece in reversed(evidence))

    def _explains(self, id: str, piece: Evidence) -> bool:
        key = (id, piece)
        if key not in self.seen:
            changed = self.changed(id)
            if id != SOLUTION.id and changed is not None and not piece.names & changed:
                # It does what the solution does, which a passed check does not hold against it.
                return piece in self.of_passed or self._explains(SOLUTION.id, piece)
            if self.spent[piece.trains] >= (self.budget.training if piece.trains else self.budget.plain):
                raise _OutOfTime
            began = time.monotonic()
            self.reference.most = self.budget.stuck if _was_stuck(piece) else None
            try:
                self.seen[key] = piece.shown_by(self.subject(id))
            finally:
                self.reference.most = None
                self.spent[piece.trains] += time.monotonic() - began
        return self.seen[key]


def _was_stuck(piece: Evidence) -> bool:
    """Whether the attempt was stopped by its deadline."""
    return isinstance(piece.reading, CheckFailed) and (piece.reading.same or ())[:2] == ("died", "deadline")


def _cost(evidence: list[Evidence]) -> float:
    return sum(piece.seconds for piece in evidence)


def _words(*texts: str) -> set[str]:
    """The words of some texts, without their endings: trains, trained and training are one."""
    return {
        re.sub(r"(ings?|ed|es|s)$", "", word)
        for text in texts
        for word in re.findall("[a-z]{3,}", text.lower())
    }
