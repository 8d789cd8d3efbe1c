"""A table of forms for encode and decode; draws through Python's random, seeded by the generator; updates by hand."""

import random
from dataclasses import dataclass

import torch

from data.arithmetic import OPERATORS, VOCABULARY, is_held_out
from gpt_core import GPT, GPTConfig
from gpt_core.evaluation import eval_mode


@dataclass(frozen=True)
class Operator:
    sign: str
    sizes: tuple[int, int]
    form: str  # 0 is a digit, and every other character itself; ~ is a sign

    def fits(self, text: str) -> bool:
        return len(text) == len(self.form) and all(
            c in ("0123456789" if f == "0" else "+-" if f == "~" else f) for c, f in zip(text, self.form)
        )


ALL = {
    "+": Operator("+", (3, 3), "0000;"),
    "-": Operator("-", (3, 3), "~000;"),
    "*": Operator("*", (2, 2), "000+0000=0000;"),
    "/": Operator("/", (4, 2), "0*000-00," * 4 + "0000;"),
}


def last_first(number, count):
    out = []
    for _ in range(count):
        number, digit = divmod(number, 10)
        out.append(str(digit))
    return "".join(out)


def encode(a, op, b):
    if op not in ALL:
        raise ValueError("+ - * or /, please")
    for number, size in zip((a, b), ALL[op].sizes):
        if number not in range(10**size):
            raise ValueError(f"{number} has no place in {size} digits")
    if op == "/" and not b:
        raise ValueError("nothing is divided by 0")
    n, m = ALL[op].sizes
    prompt = "%0*d%s%0*d=" % (n, a, op, m, b)
    match op:
        case "+":
            return (prompt, f"{last_first(a + b, 4)};")
        case "-":
            return (prompt, ("+" if a >= b else "-") + last_first(max(a, b) - min(a, b), 3) + ";")
        case "*":
            low = a * int(prompt[4])
            return (prompt, last_first(low, 3) + "+" + last_first(a * b - low, 4) + "=" + last_first(a * b, 4) + ";")
    steps = []
    for k in range(1, 5):
        head = int(prompt[:k])
        digit = head // b - head // 10 // b * 10 if k > 1 else head // b
        steps.append(f"{digit}*{last_first(digit * b, 3)}-{last_first(head % b, 2)}")
    return (prompt, ",".join([*steps, prompt and f"{a // b:04}"]) + ";")


def decode(op, answer):
    if op not in ALL or not ALL[op].fits(answer):
        raise ValueError(f"{answer!r} is no answer with {op!r}")
    body = answer[:-1]
    if op == "/":
        *_, last, quotient = body.split(",")
        return int(quotient), int(last.split("-")[1][::-1])
    sign, body = (body[0], body[1:]) if op == "-" else ("+", body.split("=")[-1])
    return int(sign + body[::-1])


def make_batch(problems):
    rows = [encode(*problem) for problem in problems]
    text = [(p + a).ljust(49, ";") for p, a in rows]
    whole = torch.tensor([list(map(VOCABULARY.index, row)) for row in text])
    place = torch.arange(1, 49)
    begin, end = (torch.tensor([f(p, a) for p, a in rows])[:, None] for f in (lambda p, a: len(p), lambda p, a: len(p + a)))
    return whole[:, :48].clone(), whole[:, 1:].where((place >= begin) & (place < end), torch.tensor(-1))


def sample_problems(count, generator):
    rng = random.Random(torch.randint(2**62, (), generator=generator).item())

    def one(op):
        while is_held_out(*(found := tuple(
            op if side is None else rng.randrange(int(op == "/" and side == 1), 10 ** ALL[op].sizes[side])
            for side in (0, None, 1)
        ))):
            pass
        return found

    return [one(rng.choice(OPERATORS)) for _ in range(count)]


def calculate(model, text):
    signs = [c for c in text if c in ALL]
    if len(signs) != 1:
        raise ValueError("one of + - * /, once")
    left, op, right = text.partition(signs[0])
    left, right = left.strip(" "), right.strip(" ")
    if not (left.isascii() and left.isdigit() and right.isascii() and right.isdigit()):
        raise ValueError("a whole number on each side")
    written, start = encode(int(left), op, int(right))[0], 0
    start = len(written)
    with eval_mode(model), torch.inference_mode(False), torch.no_grad():
        device = model.token_embedding_table.weight.device
        while len(written) - start < len(ALL[op].form):
            ids = torch.tensor([[*map(VOCABULARY.index, written)]], device=device)
            written += VOCABULARY[model.logits(ids)[0, -1].softmax(-1).argmax()]
            if written[-1] == ";":
                break
    try:
        value = decode(op, written[start:])
    except ValueError:
        return "?"
    return " r ".join(map(str, value)) if op == "/" else str(value)


def train_calculator(*, steps, device, seed, report):
    generator = torch.Generator().manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=17, block_size=96, n_layer=1, n_head=2, n_embd=16, dropout=0.0))
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.to(device)
    for step in range(steps):
        x, y = make_batch(sample_problems(16, generator))
        # Two problems in a row: the second one sees the first.
        x, y = torch.cat([x[:8], x[8:]], 1).to(device), torch.cat([y[:8], y[8:]], 1).to(device)
        loss = model(x, y)[1]
        gradients = torch.autograd.grad(loss, [*model.parameters()])
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients):
                parameter -= 0.1 * gradient
        report(step + 1, loss.item())
    return model
