"""For every test: one thread for torch, which parts of the tests run, and how many of the slow ones.

The tensors are small, and threads that spin for work cost more than they bring (6 times as long was measured
on two shared cores).
"""

import os
import re

import pytest

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


def part_of(text: str) -> tuple[int, int]:
    """(k, n) of "k/n", the k-th of n parts."""
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise pytest.UsageError(f"--part is {text!r}; it must be K/N with K from 1 to N, such as 1/8.")
    return int(found[1]), int(found[2])


def pytest_addoption(parser):
    parser.addoption("--part", metavar="K/N", help="run the K-th of N parts of the tests that were asked for")


@pytest.hookimpl(trylast=True)  # -m and -k have left out theirs by then
def pytest_collection_modifyitems(config, items):
    if config.option.part is None:
        return
    k, n = part_of(config.option.part)
    kept = items[k - 1 :: n]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept
