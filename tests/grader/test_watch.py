"""--watch in a real terminal: a verdict after every save, keys, another size, no colour, a clean end; and
the overview there."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from dataclasses import asdict

import pytest

from grader.learner.progress import ExerciseRecord
from tests.exercises import EXERCISES
from tests.grader.attempts import SOLUTION, in_forward
from tests.grader.terminal import Terminal, plain, screen

EX1 = EXERCISES["ex1"]
WRONG = SOLUTION.replace("q.shape[-1] ** -0.5", "1.0")
DONE, NOT_YET = r"Done: [\s\S]*q quit", r"Not yet: [\s\S]*q quit"
COMMAND = [sys.executable, "grade.py", "ex1", "--watch", "--device", "cpu"]


@pytest.fixture
def own(workbook):
    return workbook / EX1.attempt_path


@pytest.fixture
def watched(workbook, own, leftovers):
    """watched(..) starts --watch in a terminal and waits for a verdict; nothing may be left of it."""
    before, terminals = leftovers(), []

    def start(**options) -> Terminal:
        terminals.append(Terminal(COMMAND, workbook, **options))
        terminals[-1].until("q quit")
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.__exit__()
    assert leftovers()[1] - before[1] == set()
    assert leftovers()[0] == before[0]


def saved_in_place(path, text):
    path.write_text(text)


def saved_in_pieces(path, text):
    with open(path, "w") as file:
        for start in range(0, len(text), len(text) // 5):
            file.write(text[start : start + len(text) // 5])
            file.flush()
            time.sleep(0.01)


def moved_into_place(path, text):
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    os.replace(beside, path)


def removed_first(path, text):
    path.unlink()
    time.sleep(0.2)
    path.write_text(text)


def backed_up_first(path, text):
    path.rename(path.with_suffix(".py~"))
    time.sleep(0.05)
    path.write_text(text)


def saved_without_a_new_time_or_size(path, text):
    at = path.stat()
    assert len(text) == at.st_size
    with open(path, "r+") as file:
        file.write(text)
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


@pytest.mark.slow
def test_every_way_of_saving_gets_a_verdict(watched, own):
    terminal = watched()
    assert "not started yet" in plain(terminal.shown)
    ways = (saved_in_place, saved_in_pieces, moved_into_place, removed_first, backed_up_first)
    for number, save in enumerate(ways):
        wrong = number % 2 == 0
        save(own, WRONG if wrong else SOLUTION)
        said = plain(terminal.until(NOT_YET if wrong else DONE))
        assert ("not scaled" in said) == wrong, save.__name__
    # The same number of bytes, at the time of the last save.
    saved_in_place(own, "# 1\n" + WRONG)
    terminal.until(NOT_YET)
    time.sleep(0.2)
    saved_without_a_new_time_or_size(own, "# 2\n" + WRONG)
    terminal.until(NOT_YET)
    terminal.send("q")
    assert terminal.wait() == 0 and terminal.restored


@pytest.mark.slow
def test_the_keys_give_hints_and_the_solution_and_grade_again(watched, own):
    own.write_text(WRONG)
    terminal = watched()
    terminal.send("h")
    assert "FusedMultiHeadAttention.forward" in plain(terminal.until(r"Hint 1 of[\s\S]*q quit"))
    terminal.send("h")
    # The first still stands there, once.
    assert plain(terminal.until(r"Hint 2 of[\s\S]*q quit")).count("Hint 1 of") == 1
    terminal.send("s")
    assert "self.weight_dropout" not in plain(terminal.until(r"Press s again[\s\S]*q quit"))
    terminal.send("r")
    assert "Press s again" not in "".join(screen(terminal.until(NOT_YET)))
    terminal.send("s")
    terminal.until(r"Press s again[\s\S]*q quit")
    terminal.send("s")
    assert "+        scores = q @ k" in plain(terminal.until(r"From yours[\s\S]*q quit"))
    terminal.send("r")
    said = terminal.until(NOT_YET)
    assert "Hint" not in "".join(screen(said))
    terminal.send("\x1b[A")  # an arrow is no key of ours
    terminal.send("q")
    assert terminal.wait() == 0 and terminal.restored


@pytest.mark.slow
def test_a_save_is_told_which_checks_it_changed(watched, own):
    own.write_text(WRONG)
    terminal = watched()
    assert "Since the last save" not in plain(terminal.shown)
    other = SOLUTION.replace("self.output_dropout(self.proj(out))", "self.proj(out)")
    own.write_text(other)
    said = " ".join(plain(terminal.until(NOT_YET)).split())
    assert "Since the last save: now passing: scale, " in said and "; newly failing: dropout_output" in said
    terminal.send("r")  # the same text again has changed nothing
    assert "Since the last save" not in plain(terminal.until(NOT_YET))
    own.write_text(other + "\n")
    assert "the same checks pass and fail" in plain(terminal.until(NOT_YET))
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
def test_in_a_small_terminal_the_first_failure_its_mistake_and_what_to_do_are_on_the_screen(watched, own):
    own.write_text(WRONG)
    terminal = watched(columns=80, rows=24)
    own.write_text(SOLUTION.replace("q.shape[-1] ** -0.5", "C ** -0.5"))
    terminal.until(NOT_YET)
    seen = "\n".join(screen(terminal.shown)[-24:])
    for words in ("FAIL scale", "scaled by C instead of D", "Next: ", "Since the last save", "q quit"):
        assert words in seen
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
def test_before_the_first_attempt_the_solution_is_not_shown(watched, own):
    terminal = watched()
    terminal.send("s")
    said = plain(terminal.until(r"no graded attempt[\s\S]*q quit"))
    assert "self.weight_dropout" not in said
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at the start", "while it waits", "while it grades"])
def test_ctrl_c_leaves_a_clean_terminal_and_no_process(workbook, own, leftovers, moment):
    before = leftovers()
    own.write_text(in_forward("while True: pass") if moment == "while it grades" else SOLUTION)
    with Terminal(COMMAND, workbook) as terminal:
        if moment == "at the start":
            time.sleep(0.7)
        else:
            terminal.until("checking: [1-9]" if moment == "while it grades" else "q quit")
        terminal.interrupt()
        assert terminal.wait() == 130
        assert terminal.restored
        assert "Traceback" not in terminal.shown and "stopped" in terminal.shown
        assert terminal.shown.endswith("\n")
    assert leftovers()[1] - before[1] == set()
    assert leftovers()[0] == before[0]


@pytest.mark.slow
def test_ended_from_outside_it_leaves_a_clean_terminal_too(watched, own):
    own.write_text(SOLUTION)
    terminal = watched()
    assert not terminal.restored
    terminal.hang_up()
    assert terminal.wait() == 128 + signal.SIGTERM
    assert terminal.restored and "Traceback" not in terminal.shown


@pytest.mark.slow
def test_stopped_and_gone_on_with_it_takes_the_terminal_again(watched, own):
    own.write_text(SOLUTION)
    terminal = watched()
    terminal.process.send_signal(signal.SIGSTOP)
    termios.tcsetattr(terminal.theirs, termios.TCSANOW, terminal.modes)  # as a shell does
    terminal.process.send_signal(signal.SIGCONT)
    terminal.until("q quit")
    assert not terminal.restored
    terminal.send("q")
    assert terminal.wait() == 0 and terminal.restored


@pytest.mark.slow
def test_a_save_stops_the_grade_of_the_text_before(watched, own):
    own.write_text(SOLUTION)
    terminal = watched()
    own.write_text(in_forward("while True: pass"))
    terminal.until("checking: [1-9]")
    began = time.monotonic()
    own.write_text(WRONG)
    terminal.until(NOT_YET)
    # The loop alone would have been waited for longer: 8 seconds and more.
    assert time.monotonic() - began < 7
    assert "was stopped" not in plain(terminal.shown)
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
def test_after_a_save_in_the_middle_of_many_grades_every_verdict_is_of_the_last_text(watched, own):
    own.write_text(SOLUTION)
    terminal = watched()
    for number in range(6):  # at different moments of the grade before
        own.write_text(SOLUTION + f"# {number}\n")
        time.sleep(0.1 + 0.07 * number)
    own.write_text(WRONG)
    terminal.until(NOT_YET)
    own.write_text(SOLUTION)
    assert f"{len(EX1.checks)} of {len(EX1.checks)}" in plain(terminal.until(DONE))
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
def test_a_window_of_another_width_is_drawn_again(watched, own):
    own.write_text(WRONG)
    terminal = watched(columns=100)
    assert 80 < max(map(len, screen(terminal.shown))) <= 100
    for columns in (80, 60):
        terminal.resize(columns, 30)
        lines = screen(terminal.until(NOT_YET))
        assert max(map(len, lines)) <= columns
        assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(lines)
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
def test_without_colour_nothing_is_coloured(watched, own):
    own.write_text(WRONG)
    terminal = watched(columns=80, NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*3[0-7]m", terminal.shown)
    assert max(map(len, screen(terminal.shown))) <= 80
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
def test_a_dumb_terminal_gets_a_log_without_any_escape(watched, own):
    own.write_text(WRONG)
    terminal = watched(TERM="dumb")
    own.write_text(SOLUTION)
    terminal.until(DONE)
    terminal.send("q")
    assert terminal.wait() == 0
    assert "\x1b" not in terminal.shown
    assert "Not yet" in terminal.shown  # nothing was cleared


@pytest.mark.slow
def test_without_a_terminal_it_watches_and_has_no_keys(workbook, own):
    own.write_text(WRONG)
    process = subprocess.Popen(
        COMMAND,
        cwd=workbook,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = []
    while not any("Ctrl-C ends it" in line for line in said):
        said.append(process.stdout.readline())
        assert said[-1], process.stderr.read()
    own.write_text(SOLUTION)
    while not any(line.startswith("Done: ") for line in said):
        said.append(process.stdout.readline())
        assert said[-1], process.stderr.read()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err
    assert "\x1b" not in "".join(said) and "h hint" not in "".join(said)


@pytest.mark.slow
def test_a_file_that_stays_away_is_waited_for(watched, own):
    own.write_text(WRONG)
    terminal = watched()
    own.unlink()
    terminal.until("is gone; waiting for it")
    own.write_text(SOLUTION)
    terminal.until(DONE)
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
def test_each_text_counts_once_as_an_attempt(watched, own, workbook):
    own.write_text(WRONG)
    terminal = watched()
    own.write_text(SOLUTION)
    terminal.until(DONE)
    own.touch()  # saved again as it is
    terminal.until(DONE)
    terminal.send("q")
    assert terminal.wait() == 0
    written = json.loads((workbook / ".workbook" / "progress.json").read_text())
    assert written["exercises"]["ex1"]["attempts"] == 2 and written["exercises"]["ex1"]["solved"]


@pytest.mark.slow
def test_where_progress_cannot_be_kept_one_note_says_so(watched, own, workbook):
    (workbook / ".workbook").write_text("a file where the folder should be")
    own.write_text(WRONG)
    terminal = watched()
    terminal.until("Note: your progress could not be saved")
    own.write_text(SOLUTION)
    assert "Note" not in plain(terminal.until(DONE))
    terminal.send("q")
    assert terminal.wait() == 0


@pytest.mark.slow
def test_the_training_run_is_left_out_and_said_to_be(workbook):
    shutil.copy(workbook / EXERCISES["ex2"].solution_path, workbook / EXERCISES["ex2"].attempt_path)
    with Terminal([sys.executable, "grade.py", "ex2", "--watch", "--device", "cpu"], workbook) as terminal:
        said = plain(terminal.until("q quit", 90))
        assert "the training run was left out" in said and "python grade.py ex2" in said
        terminal.send("q")
        assert terminal.wait() == 0


def test_watching_all_exercises_gets_one_sentence(capsys):
    from grader.cli import main

    assert main(["all", "--watch"]) == 2
    assert "one exercise" in capsys.readouterr().err


def test_the_overview_fits_80_columns_a_row_an_exercise(workbook):
    (workbook / ".workbook").mkdir()
    full = ExerciseRecord(attempts=999, passed=30, checks=32, failed=["scale"], solved="2026-11-21 10:20")
    written = {"schema": 1, "exercises": dict.fromkeys(EXERCISES, asdict(full))}
    (workbook / ".workbook" / "progress.json").write_text(json.dumps(written))
    with Terminal([sys.executable, "grade.py"], workbook, columns=80) as terminal:
        assert terminal.wait() == 0
        lines = plain(terminal.shown).splitlines()
    rows = [line for line in lines if "fails again, 999 attempts" in line]
    assert len(rows) == len(EXERCISES) and all("2026-11-21 10:20" in row for row in rows)
    assert max(map(len, lines)) <= 80
