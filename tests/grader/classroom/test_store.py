"""What is kept of a class: a verdict is found again only if it is whole, and of the same question."""

import json
from dataclasses import replace

import pytest

from grader.classroom import store
from grader.classroom.store import Record, Settings, Store
from tests.grader.classroom.classes import record


def test_a_verdict_that_was_kept_is_found(tmp_path):
    kept = Store(tmp_path)
    kept.keep("a" * 40, record("scale", mistakes=["no_scale"], report="ünïcode \ud800"))
    assert kept.find("a" * 40) == record("scale", mistakes=["no_scale"], report="ünïcode \ud800")
    assert [path.name for path in tmp_path.iterdir()] == [f"{'a' * 40}.json"]


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "another key", "a check less", "no object"])
def test_a_damaged_verdict_is_as_good_as_none(tmp_path, damage):
    kept, key = Store(tmp_path), "a" * 40
    kept.keep(key, record("scale"))
    path = tmp_path / f"{key}.json"
    text = path.read_text()
    if damage == "a check less":
        less = record("scale")
        less.verdict["checks"].pop()
        with pytest.raises(OSError):
            kept.keep(key, less)
    elif damage == "another key":
        path = path.rename(tmp_path / f"{'b' * 40}.json")
        key = "b" * 40
    else:
        new = {
            "cut": text[:-40],
            "empty": "",
            "changed": text.replace("failed", "passed"),
            "no object": "[1]",
        }
        path.write_text(new[damage])
    assert kept.find(key) is None


def test_what_was_not_graded_is_never_found(tmp_path):
    with pytest.raises(OSError):
        Store(tmp_path).keep("a" * 40, Record("not_graded", "the judge died"))


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"quick": True}, {"device": "cpu"}, {"no_names": True}, {"exercise": "ex2"}]
)
def test_another_question_has_another_key(change):
    settings = Settings("ex1")
    assert settings.key("x") == Settings("ex1").key("x") != settings.key("y")
    assert replace(settings, **change).key("x") != settings.key("x")


def test_a_newer_workbook_has_other_keys(monkeypatch):
    before = Settings("ex1").key("x")
    monkeypatch.setattr(store, "checks_version", lambda: "newer")
    assert Settings("ex1").key("x") != before


def test_verdicts_are_json_that_others_can_read(tmp_path):
    Store(tmp_path).keep("a" * 40, record())
    found = json.loads((tmp_path / f"{'a' * 40}.json").read_text())
    assert found["schema"] == 1 and found["record"]["verdict"]["passed"] is True
