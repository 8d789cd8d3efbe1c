"""What is said of a trained calculator: its answers, its first wrong step, whether it uses its scratchpad."""

from pathlib import Path

import numpy as np
import pytest

from grader.judge.grade import grade, read_source
from grader.workbook import REPOSITORY
from tests.exercises import EXERCISES
from tests.exercises.battery.training import RunProgress
from tests.exercises.calculator import training
from tests.exercises.calculator.answers import (
    KINDS,
    Answers,
    agrees,
    carries,
    diagnosis,
    followed,
    forced,
    pictures,
    said_of,
    scratchpad_use,
)
from tests.exercises.calculator.readings import encode, tokens

DIVISION, PRODUCT = (6007, "/", 83), (34, "*", 57)
RIGHT = {problem[1]: encode(*problem)[1] for problem in (DIVISION, PRODUCT)}


def spoiled(answer, at):
    return answer[:at] + str((int(answer[at]) + 1) % 10) + answer[at + 1 :]


@pytest.mark.parametrize("op", "+-*/")
def test_every_character_of_an_answer_has_a_kind(op):
    assert len(KINDS[op]) == len(encode(12, op, 34)[1])


def test_an_answer_may_be_right_with_wrong_steps_and_disagree_with_its_own():
    wrong_step, wrong_end = spoiled(RIGHT["*"], 0), spoiled(RIGHT["*"], 9)
    found = Answers("*", [PRODUCT] * 4, [RIGHT["*"], wrong_step, wrong_end, "832"])
    assert found.right == [True, True, False, False]
    assert (found.exact, found.traces, found.agreeing) == (0.5, 0.25, 0.25)
    assert Answers("+", [(1, "+", 2)], ["3000;"]).agreeing is None
    assert agrees("/", RIGHT["/"]) and not agrees("/", spoiled(RIGHT["/"], 39))


def test_the_first_wrong_step_is_told_by_kind():
    written = [spoiled(RIGHT["/"], at) for at in (18, 18, 20, 24)]
    found = Answers("/", [DIVISION] * 4, written).first_wrong()
    assert found == [("quotient's digit", 0.5), ("product", 0.25), ("remainder", 0.25)]
    # An answer that ends too early is wrong where it ends.
    assert Answers("*", [PRODUCT], ["832+0"]).first_wrong() == [("second partial product", 1.0)]


def test_a_changed_step_is_followed_or_not():
    rng = np.random.default_rng(0)
    for problem in [PRODUCT, DIVISION] * 20:
        case = forced(problem, rng)
        answer = RIGHT[problem[1]]
        assert len(case.beginning) < len(answer) and not answer.startswith(case.beginning)
        assert not followed(case, case.beginning + answer[len(case.beginning) :])
    case = forced(PRODUCT, rng)
    total = f"{case.follows:04d}"[::-1]
    assert followed(case, f"{case.beginning}0071={total};")
    assert forced((50, "/", 1), rng) is None  # nothing remains when 1 divides


def test_the_quotient_that_follows_from_a_changed_remainder_is_the_division_of_what_is_left():
    rng = np.random.default_rng(1)
    for _ in range(50):
        case = forced(DIVISION, rng)
        step = len(case.beginning) // 9
        left = int(case.beginning[-3:-1][::-1])
        assert left < 83
        digits = f"{left:02d}" + "6007"[step:]
        assert int(str(case.follows).zfill(4)[step:]) == int(digits) // 83


def test_the_message_names_the_operator_the_step_and_a_question():
    right = Answers("*", [PRODUCT], [RIGHT["*"]])
    message, lines = diagnosis(
        {"*": right, "/": Answers("/", [DIVISION] * 2, [spoiled(RIGHT["/"], 39)] * 2)}, 0.99
    )
    assert "/ 0.0%" in message and "* " not in message.split("?")[0].partition("there are")[2]
    assert "learned nothing" in message
    mixed = Answers("/", [DIVISION] * 2, [RIGHT["/"], RIGHT["/"][:18] + spoiled(RIGHT["/"], 39)[18:]])
    message, lines = diagnosis({"*": right, "/": mixed}, 0.99)
    assert "With / the quotient is wrong first" in message and "targets?" in message
    assert any("for example 6007 / 83 must be written" in line for line in lines)
    untrained = {op: Answers(op, [(12, op, 34)], ["0;"]) for op in "+-*/"}
    assert "no better than an untrained model" in diagnosis(untrained, 0.99)[0]


def test_lines_fit_100_columns():
    lines = said_of(Answers("/", [DIVISION], ["0*000-60,0*000-06,6*894-201,2*661-13,0072;"]))
    assert all(len(line) <= 96 for line in lines)
    assert len(scratchpad_use({"*": 1.0, "/": 0.5})) < 130


def test_a_run_says_before_it_begins_how_long_it_will_take_and_then_what_is_left():
    said = []
    progress = RunProgress(100, said.append)
    progress.begin(6.0)
    assert said == ["training 100 steps, about 10 minutes"]
    progress.began -= 50
    progress({"step": 50, "loss": 0.5})
    assert said[-1] == "training, step 50 of 100, loss 0.5000, 50 s, about 50 seconds left"
    progress({"step": 100})
    assert "left" not in said[-1]
    progress.begin(0.0)
    assert said[-1] == "training 100 steps"


def test_only_what_is_not_right_at_every_place_is_decoded_token_by_token(monkeypatch):
    problems, asked = [DIVISION, (1234, "/", 56), (9999, "/", 99)], []

    def predicted(reference, config, weights, rows, seconds):
        found = np.roll(rows, -1, axis=1)  # the token that stands next; at the end the ";" that was cut off
        found[:, -1] = tokens(";")[0]
        found[1, -3] = (found[1, -3] + 1) % 10
        return found

    def decoded(reference, config, weights, prompts, count, seconds):
        asked.append(prompts.tolist())
        return np.array([tokens(encode(1234, "/", 57)[1])])

    monkeypatch.setattr(training, "predicted", predicted)
    monkeypatch.setattr(training, "decoded", decoded)
    found = training.solved(None, training.Trained({}, {}, None), problems)
    assert asked == [[tokens("1234/56=")]]
    assert found.right == [True, False, True] and found.written[1] == encode(1234, "/", 57)[1]


@pytest.mark.slow
def test_a_short_run_is_measured_by_the_reference_and_fails_with_numbers(session, monkeypatch):
    monkeypatch.setattr(training, "STEPS", 3)
    monkeypatch.setattr(training, "PROBLEMS", 20)
    monkeypatch.setattr(training, "FORCED", 5)
    source = read_source(Path(REPOSITORY / EXERCISES["calculator"].solution_path))
    only, notes = ("train_updates", "train_calculates"), []
    verdict = grade(session, "calculator", source, device="cpu", only=only, note=notes.append)
    check = verdict.checks[-1]
    assert check.status == "failed" and "At least 99%" in check.message
    assert any("of 20 right" in line for line in check.details)
    assert any("changed by force" in line for line in check.details)
    assert any(note.startswith("training 3 steps, about") for note in notes)


def test_what_is_drawn_says_where_in_the_answer_and_with_how_many_carries_it_errs():
    assert [carries(85, "+", 50), carries(999, "+", 1), carries(394, "-", 864), carries(5, "-", 5)] == [
        1,
        3,
        1,
        0,
    ]
    problems = [(85, "+", 50), (999, "+", 1), (12, "+", 34)]
    written = ["5310;", "0000;", "6400;"]
    errors, steps, by_carries, loss = pictures({"+": Answers("+", problems, written)}, [])
    assert errors.wrong.sum() == 1 and errors.total.sum() == 3
    assert steps.rows[0] == ("digit of the sum: units", 1.0, 3)
    assert dict((name, share) for name, share, _ in steps.rows)["digit of the sum: thousands"] == 2 / 3
    assert by_carries.rows == (("0 carries", 1.0, 1), ("1 carries", 1.0, 1), ("3 carries", 0.0, 1))
    division = pictures({"/": Answers("/", [DIVISION], [RIGHT["/"]])}, [])[1]
    assert [name for name, *_ in division.rows] == ["quotient's digit", "product", "remainder", "quotient"]
