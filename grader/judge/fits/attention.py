"""Attention matrices that share out to other keys, or otherwise: masks, the softmax, and weights that are not
used."""

from collections.abc import Iterator

import numpy as np

from grader.judge.fits import Fit, distance
from grader.judge.fits.hypotheses import STEPS, Case, Variation, cases, causal, fits_of, masked, softmax
from tests.exercises.exam import Numbers

# Which keys a query sees.

_TRIANGLE = (
    "In scores[query, key] what must go is key > query, torch.triu(.., diagonal=1), and nothing else. "
)
_UNMASKED = (
    "Every token sees the whole sequence, the tokens after it included, so that the answer stands in the "
    "input. Is the result of masked_fill, which returns a new tensor, not used? Does the mask hold one "
    "element, as mask[:, :, T, T] does where mask[:, :, :T, :T] is meant, or is it nowhere true? Mask the "
    "scores where key > query."
)


def shifted(steps: int) -> Variation:
    """A causal mask whose diagonal is moved: each query sees the keys up to itself plus `steps`."""
    if steps == -1:
        id, name = "mask_hides_itself", "the mask removes the diagonal: a token does not see itself"
    elif steps < 0:
        id = "mask_shifted"
        name = f"the mask removes too much: a token sees the keys up to {-steps} places before itself"
    elif steps == 1:
        id, name = "mask_one_ahead", "the mask lets each token see the next one"
    else:
        id, name = "mask_shifted", f"the mask lets each token see the next {steps}"
    if steps < 0:
        why = "The first tokens are left without any key, and a softmax over nothing but -inf is NaN. "
    else:
        why = "So each token sees what it is to predict. "
    why += f"{_TRIANGLE}Yours is as with diagonal={steps + 1}: check that number, and > against >=."
    return Variation(id, name, why, {"mask": masked(lambda t, s: s <= t + steps)})


def window(size: int) -> Variation:
    """A causal mask that also hides what is further back than `size` tokens."""
    return Variation(
        "window_of_384" if size == 384 else "window_of_few_tokens",
        f"a token sees only the last {size} tokens, itself included",
        f"Keys that are {size} tokens back, or more, get no weight. A sliding window makes long inputs "
        "cheap; the token of this exercise sees all tokens before it, up to block_size. Is there a second "
        "triangle, such as triu beside tril, or a difference of positions that is compared with a number?",
        {"mask": masked(lambda t, s: (s <= t) & (s > t - size))},
    )


ITSELF = Variation(
    "sees_itself_only",
    "each token receives its own value and nothing else",
    "Nothing passes from one token to another. Either the attention weights are computed and then not used "
    "(out = weights @ v), or the mask leaves the diagonal alone: it must keep all keys before it as well.",
    {"values": lambda weights, v, case: v[:, :, case.tokens]},
)
NO_MASK = Variation("no_mask", "there is no causal mask", _UNMASKED, {"mask": lambda scores, case: scores})
TRANSPOSED = Variation(
    "mask_transposed",
    "the mask is transposed: tokens see the future and not the past",
    f"Your mask keeps the keys at and after the query. {_TRIANGLE}Check tril against triu, and which index "
    "is the query.",
    {"mask": masked(lambda t, s: s >= t)},
)
UPSIDE_DOWN = Variation(
    "mask_upside_down",
    "the mask takes away what it should keep",
    "You fill where the triangle is 1 instead of where it is 0, or the other way round: a token sees only "
    "what comes after it, and the last one sees nothing, which gives NaN.",
    {"mask": masked(lambda t, s: s > t)},
)
MEAN_OF_ALL = Variation(
    "mean_of_all_tokens",
    "each token takes the plain mean of all tokens, those after it included",
    "Every key gets the same weight, so neither the scores nor the mask has an influence. That comes of a "
    "mask that replaces all scores by one finite number (as mask[:, :, T, T], one element, does where "
    "mask[:, :, :T, :T] is meant), or of scores that never reach the softmax.",
    {"mask": lambda scores, case: 0 * scores},
)

# What a masked score becomes.

_INFINITE = (
    "A masked key must weigh exactly 0, and exp gives 0 of -inf only. float('-inf') always works; so does "
    "torch.finfo(dtype).min. "
)


def filled(value: float) -> Variation:
    """Masked scores are set to a number."""
    if abs(value) < 1e-3:
        number = "0" if value == 0 else f"{value:.3g}, which is nearly 0"
        why = f"A score of 0 is not nothing: exp(0) is 1, so the future still gets weight. {_INFINITE}Is a "
        why += "mask of ones and zeros multiplied with the scores, or -1e-9 written for -1e9?"
        id, name = "mask_filled_with_zero", f"masked scores are set to {number}"
    else:
        id, name = "mask_filled_with_number", f"masked scores are set to {value:.4g}"
        why = f"exp({value:.4g}) is {np.exp(value):.3g}, so the future still gets weight. {_INFINITE}"
        why += "Look at the number in masked_fill, or in torch.where."
    return Variation(id, name, why, {"mask": masked(causal, value)})


def added(value: float) -> Variation:
    """A number is added to masked scores."""
    return Variation(
        "mask_added_number",
        f"{value:.4g} is added to masked scores",
        "Adding a number only lowers a masked score, so the future still gets weight. Replace it by -inf "
        "(masked_fill), or add -inf.",
        {"mask": lambda scores, case: np.where(_future(case), scores + value, scores)},
    )


def after_softmax(value: float) -> Variation:
    """The mask sets weights to a number, when the softmax has counted the future."""
    number = "0" if value == 0 else f"{value:.4g}"
    return Variation(
        "mask_after_softmax",
        f"the mask is applied after the softmax: the masked weights are set to {number}",
        "The softmax has counted the future by then: the rows no longer sum to 1, and early tokens come out "
        "too small. Mask the scores with -inf, then take the softmax.",
        {
            "mask": lambda scores, case: scores,
            "weights": lambda weights, case: np.where(_future(case), value, weights),
        },
    )


def _future(case: Case) -> np.ndarray:
    return ~causal(case.tokens[:, None], np.arange(case.T)[None])


OF_ONES = Variation(
    "mask_of_ones_added",
    "a mask of ones and zeros is added to the scores",
    "You add the 0/1 triangle itself: the keys that a query may see get 1 more, and the others stay. A mask "
    "that is added must hold 0 where the key is seen and -inf where it is not.",
    {"mask": lambda scores, case: scores + ~_future(case)},
)

# The softmax.


def over(axis: int, id: str, what: str, does: str) -> Variation:
    """A softmax over another dimension."""
    return Variation(
        id,
        f"the softmax runs over {what}",
        f"{does} A token shares its attention among the keys that it sees, which is the last dimension of "
        "(B, H, T, T). Look at the dim of your softmax.",
        {"softmax": lambda scores, case: softmax(scores, case, axis)},
    )


OVER_QUERIES = over(
    -2,
    "softmax_over_queries",
    "the queries",
    "Your softmax normalises each column of the scores: all queries together share out 1 for each key.",
)
OVER_HEADS = over(
    1, "softmax_over_heads", "the heads", "So the heads of one pair of tokens compete with each other."
)
OVER_BATCH = over(
    0, "softmax_over_batch", "the batch", "So the sequences of a batch compete with each other."
)
_SHARES = (
    "The softmax makes of a row of scores positive weights that sum to 1, so that the output is a mean. "
)
NO_SOFTMAX = Variation(
    "softmax_missing",
    "there is no softmax: the scores themselves are the weights, and masked ones 0",
    f"{_SHARES}Yours go from the mask to the product with v as they are. Is the softmax's result not used?",
    {"mask": masked(causal, 0.0), "softmax": lambda scores, case: scores},
)
NOT_NORMALISED = Variation(
    "softmax_not_normalised",
    "exp(scores) is not divided by its sum",
    f"{_SHARES}Yours are exp(scores), whose sum is anything. Divide by "
    "exp(scores).sum(dim=-1, keepdim=True), or use F.softmax.",
    {"softmax": lambda scores, case: np.exp(scores)},
)
SIGMOID = Variation(
    "softmax_is_sigmoid",
    "the weights are a sigmoid of the scores",
    f"{_SHARES}A sigmoid looks at each score alone, and its weights sum to anything. Use "
    "F.softmax(scores, dim=-1).",
    {"softmax": lambda scores, case: 1 / (1 + np.exp(-scores))},
)
TWICE = Variation(
    "softmax_twice",
    "the softmax is taken twice",
    f"{_SHARES}A second softmax takes these weights for scores: all between 0 and 1, so that the result is "
    "almost uniform, and the masked keys, now 0 and not -inf, get weight again. Take one out.",
    {"softmax": lambda scores, case: softmax(softmax(scores, case), case)},
)

# How weights meet the values.

WEIGHTS_TRANSPOSED = Variation(
    "weights_transposed",
    "the attention weights are transposed before the product with v",
    "weights[query, key] @ v sums over keys. Yours is transposed, so that each token receives from the "
    "tokens after it, with weights that do not sum to 1. Look at the product with v, or at the letters of "
    "your einsum.",
    {"values": lambda weights, v, case: weights.swapaxes(-1, -2) @ v},
)
SUMMED = Variation(
    "values_summed",
    "the values that a token sees are added up without weights",
    "The output of a token is the sum of all values up to it: the mask is used in place of the weights. "
    "Multiply v with the softmax's result.",
    {"softmax": lambda scores, case: np.isfinite(scores).astype(np.float64)},
)


def plain() -> tuple[Variation, ...]:
    """The mistakes without a parameter to be read off."""
    return (
        NO_MASK, TRANSPOSED, UPSIDE_DOWN, MEAN_OF_ALL, ITSELF, OF_ONES, filled(0.0), after_softmax(0.0),
        OVER_QUERIES, OVER_HEADS, OVER_BATCH, NO_SOFTMAX, NOT_NORMALISED, SIGMOID, TWICE, WEIGHTS_TRANSPOSED,
        SUMMED,
        *(shifted(steps) for steps in (-3, -2, -1, 1, 2, 3)),
    )  # fmt: skip


def windows(found: list[Case]) -> Iterator[Variation]:
    """Those of two tokens and more that a case can show; one of one token is `ITSELF`."""
    for size in range(2, min(max((case.T for case in found), default=0), 12)):
        yield window(size)
    for case in found:
        # The first token that is wrong misses some, and the one before it, of those that are known, none.
        first = int(case.wrong().min(initial=case.T))
        if first < 12 or first == case.T:
            continue
        one, before = case.at(first), int(case.rows[case.rows < first].max(initial=1))
        sizes = range(before + 1, first + 1)
        yield window(min(sizes, key=lambda size: distance(one.gives(window(size).does), one.got)))


def read(case: Case) -> Iterator[Variation]:
    """What became of masked scores, read off a matrix whose other scores are right: a number in their place,
    one that is added to them, or one in the place of the weights."""
    if not case.matrix or case.long or len(case.rows) != case.T or case.T < 3:
        return
    future = _future(case)
    with np.errstate(all="ignore"):
        logs = np.log(case.got.astype(np.float64))
        scores = case.products * STEPS["scale"](case)
        # The logarithm of a weight is its score less one number a query, which the diagonal tells.
        of_query = np.einsum("bhtt->bht", scores - logs)[..., None]
        put = (logs + of_query)[..., future]
        more = put - scores[..., future]
    weights = case.got[..., future].astype(np.float64)
    for values, variation in ((put, filled), (more, added), (weights, after_softmax)):
        value = float(np.median(values))
        if variation is added and min(abs(value), abs(value + 1)) < 0.01:
            continue  # no mask, and OF_ONES: 1 more for the others is 1 less for these
        if np.isfinite(values).all() and np.abs(values - value).max() <= 1e-2 * max(abs(value), 1e-3):
            short = float(f"{value:.2g}")
            yield variation(short if abs(short - value) <= 1e-3 * abs(value) else value)


# A number so low that it does what -inf does, as long as the scores are not as low.
TOO_HIGH = tuple(
    Variation(
        "mask_is_a_finite_number",
        "masked scores are set to a finite number, or lowered by one",
        "Where the scores that a query may see are lower than what is left of the masked ones, the masked "
        f"keys get all the weight. {_INFINITE}Look for -1e4, -1e5 or the like in your mask.",
        {"mask": masked(causal, value)},
    )
    for value in (-1e3, -5e4, -1.5e5)
)
FILLS = tuple(filled(value) for value in (1.0, -1.0, -2.0, -5.0, -10.0))  # where there is no matrix to read


def weights(numbers: Numbers) -> list[Fit]:
    """Masks, the softmax, and the use of the weights (kinds "output" and "attention")."""
    found = cases(numbers)
    by_reading = [variation for case in found for variation in read(case)]
    fits = fits_of(found, (*plain(), *windows(found), *by_reading))
    return fits or fits_of(found, (*FILLS, *TOO_HIGH))


# What pairs of mistakes are made of.
USUAL = (
    NO_MASK, filled(0.0), after_softmax(0.0), TRANSPOSED, shifted(1), OVER_QUERIES, OVER_HEADS, ITSELF,
    WEIGHTS_TRANSPOSED,
)  # fmt: skip
