"""Runs one failing case in this process, where a debugger can follow it into the learner's code.

    python -m grader.learner.replay TOKEN FILE     prints the script that `grade.py --replay TOKEN` writes

A check looks at an attempt through functions of torch (tests/exercises/asked.py). To find those of one case,
the check runs on the solution, and its looks are recorded. The script then calls the same looks, with the
learner's file in this process. The check itself compares the answers. Nothing here decides a verdict."""

import atexit
import contextlib
import importlib
import json
import shutil
import sys
import tempfile
import textwrap
from collections import deque
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path

import torch

from grader.judge.failures import read_answer
from grader.judge.grade import read_source
from grader.judge.tokens import Token, read
from grader.workbook import REPOSITORY, UsageError
from grader.worker.devices import Tracing
from grader.worker.errors import LearnerError, StepError
from grader.worker.look import BENCH, Graded, describe, run_look, unpacked
from grader.worker.main import describe_error, describe_step, load, reset_torch
from tests.exercises import EXERCISES, Exercise
from tests.exercises.exam import Answer, CaseOver, CheckFailed, Exam, Location, Subject

MOST_LOOKS = 6  # that a script writes one by one


def load_attempt(exercise: Exercise, path: Path):
    """A hand-in as the module `attempt`: what a grade would run of it, with the lines of a Python file where
    they stand.

    UsageError where there is no Python in it.
    """
    code = read_source(path).code(exercise)
    if code.problem:
        raise UsageError(f"{path} cannot be run: {code.problem}.")
    if code.helpers:
        folder = tempfile.mkdtemp(prefix="replay-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for name, data in code.helpers.items():
            Path(folder, name).write_bytes(data)
        sys.path.append(folder)
    sys.dont_write_bytecode = True
    try:
        return load("attempt", str(path), code.data)
    except LearnerError as error:
        raise error.cause from None


def load_solution(exercise: Exercise):
    """The solution as the module `solution`."""
    path = REPOSITORY / exercise.solution_path
    return load("solution", str(path), path.read_bytes())


def subject(role: str, module, device: str) -> Subject:
    """A module of this process as a subject of the checks."""

    def ask(asked, seed: int) -> Answer:
        reset_torch(seed, threads=1)
        try:
            values, arrays, _ = run_look(
                *_arguments(asked), asked.arrays, module, device, traced=asked.devices_traced
            )
        except StepError as error:
            return read_answer({"error": describe_step(error, module.__file__)}, {})
        except LearnerError as error:
            return read_answer({"error": describe_error(error.cause, module.__file__)}, {})
        return read_answer({"values": json.loads(json.dumps(values))}, arrays)

    return Subject(role, ask, device)


def _arguments(asked) -> tuple:
    """Through JSON, as on its way to a worker: tuples arrive as lists."""
    request = json.loads(json.dumps(asked.request()))
    return request["looks"], request["function"], request["given"]


class FailingCase:
    """The case of a token: the check, and the looks that it asks for there.

    asked: (look, seed) pairs; answers: the solution's, to as many as are quickly answered.
    UsageError where the token names no case.
    """

    def __init__(self, text: str):
        self.token, self.text = read(text), text
        self.exercise = EXERCISES[self.token.exercise]
        self.function = _check(self.token)
        self.location = Location(self.token.look, self.token.series, _drawn(self.token, self.function))
        self.solution = load_solution(self.exercise)
        self.asked, self.answers = [], []
        solved = subject("attempt", self.solution, "cpu")

        def written_down(asked, seed):
            if not exam.at_the_case:
                return solved.ask(asked, seed)
            self.asked.append((asked, seed))
            if asked.seconds is not None:
                raise CaseOver  # it trains or samples: too long to be done for the script alone
            self.answers.append(solved.ask(asked, seed))
            return self.answers[-1]

        exam = self.exam(Subject("attempt", written_down, "cpu"), self.solution)
        try:
            self.function(exam)
        except CaseOver:
            pass
        except (CheckFailed, ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise UsageError(
                f"the token {text[:60]!r} names no case of this check ({type(error).__name__})."
            ) from None

    def exam(self, attempt: Subject, module) -> Exam:
        """The exam of this one case."""
        reference, names = subject("reference", self.solution, "cpu"), tuple(vars(module))
        of_case = {"only": self.location, "wants_numbers": False}
        return Exam(attempt, reference, attempt.device, self.token.seed, names=names, **of_case)


def _check(token: Token):
    checks = importlib.import_module(f"tests.exercises.{token.exercise}.checks")
    marked = {f.check[0]: f for f in vars(checks).values() if isinstance(getattr(f, "check", None), tuple)}
    return marked[token.check]


def _drawn(token: Token, function):
    """The drawn case: a dataclass that the checks know by this name, or a tuple or value."""
    if not token.series:
        return None
    if token.type in ("tuple", "value"):
        return token.items if token.type == "tuple" else token.items[0]
    modules = [vars(module) for name, module in sys.modules.items() if name.startswith("tests.exercises.")]
    known = [names[token.type] for names in [function.__globals__, *modules] if token.type in names]
    try:
        type_ = next(filter(is_dataclass, known))
        return type_(*token.items)
    except (StopIteration, TypeError, ValueError):
        raise UsageError(f"the case {token.type} in the token is none of this check.") from None


class Replay:
    """What a script works with: the case of a token, and a learner's file beside it."""

    def __init__(self, token: str, file: str, *helpers: str):
        """helpers: the files that came with it (--with)."""
        self.case = FailingCase(token)
        self.device = self.case.token.device
        if self.device == "cuda" and not torch.cuda.is_available():
            print("This case failed on a GPU; there is none here, so it runs on the CPU.", file=sys.stderr)
            self.device = "cpu"
        # last, so that a torch.py there is no torch
        sys.path += [str(Path(name).parent) for name in (file, *helpers)]
        self.attempt = load_attempt(self.case.exercise, Path(file))
        self._seen: deque[Answer | StepError] = deque()

    def look(self, number: int) -> "Look":
        """The number-th look of the case, ready to be called: torch is reset and seeded."""
        asked, seed = self.case.asked[number]
        reset_torch(seed, threads=1)
        answers = self.case.answers[number : number + 1]
        return Look(asked, self.attempt, self.device, answers[0] if answers else None, self._seen.append)

    def difference(self) -> str:
        """What the check says of what was seen; "" where nothing is wrong with this case."""
        answered = subject("attempt", self.attempt, self.device)

        def ask(asked, seed):
            if self._seen and exam.at_the_case:
                seen = self._seen.popleft()
                if isinstance(seen, StepError):
                    return read_answer({"error": describe_step(seen, self.attempt.__file__)}, {})
                return seen
            return answered.ask(asked, seed)

        exam = self.case.exam(Subject("attempt", ask, self.device), self.attempt)
        try:
            self.case.function(exam)
        except CheckFailed as failure:
            return "\n".join([textwrap.fill(failure.message, 100), *failure.details])
        except CaseOver:
            pass
        return ""


class Look:
    """A look that a script calls in the open.

    function: the look. m: the graded file, as a look sees it. given: what the look is given beside it.
    expected: what the solution gives.
    """

    def __init__(self, asked, module, device: str, right: Answer | None, keep):
        BENCH.begin(device)
        self.function = getattr(importlib.import_module(asked.looks.name), asked.function)
        self.m, self._module, self._keep = Graded(module), module, keep
        self.given = unpacked(_arguments(asked)[2], asked.arrays)
        self.expected = {} if right is None else {name: _numbers(right, name) for name in right.values}

    @contextlib.contextmanager
    def devices(self):
        """Around a look of a check that traces devices. Where a tensor without a device meets one that has it
        the look ends, as it would on a GPU; Replay.difference says so."""
        try:
            with Tracing(self._module):
                yield
        except StepError as error:
            self._keep(error)

    def saw(self, values: dict) -> None:
        """What the look gave, as the judge is to see it."""
        arrays: dict = {}
        described = {name: describe(value, name, arrays) for name, value in values.items()}
        self._keep(Answer(json.loads(json.dumps(described)), arrays))


def _numbers(answer: Answer, name: str):
    """A value of an answer as numpy arrays and plain values."""
    value = answer.values[name]
    if value["kind"] == "tensor":
        return answer.arrays.get(value.get("sent"))
    if value["kind"] == "dict" and any(item["kind"] == "tensor" for item in value["items"].values()):
        return answer.tensors(name)
    return answer.plain(name)


# The script.


def _quoted(text: str) -> str:
    """A string as it is written in this project."""
    return json.dumps(text, ensure_ascii=False)


def _alias(looks: str) -> str:
    """What a script calls a file of looks: that of an exercise ex2_looks, that of a battery by its own
    name."""
    folder, name = looks.split(".")[-2:]
    return f"{folder}_looks" if name == "looks" else name


def script(case: FailingCase, path: Path, name: str, helpers: Sequence[Path] = ()) -> str:
    """The text of the script for a learner's file and its helpers; name: that of the script."""
    exercise, token = case.exercise, case.token
    _, title, _ = case.function.check
    body, files = [], sorted({asked.looks.name for asked, _ in case.asked})
    for number, (asked, _) in enumerate(case.asked):
        function = f"{_alias(asked.looks.name)}.{asked.function}"
        call = f"saw = {function}(look.m, **look.given)  # your code runs in here"
        body += ["", f"look = replay.look({number})  # torch is reset and seeded"]
        if asked.devices_traced:
            body.append("with look.devices():  # ends where a tensor without a device meets one that has it")
            body += [f"    {call}", "    look.saw(saw)"]
        else:
            body += [call, "look.saw(saw)"]
    if len(case.asked) > MOST_LOOKS:  # no check traces so many
        body = [
            "",
            f"for number in range({len(case.asked)}):",
            "    look = replay.look(number)  # torch is reset and seeded",
            "    look.saw(look.function(look.m, **look.given))  # your code runs in here",
        ]
    elif len(case.answers) == len(case.asked) == 1:
        body.append("expected = look.expected  # what the solution gives, by the same names")
    lines = [
        f'"""{exercise.name}, {token.check}: {title}.'.replace("\\", "\\\\"),
        "",
        f"The case that failed, with your code in this process: python -m pdb {name}",
        'then "b FILE:LINE" stops at a line of yours, "c" goes on, "p NAME" shows a value.',
        '"""',
        "",
        "import sys",
        "",
        f"sys.path.insert(0, {_quoted(str(REPOSITORY))})",
        *(f"import {file} as {_alias(file)}" for file in files if len(case.asked) <= MOST_LOOKS),
        "from grader.learner.replay import Replay",
        "",
        f"replay = Replay({_quoted(case.text)}, "
        f"{', '.join(_quoted(str(file)) for file in [path, *helpers])})",
        *body,
        "",
        "difference = replay.difference()  # as the check sees it",
        "assert not difference, difference",
        f'print("Nothing is wrong with this case now. Grade again: python grade.py {exercise.name}")',
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints the script; where there is none, the reason, with exit status 2."""
    token, path, name, *helpers = sys.argv[1:]
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        print(script(FailingCase(token), Path(path), name, list(map(Path, helpers))), end="")
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
