"""The checks of a whole model, a subclass of gpt_core.GPT: GPT's function and gradients with any of GPT's
arguments, the first loss, devices.

    globals().update(checks_of(Model("TiedGPT", ..), CHECKS))          in an exercise's checks.py
"""

import math
from dataclasses import dataclass

import numpy as np

from tests.exercises import models
from tests.exercises.asked import Looks
from tests.exercises.battery.devices import TITLE, check_devices
from tests.exercises.battery.module import Weights, expect, of_shapes
from tests.exercises.exam import CheckFailed, Reading, check, fail, look, of_readings
from tests.exercises.numbers import tolerance

LOOKS = Looks.named("tests.exercises.battery.model_looks")
# No two sizes coincide, and a product of some is no other one's.
SIZES = {"vocab_size": 13, "block_size": 9, "n_layer": 2, "n_head": 2, "n_embd": 10, "dropout": 0.0}
# Of the presets of these names, with the vocabulary of tiny Shakespeare.
PRESETS = {
    "cpu": {"block_size": 64, "n_layer": 4, "n_head": 4, "n_embd": 128, "dropout": 0.0},
    "lecture": {"block_size": 256, "n_layer": 6, "n_head": 6, "n_embd": 384, "dropout": 0.2},
}
AXES = ("sequence", "token", "character")
# Sizes, arguments of the model, B and T; the mode alternates.
CASES = (
    (SIZES, {}, 2, 9),
    (SIZES | {"vocab_size": 3, "n_embd": 8, "n_layer": 1}, {}, 3, 1),
    (SIZES | {"n_head": 5, "block_size": 40}, {}, 1, 21),
    (SIZES, {"parts": ["attention"]}, 2, 5),
    (SIZES, {"parts": ["norm", "feed_forward"]}, 2, 5),
    (SIZES, {"position_embedding": False}, 2, 5),
    (SIZES | {"dropout": 0.3}, {"train": False}, 2, 6),
)
OF_PART = {"attention": ("attention",), "norm": ("ln1", "ln2", "ln_f"), "feed_forward": ("feed_forward",)}


@dataclass(frozen=True)
class Model:
    """A model under examination: a class of the graded file that takes GPT's arguments.

    one:  names of parameters that are one and the same.
    asks: by check, the question that leads to the usual fault of such a model.
    """

    name: str
    one: tuple[str, ...]
    asks: dict[str, str]

    def weights(self, config: dict, seed: int, options: dict | None = None) -> Weights:
        """Larger than fresh ones, so that all of the model shows in its logits."""
        drawn, options = models.drawn(config, seed), options or {}
        for name in self.one:
            drawn[name] = 3 * drawn[self.one[0]] if name == self.one[0] else drawn[self.one[0]]
        left_out = [place for part in options.get("parts", ()) for place in OF_PART[part]]
        left_out += ["position_embedding"] if options.get("position_embedding") is False else []
        return {name: w for name, w in drawn.items() if not any(place in name for place in left_out)}

    def allowance(
        self, config: dict, weights: Weights, terms: int, expected: np.ndarray, roundings=8
    ) -> float:
        """The tolerance for what comes out of so many layers."""
        spread = 8.0 * config["n_layer"] * max(1.0, float(np.abs(weights[self.one[0]]).max()) ** 2)
        return tolerance("float32", terms, float(np.abs(expected).max()), spread, roundings)


def tokens(config: dict, B: int, T: int, seed: int = 0) -> np.ndarray:
    """(B, T) long, drawn from the whole vocabulary."""
    return np.random.default_rng((seed, 5)).integers(0, config["vocab_size"], size=(B, T))


def outputs(subject, unit, config, weights, idx, targets, dtype="float32", **options) -> Reading:
    """{"logits", "alone": (B, T, V), "loss": (), "gradients": of each parameter}"""
    given = {"config": config, "weights": weights, "idx": idx, "targets": targets, "dtype": dtype, **options}
    answer, shape = subject.run(LOOKS("outputs", unit=unit.name, **given)), (*idx.shape, config["vocab_size"])
    found = {key: answer.tensor(key, shape, "logits", dtype, subject.device) for key in ("logits", "alone")}
    found["loss"] = answer.tensor("loss", (), "the loss", dtype, subject.device)
    if answer.values["no loss"] != {"kind": "plain", "value": None}:
        raise CheckFailed("Without targets the loss must be None, as GPT's is.", same=("no loss",))
    return found | {"gradients": of_shapes(answer.tensors("gradients"), weights)}


def compared(exam, unit: Model):
    """(case, config, weights, tokens, expected, got) for each of CASES."""
    for seed, (config, options, B, T) in enumerate(CASES):
        options = {"train": seed % 2 == 1} | options
        weights, idx = unit.weights(config, seed, options), tokens(config, B, T, seed)
        targets = tokens(config, B, T, seed + 50)
        targets[0, 0] = -1 if targets.size > 1 else targets[0, 0]  # one that carries no loss
        given = (options, unit, config, weights, idx, targets)
        expected = exam.expected(with_options, *given, "float64")
        case = config | options
        yield case, config, weights, idx, expected, look(exam, case, with_options, *given)


def with_options(subject, options, *given) -> Reading:
    """As `outputs`."""
    return outputs(subject, *given, **options)


@check(
    "function", "with the same weights it gives GPT's logits and loss, whatever GPT is given", ("parameters",)
)
def is_a_gpts_function(exam, unit):
    for case, config, weights, _, expected, got in compared(exam, unit):
        for key in ("logits", "alone"):
            allowed = unit.allowance(config, weights, config["n_embd"], expected[key])
            message = f"It must be the same function as GPT with these weights. {unit.asks['function']}"
            expect(expected[key], got[key], allowed, case, message, AXES)
        loss, right = float(got["loss"]), float(expected["loss"])
        if not abs(loss - right) <= 1e-3 * abs(right):
            fail(case, f"The logits are right, and the loss is {loss:.5g}, not {right:.5g}.")
    config = SIZES | {"dropout": 0.3}
    weights, idx = unit.weights(config, 8), tokens(config, 2, 6, 8)
    two_calls = look(exam, config, with_options, {"train": True}, unit, config, weights, idx, idx)
    if np.allclose(two_calls["logits"], two_calls["alone"]):
        fail(config, "In train mode nothing is dropped. Does the GPT inside get your config as it is?")


@check("gradients", "the same gradients as GPT's, for every parameter", ("function",))
def has_a_gpts_gradients(exam, unit):
    for case, config, weights, idx, expected, got in compared(exam, unit):
        for name, right in expected["gradients"].items():
            if got["gradients"][name] is None:
                fail(case, f"No gradient reaches {name}. Is something detached, or computed from .data?")
            expect(
                right, got["gradients"][name], unit.allowance(config, weights, idx.size, right, 64), case,
                f"The gradient of {name} is not the one of a GPT with these weights. "
                f"{unit.asks['gradients']}",
                ("row", "column") if right.ndim == 2 else ("element",),
            )  # fmt: skip


def first_logits(subject, unit, config, idx) -> Reading:
    """{"logits": (B, T, V) of a fresh model}"""
    answer, shape = subject.run(LOOKS("first_logits", unit=unit.name, config=config, idx=idx), 3), idx.shape
    return {
        "logits": answer.tensor("logits", (*shape, config["vocab_size"]), "logits", device=subject.device)
    }


def first_loss(reading) -> float:
    """The mean cross entropy in nats of targets that are drawn from the whole vocabulary."""
    logits = reading["logits"].astype(np.float64)
    largest = logits.max(-1, keepdims=True)
    return float((np.log(np.exp(logits - largest).sum(-1)) + largest[..., 0] - logits.mean(-1)).mean())


@of_readings
def same_loss(one, other) -> bool:
    """Weights are drawn in any order, so the losses are compared."""
    return abs(first_loss(one) - first_loss(other)) < 0.02 * first_loss(other)


@check(
    "first_loss", "an untrained model predicts all characters alike: its first loss is ln(V)", ("function",)
)
def begins_without_an_opinion(exam, unit):
    for preset, sizes in PRESETS.items():
        config = {"vocab_size": 65, **sizes}
        case, idx, right = {"preset": preset, **config}, tokens(config, 6, 24), math.log(65)
        loss = first_loss(look(exam, case, first_logits, unit, config, idx, same=same_loss))
        if not abs(loss / right - 1) <= 0.05:
            fail(
                case,
                f"At the size of the preset {preset} the first loss on random tokens is {loss:.3f}. It must "
                f"be within 5 % of ln(65) = {right:.3f}. {unit.asks['first_loss']}",
            )


WAYS = {
    "itself": "The model itself",
    "deepcopy": "copy.deepcopy(model)",
    "to": "A copy after .to(torch.float64) and back",
    "load": "A new model, after a strict load_state_dict of another one's state_dict,",
}


def copies(subject, unit, weights, idx) -> Reading:
    """By way, as the look of this name; what is "changed" and "shown" are two names of one parameter."""
    names = {"changed": unit.one[-1], "shown": unit.one[0]}
    answer = subject.run(LOOKS("copies", unit=unit.name, config=SIZES, weights=weights, idx=idx, **names))
    found, shapes = {}, dict.fromkeys(("changed", "shown", "original"), weights[unit.one[0]].shape)
    for way in WAYS:
        for key, shape in (shapes | {"logits": (*idx.shape, SIZES["vocab_size"])}).items():
            found[f"{way} {key}"] = answer.tensor(f"{way} {key}", shape, key, device=subject.device)
        found[f"{way} count"] = answer.plain(f"{way} count")
    return found


@check("copies", "it stays one in a deepcopy, after .to() and after load_state_dict", ("function",))
def stays_one(exam, unit):
    weights, idx = unit.weights(SIZES, 9), tokens(SIZES, 2, 7)
    moved = weights | {name: weights[name] + np.float32(1) for name in unit.one}
    expected = exam.expected(outputs, unit, SIZES, moved, idx, idx, "float64")["logits"]
    got = look(exam, SIZES, copies, unit, weights, idx)
    for way, words in WAYS.items():
        case = SIZES | {"way": way}
        if not np.allclose(got[f"{way} changed"], moved[unit.one[-1]], atol=1e-5):
            fail(case, f"{words} does not hold the weights that it should.")
        if not np.allclose(got[f"{way} shown"], moved[unit.one[0]], atol=1e-5):
            fail(
                case,
                f"{words} has two of them: 1 was added to {unit.one[-1]}, and {unit.one[0]} did not move. Is "
                "it one Parameter object in both modules?",
            )
        count = len(weights) + 1 - len(unit.one)
        if got[f"{way} count"] != count:
            fail(case, f"{words} has {got[f'{way} count']} parameters, not {count}.")
        if way != "itself" and not np.allclose(got[f"{way} original"], weights[unit.one[0]], atol=1e-5):
            fail(case, f"{words} shares it with the original. Where is it kept: on the class?")
        message = f"{words}, with 1 added to {unit.one[0]}, gives other logits than GPT with these weights."
        allowed = unit.allowance(SIZES, moved, SIZES["n_embd"], expected)
        expect(expected, got[f"{way} logits"], allowed, case, message, AXES)


@check("devices", TITLE, ("function",))
def makes_its_tensors_on_the_device(exam, unit):
    config = SIZES | {"dropout": 0.3, "block_size": 11}
    given = {
        "weights": unit.weights(config, 4),
        "idx": tokens(config, 2, 10),
        "targets": tokens(config, 2, 10),
    }
    asked = LOOKS("outputs", unit=unit.name, config=config, train=True, **given)
    check_devices(exam, config, "The logits", "idx", asked)


CHECKS = (
    is_a_gpts_function,
    has_a_gpts_gradients,
    begins_without_an_opinion,
    stays_one,
    makes_its_tensors_on_the_device,
)
