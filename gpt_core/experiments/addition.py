"""Trains an adder, keeps it, and shows what it can do: `python exercises/ex2_addition.py` ends up here."""

import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from data.addition import carry_chain, sample_held_out
from gpt_core import GPT, GPTConfig
from gpt_core.training import checkpoint
from gpt_core.training.command import BAD_INPUT, FAILED, INTERRUPTED, OK, Parser, begin
from gpt_core.training.device import choose_device
from gpt_core.training.terminal import StepsDisplay, fail, note

PROBLEMS = 2000
SHOWN = 5
FOLDER = Path("runs")


def accuracies(a: torch.Tensor, b: torch.Tensor, answers: torch.Tensor, n_digits: int) -> dict:
    """How many of the answers are right, as shares from 0 to 1.

    a, b, answers: (B,) long. -> {"exact": share, "digit": [the last digit's share, .., the first's],
    "chain": {length: (share, count)}}; a chain is the longest run of neighbouring carries.
    """
    right, total = answers == a + b, a + b
    powers = 10 ** torch.arange(n_digits + 1, device=a.device)
    same = total[:, None] // powers % 10 == answers[:, None] // powers % 10  # (B, n + 1), last digit first
    chain = carry_chain(a, b, n_digits)
    lengths = {
        length: (right[chain == length].float().mean().item(), int((chain == length).sum()))
        for length in range(n_digits + 1)
        if (chain == length).any()
    }
    return {
        "exact": right.float().mean().item(),
        "digit": same.float().mean(dim=0).tolist(),
        "chain": lengths,
    }


def kept_at(n_digits: int) -> Path:
    """Where the adder of n digits is kept."""
    return FOLDER / f"adder-{n_digits}-digits.safetensors"


def keep(model: GPT, n_digits: int) -> Path:
    """Save an adder; where it was saved. NoSpace where the disk is full."""
    path = kept_at(n_digits)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(
        path, model.state_dict(), {"adder": {"n_digits": n_digits, "config": asdict(model.config)}}
    )
    return path


def kept(n_digits: int, device: str) -> GPT:
    """The adder that was saved last. CheckpointError where there is none."""
    saved = checkpoint.load(kept_at(n_digits))
    model = GPT(GPTConfig(**saved.info["adder"]["config"]))
    model.load_state_dict(saved.tensors)
    return model.to(device)


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


def answered(text: str, model: GPT, add: Callable, n_digits: int, device: str) -> str:
    """What the model makes of a problem such as "12+34", as a line; or what is wrong with the problem."""
    match = re.fullmatch(r"\s*([0-9]+)\s*\+\s*([0-9]+)\s*=?\s*", text)
    if match is None:
        return f"{text.strip()!r} is no problem; write two whole numbers and a plus, such as 12+34"
    a, b = map(int, match.groups())
    if max(a, b) >= 10**n_digits:
        return f"this adder was trained on numbers of up to {n_digits} digits, 0 to {10**n_digits - 1}"
    answer = int(add(model, torch.tensor([a], device=device), torch.tensor([b], device=device), n_digits))
    return f"{a} + {b} = {answer}  {'right' if answer == a + b else f'wrong: {a + b}'}"


def ask(model: GPT, add: Callable, n_digits: int, device: str) -> None:
    """Answer problems from the keyboard, until an empty line, the end of the input or Ctrl-C."""
    print("Ask it, such as 12+34; an empty line ends.")
    try:
        while text := input("> ").strip():
            print(answered(text, model, add, n_digits, device))
    except (EOFError, KeyboardInterrupt):
        print()


def main(train_adder: Callable, add: Callable, arguments: list[str] | None = None) -> None:
    """Train with `train_adder`, save the model, let it solve held-out problems with `add`, and print; or ask
    the saved one.

    Ctrl-C ends the training, and what it has come to is saved, measured and can be asked all the same. Exits
    with status 1 where it failed, 2 for bad input, 130 where it was stopped.
    """
    begin()
    options = _parser().parse_args(arguments)
    n_digits, is_question = options.digits, options.ask is not None
    try:
        if not 1 <= n_digits <= 9 or options.steps < 1:
            raise ValueError("--digits must be from 1 to 9, and --steps at least 1.")
        options.device = str(choose_device(options.device, note=note))
        model = kept(n_digits, options.device) if is_question else None
    except checkpoint.CheckpointError as error:
        sys.exit(
            fail(f"{error} Without --ask an adder of {n_digits} digits is trained and saved.", BAD_INPUT)
        )
    except ValueError as error:
        sys.exit(fail(str(error), BAD_INPUT))
    try:
        if not is_question:
            sys.exit(_train(train_adder, add, options))
        if options.ask:
            print(answered(options.ask, model, add, n_digits, options.device))
        else:
            ask(model, add, n_digits, options.device)
    except NotImplementedError as error:
        sys.exit(fail(f"Not written yet: {error}", FAILED))
    except checkpoint.NoSpace as error:
        sys.exit(fail(str(error), FAILED))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _parser() -> Parser:
    p = Parser(description="Train a GPT that adds, measure it on held-out problems, and ask it.")
    p.add_argument("--digits", type=int, default=3, metavar="N", help="digits of each number; default: 3")
    p.add_argument("--steps", type=int, default=2000, metavar="N", help="updates; default: 2000")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="decides the weights; default: 0")
    p.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    p.add_argument(
        "--ask",
        nargs="?",
        const="",
        metavar="A+B",
        help="ask the adder that was saved last: one problem, or without one many",
    )
    return p


def _train(train_adder: Callable, add: Callable, options) -> int:
    """Train, save, measure, print; the exit status."""
    n_digits, status, last_step = options.digits, OK, 0
    if kept_at(n_digits).exists():
        print(
            f"A new adder is trained from the start; it will take the place of the one in "
            f"{kept_at(n_digits)}."
        )
    try:
        with StepsDisplay("training", options.steps) as show:

            def report(step: int, loss: float) -> None:
                nonlocal last_step
                last_step = step
                show(step, loss)

            model = train_adder(
                n_digits, steps=options.steps, device=options.device, seed=options.seed, report=report
            )
    except KeyboardInterrupt as interrupt:
        model, status = model_of(interrupt), INTERRUPTED
        print(f"Stopped after about {last_step} of {options.steps} updates.")
        if model is None:
            print("There was no model yet, so nothing is saved.")
            return status
    path = keep(model, n_digits)
    _measure(model, add, options)
    command = f"python {sys.argv[0]} --ask 12+34" + (f" --digits {n_digits}" if n_digits != 3 else "")
    print(f"Saved in {path}. Ask it again with: {command}")
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        ask(model, add, n_digits, options.device)
    return status


def _measure(model: GPT, add: Callable, options) -> None:
    """Solve held-out problems, and print how many are right, by digits and by carries."""
    n_digits = options.digits
    a, b = sample_held_out(PROBLEMS, n_digits, torch.Generator().manual_seed(options.seed + 1))
    a, b = a.to(options.device), b.to(options.device)
    answers = add(model, a, b, n_digits)
    found = accuracies(a, b, answers, n_digits)
    print(f"{PROBLEMS} held-out problems of {n_digits} digits: {found['exact']:.2%} right")
    places = ["units", "tens", "hundreds", "thousands"] + [f"10^{k}" for k in range(4, n_digits + 1)]
    for place, share in zip(places, found["digit"]):
        print(f"  the {place + ' digit':<16} {share:8.2%}")
    for length, (share, count) in found["chain"].items():
        name = "no carry" if length == 0 else f"carries in a row: {length}"
        print(f"  {name:<20} {share:8.2%}  of {count}")
    for one, other, answer in list(zip(a.tolist(), b.tolist(), answers.tolist()))[:SHOWN]:
        verdict = "right" if one + other == answer else f"wrong: {one + other}"
        print(f"  {one:{n_digits}d} + {other:{n_digits}d} = {answer:<{n_digits + 1}d}  {verdict}")
