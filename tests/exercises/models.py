"""A GPT with default parts as the judge holds it: a config, and its parameters as arrays by name."""

import numpy as np

from tests.exercises.exam import CheckFailed

FIELDS = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")
MOST_HEADS = 2000  # of all layers together


def shapes_of_default(config: dict) -> dict[str, tuple]:
    """Names and shapes of the parameters of a gpt_core.GPT with default parts."""
    V, T, C, H = (config[key] for key in ("vocab_size", "block_size", "n_embd", "n_head"))
    D = C // H
    shapes = {
        "token_embedding_table.weight": (V, C), "position_embedding_table.weight": (T, C),
        "lm_head.weight": (V, C), "lm_head.bias": (V,), "ln_f.weight": (C,), "ln_f.bias": (C,),
    }  # fmt: skip
    for layer in range(config["n_layer"]):
        block = {
            f"attention.heads.{head}.{part}.weight": (D, C)
            for head in range(H)
            for part in ("key", "query", "value")
        }
        block |= {
            "ln1.weight": (C,),
            "ln1.bias": (C,),
            "ln2.weight": (C,),
            "ln2.bias": (C,),
            "attention.proj.weight": (C, C),
            "attention.proj.bias": (C,),
            "feed_forward.net.0.weight": (4 * C, C),
            "feed_forward.net.0.bias": (4 * C,),
            "feed_forward.net.2.weight": (C, 4 * C),
            "feed_forward.net.2.bias": (C,),
        }
        shapes |= {f"blocks.{layer}.{key}": shape for key, shape in block.items()}
    return shapes


def drawn(config: dict, seed: int) -> dict[str, np.ndarray]:
    """Random float32 weights, all different: small, but around 1 for the gains of norms."""
    rng = np.random.default_rng((seed, 17))
    weights = {}
    for name, shape in shapes_of_default(config).items():
        gain = name.endswith(("ln1.weight", "ln2.weight", "ln_f.weight"))
        weights[name] = (rng.normal(size=shape) * 0.1 + gain).astype(np.float32)
    return weights


def returned_config(sizes: dict, most: int) -> dict:
    """The config of a returned model, each number from 1 to `most`; CheckFailed where no GPT can have it."""
    config = {key: sizes[key] for key in FIELDS}
    whole = all(
        isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
        for value in config.values()
    )
    if not whole or config["n_embd"] % config["n_head"] or config["n_head"] * config["n_layer"] > MOST_HEADS:
        raise CheckFailed(
            f"No GPT can be built from the config of your model: {str(config)[:200]}.", same=("config",)
        )
    return config


def check_weights(weights: dict, config: dict, most: int) -> None:
    """CheckFailed unless these are the finite weights of a default GPT with this config, at most `most`
    numbers."""
    shapes = {key: None if value is None else value.shape for key, value in weights.items()}
    if shapes != shapes_of_default(config):
        raise CheckFailed(
            "The weights of your model are not those of a gpt_core.GPT with default parts and its config.",
            same=("parts",),
        )
    if sum(value.size for value in weights.values()) > most:
        raise CheckFailed(f"Your model has more than {most:,} parameters.", same=("too large",))
    if not all(np.isfinite(value).all() for value in weights.values()):
        raise CheckFailed(
            "The trained weights are NaN or infinite: the training has diverged. Is the learning rate too "
            "high, or the gradient not clipped?",
            same=("diverged",),
        )


# The entries of a state (grader/worker/probes.py), in the words of a message.
WHAT = {
    "parameters": "weights",
    "grads": "gradients",
    "buffers": "buffers",
    "modes": "train or eval mode",
    "frozen": "requires_grad",
    "dtypes": "dtype or device",
    "objects": "parameter objects",
    "dropout": "dropout p",
    "config": "config",
    "hooks": "hooks",
    "modules": "parts",
    "attributes": "attributes",
}


# between two processes that compute the same; with another seed the difference is as large as the weights
ROUNDING = 1e-5


def far_apart(one: dict, other: dict) -> bool:
    """Whether the weights of two models, as arrays by name, differ by more than rounding."""
    same = one.keys() == other.keys() and all(
        one[key] is not None and other[key] is not None and one[key].shape == other[key].shape for key in one
    )
    return not same or max(float(np.abs(one[key] - other[key]).max(initial=0)) for key in one) > ROUNDING


def same_state(before: dict, after: dict) -> dict[str, bool]:
    """{part of the state: whether it is unchanged}, for two states of a model."""
    return {key: equal(before[key], after[key]) for key in before}


def equal(one, other) -> bool:
    """Whether two values out of an answer are the same: numbers, arrays, dicts of them."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(equal(one[k], other[k]) for k in one)
        )
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and np.array_equal(one, other)
    return one == other


def state_of(answer, key: str) -> dict:
    """The state of a model in an answer, as plain values and arrays."""

    def read(value: dict):
        if value["kind"] == "dict":
            return {key: read(item) for key, item in value["items"].items()}
        if value["kind"] in ("list", "tuple"):
            return [read(item) for item in value["items"]]
        return answer.arrays[value["sent"]] if value["kind"] == "tensor" else value.get("value")

    return read(answer.values[key])
