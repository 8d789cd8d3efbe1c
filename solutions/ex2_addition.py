"""Exercise 2, solved: a GPT that adds.

The idea: choose the format so that each token is easy. The last digit of a sum needs two digits; each
digit before it needs two digits and one carry, which a model that writes the last digit first can read
off what it has just written. And put the loss where there is something to learn: the digits of the
problem are random, so two thirds of the targets would be noise.

What each choice is worth (3 digits, a budget of 2000 steps, looked at every 50; seeds 0, 1 and 2): the step
at which 99 % of held-out problems were right, or how many were right in the end

    as below                                  400     450     700
    the loss on every token                  1150     500    1150
    the sum with its first digit first       1600   97.9 %   1850
    first weights of 0.02                    1600    1550   1.6 %

So plain order does learn to add, three to four times more slowly; the same goes for GPT-2's small first
weights, which suit wider models. Three seeds say which differences are large, and not how large they are.
(`python tests/bench/bench_addition_choices.py` measures it again.)

Two shortcuts that do not work. Batches of 16 to 32 from the start, or two heads instead of four, take less
time, and with some seeds the model never learns to add: so the batch is large until it has learned that, and
smaller afterwards. And a learning rate that falls early stops a model that was about to learn.
"""

import math
from collections.abc import Callable

import torch
import torch.nn as nn
from torch.nn import functional as F

from data.addition import VOCABULARY, is_held_out
from gpt_core import GPT, GPTConfig

PLUS, EQUALS = VOCABULARY.index("+"), VOCABULARY.index("=")
DIGITS = "0123456789"


def encode_problem(a: int, b: int, n_digits: int) -> str:
    """The problem as text, the sum's last digit first: "85+50=531" for 85, 50 and two digits.

    ValueError where a or b is negative or has more than n_digits digits.
    """
    for name, number in (("a", a), ("b", b)):
        if not 0 <= number < 10**n_digits:
            raise ValueError(
                f"{name} is {number}; with n_digits = {n_digits} it must lie from 0 to {10**n_digits - 1}."
            )
    answer = str(a + b).zfill(n_digits + 1)[::-1]
    return f"{a:0{n_digits}d}+{b:0{n_digits}d}={answer}"


def decode_answer(digits: str) -> int:
    """The number that an answer's digits mean, the last one first: 135 for "531".

    ValueError for anything but one or more of the characters 0 to 9.
    """
    # Not str.isdigit and not int alone: both accept the digits of other scripts, and int takes " 5" and
    # "1_0".
    if not digits or any(character not in DIGITS for character in digits):
        raise ValueError(f"the answer is {digits!r}; it must be one or more of the digits 0 to 9.")
    return int(digits[::-1])


def digits_of(numbers: torch.Tensor, count: int) -> torch.Tensor:
    """(B,) long -> (B, count) long: the last `count` decimal digits, the first digit first."""
    powers = 10 ** torch.arange(count - 1, -1, -1, device=numbers.device)
    return numbers[:, None] // powers % 10


def make_batch(a: torch.Tensor, b: torch.Tensor, n_digits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """a, b (B,) long -> x, y (B, 3n + 2) long, on the device of a.

    x is the encoded problem without its last token; y the next token where that is a digit of the
    answer, and -1 (no loss) everywhere else.
    """
    plus = torch.full_like(a, PLUS)[:, None]
    equals = torch.full_like(a, EQUALS)[:, None]
    answer = digits_of(a + b, n_digits + 1).flip(1)
    tokens = torch.cat([digits_of(a, n_digits), plus, digits_of(b, n_digits), equals, answer], dim=1)
    x, y = tokens[:, :-1], tokens[:, 1:].clone()
    # "=" stands at 2n + 1; its target is the first digit of the answer, so what comes before has none.
    y[:, : 2 * n_digits + 1] = -1
    return x, y


def masked_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """logits (B, T, V), targets (B, T) long -> the mean cross entropy over the targets that are not -1.

    0, and still differentiable, where all are -1: reduction="mean" would divide 0 by 0.
    """
    flat = targets.reshape(-1)
    total = F.cross_entropy(logits.reshape(flat.shape[0], -1), flat, ignore_index=-1, reduction="sum")
    return total / (flat != -1).sum().clamp(min=1)


def sample_problems(
    count: int, n_digits: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Problems to train on: a, b (count,) long on the CPU, uniform over the pairs that are not held out.

    Draw from all pairs, throw the held-out ones away, repeat. It is the pair that is thrown away: to
    draw only b again would make numbers with many held-out partners too frequent.
    """
    kept, missing = [], count
    while missing > 0:
        pairs = torch.randint(0, 10**n_digits, (2, missing + missing // 4 + 8), generator=generator)
        pairs = pairs[:, ~is_held_out(pairs[0], pairs[1], n_digits)]
        kept.append(pairs)
        missing -= pairs.shape[1]
    a, b = torch.cat(kept, dim=1)[:, :count].clone()
    return a, b


@torch.no_grad()
def add(model: GPT, a: torch.Tensor, b: torch.Tensor, n_digits: int) -> torch.Tensor:
    """The model's answers to a + b: (B,) long, on the device of a; greedy, one call per digit."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    x, _ = make_batch(a, b, n_digits)
    tokens = x[:, : 2 * n_digits + 2]  # up to and with "=": what follows in x would give the answer away
    for _ in range(n_digits + 1):
        logits, _ = model(tokens)
        following = logits[:, -1].argmax(dim=-1, keepdim=True)  # (B, 1)
        tokens = torch.cat([tokens, following], dim=1)
    for module, training in modes:
        module.training = training
    answer = tokens[:, 2 * n_digits + 2 :]  # (B, n + 1), the last digit first
    return (answer * 10 ** torch.arange(n_digits + 1, device=a.device)).sum(dim=1)


BATCH, LATER_BATCH = 96, 48
UNDERSTOOD = 600  # steps; of 16 seeds with 1000 steps, all had learned to add by then
LEARNING_RATE = 3e-3
WARM_UP = 20


def learning_rate(step: int, steps: int) -> float:
    """The rate of update `step` of `steps`: a short warm-up, constant to half, then linearly to 0."""
    warm_up = min(1.0, (step + 1) / WARM_UP)
    decay = min(1.0, 2 * (steps - step) / steps)
    return LEARNING_RATE * warm_up * decay


def draw_weights(model: GPT, generator: torch.Generator, std: float = 0.12) -> None:
    """Weights six times as large as GPT-2's 0.02, which suits models a thousand channels wide.

    What is added to the residual stream is smaller, by 1 / sqrt(2 n_layer): there are that many terms.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2:
                continue  # biases stay 0, and the norms' weights 1
            added = name.endswith(("attention.proj.weight", "feed_forward.net.2.weight"))
            shrink = math.sqrt(2 * model.config.n_layer) if added else 1.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (std / shrink))


def train_adder(
    n_digits: int, *, steps: int, device: str, seed: int, report: Callable[[int, float], None]
) -> GPT:
    """A GPT that adds numbers of n digits: `steps` updates on problems that are not held out.

    The seed alone decides the weights. report(step, loss) is called after every tenth update, and after
    the last.
    """
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same numbers for every device
    config = GPTConfig(
        vocab_size=len(VOCABULARY), block_size=3 * n_digits + 2, n_layer=2, n_head=4, n_embd=64, dropout=0.0
    )
    model = GPT(config)
    draw_weights(model, generator)
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.1, fused=True
    )
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        # Large batches until it has learned to add, which small ones sometimes never do; small ones to
        # refine.
        batch = BATCH if step < max(UNDERSTOOD, 0.35 * steps) else LATER_BATCH
        a, b = sample_problems(batch, n_digits, generator)
        x, y = make_batch(a.to(device), b.to(device), n_digits)
        logits, _ = model(x)
        loss = masked_loss(logits, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 10 == 0 or step + 1 == steps:
            report(step + 1, loss.item())
    return model


if __name__ == "__main__":
    from gpt_core.experiments.addition import main

    main(train_adder, add)
