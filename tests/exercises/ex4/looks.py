"""How the checks look at exercise 4: angles by their numbers, a rotation by what it does to each channel, and
the attention as exercise 1's is looked at, with queries and keys that are turned.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tests.exercises.ex1 import looks
from tests.exercises.ex1.looks import Size, Weights
from tests.exercises.exam import Reading, Subject
from tests.exercises.program import Program, Ref, gpt_core, name

BASE = 10000.0


# What is right, in numpy and float64.


def exact_angles(positions: np.ndarray, D: int, base: float = BASE) -> np.ndarray:
    """positions (T,) -> (T, D / 2): the paper's equation 34."""
    return np.asarray(positions, dtype=np.float64)[:, None] * base ** (-2.0 * np.arange(D // 2) / D)


def allowed_angle(positions: np.ndarray) -> float:
    """How far right float32 angles may lie from the exact ones: formulas differ in the last bit of theta."""
    return 6e-7 * (1.0 + float(np.abs(positions).max()))


def exactly_turned(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (.., T, D), angles (T, D / 2) -> (.., T, D): channels 2i and 2i + 1 turned by angle i."""
    even, odd = x[..., 0::2].astype(np.float64), x[..., 1::2].astype(np.float64)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


@dataclass(frozen=True)
class Rotary(Size):
    """The sizes of one case for a RotaryAttention."""

    attention: ClassVar[str] = "RotaryAttention"
    per_head: ClassVar[bool] = False
    head_step: ClassVar[int] = 2
    same_as: ClassVar[str] = "that of exercise 1's attention with queries and keys turned,"

    def turned(self, x: np.ndarray, back: bool = False) -> np.ndarray:
        """Queries or keys (.., T, D) of the tokens 0, 1, .. as they meet; back: those that meet as x."""
        angles = exact_angles(np.arange(x.shape[-2]), self.D)
        return exactly_turned(x, -angles if back else angles)

    def placed(self, offset: int) -> dict:
        """The keyword arguments of a call whose first token stands at `offset`."""
        return {"offset": offset}

    def of_angles(self, weights: Weights, x: np.ndarray) -> float:
        """How far right outputs may differ, as a part of the largest, for the last bits of their angles.

        0 up to a few hundred tokens, where the usual tolerance holds that.
        """
        return score_doubt(self, weights, x, self.T) if self.T > 1000 and self.D > 2 else 0.0


def score_doubt(size: Rotary, weights: Weights, x: np.ndarray, last: int) -> float:
    """How far apart the scores of right formulas may be with tokens up to position `last`.

    A score changes by max |q| |k| / sqrt(D) per radian, at most.
    """
    q, k, _ = (m.reshape(-1, size.D) for m in np.split(x @ weights["qkv.weight"].T, 3, axis=-1))
    norms = np.linalg.norm(q, axis=1).max() * np.linalg.norm(k, axis=1).max() / np.sqrt(size.D)
    return 4 * float(norms) * allowed_angle(np.array([last]))


def random_angles(T: int, D: int, seed: int) -> np.ndarray:
    """(T, D / 2) float32 angles of all sizes, no two alike: nothing that cos or sin could hide."""
    return np.random.default_rng((seed, 21)).uniform(-3.0, 3.0, size=(T, D // 2)).astype(np.float32)


def random_x(shape: tuple, seed: int) -> np.ndarray:
    """Standard normal float32 numbers of this shape."""
    return np.random.default_rng((seed, 22)).normal(size=shape).astype(np.float32)


# Angles.


def angles(subject: Subject, *cases: tuple) -> Reading:
    """{"0": (T, D / 2) float32, ..}: rope_angles of each (positions, D) or (positions, D, base), in turn."""
    program = Program()
    for i, (positions, *rest) in enumerate(cases):
        tensor = program.tensor(np.array(positions), "int64")
        program.give(**{str(i): program.call(name("rope_angles"), tensor, *rest)})
    answer = subject.run(program)
    found = {}
    for i, (positions, D, *_) in enumerate(cases):
        what = f"rope_angles(positions, {D}) of {len(positions)} positions"
        found[str(i)] = answer.tensor(str(i), (len(positions), D // 2), what, device=subject.device)
    return found


def odd_head_size(subject: Subject, head_sizes: tuple) -> Reading:
    """What rope_angles comes to for each head size."""
    program = Program()
    positions = program.tensor(np.arange(3), "int64")
    program.give(**{str(D): program.outcome(name("rope_angles"), positions, D) for D in head_sizes})
    answer = subject.run(program)
    return {str(D): answer.outcome(str(D)) for D in head_sizes}


def angles_kept(subject: Subject, positions: tuple) -> Reading:
    """The positions after rope_angles has seen them."""
    program = Program()
    tensor = program.tensor(np.array(positions), "int64")
    program.call(name("rope_angles"), kwargs={"positions": tensor, "head_size": 8, "base": BASE})
    answer = subject.run(program.give(positions=tensor))
    return {"positions": answer.tensor("positions", (len(positions),), "positions", "int64")}


# The rotation.


def apply(program: Program, x: np.ndarray, angles: np.ndarray, dtype="float32", layout="contiguous") -> Ref:
    """apply_rope of these numbers."""
    return program.call(name("apply_rope"), program.tensor(x, dtype, layout), program.tensor(angles))


def turned(subject: Subject, x: np.ndarray, angles: np.ndarray, dtype="float32") -> Reading:
    """{"y": apply_rope(x, angles)}, of x's shape and dtype."""
    program = Program()
    answer = subject.run(program.give(y=apply(program, x, angles, dtype)))
    return {"y": answer.tensor("y", x.shape, "apply_rope(x, angles)", dtype, subject.device)}


def in_layouts(subject: Subject, given: dict, angles: np.ndarray, dtype: str) -> Reading:
    """{layout: apply_rope of these numbers in that layout, "x LAYOUT": what x is then}, of arrays of one shape."""
    program = Program()
    for layout, x in given.items():
        # The angles of an attention with a table are some of its rows.
        tensor, rows = program.tensor(x, dtype, layout), program.tensor(angles, layout="some of the tokens")
        program.give(**{layout: program.call(name("apply_rope"), tensor, rows), f"x {layout}": tensor})
    answer = subject.run(program)
    what, device = "apply_rope(x, angles) of an x that is no contiguous tensor", subject.device
    shapes = {key: x.shape for layout, x in given.items() for key in (layout, f"x {layout}")}
    return {key: answer.tensor(key, shape, what, dtype, device) for key, shape in shapes.items()}


def with_changed_angles(subject: Subject, x: np.ndarray, angles: np.ndarray) -> Reading:
    """{"y": apply_rope(x, angles + 1)}, after a call with angles, which are then changed in place."""
    program = Program()
    given, turns = program.tensor(x), program.tensor(angles)
    program.call(name("apply_rope"), given, turns)
    program.add_in_place(turns, 1.0)
    answer = subject.run(program.give(y=program.call(name("apply_rope"), given, turns)))
    return {"y": answer.tensor("y", x.shape, "apply_rope(x, angles)", device=subject.device)}


def several(subject: Subject, *cases: tuple) -> Reading:
    """{"0": apply_rope(x, angles), ..} of each (x, angles), in one life."""
    program = Program()
    program.give(**{str(i): apply(program, x, angles) for i, (x, angles) in enumerate(cases)})
    answer = subject.run(program)
    return {
        str(i): answer.tensor(str(i), x.shape, f"apply_rope(x, angles) of x {x.shape}", device=subject.device)
        for i, (x, _) in enumerate(cases)
    }


def matrix(subject: Subject, angles: np.ndarray) -> Reading:
    """{"matrix": (D, D)}: row j is what becomes of channel j alone, turned by angles (D / 2,)."""
    basis = np.eye(2 * len(angles), dtype=np.float32)
    return {"matrix": turned(subject, basis[None, :, None], angles[None].astype(np.float32))["y"][0, :, 0]}


def dot_products(subject: Subject, q: np.ndarray, k: np.ndarray, shifts: tuple) -> Reading:
    """{shift: (T, T)}: q . k of vectors (D,), q at the positions shift + 0, 1, .., T - 1 and k at the same,
    turned with the subject's own angles."""
    program, T, D = Program(), 6, len(q)
    for shift in shifts:
        positions = program.tensor(np.arange(T) + shift, "int64")
        own = program.call(name("rope_angles"), positions, D)
        for key, vector in (("q", q), ("k", k)):
            many = program.tensor(np.tile(vector, (1, 1, T, 1)))
            program.give(**{f"{key}{shift}": program.call(name("apply_rope"), many, own)})
    answer = subject.run(program)

    def vectors(key):
        found = answer.tensor(key, (1, 1, T, D), "apply_rope(x, angles)", device=subject.device)
        return found[0, 0].astype(np.float64)

    return {str(shift): vectors(f"q{shift}") @ vectors(f"k{shift}").T for shift in shifts}


def one_by_one(subject: Subject, x: np.ndarray, angles: np.ndarray) -> Reading:
    """{"whole": apply_rope(x, angles), "rows": each token alone with its row of the angles, joined}."""
    program = Program()
    program.give(whole=apply(program, x, angles))
    T, shape = x.shape[-2], (*x.shape[:-2], 1, x.shape[-1])
    for t in range(T):
        program.give(**{f"row{t}": apply(program, x[..., t : t + 1, :], angles[t : t + 1])})
    answer = subject.run(program)
    what = "apply_rope(x, angles) of one token"
    rows = [answer.tensor(f"row{t}", shape, what, device=subject.device) for t in range(T)]
    whole = answer.tensor("whole", x.shape, "apply_rope(x, angles)", device=subject.device)
    return {"whole": whole, "rows": np.concatenate(rows, axis=-2)}


def arguments_kept(subject: Subject, x: np.ndarray, angles: np.ndarray, dtype="float32") -> Reading:
    """x and angles after apply_rope has seen them."""
    program = Program()
    given, turns = program.tensor(x, dtype), program.tensor(angles)
    program.call(name("apply_rope"), kwargs={"x": given, "angles": turns})
    answer = subject.run(program.give(x=given, angles=turns))
    return {
        "x": answer.tensor("x", x.shape, "x", dtype, subject.device),
        "angles": answer.tensor("angles", angles.shape, "angles", device=subject.device),
    }


def rotation_gradient(subject: Subject, x: np.ndarray, angles: np.ndarray, cotangent: np.ndarray) -> Reading:
    """{"x": the gradient of sum(apply_rope(x, angles) * cotangent), or None}."""
    program = Program()
    given = program.tensor(x, requires_grad=True)
    y = program.call(name("apply_rope"), given, program.tensor(angles))
    answer = subject.run(program.give(gradients=program.gradients(y, cotangent, x=given)))
    return {"x": answer.tensors("gradients")["x"]}


# The attention.


def odd_attention(subject: Subject, n_embd: int, n_head: int) -> Reading:
    """What building a RotaryAttention with an odd head size comes to, and else its forward."""
    size = Rotary(B=1, T=3, n_embd=n_embd, n_head=n_head)
    program = Program()
    answer = subject.run(program.give(built=program.outcome(name(size.attention), size.config(program))))
    came = answer.outcome("built")
    if came.startswith("returns"):
        program = Program()
        attention = program.build(name(size.attention), size.config(program))
        x = program.tensor(looks.random_input(size))
        came = subject.run(program.give(called=program.outcome(attention, x))).outcome("called")
    return {"came": came}


def same_content(size: Rotary, q: np.ndarray, k: np.ndarray) -> tuple[Weights, np.ndarray]:
    """Weights and x for which every token has the query q (D,) and the key k (D,) in every head, and the
    output of a head is its attention matrix: only the place of a token is left to tell it from others."""
    weights, x = looks.show_attention(size, looks.random_weights(size)), looks.positions(size)
    x[..., size.T] = 1.0
    weights["qkv.weight"][: 2 * size.n_embd] = 0.0
    of_heads = np.concatenate([np.tile(vector, size.n_head) for vector in (q, k)])
    weights["qkv.weight"][: 2 * size.n_embd, size.T] = of_heads
    return weights, x


def at_offsets(subject: Subject, size: Rotary, offsets: tuple) -> Reading:
    """{offset: the output (B, T, C) with the first token there}; "none" where no offset is given, "train .."
    in train mode, without dropout."""
    program = Program()
    attention = looks.build(program, subject, size, looks.random_weights(size))
    x = program.tensor(looks.random_input(size))
    program.give(none=program.call(attention, x), **{str(offsets[1]): program.call(attention, x, offsets[1])})
    for offset in (offsets[0], *offsets[2:]):
        program.give(**{str(offset): program.call(attention, x, kwargs={"offset": offset})})
    program.train(attention, True)
    program.give(**{f"train {offsets[-1]}": program.call(attention, x, kwargs={"offset": offsets[-1]})})
    answer = subject.run(program)
    shape = (size.B, size.T, size.n_embd)
    keys = ("none", *map(str, offsets), f"train {offsets[-1]}")
    return {key: answer.tensor(key, shape, "the output", device=subject.device) for key in keys}


def gpt_logits(subject: Subject, idx: np.ndarray, n_head: int) -> Reading:
    """{"logits": (B, T, V)} of a GPT with this attention and no position table; the weights are fixed."""
    program = Program()
    config = program.config(vocab_size=11, block_size=8, n_layer=2, n_head=n_head, n_embd=12, dropout=0.2)
    parts = {"attention": name(Rotary.attention), "position_embedding": False}
    model = program.build(gpt_core("GPT"), config, kwargs=parts, parameters=gpt_weights(12))
    output = program.call(model, program.tensor(idx, "int64"))
    answer = subject.run(program.give(logits=program.item(output, 0, 2)))
    shape = (*idx.shape, 11)
    return {"logits": answer.tensor("logits", shape, "the logits of GPT", device=subject.device)}


def gpt_weights(C: int) -> Weights:
    """All weights but the norms', much larger than fresh ones, so that where a token stands shows in the
    logits; norms start as ones and zeros everywhere."""
    rng = np.random.default_rng(31)
    shapes = {"token_embedding_table.weight": (11, C), "lm_head.weight": (11, C), "lm_head.bias": (11,)}
    for layer in range(2):
        block = f"blocks.{layer}."
        shapes |= {
            f"{block}attention.qkv.weight": (3 * C, C), f"{block}attention.proj.weight": (C, C),
            f"{block}attention.proj.bias": (C,), f"{block}feed_forward.net.0.weight": (4 * C, C),
            f"{block}feed_forward.net.0.bias": (4 * C,), f"{block}feed_forward.net.2.weight": (C, 4 * C),
            f"{block}feed_forward.net.2.bias": (C,),
        }  # fmt: skip
    return {
        key: (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32) for key, shape in shapes.items()
    }
