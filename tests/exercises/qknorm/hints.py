"""The hints of QK-norm, from a nudge to nearly the answer; see tests/exercises/ex1/hints.py."""

HINTS = {
    "": (
        "Begin with your exercise 1. Which of q, k and v are normed, and where have they a dimension of D?",
        "Norm q and k after the split into heads, (B, H, T, D): the mean of the squares runs over the last.",
        "A small module with weight (D,) serves for both: q, k = self.q_norm(q), self.k_norm(k). In its "
        "forward: torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6), times x and weight.",
    )
}
COMPARE = (
    "where the norm stands, and what the last dimension is there",
    "what is left of the scale 1 / sqrt(D)",
)
