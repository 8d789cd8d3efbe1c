"""Trains an adder and shows what it can do: `python exercises/ex2_addition.py` ends up here."""

import argparse
from collections.abc import Callable

import torch

from data.addition import carry_chain, sample_held_out

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
    return {"exact": right.float().mean().item(), "digit": same.float().mean(dim=0).tolist(), "chain": lengths}


def main(train_adder: Callable, add: Callable, arguments: list[str] | None = None) -> None:
    """Train with `train_adder`, then let the model solve held-out problems with `add`, and print."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    parser = argparse.ArgumentParser(description="Train a GPT that adds, and measure it on held-out problems.")
    parser.add_argument("--digits", type=int, default=3, metavar="N", help="digits of each number; default: 3")
    parser.add_argument("--steps", type=int, default=2000, metavar="N", help="updates; default: 2000")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides the weights; default: 0")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    options = parser.parse_args(arguments)
    if not 1 <= options.digits <= 9 or options.steps < 1:
        parser.error("--digits must be from 1 to 9, and --steps at least 1.")

    out = Console(highlight=False)
    n_digits = options.digits
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn())
    try:
        with Progress(*columns, console=out, transient=True) as bar:
            task = bar.add_task("", total=options.steps, loss="-")
            model = train_adder(
                n_digits, steps=options.steps, device=options.device, seed=options.seed,
                report=lambda step, loss: bar.update(task, completed=step, loss=f"{loss:.4f}"),
            )  # fmt: skip
        a, b = sample_held_out(PROBLEMS, n_digits, torch.Generator().manual_seed(options.seed + 1))
        a, b = a.to(options.device), b.to(options.device)
        answers = add(model, a, b, n_digits)
    except NotImplementedError as error:
        out.print(f"Not written yet: {error}", markup=False)
        raise SystemExit(1) from None

    found = accuracies(a, b, answers, n_digits)
    out.print(f"{PROBLEMS} held-out problems of {n_digits} digits: {found['exact']:.2%} right")
    places = ["units", "tens", "hundreds", "thousands"] + [f"10^{k}" for k in range(4, n_digits + 1)]
    for place, share in zip(places, found["digit"]):
        out.print(f"  the {place + ' digit':<16} {share:8.2%}")
    for length, (share, count) in found["chain"].items():
        name = "no carry" if length == 0 else f"carries in a row: {length}"
        out.print(f"  {name:<20} {share:8.2%}  of {count}")
    for one, other, answer in list(zip(a.tolist(), b.tolist(), answers.tolist()))[:SHOWN]:
        verdict = "right" if one + other == answer else f"wrong: {one + other}"
        out.print(f"  {one:{n_digits}d} + {other:{n_digits}d} = {answer:<{n_digits + 1}d}  {verdict}")
