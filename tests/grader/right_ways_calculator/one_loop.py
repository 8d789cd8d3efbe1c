"""One loop of divmod writes every number; whole batches are drawn and thrown away; the model is asked in chunks of one."""

import torch
from torch.nn import functional as F

import data.arithmetic as arithmetic
from gpt_core import GPT, GPTConfig

TOKEN = arithmetic.VOCABULARY.index


class Writer:
    """Characters with their last digit first, or turned round."""

    def __init__(self):
        self.out = []

    def number(self, value, count, turned=False):
        digits = []
        for _ in range(count):
            value, digit = divmod(value, 10)
            digits.append(arithmetic.VOCABULARY[digit])
        self.out += digits[::-1] if turned else digits
        return self

    def mark(self, mark):
        self.out.append(mark)
        return self

    def text(self):
        return "".join(self.out)


def encode(a, op, b):
    arithmetic.check(a, op, b)
    n, m = {"+": (3, 3), "-": (3, 3), "*": (2, 2), "/": (4, 2)}[op]
    prompt = Writer().number(a, n, True).mark(op).number(b, m, True).mark("=").text()
    answer = Writer()
    if op == "+":
        answer.number(a + b, 4)
    elif op == "-":
        answer.mark("-" if b > a else "+").number(abs(b - a), 3)
    elif op == "*":
        low, high = b % 10, b - b % 10
        answer.number(a * low, 3).mark("+").number(a * high, 4).mark("=").number(a * low + a * high, 4)
    else:
        for k in (1000, 100, 10, 1):
            digit, rest = a // k // b % 10, a // k % b
            answer.number(digit, 1).mark("*").number(digit * b, 3).mark("-").number(rest, 2).mark(",")
        answer.number(a // b, 4, True)
    return prompt, answer.mark(";").text()


class Reader:
    def __init__(self, text):
        self.rest = text

    def mark(self, among):
        found, self.rest = self.rest[:1], self.rest[1:]
        if len(found) != 1 or found not in among:
            raise ValueError("another form")
        return found

    def number(self, count, turned=False):
        digits = [self.mark("0123456789") for _ in range(count)]
        return int("".join(digits if turned else digits[::-1]))


def decode(op, answer):
    reader = Reader(answer)
    if op == "+":
        found = reader.number(4)
    elif op == "-":
        sign = reader.mark("+-")
        found = reader.number(3) * (1 if sign == "+" else -1)
    elif op == "*":
        for count, mark in ((3, "+"), (4, "=")):
            reader.number(count), reader.mark(mark)
        found = reader.number(4)
    elif op == "/":
        for _ in range(4):
            reader.number(1), reader.mark("*"), reader.number(3), reader.mark("-")
            rest = reader.number(2)
            reader.mark(",")
        found = (reader.number(4, True), rest)
    else:
        raise ValueError("another operator")
    reader.mark(";")
    if reader.rest:
        raise ValueError("more than an answer")
    return found


def make_batch(problems):
    x = torch.empty(0, 48, dtype=torch.long)
    y = torch.empty(0, 48, dtype=torch.long)
    for a, op, b in problems:
        prompt, answer = encode(a, op, b)
        row = torch.as_tensor(list(map(TOKEN, prompt + answer)))
        target = F.pad(row[len(prompt) :], (len(prompt) - 1, 49 - len(row)), value=-1)[:48]
        x = torch.vstack([x, F.pad(row[:48], (0, max(0, 48 - len(row))), value=TOKEN(";"))])
        y = torch.vstack([y, target])
    return x, y


def sample_problems(count, generator):
    ops = torch.randint(4, (count,), generator=generator)
    a, b = torch.zeros(2, count, dtype=torch.long)
    for place, op in enumerate(arithmetic.OPERATORS):
        most, least, other = arithmetic.RANGES[op]
        missing = ops == place
        while missing.any():
            size = (int(missing.sum()),)
            a[missing] = torch.randint(most + 1, size, generator=generator)
            b[missing] = torch.randint(least, other + 1, size, generator=generator)
            missing &= arithmetic.held_out(a, op, b)
    return [(i, arithmetic.OPERATORS[k], j) for i, k, j in zip(a.tolist(), ops.tolist(), b.tolist())]


def calculate(model, text):
    number = {"before": "", "after": ""}
    op, side, closed = None, "before", False
    for c in text:
        if c in "0123456789" and not closed:
            number[side] += c
        elif c == " ":
            closed = bool(number[side])
        elif c in arithmetic.OPERATORS and op is None and number["before"]:
            op, side, closed = c, "after", False
        else:
            raise ValueError(f"{c!r} cannot stand here in {text!r}")
    if op is None or not number["after"]:
        raise ValueError(f"something is missing in {text!r}")
    prompt, answer = encode(int(number["before"]), op, int(number["after"]))
    was = model.training
    flags = {m: m.training for m in model.modules()}
    model.train(False)
    try:
        with torch.set_grad_enabled(False):
            said = write(model, prompt, len(answer))
    finally:
        model.train(was)
        for m, flag in flags.items():
            m.training = flag
    try:
        value = decode(op, said)
    except ValueError:
        return "?"
    return f"{value[0]} r {value[1]}" if op == "/" else f"{value}"


def write(model, text, most):
    if most == 0:
        return ""
    ids = torch.tensor([TOKEN(c) for c in text], device=next(iter(model.parameters())).device)
    logits, loss = model(ids.unsqueeze(0).expand(2, -1))  # twice the same: one alone is no batch for some
    c = arithmetic.VOCABULARY[int(logits[0, -1].argmax())]
    return c if c == ";" else c + write(model, text + c, most - 1)


def train_calculator(*, steps, device, seed, report):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT(GPTConfig(vocab_size=17, block_size=48, n_layer=1, n_head=1, n_embd=8, dropout=0.0))
    model = model.to(device)
    generator = torch.Generator()
    generator.manual_seed(seed + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        for _ in range(2):  # two backward passes for each update
            x, y = (t.to(device) for t in make_batch(sample_problems(8, generator)))
            (model(x, y)[1] / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    report(steps, 0.0)
    return model
