"""What a report shows, and where: what to mend first stands at its end, in a small terminal too."""

import io
from dataclasses import replace

import pytest

from grader.learner import report
from grader.workbook import Call
from tests.exercises import EXERCISES
from tests.grader.attempts import verdict_of

EX1, EX2 = EXERCISES["ex1"], EXERCISES["ex2"]
TOKEN = "ex1.values.0.1-1.Size-1-3-128-2-4-0.52d01b"


def lines_of(verdict, *, rows=24, columns=80, call=None, **options) -> list[str]:
    """The report on a terminal of this size, line by line, without colour."""
    out = report.console(
        file=io.StringIO(), force_terminal=True, color_system=None, width=columns, height=rows
    )
    report.show(out, verdict, call=call or Call(verdict.exercise), **options)
    return out.file.getvalue().splitlines()


def words(lines) -> str:
    return " ".join(" ".join(lines).split())


def failing(exercise, mistake="", *, message="Which keys does query 0 see?", details=3):
    """A verdict in which the second check and four more fail by one mistake, and two by no known one."""
    verdict = verdict_of(exercise, exercise.checks[1:8], (mistake,) * 5)
    for check in verdict.checks:
        if check.status == "failed":
            check.message, check.replay, check.case = message, TOKEN, {"B": 2, "T": 6, "n_embd": 32}
            check.details = [f"detail {number}: expected 1.00, got 0.17" for number in range(details)]
            check.mistake = check.mistake or None
    return verdict


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_the_last_lines_of_a_failing_report_hold_the_failure_the_whole_mistake_and_the_command(exercise):
    long = " ".join(f"word{number}" for number in range(90))  # 600 characters
    for mistake in exercise.mistakes():
        lines = lines_of(failing(exercise, mistake.id, message=long, details=20))
        assert max(map(len, lines)) <= 80, mistake.id
        seen = words(lines[-22:])  # the command line ends it with an empty line, and there is a prompt
        assert f"FAIL {exercise.checks[1]}: " in seen, mistake.id
        assert " ".join(mistake.name.split()) in seen and " ".join(mistake.why.split()) in seen, mistake.id
        assert f'Next: mend "{exercise.checks[1]}"' in seen and f"python grade.py {exercise.name}" in seen
        assert "--verbose" in seen  # details had to be left out


def test_in_a_larger_terminal_nothing_of_the_first_failure_is_left_out():
    verdict = failing(EX1, "no_scale", details=14)
    small, large = (words(lines_of(verdict, rows=rows)) for rows in (24, 60))
    assert "more lines: --verbose" in small
    assert "detail 13" in large and "case: B = 2" in large and "--verbose" not in large


def test_what_a_mistake_explains_and_what_passes_take_no_lines_of_their_own():
    verdict = failing(EX1, "no_scale")
    lines = lines_of(verdict)
    assert f"{len(EX1.checks) - 7} of {len(EX1.checks)} checks pass" in words(lines)
    assert "ok  " not in "".join(lines)
    explained, others = EX1.checks[2:6], EX1.checks[6:8]
    assert f"It also explains {', '.join(explained)}." in words(lines)
    assert [line.split(":")[0].split()[1] for line in lines if line.startswith("  FAIL  ")] == list(others)


def test_a_second_mistake_is_one_line_with_what_it_explains():
    verdict = verdict_of(EX1, EX1.checks[1:6], ("no_scale", "no_mask", "no_scale", "no_mask", "no_mask"))
    seen = words(lines_of(verdict))
    name = next(mistake.name for mistake in EX1.mistakes() if mistake.id == "no_mask")
    assert f"the mistake: {name} (it also explains {EX1.checks[4]}, {EX1.checks[5]})" in seen
    assert seen.count(name) == 1


def test_mistakes_that_cannot_be_told_apart_are_all_shown():
    verdict, known = failing(EX1, None), {mistake.id: mistake for mistake in EX1.mistakes()}
    verdict.first_to_mend.candidates = ["no_scale", "no_mask"]
    for verbose in (False, True):
        seen = words(lines_of(verdict, verbose=verbose))
        assert f"It may be one of these: - {known['no_scale'].name} - {known['no_mask'].name}" in seen


def test_what_was_not_reached_or_left_out_is_counted():
    verdict = verdict_of(EX2, EX2.checks[:1], complete=False)
    for check in verdict.checks[1:]:
        check.status = "not_run" if check.id in EX2.training else "not_reached"
    seen = words(lines_of(verdict))
    count = len(EX2.checks) - len(EX2.training) - 1
    assert f"not reached: {count} checks" in seen
    assert f"left out by --quick: {len(EX2.training)} checks" in seen


def test_verbose_has_a_line_for_every_check_and_all_details_of_three_failures():
    lines = lines_of(failing(EX1, "no_scale", details=20), verbose=True)
    assert sum(line.startswith("  ok    ") for line in lines) == len(EX1.checks) - 7
    assert sum(line.startswith("  FAIL  ") for line in lines) == 7
    assert words(lines).count("detail 19") == 3 and words(lines).count(f"replay: {TOKEN}") == 3


def test_what_a_check_measured_and_what_to_do_with_a_file_that_passes_are_shown():
    verdict = verdict_of(EX2)
    verdict.checks[-1].message = "99.80% of 4000 held-out problems are right"
    seen = words(lines_of(verdict))
    assert "99.80% of 4000" in seen and "python exercises/ex2_addition.py" in seen
    assert "python grade.py ex2 --solution" in seen
    # Of another file the learner's own commands would be wrong.
    assert "python " not in words(lines_of(verdict, call=Call("ex2", "theirs.py")))


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_every_exercise_names_a_use_for_a_file_that_passes(exercise):
    assert exercise.uses
    seen = words(lines_of(verdict_of(exercise), columns=100)).replace(" \\ ", " ")
    assert all(command in seen for _, command in exercise.uses)


def test_several_verdicts_end_in_a_table_with_what_to_mend_first_and_one_next_step():
    verdicts = [
        verdict_of(EX1),
        verdict_of(EX2, ("loss_value", "add_any"), ("", "argmax")),
        verdict_of(EXERCISES["ex3"], EXERCISES["ex3"].checks[1:], not_started=True),
        verdict_of(EXERCISES["ex4"]),
    ]
    verdicts[1].checks = [replace(check, mistake=check.mistake or None) for check in verdicts[1].checks]
    out = report.console(file=io.StringIO(), force_terminal=True, color_system=None, width=80, height=24)
    report.show_all(out, [(verdict, Call(verdict.exercise, quick=True)) for verdict in verdicts])
    lines = out.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line for line in lines if line.startswith("ex")}
    assert "done" in rows["ex1"] and f"{len(EX1.checks)} of {len(EX1.checks)}" in rows["ex1"]
    assert "not yet" in rows["ex2"] and "add_any" in rows["ex2"]  # its mistake is known
    assert "not started" in rows["ex3"] and "done" in rows["ex4"]
    assert lines[-1].strip() == "python grade.py ex2 --quick"


def test_changes_name_what_passes_and_fails_now():
    before, now = verdict_of(EX1, ("scale", "values")), verdict_of(EX1, ("values", "causality"))
    out = report.console(file=io.StringIO())
    report.show_changes(out, before, now)
    report.show_changes(out, now, now)
    first, second = out.file.getvalue().splitlines()
    assert first == "Since the last save: now passing: scale; newly failing: causality."
    assert "the same checks" in second
