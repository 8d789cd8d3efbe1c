"""The HTML report of a grade: it stands alone, shows what was expected and what came, and nothing in it is
markup that came from an attempt."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from grader.learner import heatmaps, page
from grader.learner.png import png
from grader.workbook import Call
from tests.browser import needs_chromium, opened
from tests.exercises import EXERCISES
from tests.exercises.shown import Curves, ErrorMap, Matrices, Shares, Table
from tests.grader.attempts import REPOSITORY, in_forward, verdict_of, with_mistake
from tests.grader.test_blocks import causal

EX1, EX2 = EXERCISES["ex1"], EXERCISES["ex2"]
HOSTILE = "<img src=x onerror=alert(1)></style></script><script>alert(2)</script>&\"'\x1b[31m\u202e\ud800\n"
PICTURES = (
    ErrorMap.of("where it errs", [1, 999, 500], [2, 3, 999], [False, True, True], (1000, 1000)),
    Shares("right by digit", (("units", 0.25, 40), ("tens", 1.0, 40))),
    Table("losses", ("seed", "finetuned"), (("0", 1.25), ("1", float("nan")))),
    Curves("loss while training", "step", "loss", {"seed 0": [(0, 3.0), (9, float("inf")), (10, 1.0)]}),
)


def failing(shown=(), message="Is the first dimension of each matrix the query?"):
    """A verdict of exercise 1 in which attention_matrix fails by a known mistake, with its matrices."""
    verdict = verdict_of(EX1, ("attention_matrix",), ("no_mask",))
    check = verdict.first_to_mend
    check.message, check.details, check.case = message, ["line 12, in forward: y = w @ v"], {"B": 2, "T": 6}
    check.shown = [Matrices.of(*causal(6, heads=3), 1e-5), *shown]
    return verdict


def page_of(verdict, call=None) -> str:
    return page.html([(verdict, call or Call(verdict.exercise))])


class _Seen(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes


def hostile():
    """A verdict with hostile text wherever an attempt's text may get into one."""
    verdict = failing(PICTURES, message=HOSTILE)
    verdict.path = verdict.printed = verdict.isolation = HOSTILE
    verdict.read_as, verdict.remarks = [HOSTILE], [HOSTILE]
    check = verdict.first_to_mend
    check.details, check.case, check.replay = [HOSTILE], {"a": HOSTILE}, HOSTILE
    return verdict


def test_nothing_from_an_attempt_is_markup():
    text = page_of(hostile(), Call("ex1", attempt=HOSTILE))
    seen = _Seen(text)
    assert "onerror" not in dict(seen.attributes) and "style" not in dict(seen.attributes)
    assert seen.tags.count("script") == 1 and text.count("</script>") == 1 and text.count("</style>") == 1
    assert "&lt;img src=x onerror=alert(1)&gt;" in text and text.encode("utf-8")
    sources = [value for name, value in seen.attributes if name in ("src", "href")]
    assert sources and all(value.startswith(("data:image/png;base64,", "#")) for value in sources)


def test_the_policy_forbids_everything_but_its_own_style_script_and_pictures():
    text = page_of(hostile())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    for tag in ("style", "script"):
        part = re.search(f"<{tag}>(.*?)</{tag}>", text, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ") and "img-src data:" in policy
    assert "http://" not in text and "https://" not in text and "url(" not in text


def test_it_says_what_the_report_in_the_terminal_says():
    text = page_of(failing())
    known = {mistake.id: mistake for mistake in EX1.mistakes()}["no_mask"]
    for said in (known.name, "first dimension of each matrix", "line 12, in forward", "B = 2, T = 6"):
        assert said in text
    assert f"{len(EX1.checks) - 1} of {len(EX1.checks)} checks pass" in text
    assert "python grade.py ex1" in text and all(f"<b>{id}</b>" in text for id in EX1.checks)


def test_every_head_is_there_and_the_worst_one_is_large():
    text = page_of(failing())
    assert text.count('class="head') == 3 and text.count('class="head large"') == 1
    assert 'aria-label="head 2: ' in text and "Outlined: the future got weight" in text
    assert re.search(r"Rows sum to 1, columns to [\d.]+ \.\. [\d.]+", text)


def test_only_cells_of_the_future_with_weight_are_outlined():
    expected, got = causal(4, heads=1)
    got = np.where(np.arange(4) == 3, 0, got)
    drawn = heatmaps.heads(Matrices.of(expected, got, 1e-5), "m0")
    assert re.search(r'<path [^>]* d="M1 0h2M1 1h1M2 2h1M1 0v1M2 1v1M3 0v2"/>', drawn)
    assert "<path" not in heatmaps.heads(Matrices.of(expected, expected / 2, 1e-5), "m0")


def test_a_picture_holds_every_cell_as_its_colour():
    pixels = np.array([[0, 1, 2], [2, 1, 0]])
    data = png(pixels, ((0, 0, 0, 0), (255, 0, 0, 255), (0, 0, 255, 255)))
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[16:24] == bytes([0, 0, 0, 3, 0, 0, 0, 2])
    rows = zlib.decompressobj().decompress(data[data.index(b"IDAT") + 4 :])
    assert rows == bytes([0, 0, 1, 2, 0, 2, 1, 0])


def test_a_cell_that_is_not_a_number_and_one_beyond_the_scale_are_drawn():
    assert heatmaps.weights(np.array([np.nan, np.inf, -3.0, 1.0, 1e-9])).tolist() == [1, 17, 2, 17, 2]
    assert heatmaps.weights(np.array([0.01])).tolist() == [3]  # no longer nothing


def test_what_two_checks_have_in_common_is_drawn_once():
    verdict = failing()
    other = next(check for check in verdict.checks if check.id == "causality")
    other.status, other.shown = "failed", list(verdict.first_to_mend.shown)
    text = page_of(verdict)
    assert text.count('class="head') == 3 and "The same matrices as above" in text


def test_what_a_training_check_measured_is_drawn_where_it_passes_too():
    verdict = verdict_of(EX2)
    verdict.checks[-1].shown = list(PICTURES)
    text = page_of(verdict)
    assert "where it errs: 2 of 3 are wrong" in text and "right by digit" in text and "25.0%" in text
    assert "loss while training: seed 0 ends at 1" in text and "nan" in text


def test_several_verdicts_are_one_page():
    text = page.html([(failing(), Call("ex1")), (verdict_of(EX2), Call("ex2"))])
    assert f"<h2>ex1: {EX1.title}</h2>" in text and "<h2>ex2: " in text and text.count("<!doctype") == 1


def test_an_untouched_stub_says_what_to_write():
    verdict = verdict_of(EX1, EX1.checks[1:], not_started=True)
    assert "not started yet" in page_of(verdict)


def test_the_script_is_short():
    assert len(page.SCRIPT.strip().splitlines()) < 100


def test_a_grade_without_a_page_loads_nothing_that_draws_it_and_the_overview_no_numpy():
    code = (
        "import sys, grader.cli, grader.learner.status, grader.judge.results\n"
        "assert 'numpy' not in sys.modules\n"
        "import grader.judge.grade\n"
        "assert not {'grader.learner.page', 'grader.learner.heatmaps'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_command_writes_it_whole_beside_the_json(tmp_path):
    out, record = tmp_path / "report.html", tmp_path / "verdict.json"
    command = [sys.executable, "grade.py", "ex1", "--attempt", "tests/exercises/ex1/example_attempt.py"]
    command += ["--html", str(out), "--json", str(record)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    text = out.read_text(encoding="utf-8")
    assert "the softmax runs over the queries" in text and text.endswith("</html>\n")
    assert {path.name for path in tmp_path.iterdir()} == {out.name, record.name}
    assert json.loads(record.read_text())["attempt"]["sha256"][:12] in text


@pytest.mark.slow
def test_what_a_real_attempt_raises_and_prints_is_text(graded):
    code = 'print("<script>alert(2)</script>"); raise ValueError("<img src=x onerror=alert(1)>")'
    verdict = graded(in_forward(code), name="<b>mine.py")
    text, seen = page_of(verdict), _Seen(page_of(verdict))
    assert "&lt;img src=x onerror=alert(1)&gt;" in text and "&lt;script&gt;alert(2)" in text
    assert "onerror" not in dict(seen.attributes) and seen.tags.count("script") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "id, check", [("no_mask", "causality"), ("no_scale", "scale"), ("no_mask", "values")]
)
def test_a_real_mistake_in_the_attention_shows_its_matrices_where_it_fails(graded, id, check):
    verdict = graded(with_mistake(EX1, id))
    failed = next(one for one in verdict.checks if one.id == check)
    assert failed.status == "failed" and failed.matrices and failed.matrices[0].wrong.any()
    assert page_of(verdict).count('class="head large"') > 1


@pytest.mark.slow
@needs_chromium
def test_a_browser_shows_it_without_a_request_or_an_error_and_a_click_makes_a_head_large(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page_of(hostile()), encoding="utf-8")
    seen = opened(path, tmp_path)
    assert "<h1>" in seen.dom and seen.console == [] and seen.requested == []
    # The page itself may run nothing but its own script, so its click is tried where there is no policy.
    free = re.sub(r"<meta http-equiv[^>]*>", "", path.read_text(encoding="utf-8"))
    click = "<script>document.querySelectorAll('.head')[0].click()</script></body>"
    path.write_text(free.replace("</body>", click), encoding="utf-8")
    (tmp_path / "again").mkdir()
    seen = opened(path, tmp_path / "again")
    heads = re.findall(r'class="(head[ large]*)" aria-expanded="(\w+)"', seen.dom)
    assert heads[0] == ("head large", "true") and [head for head, _ in heads[1:]] == ["head", "head"]
