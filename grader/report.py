"""A verdict as text for a person: what was graded, a line per check, what is wrong and what to do next.

Fits 100 columns and says everything without colour. Whatever comes from a learner's file goes through
`clean` and into a rich Text, never into markup.
"""

from rich.console import Console
from rich.text import Text

from grader.hosts import SOLUTION_READ
from grader.results import CheckResult, Verdict
from grader.text import clean, one_line
from tests.exercises import EXERCISES, Exercise

WIDTH = 100
SHOWN_FAILURES = 3  # with all their details; further ones by their line only
MARKS = {"passed": ("ok  ", "green"), "failed": ("FAIL", "bold red"), "not_reached": ("  ..", "dim"), "not_run": ("  --", "dim"), "unfinished": ("todo", "yellow")}


def console(**options) -> Console:
    """A console of at most 100 columns; in a file or a pipe exactly 100."""
    made = Console(highlight=False, markup=False, emoji=False, **options)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def show(out: Console, verdict: Verdict, *, command: str) -> None:
    """Print a verdict. command: what the learner typed, to be typed again."""
    exercise = EXERCISES[verdict.exercise]
    out.print(Text.assemble((f"{exercise.name}  ", "bold"), (exercise.title, "bold")))
    _fact(out, "file", f"{one_line(verdict.path, 200)}  (sha256 {verdict.sha256[:12]})")
    _fact(out, "device", f"{verdict.device}, seed {verdict.seed}, {verdict.seconds:.1f} s")
    _fact(out, "isolation", verdict.isolation)
    if verdict.device == "cpu":
        _fact(out, "", "checked on the CPU only")
    out.print()
    if verdict.not_started:
        _not_started(out, exercise, verdict, command)
        return
    for check in verdict.checks:
        mark, style = MARKS["unfinished" if check.unfinished else check.status]
        suffix = {"not_reached": "  (not reached)", "not_run": "  (left out: --quick)"}.get(check.status, "")
        _hanging(out, Text(f"  {mark}  ", style=style), Text(check.title + suffix, style="dim" if suffix else ""))
    out.print()
    failed = [check for check in verdict.checks if check.status == "failed"]
    mistakes = {mistake.id: mistake for mistake in exercise.mistakes()}
    explained = set()
    # First what was named: there the fix is known.
    for check in sorted(failed, key=lambda check: (check.unfinished, check.mistake is None))[:SHOWN_FAILURES]:
        _failure(out, check)
        if check.mistake in mistakes and check.mistake not in explained:
            explained.add(check.mistake)
            mistake = mistakes[check.mistake]
            _hanging(out, Text("  The mistake: ", style="bold yellow"), Text(mistake.name, style="bold"))
            _block(out, mistake.why, 4)
            others = [other.id for other in failed if other.mistake == check.mistake and other is not check]
            if others:
                _block(out, f"It also explains: {', '.join(others)}.", 4)
        elif check.mistake == SOLUTION_READ:
            _block(out, "The solution is for reading after trying; this file tried to use it.", 2)
        out.print()
    if verdict.printed.strip():
        lines = verdict.printed.strip().splitlines()
        out.print(Text(f"  Your file had printed (the last of {len(lines)} lines):", style="bold"))
        for line in lines[-8:]:
            _block(out, one_line(line, 200), 4)
        out.print()
    if len(failed) > SHOWN_FAILURES:
        _block(out, f"{len(failed) - SHOWN_FAILURES} more failed: mend the first, they often go together.", 2)
        out.print()
    _summary(out, exercise, verdict, failed, command)


def _failure(out: Console, check: CheckResult) -> None:
    head = ("  todo ", "bold yellow") if check.unfinished else ("  FAIL ", "bold red")
    _hanging(out, Text(*head), Text(f"{check.id}: {check.title}", style="bold"))
    _block(out, check.message, 4)
    if check.case and not check.unfinished:
        _block(out, "case: " + ", ".join(f"{k} = {v}" for k, v in check.case.items()), 4)
    for line in check.details:
        for part in Text(clean(line, 300).replace("\n", " "), style="cyan").wrap(out, out.width - 8):
            out.print(Text("      ") + part)


def _summary(out: Console, exercise: Exercise, verdict: Verdict, failed: list, command: str) -> None:
    passed = sum(check.status == "passed" for check in verdict.checks)
    count = f"{passed} of {len(verdict.checks)} checks pass"
    if verdict.passed and verdict.complete:
        out.print(Text.assemble(("Done: ", "bold green"), f"{count} in {verdict.seconds:.1f} s."))
        _next(out, f"compare with {exercise.solution_path}: what did you do differently?")
    elif verdict.passed:
        out.print(Text.assemble(("Checks pass: ", "bold green"), f"{count}; the training run was left out (--quick)."))
        _next(out, "run everything:", command.replace(" --quick", ""))
    elif all(check.unfinished for check in failed):
        out.print(Text.assemble(("To do: ", "bold yellow"), f"{count}. {one_line(failed[0].message)}"))
        _next(out, f"write it in {one_line(verdict.path)}, then:", command)
    else:
        first = next((check for check in failed if check.mistake), failed[0] if failed else verdict.checks[0])
        out.print(Text.assemble(("Not yet: ", "bold red"), f"{count} in {verdict.seconds:.1f} s."))
        names = {mistake.id: mistake.name for mistake in exercise.mistakes()}
        for id in verdict.mistakes:
            if id in names:
                _hanging(out, Text("The mistake: ", style="bold yellow"), Text(names[id]))
        _next(out, f"mend \"{first.id}\" in {one_line(verdict.path)} first, then:", command)


def _not_started(out: Console, exercise: Exercise, verdict: Verdict, command: str) -> None:
    out.print(Text(f"{exercise.name} is not started yet.", style="bold yellow"))
    out.print()
    _fact(out, "open", one_line(verdict.path, 200))
    for number, asked in enumerate(exercise.asks):
        _fact(out, "" if number else "it asks for", asked)
    _fact(out, "then", command)
    out.print()
    _next(out, "read the docstring of that file: it holds the contract and a worked example to start with.")


def _next(out: Console, text: str, command: str = "") -> None:
    _hanging(out, Text("Next: ", style="bold"), Text(text))
    if command:  # on a line of its own, so that it can be copied
        out.print(Text("      " + one_line(command, 400)), soft_wrap=True)


def _fact(out: Console, name: str, text: str) -> None:
    _hanging(out, Text(f"  {name:<13}", style="dim"), Text(clean(text, 400)))


def _hanging(out: Console, head: Text, body: Text) -> None:
    """A head, and a body whose further lines stand under its first."""
    for number, line in enumerate(body.wrap(out, max(out.width - head.cell_len, 20))):
        line.rstrip()
        out.print((head if number == 0 else Text(" " * head.cell_len)) + line)


def _block(out: Console, text: str, indent: int) -> None:
    """A paragraph, indented."""
    _hanging(out, Text(" " * indent), Text(clean(text)))
