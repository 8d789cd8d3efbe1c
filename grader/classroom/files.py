"""Writes the folder of results: tables, the class report, and feedback for each student."""

import json
from pathlib import Path

from grader.classroom.page import html, pairs_html
from grader.classroom.similar import pairs
from grader.classroom.summary import Summary, as_json, csv_text, feedback, feedback_names, junit_text
from grader.workbook import write_atomically


def write(results: Path, summary: Summary) -> None:
    """All files of a class: tables, the page, and feedback/ with a file per student."""
    rows = summary.rows()
    write_atomically(results / "summary.csv", csv_text(rows))
    write_atomically(results / "summary.json", json.dumps(as_json(summary, rows), indent=1) + "\n")
    write_atomically(results / "junit.xml", junit_text(summary))
    found = pairs(summary.results, summary.exercise)
    write_atomically(results / "report.html", html(summary, found))
    write_atomically(results / "similar.html", pairs_html(summary, found))
    folder = results / "feedback"
    folder.mkdir(exist_ok=True)
    names = feedback_names(result.entry for result in summary.results)
    for result, name in zip(summary.results, names):
        text = feedback(summary.exercise, result)
        path = folder / name
        if not path.is_file() or path.read_bytes() != text.encode():
            write_atomically(path, text)
    for old in {path.name for path in folder.glob("*.md")} - set(names):
        (folder / old).unlink()
