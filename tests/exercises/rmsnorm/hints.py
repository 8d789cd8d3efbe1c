"""The hints of RMSNorm, from a nudge to nearly the answer; see tests/exercises/ex1/hints.py."""

HINTS = {
    "": (
        "Begin with one token of two channels, and compare with the example at the end of the sheet.",
        "One number per token divides it: which dimension goes away, and how does (B, T) divide (B, T, C)?",
        "x.pow(2).mean(dim=-1, keepdim=True) is (B, T, 1). Add eps, take torch.rsqrt of the sum, and "
        "multiply x and weight with that.",
    )
}
COMPARE = ("in which dtype the squares are summed", "where eps stands, and what it does to an input of zeros")
