"""The tables of a class and the students' feedback: complete, and safe whatever a hand-in says."""

import csv
import io
import json
from xml.etree import ElementTree

import pytest

from grader.classroom.entries import Entry
from grader.classroom.files import write
from grader.classroom.store import Record
from grader.classroom.summary import csv_text, feedback, feedback_names, junit_text, read_weights
from grader.workbook import UsageError
from tests.grader.classroom.classes import EX1, record, result, summary_of


def table(summary) -> list[dict]:
    return list(csv.DictReader(io.StringIO(csv_text(summary.rows()), newline="")))


def weights(tmp_path, text):
    (tmp_path / "weights.csv").write_text(text)
    return read_weights(tmp_path / "weights.csv", EX1)


def test_a_row_says_what_was_found():
    one = table(
        summary_of(result("ada", "ada.py", record("runs", "scale", mistakes=[None, "no_scale"]), "key"))
    )[0]
    assert (one["student"], one["file"], one["status"], one["passed"]) == ("ada", "ada.py", "fail", "false")
    assert (one["checks_passed"], one["checks"]) == (str(len(EX1.checks) - 2), str(len(EX1.checks)))
    assert (one["first_failure"], one["mistakes"], one["verdict"]) == ("scale", "no_scale", "key")
    assert one["isolation"] == "own process" and one["points"] == ""


def test_every_row_has_a_level_of_isolation():
    rows = table(summary_of(result("ada"), result("bob", "b.py", record())))
    assert [row["isolation"] for row in rows] == ["not run", "own process"]


def test_points_are_the_weights_of_the_checks_that_pass(tmp_path):
    given = weights(tmp_path, "check,points\n*,1\nfuse_*,2\nscale,0.5\n")
    summary = summary_of(
        result("ada", "a.py", record()),
        result("bob", "b.py", record("scale", "runs")),
        result("cy"),
        result("dee", "d.py", Record("not_graded", "the judge died")),
        weights=given,
    )
    whole = sum(given.values())
    rows = table(summary)
    assert [row["points"] for row in rows] == [f"{whole:g}", f"{whole - 1.5:g}", "0", ""]
    assert [row["points_of"] for row in rows] == [f"{whole:g}"] * 3 + [""]


@pytest.mark.parametrize(
    "text, words", [("scael,1", "no check 'scael'"), ("scale", "its points"), ("scale,-1", "-1 points"),
                    ("scale,nan", "nan points"), ("no_*,1", "no check")],
)  # fmt: skip
def test_weights_that_make_no_sense_are_refused_in_one_sentence(tmp_path, text, words):
    with pytest.raises(UsageError, match="line 1") as refused:
        weights(tmp_path, text)
    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@x", " =1", "\t=1"])
def test_no_cell_of_the_table_is_a_formula(name):
    row = table(summary_of(result(name, name, Record("refused", name))))[0]
    for cell in row.values():
        assert not cell.strip().startswith(("=", "+", "-", "@")), cell


HOSTILE = "<img onerror=alert(1)>]]>&\"'\x00\x1b[31m\ud800\u202e\n```\n# x"


def test_junit_is_xml_with_mistake_seed_and_isolation_whatever_is_in_a_name():
    text = junit_text(
        summary_of(
            result(HOSTILE, HOSTILE, record("scale", mistakes=["no_scale"])),
            result("bob", "b.py", Record("refused", HOSTILE)),
            result("cy", "c.py", Record("not_graded", HOSTILE)),
        )
    )
    root = ElementTree.fromstring(text.encode())
    first, second, third = root.findall("testsuite")
    properties = {one.get("name"): one.get("value") for one in first.find("properties")}
    assert properties == {"seed": "0", "device": "cpu", "isolation": "own process"}
    named = [one.get("value") for one in first.iter("property") if one.get("name") == "mistake"]
    assert named == ["no_scale"] and len(first.findall("testcase")) == len(EX1.checks)
    assert second.find("testcase/failure") is not None and third.find("testcase/error") is not None


def test_feedback_quotes_the_report_and_nothing_in_it_is_markup():
    text = feedback(EX1, result("ada", "a.py", record("scale", report="said\n```\n# big\n````\n")))
    lines = text.splitlines()
    fence = lines[4].removesuffix("text")
    assert fence == "`" * 5 and lines[-1] == fence and lines.count(fence) == 1
    refused = feedback(EX1, result("ada", "a.py", Record("refused", "a `` [link](http://x)")))
    assert "``` a `` [link](http://x) ```" in refused


def test_each_row_has_a_feedback_file_of_its_own_with_a_name_that_every_system_takes():
    names = ["ada", "Ada", "../../etc/passwd", "..", "con", "a" * 300, "a" * 299 + "b", "jörg", "🙂", HOSTILE,
             "", "x/y", "x_y"]  # fmt: skip
    entries = [Entry(name, f"{name}.py") for name in names] + [Entry("ada", "ada_2.py"), Entry("ada", "")]
    files = feedback_names(entries)
    assert len({file.casefold() for file in files}) == len(entries)
    for file in files:
        assert "/" not in file and len(file.encode()) < 120 and file.isprintable() and file[0] not in ".-"
    assert feedback_names([Entry("jörg", "x")]) == ["jörg.md"]


def test_a_class_is_written_whole_and_what_is_no_longer_in_it_goes(tmp_path):
    write(tmp_path, summary_of(result("ada", "a.py", record()), result(HOSTILE, HOSTILE, record("scale"))))
    assert len(list((tmp_path / "feedback").iterdir())) == 2
    write(tmp_path, summary_of(result("ada", "a.py", record())))
    assert [path.name for path in (tmp_path / "feedback").iterdir()] == ["ada.md"]
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["counts"] == {"pass": 1} and found["rows"][0]["entry"]["name"] == "a.py"
