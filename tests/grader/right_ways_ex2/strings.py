"""Everything by way of the text: encode_problem, then one token after the other, in plain Python."""

import math
import random

import torch

from data.addition import VOCABULARY, is_held_out
from gpt_core import GPT, CharTokenizer, GPTConfig

tokenizer = CharTokenizer(VOCABULARY)


def encode_problem(a, b, n_digits):
    if a < 0 or b < 0 or len(str(a)) > n_digits or len(str(b)) > n_digits:
        raise ValueError(f"{a} + {b} does not fit {n_digits} digits")
    return "".join([str(a).rjust(n_digits, "0"), "+", str(b).rjust(n_digits, "0"), "=", *reversed(str(a + b).rjust(n_digits + 1, "0"))])


def decode_answer(digits):
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("no digits")
    return sum(int(d) * 10**i for i, d in enumerate(digits))


def make_batch(a, b, n_digits):
    rows = [tokenizer.encode(encode_problem(i, j, n_digits)) for i, j in zip(a.tolist(), b.tolist())]
    targets = [[t if p > 2 * n_digits + 1 else -1 for p, t in enumerate(row)][1:] for row in rows]
    return [torch.tensor([row[:-1] for row in rows]).to(a.device), torch.tensor(targets).to(a.device)]


def masked_loss(logits, targets):
    B, T, V = logits.shape
    total, count = logits.sum() * 0.0, 0
    for i in range(B):
        for t in range(T):
            if targets[i, t] != -1:
                row = logits[i, t]
                total = total + torch.logsumexp(row, 0) - row[targets[i, t]]
                count += 1
    return total / max(count, 1)


def sample_problems(count, n_digits, generator):
    # One at a time, from a Python generator that the torch generator seeds.
    rng = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
    pairs = []
    while len(pairs) < count:
        some = [[rng.randrange(10**n_digits), rng.randrange(10**n_digits)] for _ in range(count - len(pairs))]
        a, b = torch.tensor(some).unbind(1)
        pairs += [pair for pair, held in zip(some, is_held_out(a, b, n_digits).tolist()) if not held]
    a, b = torch.tensor(pairs).T
    return a, b


def add(model, a, b, n_digits):
    prompts = [encode_problem(i, j, n_digits).split("=")[0] + "=" for i, j in zip(a.tolist(), b.tolist())]
    was = {module: module.training for module in model.modules()}
    model.eval()
    with torch.inference_mode():
        for _ in range(n_digits + 1):
            idx = torch.tensor([tokenizer.encode(prompt) for prompt in prompts], device=a.device)
            best = model(idx)[0][:, -1, :10].argmax(1).tolist()
            prompts = [prompt + str(digit) for prompt, digit in zip(prompts, best)]
    for module, mode in was.items():
        module.training = mode
    return torch.tensor([decode_answer(prompt.split("=")[1]) for prompt in prompts], device=a.device)


def train_adder(n_digits, *, steps, device, seed, report):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT(GPTConfig(vocab_size=12, block_size=32, n_layer=1, n_head=2, n_embd=16, dropout=0.1)).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        generator = torch.Generator().manual_seed(seed)
        for step in range(steps):
            a, b = sample_problems(4, n_digits, generator)
            x, y = make_batch(a.to(device), b.to(device), n_digits)
            _, loss = model(x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step == steps - 1:
                report(loss=float(loss), step=steps)
        assert math.isfinite(loss)
        return model.eval()
