"""The hints of the sliding window, from a nudge to nearly the answer; see tests/exercises/ex1/hints.py."""

HINTS = {
    "": (
        "Begin with your exercise 1. Only its mask changes: draw it on paper for window = 3 and T = 5.",
        "With distance = query - key: which distances does a token see, and which is the largest of them?",
        "at = torch.arange(block_size); distance = at[:, None] - at. What must go is distance < 0, the "
        "future, and distance >= window. Keep it in a buffer, and cut it to [:T, :T] in forward.",
    )
}
COMPARE = (
    "how the mask is made, and what yours does with a window of 1",
    "how far back a token of the last layer can see, with 6 layers and a window of 16",
)
