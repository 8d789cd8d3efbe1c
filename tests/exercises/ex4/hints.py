"""The hints of exercise 4, from a nudge to nearly the answer, by the function that they are for."""

HINTS = {
    "": (
        "A rotation in the plane takes (x, y) to (x cos a - y sin a, x sin a + y cos a). RoPE does that to "
        "each pair of channels, by an angle that grows with the position.",
        "Three steps: the angles (T, D/2), one per position and pair; the rotation of any (.., T, D) by "
        "them; and exercise 1's attention with the rotation on queries and keys, right after the split "
        "into heads.",
        "Test by properties: position 0 changes nothing, lengths stay as they are, and q . k after the "
        "rotation depends on the distance of the two positions only.",
    ),
    "angles": (
        "At position 1 the angles are the frequencies themselves: the first is 1, and each next one "
        "smaller by the same factor. Which one?",
        "Pair i rotates by base ** (-2i / D) per position, i = 0 .. D/2 - 1: the exponent has D, the size "
        "of a head, and the 2 of the pairs. Positions times frequencies is an outer product.",
        "frequencies = base ** (-torch.arange(0, D, 2, dtype=torch.float32, device=positions.device) / "
        "D); angles = positions.float()[:, None] * frequencies. An odd D is a ValueError; float32 "
        "whatever the model's dtype.",
    ),
    "rope": (
        "Which two channels make a pair? The paper's pairs are neighbours, (0, 1), (2, 3), ..",
        "x[..., 0::2] and x[..., 1::2] are the first and the second channels of all pairs, (.., T, D/2) "
        "each, as are the cosines and sines. After the rotation they have to alternate again.",
        "even, odd = x.float()[..., 0::2], x.float()[..., 1::2]; torch.stack([even * cos - odd * sin, "
        "even * sin + odd * cos], dim=-1).flatten(-2).to(x.dtype). To join the halves with cat would be "
        "another layout.",
    ),
    "odd_attention rotated offset parameters output one_token first_token running_mean "
    "scale attention values causality heads gradients batch calls dtypes bfloat16 "
    "dropout operations in_gpt": (
        "Begin with your exercise 1. What is rotated, and what is not?",
        "Rotate q and k after they have the shape (B, H, T, D): the positions are in the dimension "
        "before the last. The values carry content and stay as they are.",
        "angles = rope_angles(torch.arange(offset, offset + T, device=x.device), D); q, k = "
        "apply_rope(q, angles), apply_rope(k, angles). Compute them in forward, or keep them in float32 "
        "when the model is in bfloat16, and never for the first length only.",
    ),
}

COMPARE = (
    "real pairs against complex numbers: torch.polar and view_as_complex say the same in two lines",
    "the other layout, halves instead of neighbours: why its weights cannot be swapped with these",
    "the experiment's interval: how many seeds would it take to show a difference as small as the one found?",
)
