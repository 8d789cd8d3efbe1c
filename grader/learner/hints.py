"""`--hint`: one more hint each time, below those that were given before, from a nudge to nearly the answer.

They concern the check that failed first and, where the last grade named a mistake, the place of that mistake.
"""

import ast
import importlib
import textwrap
from dataclasses import dataclass

from rich.text import Text

from grader.learner import progress, report
from grader.learner.progress import ExerciseRecord
from grader.workbook import REPOSITORY
from tests.exercises import Exercise, Mistake


@dataclass(frozen=True)
class Hint:
    """One hint, the number-th of `count`; code: lines of the solution."""

    number: int
    count: int
    text: str
    code: tuple[str, ...] = ()


@dataclass(frozen=True)
class Given:
    """All hints that have been given so far, the newest last; empty where nothing is wrong.

    over: whether there is no further one, so that the newest is one that was given before.
    """

    hints: tuple[Hint, ...]
    over: bool = False


def show(out, exercise: Exercise, given: Given) -> None:
    """Print the hints that were given, the newest last."""
    command = f"python grade.py {exercise.name}"
    if not given.hints:
        report.hanging(out, Text("Hints: ", style="bold"), Text("the last grade found nothing wrong."))
        report.next_step(out, "compare with the solution:", f"{command} --solution")
        return
    for hint in given.hints:
        newest = hint is given.hints[-1] and not given.over
        style, dim = ("bold yellow", "") if newest else ("dim", "dim")
        head = Text(f"Hint {hint.number} of {hint.count}: ", style=style)
        report.hanging(out, head, Text(hint.text, style=dim))
        for line in hint.code:
            out.print(Text(f"    {line}", style=dim or "cyan"), soft_wrap=True)
    if given.over:
        said = f"that was the last of {len(given.hints)}."
        report.hanging(out, Text("Hints: ", style="bold"), Text(said))
        report.next_step(out, "compare with the solution:", f"{command} --solution")


def give(exercise: Exercise, note) -> Given:
    """One hint more of the learner's own progress, which remembers it."""
    given: list[Given] = []
    progress.change(exercise.name, lambda done: given.append(advance(exercise, done)), note)
    return given[-1]


def advance(exercise: Exercise, done: ExerciseRecord) -> Given:
    """One hint more; the count begins anew when the last grade had another result."""
    if done.checks and not done.failed:
        return Given(())
    about, hints = all_of(exercise, done)
    if done.hint_of != about:
        done.hint_of, done.hints = about, 0
    over = done.hints >= len(hints)
    done.hints = min(done.hints + 1, len(hints))
    count = len(hints)
    shown = [Hint(number, count, *hint) for number, hint in enumerate(hints[: done.hints], start=1)]
    return Given(tuple(shown), over)


def all_of(exercise: Exercise, done: ExerciseRecord) -> tuple[str, list[tuple[str, tuple[str, ...]]]]:
    """What the hints are about as things stand, and all of them in order, each with lines of code or none.

    The report has already explained a named mistake. The hints give its place, then what that part of the
    exercise asks for, and last the solution's lines.
    """
    area, texts = of_check(exercise, done.failed[0] if done.failed else "")
    hints = [(text, ()) for text in texts]
    known = {mistake.id: mistake for mistake in exercise.mistakes()}
    named = next((known[id] for id in done.mistakes if id in known), None)
    if named is None:
        return area, hints
    where, line = of_mistake(exercise, named)
    return f"{named.id}, {area}", [where, *hints, line]


def of_check(exercise: Exercise, check: str) -> tuple[str, tuple[str, ...]]:
    """The area that a check belongs to, by how its id begins, and the hints for it; "" for no check."""
    areas = _module(exercise).HINTS
    fits = [area for area in areas if check and any(check.startswith(word) for word in area.split())]
    area = fits[0] if fits else ""
    return area, areas[area]


def of_mistake(exercise: Exercise, mistake: Mistake) -> list[tuple[str, tuple[str, ...]]]:
    """Where the mistake sits, and what the solution has there."""
    solution = (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")
    places, lines = [], []
    for find in sorted((find for find, _ in mistake.patches), key=solution.index):
        first = solution[: solution.index(find)].count("\n")
        covered = solution.splitlines()[first : first + find.rstrip("\n").count("\n") + 1]
        places.append(_where(solution, first + 1))
        lines += [line for line in covered if line.strip() and line not in lines]
    where = (
        " and ".join(dict.fromkeys(place for place in places if place))
        or "the lines outside of every function"
    )
    return [
        (f"The mistake sits in what the solution calls {where}. Find the place in yours.", ()),
        ("In the solution this place reads:", tuple(textwrap.dedent("\n".join(lines[:8])).splitlines())),
    ]


def _where(source: str, line: int) -> str:
    """The function or class that a line stands in, dotted; "" for none."""

    def inside(node, names):
        for child in ast.iter_child_nodes(node):
            if (
                isinstance(child, (ast.FunctionDef, ast.ClassDef))
                and child.lineno <= line <= child.end_lineno
            ):
                return inside(child, [*names, child.name])
        return ".".join(names)

    return inside(ast.parse(source), [])


def compare(exercise: Exercise) -> tuple[str, ...]:
    """What to look at in the solution once the learner's file passes."""
    return _module(exercise).COMPARE


def _module(exercise: Exercise):
    return importlib.import_module(f"tests.exercises.{exercise.name}.hints")
