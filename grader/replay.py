"""One failing case again, in this very process, where a debugger can follow it into the learner's code.

    python -m grader.replay TOKEN FILE     prints the script that `grade.py --replay TOKEN` writes

A check describes what it asks of an attempt as programs (tests/exercises/program.py). To find those of one
case, the check runs on the solution and its programs are written down; the script then carries them out in
the open, on the learner's file. Whether what came is wrong, the check itself says. Nothing here decides a
verdict.
"""

import atexit
import builtins
import importlib
import inspect
import json
import keyword
import shutil
import sys
import tempfile
import textwrap
from collections import deque
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path

import torch

from grader.calls import UsageError
from grader.hosts import attempt_error, read_answer
from grader.judge import read_source
from grader.looking import BENCH, Graded, run_look, unpacked
from grader.processes import REPOSITORY
from grader.steps import Context, LearnerError, StepError, describe, run_steps
from grader.tokens import Token, read
from grader.worker import describe_error, load, reset_torch
from tests.exercises import EXERCISES, Exercise
from tests.exercises.exam import Answer, CaseOver, CheckFailed, Exam, Position, Subject

LONGEST_SCRIPT = 39  # lines
LONGEST_LINE = 110
LONGEST_VALUE = 80  # characters of a value that is written into the script


def load_attempt(exercise: Exercise, path: Path):
    """A hand-in as the module `attempt`: what a grade would run of it, with the lines of a Python file where they stand.

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

    def ask(program, seed: int) -> Answer:
        reset_torch(seed, threads=1)
        # Through JSON, as on its way to a worker: tuples arrive as lists.
        if program.looks:
            return _looked(lambda: run_look(*_arguments(program), program.arrays, module, device), module)
        steps, gives = json.loads(json.dumps([program.steps, program.gives]))
        try:
            values, arrays, _ = run_steps(steps, gives, program.arrays, module, device)
        except StepError as error:
            return read_answer({"error": error.description}, {})
        except LearnerError as error:
            return read_answer({"error": describe_error(error.cause, module.__file__)}, {})
        return read_answer({"values": json.loads(json.dumps(values))}, arrays)

    return Subject(role, ask, device)


def _arguments(asked) -> tuple:
    request = json.loads(json.dumps(asked.request()))
    return request["looks"], request["function"], request["given"]


def _looked(look, module) -> Answer:
    """The answer that a look gives; CheckFailed where the module's code failed in it."""
    try:
        values, arrays, _ = look()
    except StepError as error:
        return read_answer({"error": error.description}, {})
    except LearnerError as error:
        return read_answer({"error": describe_error(error.cause, module.__file__)}, {})
    return read_answer({"values": json.loads(json.dumps(values))}, arrays)


class Case:
    """The case of a token: the check, and the programs that it asks of an attempt there.

    programs: (program, seed) pairs; answers: the solution's, to as many as are quickly answered.
    UsageError where the token names no case.
    """

    def __init__(self, text: str):
        self.token, self.text = read(text), text
        self.exercise = EXERCISES[self.token.exercise]
        self.function = _check(self.token)
        self.position = Position(self.token.look, self.token.series, _drawn(self.token, self.function))
        self.solution = load_solution(self.exercise)
        self.programs, self.answers = [], []
        solved = subject("attempt", self.solution, "cpu")

        def written_down(program, seed):
            if not exam.at_the_case:
                return solved.ask(program, seed)
            self.programs.append((program, seed))
            if program.seconds is not None:
                raise CaseOver  # it trains or samples: too long to be done for the script alone
            self.answers.append(solved.ask(program, seed))
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
        reference = subject("reference", self.solution, "cpu")
        return Exam(
            attempt, reference, attempt.device, self.token.seed, names=tuple(vars(module)), only=self.position
        )


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
        self.case = Case(token)
        self.device = self.case.token.device
        if self.device == "cuda" and not torch.cuda.is_available():
            print("This case failed on a GPU; there is none here, so it runs on the CPU.", file=sys.stderr)
            self.device = "cpu"
        sys.path += [str(Path(name).parent) for name in (file, *helpers)]  # last, so that a torch.py there is no torch
        self.attempt = load_attempt(self.case.exercise, Path(file))
        self._seen: deque[Answer] = deque()

    def program(self, number: int) -> "Steps":
        """The number-th program of the case, ready to be carried out: torch is reset and seeded."""
        program, seed = self.case.programs[number]
        reset_torch(seed, threads=1)
        answers = self.case.answers[number : number + 1]
        if program.looks:
            return Look(program, self.attempt, self.device, answers[0] if answers else None, self._seen.append)
        return Steps(program, self.attempt, self.device, answers[0] if answers else None, self._seen.append)

    def difference(self) -> str:
        """What the check says of what was seen; "" where nothing is wrong with this case."""
        answered = subject("attempt", self.attempt, self.device)

        def ask(program, seed):
            if self._seen and exam.at_the_case:
                return self._seen.popleft()
            return answered.ask(program, seed)

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

    function: the look. m: the graded file, as a look sees it. given: what the look is given beside it. expected: what the
    solution gives.
    """

    def __init__(self, asked, module, device: str, right: Answer | None, keep):
        BENCH.begin(device)
        self.function = getattr(importlib.import_module(asked.looks.name), asked.function)
        self.m, self._module, self._keep = Graded(module), module, keep
        self.given = unpacked(_arguments(asked)[2], asked.arrays)
        self.expected = {} if right is None else {name: _numbers(right, name) for name in right.values}

    def saw(self, values: dict) -> None:
        """What the look gave, as the judge is to see it."""
        arrays: dict = {}
        described = {name: describe(value, name, arrays) for name, value in values.items()}
        self._keep(Answer(json.loads(json.dumps(described)), arrays))


class Steps:
    """The steps of one program, as methods that take and give real objects: steps.tensor(..).

    They are those of grader/steps.py. arrays: what they use, by name. expected: what the solution gives.
    """

    def __init__(self, program, module, device: str, right: Answer | None, keep):
        self.program, self.arrays, self._keep = program, program.arrays, keep
        self._context = Context(program.arrays, module, torch.device(device), None)
        self.expected = {} if right is None else {name: _numbers(right, name) for name in right.values}

    def __getattr__(self, name: str):
        step = getattr(self._context, f"do_{name}", None)
        if step is None:
            raise AttributeError(f"there is no step {name!r}")

        def carry_out(*arguments, **more):
            if arguments and "args" in DEFAULTS[name]:  # function, *args: as in tests/exercises/program.py
                arguments, more = arguments[:1], more | {"args": arguments[1:]}
            try:
                return step(*arguments, **more)
            except LearnerError as error:
                raise error.cause from None  # with its own traceback, which ends in the learner's line
            except StepError as error:
                raise attempt_error(error.description) from None

        return carry_out

    def value(self, expression):
        """What an expression of a program stands for."""
        return self._context.value(expression)

    def given(self, step: int, key: str, index: int | None = None):
        """An argument of a step that is too long to be written into the script."""
        value = self.program.steps[step][key]
        return value if index is None else value[index]

    def saw(self, values: dict) -> None:
        """What the program gives back, as the judge is to see it."""
        arrays: dict = {}
        described = {name: describe(value, name, arrays) for name, value in values.items()}
        self._keep(Answer(json.loads(json.dumps(described)), arrays))

    def run(self) -> "Steps":
        """All steps of the program at once."""
        results = self._context.results
        for step in json.loads(json.dumps(self.program.steps)):
            results.append(getattr(self, step.pop("do"))(**step))
        gives = json.loads(json.dumps(self.program.gives))
        self.saw({name: self._context.value(expression) for name, expression in gives.items()})
        return self


def _numbers(answer: Answer, name: str):
    """A value of an answer as numpy arrays and plain values."""
    value = answer.values[name]
    if value["kind"] == "tensor":
        return answer.arrays.get(value.get("sent"))
    if value["kind"] == "dict" and any(item["kind"] == "tensor" for item in value["items"].values()):
        return answer.tensors(name)
    return answer.plain(name)


# The script.


def _defaults(function) -> dict:
    """The parameters of a step with their defaults, in order."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {parameter.name: parameter.default for parameter in parameters}


STEPS = [name for name in vars(Context) if name.startswith("do_")]
DEFAULTS = {name.removeprefix("do_"): _defaults(getattr(Context, name)) for name in STEPS}
NAMES = {"tensor": "x", "build": "module", "call": "out", "oracle": "model", "observe_training": "run"}
TAKEN = ("replay", "attempt", "steps", "difference", "torch", "gpt_core", "addition", "sys")


class Unwritable(Exception):
    """A step that cannot be written as a line; the program is then carried out as a whole."""


class _Writer:
    """Writes one program as lines of Python."""

    def __init__(self, program, number: int, taken: set[str]):
        self.steps, gives = json.loads(json.dumps([program.steps, program.gives]))
        self.arrays, self.number, self.gives = program.arrays, number, gives
        self.taken, self.names = set(taken), {}
        self.used = set(_references([self.steps, gives]))
        self.written: dict[str, str] = {}  # a config that was written already, to its name

    def lines(self) -> list[str]:
        made = [f"steps = replay.program({self.number})"]
        for index, step in enumerate(self.steps):
            made += self._step(index, dict(step))
        gives = [f"{_quoted(name)}: {self._expression(value)}" for name, value in self.gives.items()]
        return made + _call("steps.saw({", gives, "})")

    def _name(self, index: int, do: str) -> str:
        """As the program gives it back, where it does; else by the kind of step."""
        wanted = next(
            (n for n, value in self.gives.items() if value == {"ref": index} and n.isidentifier()),
            NAMES.get(do, do),
        )
        name, number = wanted, 2
        if keyword.iskeyword(name) or hasattr(builtins, name):
            wanted = name = f"{name}_"
        while name in self.taken or name in TAKEN:
            name, number = f"{wanted}{number}", number + 1
        self.taken.add(name)
        self.names[index] = name
        return name

    def _step(self, index: int, step: dict) -> list[str]:
        do = step.pop("do")
        if do == "call":
            arguments = [self._argument(index, "args", i, item) for i, item in enumerate(step["args"])]
            arguments += [
                f"{key}={self._expression(value)}" for key, value in (step.get("kwargs") or {}).items()
            ]
            head, tail = f"{self._expression(step['function'])}(", ")  # your code"
        else:
            arguments, head = list(self._arguments(index, do, step)), f"steps.{do}("
            tail = f"){self._comment(step) if do == 'tensor' else ''}"
        if index not in self.used:
            lines = _call(head, arguments, tail)
        else:
            key = f"{head}{arguments}"
            if do == "config" and key in self.written:  # frozen, so that one will do
                self.names[index] = self.written[key]
                return []
            self.written[key] = name = self._name(index, do)
            lines = _call(f"{name} = {head}", arguments, tail)
        return ["with torch.no_grad():", *(f"    {line}" for line in lines)] if step.get("no_grad") else lines

    def _arguments(self, index: int, do: str, step: dict):
        if do not in DEFAULTS:
            raise Unwritable
        named = False  # from the first name on, only names can follow
        for key, value in step.items():
            default = DEFAULTS[do].get(key, inspect.Parameter.empty)
            if key == "args":
                yield from (self._argument(index, key, place, item) for place, item in enumerate(value))
                continue
            if value == default or default is None and not value:
                continue
            if key == "parameters":
                written = f'steps.given({index}, "{key}")'  # names of parameters to names of arrays
            elif key in ("kwargs", "wrt"):
                written = (
                    f"{{{', '.join(f'{_quoted(k)}: {self._expression(item)}' for k, item in value.items())}}}"
                )
            else:
                written = self._argument(index, key, None, value)
            required = key in DEFAULTS[do] and default is inspect.Parameter.empty
            after_args = "args" in step and key != "function"
            named = named or not required or after_args or isinstance(value, (bool, int, float))
            yield f"{key}={written}" if named else written

    def _argument(self, index: int, key: str, place: int | None, value) -> str:
        written = self._expression(value)
        if len(written) <= LONGEST_VALUE:
            return written
        if any(True for _ in _references(value)):
            raise Unwritable
        return f'steps.given({index}, "{key}"' + ("" if place is None else f", {place}") + ")"

    def _expression(self, value) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(self._expression, value))}]"
        if not isinstance(value, dict):
            return _quoted(value) if isinstance(value, str) else repr(value)
        match value:
            case {"ref": index}:
                return ".".join(filter(None, [self.names.get(index, "None"), value.get("attr", "")]))
            case {"name": name}:
                return f"attempt.{name}"
            case {"gpt_core": name}:
                return f"gpt_core.{name}"
            case {"addition": name}:
                return f"addition.{name}"
        return f"steps.value({json.dumps(value)})"

    def _comment(self, step: dict) -> str:
        array = self.arrays[step["array"]]
        numbers = f" {array.tolist()}" if array.dtype.kind == "i" and array.size <= 8 else ""
        return f"  # {tuple(array.shape)}{numbers}"


def _quoted(text: str) -> str:
    """A string as it is written in this project."""
    return json.dumps(text, ensure_ascii=False)


def _references(value):
    """The numbers of the steps that an expression refers to."""
    if isinstance(value, dict) and "ref" in value:
        yield value["ref"]
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _call(head: str, arguments: list[str], tail: str) -> list[str]:
    """A call on one line, or with its arguments on as few further lines as they need."""
    line = f"{head}{', '.join(arguments)}{tail}"
    if len(line) <= LONGEST_LINE:
        return [line]
    lines = [head]
    for argument in arguments:
        if lines[-1] != head and len(lines[-1]) + len(argument) < LONGEST_LINE - 2:
            lines[-1] += f" {argument},"
        else:
            lines.append(f"    {argument},")
    return [*lines, tail.lstrip()]


def _alias(looks: str) -> str:
    """What a script calls a file of looks: that of an exercise ex2_looks, that of a battery by its own name."""
    folder, name = looks.split(".")[-2:]
    return f"{folder}_looks" if name == "looks" else name


def script(case: Case, path: Path, name: str, helpers: Sequence[Path] = ()) -> str:
    """The text of the script for a learner's file and its helpers; name: that of the script."""
    exercise, token = case.exercise, case.token
    _, title, _ = case.function.check
    taken: set[str] = set()
    open_, closed = [], []
    for number, (program, _) in enumerate(case.programs):
        if program.looks:
            closed.append([
                f"look = replay.program({number})  # torch is reset and seeded",
                f"saw = {_alias(program.looks.name)}.{program.function}(look.m, **look.given)  # your code runs in here",
                "look.saw(saw)",
            ])  # fmt: skip
            open_.append(closed[-1])
            continue
        writer = _Writer(program, number, taken)
        closed.append([f"steps = replay.program({number}).run()  # its {len(program.steps)} steps at once"])
        try:
            open_.append(writer.lines())
            taken = writer.taken
        except Unwritable:
            open_.append(closed[-1])
    shown = list(open_)
    while len(text := _around(case, exercise, token, title, [path, *helpers], name, shown)) > LONGEST_SCRIPT:
        longest = max(range(len(shown)), key=lambda number: len(shown[number]))
        if shown[longest] == closed[longest]:
            shown = [[f"for number in range({len(closed)}):", "    replay.program(number).run()  # all its steps at once"]]
            if all(program.looks for program, _ in case.programs):
                shown[0][1:] = [
                    "    look = replay.program(number)  # torch is reset and seeded",
                    "    look.saw(look.function(look.m, **look.given))  # your code runs in here",
                ]
        else:
            shown[longest] = closed[longest]
    return "\n".join(text) + "\n"


def _around(case, exercise, token, title, paths, name, programs) -> list[str]:
    """The lines of the script around those of its programs."""
    body = [line for lines in programs for line in ["", *lines]]
    if len(case.answers) == len(case.programs) == 1:
        object_ = "look" if case.programs[0][0].looks else "steps"
        body.append(f"expected = {object_}.expected  # what the solution gives, by the same names")
    said = "\n".join(body)
    imports = [
        line
        for line, used in (("import gpt_core", "gpt_core."), ("import torch", "torch.no_grad"))
        if used in said
    ]
    for looks in sorted({program.looks.name for program, _ in case.programs if program.looks}):
        imports.append(f"import {looks} as {_alias(looks)}")
    imports += ["from data import addition"] if "addition." in said else []
    command = f"python grade.py {exercise.name}"
    return [
        f'"""{exercise.name}, {token.check}: {title}.'.replace("\\", "\\\\"),
        "",
        f"The case that failed, with your code in this process: python -m pdb {name}",
        'then "b FILE:LINE" stops at a line of yours, "c" goes on, "p NAME" shows a value.',
        '"""',
        "",
        "import sys",
        "",
        f"sys.path.insert(0, {_quoted(str(REPOSITORY))})",
        *imports,
        "from grader.replay import Replay",
        "",
        f"replay = Replay({_quoted(case.text)}, {', '.join(_quoted(str(path)) for path in paths)})",
        "attempt = replay.attempt  # your file",
        *body,
        "",
        "difference = replay.difference()  # as the check sees it",
        "assert not difference, difference",
        f'print("Nothing is wrong with this case now. Grade again: {command}")',
    ]


def main() -> None:
    """Prints the script; where there is none, the reason, with exit status 2."""
    token, path, name, *helpers = sys.argv[1:]
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        print(script(Case(token), Path(path), name, list(map(Path, helpers))), end="")
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
