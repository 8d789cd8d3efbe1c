"""All problems in tables made once; forms as tensors; a copy of the model writes; one operator per update."""

import copy
import re

import torch

from data import arithmetic
from gpt_core import GPT, GPTConfig

TABLE = {}
FORMS = {
    "+": r"(?P<n>\d{4});",
    "-": r"(?P<s>[-+])(?P<n>\d{3});",
    "*": r"\d{3}\+\d{4}=(?P<n>\d{4});",
    "/": r"(\d\*\d{3}-\d\d,){3}\d\*\d{3}-(?P<r>\d\d),(?P<q>\d{4});",
}


def digits(numbers, count):
    """(B,) -> (B, count), the last digit first."""
    return torch.stack([numbers // 10**k % 10 for k in range(count)], dim=1)


def forms(op, a, b):
    """Prompts and answers as tokens, (B, P) and (B, L)."""
    marks = {mark: torch.full_like(a, arithmetic.VOCABULARY.index(mark))[:, None] for mark in "+-*/=,;"}
    wide, narrow = {"+": (3, 3), "-": (3, 3), "*": (2, 2), "/": (4, 2)}[op]
    prompt = torch.cat([digits(a, wide).flip(1), marks[op], digits(b, narrow).flip(1), marks["="]], 1)
    if op == "+":
        return prompt, torch.cat([digits(a + b, 4), marks[";"]], 1)
    if op == "-":
        sign = torch.where(a < b, 11, 10)[:, None]
        return prompt, torch.cat([sign, digits((a - b).abs(), 3), marks[";"]], 1)
    if op == "*":
        parts = [digits(b % 10 * a, 3), marks["+"], digits(b // 10 * 10 * a, 4), marks["="], digits(a * b, 4)]
        return prompt, torch.cat([*parts, marks[";"]], 1)
    parts = []
    for k in (3, 2, 1, 0):
        q, r = a // 10**k // b % 10, a // 10**k % b
        parts += [q[:, None], marks["*"], digits(q * b, 3), marks["-"], digits(r, 2), marks[","]]
    return prompt, torch.cat([*parts, digits(a // b, 4).flip(1), marks[";"]], 1)


def encode(a, op, b):
    arithmetic.check(a, op, b)
    return tuple(
        "".join(arithmetic.VOCABULARY[i] for i in part[0].tolist())
        for part in forms(op, torch.tensor([a]), torch.tensor([b]))
    )


def decode(op, answer):
    if op not in FORMS:
        raise ValueError("operator")
    found = re.fullmatch(FORMS[op], answer, flags=re.ASCII)
    if not found:
        raise ValueError("form")
    if op == "/":
        return int(found["q"]), int("".join(reversed(found["r"])))
    value = sum(int(digit) * 10**k for k, digit in enumerate(found["n"]))
    return -value if found.groupdict().get("s") == "-" else value


def make_batch(problems):
    x = torch.full((len(problems), 48), 16)
    y = torch.full((len(problems), 48), -1)
    for op in arithmetic.OPERATORS:
        rows = [i for i, problem in enumerate(problems) if problem[1] == op]
        if not rows:
            continue
        prompt, answer = forms(op, *(torch.tensor([problems[i][k] for i in rows]) for k in (0, 2)))
        whole, P = torch.cat([prompt, answer], 1), prompt.shape[1]
        x[rows, : min(48, whole.shape[1])] = whole[:, :48]
        y[rows, P - 1 : whole.shape[1] - 1] = whole[:, P:]
    return x, y


def table(op):
    if op not in TABLE:
        most, least, other = arithmetic.RANGES[op]
        a, b = torch.meshgrid(torch.arange(most + 1), torch.arange(least, other + 1), indexing="ij")
        pairs = torch.stack([a.reshape(-1), b.reshape(-1)], 1)
        TABLE[op] = pairs[~arithmetic.held_out(pairs[:, 0], op, pairs[:, 1])]
    return TABLE[op]


def sample_problems(count, generator):
    found = []
    for place in torch.randint(4, (count,), generator=generator).tolist():
        pairs = table("+-*/"[place])
        a, b = pairs[torch.randint(len(pairs), (), generator=generator)].tolist()
        found.append((a, "+-*/"[place], b))
    return found


def calculate(model, text):
    try:
        a, op, b = re.fullmatch(r"[ ]*(\d+)[ ]*([*/+-])[ ]*(\d+)[ ]*", text, re.A).groups()
    except AttributeError:
        raise ValueError("Please write a problem such as 7+5.") from None
    prompt, answer = encode(int(a), op, int(b))
    writer = copy.deepcopy(model).eval().requires_grad_(False)
    row = torch.tensor([[arithmetic.VOCABULARY.index(c) for c in prompt]]).to(next(model.parameters()).device)
    for _ in answer:
        best = torch.topk(writer(row)[0][:, -1, :], 1).indices
        row = torch.hstack([row, best])
        if best == 16:
            break
    written = "".join(arithmetic.VOCABULARY[i] for i in row[0, len(prompt) :].tolist())
    try:
        value = decode(op, written)
    except ValueError:
        return "?"
    return f"{value[0]} r {value[1]}" if isinstance(value, tuple) else f"{value}"


def train_calculator(*, steps, device, seed, report):
    generator = torch.Generator().manual_seed(seed)
    config = GPTConfig(vocab_size=17, block_size=64, n_layer=1, n_head=1, n_embd=16, dropout=0.0)
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(1, steps + 1):
        op = "+-*/"[step % 4]  # a curriculum: small operands first, all in the form of the large ones
        pairs = table(op)
        pairs = pairs[pairs.sum(1) <= 50] if step < steps / 2 else pairs
        some = pairs[torch.randint(len(pairs), (12,), generator=generator)].tolist()
        x, y = make_batch([(a, op, b) for a, b in some])
        x, y = x.to(device), y.to(device)
        loss = model(x, y)[1]
        model.zero_grad()
        loss.backward()
        optimizer.step()
        if step == steps:
            report(step, loss.item())
    return model
