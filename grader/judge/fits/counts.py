"""Numbers that are off by a count or a factor: a loss that is averaged over something else, updates that are
too many or too few, learning rates that are scaled, decay for the wrong parameters.

Each is asked for in several cases, so that a count which is 3 in one of them is not taken for a factor of 3.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from grader.judge.fits import Fit, left_over
from grader.judge.fits.shared import differs, known, plain
from tests.exercises.exam import Numbers

# The loss.


def of_loss(numbers: Numbers) -> list[Fit]:
    """kind "loss": the loss in several cases; facts, one number for each: counted (targets that count),
    places (B * T), B, T and V."""
    if not differs(numbers) or len(numbers.got) < 3:
        return []
    found, expected, got = [], numbers.expected, numbers.got
    keys = ("counted", "places", "B", "T", "V")
    counts = {key: np.asarray(numbers.facts[key], dtype=np.float64) for key in keys}
    with np.errstate(all="ignore"):
        for id, over, ratio in _averages(**counts):
            factor = float(np.median(got / (expected * ratio)))
            if not 1e-9 < abs(factor) < 1e9:
                continue
            # The roundest factor that explains all.
            for times in (1.0, round(factor), round(2 * factor) / 2, float(f"{factor:.4g}"), factor):
                fitted = expected * ratio * times
                allowed = np.maximum(numbers.allowed, 1e-6 * np.abs(fitted))
                left = left_over([(expected, got, fitted, allowed)])
                if left is not None and times and (id or times != 1):
                    found.append(replace(_loss(id, over, times), left=left))
                    break
    return found


def _averages(counted, places, B, T, V) -> Iterator[tuple[str, str, np.ndarray]]:
    """(id, what the sum is divided by, the loss as a part of the right one)"""
    yield "", "", np.ones_like(counted)
    yield "loss_summed", "", counted
    yield "loss_over_all_positions", "all B * T positions", counted / places
    yield "loss_over_rows", "the number of problems", counted / B
    for over, ratio in (
        ("the length T", counted / T),
        ("B * T * V, the number of logits", counted / (places * V)),
        ("the number of targets that count plus 1", counted / (counted + 1)),
        ("the number of targets that are masked", counted / (places - counted)),
        ("the number of tokens in the vocabulary", counted / V),
        ("the number of targets that count, and again by B", 1 / B),
        ("the number of targets that count, twice", 1 / counted),
        ("the number of targets that count, and again by T", 1 / T),
        ("the square root of the number of targets that count", np.sqrt(counted)),
    ):
        yield "loss_over_another_count", over, ratio


def _loss(id: str, over: str, times: float) -> Fit:
    as_well = "" if times == 1 else f", and is {plain(times)} times as large"
    simpler = 1 if times == 1 else 2
    if not id:
        if abs(times * math.log(2) - 1) < 1e-4:
            return known("ex2", "loss_in_bits", "the loss is in bits")
        if abs(times + 1) < 1e-4:
            return Fit(
                "loss_negative",
                "the loss has the wrong sign",
                "Your loss is minus the cross entropy, so that training would make it worse and worse. The "
                "logarithm of a probability is negative; the loss is minus that.",
            )
        return Fit(
            "loss_scaled",
            f"the loss is {plain(times)} times the mean cross entropy",
            f"Every loss comes out {plain(times)} times as large, whatever the number of targets is. That "
            "changes the learning rate in secret, and no two runs can be compared. What is it multiplied or "
            "divided by beside the count?",
        )
    if id == "loss_summed":
        return known("ex2", id, f"the loss is summed instead of averaged{as_well}", simpler=simpler)
    name = f"the loss is divided by {over}{as_well}"
    if id == "loss_over_rows":
        return known("ex2", id, name, simpler=simpler)
    if id == "loss_over_all_positions":
        return known("ex2", id, f"the loss is averaged over all positions{as_well}", simpler=simpler)
    return Fit(
        id,
        name,
        f"You divide the sum by {over}. The mean is over the targets that are not -1: divide the sum of "
        "their losses by their number, once.",
        simpler=simpler,
    )


# Updates.

ONE_LESS = {"train_adder": "one_step_less", "finetune": "steps_one_less"}
ONE_MORE = {"train_adder": "one_step_more", "finetune": "steps_one_more"}
EXERCISE = {"train_adder": "ex2", "finetune": "ex3"}
SHARES = {2: "second", 3: "third", 4: "fourth"}


def of_updates(numbers: Numbers) -> list[Fit]:
    """kind "updates": expected and got updates of several runs; facts["ended"]: which of them were stopped
    because they made too many; facts["unit"]: the function."""
    steps, got = (np.asarray(given).astype(np.int64) for given in (numbers.expected, numbers.got))
    ended, unit = np.asarray(numbers.facts["ended"], dtype=bool), numbers.facts["unit"]
    if (got == steps).all() or (~ended).sum() < 2 or len(set(steps[~ended])) < 2:
        return []

    def explains(made):
        return (np.where(ended, made >= got, made == got)).all()

    found = []
    offset = int((got - steps)[~ended][0])  # of the longest run
    if offset and (got > 0).sum() >= 2 and explains(np.maximum(steps + offset, 0)):
        found.append(_offset(offset, unit))
    factor = round(float((got / steps)[~ended].max()))
    if factor > 1 and explains(steps * factor):
        found.append(
            Fit(
                "steps_times",
                f"{factor} updates are made for each step",
                f"With `steps` = 5 yours makes {5 * factor} updates. The budget counts updates, however many "
                "batches they take. Is optimizer.step() called more than once in the loop, or does an inner "
                "loop go over the same batch again?",
            )
        )
    for part, words in SHARES.items():
        floor = steps // part
        if not ended.any() and any(map(explains, (floor, np.maximum(floor, 1), -(-steps // part)))):
            name = f"only every {words} step makes an update"
            found.append(
                known("ex2", "every_second_step", name)
                if part == 2 and unit == "train_adder"
                else Fit(
                    "steps_divided",
                    name,
                    f"You collect the gradients of {part} batches for one update, or leave steps out, so "
                    f"that `steps` of them make a {words} of the updates. The budget counts updates.",
                )
            )
    if not ended.any() and len(set(got)) == 1:
        name = f"{int(got[0])} updates are made, whatever `steps` is"
        found.append(known(EXERCISE[unit], "steps_ignored", name))
    return found


def _offset(offset: int, unit: str) -> Fit:
    if abs(offset) == 1:
        name = f"one update too {'few' if offset < 0 else 'many'} is made"
        return known(EXERCISE[unit], (ONE_LESS if offset < 0 else ONE_MORE)[unit], name)
    much = f"{abs(offset)} updates too {'few' if offset < 0 else 'many'} are made"
    return Fit(
        "steps_missing" if offset < 0 else "steps_too_many",
        much,
        f"Whatever `steps` is, {much} in yours. The budget is exactly `steps` updates, over all phases "
        "together. Look at the bounds of your loop, and at what comes before and after it.",
    )


# Learning rates.


def of_rates(numbers: Numbers) -> list[Fit]:
    """kind "rate": the largest learning rate for each lr; facts["of"]: "finetune" or "optimizer"."""
    lr, got = (np.asarray(given, dtype=np.float64) for given in (numbers.expected, numbers.got))
    if len(lr) < 2 or not (np.isfinite(got).all() and (got > 0).all()) or np.allclose(got, lr, rtol=1e-4):
        return []
    of_training = numbers.facts["of"] == "finetune"
    if np.allclose(got, got[0], rtol=1e-5):
        name = f"the learning rate is {plain(got[0])}, whatever lr is"
        if of_training:
            return [known("ex3", "lr_not_used", name)]
        if np.isclose(got[0], 1e-3, rtol=1e-5):
            return [known("ex3", "optimizer_lr_ignored", f"{name}: AdamW's own")]
        return [
            Fit(
                "optimizer_lr_written_as_number",
                name,
                "lr is not used: a number of yours is. The rate is the caller's, and finetuning is often "
                "done at a lower one than pretraining. Pass lr=lr.",
            )
        ]
    factor = float(got[0] / lr[0])
    if not np.allclose(got, factor * lr, rtol=1e-5):
        return []
    words = plain(float(f"{factor:.4g}"))
    if of_training:
        # The largest rate of a schedule, which need not come to its peak in a few steps.
        return [known("ex3", "lr_ten_times", f"the learning rate goes above lr, up to {words} times lr")]
    return [
        Fit(
            "optimizer_lr_scaled",
            f"the learning rate is {words} times lr",
            f"The optimizer steps at {words} * lr. lr is the rate that was asked for, and every group gets "
            "it as it is. What is it multiplied or divided by?",
        )
    ]


# Decay.


def of_decay(numbers: Numbers) -> list[Fit]:
    """kind "decay": (2, N), the decay of each parameter where facts["decay"], two numbers, is asked for, the
    second one 0; facts: names, and dims, their numbers of dimensions."""
    asked, names = numbers.facts["decay"], numbers.facts["names"]
    dims, got = np.asarray(numbers.facts["dims"]), np.asarray(numbers.got, dtype=np.float64)
    if got.shape != (2, len(names)) or not np.isfinite(got).all():
        return []
    right, decays = dims >= 2, got[0] != 0
    if not decays.any():
        return [] if got[1].any() else [known("ex3", "decay_nowhere", "nothing decays")]
    value = got[0][decays]
    if not np.allclose(value, value[0], rtol=1e-5) or (got[1] != 0)[~decays].any():
        return []
    same = np.isclose(value[0], asked[0], rtol=1e-5)
    if same and not got[1].any():
        return [fit for fit in [_which(decays, right, dims, names)] if fit is not None]
    if (decays == right).all() and not same:
        return [fit for fit in [_value(float(value[0]), got[1][decays], asked[0])] if fit is not None]
    return []


def _value(value: float, where_none: np.ndarray, asked: float) -> Fit | None:
    if np.allclose(where_none, value, rtol=1e-5):
        if np.isclose(value, 0.01, rtol=1e-5):
            return known("ex3", "decay_default", "the groups have AdamW's own decay")
        return Fit(
            "decay_written_as_number",
            f"weight_decay is {plain(value)}, whatever is asked for",
            "The argument is not used: a number of yours is. Pass weight_decay on to the group of the "
            "parameters that decay.",
        )
    if where_none.any():
        return None
    return Fit(
        "decay_scaled",
        f"weight_decay is {plain(value / asked)} times what is asked for",
        "AdamW multiplies the decay with the learning rate by itself. The group gets weight_decay as it was "
        "asked for. What is it multiplied or divided by?",
    )


def _which(decays: np.ndarray, right: np.ndarray, dims: np.ndarray, names) -> Fit | None:
    """The fit for a set of parameters that decay by the right number; None for the right set too."""

    def of(condition) -> np.ndarray:
        return np.array([bool(condition(name)) for name in names])

    if (decays == right).all():
        return None
    sets = {
        "decay_everywhere": ("biases and norms decay too", np.ones_like(right)),
        "decay_swapped": ("the two groups are swapped", ~right),
        "decay_two_dimensions_only": ("only what has exactly two dimensions decays", dims == 2),
        "decay_norms": ("norms decay, since only names with bias are left out", ~of(lambda n: "bias" in n)),
        "tables_without_decay": ("embeddings do not decay", right & ~of(lambda n: "embedding" in n)),
        "positions_without_decay": (
            "the position table does not decay",
            right & ~of(lambda n: "position" in n),
        ),
    }
    for id, (name, wanted) in sets.items():
        if (decays == wanted).all():
            return known("ex3", id, name)
    for least in (1, 3):
        if (decays == (dims >= least)).all():
            return Fit(
                "decay_by_other_dimensions",
                f"what has {least} or more dimensions decays, not what has two or more",
                f"You ask for ndim >= {least}. Matrices and tables have two dimensions, biases and the gains "
                "of norms have one: decay is for ndim >= 2.",
            )
    words = {
        "only biases decay": of(lambda n: "bias" in n),
        "only what is called weight decays": of(lambda n: n.endswith("weight")),
        "only matrices that are called weight decay": right & of(lambda n: n.endswith("weight")),
        "only the blocks decay": right & of(lambda n: n.startswith("blocks.")),
        "lm_head does not decay": right & ~of(lambda n: n.startswith("lm_head")),
        "the token table does not decay": right & ~of(lambda n: n.startswith("token")),
        "the attention does not decay": right & ~of(lambda n: ".attention." in n),
        "the feed-forward parts do not decay": right & ~of(lambda n: ".feed_forward." in n),
        "norms decay too": right | of(lambda n: ".ln" in n or n.startswith("ln")),
        "biases decay too": right | of(lambda n: "bias" in n),
    }
    for name, wanted in words.items():
        if wanted.any() and (decays == wanted).all():
            return Fit(
                "decay_by_name",
                name,
                "You choose by name or by part of the model. The contract asks for the number of dimensions "
                "and nothing else: parameters of two or more decay, and all others do not.",
            )
    return None
