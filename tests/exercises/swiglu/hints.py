"""The hints of SwiGLU, from a nudge to nearly the answer; see tests/exercises/ex1/hints.py."""

HINTS = {
    "": (
        "Begin with one hidden unit: gate and up give one number each. Which of the two is under silu?",
        "Three nn.Linear without bias: gate and up from C to F, down from F to C. hidden_size tells F.",
        "F.silu(self.gate(x)) * self.up(x) is (B, T, F). down brings it back to C, and dropout comes last.",
    ),
    "hidden": (
        "Try C = 12, 13 and 14 by hand: 8 C / 3 is 32, 34.7 and 37.3. Which multiples of 8 are the answers?",
        "Rounded up to a multiple of 8, 8 C / 3 is 8 times something. What is that something, rounded up?",
        "It is 8 * ceil(C / 3): math.ceil(n_embd / 3), or (n_embd + 2) // 3 without a float.",
    ),
}
COMPARE = (
    "how hidden_size rounds up, and whether yours goes through a float",
    "how many parameters SwiGLU has, beside the lecture's FeedForward",
)
