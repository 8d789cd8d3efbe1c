"""The checks of an attention with a KV cache (gpt_core/kv_cache.py): that chunks of a text give what forward
gives, whatever else happens, what a token costs, and that a GPT generates with it."""

import itertools
import math
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from tests.exercises.asked import Looks
from tests.exercises.battery import devices
from tests.exercises.battery.attention import EXTRA, Attention, P, positions, scores_apart, with_scores
from tests.exercises.battery.module import (
    CHANGE,
    GPT_SIZE,
    OF_INPUT,
    WRITTEN,
    Size,
    expect,
    gpt_weights,
    outputs,
)
from tests.exercises.exam import Reading, Subject, check, fail, for_all, look, of_readings, same_reading
from tests.exercises.numbers import bfloat16, tolerance

LOOKS = Looks.named("tests.exercises.battery.cache_looks")
# What stands in a call of a case: a new name of a cache is a new one.
COLUMNS = "calls (cache, text, first token, token after the last)"


def in_turn(subject: Subject, unit: Attention, size: Size, weights, texts, calls, given) -> Reading:
    """The look of the same name: {call: its output, "x call": its x after it, or what a refusal came to};
    only as far as a call that raised a ValueError though it need not, which is "refused_at", with what it
    "says"."""
    asked = unit.asked("in_turn", size, weights, looks=LOOKS, dropout=P, texts=texts, calls=calls, **given)
    answer, refused, ended = subject.run(asked), given["refused"], {}
    if "refused_at" in answer.values:
        ended = {"refused_at": int(answer.plain("refused_at")), "says": str(answer.plain("says"))[:200]}
        if not 0 <= ended["refused_at"] < len(calls):
            raise ValueError("no such call")  # see Exam.observe
        calls = calls[: ended["refused_at"]]
    said = {str(i): answer.outcome(str(i)) for i, call in enumerate(calls) if call[1] == refused}
    x = {str(i): texts[call[1]][:, call[2] : call[3]] for i, call in enumerate(calls) if str(i) not in said}
    y = outputs(subject, answer, x, given["dtype"])
    return ended | said | y | {f"x {i}": answer.array(f"x {i}") for i in x if f"x {i}" in answer.values}


def but_for_words(reading):
    """The reading without what a ValueError says, which is up to each author."""
    return {k: v for k, v in reading.items() if k != "says"} if isinstance(reading, dict) else reading


def refused_wrongly(case, size, calls, got, refused):
    """The failure of a call that was refused though the cache had room for it."""
    call = got["refused_at"]
    cache, _, first, last = calls[call]
    earlier = [str(i) for i in range(call) if calls[i][0] == cache and calls[i][1] == refused]
    message = (
        f"Call {call} must not be refused: cache {cache} holds {first} tokens and gets {last - first} more, "
        f"and block_size = {size.block_size} of them are allowed. "
    )
    if earlier:
        message += f"Call {' and '.join(earlier)} was refused rightly: did it leave its tokens in the cache, "
        message += "or has a cache those of another?"
    else:
        message += "What do you compare with block_size, and with > or >=?"
    fail(case | {"call": call}, message, f"your code raised ValueError: {got['says']}")


def agree(exam, unit, size, calls, message, *, texts=None, weights=None, allowed=None, **given):
    """Fail where the output of a call is not what forward gives for these tokens of the text."""
    given = {"dtype": "float32", "layout": "contiguous", "change": CHANGE} | given
    given = {"change_at": None, "refused": None} | given
    weights, texts = weights or unit.weights(size), texts or [size.x()]
    if given["dtype"] == "bfloat16":  # numbers that it holds exactly
        weights, texts = {key: bfloat16(w) for key, w in weights.items()}, [bfloat16(x) for x in texts]
    case = size.as_case(dtype=given["dtype"], layout=given["layout"])
    case[COLUMNS] = [["forward" if call[0] is None else call[0], *call[1:]] for call in calls]
    rough = 8 * 2.0**-7 if given["dtype"] == "bfloat16" else 1e-5
    got = look(
        exam,
        case,
        in_turn,
        unit,
        size,
        weights,
        texts,
        calls,
        given,
        same=lambda a, b: same_reading(but_for_words(a), but_for_words(b), rough),
    )
    for i, (_, text, first, last) in enumerate(calls):
        if i == got.get("refused_at"):
            refused_wrongly(case, size, calls, got, given["refused"])
        case |= {"call": i}
        if text == given["refused"]:
            if got[str(i)] != "ValueError":
                fail(case, f"{message} Here forward_cached {got[str(i)]}.")
            continue
        changed = given["change_at"] is not None and i >= given["change_at"]
        now = {key: w + np.float32(CHANGE * changed) for key, w in weights.items()}
        right = unit.reference(size, now, texts[text], np.arange(first, last))
        dtype = "bfloat16" if given["dtype"] == "bfloat16" else "float32"  # float64 may be computed in that
        room = allowed or unit.allowance(size, now, texts[text], right, dtype)
        expect(right, got[str(i)], room, case, message)
        if f"x {i}" in got and not np.array_equal(got[f"x {i}"], texts[text][:, first:last]):
            fail(case, f"x {WRITTEN}")


def chunks(*lengths: int) -> tuple:
    """The calls of one text in chunks of these lengths."""
    ends = [0, *itertools.accumulate(lengths)]
    return tuple(("a", 0, first, last) for first, last in itertools.pairwise(ends))


@check("cached_whole", "a text in one chunk, with an empty cache, gives what forward gives", ("values",))
def gives_a_whole_text(exam, unit):
    message = (
        "An empty cache holds no past: forward_cached must give what forward gives. What does it leave out?"
    )
    size = Size(T=3, seed=40)
    second = f"{message} Call 1 is a second text in a new cache: is that another object?"
    agree(exam, unit, size, (("a", 0, 0, 3), ("b", 1, 0, 3)), second, texts=[size.x(), size.x(2)])
    for T in (6, 1, 8):
        agree(exam, unit, Size(T=T), chunks(T), message)


@check("cached_tokens", "token by token it gives what forward gives", ("cached_whole",))
def goes_on_token_by_token(exam, unit):
    message = (
        "A new token attends to all tokens before it and to itself. Are its key and value put behind those "
        "of the past, along the time, and before it looks?"
    )
    for lengths in ((3, 1, 1, 1), (1,) * 8):
        agree(exam, unit, Size(T=sum(lengths), seed=41), chunks(*lengths), message)


@check("cached_chunks", "several tokens that come later give what forward gives", ("cached_tokens",))
def goes_on_by_chunks(exam, unit):
    message = (
        "Each token of a later chunk sees the past, and of its chunk the tokens up to itself. Its queries "
        "are the last of T tokens: which rows of the (T, T) mask are theirs?"
    )
    for lengths in ((3, 3), (1, 2, 5), (2, 2, 1, 3)):
        agree(exam, unit, Size(T=sum(lengths), seed=42), chunks(*lengths), message)


@check(
    "cached_large", "with large scores too: a masked key weighs exactly 0", ("cached_chunks", "large_logits")
)
def masks_large_scores_in_chunks(exam, unit):
    message = "In a later chunk a masked key weighs more than 0. Which number replaces its score?"
    size = Size(B=1, T=6, seed=43)
    steps, seen = scores_apart(size.T)
    for low, high in ((-30000.0, 30000.0), (-200000.0, 200000.0)):
        weights = with_scores(unit, size, np.where(seen, low + steps, high).astype(np.float32))
        allowed = tolerance("float32", size.T, 1.0)
        agree(
            exam,
            unit,
            size,
            chunks(2, 3, 1),
            message,
            texts=[positions(size)],
            weights=weights,
            allowed=allowed,
        )


@st.composite
def cut_texts(draw):
    """(B, H, D, how much longer block_size is, the lengths of the chunks)"""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    return *(draw(st.integers(*ends)) for ends in ((1, 3), (1, 5), (1, 9), (0, 4))), tuple(lengths)


CUTS = (
    (1, 2, 2, 0, (128, 1, 171, 1, 229)),  # longer than masks and tables of 256 or 512 tokens
    (9, 12, 3, 1, (10, 1, 10)),  # more heads, tokens and sequences than ten
    (1, 1, 8, 0, (5, 3)),
    (2, 2, 64, 3, (1, 2)),
)


@check("cached_any", "any text, cut in any way, gives what forward gives", ("cached_chunks",))
def takes_any_chunks(exam, unit):
    message = (
        "This is the smallest text found where it differs. What is special about its size or its chunks?"
    )

    def body(exam, drawn):
        B, H, D, more, lengths = drawn
        T = sum(lengths)
        size = Size(B=B, T=T, n_embd=H * D * unit.head_step, n_head=H, block_size=T + more, seed=48)
        agree(exam, unit, size, chunks(*lengths), message)

    for_all(exam, cut_texts(), body, always=CUTS)


@check("cached_apart", "each cache is a text of its own, and forward knows of none", ("cached_tokens",))
def keeps_caches_apart(exam, unit):
    size = Size(seed=44)
    texts = [replace(size, B=B, T=8).x(B) for B in (2, 3, 1)]
    message = "Two texts take turns, each with a cache of its own. What do both caches share?"
    calls = [(cache, text, t, t + 1) for t in range(3) for text, cache in enumerate("ab")]
    agree(exam, unit, size, calls, message, texts=[texts[0], texts[0][::-1]])
    calls = (
        ("a", 0, 0, 3), ("b", 1, 0, 4), (None, 2, 0, 5), ("a", 0, 3, 4), ("b", 1, 4, 5), ("a", 0, 4, 5),
        ("c", 2, 0, 2), ("b", 1, 5, 6), ("c", 2, 2, 3), ("a", 0, 5, 6), (None, 0, 0, 8), ("d", 1, 0, 2),
        ("d", 1, 2, 3), (None, 2, 0, 8),
    )  # fmt: skip
    message = (
        "Texts of other batches take turns, each with a cache of its own, forward is called in between, and "
        "before call 11 the weights are changed: nothing of one may show in another. What is kept on the "
        "module, on the class, or in a default argument, where it belongs into the cache?"
    )
    agree(exam, unit, size, calls, message, texts=texts, change_at=11)


@check("cached_full", "more than block_size tokens: ValueError, and the cache goes on", ("cached_tokens",))
def refuses_too_many_tokens(exam, unit):
    size = Size(seed=45)  # block_size 8; what is refused is of another text
    texts = [replace(size, T=12).x(stream) for stream in (1, 2)]
    calls = (
        ("b", 1, 0, 9), ("a", 0, 0, 6), ("a", 1, 6, 9), ("a", 0, 6, 7), ("a", 1, 0, 12), ("a", 0, 7, 8),
        ("a", 1, 8, 9), ("b", 0, 0, 3), ("b", 1, 3, 9), ("b", 0, 3, 4), (None, 0, 0, 8),
    )  # fmt: skip
    message = (
        "With block_size 8 a ninth token must be a ValueError, an eighth must not, and after the ValueError "
        "the cache must be as before. Do you look at the count before you change anything?"
    )
    for some in (calls[:3], calls):
        agree(exam, unit, size, some, message, texts=texts, refused=1)


@check("cached_forms", "in float64 and bfloat16 too, and however x lies in memory", ("cached_chunks",))
def takes_chunks_of_any_form(exam, unit):
    message = (
        "In another dtype or layout of x the chunks differ. In which dtype is the cache, where do you view?"
    )
    for seed, form in enumerate(
        [{"dtype": "float64"}, {"dtype": "bfloat16"}, *({"layout": x} for x in OF_INPUT)]
    ):
        agree(exam, unit, Size(T=7, seed=50 + seed), chunks(3, 1, 1, 2), message, **form)


# A new token behind few others, where one old token that is projected again shows, and behind many, where an
# old row of scores does.
WORK = tuple(Size(B=1, T=T, block_size=T + 1, seed=46) for T in (4, 63))


def work(subject, unit) -> Reading:
    """{tokens: the multiplications that the last of them takes}"""
    found = {}
    for size in WORK:
        asked = unit.asked("work", size, unit.weights(size), looks=LOOKS, x=size.x())
        found[str(size.T)] = int(subject.run(asked).plain("count"))
    return found


@of_readings
def same_work(one, other):
    return all(abs(math.log(max(one[key], 1) / max(other[key], 1))) < 0.2 for key in other)


@check("cached_work", "a new token computes itself alone", ("cached_tokens",))
def computes_new_tokens_alone(exam, unit):
    case = {"T": [size.T for size in WORK], "n_embd": WORK[0].n_embd, "n_head": WORK[0].n_head}
    got = look(exam, case, work, unit, same=same_work)
    for size in WORK:
        # Its products with four (C, C) weights, and one row of scores and weights: of block_size keys, since
        # a cache of fixed size is right, too, and twice that much, since it may be written by a product.
        C, count = size.n_embd, got[str(size.T)]
        row = 2 * size.block_size * C
        if count > 4 * C * C + 2 * row + C * C // 2:
            fail(
                case,
                f"A token that follows {size.T - 1} others must compute the query, key and value of that "
                f"token alone, and one row of scores. What of the old tokens do you compute again, where you "
                f"could have kept it?",
                f"{count:,} multiplications; its own projections take {4 * C * C:,}, its row {row:,}",
            )


def operations(subject, unit) -> Reading:
    cases = {}
    for H in (2, 12):
        size = Size(T=4, n_embd=2 * H, n_head=H)
        weights = unit.own(size, unit.weights(size))
        cases[f"H = {H}"] = {"config": unit.config(size), "weights": weights, "x": size.x()}
    answer = subject.run(LOOKS("operations", unit=unit.name, cases=cases))
    return {key: int(answer.plain(key)["count"]) for key in cases}


def grows(got: Reading) -> bool:
    return max(got.values()) - min(got.values()) > EXTRA


@check("cached_heads", "no loop over the heads in forward_cached either", ("cached_tokens",))
def no_loop_over_heads_in_chunks(exam, unit):
    case = {"T": 4, "head_size": 2, "n_head": [2, 12]}
    got = look(exam, case, operations, unit, same=of_readings(lambda one, other: grows(one) == grows(other)))
    if grows(got):
        counts = ", ".join(f"{count} operations with {key}" for key, count in got.items())
        fail(case, "forward_cached goes over the heads one by one: its operations grow with H.", counts)


@check("cached_devices", devices.TITLE, ("cached_tokens",))
def makes_its_cache_on_the_device(exam, unit):
    size, calls = Size(T=35, block_size=39, seed=47), chunks(30, 1, 3, 1)  # lengths of no other check
    given = {"dtype": "float32", "layout": "contiguous", "change": 0.0, "change_at": None, "refused": None}
    asked = unit.asked(
        "in_turn", size, unit.weights(size), looks=LOOKS, texts=[size.x()], calls=calls, **given
    )
    devices.check_devices(exam, size.as_case(), "The output of forward_cached", "x", asked)


def generated(subject, unit) -> Reading:
    """{"supported", "without", "with": the tokens}"""
    config = GPT_SIZE.config(P) | {"n_layer": 2}
    idx = np.random.default_rng(3).integers(0, 11, size=(3, 4))
    given = {"config": config, "weights": gpt_weights(unit, config), "idx": idx, "count": 9}
    answer = subject.run(LOOKS("generated", unit=unit.name, **given))
    tokens = {key: answer.tensor(key, (3, 13), "the text", "int64") for key in ("without", "with")}
    return tokens | {"supported": answer.plain("supported")}


@check(
    "generates",
    "a GPT with it generates with the cache, the very tokens as without",
    ("cached_any", "in_gpt"),
)
def generates_with_the_cache(exam, unit):
    case = {"B": 3, "T": 4, "count": 9, "n_layer": 2, **GPT_SIZE.config(P)}
    got, right = look(exam, case, generated, unit), exam.expected(generated, unit)["without"]
    if got["supported"] is not True:
        fail(
            case,
            "gpt_core.kv_cache.supports_cache must be True of a GPT with your attention. Are forward and "
            "forward_cached methods of one class, and none of them exchanged on the instance?",
        )
    for how in ("without", "with"):
        if not np.array_equal(got[how], right):
            fail(
                case, f"The text that is generated {how} the cache is another one. What do the layers share?"
            )


CHECKS = (
    gives_a_whole_text,
    goes_on_token_by_token,
    goes_on_by_chunks,
    masks_large_scores_in_chunks,
    takes_any_chunks,
    keeps_caches_apart,
    refuses_too_many_tokens,
    takes_chunks_of_any_form,
    computes_new_tokens_alone,
    no_loop_over_heads_in_chunks,
    makes_its_cache_on_the_device,
    generates_with_the_cache,
)
