"""The calculator, solved: a GPT that does + - * / with a scratchpad.

The idea: a model computes a bounded amount before each token. A product of two digits by two is too much for
that, and so is a division; written down step by step, each token needs a few digits of what stands before it
(Nye et al. 2021, arXiv 2112.00114). So the answer is long, and every piece of it easy.

How well it calculates, of 2000 held-out problems of each operator with one seed (`python
tests/bench/bench_calculator.py --arms solution --seeds 3`; 5000 steps, 16 minutes of one busy core): + 100 %,
- 99.75 %, * 100 %, / 98.75 %. What goes wrong in a division is a digit of the quotient.

What the scratchpad is worth, measured with an earlier recipe (four layers, 1500 steps, one seed): with it *
100 % and / 90 % of the problems had every written digit right; without it, the result alone, * 23 % and / 1
%. The operators + and - have none, and came to 99.7 % and more in both.

What one tries first:
- A mean of the loss over all tokens. A division has 41 of them and a sum 5: with 16 sums and 48 divisions in
  a batch + was at 1 % after 800 steps. Here each operator has its share of the loss, whatever its length.
- AdamW alone. After 200 steps its loss is 0.75 where Muon, for the matrices of the blocks, has 0.46.
- Embeddings as small as the other weights. Where a digit stands decides everything in a sum: with tables of
  0.08 + is at 10 % and - at 35 % after 500 steps, and with those below at 96 % and 94 %.
- All tokens alike. In the end only the quotient's digits are ever wrong: each has to be found, and what
  follows it is computed from what is written. So they count five times, and from a fifth of the steps on most
  rows are divisions.
- A rate that stays high. The quotient's digit is the hardest token: it compares three digits with the
  multiples of two, and only small steps make that exact. Most of what division learns comes while the rate
  falls.
"""

import re
from collections.abc import Callable

import torch
import torch.nn as nn
from torch.nn import functional as F

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


STEPS = 5000
# Up to which share of the steps, of which operator how many rows are in an update, and its share of the loss.
PHASES = (
    (0.2, {"+": 32, "-": 64, "*": 16, "/": 12}, {"+": 0.25, "-": 0.35, "*": 0.2, "/": 0.2}),
    (0.6, {"+": 12, "-": 24, "*": 8, "/": 40}, {"+": 0.1, "-": 0.2, "*": 0.1, "/": 0.6}),
    (1.0, {"+": 4, "-": 8, "*": 4, "/": 48}, {"+": 0.05, "-": 0.1, "*": 0.05, "/": 0.8}),
)
QUOTIENT = [7, 16, 25, 34]  # the places of y at which a division's quotient has its digits
QUOTIENT_WEIGHT = 5
MUON_RATE, ADAM_RATE = 0.014, 3e-3
WARM_UP = 20


def learning_rate(step: int, steps: int, done: int) -> float:
    """The rate of update `step` of `steps`, as a share of the highest: a warm-up from `done` on, constant to
    a fifth of the steps, then linearly to 0."""
    return min(1.0, (step - done + 1) / WARM_UP) * min(1.0, (1 - step / steps) / 0.8)


def weighted_loss(model: GPT, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of a batch of one operator's problems, in which a digit of the quotient counts more.

    It alone has to be found; what follows it is computed from what is written."""
    width = int((y != -1).any(dim=0).nonzero().max()) + 1  # behind it nothing carries a loss
    device = next(model.parameters()).device
    y = y[:, :width].to(device)
    logits, _ = model(x[:, :width].to(device))
    weights = (y != -1).float()
    if width > max(QUOTIENT):  # of divisions
        weights[:, QUOTIENT] *= QUOTIENT_WEIGHT
    each = F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-1, reduction="none")
    return (each * weights.flatten()).sum() / weights.sum()


def draw_weights(model: GPT, generator: torch.Generator) -> None:
    """Larger weights than GPT-2's 0.02, which suits models a thousand channels wide.

    The tables have larger ones still, so that the blocks read positions well from the start. What is added to
    the residual stream is smaller, by 1 / sqrt(2 n_layer): there are that many terms.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2:
                continue  # biases stay 0, and the norms' weights 1
            std = 0.2 if "embedding_table" in name else 0.08
            if name.endswith(("attention.proj.weight", "feed_forward.net.2.weight")):
                std /= (2 * model.config.n_layer) ** 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """(K, R, S) -> the same with all singular values of each matrix near 1, by Newton-Schulz steps (exercise
    muon; Jordan 2024)."""
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-20)
    for _ in range(5):
        s = x @ x.mT
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised. The matrices of one group have one shape and are updated at once."""

    def __init__(self, matrices, lr: float, momentum: float = 0.95):
        shapes: dict[torch.Size, list] = {}
        for matrix in matrices:
            shapes.setdefault(matrix.shape, []).append(matrix)
        groups = [{"params": group} for group in shapes.values()]
        super().__init__(groups, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            first, momentum = group["params"][0], group["momentum"]
            gradients = torch.stack([p.grad for p in group["params"]])
            state = self.state[first]
            state.setdefault("momentum", torch.zeros_like(gradients)).mul_(momentum).add_(gradients)
            updates = orthogonal(gradients + momentum * state["momentum"])
            rate = group["lr"] * max(1, first.shape[0] / first.shape[1]) ** 0.5
            for p, update in zip(group["params"], updates):
                p.sub_(update, alpha=rate)


def train_calculator(
    *,
    steps: int,
    device: str,
    seed: int,
    report: Callable[[int, float], None],
    start: GPT | None = None,
    done: int = 0,
) -> GPT:
    """A GPT that calculates: `steps` updates on problems that are not held out.

    The seed alone decides the weights. report(step, loss) is called after every tenth update, and after the
    last. start: a model that has had `done` of the updates, to go on with.
    """
    generator = torch.Generator().manual_seed(seed + done)  # on the CPU: the same numbers for every device
    model = start
    if model is None:
        model = GPT(GPTConfig(len(VOCABULARY), WIDTH, n_layer=3, n_head=4, n_embd=128, dropout=0.0))
        draw_weights(model, generator)
    model.to(device).train()
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in known]
    optimizers = (
        Muon(matrices, MUON_RATE),
        torch.optim.AdamW(others, ADAM_RATE, betas=(0.9, 0.99), weight_decay=0.1, fused=True),
    )
    highest = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    for step in range(done, steps):
        for optimizer, rates in zip(optimizers, highest):
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * learning_rate(step, steps, done)
        rows, shares = next(phase[1:] for phase in PHASES if step < phase[0] * steps)
        loss = torch.zeros((), device=device)
        for op in OPERATORS:
            x, y = make_batch(draw(op, rows[op], generator))
            # In a mean over all tokens a division would count eight times as much as a sum.
            loss = loss + shares[op] * weighted_loss(model, x, y)
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if (step + 1) % 10 == 0 or step + 1 == steps:
            report(step + 1, loss.item())
    return model


if __name__ == "__main__":
    from gpt_core.experiments.calculator import main

    main(train_calculator, calculate, encode, decode)
