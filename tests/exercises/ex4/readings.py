"""How the checks look at exercise 4: angles by their numbers, a rotation by what it does to each channel, and
the attention as any attention is looked at, with queries and keys that are rotated.
"""

from dataclasses import dataclass

import numpy as np

from tests.exercises.asked import Looks
from tests.exercises.battery import attention
from tests.exercises.battery.attention import Attention, show_attention
from tests.exercises.battery.module import Size, Weights, outputs
from tests.exercises.exam import Reading, Subject

LOOKS = Looks.named("tests.exercises.ex4.looks")
BASE = 10000.0


# What is right, in numpy and float64.


def exact_angles(positions: np.ndarray, D: int, base: float = BASE) -> np.ndarray:
    """positions (T,) -> (T, D / 2): the paper's equation 34."""
    return np.asarray(positions, dtype=np.float64)[:, None] * base ** (-2.0 * np.arange(D // 2) / D)


def allowed_angle(positions: np.ndarray) -> float:
    """How far right float32 angles may lie from the exact ones: formulas differ in the last bit of theta."""
    return 6e-7 * (1.0 + float(np.abs(positions).max()))


def exactly_rotated(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (.., T, D), angles (T, D / 2) -> (.., T, D): channels 2i and 2i + 1 rotated by angle i."""
    even, odd = x[..., 0::2].astype(np.float64), x[..., 1::2].astype(np.float64)
    angles = angles.astype(np.float64)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


@dataclass(frozen=True, eq=False)
class Rotary(Attention):
    """An attention whose queries and keys are rotated by the angles of their positions."""

    def rotated(self, x: np.ndarray, back: bool = False) -> np.ndarray:
        angles = exact_angles(np.arange(x.shape[-2]), x.shape[-1])
        return exactly_rotated(x, -angles if back else angles)

    def placed(self, offset: int) -> dict:
        return {"offset": offset}

    def doubt(self, size: Size, weights: Weights, x: np.ndarray) -> float:
        """For the last bits of the angles: 0 up to a few hundred tokens, where the usual tolerance holds
        that."""
        return score_doubt(size, weights, x, size.T) if size.T > 1000 and size.D > 2 else 0.0


UNIT = Rotary(
    name="RotaryAttention",
    part="attention",
    same_as="that of exercise 1's attention with queries and keys rotated,",
    asks=attention.ASKS
    | {
        "values": "T below block_size, one head, head size 2",
        "in_gpt": "A GPT without a position table must give these logits with your attention, and alone your "
        "attention is right. Does it need anything else than config and x?",
    },
    corners=(
        Size(B=9, T=21, n_embd=48, n_head=12, block_size=22),  # more heads, tokens and sequences than ten
        Size(B=1, T=3, n_embd=256, n_head=1, block_size=4),  # heads as wide as in a real model, and wider
        Size(B=1, T=150, n_embd=4, n_head=2, block_size=200),  # more tokens than a short window sees
        Size(B=2, T=8, n_embd=32, n_head=4, block_size=8),  # T = block_size
        Size(B=2, T=5, n_embd=6, n_head=1, block_size=5),  # one head
        Size(B=2, T=5, n_embd=6, n_head=3, block_size=6),  # one pair
        Size(B=4, T=4, n_embd=16, n_head=4, block_size=4),  # B = T = H = D
        # Longer than masks, windows and tables of 1024 and of 2048 tokens.
        Size(B=1, T=2050, n_embd=8, n_head=1, block_size=2050),
    ),
    long=Size(B=1, T=310, n_embd=8, n_head=2, block_size=310, seed=11),
    gpt=(("position_embedding", False),),
    head_step=2,
)


def score_doubt(size: Size, weights: Weights, x: np.ndarray, last: int) -> float:
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
    answer, found = subject.run(LOOKS("angles", cases=cases)), {}
    for i, (positions, D, *_) in enumerate(cases):
        what = f"rope_angles(positions, {D}) of {len(positions)} positions"
        found[str(i)] = answer.tensor(str(i), (len(positions), D // 2), what, device=subject.device)
    return found


def odd_head_size(subject: Subject, head_sizes: tuple) -> Reading:
    """What rope_angles comes to for each head size."""
    answer = subject.run(LOOKS("odd_head_sizes", head_sizes=head_sizes))
    return {str(D): answer.outcome(str(D)) for D in head_sizes}


def angles_kept(subject: Subject, positions: tuple) -> Reading:
    """The positions after rope_angles has seen them."""
    answer = subject.run(LOOKS("positions_after", positions=positions, base=BASE))
    return {"positions": answer.tensor("positions", (len(positions),), "positions", "int64")}


# The rotation.


def several(subject: Subject, *cases: tuple, dtype="float32") -> Reading:
    """{"0": apply_rope(x, angles), ..} of each (x, angles), in one life."""
    answer, found = subject.run(LOOKS("rotated", cases=cases, dtype=dtype)), {}
    for i, (x, _) in enumerate(cases):
        what = "apply_rope(x, angles)" if len(cases) == 1 else f"apply_rope(x, angles) of x {x.shape}"
        found[str(i)] = answer.tensor(str(i), x.shape, what, dtype, subject.device)
    return found


def rotated(subject: Subject, x: np.ndarray, angles: np.ndarray, dtype="float32") -> Reading:
    """{"y": apply_rope(x, angles)}, of x's shape and dtype."""
    return {"y": several(subject, (x, angles), dtype=dtype)["0"]}


def in_layouts(subject: Subject, given: dict, angles: np.ndarray, dtype: str) -> Reading:
    """{layout: apply_rope of these numbers in that layout, "x LAYOUT": what x is then}, of arrays of one
    shape."""
    answer = subject.run(LOOKS("in_layouts", given=given, angles=angles, dtype=dtype))
    what, device = "apply_rope(x, angles) of an x that is no contiguous tensor", subject.device
    shapes = {key: x.shape for layout, x in given.items() for key in (layout, f"x {layout}")}
    return {key: answer.tensor(key, shape, what, dtype, device) for key, shape in shapes.items()}


def with_changed_angles(subject: Subject, x: np.ndarray, angles: np.ndarray) -> Reading:
    """{"y": apply_rope(x, angles + 1)}, after a call with angles, which are then changed in place."""
    answer = subject.run(LOOKS("with_changed_angles", x=x, angles=angles))
    return {"y": answer.tensor("y", x.shape, "apply_rope(x, angles)", device=subject.device)}


def matrix(subject: Subject, angles: np.ndarray) -> Reading:
    """{"matrix": (D, D)}: row j is what becomes of channel j alone, rotated by angles (D / 2,)."""
    basis = np.eye(2 * len(angles), dtype=np.float32)
    return {"matrix": rotated(subject, basis[None, :, None], angles[None].astype(np.float32))["y"][0, :, 0]}


def dot_products(subject: Subject, q: np.ndarray, k: np.ndarray, shifts: tuple) -> Reading:
    """{shift: (T, T)}: q . k of vectors (D,), q at the positions shift + 0, 1, .., T - 1 and k at the same,
    rotated by the subject's own angles."""
    T, D = 6, len(q)
    many = {key: np.tile(vector, (1, 1, T, 1)) for key, vector in (("q", q), ("k", k))}
    answer = subject.run(LOOKS("with_own_angles", **many, shifts=shifts))

    def vectors(key):
        found = answer.tensor(key, (1, 1, T, D), "apply_rope(x, angles)", device=subject.device)
        return found[0, 0].astype(np.float64)

    return {str(shift): vectors(f"q{shift}") @ vectors(f"k{shift}").T for shift in shifts}


def one_by_one(subject: Subject, x: np.ndarray, angles: np.ndarray) -> Reading:
    """{"whole": apply_rope(x, angles), "rows": each token alone with its row of the angles, joined}."""
    T, shape = x.shape[-2], (*x.shape[:-2], 1, x.shape[-1])
    cases = [(x, angles), *((x[..., t : t + 1, :], angles[t : t + 1]) for t in range(T))]
    answer, device = subject.run(LOOKS("rotated", cases=cases)), subject.device
    what = "apply_rope(x, angles) of one token"
    rows = [answer.tensor(str(1 + t), shape, what, device=device) for t in range(T)]
    whole = answer.tensor("0", x.shape, "apply_rope(x, angles)", device=device)
    return {"whole": whole, "rows": np.concatenate(rows, axis=-2)}


def arguments_kept(subject: Subject, x: np.ndarray, angles: np.ndarray, dtype="float32") -> Reading:
    """x and angles after apply_rope has seen them."""
    answer = subject.run(LOOKS("arguments_after", x=x, angles=angles, dtype=dtype))
    return {
        "x": answer.tensor("x", x.shape, "x", dtype, subject.device),
        "angles": answer.tensor("angles", angles.shape, "angles", device=subject.device),
    }


def rotation_gradient(subject: Subject, x: np.ndarray, angles: np.ndarray, cotangent: np.ndarray) -> Reading:
    """{"x": the gradient of sum(apply_rope(x, angles) * cotangent), or None}."""
    answer = subject.run(LOOKS("gradient", x=x, angles=angles, cotangent=cotangent))
    return {"x": answer.tensors("gradients")["x"]}


# The attention.


def odd_attention(subject: Subject, n_embd: int, n_head: int) -> Reading:
    """What building a RotaryAttention with an odd head size comes to, and else its forward."""
    size = Size(B=1, T=3, n_embd=n_embd, n_head=n_head)
    answer = subject.run(LOOKS("built_and_called", unit=UNIT.name, config=size.config(), x=size.x()))
    return {"came": answer.outcome("came")}


def same_content(size: Size, q: np.ndarray, k: np.ndarray) -> tuple[Weights, np.ndarray]:
    """Weights and x for which every token has the query q (D,) and the key k (D,) in every head, and the
    output of a head is its attention matrix: only the place of a token is left to tell it from others."""
    weights, x = show_attention(size, UNIT.weights(size)), attention.positions(size)
    x[..., size.T] = 1.0
    weights["qkv.weight"][: 2 * size.n_embd] = 0.0
    of_heads = np.concatenate([np.tile(vector, size.n_head) for vector in (q, k)])
    weights["qkv.weight"][: 2 * size.n_embd, size.T] = of_heads
    return weights, x


def at_offsets(subject: Subject, size: Size, offsets: tuple) -> Reading:
    """{offset: the output (B, T, C) with the first token there}; "none" where no offset is given, "train .."
    in train mode, without dropout."""
    x = size.x()
    answer = subject.run(
        UNIT.asked("at_offsets", size, UNIT.weights(size), looks=LOOKS, x=x, offsets=offsets)
    )
    return outputs(subject, answer, dict.fromkeys(["none", *map(str, offsets), f"train {offsets[-1]}"], x))


def after_a_cast(
    subject: Subject, size: Size, weights: Weights, x: np.ndarray, first: str, skip: int
) -> Reading:
    """The outputs, in bfloat16, of the tokens after `skip`; first: the dtype of the first call."""
    answer = subject.run(
        UNIT.asked("after_a_cast", size, weights, looks=LOOKS, x=x, first=first, dtype="bfloat16")
    )
    return {"late": outputs(subject, answer, {"y": x}, "bfloat16")["y"][:, skip:]}
