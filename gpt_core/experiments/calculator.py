"""Trains a calculator, keeps it, shows what it can do: `python exercises/more/calculator.py` comes here."""

import inspect
import re
import sys
from collections.abc import Callable, Iterator

import torch

from data.arithmetic import OPERATORS, VOCABULARY, is_held_out, sample_held_out
from gpt_core import GPT
from gpt_core.experiments.answering import Answerer, ask_kept, kept, train
from gpt_core.sampling import GREEDY, stream
from gpt_core.training.checkpoint import CheckpointError
from gpt_core.training.command import BAD_INPUT, Parser, begin
from gpt_core.training.device import choose_device
from gpt_core.training.terminal import fail, note

STEPS = 5000
PROBLEMS = 500  # of each operator
ID = {character: id for id, character in enumerate(VOCABULARY)}


def written(model: GPT, prompts: list[str], count: int) -> Iterator[list[str]]:
    """The next character after each prompt (all of one length), greedily, `count` times."""
    device = next(model.parameters()).device
    tokens = torch.tensor([[ID[character] for character in prompt] for prompt in prompts], device=device)
    for following in stream(model, tokens, count, generator=torch.Generator(device), sampling=GREEDY):
        yield [VOCABULARY[token] for token in following.tolist()]


def whole(model: GPT, prompts: list[str], count: int) -> list[str]:
    """What the model writes after each prompt, up to and with the first ";"."""
    rows = ["".join(row) for row in zip(*written(model, prompts, count))]
    return [row[: row.find(";") + 1] or row for row in rows]


def true_answer(a: int, op: str, b: int) -> str:
    """What `calculate` must say."""
    if op == "/":
        return "{} r {}".format(*divmod(a, b))
    return str({"+": a + b, "-": a - b, "*": a * b}[op])


def answered(text: str, model: GPT, calculate: Callable, encode: Callable) -> Iterator[str]:
    """What the model makes of a problem such as "12*34", piece by piece: its steps as they are written, a
    line beneath them where they err, and the answer. Or what is wrong with the problem."""
    try:
        answer = calculate(model, text)
    except ValueError as error:
        yield str(error)
        return
    a, op, b = re.fullmatch(r"([0-9]+)([-+*/])([0-9]+)", text.replace(" ", "")).groups()
    a, b = int(a), int(b)
    prompt, right = encode(a, op, b)
    yield f"  {prompt}"
    trace = ""
    for (character,) in written(model, [prompt], len(right)):
        yield character
        trace += character
        if character == ";":
            break
    if trace != right:
        at = next((i for i, (one, other) in enumerate(zip(trace, right)) if one != other), len(trace))
        yield f"\n{' ' * (2 + len(prompt) + at)}^ from here it should be {right[at:]}"
    verdict = "right" if answer == true_answer(a, op, b) else f"wrong: {true_answer(a, op, b)}"
    known = "" if is_held_out(a, op, b) else ", a problem that it may have been trained on"
    yield f"\n{a} {op} {b} = {answer}  {verdict}{known}"


def measure(model: GPT, encode: Callable, decode: Callable, problems: int, seed: int) -> dict[str, dict]:
    """How many held-out problems of each operator come out right.

    -> {operator: {"answers": share, "traces": share, "example": (problem, what it wrote, what is right) of
    one that it got wrong, or None}}.
    """
    found = {}
    for op in OPERATORS:
        a, b = sample_held_out(op, problems, torch.Generator().manual_seed(seed))
        pairs = [encode(i, op, j) for i, j in zip(a.tolist(), b.tolist())]
        traces = whole(model, [prompt for prompt, _ in pairs], max(len(right) for _, right in pairs))
        right = [
            _number(decode, op, trace) == decode(op, wanted) for trace, (_, wanted) in zip(traces, pairs)
        ]
        wrong = next((i for i, is_right in enumerate(right) if not is_right), None)
        found[op] = {
            "answers": sum(right) / problems,
            "traces": sum(trace == wanted for trace, (_, wanted) in zip(traces, pairs)) / problems,
            "example": None if wrong is None else (pairs[wrong][0], traces[wrong], pairs[wrong][1]),
        }
    return found


def _number(decode: Callable, op: str, trace: str):
    try:
        return decode(op, trace)
    except ValueError:
        return None


def main(
    train_calculator: Callable,
    calculate: Callable,
    encode: Callable,
    decode: Callable,
    arguments: list[str] | None = None,
) -> None:
    """Train with `train_calculator`, save the model, let it solve held-out problems, and print; or ask the
    saved one.

    Ctrl-C ends the training, and what it has come to is saved, measured and can be asked all the same. Where
    train_calculator has the parameters `start` and `done`, the next call goes on from there. Exits with
    status 0, 1 where it failed, 2 for bad input, 130 where it was stopped.
    """
    begin()
    options = _parser().parse_args(arguments)
    try:
        if options.steps < 1:
            raise ValueError(f"--steps is {options.steps}; it must be at least 1.")
        device = str(choose_device(options.device, note=note))
    except ValueError as error:
        sys.exit(fail(str(error), BAD_INPUT))
    answerer = Answerer(
        name="a calculator",
        file="calculator.safetensors",
        answer=lambda model, text: answered(text, model, calculate, encode),
        example='"34*57"',
        facts={"seed": options.seed},
    )
    if options.ask is not None:
        sys.exit(ask_kept(answerer, device, options.ask))
    going_on = _going_on(train_calculator, answerer, options, device)

    def trainer(report: Callable[[int, float], None]) -> GPT:
        return train_calculator(
            steps=options.steps, device=device, seed=options.seed, report=report, **going_on
        )

    def show(model: GPT) -> None:
        print(f"{PROBLEMS} held-out problems of each operator:")
        for op, found in measure(model, encode, decode, PROBLEMS, options.seed + 1).items():
            print(f"  {op}  answers right {found['answers']:8.2%}   all steps right {found['traces']:8.2%}")
            if found["example"]:
                prompt, trace, right = found["example"]
                print(f"     such as  {prompt}{trace}\n     and not  {prompt}{right}")

    sys.exit(train(answerer, trainer, show, options.steps, going_on.get("done", 0)))


def _going_on(train_calculator: Callable, answerer: Answerer, options, device: str) -> dict:
    """The arguments with which a training that was stopped goes on; none where a new one begins. Says
    which."""
    try:
        model, facts = kept(answerer, device)
    except CheckpointError:
        return {}
    same = (facts["steps"], facts["seed"]) == (options.steps, options.seed) and facts["done"] < facts["steps"]
    takes = {"start", "done"} <= set(inspect.signature(train_calculator).parameters)
    if same and takes and not options.anew:
        print(f"Going on with the calculator in {answerer.path}, after update {facts['done']}.")
        return {"start": model, "done": facts["done"]}
    print(
        f"A new calculator is trained from the start; it will take the place of the one in {answerer.path}."
    )
    if same and not takes:
        print(
            "To go on with one that was stopped, train_calculator needs two parameters more: start=None, the "
            "model, and done=0, the updates that it has had."
        )
    return {}


def _parser() -> Parser:
    p = Parser(description="Train a GPT that does + - * /, measure it on held-out problems, and ask it.")
    p.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"updates; default: {STEPS}")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="decides the weights; default: 0")
    p.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    p.add_argument("--anew", action="store_true", help="do not go on with a training that was stopped")
    p.add_argument(
        "--ask",
        nargs="?",
        const="",
        metavar="PROBLEM",
        help='ask the calculator that was saved last: one problem, such as "34*57", or without one many',
    )
    return p
