"""The training run of exercise 2: trained in the attempt's worker, measured in the reference's.

What comes back from the attempt is a config and weights. They are checked here before anything is built
from them; a GPT with default parts then decodes problems that the attempt has never seen.
"""

import time
from dataclasses import dataclass, field

import numpy as np

from tests.exercises import models, updates
from tests.exercises.ex2 import readings
from tests.exercises.exam import CheckFailed, Subject, more_patience
from tests.exercises.program import Program, addition, gpt_core

STEPS, WANTED = 2000, 0.99  # the budget, and the share of held-out problems that must be right
SECONDS = 600.0  # generous: the reference needs half a minute
SAMPLED = 64  # rows of each training batch that are kept, to see what it was trained on
DECODED = 1000  # problems per request to the reference


class Progress:
    """What a training run says on its way; its numbers come from the attempt and are only shown."""

    def __init__(self, steps: int, note):
        self.steps, self.note = steps, note
        self.began, self.step, self.last = time.monotonic(), 0, 0.0

    def __call__(self, said) -> None:
        step, loss = (said.get(key) for key in ("step", "loss")) if isinstance(said, dict) else (None, None)
        if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= 10 * self.steps:
            return
        self.step, self.last = max(self.step, step), self.seconds
        words = f", loss {loss:.4f}" if isinstance(loss, float) else ""
        self.note(f"training, step {self.step} of {self.steps}{words}, {self.last:.0f} s")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def too_slow(self) -> str:
        """The message for a run that missed its deadline."""
        rate = self.step / self.last if self.last else 0.0
        needed = f"at {rate:.2g} steps/s all of them would take {self.steps / rate / 60:.0f} minutes" if rate else "not one was seen"
        return (
            f"Too slow, which does not mean wrong: {self.step} of {self.steps} steps were done in {self.seconds:.0f} s; {needed}. "
            f"A smaller model (two layers of 64 channels are enough) or batch is faster; {more_patience()} gives "
            f"three times as long."
        )


@dataclass
class Trained:
    """A trained model as it came: the config's fields, the weights by name, the problems that it met."""

    config: dict
    weights: dict[str, np.ndarray]
    problems: tuple[np.ndarray, np.ndarray]


def trained(subject: Subject, n: int, steps: int, seed: int, most: int, seconds: float, progress: Progress) -> Trained:
    """Train in the subject's worker; CheckFailed where what comes back is not the model asked for."""
    program = Program()
    program.seconds, program.progress = seconds, progress
    run = readings.observe_training(program, n, steps=steps, seed=seed, shake=seed, sampled=SAMPLED)
    model = run.attr("model")
    updates.asked(program, run).give(
        sizes=program.sizes(model), weights=program.weights(model, most), rows=run.attr("rows"), longest=run.attr("longest")
    )
    answer = subject.run(program)
    # A run may end early only where it is long.
    if message := updates.complaint(steps, updates.read(answer)):
        raise CheckFailed(message)
    sizes = answer.plain("sizes")
    config = models.returned_config(sizes, most)
    if config["vocab_size"] != len(readings.VOCABULARY) or config["block_size"] < 3 * n + 2:
        raise CheckFailed(
            f"The model must have {len(readings.VOCABULARY)} tokens and a block_size of at least {3 * n + 2}; its config is "
            f"{str(config)[:200]}."
        )
    weights = answer.tensors("weights")
    models.check_weights(weights, config, most)
    # Positions past the longest problem are never looked up.
    config["block_size"] = 3 * n + 2
    key = "position_embedding_table.weight"
    weights[key] = weights[key][: 3 * n + 2]
    return Trained(config, weights, readings.read_problems(answer, n))


@dataclass
class Result:
    """How a model did: right (N,) bool, its digits (N, n + 1), and the problems."""

    a: np.ndarray
    b: np.ndarray
    digits: np.ndarray
    expected: np.ndarray
    chain: np.ndarray
    right: np.ndarray = field(init=False)

    def __post_init__(self):
        self.right = (self.digits == self.expected).all(axis=1)

    @property
    def exact(self) -> float:
        return float(self.right.mean())

    def by_chain(self) -> dict[int, tuple[float, int]]:
        """Longest run of carries to (share right, how many problems)."""
        return {
            int(length): (float(self.right[self.chain == length].mean()), int((self.chain == length).sum()))
            for length in np.unique(self.chain)
        }


def chains(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """The longest run of neighbouring columns with a carry."""
    carry, run, longest = (np.zeros_like(a) for _ in range(3))
    for place in range(n):
        carry = (a // 10**place % 10 + b // 10**place % 10 + carry) // 10
        run = (run + 1) * carry
        longest = np.maximum(longest, run)
    return longest


def solved(reference: Subject, model: Trained, a: np.ndarray, b: np.ndarray, n: int) -> Result:
    """What the model makes of these problems, decoded greedily in the reference's worker."""
    rows = readings.tokens(a, b, n)
    found = []
    for first in range(0, len(rows), DECODED):
        program = Program()
        built = program.build(
            gpt_core("GPT"), program.config(**model.config, dropout=0.0), parameters=model.weights
        )
        prompts = program.tensor(rows[first : first + DECODED, : 2 * n + 2], "int64")
        answer = reference.run(program.give(digits=program.generate(built, prompts, n + 1)))
        size = min(DECODED, len(rows) - first)
        found.append(answer.tensor("digits", (size, n + 1), "the decoded digits", "int64"))
    return Result(a, b, np.concatenate(found), rows[:, 2 * n + 2 :], chains(a, b, n))


def measured(reference: Subject, model: Trained, n: int, count: int, seed: int) -> Result:
    """The model on `count` held-out problems drawn from a seed that no attempt is given."""
    program = Program()
    pair = program.call(addition("sample_held_out"), count, n, program.generator(seed))
    answer = reference.run(program.give(a=program.item(pair, 0, 2), b=program.item(pair, 1, 2)))
    a, b = (answer.tensor(key, (count,), "held-out problems", "int64") for key in ("a", "b"))
    return solved(reference, model, a, b, n)


def measured_on(reference: Subject, model: Trained, n: int, most: int = 1000) -> tuple[float, int, int]:
    """On problems that it trained on: the share right, how many were seen, how many of these different."""
    a, b = model.problems
    pairs = np.unique(a * 10**n + b)
    some = pairs[np.linspace(0, len(pairs) - 1, min(most, len(pairs))).astype(int)]
    return solved(reference, model, some // 10**n, some % 10**n, n).exact, len(a), len(pairs)


def diagnosis(result: Result, seen, model: Trained, n: int, wanted: float) -> tuple[str, list[str]]:
    """Why a model does not add, as far as its answers tell: a message, and the numbers."""
    chain = result.by_chain()
    places = (result.digits == result.expected).mean(axis=0)
    names = ["units", "tens", "hundreds", "thousands"] + [f"10^{k}" for k in range(4, n + 1)]
    lines = ["right by digit: " + ", ".join(f"{name} {share:.0%}" for name, share in zip(names, places))]
    lines.append("right by carries in a row: " + ", ".join(f"{k}: {share:.0%} (of {count})" for k, (share, count) in chain.items()))
    row = int((~result.right).argmax())
    lines.append(
        f"for example {int(result.a[row])} + {int(result.b[row])} must be written {_text(result.expected[row])}, and it writes "
        f"{_text(result.digits[row])}"
    )
    head = f"It must solve at least {wanted:.0%} of held-out problems, and solves {result.exact:.1%}."
    if seen is not None:
        lines.append(f"of the problems that it trained on: {seen[0]:.1%} right ({seen[2]:,} different among {seen[1]:,} looked at)")
        if seen[2] < 0.25 * seen[1] and seen[0] > result.exact + 0.1:
            return (
                f"{head} It knows by heart what it trained on: {seen[0]:.1%} of these are right, and there were only about "
                f"{seen[2]:,} different ones. Are new problems drawn in every step?"
            ), lines
    none, carried = chain.get(0, (0.0, 0))[0], [share for k, (share, _) in chain.items() if k > 0]
    without = _columns_without_carry(result, n)
    if without > 0.8:
        return f"{head} It adds each column by itself, without carries: {without:.0%} of its answers are that. Does the attention see both the digits and what came before?", lines
    top = result.right[result.expected[:, -1] == 0]
    rest = result.right[result.expected[:, -1] == 1]
    if len(top) and len(rest) and top.mean() > 0.9 and rest.mean() < 0.1:
        return f"{head} Sums below {10**n} are right and larger ones wrong: the last carry is missing. Is the answer n + 1 digits long in training?", lines
    reversed_ = (result.digits[:, ::-1] == result.expected).all(axis=1).mean()
    if reversed_ > 0.5 and reversed_ > result.exact:
        return f"{head} {reversed_:.0%} of its answers are right when read the other way round: it was trained on sums with the first digit first.", lines
    if places.mean() < 0.35 and result.exact < 0.02:
        return f"{head} That is no better than an untrained model. Does the loss fall, and is the model that you return the one that learned?", lines
    if none > 0.9 and carried and min(carried) < 0.5:
        return f"{head} Without a carry it is right, and the longer carries run, the worse it gets: it has not learned them yet. Does the learning rate fall too early?", lines
    return (
        f"{head} It has begun to learn. Does the loss still fall at the end? A learning rate of about 3e-3 that falls late, first weights "
        f"larger than 0.02, and a loss on the answer's digits alone make it fast.", lines
    )  # fmt: skip


def _columns_without_carry(result: Result, n: int) -> float:
    """How many answers to problems with a carry are the sums of the columns, modulo 10."""
    carrying = result.chain > 0
    columns = np.zeros_like(result.digits)
    for place in range(n):
        columns[:, place] = (result.a // 10**place % 10 + result.b // 10**place % 10) % 10
    return float((result.digits == columns)[carrying][:, :n].all(axis=1).mean()) if carrying.any() else 0.0


def _text(digits: np.ndarray) -> str:
    return "".join(readings.VOCABULARY[int(d)] if 0 <= d < 12 else "?" for d in digits)
