"""`python grade.py` alone: what is done, what is next, and the command for it. It imports nothing slow."""

from rich.table import Table
from rich.text import Text

from grader.learner import progress, report
from grader.learner.files import is_stub
from grader.learner.progress import ExerciseRecord
from tests.exercises import EXERCISES, MENU, Exercise


def show(note) -> None:
    """Print the table of the exercises and the next step. note: takes what is said of a damaged file."""
    out = report.console()
    everything = {exercise: progress.read(exercise.name, note) for exercise in EXERCISES.values()}
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for column in ("", "exercise", "state", "checks", "solved"):
        table.add_column(column)
    for exercise, done in everything.items():
        if exercise is MENU[0]:
            table.add_row()
            table.add_row(Text("menu", style="dim"), Text("in any order", style="dim"))
        state, style = _state(exercise, done)
        checks = f"{done.passed} of {done.checks}" if done.checks else ""
        short = exercise.title.split(":")[0]
        table.add_row(Text(exercise.name, style="bold"), short, Text(state, style=style), checks, done.solved)
    out.print(table)
    out.print()
    exercise = next((exercise for exercise, done in everything.items() if not done.solved), None)
    begun = [e for e, done in everything.items() if e.of_menu and done.attempts and not done.solved]
    if exercise is not None and exercise.of_menu and begun:
        exercise = begun[0]
    if exercise is None:
        command = f"python grade.py {next(iter(EXERCISES))} --solution"
        report.next_step(out, "all are solved; compare with the solutions:", command)
    else:
        _next(out, exercise, everything[exercise])
    for exercise, done in everything.items():
        if done.solved and done.failed:
            text = f"{exercise.name} passed on {done.solved.split()[0]} and fails now; check it again:"
            report.next_step(out, text, f"python grade.py {exercise.name}", head="or: ")


def _state(exercise: Exercise, done: ExerciseRecord) -> tuple[str, str]:
    """One exercise in a few words, and their style."""
    if done.attempts:
        times = f"{done.attempts} {'attempt' if done.attempts == 1 else 'attempts'}"
        if done.solved and done.failed:
            return f"fails again, {times}", "yellow"
        return (f"solved, {times}", "green") if done.solved else (f"not yet, {times}", "yellow")
    return ("not started" if is_stub(exercise) else "begun, not graded yet"), "dim"


def _next(out, exercise: Exercise, done: ExerciseRecord) -> None:
    command = f"python grade.py {exercise.name}"
    if done.failed:
        report.next_step(out, f'mend "{done.failed[0]}" in {exercise.attempt_path}, then:', command)
        report.next_step(out, "it is checked again on every save:", f"{command} --watch", head="or: ")
        report.next_step(out, "a hint, one more each time:", f"{command} --hint", head="or: ")
    elif done.checks:  # all that ran passed: the training run was left out
        report.next_step(out, "run everything, the training run too:", command)
    elif is_stub(exercise):
        report.next_step(
            out, f"open {exercise.attempt_path} and read its docstring, write the first part, then:", command
        )
    else:
        report.next_step(out, f"grade {exercise.attempt_path}:", command)
