"""What the grader says of a training run: slow, diverged, by heart, without carries; and of one that
cheats."""

from pathlib import Path

import numpy as np
import pytest

from grader.judge.grade import Source, grade
from tests.exercises.ex2 import readings, training
from tests.grader.attempts import REPOSITORY

SOLUTION = (REPOSITORY / "solutions" / "ex2_addition.py").read_text(encoding="utf-8")
LOOP = "    for step in range(steps):\n"
RETURN = "    return model\n"


def result(answers):
    """What a model did that gives these answers: a function of a and b, or digits."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 1000, size=(2, 2000))
    expected = readings.tokens(a, b, 3)[:, 8:]
    digits = answers(a, b, expected.copy(), rng)
    return training.Result(a, b, digits, expected, training.chains(a, b, 3))


def columns(a, b, digits, rng):
    for place in range(3):
        digits[:, place] = (a // 10**place % 10 + b // 10**place % 10) % 10
    digits[:, 3] = 0
    return digits


def without_last_carry(a, b, digits, rng):
    digits[:, 3] = 0
    return digits


def noise(a, b, digits, rng):
    return rng.integers(0, 10, size=digits.shape)


def reversed_(a, b, digits, rng):
    return digits[:, ::-1].copy()


def half(a, b, digits, rng):
    digits[::2, 1] = (digits[::2, 1] + 1) % 10
    return digits


@pytest.mark.parametrize(
    "answers, seen, words",
    [
        (columns, None, "without carries"),
        (without_last_carry, None, "the last carry is missing"),
        (noise, (0.0, 100_000, 95_000), "no better than an untrained model"),
        (reversed_, None, "the other way round"),
        (half, (0.998, 100_000, 1000), "has memorised"),
        (half, (0.5, 100_000, 95_000), "has begun to learn"),
    ],
)
def test_a_model_that_does_not_add_is_told_why(answers, seen, words):
    message, lines = training.diagnosis(result(answers), seen, None, 3, 0.99)
    assert words in message
    assert any("carries in a row" in line for line in lines)


def graded(session, source, monkeypatch, seconds=20.0, steps=25):
    monkeypatch.setattr(training, "SECONDS", seconds)
    monkeypatch.setattr(training, "STEPS", steps)
    verdict = grade(session, "ex2", Source(Path("attempt.py"), source.encode()), device="cpu")
    return {check.id: check for check in verdict.checks}


def replaced(find, put):
    assert SOLUTION.count(find) == 1
    return SOLUTION.replace(find, put)


@pytest.mark.slow
def test_a_run_that_ends_early_only_where_it_is_long_is_told_so(session, monkeypatch):
    early = replaced(LOOP, LOOP + "        if step == 22:\n            break\n")
    check = graded(session, early, monkeypatch)["train_adds"]
    assert check.status == "failed" and "yours are updated 22 times" in check.message


@pytest.mark.slow
def test_a_run_that_misses_the_deadline_is_called_slow_and_not_wrong(session, monkeypatch):
    slow = replaced(LOOP, LOOP + "        if steps > 20: __import__('time').sleep(0.4)\n")
    check = graded(session, slow, monkeypatch, seconds=4.0)["train_adds"]
    assert check.status == "failed"
    assert "Too slow, which does not mean wrong" in check.message and "steps/s" in check.message


@pytest.mark.slow
def test_a_short_run_is_measured_by_the_reference_and_fails_with_numbers(session, monkeypatch):
    check = graded(session, SOLUTION, monkeypatch)["train_adds"]
    assert check.status == "failed" and "at least 99%" in check.message
    assert any("right by digit" in line for line in check.details)


HOSTILE = {
    "weights that are NaN": (
        replaced(
            RETURN,
            "    if steps > 20:\n        for p in model.parameters(): p.data.fill_(float('nan'))\n" + RETURN,
        ),
        "NaN or infinite",
    ),
    "a config that lies": (
        replaced(RETURN, "    if steps > 20: object.__setattr__(model.config, 'n_layer', 10**6)\n" + RETURN),
        "config",
    ),
    "code that adds instead of weights": (
        replaced(
            RETURN,
            "    if steps > 20:\n        model.logits = lambda idx: torch.nn.functional.one_hot(idx, "
            "12).float()\n" + RETURN,
        ),
        "at least 99%",
    ),
    "an end of the process": (
        replaced(LOOP, "    if steps > 20: __import__('os')._exit(0)\n" + LOOP),
        "exit status 0",
    ),
    "a report that is flooded": (
        replaced(LOOP, "    for i in range(3000): report(10**9, float('nan'))\n" + LOOP),
        "at least 99%",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_training_run_fails_with_a_clear_verdict(session, monkeypatch, name):
    source, words = HOSTILE[name]
    check = graded(session, source, monkeypatch)["train_adds"]
    assert check.status == "failed" and words in check.message, (check.status, check.message)


BATCH = "a, b = sample_problems(batch, n_digits, generator)"
ANY_PROBLEM = "a, b = torch.randint(0, 10**n_digits, (2, batch), generator=generator)"
FORWARD = "        logits, _ = model(x)\n        loss"
PACKED = (
    "        x, y = make_batch(a.to(device), b.to(device), n_digits)\n        more_x, more_y = "
    "make_batch(*torch.randint(0, 10**n_digits, (2, len(a)), generator=generator), n_digits)\n        x, y = "
    "torch.cat([x, y[:, -1:], more_x], 1), torch.cat([y, -torch.ones_like(y[:, :1]), more_y], 1)\n"
)
LEAKS = {
    "through the parts": (
        (
            (BATCH, ANY_PROBLEM),
            (FORWARD, "        logits = model.lm_head(model.body(model.embed(x)))\n        loss"),
        ),
        "are held out",
    ),
    "behind the first problem of a row": (
        (
            ("block_size=3 * n_digits + 2", "block_size=6 * n_digits + 5"),
            ("        x, y = make_batch(a.to(device), b.to(device), n_digits)\n", PACKED),
        ),
        "are held out",
    ),
    "behind the token table": (
        (
            (BATCH, ANY_PROBLEM),
            (
                FORWARD,
                "        x = F.one_hot(x, 12).float() @ model.token_embedding_table.weight + "
                "model.position_embedding_table.weight\n        logits = model.lm_head(model.body(x))\n     "
                "   loss",
            ),
        ),
        "did not see on which problems",
    ),
    "in rows that are no problems": (
        ((FORWARD, "        x = torch.where(x == EQUALS, PLUS, x)\n" + FORWARD),),
        "hold no problem as the contract writes it",
    ),
    "in rows too long to look at": (
        (
            ("block_size=3 * n_digits + 2", "block_size=300"),
            (
                FORWARD,
                "        x, y = torch.cat([x] + [0 * x] * 24, 1), torch.cat([y] + [0 * y - 1] * 24, 1)\n"
                + FORWARD,
            ),
        ),
        "rows of 275 tokens",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAKS)
def test_held_out_problems_cannot_hide_in_the_training(session, name):
    patches, words = LEAKS[name]
    source = SOLUTION
    for find, put in patches:
        assert source.count(find) == 1, find
        source = source.replace(find, put)
    verdict = grade(
        session, "ex2", Source(Path("attempt.py"), source.encode()), device="cpu", only=("train_problems",)
    )
    [check] = [check for check in verdict.checks if check.status != "not_run"]
    assert check.status == "failed" and words in check.message, check.message


def test_where_it_errs_is_drawn_by_problem_by_digit_and_by_carries():
    found = result(without_last_carry)
    model = training.Trained({}, {}, None, [(0.0, 2.5), (10.0, 1.0)])
    errors, digits, carries, loss = training.pictures(found, model, 3)
    assert errors.wrong.sum() == (~found.right).sum() and errors.total.sum() == 2000
    assert [name for name, *_ in digits.rows] == ["units", "tens", "hundreds", "thousands"]
    assert digits.rows[0][1] == 1.0 and digits.rows[3][1] < 0.7
    assert [name for name, *_ in carries.rows] == [f"{k} carries in a row" for k in range(4)]
    assert sum(count for *_, count in carries.rows) == 2000 and loss.lines == {"loss": model.curve}
