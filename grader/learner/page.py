"""A grade as one HTML file, for --html FILE: the verdict, what to do next, every check, and pictures of what
was expected and what came. It loads nothing, and is read in the light, in the dark and on paper."""

import hashlib
from html import escape

from grader import page
from grader.judge.results import SOLUTION_READ, CheckResult, Verdict
from grader.learner import curves, heatmaps, report
from grader.page import lines, text
from grader.workbook import Call
from tests.exercises import EXERCISES, Exercise
from tests.exercises.shown import Curves, ErrorMap, Matrices, Shares, Table

STYLE = """
.v{padding:.6rem 1rem;border-left:.4rem solid #888;background:#8881}.v.good{border-color:#2a9d4a}
.v.bad{border-color:#d33}.v p{margin:.2rem 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#8881;padding:.5rem;margin:.5rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem;font-size:.9rem}
dd{margin:0;overflow-wrap:anywhere}
details,div:is(.passed,.not_reached,.not_run){border-top:1px solid #8884;padding:.2rem 0}
summary{cursor:pointer}summary b,div>b{margin:0 .4rem}
.passed>b,.passed>summary b{color:#2a9d4a}.failed>summary b{color:#d33}.todo>summary b{color:#c80}
small{white-space:nowrap}
.mistake{border-left:.3rem solid #d90;padding-left:.8rem}
figure{margin:1rem 0}figcaption,.legend{font-size:.85rem;max-width:45rem}
.legend>span{margin-right:1.2rem;white-space:nowrap}
.scale{width:6rem;height:.8rem;image-rendering:pixelated;vertical-align:middle}
.spot{width:.8rem;height:.8rem;vertical-align:middle}
.out{display:inline-block;width:.7rem;height:.7rem;border:2px solid #f30;vertical-align:middle}
.heads{display:flex;flex-wrap:wrap;gap:.5rem}
.head{font:inherit;color:inherit;background:none;border:1px solid #8884;border-radius:.3rem;padding:.3rem;
width:13rem;max-width:100%;text-align:left;cursor:pointer}.head.large{width:60rem;order:-1;cursor:default}
.head i{display:none;font-style:normal;font-size:.85rem}.head.large i{display:inline}
svg{width:100%;height:auto;display:block}svg text{font:6px ui-monospace,monospace;fill:currentColor}
svg .t{font-size:8px}svg .s{font-size:4.5px}svg .e{text-anchor:end}svg .m{text-anchor:middle}
.head text{display:none}.head.large text{display:inline}
image{image-rendering:pixelated}rect{fill:none;stroke:currentColor;stroke-opacity:.4;stroke-width:.5}
path{fill:none;stroke:#f30;stroke-width:2;stroke-linecap:square;vector-effect:non-scaling-stroke}
.head:not(.large) path{stroke-width:1}
.map,.side{display:inline-block;max-width:100%;vertical-align:top;margin-right:2rem}.map{width:24rem}
.map svg text{font-size:9px}.side progress{width:9rem}
.curves svg text{font-size:11px}.curves{max-width:45rem}path.axis{stroke:currentColor;stroke-width:1}
polyline,line{fill:none;stroke-width:2}.c0{stroke:#2b7de9}.c1{stroke:#e07b00}.c2{stroke:#2a9d4a}.c3{stroke:#c43bd4}
.legend .key{width:2rem;display:inline-block;vertical-align:middle}
@media print{body{margin:0;max-width:none}.head{break-inside:avoid;width:11rem}.head.large{width:100%}
*{print-color-adjust:exact}}
"""
SCRIPT = """
document.addEventListener('click', event => {
  const head = event.target.closest('.head');
  if (!head) return;
  for (const other of head.parentNode.children) {
    other.classList.toggle('large', other === head);
    other.setAttribute('aria-expanded', other === head);
  }
});
addEventListener('beforeprint', () => {
  for (const check of document.querySelectorAll('details.failed')) check.open = true;
});
"""
# How a check came out: its mark, and the words.
STATUS = {
    "passed": ("&#10003;", "passed"),
    "failed": ("&#10007;", "failed"),
    "todo": ("&#9675;", "to do"),
    "not_reached": ("&middot;", "not reached"),
    "not_run": ("&ndash;", "left out"),
}


def html(graded: list[tuple[Verdict, Call]]) -> str:
    """The page of one verdict, or of several."""
    titles = [f"{name}: {EXERCISES[name].title}" for name in (verdict.exercise for verdict, _ in graded)]
    drawn: dict[str, str] = {}
    sections = [
        _verdict(verdict, call, "" if len(graded) == 1 else f"<h2>{text(title)}</h2>", drawn)
        for (verdict, call), title in zip(graded, titles)
    ]
    title = titles[0] if len(graded) == 1 else "all exercises"
    return page.document(title, sections, style=STYLE, script=SCRIPT, images=True)


def _verdict(verdict: Verdict, call: Call, title: str, drawn: dict[str, str]) -> str:
    exercise, first = EXERCISES[verdict.exercise], verdict.first_to_mend
    unwritten = all(check.unfinished for check in verdict.checks if check.status == "failed")
    good = "good" if verdict.passed else "" if verdict.not_started or unwritten else "bad"
    parts = [title, f'<div class="v {good}"><pre>{lines(report.ending(verdict, call))}</pre></div>']
    facts = [
        ("file", f"{verdict.path} (sha256 {verdict.sha256[:12]})"),
        ("device", f"{verdict.device}, seed {verdict.seed}, {verdict.seconds:.1f} s"),
        ("isolation", verdict.isolation),
        *(("read as", said) for said in verdict.read_as),
    ]
    parts.append(f"<dl>{''.join(f'<dt>{name}<dd>{text(said)}' for name, said in facts)}</dl>")
    # What to mend first comes first, then what else failed, and then what has pictures.
    checks = sorted(
        verdict.checks, key=lambda check: (check is not first, check.status != "failed", not check.shown)
    )
    parts.append("<h3>Checks</h3>")
    parts += [_check(exercise, verdict, check, drawn, open=check is first) for check in checks]
    if verdict.printed.strip():
        parts.append(f"<h3>What your file printed</h3><pre>{lines(verdict.printed)}</pre>")
    return "\n".join(parts)


def _check(exercise: Exercise, verdict: Verdict, check: CheckResult, drawn, open: bool) -> str:
    status = "todo" if check.unfinished else check.status
    mark, said = STATUS[status]
    took = f", {check.seconds:.1f} s" if check.seconds >= 0.1 else ""
    head = f"{mark}<b>{text(check.id)}</b>{text(check.title)} <small>({said}{took})</small>"
    pictures = "".join(_picture(one, drawn) for one in (*check.matrices, *check.shown))
    open = open or bool(pictures and check.status == "passed")
    body = [f"<p>{text(check.message, 2000)}</p>"] if check.message else []
    known = {mistake.id: mistake for mistake in exercise.mistakes()}
    if explained := check.explained(known):
        name, why = explained
        also = report.explained_too(verdict, check)
        also = f"{also.strip(' ()').capitalize()}." if also else ""
        name = f"<strong>The mistake: {text(name)}.</strong>"
        body.append(f"<p class=mistake>{name} {text(why, 2000)} {text(also)}</p>")
    elif check.mistake == SOLUTION_READ:
        body.append(f"<p class=mistake>{report.SOLUTION_WAS_READ}</p>")
    if check.candidates:
        listed = "".join(f"<li>{text(known[id].name)}" for id in check.candidates)
        body.append(f"<p class=mistake>It may be one of these:</p><ul>{listed}</ul>")
    body.append(pictures)
    if check.details:
        body.append(f"<pre>{lines(chr(10).join(line[:300] for line in check.details[:40]))}</pre>")
    if check.case:
        case = ", ".join(f"{name} = {value}" for name, value in check.case.items())
        body.append(f"<p><small>case: {text(case)}</small></p>")
    if not any(body):
        return f"<div class={status}>{head}</div>"
    opened = " open" if open else ""
    return f"<details class={status}{opened}><summary>{head}</summary>{''.join(body)}</details>"


def _picture(shown, drawn: dict[str, str]) -> str:
    """One picture; the same again is only named."""
    if isinstance(shown, Matrices):
        if not shown.wrong.any():
            return ""
        key = hashlib.sha256(shown.expected.tobytes() + shown.got.tobytes()).hexdigest()
        if key in drawn:
            return f'<p><a href="#{drawn[key]}">The same matrices as above.</a></p>'
        drawn[key] = f"m{len(drawn)}"
        return f'<div id="{drawn[key]}">{heatmaps.heads(shown, drawn[key])}</div>'
    if isinstance(shown, ErrorMap):
        return heatmaps.errors(shown)
    if isinstance(shown, Curves):
        return curves.curves(shown)
    if isinstance(shown, Shares):
        rows = (
            f"<tr><th>{escape(name)}<td><progress max=1 value={share:.4f}></progress><td>{share:.1%}"
            f"<td><small>of {count}</small>"
            for name, share, count in shown.rows
        )
        title = f"<figure class=side><figcaption>{escape(shown.title)}</figcaption>"
        return f"{title}<table>{''.join(rows)}</table></figure>"
    assert isinstance(shown, Table)
    head = "".join(f"<th>{escape(name)}" for name in shown.columns)
    rows = ("".join(f"<td>{_cell(value)}" for value in row) for row in shown.rows)
    return (
        f"<figure><figcaption>{escape(shown.title)}</figcaption><div class=wide><table><tr>{head}"
        f"{''.join(f'<tr>{row}' for row in rows)}</table></div></figure>"
    )


def _cell(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.3f}"
