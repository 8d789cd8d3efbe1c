"""The calculator, solved: a GPT that does + - * / with a scratchpad."""

import re
from collections.abc import Callable

import torch
import torch.nn as nn

from data.arithmetic import OPERATORS, RANGES, VOCABULARY, check, held_out
from gpt_core import GPT, GPTConfig

ID = {character: id for id, character in enumerate(VOCABULARY)}
WIDTH = 48  # one less than the longest form, a division's: what is predicted from is never its last token
MOST = {"+": 5, "-": 5, "*": 14, "/": 41}  # tokens of an answer, ";" included
FORMS = {
    "+": re.compile("([0-9]{4});"),
    "-": re.compile("([+-])([0-9]{3});"),
    "*": re.compile(r"[0-9]{3}\+[0-9]{4}=([0-9]{4});"),
    "/": re.compile(r"(?:[0-9]\*[0-9]{3}-([0-9]{2}),){4}([0-9]{4});"),
}


def reversed_digits(number: int, count: int) -> str:
    """`count` digits of a number, the last one first: "0070" for 700 and 4."""
    return f"{number:0{count}d}"[::-1]


def encode(a: int, op: str, b: int) -> tuple[str, str]:
    """(prompt, answer): ("34*57=", "832+0071=8391;"). The answer holds every step that leads to it.

    ValueError for an unknown operator, an operand out of its range, a division by 0.
    """
    check(a, op, b)
    if op == "+":
        return f"{a:03d}+{b:03d}=", reversed_digits(a + b, 4) + ";"
    if op == "-":
        return f"{a:03d}-{b:03d}=", ("-" if a < b else "+") + reversed_digits(abs(a - b), 3) + ";"
    if op == "*":
        tens, units = divmod(b, 10)
        parts = reversed_digits(a * units, 3), reversed_digits(a * tens * 10, 4), reversed_digits(a * b, 4)
        return f"{a:02d}*{b:02d}=", "{}+{}={};".format(*parts)
    steps, remainder = "", 0
    for digit in f"{a:04d}":
        quotient, remainder = divmod(10 * remainder + int(digit), b)
        steps += f"{quotient}*{reversed_digits(quotient * b, 3)}-{reversed_digits(remainder, 2)},"
    return f"{a:04d}/{b:02d}=", f"{steps}{a // b:04d};"


def decode(op: str, answer: str) -> int | tuple[int, int]:
    """The number that an answer ends in; for "/" the quotient and the last remainder.

    Only the form is looked at, and not whether the steps are right. ValueError where it is another one.
    """
    if op not in FORMS:
        raise ValueError(f"the operator is {op!r}; it must be one of {', '.join(OPERATORS)}.")
    found = FORMS[op].fullmatch(answer)
    if found is None:
        raise ValueError(f"{answer!r} is no answer to a problem with {op!r}.")
    if op == "-":
        return int(found[1] + found[2][::-1])
    if op == "/":
        return int(found[2]), int(found[1][::-1])  # a group that repeats holds its last match
    return int(found[1][::-1])


def make_batch(problems: list[tuple[int, str, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """B problems -> x, y (B, 48) long on the CPU.

    x is prompt and answer, filled up with ";"; y the next token where that belongs to the answer, up to and
    with the ";" that ends it, and -1 (no loss) everywhere else.
    """
    x = torch.full((len(problems), WIDTH + 1), ID[";"])
    y = torch.full((len(problems), WIDTH), -1)
    for row, problem in enumerate(problems):
        prompt, answer = encode(*problem)
        tokens = torch.tensor([ID[character] for character in prompt + answer])
        x[row, : len(tokens)] = tokens
        y[row, len(prompt) - 1 : len(tokens) - 1] = tokens[len(prompt) :]
    return x[:, :WIDTH], y


def draw(op: str, count: int, generator: torch.Generator) -> list[tuple[int, str, int]]:
    """Problems of one operator to train on, uniform over the pairs that are not held out.

    Draw from all pairs, throw the held-out ones away, repeat.
    """
    largest_a, smallest_b, largest_b = RANGES[op]
    kept: list[tuple[int, str, int]] = []
    while len(kept) < count:
        size = (count - len(kept) + 8,)
        a = torch.randint(0, largest_a + 1, size, generator=generator)
        b = torch.randint(smallest_b, largest_b + 1, size, generator=generator)
        for_training = ~held_out(a, op, b)
        kept += [(i, op, j) for i, j in zip(a[for_training].tolist(), b[for_training].tolist())]
    return kept[:count]


def sample_problems(count: int, generator: torch.Generator) -> list[tuple[int, str, int]]:
    """Problems to train on: each operator with probability 1/4, its operands uniform, none held out."""
    chosen = torch.randint(0, len(OPERATORS), (count,), generator=generator).tolist()
    # As many of each operator as come up: then they are handed out in the order of the choice.
    drawn = {op: iter(draw(op, chosen.count(i), generator)) for i, op in enumerate(OPERATORS)}
    return [next(drawn[OPERATORS[i]]) for i in chosen]


PROBLEM = re.compile(r" *0*([0-9]{1,4}) *([-+*/]) *0*([0-9]{1,4}) *")


@torch.no_grad()
def calculate(model: GPT, text: str) -> str:
    """What the model says a problem such as "12*34" is: "408", for "/" "72 r 31", "?" for what is no answer.

    ValueError for a text that is no problem of these sizes.
    """
    found = PROBLEM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no problem; write two whole numbers and one of + - * /, such as 12*34."
        )
    op = found[2]
    prompt, _ = encode(int(found[1]), op, int(found[3]))
    device = next(model.parameters()).device
    tokens = torch.tensor([[ID[character] for character in prompt]], device=device)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    answer = ""
    while len(answer) < MOST[op] and not answer.endswith(";"):
        logits, _ = model(tokens)
        following = logits[:, -1].argmax(dim=-1, keepdim=True)  # (1, 1)
        tokens = torch.cat([tokens, following], dim=1)
        answer += VOCABULARY[int(following)]
    for module, training in modes:
        module.training = training
    try:
        number = decode(op, answer)
    except ValueError:
        return "?"
    return "{} r {}".format(*number) if op == "/" else str(number)


ROWS = {"+": 48, "-": 48, "*": 32, "/": 40}  # of each operator in an update
SHARES = {"+": 0.2, "-": 0.2, "*": 0.25, "/": 0.35}  # of the loss
LEARNING_RATE = 2e-3
WARM_UP = 20


def learning_rate(step: int, steps: int) -> float:
    """The rate of update `step` of `steps`, as a share: a warm-up, constant to half, then linearly to 0."""
    return min(1.0, (step + 1) / WARM_UP) * min(1.0, 2 * (steps - step) / steps)


def draw_weights(model: GPT, generator: torch.Generator, std: float = 0.08) -> None:
    """Weights four times as large as GPT-2's 0.02, which suits models a thousand channels wide.

    What is added to the residual stream is smaller, by 1 / sqrt(2 n_layer): there are that many terms.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2:
                continue  # biases stay 0, and the norms' weights 1
            added = name.endswith(("attention.proj.weight", "feed_forward.net.2.weight"))
            shrink = (2 * model.config.n_layer) ** 0.5 if added else 1.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (std / shrink))


def train_calculator(*, steps: int, device: str, seed: int, report: Callable[[int, float], None]) -> GPT:
    """A GPT that calculates: `steps` updates on problems that are not held out.

    The seed alone decides the weights. report(step, loss) is called after every tenth update, and after the
    last.
    """
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same numbers for every device
    config = GPTConfig(
        vocab_size=len(VOCABULARY), block_size=WIDTH, n_layer=4, n_head=4, n_embd=128, dropout=0.0
    )
    model = GPT(config)
    draw_weights(model, generator)
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.1, fused=True
    )
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * learning_rate(step, steps)
        loss = torch.zeros((), device=device)
        for op in OPERATORS:
            x, y = make_batch(draw(op, ROWS[op], generator))
            width = int((y != -1).any(dim=0).nonzero().max()) + 1  # behind it nothing carries a loss
            _, part = model(x[:, :width].to(device), y[:, :width].to(device))
            loss = loss + SHARES[op] * part
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 10 == 0 or step + 1 == steps:
            report(step + 1, loss.item())
    return model


if __name__ == "__main__":
    from gpt_core.experiments.calculator import main

    main(train_calculator, calculate)
