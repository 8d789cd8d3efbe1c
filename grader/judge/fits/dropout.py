"""Dropout in an attention, from the share of numbers that it drops and the factor of those that it keeps.

A share is left to chance, and a factor is exact: a dropout of p keeps 1 / (1 - p). So the factor tells which
p it is, and the share must agree within what chance allows. Two values of config.dropout tell a number that
is written down from one that is computed from it.
"""

import math
from collections.abc import Iterator

import numpy as np

from grader.judge.fits import Fit
from grader.judge.fits.shared import known, plain
from tests.exercises.exam import Numbers
from tests.exercises.numbers import room_for_chance

PLACES = {"weights": "the attention weights", "output": "the output"}
EXACT = 3e-3  # of a factor: the levels that it comes from are rounded
CLEAR = 0.02  # two probabilities that are nearer than this are not told apart


def of_dropout(numbers: Numbers) -> list[Fit]:
    """kind "dropout": got[n] is the share and the factor of the weights, and those of the output, where
    config.dropout is facts["p"][n].

    facts["draws"]: how many independent draws the shares of the two places are of. facts["two"]: the levels
    of the output with two tokens (battery/dropout.py), for the first p.
    """
    p = np.asarray(numbers.facts["p"], dtype=np.float64)
    got = np.asarray(numbers.got, dtype=np.float64)
    if got.shape != (len(p), 4) or len(p) < 2 or not np.isfinite(got).all():
        return []
    found = {}
    for place, shares, factors, draws in zip(PLACES, got.T[::2], got.T[1::2], numbers.facts["draws"]):
        if not _explains(p, 1 / (1 - p), shares, factors, draws):
            found[place] = next(_of_place(p, shares, factors, draws), None)
    if "weights" in found and found["weights"] == ("missing", None) and "output" not in found:
        on_scores = _on_scores(numbers.facts["two"], float(got[0, 3]))
        if on_scores is not None:
            return [on_scores]
    if not found or None in found.values() or len(set(found.values())) > 1:
        return []
    (what, value), *_ = found.values()
    return [_fit(what, value, tuple(found))]


def _explains(share, factor, shares, factors, draws) -> bool:
    """Whether a dropout of these shares, which multiplies what it keeps by these factors, gives what came."""
    near = all(
        abs(came - wanted) <= room_for_chance(min(max(float(wanted), 0.0), 1.0), draws)
        for came, wanted in zip(shares, np.broadcast_to(share, shares.shape))
    )
    return near and bool((np.abs(factors - factor) <= EXACT * np.maximum(1.0, np.abs(factors))).all())


def _of_place(p, shares, factors, draws) -> Iterator[tuple[str, float | None]]:
    """What is done to one place, as (what, its parameter), for each explanation that holds."""
    if (shares == 0).all() and _explains(0.0, 1.0, shares, factors, draws):
        yield "missing", None
        return
    if _explains(p, 1.0, shares, factors, draws):
        yield "not rescaled", None
    if _explains(1 - p, 1 / (1 - p), shares, factors, draws):
        yield "inverted", None
    for words, factor in (("1 - p", 1 - p), ("1 / p", 1 / p), ("p", p), ("1 / (1 - p) ** 2", (1 - p) ** -2)):
        if _explains(p, factor, shares, factors, draws):
            yield f"by {words}", None
    with np.errstate(divide="ignore", invalid="ignore"):
        q = 1 - 1 / factors  # the probability that these factors belong to
    if not ((q > CLEAR) & (q < 1 - CLEAR)).all() or not _explains(q, factors, shares, factors, draws):
        return
    rules = {"one minus p": 1 - p, "twice": 1 - (1 - p) ** 2, "number": np.full_like(p, q.mean())}
    rules["times"] = p * float((q / p).mean())
    for what, wanted in rules.items():
        if np.abs(q - wanted).max() <= EXACT:
            value = {"number": float(q.mean()), "times": float((q / p).mean())}.get(what)
            yield what, None if value is None else round(value, 2)


def _on_scores(levels, factor: float) -> Fit | None:
    """Dropout on the scores: two tokens show the softmax of a score of 1 that is dropped, or is divided by
    1 - p, beside one of 0. The values are 1 and 3, and proj's bias is 1."""
    if len(levels) != 2 or not factor > 0:
        return None
    kept, dropped = sorted((4 - np.asarray(levels, dtype=np.float64) / factor) / 2, reverse=True)
    if abs(dropped - 0.5) > EXACT or not 0.5 < kept < 1:
        return None
    score = math.log(kept / (1 - kept))
    if not CLEAR < 1 - 1 / score < 1 - CLEAR:
        return None
    return known("ex1", "dropout_on_scores", "dropout on the scores, before the softmax")


def of_nan(numbers: Numbers) -> list[Fit]:
    """kind "dropout_nan": got (T,) is the share of sequences whose output is NaN, by token; facts: p, H, and
    draws, the number of sequences.

    A masked score is -inf, and -inf times 0 is NaN. proj passes the NaN of one head on to all channels. So a
    token is NaN with the probability that any of the masked scores of its H rows is dropped.
    """
    p, H, draws, got = *(numbers.facts[key] for key in ("p", "H", "draws")), np.asarray(numbers.got)
    T = len(got)
    wanted = [1 - (1 - p) ** (H * (T - 1 - t)) for t in range(T)]
    if T < 2 or got[-1] != 0 or any(abs(a - b) > room_for_chance(b, draws) for a, b in zip(got, wanted)):
        return []
    return [
        Fit(
            "dropout_on_scores",
            "dropout on the scores, before the softmax: 0 * -inf is NaN",
            "A masked score is -inf, and dropout multiplies some of the scores by 0, which gives NaN. Drop "
            "the weights, after the softmax: a dropped weight is 0, where a dropped score of 0 would still "
            "get its weight.",
        )
    ]


def _fit(what: str, value: float | None, places: tuple[str, ...]) -> Fit:
    both = len(places) == 2
    on = "both dropouts" if both else f"the dropout on {PLACES[places[0]]}"
    of = "" if both else f" on {PLACES[places[0]]}"
    if what == "missing":
        id = "dropout_missing" if both else f"dropout_on_{places[0]}_missing"
        return known("ex1", id, "no dropout at all" if both else f"no dropout{of}")
    if what == "not rescaled":
        names = {
            "weights": "kept attention weights are not divided by 1 - p",
            "output": "the kept output is not divided by 1 - p",
        }
        if not both:
            return known("ex1", f"dropout_{places[0]}_not_rescaled", names[places[0]])
        return Fit(
            "dropout_not_rescaled",
            "neither what is kept of the weights nor of the output is divided by 1 - p",
            "You zero a share p and leave the others as they are, so training sees smaller numbers than "
            "evaluation. What is kept must be divided by 1 - p; nn.Dropout does it.",
        )
    if what == "inverted":
        return Fit(
            "dropout_mask_inverted",
            f"{on} keep{'' if both else 's'} a share of p and drop{'' if both else 's'} the others",
            "The mask is the other way round: a number is dropped with probability p = config.dropout, and "
            "yours is kept with that. Look at the comparison that makes the mask: rand >= p keeps.",
        )
    if what.startswith("by "):
        return Fit(
            "dropout_rescaled_otherwise",
            f"what is kept{' of both' if both else f' of {PLACES[places[0]]}'} is multiplied by {what[3:]}",
            f"The right share is dropped, and what is kept is multiplied by {what[3:]}, so that training "
            "sees numbers of another size than evaluation. It must be divided by 1 - p, once; nn.Dropout "
            "does it.",
        )
    if what == "one minus p":
        return known("ex1", "dropout_inverted", f"config.dropout is taken for the share that is kept{of}")
    if what == "twice":
        return Fit(
            "dropout_twice",
            f"dropout is applied twice to {'both places' if both else PLACES[places[0]]}",
            "A number goes through two dropouts, one after the other: a share of 1 - (1 - p) ** 2 is "
            "dropped, and the others are divided by 1 - p twice. Is there one in a helper and again in "
            "forward?",
        )
    if what == "number" and value == 0.5 and not both:
        of_place = f"{PLACES[places[0]]} {'are' if places[0] == 'weights' else 'is'}"
        name = f"{of_place} dropped with 0.5, whatever the config says"
        return known("ex1", f"dropout_default_on_{places[0]}", name)
    if what == "number":
        return Fit(
            "dropout_written_as_number",
            f"the probability of dropout{of} is written as a number, {plain(value)}",
            f"Whatever config.dropout is, yours drops with {plain(value)}. Where the config says 0, it still "
            "drops. Pass config.dropout to nn.Dropout.",
        )
    return Fit(
        "dropout_p_scaled",
        f"the probability of {on} is {plain(value)} times config.dropout",
        f"Yours drops with {plain(value)} * config.dropout. The contract takes config.dropout as it is, for "
        "the weights and for the output alike. What is it multiplied or divided by?",
    )
