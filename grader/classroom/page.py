"""The class report, report.html: one file without scripts that asks nothing of any other place.

What comes from hand-ins is text between tags and nothing else: it is escaped, and never part of an attribute.
"""

import collections
import re
import statistics
from collections.abc import Iterable
from html import escape

from grader.classroom.entries import visible
from grader.classroom.similar import LEVEL, Pair, rare_mistakes
from grader.classroom.store import GRADED
from grader.classroom.summary import STATUSES, Result, Row, Summary
from grader.judge.results import OTHER_FILE_READ, SOLUTION_READ
from grader.judge.text import clean, one_line
from grader.page import document, text

LONGEST_NAME = 40  # characters of a student's or a file's name
SLOWEST = 5
MOST_LINES, LONGEST_LINE = 120, 120  # of one file in a pair; characters of a line
MOST_RARE = 20
WARNING = (
    f"Pairs that have {LEVEL:.0%} or more of the smaller file in common, not counting what the exercise, the "
    "solution, the lecture or a fifth of the class have, too. Whoever worked together, or began from the "
    "same page, is here as well. It is a place to look, and never a verdict."
)
CELLS = {"passed": "", "failed": " class=f", "not_reached": " class=n", "not_run": " class=o"}
STYLE = """
summary{font-weight:bold;cursor:pointer;margin:.3rem 0}summary small{font-weight:normal}li{max-width:45rem}
.pair{table-layout:fixed;width:100%}.pair pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px}
@media(max-width:45rem){.pair td{display:block}}
.m th,.m td{padding:0 .2rem;font-size:12px;text-align:center;border:1px solid #8884;min-width:.8rem}
.m thead th{writing-mode:vertical-rl;vertical-align:bottom;padding:.2rem 0}
.m thead th{position:sticky;top:0;background:Canvas}
.m tbody th{text-align:left;white-space:nowrap;position:sticky;left:0;background:Canvas}
.m tbody th{max-width:min(20rem,35vw);overflow:hidden;text-overflow:ellipsis}
.m thead th:first-child{writing-mode:horizontal-tb;text-align:left;left:0;z-index:1;padding:.2rem}
.m td{background:#2a92}.f::before{content:"\\2717"}.m .f{background:#d338}
.n::before{content:"\\B7"}.m .n{background:none}.o::before{content:"\\2013"}.m .o{background:none}
"""
HAND = {"refused": "refused", "not_gradable": "not gradable", "not_graded": "not graded"}
READ = {SOLUTION_READ: "tried to read the solution", OTHER_FILE_READ: "tried to read another file"}


def html(summary: Summary, found: list[Pair] = ()) -> str:
    """The class report. found: pairs of similar hand-ins."""
    rows, exercise = summary.rows(), summary.exercise
    title = f"{exercise.name}: {exercise.title}"
    sections = (
        _counts(summary, rows),
        _by_hand(rows),
        _mistakes(summary, rows),
        _unnamed(summary, rows),
        _matrix(summary, rows),
        _alike(summary, found),
        _time(rows),
    )
    return document(title, sections, style=STYLE)


def pairs_html(summary: Summary, found: list[Pair]) -> str:
    """The pairs of similar hand-ins, their common lines side by side."""
    sections = [f"<p>{text(WARNING)}</p>"]
    for pair in found:
        names = [_name(result) for result in (pair.one, pair.other)]
        sections.append(f"<h2>{pair.share:.0%}: {names[0]} and {names[1]}</h2><table class=pair><tr>")
        for result, name, lines in zip((pair.one, pair.other), names, pair.lines):
            sections.append(f"<td><b>{name}</b><pre>{_common(result.record.source, lines)}</pre>")
        sections.append("</table>")
    return document(f"{summary.exercise.name}: similar hand-ins", sections, style=STYLE)


def _name(result: Result) -> str:
    return text(visible(f"{result.entry.student} {result.entry.name}"), 2 * LONGEST_NAME)


def _common(source: str, lines: tuple[int, ...]) -> str:
    """The lines of a text that are common, each with its number; a gap where others lie between."""
    rows, shown, before = source.split("\n"), [], None
    for line in lines[:MOST_LINES]:
        if before is not None and line > before + 1:
            shown.append("")
        shown.append(f"{line:4}  {escape(clean(rows[line - 1], LONGEST_LINE)) if line <= len(rows) else ''}")
        before = line
    return "\n".join(shown)


def _alike(summary: Summary, found: list[Pair]) -> str:
    """The pairs in short, and who made the same rare mistake."""
    lines = ["<h2>Similar hand-ins</h2>"]
    if found:
        lines.append(f"<p>{text(WARNING)} The lines are in similar.html.</p><ul>")
        lines += [f"<li>{pair.share:.0%}: {_name(pair.one)}, {_name(pair.other)}" for pair in found]
        lines.append("</ul>")
    else:
        lines.append(f"<p>No pair has {LEVEL:.0%} in common.</p>")
    rare = rare_mistakes(summary.results)
    if rare:
        lines.append("<p>The same rare mistake, which is no more than that:</p><ul>")
        lines += [
            f"<li>{text(shared.mistake)}: {', '.join(map(_name, shared.results))}"
            for shared in rare[:MOST_RARE]
        ]
        lines.append("</ul>")
    return "\n".join(lines)


def _who(row: Row) -> str:
    """A student, as short as it can be."""
    name = f"{row.student} ({row.name})" if row.name else row.student
    return text(visible(name), LONGEST_NAME)


def _listed(rows: Iterable[Row]) -> str:
    return ", ".join(_who(row) for row in rows)


def _counts(summary: Summary, rows: list[Row]) -> str:
    count = collections.Counter(row.status for row in rows)
    settings = summary.settings
    how = [f"seed {settings.seed}"] + ["without training runs"] * settings.quick
    lines = [
        f"<p><strong>{count['pass']} of {len(rows)}</strong> pass ({', '.join(how)}).</p>",
        "<table>",
        *(
            f"<tr><th>{text(status.replace('_', ' '))}<td>{count[status]}"
            f"<td><progress value={count[status]} max={len(rows) or 1}></progress>"
            for status in STATUSES
            if count[status]
        ),
        "</table>",
    ]
    if summary.stopped:
        lines.insert(0, "<p><strong>The class was stopped before its end.</strong></p>")
    levels = sorted({row.isolation for row in rows if row.status in GRADED})
    lines += [f"<p>Isolation: {text(level)}.</p>" for level in levels]
    return "\n".join(lines)


def _by_hand(rows: list[Row]) -> str:
    """Whom a person must look at, and why."""
    lines = []
    for row in rows:
        said = []
        if row.status in HAND:
            said.append(f"{HAND[row.status]}: {row.reason}")
        said += [READ[mistake] for mistake in row.mistakes.split() if mistake in READ]
        if row.status == "fail" and row.checks and row.checks - row.checks_passed == 1 and not row.mistakes:
            said.append(f"one check alone fails, {row.first_failure}, and no mistake was named")
        said += [note for note in row.remarks.split("; ") if "roster" in note or "entries are of" in note]
        if said:
            file = f" <small>{text(row.file, LONGEST_NAME)}</small>" if row.file else ""
            lines.append(f"<li>{_who(row)}{file}: {text('; '.join(said))}")
    missing = [row for row in rows if row.status == "missing"]
    if missing:
        lines.append(f"<li>Nothing was handed in by {len(missing)}: {_listed(missing)}")
    return "<h2>To be looked at by hand</h2>\n" + (
        "<ul>" + "\n".join(lines) + "</ul>" if lines else "<p>Nobody.</p>"
    )


def _mistakes(summary: Summary, rows: list[Row]) -> str:
    """The named mistakes, the most frequent first."""
    made: dict[str, list[tuple[Row, Result]]] = {}
    for row, result in zip(rows, summary.results):
        for mistake in row.mistakes.split():
            if mistake not in READ:
                made.setdefault(mistake, []).append((row, result))
    known = {mistake.id: (mistake.name, mistake.why) for mistake in summary.exercise.mistakes()}
    lines = ["<h2>Mistakes</h2>"]
    for mistake, by in sorted(made.items(), key=lambda item: (-len(item[1]), item[0])):
        name, why = known.get(mistake) or by[0][1].record.explained.get(mistake) or (mistake, "")
        title = _title_of(by[0][1], mistake)
        said = (
            f"<p>{text(why, 1500)}</p><p>For the next lecture: show that this must hold: {text(title)}.</p>"
        )
        lines.append(_made_by([row for row, _ in by], name, said))
    return "\n".join(lines if made else [*lines, "<p>None was named.</p>"])


def _made_by(rows: list[Row], title: str, said: str) -> str:
    """What went wrong, by how many and by whom; what one alone did, of which there is much, in a line that
    opens."""
    head, who = f"{len(rows)} &times; {text(title)}", f"<small>{_listed(rows)}</small>"
    if len(rows) == 1:
        return f"<details><summary>{head} {who}</summary>{said}</details>"
    return f"<h3>{head}</h3>{said}<p>{who}</p>"


def _title_of(result: Result, mistake: str) -> str:
    """What the first check asks that fails by a mistake."""
    checks = result.record.verdict["checks"]
    return next(check["title"] for check in checks if check["mistake"] == mistake)


def _unnamed(summary: Summary, rows: list[Row]) -> str:
    """Failures without a name, together where the same check says the same but for its numbers."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row, result in zip(rows, summary.results):
        if row.status == "fail" and not row.mistakes:
            checks = result.record.verdict["checks"]
            check = next(check for check in checks if check["id"] == row.first_failure)
            found.setdefault((check["title"], where(check["message"])), []).append(row)
    lines = ["<h2>Failures without a name</h2>"]
    for (title, said), by in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(_made_by(by, title, f"<p>{text(said)}</p>"))
    return "\n".join(lines if found else [*lines, "<p>None.</p>"])


def where(message: str) -> str:
    """What a failed check says, without what differs from one file to the next: numbers and quotes."""
    said = re.split(r"(?<=[.?])\s", one_line(message, 600), maxsplit=1)[0]
    return re.sub(r"['\"`].*?['\"`]", "…", re.sub(r"-?\d[\d.,e+-]*", "#", said))


def _matrix(summary: Summary, rows: list[Row]) -> str:
    """Checks by students, the best first."""
    ids = summary.exercise.checks
    graded = [(row, result) for row, result in zip(rows, summary.results) if row.status in GRADED]
    graded.sort(key=lambda pair: -pair[0].checks_passed)
    lines = ["<h2>Checks</h2><p>&#10007; failed, &middot; not reached, &ndash; left out; empty: passed.</p>"]
    lines += ["<div class=wide><table class=m><thead><tr><th>student"]
    failed: collections.Counter = collections.Counter()
    body = []
    for row, result in graded:
        checks = result.record.verdict["checks"]
        failed.update(check["id"] for check in checks if check["status"] == "failed")
        body.append(f"<tr><th>{_who(row)}" + "".join(f"<td{CELLS[check['status']]}>" for check in checks))
    lines.append("".join(f"<th>{text(id)}" for id in ids))
    lines.append("<tbody><tr><th>how many fail" + "".join(f"<td>{failed[id] or ''}" for id in ids))
    return "\n".join([*lines, *body, "</table></div>"])


def _time(rows: list[Row]) -> str:
    graded = sorted((row for row in rows if row.status in GRADED), key=lambda row: -row.seconds)
    if not graded:
        return ""
    seconds = [row.seconds for row in graded]
    slowest = ", ".join(f"{_who(row)} {row.seconds:.1f} s" for row in graded[:SLOWEST])
    return (
        f"<h2>Time</h2><p>{sum(seconds):.0f} s in all, {statistics.median(seconds):.1f} s in the median. "
        f"The slowest: {slowest}.</p>"
    )
