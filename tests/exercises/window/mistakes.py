"""The catalogue of known mistakes of the sliding window: each a patch on solutions/more/window.py."""

from tests.exercises import Mistake

_HIDDEN = "(distance < 0) | (distance >= window)"
_FILL = 'scores = scores.masked_fill(self.hidden[:T, :T], float("-inf"))'
_WEIGHTS = "weights = self.weight_dropout(F.softmax(scores, dim=-1))"
_REFUSE = """        if window < 1:
            raise ValueError(f"window is {window}; it must be at least 1, since it counts the token itself.")
"""

MISTAKES = (
    Mistake(
        "one_more", "a token sees one token too many",
        "The token counts itself: the largest distance is window - 1. Look at > or >=, or at the diagonal.",
        ((_HIDDEN, "(distance < 0) | (distance > window)"),),
    ),
    Mistake(
        "one_less", "a token sees one token too few",
        "Your mask takes away the distance window - 1, which still belongs. A window of 1 then gives NaN.",
        ((_HIDDEN, "(distance < 0) | (distance >= window - 1)"),),
    ),
    Mistake(
        "half", "the window is halved",
        "The paper's w counts both sides. Here window counts the token and those before it.",
        ((_HIDDEN, "(distance < 0) | (distance > window // 2)"),),
    ),
    Mistake(
        "both_directions", "the window reaches into the future",
        "Your window lies around the token, so it sees what it is to predict. Distances below 0 must go.",
        ((_HIDDEN, "distance.abs() >= window"),),
    ),
    Mistake(
        "future_seen", "the future is not masked",
        "Your mask takes away what lies too far back, and leaves all that comes after. Both must go.",
        ((_HIDDEN, "distance >= window"),),
    ),
    Mistake(
        "no_window", "there is no window",
        "Your mask is exercise 1's: a token sees all tokens before it. What is `window` compared with?",
        ((_HIDDEN, "distance < 0"),),
    ),
    Mistake(
        "transposed", "queries and keys are confused in the mask",
        "Your distance is key - query. In scores[query, key] the first dimension is the query's.",
        (("distance = at[:, None] - at", "distance = at - at[:, None]"),),
    ),
    Mistake(
        "blocks", "the text is cut into blocks",
        "The first token of a block sees none before itself. Each token has a window of its own.",
        ((_HIDDEN, "(distance < 0) | (at[:, None] // window != at // window)"),),
    ),
    Mistake(
        "last_keys_of_all", "all tokens see the last keys of the text",
        "You keep the last `window` keys for every query. They are the last query's; each has its own.",
        ((_FILL, f"{_FILL}\n        gone = torch.arange(T, device=x.device) < T - self.window\n"
                 "        scores = scores.masked_fill(gone, torch.finfo(scores.dtype).min)"),
         ("at = torch.arange", "self.window = window\n        at = torch.arange"),
         (_HIDDEN, "distance < 0")),
    ),
    Mistake(
        "always_64", "the window is always 64",
        "You compare with 64, which is only the default, and not with the argument.",
        ((_HIDDEN, "(distance < 0) | (distance >= 64)"),),
    ),
    Mistake(
        "after_the_softmax", "the mask comes after the softmax",
        "You set weights to 0 after the softmax, so those that are left do not sum to 1. Fill the scores.",
        ((_FILL, ""), (_WEIGHTS, "weights = F.softmax(scores, dim=-1).masked_fill(self.hidden[:T, :T], 0.0)\n"
                                 "        weights = self.weight_dropout(weights)")),
    ),
    Mistake(
        "zero_accepted", "a window of 0 is accepted",
        "With a window below 1 a token sees nothing, and the softmax of nothing is NaN. Raise a ValueError.",
        ((_REFUSE, ""),),
    ),
    Mistake(
        "first_keys_of_all", "all tokens see the first keys of the text",
        "Your mask compares the key's position with window, not its distance from the query.",
        ((_HIDDEN, "(distance < 0) | (at >= window)"),),
    ),
    Mistake(
        "window16_of_64", "Window16 has another window than 16",
        "The preset's texts have 64 tokens, so a window of 64 hides nothing in the experiment.",
        (("super().__init__(config, window=16)", "super().__init__(config, window=64)"),),
    ),
    Mistake(
        "long_refused", "a window longer than block_size is refused",
        "Any window of at least 1 is right; one that is longer than the text hides nothing.",
        (("if window < 1:", "if not 1 <= window <= config.block_size:"),),
    ),
)  # fmt: skip
