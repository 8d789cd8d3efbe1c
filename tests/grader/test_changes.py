"""What a mistake changes of the solution is told by name, and never too little."""

import ast

import pytest

from grader.judge.changes import changed_names
from tests.exercises import EXERCISES
from tests.grader.attempts import REPOSITORY

SOURCE = '''"""A module."""
import math

FACTOR = 2

def double(x):
    return FACTOR * x

class Doubler:
    def __call__(self, x):
        return double(x)

@staticmethod
def root(x):
    return math.sqrt(x)

def four_times(x):
    return Doubler()(Doubler()(x))

if __name__ == "__main__":
    print(root(4))
'''


@pytest.mark.parametrize(
    "find, put, names",
    [
        ("math.sqrt(x)", "x ** 0.5", {"root"}),
        ("FACTOR * x", "x + x", {"double", "Doubler", "four_times"}),
        ("FACTOR = 2", "FACTOR = 3", {"FACTOR", "double", "Doubler", "four_times"}),
        ("@staticmethod\n", "", {"root"}),
        ("import math\n", "import cmath as math\n", {"math", "root"}),
        ("    return FACTOR * x\n", "    return FACTOR * x\n\ndef root(x):\n    return x\n", None),
        ("print(root(4))", "print(root(9))", None),
        ("not there", "", None),
    ],
)
def test_a_change_is_told_with_all_that_depends_on_it(find, put, names):
    assert changed_names(SOURCE, ((find, put),)) == (None if names is None else frozenset(names))


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_what_no_mistake_of_the_catalogue_is_said_to_change_is_the_same_code(exercise):
    solution = (REPOSITORY / exercise.solution_path).read_text(encoding="utf-8")

    def definitions(text):
        return {
            n.name: ast.dump(n)
            for n in ast.parse(text).body
            if isinstance(n, (ast.FunctionDef, ast.ClassDef))
        }

    before, told_apart = definitions(solution), 0
    for mistake in exercise.mistakes():
        changed = changed_names(solution, mistake.patches)
        told_apart += changed is not None
        after = definitions(mistake.apply(solution))
        differ = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert changed is None or differ <= changed, mistake.id
    # And it is of use: many mistakes change some functions only.
    assert told_apart > min(20, len(exercise.mistakes()) / 2)
