"""Attention matrices in the terminal: expected and got side by side, what differs marked, in 80 columns."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest

from grader.learner import blocks, report
from grader.workbook import Call
from tests.exercises import EXERCISES
from tests.exercises.exam import Numbers
from tests.exercises.shown import MOST_HEADS, MOST_TOKENS, Matrices
from tests.grader.attempts import verdict_of


def causal(T, heads=2, seed=0):
    """(H, T, T): random weights under a causal mask, and the same without one."""
    scores = np.exp(np.random.default_rng(seed).normal(size=(heads, T, T)))
    seen = scores * np.tri(T)
    return seen / seen.sum(-1, keepdims=True), scores / scores.sum(-1, keepdims=True)


def drawn(shown, *, colours=None, encoding="utf-8", **options) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    out = report.console(file=file, force_terminal=True, color_system=colours, width=80)
    for line in blocks.lines(out, shown, **options):
        out.print(line, soft_wrap=True)
    return file.buffer.getvalue().decode(encoding).splitlines()


def test_a_weight_is_a_shade_and_what_differs_is_marked_in_what_came():
    expected = np.array([[[1.0, 0.0], [0.5, 0.5]]])
    got = np.array([[[1.0, 0.3], [0.5, np.nan]]])
    lines = drawn(Matrices.of(expected, got, 1e-5))
    assert [line.split("│")[1::2] for line in lines[1:3]] == [["██  ", "██░x"], ["▒▒▒▒", "▒▒?x"]]


def test_every_line_fits_80_columns_whatever_the_size():
    for T in (1, 2, 3, 6, 13, 14, 15, 64, 200):
        expected, got = causal(T)
        shown = Matrices.of(expected, got + 0.01, 1e-5, case={"B": 2, "T": T, "C": 384, "H": 6})
        assert 0 < max(map(len, drawn(shown))) <= 80, T


def test_a_large_matrix_is_cut_to_where_most_is_wrong_and_says_so():
    expected, _ = causal(150)
    got = expected.copy()
    got[1, 140:, 120:125] += 0.5
    lines = drawn(Matrices.of(expected, got, 1e-5), rows=12)
    assert len(lines) <= 12
    assert "head 1 of 2" in lines[0] and sum(line.count("x") for line in lines[1:-2]) == 9 * 5
    assert re.search(r"Shown: query 140 to 14\d of 150, key 11\d to 12\d of 150", lines[-1])


def test_only_so_much_is_carried_as_can_be_drawn():
    expected, got = causal(70, heads=70)
    shown = Matrices.of(np.stack([expected, expected]), np.stack([expected, got]), 1e-5)
    assert shown.got.shape == (MOST_HEADS, MOST_TOKENS, MOST_TOKENS) and shown.wrong.any()
    assert shown.sizes == (70, 70, 70)


def test_where_there_are_too_few_lines_there_is_no_half_of_a_picture():
    expected, got = causal(6)
    assert drawn(Matrices.of(expected, got, 1e-5), rows=3) == []


def test_colours_say_it_where_there_are_256_and_shades_or_ascii_elsewhere():
    expected, got = causal(4)
    shown = Matrices.of(expected, got, 1e-5)
    assert "48;2;255;255;0m" in "".join(drawn(shown, colours="truecolor"))
    assert "▓" in "".join(drawn(shown, colours="standard"))
    assert "+" in "".join(drawn(shown, encoding="ascii"))


@pytest.fixture
def failing():
    """A verdict of exercise 1 in which attention_matrix fails, with its matrices."""
    verdict = verdict_of(EXERCISES["ex1"], ("attention_matrix",))
    verdict.first_to_mend.message = "Is the first dimension of each matrix the query?"
    verdict.first_to_mend.shown = [Matrices.of(*causal(6), 1e-5)]
    return verdict


def shown_in(verdict, height=40, **options) -> str:
    out = report.console(file=io.StringIO(), force_terminal=True, color_system=None, width=80, height=height)
    report.show(out, verdict, call=Call("ex1"), **options)
    return out.file.getvalue()


def test_the_report_shows_blocks_and_the_numbers_only_when_asked(failing):
    numbers = "\n".join(failing.first_to_mend.shown[0].lines()[1:])
    plain, verbose = shown_in(failing), shown_in(failing, verbose=True)
    assert "query 5" in plain and "query 5" in verbose
    assert numbers.splitlines()[0].strip() in verbose and numbers.splitlines()[0].strip() not in plain


def test_the_json_has_the_numbers_in_its_message(failing):
    checks = {check["id"]: check for check in failing.as_json()["checks"]}
    assert "expected" in checks["attention_matrix"]["message"]
    assert "shown" not in checks["attention_matrix"] and len(checks["attention_matrix"]) == 7


def test_a_check_without_matrices_of_its_own_shows_those_beside_its_numbers(failing):
    check = failing.first_to_mend
    expected, got = (m[None] for m in causal(5))
    beside = Numbers("attention", expected, got, 1e-5, {"B": 1, "T": 5, "C": 20, "H": 2})
    check.shown, check.numbers = [], Numbers("output", got, got, 1e-5, {"again": (beside,)})
    assert "B = 1, T = 5, C = 20, H = 2" in shown_in(failing)
    check.numbers = replace(check.numbers, facts={"again": (replace(beside, got=expected),)})
    assert "query 4" not in shown_in(failing)  # it is right there


@pytest.mark.parametrize("height", [24, 30, 40])
def test_the_failure_with_its_blocks_fits_the_terminal(failing, height):
    check, mistake = failing.first_to_mend, EXERCISES["ex1"].mistakes()[0]
    check.message, check.mistake, check.details = 12 * "Which keys? ", mistake.id, ["worst at query 0"] * 4
    check.shown = [Matrices.of(*causal(20), 1e-5)]
    lines = shown_in(failing, height=height).splitlines()
    last = lines[next(i for i, line in enumerate(lines) if "FAIL" in line) :]
    assert len(last) - 1 + report.BELOW <= height and sum("│" in line for line in last) >= 3
