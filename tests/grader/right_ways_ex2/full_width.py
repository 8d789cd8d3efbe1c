"""The whole width of tokens in each call, written into in place; inputs built column by column."""

import re

import numpy as np
import torch
import torch.nn.functional as F

from data import addition
from gpt_core import GPT, GPTConfig
from gpt_core.evaluation import eval_mode

POOL = 1 << 12


def encode_problem(a: int, b: int, n_digits: int) -> str:
    if not (0 <= a <= 10**n_digits - 1 and 0 <= b <= 10**n_digits - 1):
        class TooLong(ValueError): ...
        raise TooLong
    out, rest = "%0*d+%0*d=" % (n_digits, a, n_digits, b), a + b
    for _ in range(n_digits + 1):
        rest, digit = divmod(rest, 10)
        out += "%d" % digit
    return out


def decode_answer(digits: str) -> int:
    if re.fullmatch(r"[0-9]+", digits, re.ASCII) is None:
        raise ValueError(digits)
    value = 0
    for digit in reversed(digits):
        value = 10 * value + int(digit)
    return value


def _rows(a, b, n):
    B = len(a)
    rows = torch.empty(B, 3 * n + 3, dtype=torch.long, device=a.device)
    rows[:, n], rows[:, 2 * n + 1] = 10, 11
    for k in range(n):
        rows[:, n - 1 - k] = torch.div(a, 10**k, rounding_mode="floor").remainder(10)
        rows[:, 2 * n - k] = torch.div(b, 10**k, rounding_mode="floor").remainder(10)
    carry = torch.zeros_like(a)
    for k in range(n):
        column = rows[:, n - 1 - k] + rows[:, 2 * n - k] + carry
        rows[:, 2 * n + 2 + k], carry = column % 10, (column > 9).long()
    rows[:, -1] = carry
    return rows


def make_batch(a, b, n_digits):
    rows = _rows(a, b, n_digits)
    place = torch.arange(3 * n_digits + 2, device=a.device)
    return rows[:, :-1].contiguous(), torch.where(place >= 2 * n_digits + 1, rows[:, 1:], -1)


def masked_loss(logits, targets):
    keep = targets != -1
    picked = logits[keep]
    return F.cross_entropy(picked, targets[keep]) if len(picked) else logits.sum() * 0


def sample_problems(count, n_digits, generator):
    a = torch.zeros(count, dtype=torch.long)
    b = torch.zeros(count, dtype=torch.long)
    todo = torch.ones(count, dtype=torch.bool)
    while todo.any():
        # Both numbers again, digit by digit, wherever the pair is held out.
        fresh = torch.randint(10, (2, int(todo.sum()), n_digits), generator=generator)
        worth = 10 ** torch.arange(n_digits)
        a[todo], b[todo] = (fresh[0] * worth).sum(1), (fresh[1] * worth).sum(1)
        todo = addition.is_held_out(a, b, n_digits)
    return a, b


def add(model, a, b, n_digits):
    width = 3 * n_digits + 2
    rows = _rows(a, b, n_digits)
    rows[:, 2 * n_digits + 2 :] = 0
    with torch.no_grad(), eval_mode(model):
        for k in range(n_digits + 1):
            place = 2 * n_digits + 1 + k
            rows[:, place + 1] = model(rows[:, :width])[0][:, place].max(dim=-1).indices
    total = torch.zeros_like(a)
    for digit in rows[:, 2 * n_digits + 2 :].flip(1).unbind(1):
        total = total * 10 + digit
    return total


def train_adder(n_digits, *, steps, device, seed, report):
    generator = torch.Generator().manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=12, block_size=3 * n_digits + 3, n_layer=1, n_head=1, n_embd=8, dropout=0.0))
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(0.1 * rng.standard_normal(parameter.shape)))
    model.to(device)
    # Updates written out by hand: no optimizer of torch's is involved.
    for step in range(1, steps + 1):
        x, y = make_batch(*(t.to(device) for t in sample_problems(8, n_digits, generator)), n_digits)
        loss = masked_loss(model.logits(x), y)
        for parameter, gradient in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters()))):
            with torch.no_grad():
                parameter -= 0.05 * gradient
        report(step, np.float64(loss.item()))
    return model
