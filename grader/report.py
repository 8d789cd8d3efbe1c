"""A verdict as text for a person: what was graded, a line per check, what is wrong and what to do next.

Fits 100 columns and says everything without colour. Whatever comes from a learner's file goes through
`clean` and into a rich Text, never into markup.
"""

import itertools
import os
import shlex

from rich.console import Console
from rich.text import Text

from grader.results import SOLUTION_READ, CheckResult, Verdict
from grader.text import clean, one_line
from tests.exercises import EXERCISES, Exercise

WIDTH = 100
SHOWN_FAILURES = 3  # with all their details; further ones by their line only
FOLDED = 5  # checks in a row that were not reached; more of them share a line
MARKS = {"passed": ("ok  ", "green"), "failed": ("FAIL", "bold red"), "not_reached": ("  ..", "dim"), "not_run": ("  --", "dim"), "unfinished": ("todo", "yellow")}


def console(**options) -> Console:
    """A console of at most 100 columns; in a file or a pipe exactly 100."""
    made = Console(highlight=False, markup=False, emoji=False, **options)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def show(out: Console, verdict: Verdict, *, command: str, watched: bool = False) -> None:
    """Print a verdict. command: what the learner typed, to be typed again; watched: saving does that."""
    exercise = EXERCISES[verdict.exercise]
    out.print(Text.assemble((f"{exercise.name}  ", "bold"), (exercise.title, "bold")))
    _fact(out, "file", f"{one_line(verdict.path, 200)}  (sha256 {verdict.sha256[:12]})")
    _fact(out, "device", f"{verdict.device}, seed {verdict.seed}, {verdict.seconds:.1f} s")
    _fact(out, "isolation", verdict.isolation)
    _fact(out, "", _devices(verdict))
    for number, remark in enumerate(verdict.remarks):
        _fact(out, "" if number else "read as", remark)
    out.print()
    if verdict.not_started:
        _not_started(out, exercise, verdict, command, watched)
        return
    for status, checks in itertools.groupby(verdict.checks, key=lambda check: check.status):
        _lines(out, status, list(checks))
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
            hanging(out, Text("  The mistake: ", style="bold yellow"), Text(mistake.name, style="bold"))
            block(out, mistake.why, 4)
            others = [other.id for other in failed if other.mistake == check.mistake and other is not check]
            if others:
                block(out, f"It also explains: {', '.join(others)}.", 4)
        elif check.mistake == SOLUTION_READ:
            block(out, "The solution is for reading after trying; this file tried to use it.", 2)
        out.print()
    if verdict.printed.strip():
        lines = verdict.printed.strip().splitlines()
        of = f", the last 8 of {len(lines)} lines" if len(lines) > 8 else ""
        out.print(Text(f"  Your file printed{of}:", style="bold"))
        for line in lines[-8:]:
            block(out, one_line(line, 200), 4)
        out.print()
    unwritten = sum(check.unfinished for check in failed)
    hidden = len(failed) - unwritten - SHOWN_FAILURES
    if hidden > 0:
        block(out, f"{hidden} more failed: mend the first, they often go together.", 2)
        out.print()
    _summary(out, exercise, verdict, failed, command, watched)


def _lines(out: Console, status: str, checks: list[CheckResult]) -> None:
    """A line for each check; many in a row that were not reached say nothing one by one."""
    if status == "not_reached" and len(checks) > FOLDED:
        hanging(out, Text("    ..  ", style="dim"), Text(f"{len(checks)} checks that build on these (not reached)", style="dim"))
        return
    suffix = {"not_reached": "  (not reached)", "not_run": "  (left out: --quick)"}.get(status, "")
    for check in checks:
        mark, style = MARKS["unfinished" if check.unfinished else status]
        hanging(out, Text(f"  {mark}  ", style=style), Text(check.title + suffix, style="dim" if suffix else ""))


def _devices(verdict: Verdict) -> str:
    """Which checks ran on a GPU: those that asked for numbers there; text, say, has no device."""
    if verdict.device == "cpu":
        return "checked on the CPU only"
    ran = [check for check in verdict.checks if check.status in ("passed", "failed")]
    rest = [check.id for check in ran if check.on == "cpu"]
    there = f"{len(ran) - len(rest)} of {len(ran)} checks ran on the GPU"
    return f"{there}; nothing to compute there: {', '.join(rest)}" if rest else there


def _failure(out: Console, check: CheckResult) -> None:
    head = ("  todo ", "bold yellow") if check.unfinished else ("  FAIL ", "bold red")
    hanging(out, Text(*head), Text(f"{check.id}: {check.title}", style="bold"))
    block(out, check.message, 4)
    if check.case and not check.unfinished:
        block(out, "case: " + ", ".join(f"{k} = {v}" for k, v in check.case.items()), 4)
    for line in check.details:
        for part in Text(clean(line, 300).replace("\n", " "), style="cyan").wrap(out, out.width - 8):
            out.print(Text("      ") + part)
    if check.replay:
        hanging(out, Text("    replay: ", style="dim"), Text(check.replay, style="dim"))


def _summary(
    out: Console, exercise: Exercise, verdict: Verdict, failed: list, command: str, watched: bool
) -> None:
    again = (" and save it", "") if watched else (", then:", command)
    passed = sum(check.status == "passed" for check in verdict.checks)
    count = f"{passed} of {len(verdict.checks)} checks pass"
    if verdict.passed and verdict.complete:
        out.print(Text.assemble(("Done: ", "bold green"), f"{count} in {verdict.seconds:.1f} s."))
        way = "" if watched or "--attempt" in command else f"python grade.py {verdict.exercise} --solution"
        next_step(out, f"compare with {exercise.solution_path}: what did you do differently?", way)
    elif verdict.passed:
        out.print(Text.assemble(("Checks pass: ", "bold green"), f"{count}; the training run was left out (--quick)."))
        next_step(out, "run everything:", command.replace(" --quick", ""))
    elif all(check.unfinished for check in failed):
        out.print(Text.assemble(("To do: ", "bold yellow"), f"{count}. {one_line(failed[0].message)}"))
        next_step(out, f"write it in {one_line(verdict.path)}{again[0]}", again[1])
    else:
        first = verdict.first_to_mend or verdict.checks[0]
        out.print(Text.assemble(("Not yet: ", "bold red"), f"{count} in {verdict.seconds:.1f} s."))
        names = {mistake.id: mistake.name for mistake in exercise.mistakes()}
        for id in verdict.mistakes:
            if id in names:
                hanging(out, Text("The mistake: ", style="bold yellow"), Text(names[id]))
        next_step(out, f"mend \"{first.id}\" in {one_line(verdict.path)} first{again[0]}", again[1])
        _ways(out, verdict, first, command, watched)


def _ways(out: Console, verdict: Verdict, check: CheckResult, command: str, watched: bool) -> None:
    """What else helps: hints for the learner's own file, and the failing case in a debugger."""
    own = "--attempt" not in command
    if own and not watched:
        ways = f"(python grade.py {verdict.exercise} --hint gives a hint, --watch checks on every save)"
        hanging(out, Text("      "), Text(ways))
    if check.replay:
        file = "" if own else " " + command[command.index("--attempt") :]
        next_step(out, "write the failing case as a script, for a debugger:", f"python grade.py --replay {check.replay}{file}", head="or: ")


def _not_started(out: Console, exercise: Exercise, verdict: Verdict, command: str, watched: bool) -> None:
    out.print(Text(f"{exercise.name} is not started yet.", style="bold yellow"))
    out.print()
    _fact(out, "open", one_line(verdict.path, 200))
    for number, asked in enumerate(exercise.asks):
        _fact(out, "" if number else "it asks for", asked)
    _fact(out, "then", "save it" if watched else command)
    out.print()
    next_step(out, "read the docstring of that file: it holds the contract and a worked example to start with.")


def next_step(out: Console, text: str, command: str = "", head: str = "Next: ") -> None:
    """What to do next, and the command for it on a line of its own, so that it can be copied."""
    hanging(out, Text(head, style="bold"), Text(text))
    for line in _as_typed(one_line(command, 400), out.width - 6):
        out.print(Text("      " + line), soft_wrap=True)


def _as_typed(command: str, width: int) -> list[str]:
    """A command in lines that a shell takes together; Windows' has no such way that all its shells know."""
    if len(command) <= width or os.name == "nt":
        return [command] if command else []
    try:
        words = [shlex.quote(word) for word in shlex.split(command)]
    except ValueError:  # cut off within quotes
        return [command]
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 3 > width:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _fact(out: Console, name: str, text: str) -> None:
    hanging(out, Text(f"  {name:<13}", style="dim"), Text(clean(text, 400)))


def clean_line(line: str) -> str:
    """A line of a learner's file as it is, without what a terminal would take for a command."""
    return clean(line, 400).replace("\t", "    ")


def hanging(out: Console, head: Text, body: Text) -> None:
    """A head, and a body whose further lines stand under its first."""
    for number, line in enumerate(body.wrap(out, max(out.width - head.cell_len, 20))):
        line.rstrip()
        out.print((head if number == 0 else Text(" " * head.cell_len)) + line)


def block(out: Console, text: str, indent: int) -> None:
    """A paragraph, indented."""
    hanging(out, Text(" " * indent), Text(clean(text)))
