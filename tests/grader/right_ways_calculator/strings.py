"""Digits as characters throughout: sums column by column, a long division by counting, problems one by one."""

import torch
import torch.nn.functional as F

from data.arithmetic import VOCABULARY, is_held_out
from gpt_core import GPT, GPTConfig

SIZES = {"+": (3, 3), "-": (3, 3), "*": (2, 2), "/": (4, 2)}
LENGTHS = {"+": 5, "-": 5, "*": 14, "/": 41}
DIGITS = set("0123456789")


def _add(one: str, other: str, count: int) -> str:
    """Two numbers with their last digit first -> their sum, as well."""
    carry, out = 0, ""
    for i in range(count):
        column = int(one[i : i + 1] or 0) + int(other[i : i + 1] or 0) + carry
        carry, out = column // 10, out + str(column % 10)
    return out


def _times(number: int, digit: int, count: int) -> str:
    out = "0" * count
    for _ in range(digit):
        out = _add(out, str(number)[::-1], count)
    return out


def encode(a: int, op: str, b: int) -> tuple[str, str]:
    if op not in SIZES:
        raise ValueError("no operator: %r" % op)
    left, right = SIZES[op]
    if a < 0 or len(str(a)) > left or b < 0 or len(str(b)) > right or (op == "/" and b == 0):
        raise ValueError("no such problem: %s %s %s" % (a, op, b))
    one, other = str(a).rjust(left, "0"), str(b).rjust(right, "0")
    prompt = one + op + other + "="
    if op == "+":
        return prompt, _add(one[::-1], other[::-1], 4) + ";"
    if op == "-":
        sign = "+"
        if one < other:
            one, other, sign = other, one, "-"
        borrow, out = 0, ""
        for x, y in zip(reversed(one), reversed(other)):
            column = int(x) - int(y) - borrow
            borrow = int(column < 0)
            out += str(column + 10 * borrow)
        return prompt, sign + out + ";"
    if op == "*":
        first = _times(a, int(other[1]), 3)
        second = "0" + _times(a, int(other[0]), 3)
        return prompt, first + "+" + second + "=" + _add(first, second, 4) + ";"
    answer, quotient, rest = "", "", 0
    for digit in one:
        rest, times = int(str(rest) + digit), 0
        while rest >= b:
            rest, times = rest - b, times + 1
        quotient += str(times)
        answer += str(times) + "*" + _times(b, times, 3) + "-" + str(rest).rjust(2, "0")[::-1] + ","
    return prompt, answer + quotient + ";"


def decode(op: str, answer: str):
    if op not in LENGTHS:
        raise ValueError(op)
    shape = encode(*{"+": (0, "+", 0), "-": (0, "-", 0), "*": (0, "*", 0), "/": (0, "/", 1)}[op])[1]
    if len(shape) != len(answer):
        raise ValueError(answer)
    for place, (due, came) in enumerate(zip(shape, answer)):
        sign = op == "-" and place == 0
        if not (came in "+-" if sign else came in DIGITS if due in DIGITS else came == due):
            raise ValueError(answer)
    if op == "/":
        return int(answer[-5:-1]), int(answer[-7] + answer[-8])
    if op == "-":
        return int(answer[3::-1][:3]) * (-1 if answer[0] == "-" else 1)
    return int(answer[-2:-6:-1])


def make_batch(problems):
    xs, ys = [], []
    for problem in problems:
        prompt, answer = encode(*problem)
        ids = [VOCABULARY.index(c) for c in prompt + answer]
        x = (ids + [16] * 48)[:48]
        y = ([-1] * (len(prompt) - 1) + ids[len(prompt) :] + [-1] * 48)[:48]
        xs.append(x)
        ys.append(y)
    return torch.tensor(xs), torch.tensor(ys)


def sample_problems(count, generator):
    def number(most):
        return int(torch.randint(most + 1, (1,), generator=generator))

    found = []
    while len(found) < count:
        op = "+-*/"[number(3)]
        # The operator stays: to draw it again would make operators with many held-out problems rarer.
        while True:
            a, b = number(10 ** SIZES[op][0] - 1), number(10 ** SIZES[op][1] - 1)
            if not (op == "/" and b == 0) and not is_held_out(a, op, b):
                break
        found.append((a, op, b))
    return found


def calculate(model, text):
    for op in "+-*/":
        if text.count(op) == 1:
            break
    parts = [part.strip(" ") for part in text.split(op)]
    if len(parts) != 2 or not all(parts) or not set("".join(parts)) <= DIGITS:
        raise ValueError("%r is no problem such as 12*34." % text)
    prompt, _ = encode(int(parts[0]), op, int(parts[1]))
    was = [m for m in model.modules() if m.training]
    model.eval()
    row = torch.full((1, 48), 16, device=model.lm_head.weight.device)
    ids = [VOCABULARY.index(c) for c in prompt]
    with torch.no_grad():
        for _ in range(LENGTHS[op]):
            row[0, : len(ids)] = torch.tensor(ids, device=row.device)
            ids.append(model(row)[0][0, len(ids) - 1].max(0).indices.item())
            if ids[-1] == 16:
                break
    for m in was:
        m.training = True
    try:
        said = decode(op, "".join(VOCABULARY[i] for i in ids[len(prompt) :]))
    except ValueError:
        return "?"
    return str(said) if op != "/" else str(said[0]) + " r " + str(said[1])


def train_calculator(*, steps, device, seed, report):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=17, block_size=48, n_layer=1, n_head=2, n_embd=16, dropout=0.1)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(steps):
        x, y = make_batch(sample_problems(16, generator))
        logits, _ = model(x.to(device))
        loss = F.cross_entropy(logits.flatten(0, 1), y.to(device).flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report(step, float(loss))
    return model.eval()
