"""Trains an adder, keeps it, and shows what it can do: `python exercises/ex2_addition.py` ends up here."""

import functools
import re
import sys
from collections.abc import Callable

import torch

from data.addition import carry_chain, sample_held_out
from gpt_core import GPT
from gpt_core.experiments.answering import Answerer, ask_kept, train
from gpt_core.training.command import BAD_INPUT, Parser, begin
from gpt_core.training.device import choose_device
from gpt_core.training.terminal import fail, note

PROBLEMS = 2000
SHOWN = 5


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


def adder(n_digits: int, add: Callable, device: str) -> Answerer:
    """What is trained, kept and asked."""
    return Answerer(
        name=f"an adder of {n_digits} digits",
        file=f"adder-{n_digits}-digits.safetensors",
        answer=lambda model, text: iter([answered(text, model, add, n_digits, device)]),
        example="12+34",
        facts={"n_digits": n_digits},
        options=f" --digits {n_digits}" if n_digits != 3 else "",
    )


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


def main(train_adder: Callable, add: Callable, arguments: list[str] | None = None) -> None:
    """Train with `train_adder`, save the model, let it solve held-out problems with `add`, and print; or ask
    the saved one.

    Ctrl-C ends the training, and what it has come to is saved, measured and can be asked all the same. Exits
    with status 1 where it failed, 2 for bad input, 130 where it was stopped.
    """
    begin()
    options = _parser().parse_args(arguments)
    n_digits = options.digits
    try:
        if not 1 <= n_digits <= 9 or options.steps < 1:
            raise ValueError("--digits must be from 1 to 9, and --steps at least 1.")
        options.device = str(choose_device(options.device, note=note))
    except ValueError as error:
        sys.exit(fail(str(error), BAD_INPUT))
    answerer = adder(n_digits, add, options.device)
    if options.ask is not None:
        sys.exit(ask_kept(answerer, options.device, options.ask))
    if answerer.path.exists():
        print(f"A new adder is trained from the start; it will take the place of the one in {answerer.path}.")
    trainer = functools.partial(
        train_adder, n_digits, steps=options.steps, device=options.device, seed=options.seed
    )
    status = train(
        answerer,
        lambda report: trainer(report=report),
        lambda model: _measure(model, add, options),
        options.steps,
    )
    sys.exit(status)


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
