"""The catalogue of known mistakes of exercise 4: each a patch on solutions/ex4_rope.py. What can go wrong in
an attention without positions stands in exercise 1's catalogue, and is looked for here too.
"""

from tests.exercises import Mistake
from tests.exercises.ex1.mistakes import _SCALE
from tests.exercises.ex1.mistakes import MISTAKES as OF_ATTENTION

# Lines of the solution that several mistakes change.
_REFUSED = (
    "    if head_size % 2:\n"
    '        raise ValueError(f"head_size is {head_size}; channels are rotated in pairs, so it must be '
    'even.")\n'
)
_REFUSED_BY_CLASS = "        if config.head_size % 2:\n            raise ValueError("
_CHANNELS = "torch.arange(0, head_size, 2, dtype=torch.float32, device=positions.device)"
_FREQUENCIES = "base ** (-channels / head_size)"
_ANGLES = "return positions.float()[:, None] * frequencies"
_POINTS = "torch.complex(wide[..., 0::2], wide[..., 1::2])"
_ROTATION = "torch.complex(angles.cos(), angles.sin())"
_ROTATED = f"points * {_ROTATION}"
_JOINED = "torch.view_as_real(rotated).flatten(-2).to(x.dtype)"
_POSITIONS = "torch.arange(offset, offset + T, device=x.device)"
_MADE = "rope_angles(positions, C // self.n_head)"
_MADE_AT_0 = "rope_angles(torch.arange(T, device=x.device), C // self.n_head)"
_BOTH = "q, k = apply_rope(q, angles), apply_rope(k, angles)"
_BUFFER = 'self.register_buffer("future", torch.triu(ones, diagonal=1), persistent=False)'


def _in_reals(first: str, second: str) -> tuple[str, str]:
    """A patch: the rotated pair written out, from a and b with cos and sin."""
    parts = f"{first}, {second}".replace("a", "points.real").replace("b", "points.imag")
    return (_ROTATED, f"torch.complex({parts.replace('cos', 'angles.cos()').replace('sin', 'angles.sin()')})")


_OWN = (
    # The angles.
    Mistake(
        "exponent_halved",
        "the exponent is -i / D instead of -2i / D",
        "You count pairs where the formula counts channels: the exponent of pair i is -2i / D, so that it "
        "runs over all of 0 to -1. With -i / D the slowest pair rotates sqrt(base) times too fast. Look at "
        "the arange behind theta.",
        ((_CHANNELS, "torch.arange(head_size // 2, dtype=torch.float32, device=positions.device)"),),
    ),
    Mistake(
        "exponent_positive",
        "the exponent has lost its minus",
        "theta_i = base ** (2i / D) grows: the last pair rotates by thousands of radians per token, which is "
        "noise. The exponent is negative, or base ** (2i / D) is divided by.",
        ((_FREQUENCIES, "base ** (channels / head_size)"),),
    ),
    Mistake(
        "exponent_to_the_end",
        "the exponents run from 0 to -1, with both ends",
        "You space the exponents evenly from 0 to -1 with the end included (linspace does so, and so does a "
        "division by D / 2 - 1). The paper's last exponent is -(D - 2) / D, one step short of -1.",
        ((_FREQUENCIES, "base ** -torch.linspace(0, 1, len(channels), device=positions.device)"),),
    ),
    Mistake(
        "exponent_from_one",
        "the pairs are counted from 1",
        "The paper numbers pairs from 1 and writes 2(i - 1) / d for it; with i from 0 the exponent is -2i / "
        "D, so that pair 0 rotates by exactly one radian per token. Yours starts one pair later.",
        ((_CHANNELS, "torch.arange(2, head_size + 2, 2, dtype=torch.float32, device=positions.device)"),),
    ),
    Mistake(
        "base_500000",
        "the default base is 500,000",
        "That is the base of some later models for long texts; the contract, as the paper, takes 10,000 "
        "where none is given.",
        (("base: float = 10000.0", "base: float = 500000.0"),),
    ),
    Mistake(
        "base_1000",
        "the default base is 1,000",
        "The contract, as the paper, takes 10,000 where no base is given. Is a zero missing?",
        (("base: float = 10000.0", "base: float = 1000.0"),),
    ),
    Mistake(
        "base_ignored",
        "the base is 10,000 whatever is asked for",
        "The argument `base` is never used, so that no other base can be tried. Put it where 10000 stands.",
        ((_FREQUENCIES, "10000.0 ** (-channels / head_size)"),),
    ),
    Mistake(
        "base_is_e",
        "the base is e",
        "torch.exp(-2i / D) is e ** (-2i / D). For another base multiply the exponent by its logarithm: "
        "exp(-2i / D * log(base)).",
        ((_FREQUENCIES, "torch.exp(-channels / head_size)"),),
    ),
    Mistake(
        "frequencies_reversed",
        "the frequencies are in reverse order",
        "Your first pair is the slowest and your last the fastest. It is as good a model, and it cannot use "
        "weights that were trained with the paper's order. Is the exponent counted from the wrong end?",
        ((_FREQUENCIES, f"({_FREQUENCIES}).flip(0)"),),
    ),
    Mistake(
        "one_frequency",
        "all pairs rotate equally fast",
        "Every theta is 1: positions that differ by 44 (7 full circles) then look nearly the same. Is "
        "there an integer division in the exponent, which gives 0 for all pairs?",
        ((_FREQUENCIES, "base ** -(channels // head_size)"),),
    ),
    Mistake(
        "angles_negative",
        "the angles are negative",
        "Your pairs rotate in the other direction. The angle of pair i at position m is + m * theta_i; the "
        "only minus is in the exponent.",
        ((_ANGLES, "return -positions.float()[:, None] * frequencies"),),
    ),
    Mistake(
        "positions_from_one",
        "positions are counted from 1",
        "You add 1 to the positions. No dot product changes, since both sides move; the contract's "
        "position 0 has the angle 0, and a cache that counts from 0 would be one off.",
        ((_ANGLES, "return (positions.float() + 1)[:, None] * frequencies"),),
    ),
    Mistake(
        "positions_not_read",
        "only the number of positions is used, not their values",
        "You count 0, 1, 2, .. for as many positions as there are. A token from a cache stands at position "
        "57 and is alone: use the values that you are given.",
        ((_ANGLES, "return torch.arange(len(positions), device=positions.device)[:, None] * frequencies"),),
    ),
    Mistake(
        "positions_normalised",
        "positions are divided by the length",
        "Your angles depend on how many tokens there are, so a distance of one token means another angle in "
        "a longer text. What RoPE gives is that a distance is the same everywhere.",
        ((_ANGLES, "return (positions.float() / len(positions))[:, None] * frequencies"),),
    ),
    Mistake(
        "positions_in_bfloat16",
        "positions are bfloat16",
        "bfloat16 has 8 significant bits: it cannot count beyond 256, so that neighbours share an angle. "
        "Multiply positions and theta in float32.",
        ((_ANGLES, "return positions.bfloat16().float()[:, None] * frequencies"),),
    ),
    Mistake(
        "angles_in_float16",
        "the angles are computed in float16",
        "float16 keeps 11 bits and ends at 65504: far positions are rounded, and the last ones infinite. "
        "Compute in float32.",
        ((_ANGLES, "return (positions.half()[:, None] * frequencies.half()).float()"),),
    ),
    Mistake(
        "angles_in_bfloat16",
        "the angles are rounded to bfloat16",
        "With 8 significant bits the angle of position 300 is off by up to a radian. Keep angles in "
        "float32; it is the result of the rotation that may be rounded.",
        ((_ANGLES, "return (positions.float()[:, None] * frequencies).bfloat16().float()"),),
    ),
    Mistake(
        "angles_in_float64",
        "the angles are float64",
        "float64 comes in with a Python or NumPy computation, or with .double(). Computing in it is fine; "
        "the contract returns float32, so that a model does not silently change its dtype.",
        ((_ANGLES, "return positions.double()[:, None] * frequencies"),),
    ),
    Mistake(
        "angles_in_degrees",
        "the angles are in degrees",
        "cos and sin take radians. In the formula m * theta_i is in radians already; nothing is to be "
        "converted.",
        ((_ANGLES, "return torch.rad2deg(positions.float()[:, None] * frequencies)"),),
    ),
    Mistake(
        "angles_wrapped",
        "the angles are taken modulo 2 pi",
        "The rotation is the same, and the contract asks for the angles themselves, m * theta_i: adding "
        "full circles changes neither cos nor sin.",
        ((_ANGLES, "return (positions.float()[:, None] * frequencies) % 6.283185307179586"),),
    ),
    Mistake(
        "angles_per_channel",
        "there is an angle for each channel instead of each pair",
        "Your table is (T, D), each angle in it twice. Two channels share an angle: the contract's table "
        "is (T, D / 2), and repeating cos and sin is up to apply_rope.",
        ((_ANGLES, "return (positions.float()[:, None] * frequencies).repeat_interleave(2, dim=-1)"),),
    ),
    Mistake(
        "angles_transposed",
        "the table of angles is (D / 2, T)",
        "Positions are rows and pairs are columns: (T, D / 2). Which of the two gets its new dimension "
        "behind it?",
        ((_ANGLES, "return frequencies[:, None] * positions.float()"),),
    ),
    Mistake(
        "angles_are_complex",
        "the angles are complex numbers already",
        "You return exp(i angle), which apply_rope then only multiplies by. The contract's angles are real, "
        "in radians, so that any two implementations of the two functions fit together; take polar(1, "
        "angles) inside apply_rope.",
        (
            (
                _ANGLES,
                "angles = positions.float()[:, None] * frequencies\n"
                "    return torch.polar(torch.ones_like(angles), angles)",
            ),
            (_ROTATED, "points * angles"),
        ),
    ),
    Mistake(
        "angles_kept_by_length",
        "the angles are cached by the number of positions",
        "Angles that were made once are used again whenever there are as many positions, wherever those "
        "are. Cache by what decides them (positions, head size, base), or make them anew: they cost little.",
        (
            (
                _ANGLES,
                "kept = rope_angles.__dict__.setdefault('kept', {})\n    return "
                "kept.setdefault((len(positions), head_size, base), positions[:, None] * frequencies)",
            ),
        ),
        keeps=True,
    ),
    Mistake(
        "positions_changed",
        "rope_angles writes into the positions",
        "An operation in place changes the caller's positions, which it may use for the next layer. Look "
        "for names that end in _, and for +=.",
        ((_ANGLES, "angles = positions[:, None] * frequencies\n    positions += 1\n    return angles"),),
    ),
    Mistake(
        "odd_head_size_accepted",
        "rope_angles takes an odd head size",
        "Nothing stops a head size of 5, and one channel then has no partner. Raise ValueError, with the "
        "value found.",
        ((_REFUSED, ""),),
    ),
    Mistake(
        "odd_head_size_asserted",
        "an odd head size is an AssertionError",
        "assert is for what cannot happen, and disappears under python -O. A wrong argument is a ValueError.",
        ((_REFUSED, '    assert head_size % 2 == 0, "head_size must be even"\n'),),
    ),
    # The rotation.
    Mistake(
        "half_split",
        "the pairs are (i, i + D / 2): a valid RoPE of another layout",
        "You rotate channel i with channel i + D / 2 (rotate_half), as GPT-NeoX and many Llama files do. "
        "Norms are kept and only distances count, so a model trains just as well: with the rows of q and k "
        "in another order it is the same function. But the contract takes the paper's pairs (2i, 2i + 1), "
        "and weights trained with one layout are noise for the other.",
        (
            (_POINTS, "torch.complex(*wide.chunk(2, dim=-1))"),
            (_JOINED, "torch.cat([rotated.real, rotated.imag], dim=-1).to(x.dtype)"),
        ),
    ),
    Mistake(
        "put_back_in_halves",
        "the rotated pairs are put back as two halves",
        "You rotate the right pairs, and then join all first channels and all second ones: channel 1 ends up "
        "in place D / 2. Stack the two along a new last dimension and flatten, so that a pair lies side by "
        "side again.",
        ((_JOINED, "torch.cat([rotated.real, rotated.imag], dim=-1).to(x.dtype)"),),
    ),
    Mistake(
        "taken_as_halves",
        "the pairs are taken from two halves and put back side by side",
        "You read x as two halves (i, i + D / 2) and write the result as neighbours (2i, 2i + 1), so that "
        "even the angle 0 reorders the channels. Read and write the same layout.",
        ((_POINTS, "torch.complex(*wide.chunk(2, dim=-1))"),),
    ),
    Mistake(
        "angles_in_two_layouts",
        "neighbours are paired, and get the angles of the half-split layout",
        "cos and sin are repeated as (a0, a1, .., a0, a1, ..), which goes with pairs (i, i + D / 2), while "
        "you swap neighbours. The two of a pair then rotate by different angles, and norms change. For "
        "neighbours repeat each angle twice in a row: repeat_interleave(2, -1).",
        (
            (
                _ROTATED,
                "torch.complex(\n"
                "        points.real * torch.cat([angles, angles], -1).cos()[..., 0::2]"
                " - points.imag * torch.cat([angles, angles], -1).sin()[..., 0::2],\n"
                "        points.imag * torch.cat([angles, angles], -1).cos()[..., 1::2]"
                " + points.real * torch.cat([angles, angles], -1).sin()[..., 1::2],\n    )",
            ),
        ),
    ),
    Mistake(
        "halves_with_angles_of_neighbours",
        "halves are paired, and get the angles of the paper's layout",
        "You swap the two halves (rotate_half), while cos and sin are repeated as (a0, a0, a1, a1, ..), "
        "which goes with neighbours. The two of a pair then rotate by different angles, and norms change. "
        "Either layout is a RoPE, a mixture is none; the contract takes neighbours: (-x1, x0), (-x3, x2), ..",
        (
            (_POINTS, "torch.complex(*wide.chunk(2, dim=-1))"),
            (
                _ROTATED,
                "torch.complex(*(\n"
                "        one * part.cos() + sign * other * part.sin()\n        for part, one, other, sign in "
                "zip(angles.repeat_interleave(2, -1).chunk(2, -1), (points.real, points.imag),\n"
                "                                          (points.imag, points.real), (-1, 1))\n    ))",
            ),
            (_JOINED, "torch.cat([rotated.real, rotated.imag], dim=-1).to(x.dtype)"),
        ),
    ),
    Mistake(
        "rotated_backwards",
        "pairs are rotated in the other direction",
        "Yours is (x0 cos + x1 sin, -x0 sin + x1 cos), a rotation by minus the angle. Scores still depend "
        "on distances alone, so it trains, but it is the mirror image of the paper's.",
        (_in_reals("a * cos + b * sin", "b * cos - a * sin"),),
    ),
    Mistake(
        "cos_and_sin_swapped",
        "cos and sin are swapped",
        "At angle 0 cos is 1 and sin is 0, so x must stay as it is; yours is rotated by a right angle and "
        "mirrored. The channel itself is multiplied by cos, its partner by sin.",
        ((_ROTATION, "torch.complex(angles.sin(), angles.cos())"),),
    ),
    Mistake(
        "nothing_rotated",
        "x comes back as it is",
        "apply_rope returns its input. Norms and dot products are all kept, and no position is ever seen.",
        ((_ROTATED, "points"),),
    ),
    Mistake(
        "scaled_by_cos",
        "the channels are only multiplied by cos",
        "A rotation mixes the two channels of a pair; yours shrinks them by cos. The sin terms are missing.",
        ((_ROTATED, "points * angles.cos()"),),
    ),
    Mistake(
        "sign_missing",
        "both sin terms have a plus",
        "(x0 cos + x1 sin, x0 sin + x1 cos) is no rotation: it changes norms. One of the two sin terms is "
        "negative, the one in the first channel.",
        (_in_reals("a * cos + b * sin", "a * sin + b * cos"),),
    ),
    Mistake(
        "first_channel_used_again",
        "the second channel is computed from the first one's new value",
        "You overwrite x0 and then use it for x1, where the old x0 is meant. Compute both from the old "
        "values, then write.",
        (_in_reals("a * cos - b * sin", "(a * cos - b * sin) * sin + b * cos"),),
    ),
    Mistake(
        "last_pair_skipped",
        "the last pair is not rotated",
        "A loop or a slice ends one pair early, so the last two channels carry no position. All D / 2 "
        "pairs are rotated.",
        ((_ROTATED, f"torch.cat([(points * {_ROTATION})[..., :-1], points[..., -1:]], -1)"),),
    ),
    Mistake(
        "half_of_the_channels",
        "only the first half of the channels is rotated",
        "Some models do that on purpose (partial rotary); the contract rotates every pair.",
        (
            (
                _ROTATED,
                f"points * {_ROTATION}.where(\n"
                "        torch.arange(angles.shape[-1], device=x.device) < angles.shape[-1] // 2, 1)",
            ),
        ),
    ),
    Mistake(
        "added_to_x",
        "cos and sin are added to x",
        "That is the sinusoidal embedding of the first transformer, which says where a token stands. RoPE "
        "multiplies: it rotates the pair, so that only distances are left.",
        ((_ROTATED, "points + torch.complex(angles.sin(), angles.cos())"),),
    ),
    Mistake(
        "along_the_heads",
        "the angles run along the heads instead of the tokens",
        "In x (B, H, T, D) the angles (T, D / 2) belong to the dimension before the last. You bring them to "
        "the one before that: was x (B, T, H, D) when you wrote it?",
        ((_ROTATED, f"(points.transpose(-2, -3) * {_ROTATION}).transpose(-2, -3)"),),
    ),
    Mistake(
        "four_dimensions_only",
        "apply_rope takes four dimensions only",
        "You unpack x.shape into B, H, T, D, or name dimensions from the front. The contract's x is (.., T, "
        "D): count from the back, -1 and -2.",
        (("    wide = x.to(", "    B, H, T, D = x.shape\n    wide = x.to("),),
    ),
    Mistake(
        "rope_result_in_float32",
        "apply_rope returns float32 for a bfloat16 x",
        "A float32 table makes a bfloat16 x float32, and q no longer fits v. Computing in float32 is "
        "right; return to x.dtype at the end.",
        ((_JOINED, "torch.view_as_real(rotated).flatten(-2)"),),
    ),
    Mistake(
        "angles_in_the_dtype_of_x",
        "the angles are cast to x's dtype before cos and sin",
        "In bfloat16 an angle of 300 is off by up to a radian, so its cos means nothing. Take cos and sin "
        "in float32, then multiply in float32.",
        ((_ROTATION, "torch.polar(torch.ones_like(angles), angles.to(x.dtype).to(angles.dtype))"),),
    ),
    Mistake(
        "rotated_in_the_dtype_of_x",
        "the rotation is computed in x's dtype",
        "For bfloat16 every product and sum is rounded to 8 bits, and cos and sin too. Take x to float32 "
        "first, and round once, at the end.",
        (
            (
                _ROTATED,
                "torch.complex(*(part.float() for part in (\n        x[..., 0::2] * angles.cos().to(x.dtype) "
                "- x[..., 1::2] * angles.sin().to(x.dtype),\n        x[..., 0::2] * "
                "angles.sin().to(x.dtype) + x[..., 1::2] * angles.cos().to(x.dtype))))",
            ),
        ),
    ),
    Mistake(
        "rope_writes_into_x",
        "apply_rope writes its result into x",
        "x belongs to the caller, and autograd needs its old value. Build the result as a new tensor (stack "
        "and flatten, or empty_like and fill).",
        ((f"return {_JOINED}", "x.copy_(torch.view_as_real(rotated).flatten(-2))\n    return x"),),
    ),
    Mistake(
        "rope_writes_into_angles",
        "apply_rope writes into the angles",
        "sin_() or cos_() works in place, so the next tensor is rotated by the sine of the angle: queries "
        "right, keys wrong. Use sin() and cos().",
        ((_ROTATION, "torch.complex(angles.cos(), angles.sin_())"),),
    ),
    Mistake(
        "rope_keeps_cos_and_sin",
        "cos and sin of the first angles of a shape are kept",
        "They are cached by shape, so that other angles of the same shape are ignored: a token at position "
        "7 is rotated by the angles of the first call. Compute them from the angles that are given.",
        ((_ROTATED, f"points * apply_rope.__dict__.setdefault(str(angles.shape), {_ROTATION})"),),
        keeps=True,
    ),
    Mistake(
        "rope_detaches_x",
        "x is detached",
        "The result is right, and no gradient flows back: queries and keys never learn. Look for detach(), "
        ".data, no_grad or torch.tensor(..).",
        (("wide = x.to(", "wide = x.detach().to("),),
    ),
    Mistake(
        "rope_views_x",
        "apply_rope joins the dimensions before T with view",
        "view never moves a number, so it can join sequences and heads only where they lie one behind the "
        "other in memory. Attention hands over (B, T, H, D) seen through transpose(1, 2), and there they do "
        "not. Leave the dimensions in front as they are, x.reshape(*x.shape[:-1], -1, 2), or take "
        "reshape for view.",
        (
            (_POINTS, "torch.view_as_complex(wide.view(-1, x.shape[-2], x.shape[-1] // 2, 2))"),
            (_JOINED, f"{_JOINED}.view(x.shape)"),
            (_BOTH, "q, k = apply_rope(q.contiguous(), angles), apply_rope(k.contiguous(), angles)"),
        ),
    ),
    # The attention.
    Mistake(
        "values_rotated",
        "the values are rotated too",
        "Values are passed on, not compared: nothing undoes their rotation, so what a token receives "
        "depends on where it stands in the text. Rotate queries and keys only.",
        ((_BOTH, "q, k, v = (apply_rope(part, angles) for part in (q, k, v))"),),
    ),
    Mistake(
        "queries_rotated_only",
        "only the queries are rotated",
        "q . k then depends on the position of the query and not on the distance. Rotate the keys by the "
        "same angles.",
        ((_BOTH, "q = apply_rope(q, angles)"),),
    ),
    Mistake(
        "keys_rotated_only",
        "only the keys are rotated",
        "q . k then depends on the position of the key and not on the distance. Rotate the queries by the "
        "same angles.",
        ((_BOTH, "k = apply_rope(k, angles)"),),
    ),
    Mistake(
        "attention_without_rope",
        "the attention does not use positions",
        "apply_rope is never called in forward, or its result is not used (it returns a new tensor and "
        "changes none: q = apply_rope(q, angles)), or all tokens are rotated by the same angle, which "
        "changes no dot product.",
        ((_BOTH, "apply_rope(q, angles), apply_rope(k, angles)"),),
    ),
    Mistake(
        "opposite_signs",
        "queries and keys are rotated in opposite directions",
        "Rotated by +a and -a, q . k depends on the sum of the two positions instead of their difference. "
        "Rotate both by the same angles: the dot product then contains the difference.",
        ((_BOTH, "q, k = apply_rope(q, angles), apply_rope(k, -angles)"),),
    ),
    Mistake(
        "rotated_twice",
        "queries and keys are rotated twice",
        "Every distance counts double. Is apply_rope called in a helper and again in forward?",
        ((_BOTH, "q, k = (apply_rope(apply_rope(part, angles), angles) for part in (q, k))"),),
    ),
    Mistake(
        "angles_over_the_width",
        "the frequencies are those of C channels instead of D",
        "You give rope_angles the width of the model and use its first D / 2 columns, so that even the last "
        "pair of a head rotates fast. The head size is C // H.",
        ((_MADE, "rope_angles(positions, C)[:, : C // self.n_head // 2]"),),
    ),
    Mistake(
        "rotated_before_the_split",
        "queries and keys are rotated before they are split into heads",
        "One rotation over all C channels gives every head other frequencies: the first head rotates fast, "
        "the last hardly at all. Split into heads first; every head has all D / 2 frequencies.",
        (
            (_MADE, "rope_angles(positions, C)"),
            (
                _BOTH,
                "q, k = (self.split_heads(apply_rope(part.transpose(1, 2).reshape(B, T, C), angles)) "
                "for part in (q, k))",
            ),
        ),
    ),
    Mistake(
        "rotated_before_the_transpose",
        "queries and keys are rotated while they are (B, T, H, D)",
        "apply_rope takes the dimension before the last for the time, but that is the dimension of the "
        "heads: the sizes do not fit, or fit by chance where H = T. Bring the heads in front of the time "
        "first, transpose(1, 2), then rotate.",
        ((_BOTH, "q, k = (apply_rope(part.transpose(1, 2), angles).transpose(1, 2) for part in (q, k))"),),
    ),
    Mistake(
        "offset_on_queries_only",
        "the offset moves the queries and not the keys",
        "Every distance grows by the offset. Queries and keys of one sequence shift together; with a "
        "cache, the old keys were rotated when they were added.",
        ((_BOTH, f"q, k = apply_rope(q, angles), apply_rope(k, {_MADE_AT_0})"),),
    ),
    Mistake(
        "offset_on_keys_only",
        "the offset moves the keys and not the queries",
        "Every distance shrinks by the offset. Queries and keys of one sequence shift together.",
        ((_BOTH, f"q, k = apply_rope(q, {_MADE_AT_0}), apply_rope(k, angles)"),),
    ),
    Mistake(
        "offset_has_no_default",
        "forward has no default for the offset",
        "GPT calls attention(x). The signature is forward(self, x, offset=0).",
        (("offset: int = 0", "offset: int"),),
    ),
    Mistake(
        "angles_end_at_block_size",
        "the table of angles ends at block_size",
        "You cut offset to offset + T out of a table of block_size rows, so that beyond it nothing is left. "
        "block_size bounds T; positions have no end, which is half of what RoPE is for. Compute the angles "
        "of the positions asked for.",
        ((_POSITIONS, "torch.arange(self.future.shape[0], device=x.device)[offset : offset + T]"),),
    ),
    Mistake(
        "angles_of_first_length",
        "the angles of the first input are kept for all later ones",
        "They are made once, for the T of the first call. The next input has another length. Make them in "
        "each call, or for as many positions as are asked for.",
        ((f"angles = {_MADE}", f"self.angles = angles = getattr(self, 'angles', {_MADE})"),),
    ),
    Mistake(
        "angles_in_a_buffer",
        "the angles are kept in a buffer, which bfloat16 rounds",
        "model.to(torch.bfloat16) casts every floating buffer, and .float() does not bring back what it "
        "lost: beyond position 256 neighbours share an angle. Make the angles in forward, or keep them out "
        "of the module's buffers.",
        (
            (
                _BUFFER,
                f"{_BUFFER}\n        positions = torch.arange(config.block_size)\n"
                '        self.register_buffer("angles", rope_angles(positions, config.head_size), '
                "persistent=False)",
            ),
            (f"angles = {_MADE}", "angles = self.angles[:T].float()"),
        ),
    ),
    Mistake(
        "angles_kept_in_the_first_dtype",
        "the angles of a length are kept in the dtype of its first call",
        "They are made once for each length, in the dtype that x has then. Where the first call is in "
        "bfloat16 they are rounded to 8 significant bits, for good. Keep them in float32, whatever x is.",
        (
            (
                f"angles = {_MADE}",
                "self.kept = getattr(self, 'kept', {})\n"
                f"        angles = self.kept.setdefault(T, {_MADE}.to(x.dtype)).float()",
            ),
        ),
    ),
    Mistake(
        "positions_in_the_dtype_of_x",
        "the positions are made in x's dtype",
        "torch.arange(.., dtype=x.dtype) in bfloat16 counts 256, 256, 258, 260, 260: neighbours share a "
        "position. Make them long, or float32.",
        ((_POSITIONS, "torch.arange(offset, offset + T, device=x.device).to(x.dtype).float()"),),
    ),
    Mistake(
        "odd_attention_asserted",
        "the attention asserts that its head size is even",
        "assert disappears under python -O, and says nothing of what to change. A config that does not fit "
        "is a ValueError.",
        ((_REFUSED_BY_CLASS, "        if config.head_size % 2:\n            raise AssertionError("),),
    ),
    Mistake(
        "frequencies_in_a_buffer",
        "theta is kept in a buffer, which bfloat16 rounds",
        "model.to(torch.bfloat16) casts every floating buffer: theta_1 of 28 channels, 0.51795, becomes "
        "0.51953, and 256 tokens on that is 0.4 radians. .float() does not bring back what is lost. Compute "
        "theta in forward, or keep it out of the module's buffers.",
        (
            (
                _BUFFER,
                f"{_BUFFER}\n        one = torch.ones(1, dtype=torch.long)\n"
                '        self.register_buffer("theta", rope_angles(one, config.head_size), persistent=False)',
            ),
            (f"angles = {_MADE}", "angles = positions.float()[:, None] * self.theta.float()"),
        ),
    ),
    Mistake(
        "cosines_in_the_dtype_of_x",
        "queries and keys are multiplied by cos and sin in x's dtype",
        "cos and sin that are cast to bfloat16, by hand or as buffers of the model, have 8 significant "
        "bits: their squares no longer add up to 1, so that the rotation makes vectors shorter or longer, "
        "depending on the position. Multiply in float32, and round the result once.",
        (
            (
                _BOTH,
                "cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)\n        q, k = (\n           "
                " torch.stack(\n                [m[..., 0::2] * cos - m[..., 1::2] * sin, m[..., 0::2] * "
                "sin + m[..., 1::2] * cos], -1\n            ).flatten(-2)\n            for m in (q, k)\n    "
                "    )",
            ),
        ),
    ),
    Mistake(
        "complex_buffer",
        "exp(i angle) is a complex buffer, which model.to(dtype) makes real",
        "A cast of the model to bfloat16, float64 or any real dtype drops the imaginary part of a complex "
        "buffer, with a warning: what is left only multiplies by cos. Make the complex numbers in forward, "
        "from float32 angles.",
        (
            (
                _BUFFER,
                f"{_BUFFER}\n        angles = rope_angles(torch.arange(config.block_size), "
                f"config.head_size)\n"
                '        self.register_buffer("rotations", torch.polar(torch.ones_like(angles), angles), '
                "persistent=False)",
            ),
            (
                _BOTH,
                "rotations = self.rotations[:T]\n        q, k = (\n            "
                "torch.view_as_real(torch.complex(m[..., 0::2].float(), m[..., 1::2].float()) * "
                "rotations)\n            .flatten(-2).to(x.dtype)\n            for m in (q, k)\n        )",
            ),
        ),
    ),
    Mistake(
        "table_of_4096",
        "the angles come from a table of fixed length",
        "You cut offset to offset + T out of a table of 4096 rows. It is long, and it ends; the offset is "
        "any number. Compute the angles of the positions asked for.",
        ((_POSITIONS, "torch.arange(4096, device=x.device)[offset : offset + T]"),),
    ),
    Mistake(
        "positions_wrapped",
        "positions start again at 0 after some length",
        "You take the positions modulo a length. Two neighbours on both sides of it are then far apart. "
        "Positions have no end, and need none.",
        ((_POSITIONS, "torch.arange(offset, offset + T, device=x.device) % 1024"),),
    ),
    Mistake(
        "offset_by_name_only",
        "offset can be given by its name only",
        "The contract is forward(x, offset=0), so that attention(x, 5) works too. Take the * out of the "
        "arguments.",
        (
            (
                "def forward(self, x: torch.Tensor, offset: int = 0)",
                "def forward(self, x: torch.Tensor, *, offset: int = 0)",
            ),
        ),
    ),
    Mistake(
        "odd_width_refused",
        "an odd n_embd is refused instead of an odd head size",
        "n_embd = 6 with 2 heads is even and has 3 channels per head, one of them without a partner. It is "
        "n_embd // n_head that must be even.",
        (
            (_REFUSED_BY_CLASS, "        if config.n_embd % 2:\n            raise ValueError("),
            (_MADE, "rope_angles(positions, C // self.n_head // 2 * 2)"),
            (
                _BOTH,
                "even = angles.shape[-1] * 2\n        q, k = (torch.cat([apply_rope(m[..., :even], angles), "
                "m[..., even:]], -1) for m in (q, k))",
            ),
        ),
    ),
    Mistake(
        "frequencies_without_device",
        "the frequencies are made without a device",
        "torch.arange is on the CPU unless you say otherwise, and positions of a GPU cannot be multiplied "
        "with it. Pass device=positions.device.",
        (
            (
                "torch.arange(0, head_size, 2, dtype=torch.float32, device=positions.device)",
                "torch.arange(0, head_size, 2, dtype=torch.float32)",
            ),
        ),
        devices=True,
    ),
    Mistake(
        "positions_without_device",
        "the positions are made without a device",
        "torch.arange is on the CPU unless you say otherwise, and the angles lie where the positions "
        "do: on a GPU they meet queries of the GPU. Pass device=x.device.",
        ((", device=x.device)", ")"),),
        devices=True,
    ),
    Mistake(
        "scale_by_pairs",
        "the scores are scaled by 1 / sqrt(D / 2)",
        "You divide by the square root of the number of pairs. A rotation mixes channels and leaves none "
        "out: q . k still sums over all D of them.",
        ((_SCALE, "(q.shape[-1] // 2) ** -0.5"),),
    ),
    Mistake(
        "wide_x_written",
        "a float64 x is overwritten",
        "x.double() of a float64 x, or x.float() of a float32 one, is x itself and no copy: what you write "
        "into it changes the caller's tensor. Build the result as a new tensor.",
        (
            (
                f"rotated = {_ROTATED}",
                f"rotated = {_ROTATED}\n"
                "    if x.dtype == torch.float64:\n"
                "        x.detach().copy_(torch.view_as_real(rotated).flatten(-2))",
            ),
        ),
    ),
)

MISTAKES = _OWN + tuple(
    mistake
    for mistake in OF_ATTENTION
    # fuse_heads is exercise 1's alone, and so is the one patch that reaches into it. Heads that are not moved
    # in front of the time do not get as far as the scores here: see rotated_before_the_transpose.
    if not mistake.id.startswith(("fuse_", "heads_not_moved")) and mistake.id != "projection_without_bias"
)
