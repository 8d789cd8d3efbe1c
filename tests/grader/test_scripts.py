"""Files that were a script before they were handed in: what they do at import fails with its own sentence and
one way out."""

import sys

import pytest

from grader.judge.advices import GUARD
from tests.grader.attempts import SOLUTION, at_import

# name: (what stands in the file, words of the sentence that must come)
SCRIPTS = {
    "opens a file": ("text = open('input.txt').read()", "It opens a file while it is imported"),
    "loads weights": ("state = torch.load('model.pt')", "It opens a file while it is imported"),
    "asks": ("name = input('your name? ')", "It asks for input while it is imported"),
    "parses arguments": (
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr', required=True)\n"
        "args = parser.parse_args()",
        "A parser of arguments",
    ),
    "reads an argument": ("import sys\nsteps = int(sys.argv[1])", "There are no arguments here"),
    "downloads": (
        "import urllib.request\nurllib.request.urlretrieve('https://localhost/input.txt', 'input.txt')",
        "no network",
    ),
    "calls wget": (
        "import subprocess\nsubprocess.run(['wget', '--tries=1', 'https://localhost/input.txt'], check=True)",
        "no network",
    ),
    "trains": ("while True:\n    torch.randn(9, 9) @ torch.randn(9, 9)", "while it was imported"),
    "ends": ("import sys\nsys.exit()", "must not end the program"),
    "needs Colab": ("from google.colab import drive", "No module named 'google"),
}
PROCESSES = {
    "a DataLoader": "from torch.utils.data import DataLoader\nfor batch in DataLoader(torch.arange(9), "
    "num_workers=2):\n    pass",
    "a pool": "import multiprocessing\nwith multiprocessing.Pool(2) as pool:\n    pool.map(abs, [1, 2])",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_does_at_import_has_its_sentence_and_the_way_out(graded, name):
    code, words = SCRIPTS[name]
    verdict = graded(at_import(code), only=["runs"])
    assert not verdict.passed
    message = verdict.checks[0].message
    assert words in message
    assert GUARD in message or GUARD[0].lower() + GUARD[1:] in message
    line = next(
        number for number, text in enumerate(at_import(code).splitlines(), 1) if text == code.splitlines()[-1]
    )
    assert any(f"line {number}, in <module>" in verdict.checks[0].details[0] for number in (line, line - 1))


@pytest.mark.parametrize("name", SCRIPTS)
def test_under_the_guard_the_same_file_passes(graded, name):
    code, _ = SCRIPTS[name]
    guarded = "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in code.splitlines())
    assert graded(at_import(guarded), only=["runs"]).passed


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they may start")
@pytest.mark.parametrize("name", PROCESSES)
def test_processes_that_a_file_starts_at_import_are_told_apart_from_files(graded, name):
    verdict = graded(at_import(PROCESSES[name]), only=["runs"])
    if "NOT hidden" not in verdict.isolation:
        assert "It starts processes" in verdict.checks[0].message and GUARD in verdict.checks[0].message


def test_arguments_with_defaults_are_parsed_as_if_none_were_given(graded):
    code = (
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr', default=1)\nassert "
        "parser.parse_args().lr == 1"
    )
    assert graded(at_import(code), only=["runs"]).passed


def test_a_plot_is_drawn_and_no_window_waits(graded):
    pytest.importorskip("matplotlib")
    assert graded(
        at_import("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"), only=["runs"]
    ).passed


@pytest.mark.parametrize("call", [".cuda()", ".to('cuda')", ".to('mps')"])
def test_a_gpu_that_is_not_there_is_told_how_to_follow_the_input(graded, call):
    verdict = graded(SOLUTION.replace("q, k, v = ", f"x = x{call}\n        q, k, v = "), only=["output"])
    message = verdict.checks[3].message
    assert verdict.checks[3].status == "failed" and not verdict.checks[3].unfinished
    assert "device=x.device" in message and "register_buffer" in message


NOTEBOOK_LINES = {
    "%matplotlib inline": "commands of a notebook",
    "get_ipython().run_line_magic('time', '')": "in notebooks only",
    "x = \u201chello\u201d": "pasted from a PDF or a chat",
}


@pytest.mark.parametrize("line", NOTEBOOK_LINES)
def test_what_was_copied_from_elsewhere_is_said(graded, line):
    assert NOTEBOOK_LINES[line] in graded(at_import(line), only=["runs"]).checks[0].message
