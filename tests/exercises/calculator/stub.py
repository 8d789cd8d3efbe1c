"""The calculator: a GPT that does + - * / with a scratchpad.

Exercise 2's model adds. The lecture asks for more: "build a calculator clone in GPT, for all of + - * /",
and warns that it is not an easy problem. A product of two digits by two cannot be read off the digits one
after the other: each of its digits depends on nearly all of the problem. What helps a person helps a GPT:
write the steps down (Nye et al. 2021, arXiv 2112.00114, call it a scratchpad; a chain of thought is the same
idea). Each token is then easy, given those before it.

The vocabulary is data.arithmetic.VOCABULARY, "0123456789+-*/=,;": a token's id is its place there. The sizes:
+ and - take 0 to 999, * takes 0 to 99, / takes 0 to 9999 by 1 to 99.

The contract (`python grade.py calculator` checks every line of it). No function changes its arguments.

  encode(a, op, b) -> (prompt, answer)       operands with zeros in front; the answer ends with ";"
    ("085+050=", "5310;")                    the sum reversed, 4 digits
    ("394-864=", "-074;")                    the sign, "+" for 0; the difference without it reversed, 3 digits
    ("34*57=", "832+0071=8391;")             34 * 7 reversed, 3 digits; 34 * 50 reversed, 4 digits; their sum
                                             reversed, 4 digits
    ("6007/83=", "0*000-60,0*000-06,7*185-91,2*661-13,0072;")
                                             for each digit of a, the first one first: the quotient's digit,
                                             "*", that digit times b reversed, 3 digits, "-", what remains
                                             reversed, 2 digits; then the quotient, 4 digits, first one first
    ValueError for an unknown operator, an operand out of its range, a division by 0

  decode(op, answer) -> int, for "/" (quotient, remainder)    decode("*", "832+0071=8391;") == 1938
    the number that the answer ends in; for "/" the quotient from the end and the last remainder. Only the
    form is looked at (digits 0 to 9, as many as above, every mark in its place, one ";" at the end): the
    steps may be wrong, and "-000;" is 0. ValueError for any other form, and for an unknown operator

  make_batch(problems) -> (x, y)             a list of (a, op, b) -> (B, 48) long each, on the CPU
    the longest form has 49 tokens. x is prompt and answer, cut after 48 tokens, filled up with ";". y is the
    next token where that belongs to the answer, the ";" that ends it included, and -1 everywhere else

  sample_problems(count, generator) -> list of (a, op, b)     count >= 1
    independent draws with replacement: each operator with probability 1/4, the operands uniform over the
    pairs of its range for which data.arithmetic.is_held_out(a, op, b) is False. The generator (on the CPU)
    alone decides, and advances

  calculate(model, text) -> str              "12*34" -> "408", "5 - 9" -> "-4", "84/2" -> "42 r 0"
    greedy decoding, the most likely of all tokens each time, up to ";" or the length of the operator's
    answer; on the device of the model's parameters, with at most 48 tokens. In eval mode, without gradients;
    afterwards model.training is as it was, and nothing else of the model has changed. Spaces around the
    operator and at the ends are taken, zeros in front too. ValueError with a sentence for a text that is no
    problem of these sizes (a sign, a second operator, an operand that is too large ..). "?" where the model
    wrote what is no answer

  train_calculator(*, steps, device, seed, report) -> GPT
    a gpt_core.GPT with default parts, the 17 tokens, block_size >= 48, at most 2,000,000 parameters, trained
    on `device` with exactly `steps` updates, over all models and optimizers together, on problems that are
    not held out (which operators, and how often, is up to you). The seed alone decides its weights, in
    another process too. Call report(step, loss), an int and a float, at least once. The grader asks for
    5000 steps, draws held-out problems, decodes them itself, and wants at least 99 % of the answers right
    for each operator. That takes many minutes: `--quick` leaves it out

A worked example. 6007 / 83, as on paper: 6 is less than 83, so 0 * 83 = 000 and 06 remains. Next digit: 60,
again 0, 60 remains. Next: 600; 7 * 83 = 581, 19 remains. Next: 197; 2 * 83 = 166, 31 remains. So the
quotient is 0072 and the remainder 31. Products and remainders are written with their last digit first.

The question: what does the scratchpad do? `python exercises/more/calculator.py` trains your model, saves it
(Ctrl-C too), measures each operator, and takes problems; with `--ask "34*57"` it answers one, and shows the
steps.
"""

from collections.abc import Callable

import torch

from data.arithmetic import VOCABULARY, is_held_out  # noqa: F401
from gpt_core import GPT, GPTConfig  # noqa: F401


def encode(a: int, op: str, b: int) -> tuple[str, str]:
    """(prompt, answer) of a problem: ("34*57=", "832+0071=8391;")."""
    raise NotImplementedError("exercise calculator: write a problem and the steps of its answer")


def decode(op: str, answer: str) -> int | tuple[int, int]:
    """The number that an answer ends in; for "/" the quotient and the remainder."""
    raise NotImplementedError("exercise calculator: read an answer")


def make_batch(problems: list[tuple[int, str, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """B problems -> x, y (B, 48) long: the input, and the next token where it is answered."""
    raise NotImplementedError("exercise calculator: make the input and the targets of a batch")


def sample_problems(count: int, generator: torch.Generator) -> list[tuple[int, str, int]]:
    """Problems to train on, [(a, op, b), ..], none of them held out."""
    raise NotImplementedError("exercise calculator: draw problems to train on")


def calculate(model: GPT, text: str) -> str:
    """What the model says a problem such as "12*34" is."""
    raise NotImplementedError("exercise calculator: let the model write its answer")


def train_calculator(*, steps: int, device: str, seed: int, report: Callable[[int, float], None]) -> GPT:
    """A GPT that calculates, trained from nothing with `steps` updates."""
    raise NotImplementedError("exercise calculator: train the model")


if __name__ == "__main__":
    from gpt_core.experiments.calculator import main

    main(train_calculator, calculate, encode, decode)
