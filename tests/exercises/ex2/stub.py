"""Exercise 2: a GPT that adds.

The lecture's GPT writes Shakespeare, and there is no right answer to compare that with. A GPT that
adds two numbers can be measured: a problem that it has never seen has one right answer.

Why it matters: it is the smallest task where the *format* of the data decides whether a model learns,
and where a model that generalises can be told from one that memorised its problems. Two ideas
do the work. The sum is written with its last digit first, since that is the order in which carries
are worked out. And only the digits of the answer carry a loss: the digits of the problem are random,
and nothing can be learned from predicting them.

A problem with n digits: a and b padded with zeros to n digits, and the sum, padded to n + 1 digits,
reversed. The vocabulary is data.addition.VOCABULARY, "0123456789+=": a token's id is its place there.

The contract (`python grade.py ex2` checks every line of it). No function changes its arguments.

  encode_problem(a, b, n_digits) -> str      encode_problem(85, 50, 2) == "85+50=531"
    ValueError where a or b is negative or has more than n_digits digits

  decode_answer(digits) -> int               decode_answer("531") == 135
    one or more of the digits 0 to 9; anything else, "" included, is a ValueError

  make_batch(a, b, n_digits) -> (x, y)       a, b: (B,) long tensors -> (B, 3n + 2) long each
    on the device of a. x is the problem without its last token; y is the next token where that is a
    digit of the answer, and -1 everywhere else

  masked_loss(logits, targets) -> scalar     (B, T, V) float, (B, T) long
    the mean cross entropy over the targets that are not -1. No gradient reaches the others; where
    every target is -1 it is 0, and can still be differentiated. Both may be slices of larger tensors

  sample_problems(count, n_digits, generator) -> (a, b)      two (count,) long tensors on the CPU
    independent draws with replacement, uniform over the ordered pairs for which
    data.addition.is_held_out(a, b, n_digits) is False. The generator (on the CPU) alone decides, and
    advances: the same seed gives the same problems. count >= 1, 1 <= n_digits <= 9

  add(model, a, b, n_digits) -> (B,) long    the model's answers, on the device of a
    greedy decoding: the most likely digit each time, for the whole batch at once, one call of the
    model per digit of the answer. In eval mode, whatever mode the model came in, so that there is no
    dropout; no gradients inside the model. Afterwards model.training is as it was, and nothing else of
    the model has changed (weights, dropout, hooks, attributes). It is causal and gives (logits, loss)

  train_adder(n_digits, *, steps, device, seed, report) -> GPT
    a gpt_core.GPT with default parts, the 12 tokens and block_size >= 3n + 2, at most 1,000,000
    parameters, trained on `device` ("cpu" or "cuda") with exactly `steps` updates, over all models and
    optimizers together, on problems that are not held out, each looked up in the model's token table
    (as model(x) does). The seed alone decides its weights, in another process too. Call
    report(step, loss), an int and a float, at least once: it feeds a progress bar. The grader asks for
    2000 steps at 3 digits, and the model must then add at least 99 % of the held-out problems. Batch
    size (up to 1024), learning rate, size and first weights are yours

A worked example. n = 2, 85 + 50 = 135, reversed 531:

      position   0   1   2   3   4   5   6   7
      x          8   5   +   5   0   =   5   3
      y         -1  -1  -1  -1  -1   5   3   1

Three digits are answered, so three targets count. The first stands under "=": that is the token from
which the model must predict the first digit.

`python exercises/ex2_addition.py` trains your model, saves it (Ctrl-C too), and shows what it can do;
with `--ask 12+34` it answers.
"""

from collections.abc import Callable

import torch

from data.addition import VOCABULARY, is_held_out  # noqa: F401
from gpt_core import GPT, GPTConfig  # noqa: F401


def encode_problem(a: int, b: int, n_digits: int) -> str:
    """The problem as text: "85+50=531" for 85, 50 and two digits."""
    raise NotImplementedError("exercise 2: write a problem as text")


def decode_answer(digits: str) -> int:
    """The number that an answer's digits mean: 135 for "531"."""
    raise NotImplementedError("exercise 2: read the digits of an answer")


def make_batch(a: torch.Tensor, b: torch.Tensor, n_digits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """a, b (B,) long -> x, y (B, 3n + 2) long: the input, and the next token where it is answered."""
    raise NotImplementedError("exercise 2: make the input and the targets of a batch")


def masked_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """logits (B, T, V), targets (B, T) long -> the mean cross entropy where targets are not -1."""
    raise NotImplementedError("exercise 2: average the loss over the answers' digits")


def sample_problems(
    count: int, n_digits: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random problems to train on -> a, b (count,) long, none of them held out."""
    raise NotImplementedError("exercise 2: draw problems to train on")


def add(model: GPT, a: torch.Tensor, b: torch.Tensor, n_digits: int) -> torch.Tensor:
    """What the model says a + b is: (B,) long, by greedy decoding."""
    raise NotImplementedError("exercise 2: let the model write its answers")


def train_adder(
    n_digits: int, *, steps: int, device: str, seed: int, report: Callable[[int, float], None]
) -> GPT:
    """A GPT that adds numbers of n digits, trained from nothing with `steps` updates."""
    raise NotImplementedError("exercise 2: train the adder")


if __name__ == "__main__":
    from gpt_core.experiments.addition import main

    main(train_adder, add)
