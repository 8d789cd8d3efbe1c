"""The second self-test: mistakes in other styles, and what it counts."""

import pytest

from grader import cli
from grader.author import styles
from grader.author.styles import COUNTED, Row, combinations, combined, figures, measure, outcome, table
from grader.workbook import FAILED, PASSED
from tests.exercises import EXERCISES, FOUR, Exercise, Style
from tests.grader.attempts import REPOSITORY, verdict_of

# Mistakes of ex1 that are others in it: a scale above 1 is none at all.
CLIPPED = Style("clipped", (("q.shape[-1] ** -0.5", "min(q.shape[-1] ** -0.5, 1.0)"),))


@pytest.mark.slow
@pytest.mark.parametrize("exercise", [EXERCISES[name] for name in FOUR], ids=FOUR)
def test_every_style_fits_the_solution_and_meets_its_share_of_the_mistakes(exercise):
    solution = (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")
    known = {mistake.id: mistake for mistake in exercise.mistakes()}
    for style in exercise.styles():
        compile(style.apply(solution), style.id, "exec")
        assert style.apply(solution) != solution
        for id in style.mends:  # what would not fit needs not be listed
            assert combined(solution, Style(style.id, style.patches), known[id]), (style.id, id)
    met = [style for style, _ in combinations(exercise)]
    assert len({style.id for style in exercise.styles()}) == len(exercise.styles()) >= 6
    assert all(met.count(style.id) > len(known) / 6 for style in exercise.styles())
    in_a_style = {mistake for _, mistake in combinations(exercise)} - {""}
    assert len(in_a_style) >= 0.9 * len(known)


@pytest.mark.slow
def test_mistakes_are_named_in_other_styles(session):
    rows = [
        row
        for style in ("functions", "contiguous")
        for row in measure(session, "ex1", style, ["", "no_scale", "mask_one_ahead"], device="cpu", seed=0)
    ]
    assert [(row.mistake, row.outcome, row.came) for row in rows] == 2 * [
        ("", "right", ""),
        ("no_scale", "named", "no_scale"),
        ("mask_one_ahead", "named", "mask_one_ahead"),
    ]


def test_what_comes_out_as_another_mistake_is_misnamed_and_what_a_style_mends_has_passed(
    session, monkeypatch
):
    mended = Style(
        "mended", ((" * q.shape[-1] ** -0.5", " * (C // self.n_head) ** -0.5 # q.shape[-1] ** -0.5"),)
    )
    monkeypatch.setattr(Exercise, "styles", lambda self: (CLIPPED, mended))
    rows = [
        row
        for style, mistakes in (("clipped", ["scale_multiplied"]), ("mended", ["scale_multiplied"]))
        for row in measure(session, "ex1", style, mistakes, device="cpu", seed=0)
    ]
    assert [(row.outcome, row.came) for row in rows] == [("misnamed", "no_scale"), ("passed", "")]
    assert not any(row.ok for row in rows)


def test_a_style_that_is_wrong_itself_is_reported(session, monkeypatch):
    wrong = Style("wrong", (("diagonal=1", "diagonal=2"),))
    monkeypatch.setattr(Exercise, "styles", lambda self: (wrong,))
    [row] = measure(session, "ex1", "wrong", [""], device="cpu", seed=0)
    assert row.outcome == "wrong" and not figures([row])[0].good


@pytest.mark.slow
def test_a_mistake_that_only_a_training_run_shows_is_left_out(session):
    [row] = measure(session, "ex2", "in_a_table", ["vocabulary_too_large"], device="cpu", seed=0)
    assert (row.outcome, row.ok) == ("left out", True)


@pytest.mark.parametrize(
    "named, candidates, wanted",
    [
        (["no_scale"], [], "named"),
        (["scale_by_width"], [], "misnamed"),
        (["no_scale", "scale_by_width"], [], "misnamed"),
        ([], ["no_scale", "scale_by_width"], "several"),
        ([], ["scale_by_width", "scale_by_heads"], "misnamed"),
        ([], [], "unnamed"),
    ],
)
def test_what_counts_as_named(named, candidates, wanted):
    failed = ["scale", "attention_matrix"]
    verdict = verdict_of(EXERCISES["ex1"], failed, named)
    next(check for check in verdict.checks if check.id == "scale").candidates = candidates
    assert outcome(verdict, "no_scale") == wanted


def rows_of(exercise, **count):
    return [
        Row(exercise, "style", f"mistake_{number}", name.replace("_", " "), "")
        for name, times in count.items()
        for number in range(times)
    ]


def test_the_table_has_the_right_figures():
    rows = rows_of("ex2", named=3, several=1) + rows_of("ex1", named=186, misnamed=2, unnamed=12, left_out=5)
    head, first, second = (line.split() for line in table(rows + rows_of("ex1", right=1)))
    assert head == ["exercise", "combinations", *COUNTED]
    assert first == ["ex1", "200", "93.0%", "1.0%", "0.0%", "6.0%", "0"]
    assert second == ["ex2", "4", "75.0%", "0.0%", "25.0%", "0.0%", "0"]
    assert [each.good for each in figures(rows)] == [True, False]
    assert not figures(rows_of("ex1", named=97, misnamed=3))[0].good
    assert not figures(rows_of("ex1", named=99, passed=1))[0].good


@pytest.mark.parametrize("more, status", [({}, PASSED), ({"passed": 1}, FAILED)])
def test_the_command_shows_the_table_and_what_is_not_named(monkeypatch, capsys, more, status):
    def in_parallel(exercises, *, device, seed, report, part):
        assert (exercises, part) == (list(EXERCISES), (2, 3))
        rows = rows_of("ex1", named=20, **more)
        for row in rows:
            report(row)
        return rows

    monkeypatch.setattr(styles, "in_parallel", in_parallel)
    monkeypatch.setattr(styles, "portions", lambda exercises, part: [])
    assert cli.main(["--selftest", "styles", "--part", "2/3"]) == status
    said = capsys.readouterr().out
    assert "combinations" in said and ("mistake_0 in style" in said) == bool(more)


@pytest.mark.slow
def test_shared_out_among_processes_each_combination_is_graded_once(monkeypatch):
    monkeypatch.setenv("GRADE_PATIENCE", "2")
    part = (3, 130)
    rows = styles.in_parallel(["ex1"], device="cpu", seed=0, part=part)
    graded = sorted((row.style, row.mistake) for row in rows)
    assert graded == sorted(combinations(EXERCISES["ex1"])[2::130])
    assert all(row.ok for row in rows)
