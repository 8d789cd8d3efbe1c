"""`python grade.py --selftest styles`: whether a mistake keeps its name where the rest of the file is written
otherwise.

The first self-test patches mistakes into the solution, and the suspects of a diagnosis are the same patches
on the same solution. A learner writes the rest in another way: another order of the operations, another dtype
inside, other draws of dropout. So here each mistake is put into a solution that other patches, a style, have
changed before, and must stay the mistake that it is.
"""

import collections
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from grader.author.selftest import follow_portions, share_out
from grader.judge.changes import changed_names
from grader.judge.grade import Session, Source, grade
from grader.judge.results import Verdict
from grader.workbook import REPOSITORY
from tests.exercises import EXERCISES, Exercise, Mistake, Style

STYLES_OF_EACH = 3  # styles that each mistake is graded in
LEAST_NAMED, MOST_MISNAMED = 0.9, 0.01  # shares of an exercise's combinations
# What may come of a combination. right and wrong: of a style alone; left out: only a training run shows it.
COUNTED = ("named", "misnamed", "several", "unnamed", "passed")
OUTCOMES = (*COUNTED, "left out", "right", "wrong")


@dataclass(frozen=True)
class Row:
    """A mistake in a style, and what came of it; mistake "": the style alone.

    came: the names that the verdict has, the candidates behind a question mark.
    """

    exercise: str
    style: str
    mistake: str
    outcome: str
    came: str
    checks: tuple[str, ...] = ()  # those that failed
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.outcome in ("named", "left out", "right")


def outcome(verdict: Verdict, mistake: str) -> str:
    """What came of a file with this mistake, one of COUNTED.

    misnamed: a name that is not its own stands in the verdict, alone or beside its own; or there are
    candidates, and it is not one of them.
    """
    candidates = [id for check in verdict.checks for id in check.candidates]
    if verdict.passed:
        return "passed"
    if verdict.mistakes == [mistake]:
        return "named"
    if verdict.mistakes or candidates and mistake not in candidates:
        return "misnamed"
    return "several" if candidates else "unnamed"


def combined(solution: str, style: Style, mistake: Mistake) -> str | None:
    """The solution in this style with this mistake; None where the style has changed what the mistake
    changes."""
    if mistake.id in style.mends:
        return None
    try:
        source = mistake.apply(style.apply(solution))
        compile(source, mistake.id, "exec")
    except (ValueError, SyntaxError):
        return None
    return source


def combinations(exercise: Exercise) -> list[tuple[str, str]]:
    """(style, mistake) pairs to grade, by their ids. Each mistake takes its styles in rotation, so that all
    styles come to much the same number of mistakes."""
    solution, styles = _solution(exercise), exercise.styles()
    found = [(style.id, "") for style in styles]
    for number, mistake in enumerate(exercise.mistakes()):
        order = styles[number % len(styles) :] + styles[: number % len(styles)] if styles else ()
        fitting = [style.id for style in order if combined(solution, style, mistake) is not None]
        found += [(style, mistake.id) for style in fitting[:STYLES_OF_EACH]]
    return found


def _solution(exercise: Exercise) -> str:
    return (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")


class _Known:
    """Answers of the style alone, which a mistake in it shares where the look takes nothing of what the
    mistake changes (see selftest.Known)."""

    def __init__(self, styled: str, mistake: Mistake | None, answers: dict):
        self.answers = answers
        self.changed = changed_names(styled, mistake.patches) if mistake else frozenset()

    def find(self, asked, seed: int):
        """The answer to a look where it is known, else None."""
        return self.answers.get((seed, asked.digest())) if self._common(asked) else None

    def keep(self, asked, seed: int, found) -> None:
        """Remember an answer."""
        if self._common(asked):
            self.answers[seed, asked.digest()] = found

    def _common(self, asked) -> bool:
        return self.changed is not None and not asked.names() & self.changed


def measure(
    session: Session,
    exercise_name: str,
    style_id: str,
    mistakes: list[str],
    *,
    device: str,
    seed: int,
    report: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Grade these mistakes (ids; "" for none at all) in one style; a row for each, reported as it comes."""
    exercise = EXERCISES[exercise_name]
    chosen = session.choose_device(device, exercise)
    known = {mistake.id: mistake for mistake in exercise.mistakes()}
    style = next(style for style in exercise.styles() if style.id == style_id)
    solution, rows, answers = _solution(exercise), [], {}
    styled = style.apply(solution)

    def graded(name: str, source: str, **options) -> Verdict:
        given = Source(Path(f"{name}.py"), source.encode())
        return grade(session, exercise.name, given, device=chosen, seed=seed, quick=True, **options)

    for id in mistakes:
        mistake = known.get(id)
        source = mistake.apply(styled) if mistake else styled
        of_style = _Known(styled, mistake, answers) if chosen == "cpu" else None
        verdict = graded(id or style.id, source, known=of_style)
        if mistake is None:
            came = "right" if verdict.passed else "wrong"
        else:
            came = outcome(verdict, id)
        if came == "passed" and exercise.training and graded(id, mistake.apply(solution)).passed:
            came = "left out"  # the mistake passes without a training run in the solution as well
        failed = [check for check in verdict.checks if check.status == "failed"]
        candidates = dict.fromkeys(f"{id}?" for check in failed for id in check.candidates)
        rows.append(
            Row(
                exercise.name,
                style.id,
                id,
                came,
                ", ".join([*verdict.mistakes, *candidates]),
                tuple(check.id for check in failed),
                verdict.seconds,
            )
        )
        if report is not None:
            report(rows[-1])
    return rows


def portions(exercises: list[str], part: tuple[int, int] = (1, 1)) -> list[tuple[str, str, list[str]]]:
    """(exercise, style, mistakes) that one process grades one after the other.

    Mistakes in one style share the answers of the style alone. What takes longest comes first. part: (k, n)
    takes the k-th of n equal parts.
    """
    found, (k, n) = [], part
    for name in exercises:
        of_styles: dict[str, list[str]] = {}
        for style, mistake in combinations(EXERCISES[name])[k - 1 :: n]:
            of_styles.setdefault(style, []).append(mistake)
        found += [(name, style, mistakes) for style, mistakes in of_styles.items()]
    return sorted(found, key=lambda portion: len(portion[2]), reverse=True)


def in_parallel(
    exercises: list[str],
    *,
    device: str,
    seed: int,
    report: Callable[[Row], None] | None = None,
    part: tuple[int, int] = (1, 1),
) -> list[Row]:
    """Measure several exercises, shared out among processes."""
    rows = []

    def came(what: dict) -> None:
        rows.append(Row(**what | {"checks": tuple(what["checks"])}))
        if report is not None:
            report(rows[-1])

    share_out("grader.author.styles", portions(exercises, part), device, seed, came)
    return rows


@dataclass(frozen=True)
class Figures:
    """How many combinations of an exercise came out in which way."""

    exercise: str
    count: collections.Counter

    @property
    def combinations(self) -> int:
        """Those that a grade without training runs can tell."""
        return sum(self.count[outcome] for outcome in COUNTED)

    def share(self, outcome: str) -> float:
        """The share of the combinations with this outcome; 0 where there is none."""
        return self.count[outcome] / max(self.combinations, 1)

    @property
    def good(self) -> bool:
        """Whether the names are as reliable as they have to be."""
        reliable = self.share("named") >= LEAST_NAMED and self.share("misnamed") <= MOST_MISNAMED
        return not self.count["passed"] and not self.count["wrong"] and (reliable or not self.combinations)


def figures(rows: list[Row]) -> list[Figures]:
    """The figures of each exercise."""
    by_exercise: dict[str, list[str]] = {}
    for row in rows:
        by_exercise.setdefault(row.exercise, []).append(row.outcome)
    return [Figures(name, collections.Counter(by_exercise[name])) for name in sorted(by_exercise)]


def table(rows: list[Row]) -> list[str]:
    """The lines of a table of the figures."""
    lines = [f"{'exercise':9}{'combinations':>13}" + "".join(f"{name:>10}" for name in COUNTED)]
    for each in figures(rows):
        shares = "".join(f"{each.share(name):>9.1%} " for name in COUNTED[:-1])
        lines.append(f"{each.exercise:9}{each.combinations:>13}{shares}{each.count['passed']:>9}")
    return lines


def main() -> None:
    """Grade portions: out goes each row."""

    def grade_portion(session, portion, device, seed, say) -> None:
        exercise, style, mistakes = portion
        measure(
            session, exercise, style, mistakes, device=device, seed=seed, report=lambda row: say(asdict(row))
        )

    follow_portions(grade_portion)


if __name__ == "__main__":
    main()
