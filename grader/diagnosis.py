"""Names the mistake behind a failed check: the one known mistake that does exactly what the attempt did.

The mistakes are variants of the solution, so they run in the reference's worker. A check's evidence says
how the attempt was looked at and what was seen; a mistake is named where, looked at in the same way,
it and no other does the same. Where several do, those that also do what the attempt did in the other
checks are left. And where none does all of it, since the attempt has another mistake beside: the one that does
the same here, and is right wherever the attempt does exactly what the solution does.
"""

import builtins
import itertools

import numpy as np

from grader.changes import changed_names
from grader.hosts import reference_subject
from grader.processes import REPOSITORY, InstallationError
from grader.results import CheckResult
from tests.exercises import Exercise, Mistake
from tests.exercises.exam import CheckFailed, Evidence, Subject

COSTLY = 0.02  # seconds of one look
COSTLY_IN_AREA = 0.5  # the same where only the mistakes of one area are suspects, which agree on most other looks
SOLUTION = Mistake("solution", "no mistake", "", ())
_numbers = itertools.count()


def name_mistakes(
    exercise: Exercise, reference, results: list[CheckResult], evidence: dict[str, list[Evidence]]
) -> None:
    """Write the id of the mistake into every failed check where one, and only one, explains it.

    reference: the Host of the reference's worker.
    """
    unnamed = [check for check in results if check.status == "failed" and check.mistake is None]
    unnamed = [check for check in unnamed if evidence.get(check.id) and not check.unfinished]
    if not unnamed:
        return
    suspects = _Suspects(exercise, reference)
    passed_ids = [check.id for check in results if check.status == "passed" and check.id in evidence]
    passed_ids.sort(key=lambda id: sum(piece.seconds for piece in evidence[id]))
    named: list[str] = []
    for check in unnamed:
        seen, area = evidence[check.id], suspects.area(check.id)
        passed = [evidence[id] for id in sorted(passed_ids, key=lambda id: not id.startswith(area))]
        # One mistake shows in many checks: where one that is known already explains this too, look no further.
        check.mistake = next((id for id in named if suspects.explains(id, seen)), None)
        if check.mistake is not None or suspects.explains(SOLUTION.id, seen):
            continue  # the second: what was seen tells no mistake from what is right
        costly = seen[-1].seconds > (COSTLY_IN_AREA if area else COSTLY) and not hasattr(seen[-1].look, "parts")
        # It does what the attempt did here, and fails no check that the attempt passes.
        found = suspects.that_explain(check.id, seen, passed, costly)
        if len(found) > 1 or isinstance(seen[-1].reading, CheckFailed):
            # Several would have failed here in the same way: which of them fails the rest in the same way too? The
            # same question where there are no numbers: quite different code can raise the same exception.
            found = [id for id in found if all(suspects.explains(id, other) for other in evidence.values())]
        if not found and not isinstance(seen[-1].reading, CheckFailed):
            right = [p for p in passed if suspects.explains(SOLUTION.id, p)]
            found = suspects.that_explain(check.id, seen, right, costly)
        if len(found) == 1:
            check.mistake = found[0]
            named.append(found[0])
    _take_back(unnamed, evidence, suspects)


def _take_back(failed: list[CheckResult], evidence: dict[str, list[Evidence]], suspects: "_Suspects") -> None:
    """Take back the names that may have been found by chance.

    Where there is more to explain than the known mistakes explain, an unknown one is at work. What it does in its
    own area, and in later ones that build on it, a known one can do as well if a short answer is all there is to
    compare, such as yes or no.
    """
    areas = [suspects.area(check.id) for check in failed]
    unexplained = [index for index, check in enumerate(failed) if check.mistake is None]
    for index, check in enumerate(failed):
        of_unknown = any(other < index or areas[other] == areas[index] for other in unexplained)
        if of_unknown and not any(_is_telling(piece) for piece in evidence[check.id]):
            check.mistake = None


def _is_telling(piece: Evidence) -> bool:
    """Whether a reading holds so many numbers that no other mistake gives them by chance."""
    values = piece.reading.values() if isinstance(piece.reading, dict) else ()
    return any(isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size >= 8 for value in values)


class _Suspects:
    """The known mistakes, each loaded into the reference's worker when it is first needed."""

    def __init__(self, exercise: Exercise, reference):
        self.reference = reference
        self.solution = (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")
        self.mistakes = {mistake.id: mistake for mistake in (*exercise.mistakes(), SOLUTION)}
        self.same_as_solution = reference_subject(reference, "solution", "mistake")
        self.subjects: dict[str, Subject] = {}
        self.loaded: dict[str, Subject] = {}
        self.seen: dict[tuple[str, int], bool] = {}

    def of(self, check: str) -> list[str]:
        """The ids of those that are looked for where this check fails."""
        return [
            id for id, mistake in self.mistakes.items() if check.startswith(mistake.area) and mistake is not SOLUTION
        ]

    def area(self, check: str) -> str:
        """The area of mistakes that the check belongs to, "" for none."""
        areas = {mistake.area for mistake in self.mistakes.values() if check.startswith(mistake.area)}
        return max(areas, key=len)

    def subject(self, id: str) -> Subject:
        """The mistake as a subject; what it has in common with the solution is asked of that, once for all."""
        if id not in self.subjects:
            source = self.mistakes[id].apply(self.solution)
            changed = changed_names(self.solution, self.mistakes[id].patches)

            def ask(program, seed):
                if changed is None or program.names() & changed:
                    return self._loaded(id, source).run(program, seed)
                return self.same_as_solution.run(program, seed)

            self.subjects[id] = Subject("mistake", ask)
        return self.subjects[id]

    def _loaded(self, id: str, source: str) -> Subject:
        if id not in self.loaded:
            name = f"mistake_{id}" + (f"_{next(_numbers)}" if self.mistakes[id].keeps else "")
            if name not in self.reference.sources:
                answer = self.reference.load(name, name, f"<{id}>", source.encode())
                if "error" in answer:
                    raise InstallationError(f"the mistake {id} does not load: {answer['error']}.")
            self.loaded[id] = reference_subject(self.reference, name, "mistake")
        return self.loaded[id]

    def that_explain(self, check: str, seen: list[Evidence], others: list[list[Evidence]], costly: bool) -> list[str]:
        """The ids of those that do what the attempt did where this check failed, and in `others`.

        costly: that one look takes longer than the others together, so it is left for last.
        """
        order = [*others, seen] if costly else [seen, *others]
        return [id for id in self.of(check) if all(self.explains(id, evidence) for evidence in order)]

    def explains(self, id: str, evidence: list[Evidence]) -> bool:
        """Whether this mistake, looked at in the same way each time, does what the attempt did."""
        # The last look first: where a check failed, it is the one that shows it.
        return all(self._explains(id, piece) for piece in reversed(evidence))

    def _explains(self, id: str, piece: Evidence) -> bool:
        key = (id, builtins.id(piece))
        if key not in self.seen:
            self.seen[key] = piece.shown_by(self.subject(id))
        return self.seen[key]
