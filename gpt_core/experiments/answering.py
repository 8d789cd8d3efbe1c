"""Trains a model that answers problems, keeps it, and lets it be asked: what the scripts of exercise 2 and of
the calculator have in common.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gpt_core import GPT, GPTConfig
from gpt_core.training import checkpoint
from gpt_core.training.command import BAD_INPUT, FAILED, INTERRUPTED, OK
from gpt_core.training.terminal import StepsDisplay, fail

FOLDER = Path("runs")


@dataclass(frozen=True)
class Answerer:
    """A kind of model that answers problems.

    name:   what it is called, "an adder of 3 digits".
    file:   where it is kept, in FOLDER.
    facts:  what is saved beside its weights.
    answer: (model, problem as text) -> what to print, piece by piece: what the model makes of the problem, or
            what is wrong with it.
    example: a problem, "12+34".
    options: of the command line with which it is asked again, besides --ask.
    """

    name: str
    file: str
    answer: Callable[[GPT, str], Iterator[str]]
    example: str
    facts: dict = field(default_factory=dict)
    options: str = ""

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return FOLDER / self.file


def keep(model: GPT, answerer: Answerer, **facts) -> None:
    """Save a model, and facts about it. NoSpace where the disk is full."""
    answerer.path.parent.mkdir(parents=True, exist_ok=True)
    saved = {"config": asdict(model.config)} | answerer.facts | facts
    checkpoint.save(answerer.path, model.state_dict(), {"answerer": saved})


def kept(answerer: Answerer, device: str) -> tuple[GPT, dict]:
    """The model that was saved last, and the facts beside it. CheckpointError where there is none."""
    saved = checkpoint.load(answerer.path)
    facts = saved.info.get("answerer") or saved.info["adder"]  # as earlier versions called it
    model = GPT(GPTConfig(**facts["config"]))
    model.load_state_dict(saved.tensors)
    return model.to(device), facts


def model_of(interrupt: BaseException) -> GPT | None:
    """The model that a function was training when it was interrupted: a GPT among the variables of the
    functions that ran, the one that called the others first; one that is named `model`, if there is."""
    trace = interrupt.__traceback__
    while trace is not None:
        found = {name: value for name, value in trace.tb_frame.f_locals.items() if isinstance(value, GPT)}
        if found:
            return found.get("model", next(iter(found.values())))
        trace = trace.tb_next
    return None


def show(answerer: Answerer, model: GPT, problem: str) -> None:
    """Print what a model makes of a problem, as it is written."""
    for piece in answerer.answer(model, problem):
        print(piece, end="", flush=True)
    print()


def ask(model: GPT, answerer: Answerer) -> None:
    """Answer problems from the keyboard, until an empty line, the end of the input or Ctrl-C."""
    print(f"Ask it, such as {answerer.example}; an empty line ends.")
    try:
        while text := input("> ").strip():
            show(answerer, model, text)
    except (EOFError, KeyboardInterrupt):
        print()


def ask_kept(answerer: Answerer, device: str, problem: str) -> int:
    """Answer one problem with the model that was saved last, or many where it is "". The exit status."""
    try:
        model, _ = kept(answerer, device)
    except checkpoint.CheckpointError as error:
        return fail(f"{error} Without --ask {answerer.name} is trained and saved.", BAD_INPUT)
    with _one_sentence() as ended:
        if problem:
            show(answerer, model, problem)
        else:
            ask(model, answerer)
    return ended.status


def train(
    answerer: Answerer,
    trainer: Callable[[Callable[[int, float], None]], GPT],
    measure: Callable[[GPT], None],
    steps: int,
    done: int = 0,
) -> int:
    """Train, save, measure, and let it be asked where there is a keyboard. The exit status.

    trainer: (report) -> the model. measure: prints how good it is. done: of the steps, by an earlier call.
    Ctrl-C ends the training, and what it has
    come to is saved, measured and can be asked all the same.
    """
    with _one_sentence() as ended:
        model, done = _trained(trainer, steps, done)
        if model is None:
            print("There was no model yet, so nothing is saved.")
            return INTERRUPTED
        keep(model, answerer, steps=steps, done=done)
        measure(model)
        command = f"python {sys.argv[0]} --ask {answerer.example}{answerer.options}"
        print(f"Saved in {answerer.path}. Ask it again with: {command}")
        if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
            ask(model, answerer)
        if done < steps:
            return INTERRUPTED
    return ended.status


def _trained(trainer: Callable, steps: int, done: int) -> tuple[GPT | None, int]:
    """The model, None where there was none when it was stopped, and how many updates it has had."""
    last = done
    try:
        with StepsDisplay("training", steps) as show:

            def report(step: int, loss: float) -> None:
                nonlocal last
                last = step
                show(step, loss)

            return trainer(report), steps
    except KeyboardInterrupt as interrupt:
        print(f"Stopped after about {last} of {steps} updates.")
        return model_of(interrupt), last


@dataclass
class _Ended:
    status: int = OK


@contextlib.contextmanager
def _one_sentence():
    """What can go wrong with a learner's functions is one sentence and an exit status."""
    ended = _Ended()
    try:
        yield ended
    except NotImplementedError as error:
        ended.status = fail(f"Not written yet: {error}", FAILED)
    except checkpoint.NoSpace as error:
        ended.status = fail(str(error), FAILED)
    except KeyboardInterrupt:
        ended.status = INTERRUPTED
