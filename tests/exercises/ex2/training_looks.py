"""Held-out problems to measure a trained adder on, drawn in the reference's worker (training.py asks for
them)."""

from data import addition
from grader.worker import tools


def held_out_problems(m, count, n, seed):
    """a and b of `count` problems that are held out."""
    a, b = addition.sample_held_out(count, n, tools.generator(seed))
    return {"a": a, "b": b}
