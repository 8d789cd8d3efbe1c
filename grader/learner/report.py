"""A verdict as text for a person: what was graded, what did not pass, and at the end, where it is read first,
what to mend, the mistake, and the command to type next.

Fits 100 columns and says everything without colour. Whatever comes from a learner's file goes through
`clean` and into a rich Text, never into markup.
"""

import io
import itertools
import os
import shlex

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grader.judge.results import SOLUTION_READ, CheckResult, Verdict
from grader.judge.text import clean, one_line
from grader.workbook import Call
from tests.exercises import EXERCISES, Exercise

WIDTH = 100
ROWS = 24  # of the smallest terminal; the end of a report that fails fits there, below it the prompt
ROWS_OF_FILE = 40  # the same where the report goes into a file or a pipe, which can be scrolled
BELOW, BELOW_WATCHED = 3, 6  # lines around the last part: an empty one, the prompt; what --watch writes
SHOWN_FAILURES = 3  # with all their details, where everything is shown
FOLDED = 5  # checks in a row that were not reached; more of them share a line
LEAST_BODY = 4  # lines of a message and its details that are shown however much else there is
NAMED = 6  # ids in a list of checks
SOLUTION_WAS_READ = "The solution is for reading after trying; this file tried to use it."
MARKS = {
    "passed": ("ok  ", "green"), "failed": ("FAIL", "bold red"), "not_reached": ("  ..", "dim"),
    "not_run": ("  --", "dim"), "unfinished": ("todo", "yellow"),
}  # fmt: skip


def console(**options) -> Console:
    """A console of at most 100 columns; in a file or a pipe exactly 100."""
    made = Console(highlight=False, markup=False, emoji=False, **options)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def show(out: Console, verdict: Verdict, *, call: Call, watched: bool = False, verbose: bool = False) -> None:
    """Print a verdict, what has to be mended first at the end.

    call: what the learner typed; watched: saving the file grades it again; verbose: a line for every check,
    and three failures with all their details.
    """
    exercise = EXERCISES[verdict.exercise]
    out.print(Text.assemble((f"{exercise.name}  ", "bold"), (exercise.title, "bold")))
    _fact(out, "file", f"{one_line(verdict.path, 200)}  (sha256 {verdict.sha256[:12]})")
    _fact(out, "device", f"{verdict.device}, seed {verdict.seed}, {verdict.seconds:.1f} s")
    _fact(out, "isolation", verdict.isolation)
    _fact(out, "", _devices(verdict))
    for number, said in enumerate(verdict.read_as):
        _fact(out, "" if number else "read as", said)
    out.print()
    if verdict.not_started:
        _not_started(out, exercise, verdict, call, watched)
        return
    end = _summary(out, exercise, verdict, call, watched)
    if verbose:
        _everything(out, exercise, verdict)
        _print(out, end)
        return
    first = verdict.first_to_mend
    block = first is not None and not first.unfinished
    lines = _others(out, exercise, verdict, first if block else None)
    _print(out, lines, gap=bool(lines))
    _print(out, _printed(out, verdict), gap=bool(verdict.printed.strip()))
    if block:
        rows = max(out.height, ROWS) if out.is_terminal else ROWS_OF_FILE
        rows -= len(end) + (BELOW_WATCHED if watched else BELOW)
        _print(out, _first(out, exercise, verdict, first, rows), gap=True)
    _print(out, end)


def _print(out: Console, lines: list[Text], gap: bool = False) -> None:
    """Lines that fit, and an empty one after them where `gap` is true."""
    for line in lines + [Text()] * gap:
        out.print(line, soft_wrap=True)


def _others(out: Console, exercise: Exercise, verdict: Verdict, first: CheckResult | None) -> list[Text]:
    """What did not pass, in short; without the failure that is shown below, and what its mistake explains."""
    known = {mistake.id: mistake for mistake in exercise.mistakes()}
    lines, told = [], {first.mistake if first else None}
    for check in (check for check in verdict.checks if check.status == "failed" and check is not first):
        explained = check.explained(known)
        if check.mistake in told and explained:
            continue
        mark, style = MARKS["unfinished" if check.unfinished else "failed"]
        lines += hung(out, Text(f"  {mark}  ", style=style), Text(f"{check.id}: {check.title}"))
        if explained:
            told.add(check.mistake)
            said = Text(explained[0] + explained_too(verdict, check))
            lines += hung(out, Text("        the mistake: ", style="yellow"), said)
    for status, words, one, several in (
        (
            "not_reached",
            "not reached: {} on what did not pass",
            "1 check that builds",
            "{} checks that build",
        ),
        ("not_run", "left out by --quick: {}", "1 check that trains", "{} checks that train"),
    ):
        if count := sum(check.status == status for check in verdict.checks):
            checks = one if count == 1 else several.format(count)
            mark, style = MARKS[status]
            lines += hung(out, Text(f"  {mark}  ", style=style), Text(words.format(checks), style="dim"))
    return lines


def explained_too(verdict: Verdict, check: CheckResult) -> str:
    """The further checks that fail by the same mistake, as the end of a sentence; "" for none."""
    others = [other.id for other in verdict.checks if other.mistake == check.mistake and other is not check]
    return f" (it also explains {listed(others)})" if others else ""


def listed(ids: list[str]) -> str:
    """The first few ids, and how many more there are."""
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more


def _first(out: Console, exercise: Exercise, verdict: Verdict, check: CheckResult, rows: int) -> list[Text]:
    """The failure to begin with, in `rows` lines if it can be: what it says, where, and the mistake.

    Where there are too many lines the case is left out first, then details and message from the end on.
    """
    head = hung(out, Text("  FAIL ", style="bold red"), Text(f"{check.id}: {check.title}", style="bold"))
    message, mistake = hung(out, Text("    "), Text(clean(check.message))), []
    known = {mistake.id: mistake for mistake in exercise.mistakes()}
    if explained := check.explained(known):
        name, why = explained
        mistake += hung(out, Text("  The mistake: ", style="bold yellow"), Text(name, style="bold"))
        mistake += hung(out, Text("    "), Text(why))
        if also := explained_too(verdict, check):
            mistake += hung(out, Text("    "), Text(also.strip(" ()").capitalize() + "."))
    elif check.mistake == SOLUTION_READ:
        mistake += hung(out, Text("  "), Text(SOLUTION_WAS_READ))
    mistake += _candidates(out, known, check)
    room = max(rows - len(head) - len(mistake), LEAST_BODY)
    details = [line for text in check.details for line in _detail(out, text)]
    matrices = _matrix(out, check, room - len(message))
    body = message + _case(out, check) + matrices + details
    if len(body) > room:
        body = message + matrices + details
    if len(body) > room:
        more = f"      .. {len(body) - room + 1} more lines: --verbose shows everything"
        body = body[: room - 1] + [Text(more, style="dim")]
    return head + body + mistake


def _candidates(out: Console, known: dict, check: CheckResult) -> list[Text]:
    """The known mistakes of which it may be one, where two or three are left."""
    if not check.candidates:
        return []
    lines = hung(out, Text("  It may be one of these:", style="bold yellow"), Text(""))
    for id in check.candidates:
        lines += hung(out, Text("    - "), Text(known[id].name))
    return lines


def _case(out: Console, check: CheckResult) -> list[Text]:
    if not check.case or check.unfinished:
        return []
    values = ", ".join(f"{name} = {value}" for name, value in check.case.items())
    return hung(out, Text("    "), Text(clean(f"case: {values}")))


def _matrix(out: Console, check: CheckResult, rows: int | None = None) -> list[Text]:
    """The first of its matrices, expected and got side by side, in at most `rows` lines."""
    shown = check.matrices[:1]
    if not shown:
        return []
    from grader.learner import blocks  # here: the overview shows none, and loads no numpy

    return blocks.lines(out, shown[0], blocks.MOST_LINES if rows is None else rows)


def _detail(out: Console, text: str) -> list[Text]:
    return hung(out, Text("      "), Text(clean(text, 300).replace("\n", " "), style="cyan"))


def _printed(out: Console, verdict: Verdict) -> list[Text]:
    """The end of what the file printed."""
    printed = verdict.printed.strip().splitlines()
    if not printed:
        return []
    of = f", the last 8 of {len(printed)} lines" if len(printed) > 8 else ""
    lines = hung(out, Text("  "), Text(f"Your file printed{of}:", style="bold"))
    for line in printed[-8:]:
        lines += hung(out, Text("    "), Text(one_line(line, 200)))
    return lines


def _everything(out: Console, exercise: Exercise, verdict: Verdict) -> None:
    """A line for each check, then the first failures with all their details."""
    for status, checks in itertools.groupby(verdict.checks, key=lambda check: check.status):
        _lines(out, status, list(checks))
    out.print()
    failed = [check for check in verdict.checks if check.status == "failed"]
    mistakes = {mistake.id: mistake for mistake in exercise.mistakes()}
    explained = set()
    # First what was named: there the fix is known.
    for check in sorted(failed, key=lambda check: (check.unfinished, check.mistake is None))[:SHOWN_FAILURES]:
        _failure(out, check)
        if (said := check.explained(mistakes)) and check.mistake not in explained:
            explained.add(check.mistake)
            hanging(out, Text("  The mistake: ", style="bold yellow"), Text(said[0], style="bold"))
            block(out, said[1], 4)
            others = [other.id for other in failed if other.mistake == check.mistake and other is not check]
            if others:
                block(out, f"It also explains: {', '.join(others)}.", 4)
        elif check.mistake == SOLUTION_READ:
            block(out, SOLUTION_WAS_READ, 2)
        _print(out, _candidates(out, mistakes, check))
        out.print()
    _print(out, _printed(out, verdict), gap=bool(verdict.printed.strip()))
    unwritten = sum(check.unfinished for check in failed)
    hidden = len(failed) - unwritten - SHOWN_FAILURES
    if hidden > 0:
        block(out, f"{hidden} more failed: mend the first, they often go together.", 2)
        out.print()


def _lines(out: Console, status: str, checks: list[CheckResult]) -> None:
    """A line for each check; many in a row that were not reached say nothing one by one."""
    if status == "not_reached" and len(checks) > FOLDED:
        folded = Text(f"{len(checks)} checks that build on these (not reached)", style="dim")
        hanging(out, Text("    ..  ", style="dim"), folded)
        return
    suffix = {"not_reached": "  (not reached)", "not_run": "  (left out: --quick)"}.get(status, "")
    for check in checks:
        mark, style = MARKS["unfinished" if check.unfinished else status]
        title = Text(check.title + suffix, style="dim" if suffix else "")
        hanging(out, Text(f"  {mark}  ", style=style), title)


def _devices(verdict: Verdict) -> str:
    """Which checks ran on a GPU: those that asked for numbers there; text, say, has no device."""
    if verdict.device == "cpu":
        return "checked on the CPU; devices by tracing"
    ran = [check for check in verdict.checks if check.status in ("passed", "failed")]
    rest = [check.id for check in ran if check.on == "cpu"]
    there = f"{len(ran) - len(rest)} of {len(ran)} checks ran on the GPU"
    return f"{there}; nothing to compute there: {', '.join(rest)}" if rest else there


def _failure(out: Console, check: CheckResult) -> None:
    head = ("  todo ", "bold yellow") if check.unfinished else ("  FAIL ", "bold red")
    hanging(out, Text(*head), Text(f"{check.id}: {check.title}", style="bold"))
    block(out, check.message, 4)
    _print(out, _case(out, check))
    for line in check.details:
        _print(out, _detail(out, line))
    _print(out, _matrix(out, check))
    for one in check.matrices[:1]:
        _print(out, [Text("      " + line, style="cyan") for line in one.lines()])
    if check.replay:
        hanging(out, Text("    replay: ", style="dim"), Text(check.replay, style="dim"))


def _summary(out: Console, exercise: Exercise, verdict: Verdict, call: Call, watched: bool) -> list[Text]:
    """How many checks pass, and what to do next."""
    again = (" and save it", "") if watched else (", then:", call.again)
    failed = [check for check in verdict.checks if check.status == "failed"]
    count = f"{passing(verdict)} checks pass"
    if verdict.passed and verdict.complete:
        lines = hung(out, Text("Done: ", style="bold green"), Text(f"{count} in {verdict.seconds:.1f} s."))
        for check in verdict.checks:
            if check.message:
                lines += hung(out, Text("      "), Text(clean(check.message)))
        if verdict.remarks:
            lines += hung(out, Text("Worth knowing:", style="bold"), Text(""))
        for remark in verdict.remarks:
            lines += hung(out, Text("    - "), Text(clean(remark)))
        return lines + _uses(out, exercise, call)
    if verdict.passed:
        said = f"{count}; the training run was left out (--quick)."
        lines = hung(out, Text("Checks pass: ", style="bold green"), Text(said))
        return lines + step_lines(out, "run everything:", call.whole)
    if all(check.unfinished for check in failed):
        said = f"{count}. {one_line(failed[0].message)}"
        lines = hung(out, Text("To do: ", style="bold yellow"), Text(said))
        return lines + step_lines(out, f"write it in {one_line(verdict.path)}{again[0]}", again[1])
    first = verdict.first_to_mend or verdict.checks[0]
    lines = hung(out, Text("Not yet: ", style="bold red"), Text(f"{count} in {verdict.seconds:.1f} s."))
    lines += step_lines(out, f'mend "{first.id}" in {one_line(verdict.path)} first{again[0]}', again[1])
    if not call.attempt and not watched and verdict.named:
        ways = f"(python grade.py {verdict.exercise} --hint gives a hint, --watch checks on every save)"
        lines += hung(out, Text("      "), Text(ways))
    if first.replay:
        text = "write the failing case as a script, for a debugger:"
        lines += step_lines(out, text, call.replay(first.replay), head="or: ")
    return lines


def ending(verdict: Verdict, call: Call) -> str:
    """The last part of the report as plain text: how many checks pass, and what to do next. Its lines are as
    long as they come, for a page that wraps them itself."""
    out, exercise = console(file=io.StringIO()), EXERCISES[verdict.exercise]
    out.width = 10_000
    if verdict.not_started:
        _not_started(out, exercise, verdict, call, watched=False)
        return out.file.getvalue().strip()
    return "\n".join(line.plain.rstrip() for line in _summary(out, exercise, verdict, call, watched=False))


def _uses(out: Console, exercise: Exercise, call: Call) -> list[Text]:
    """What to do with a file that passes; the commands are for the learner's own."""
    compare = f"compare with {exercise.solution_path}: what did you do differently?"
    if call.attempt:
        return step_lines(out, compare)
    lines = []
    for text, command in (*exercise.uses, (compare, f"python grade.py {exercise.name} --solution")):
        lines += step_lines(out, text, command, head="or: " if lines else "Next: ")
    return lines


def passing(verdict: Verdict) -> str:
    """How many checks pass, of how many."""
    return f"{sum(check.status == 'passed' for check in verdict.checks)} of {len(verdict.checks)}"


def show_all(out: Console, graded: list[tuple[Verdict, Call]]) -> None:
    """A table of several verdicts, and what to do next; printed after their reports."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("", "exercise", "verdict", "checks", "mend first"):
        table.add_column(column)
    for verdict, _ in graded:
        exercise, first = EXERCISES[verdict.exercise], verdict.first_to_mend
        state, style = _state(verdict)
        table.add_row(
            Text(exercise.name, style="bold"),
            exercise.title.split(":")[0],
            Text(state, style=style),
            passing(verdict),
            Text(first.id if first and not verdict.not_started else ""),
        )
    out.print(table)
    out.print()
    todo = next(((v, call) for v, call in graded if not v.passed), None)
    left_out = next(((v, call) for v, call in graded if not v.complete), None)
    if todo is not None:
        verdict, call = todo
        start = "begin" if verdict.not_started else "go on"
        next_step(out, f"{start} with {verdict.exercise}, in {one_line(verdict.path)}, then:", call.again)
    elif left_out is not None:
        next_step(out, "run everything:", left_out[1].whole)
    else:
        exercise = EXERCISES[graded[-1][0].exercise]
        _print(out, _uses(out, exercise, graded[-1][1]))


def _state(verdict: Verdict) -> tuple[str, str]:
    """A verdict in two words, and their style."""
    if verdict.passed:
        return ("done", "green") if verdict.complete else ("checks pass", "green")
    if verdict.not_started:
        return "not started", "dim"
    failed = [check for check in verdict.checks if check.status == "failed"]
    return ("to do", "yellow") if all(check.unfinished for check in failed) else ("not yet", "red")


def show_changes(out: Console, before: Verdict, now: Verdict) -> None:
    """Which checks pass and which fail since the verdict before."""
    earlier = {check.id: check.status for check in before.checks}
    passing = [c.id for c in now.checks if c.status == "passed" != earlier[c.id]]
    failing = [c.id for c in now.checks if c.status == "failed" and earlier[c.id] == "passed"]
    reached = [c.id for c in now.checks if c.status == "failed" and earlier[c.id] == "not_reached"]
    changes = [
        ("now passing: ", passing),
        ("newly failing: ", failing),
        ("now reached, and failing: ", reached),
    ]
    said = "; ".join(words + listed(ids) for words, ids in changes if ids)
    said = said or "the same checks pass and fail as before"
    hanging(out, Text("Since the last save: ", style="bold"), Text(f"{said}."))


def _not_started(out: Console, exercise: Exercise, verdict: Verdict, call: Call, watched: bool) -> None:
    out.print(Text(f"{exercise.name} is not started yet.", style="bold yellow"))
    out.print()
    _fact(out, "open", one_line(verdict.path, 200))
    for number, asked in enumerate(exercise.asks):
        _fact(out, "" if number else "it asks for", asked)
    _fact(out, "then", "save it" if watched else call.again)
    out.print()
    said = "read the docstring of that file: it holds the contract and a worked example to start with."
    next_step(out, said)


def next_step(out: Console, text: str, command: str = "", head: str = "Next: ") -> None:
    """What to do next, and the command for it on a line of its own, so that it can be copied."""
    _print(out, step_lines(out, text, command, head))


def step_lines(out: Console, text: str, command: str = "", head: str = "Next: ") -> list[Text]:
    """The same as lines."""
    typed = _as_typed(one_line(command, 400), out.width - 6)
    return hung(out, Text(head, style="bold"), Text(text)) + [Text("      " + line) for line in typed]


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
    """Print a head, and a body whose further lines stand under its first."""
    for line in hung(out, head, body):
        out.print(line)


def hung(out: Console, head: Text, body: Text) -> list[Text]:
    """A head, and a body whose further lines stand under its first, as lines of the console's width."""
    lines = []
    for number, line in enumerate(body.wrap(out, max(out.width - head.cell_len, 20))):
        line.rstrip()
        lines.append((head if number == 0 else Text(" " * head.cell_len)) + line)
    return lines


def block(out: Console, text: str, indent: int) -> None:
    """A paragraph, indented."""
    hanging(out, Text(" " * indent), Text(clean(text)))
