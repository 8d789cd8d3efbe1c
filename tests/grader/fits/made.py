"""Numbers for the fits: an attention in numpy, head by head, that shares no line with grader/judge/fits; and
attempts whose failed checks hand over theirs."""

import importlib
from pathlib import Path

import numpy as np

from grader.judge import fits
from grader.judge.grade import Source, grade
from tests.exercises import EXERCISES
from tests.exercises.battery.attention import SHOWN, TELLING, by_head, positions, show_attention
from tests.exercises.battery.module import Size
from tests.exercises.ex1.checks import UNIT
from tests.exercises.exam import Numbers
from tests.grader.attempts import REPOSITORY

SIZE = Size(B=2, T=6, n_embd=30, n_head=5, block_size=11, seed=3)
# The checks whose numbers are read, without those that take long.
CHECKS = (
    "output", "one_token", "first_token", "running_mean", "scale", "attention_matrix", "heads_apart",
    "causality", "rotated", "values", "large_logits",
)  # fmt: skip


def softmax(row: np.ndarray) -> np.ndarray:
    """Of one row of scores."""
    exp = np.exp(row - row.max())
    return exp / exp.sum()


def right_weights(scores: np.ndarray, size: Size) -> np.ndarray:
    """(T, T) q . k of one head -> its attention matrix."""
    scores = np.where(np.tri(size.T), scores / np.sqrt(size.D), -np.inf)
    return np.array([softmax(row) for row in scores])


def attention(size, given, x, weights=right_weights, order=(0, 1, 2), heads=None, back=None) -> np.ndarray:
    """(B, T, C) in float32.

    weights: (q . k, size) -> attention matrix, of one head. order: which third of the rows is query, key,
    value. heads: which head stands where. back: (B, H, T, D) -> (B, T, C), in place of the right join.
    """
    B, T, C = x.shape
    thirds = np.split(x.astype(np.float64) @ given["qkv.weight"].T, 3, axis=-1)
    out = np.zeros((B, size.n_head, T, size.D))
    for b in range(B):
        for h in range(size.n_head):
            q, k, v = (thirds[third][b, :, h * size.D : (h + 1) * size.D] for third in order)
            out[b, h] = weights(q @ k.T, size) @ v
    out = out if heads is None else out[:, heads(size.n_head)]
    if back is None:
        joined = np.concatenate([out[:, h] for h in range(size.n_head)], axis=-1)
    else:
        joined = back(out).reshape(B, T, C)
    return (joined @ given["proj.weight"].T + given["proj.bias"]).astype(np.float32)


def numbers(noise=0.0, size=SIZE, **wrong) -> Numbers:
    """What a failed check hands over where this is wrong; noise: as a part of what is allowed."""
    first, *others = (_one(one, noise, wrong) for one in (size, *TELLING, SHOWN))
    return Numbers(
        first.kind, first.expected, first.got, first.allowed, first.facts | {"again": tuple(others)}
    )


def _one(size, noise, wrong):
    given, x = UNIT.weights(size), size.x()
    if size is SHOWN:
        given, x = show_attention(size, given), positions(size)
    expected, got = UNIT.right(size, given, x), attention(size, given, x, **wrong)
    allowed = UNIT.allowance(size, given, x, expected)
    got = got + np.random.default_rng(size.seed).normal(size=got.shape) * noise * allowed
    if size is SHOWN:
        expected, got = by_head(size, expected), by_head(size, got)
    facts = size.facts() | {"weights": given, "x": x, "rotated": lambda m: m}
    return Numbers("attention" if size is SHOWN else "output", expected, got, allowed, facts)


def id_of(given: Numbers) -> str | None:
    """The id of what explains these numbers."""
    fit = fits.explain(given)
    return fit and fit.id


def patched(exercise: str, patches) -> bytes:
    """The solution with these (find, put) in it."""
    source = (REPOSITORY / EXERCISES[exercise].solution_path).read_text(encoding="utf-8")
    for find, put in patches:
        assert source.count(find) == 1, find
        source = source.replace(find, put)
    return source.encode()


def read_off(session, exercise: str, patches) -> dict[str, fits.Fit | None]:
    """{check: what its numbers tell}, of every check of CHECKS that a grade would reach, that fails, and that
    hands numbers over."""
    source = Source(Path("attempt.py"), patched(exercise, patches))
    verdict = grade(session, exercise, source, device="cpu", quick=True, only=CHECKS)
    failed = {check.id: check for check in verdict.checks if check.status == "failed"}
    module = importlib.import_module(f"tests.exercises.{exercise}.checks")
    marks = [function.check for name, function in vars(module).items() if name.startswith("test_")]
    after = {id: earlier for id, _, earlier in marks}
    reached = [check for id, check in failed.items() if not failed.keys() & set(after[id])]
    return {check.id: fits.explain(check.numbers) for check in reached if check.numbers is not None}


def mistakes(session, exercise: str, patches) -> list[str]:
    """The verdict's mistakes, of a whole grade with the catalogue."""
    source = Source(Path("attempt.py"), patched(exercise, patches))
    return grade(session, exercise, source, device="cpu", quick=True).mistakes


def assert_named_alike(session, exercise: str, patches, id: str) -> None:
    """Every check that hands numbers over tells this one mistake."""
    found = read_off(session, exercise, patches)
    assert found and {fit and fit.id for fit in found.values()} == {id}, found
