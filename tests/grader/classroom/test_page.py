"""The class report: small, alone, and nothing in it is markup that came from a hand-in."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from grader.classroom.page import html, pairs_html, where
from grader.classroom.similar import Pair
from grader.classroom.store import Record
from tests.browser import needs_chromium, opened
from tests.grader.classroom.classes import EX1, record, result, summary_of

HOSTILE = "<img src=x onerror=alert(1)></style><script>alert(2)</script>&\"'\x1b[31m\u202e\ud800\n"


def hostile_class():
    failing = record("scale", mistakes=["no_scale"])
    for check in failing.verdict["checks"]:
        check["message"] = HOSTILE
    failing.verdict["remarks"] = [HOSTILE]
    unnamed = record("causality")
    next(check for check in unnamed.verdict["checks"] if check["status"] == "failed")["message"] = HOSTILE
    fitted = Record(
        "fail",
        verdict=record("scale", mistakes=["a_factor"]).verdict,
        explained={"a_factor": [HOSTILE, HOSTILE]},
    )
    return summary_of(
        result(HOSTILE, HOSTILE, failing),
        result("bob" + HOSTILE, HOSTILE, unnamed),
        result("cy", HOSTILE, fitted),
        result("dee", HOSTILE, Record("refused", HOSTILE)),
        result("eve", "", Record("missing", HOSTILE)),
    )


class _Seen(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes


def test_nothing_from_a_hand_in_is_markup():
    page = html(summary_of(*hostile_class().results))
    seen = _Seen()
    seen.feed(page)
    assert not seen.tags & {"img", "script", "iframe", "object", "link", "form", "a", "svg"}
    assert not any(name.startswith("on") or name in ("src", "href", "style") for name, _ in seen.attributes)
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.encode("utf-8") and page.count("</style>") == 1


def test_the_policy_forbids_everything_but_the_pages_own_style():
    import base64
    import hashlib

    page = html(hostile_class())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "url(" not in page and "http://" not in page and "https://" not in page


def test_a_class_of_two_hundred_takes_less_than_300_kib():
    ids = [mistake.id for mistake in EX1.mistakes()]
    results = []
    for number in range(200):
        failed = EX1.checks[number % 20 : number % 20 + 8] if number % 3 else ()
        name = f"student-with-a-long-name-{number:03}"
        what = record(*failed, mistakes=[ids[number % len(ids)]])
        results.append(result(name, f"{name}_assignsubmission_file_ex1.py", what))
    assert len(html(summary_of(*results)).encode()) < 300 << 10


def test_mistakes_come_by_how_many_made_them_each_with_its_paragraph():
    page = html(
        summary_of(
            result("ada", "a.py", record("dropout_eval", mistakes=["dropout_inverted"])),
            result("bob", "b.py", record("scale", mistakes=["no_scale"])),
            result("cy", "c.py", record("scale", mistakes=["no_scale"])),
        )
    )
    known = {mistake.id: mistake for mistake in EX1.mistakes()}
    first, second = re.findall(r"<(?:h3|summary)>(\d) &times; ", page)
    assert (first, second) == ("2", "1")
    assert "bob, cy" in page and " ".join(known["no_scale"].why.split())[:60] in page
    assert "For the next lecture" in page


def test_failures_without_a_name_are_together_where_they_say_the_same_but_for_numbers():
    assert where("Token 0 is 4.19, not -0.5. Which?") == where("Token 3 is 1e-3, not 7. Or is it?")
    assert where("Token 0 is wrong.") != where("Token 0 is missing.")
    page = html(summary_of(*(result(name, f"{name}.py", record("scale")) for name in ("ada", "bob"))))
    assert "<h3>2 &times; scale" in page
    said = [where(f"Your code raised {error}. Look.") for error in ("TypeError: no 'x'", "TypeError: no 'y'")]
    assert said[0] == said[1] and said[0].startswith("Your code raised TypeError: no")


def test_who_must_be_looked_at_by_hand_is_listed_with_the_reason():
    page = html(
        summary_of(
            result("ada", "a.py", Record("not_gradable", "two files could be meant")),
            result("bob", "b.py", record("scale", mistakes=["reads_the_solution"])),
            result("cy", "c.py", record("scale")),
            result("dee", "d.py", record()),
            result("eve"),
        )
    )
    listed = page[page.index("by hand") : page.index("<h2>Mistakes")]
    for words in (
        "two files could be meant",
        "tried to read the solution",
        "one check alone fails",
        "by 1: eve",
    ):
        assert words in listed
    assert "dee" not in listed


def test_the_matrix_has_a_line_for_each_student_and_a_column_for_each_check():
    page = html(summary_of(result("ada", "a.py", record("scale", "runs")), result("bob", "b.py", record())))
    table = page[page.index("<table class=m>") :]
    assert table.count("<tr>") == 4  # the head, how many fail, two students
    assert table.count("<td class=f>") == 2 and table.index("bob") < table.index("ada")


@pytest.mark.slow
@needs_chromium
def test_a_browser_shows_both_pages_without_a_request_or_an_error(tmp_path):
    evil = "<h1>x</h1><img src='http://192.0.2.1/a.png'><script>console.log('y')</script>"
    results = [replace(one, record=replace(one.record, source=HOSTILE)) for one in hostile_class().results]
    pair = Pair(results[0], results[1], 0.5, 20, ((1,), (1,)))
    pages = {
        "evil": evil,
        "report": html(summary_of(*results), [pair]),
        "similar": pairs_html(summary_of(*results), [pair]),
    }
    seen = {}
    for name, page in pages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "page.html").write_text(page, encoding="utf-8")
        seen[name] = opened(tmp_path / name / "page.html", tmp_path / name)
    # This test would see a request and an error.
    assert set(seen["evil"].requested) == {"http://192.0.2.1/a.png"} and len(seen["evil"].console) == 1
    for name in ("report", "similar"):
        assert "<h1>" in seen[name].dom and "alert(1)" in seen[name].dom
        assert seen[name].console == [] and seen[name].requested == []
