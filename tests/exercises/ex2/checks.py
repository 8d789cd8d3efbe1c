"""The checks of exercise 2, one mechanism each: problems as text, batches, the loss, the sampler, decoding,
a few steps of training, and then the training run that shows whether the model adds.
"""

import functools

import numpy as np
from hypothesis import strategies as st

from tests.exercises import EXERCISES
from tests.exercises.battery import decoding, devices, function, sampling
from tests.exercises.battery.sampling import LIMIT, close, deviation, deviation_of
from tests.exercises.battery.training import (
    RunProgress,
    check_parts,
    check_report,
    check_seed,
    check_updates,
    long_run,
    moved,
    same_by,
    seed_of_held_out,
)
from tests.exercises.ex2 import readings, training
from tests.exercises.ex2.readings import ADD, Asking, Problems
from tests.exercises.ex2.training import MOST_PARAMETERS, UNIT, Adding
from tests.exercises.exam import CheckFailed, Numbers, check, fail, for_all, look, of_readings
from tests.exercises.numbers import tolerance, worst, wrong

FUNCTIONS = (
    "encode_problem",
    "decode_answer",
    "make_batch",
    "masked_loss",
    "sample_problems",
    "add",
    "train_adder",
)
PLAIN = Problems(n_digits=3, B=5)
# Every check that needs no training: what trains starts when they all pass.
TRAINING = tuple(id for id in EXERCISES["ex2"].checks if id.startswith("train_"))
CHEAP = tuple(id for id in EXERCISES["ex2"].checks if id not in TRAINING)


@st.composite
def cases(draw):
    """Problems of 1 to 9 digits, a batch of one included."""
    return Problems(draw(st.integers(1, 9)), draw(st.integers(1, 4)), draw(st.integers(0, 99)))


@st.composite
def problems(draw):
    """(a, b, n_digits), numbers of every length up to n."""
    n = draw(st.integers(1, 9))
    a, b = (draw(st.integers(0, 10 ** draw(st.integers(1, n)) - 1)) for _ in range(2))
    return a, b, n


def shown(tokens) -> str:
    """Tokens as characters; -1 as a dot, anything else that is no token as a question mark."""
    return " ".join(
        "." if t == -1 else readings.VOCABULARY[t] if 0 <= t < 12 else "?" for t in map(int, tokens)
    )


@check("runs", "the file runs, and defines the seven functions of the contract")
def test_runs(exam):
    function.defined(exam, FUNCTIONS)


# Problems as text.

EXAMPLES = ((85, 50, 2), (7, 5, 3), (123, 456, 3), (999, 1, 3), (0, 0, 3), (90, 80, 4))


def text_numbers(part: str, wanted, got) -> Numbers:
    """The same part, "problem" or "answer", of all examples."""
    return Numbers("text", np.array(wanted), np.array(got), facts={"part": part, "problems": EXAMPLES})


def problem_part(subject, examples):
    return {"parts": [text.split("=")[0] for text in readings.encoded(subject, examples)["texts"]]}


def answer_part(subject, examples):
    return {
        "parts": [
            text.split("=", 1)[1] if "=" in text else ""
            for text in readings.encoded(subject, examples)["texts"]
        ]
    }


@check("encode_problem_part", 'before "=" stand a, "+" and b, padded with zeros to n digits', ("runs",))
def test_encode_problem_part(exam):
    got = look(exam, {"problems": EXAMPLES}, problem_part, EXAMPLES)["parts"]
    every = [readings.encode(*problem).split("=")[0] for problem in EXAMPLES]
    for (a, b, n), wanted, came in zip(EXAMPLES, every, got):
        if came != wanted:
            fail(
                {"a": a, "b": b, "n_digits": n},
                f"With n_digits = {n} the problem {a} + {b} must begin {wanted!r}, and yours begins "
                f"{came!r}. Every problem has the same length, so that a place always means the same power "
                "of ten: what pads a and b?",
                numbers=text_numbers("problem", every, got),
            )


@check("encode_answer_part", 'after "=" stands the sum, its last digit first, n + 1 digits long', ("runs",))
def test_encode_answer_part(exam):
    got = look(exam, {"problems": EXAMPLES}, answer_part, EXAMPLES)["parts"]
    every = [readings.encode(*problem).split("=")[1] for problem in EXAMPLES]
    for (a, b, n), wanted, came in zip(EXAMPLES, every, got):
        if came != wanted:
            hint = ""
            if came[::-1] == wanted:
                hint = " Yours has its first digit first: which digit can be known before any carry is?"
            elif len(came) != len(wanted):
                hint = (
                    f" Yours has {len(came)} digits: two numbers of {n} digits have a sum of up to {n + 1}."
                )
            fail(
                {"a": a, "b": b, "n_digits": n},
                f"{a} + {b} = {a + b}, which with {n + 1} digits and the last one first is {wanted!r}; yours "
                f"is {came!r}.{hint}",
                numbers=text_numbers("answer", every, got),
            )


ALWAYS_ENCODED = ((9, 9, 1), (0, 0, 1), (999999999, 999999999, 9), (99, 99, 2), (1, 999, 3))


@check(
    "encode_any",
    "any two numbers of up to n digits are encoded right",
    ("encode_problem_part", "encode_answer_part"),
)
def test_encode_any(exam):
    def body(exam, problem):
        a, b, n = problem
        got = look(exam, {"a": a, "b": b, "n_digits": n}, readings.encoded, (problem,))["texts"][0]
        if got != readings.encode(a, b, n):
            fail(
                {"a": a, "b": b, "n_digits": n},
                f"encode_problem({a}, {b}, {n}) must be {readings.encode(a, b, n)!r}, and is {got!r}. What "
                "is special about these numbers?",
            )

    for_all(exam, problems(), body, max_examples=10, always=ALWAYS_ENCODED)


REFUSED_PROBLEMS = (
    (-1, 5, 2),
    (5, -1, 2),
    (100, 5, 2),
    (5, 100, 2),
    (-12, -34, 3),
    (1000, 999, 3),
    (10, 0, 1),
    (271, 5, 2),
    (3, 4567, 3),
)


@check("encode_errors", "a negative number, or one of more than n digits, is a ValueError", ("runs",))
def test_encode_errors(exam):
    function.refuses(
        exam,
        "encode_problem",
        REFUSED_PROBLEMS,
        "Such a problem does not fit its places, and would be read as another one. Are both a and b checked, "
        "for both?",
    )


ANSWERS = ("531", "2100", "0", "000", "0001", "9", "012", "8991", "123456789012345678901234567890")


@check("decode_digits", "an answer's digits are read with the last digit first", ("runs",))
def test_decode_digits(exam):
    got = look(exam, {"answers": ANSWERS}, readings.decoded, ANSWERS)["numbers"]
    for text, came in zip(ANSWERS, got):
        if came != int(text[::-1]):
            fail(
                {"digits": text},
                f"decode_answer({text!r}) must be {int(text[::-1])}, and is {came}. The first character is "
                "the digit of the units: which one does yours take for it?",
            )


REFUSED_ANSWERS = (
    ("",),
    ("12+",),
    ("=12",),
    ("-5",),
    ("5-",),
    ("5+",),
    (" 5",),
    ("5 ",),
    ("1_0",),
    ("5\n",),
    ("\n5",),
    ("1.0",),
    ("12=",),
    ("1,2",),
    ("1 2",),
    ("+5",),
    ("٣٤",),
    ("４２",),
    ("²",),
    ("a",),
)


@check("decode_errors", "anything but one or more of the digits 0 to 9 is a ValueError", ("runs",))
def test_decode_errors(exam):
    function.refuses(
        exam,
        "decode_answer",
        REFUSED_ANSWERS,
        "int() is more generous than this contract: it takes spaces, signs, underscores and the digits of "
        "other scripts.",
    )


# Batches.


@check("batch_form", "make_batch gives two long tensors of shape (B, 3n + 2), on the device of a", ("runs",))
def test_batch_form(exam):
    look(exam, PLAIN.as_case(), function.has_form, readings.made_batch, PLAIN)


def batch_numbers(exam, case: Problems) -> Numbers | None:
    """All of a batch, x and y: what is wrong in one may come from the other."""
    a, b = case.numbers()
    got = exam.further(readings.made_batch, case)
    if got is None:
        return None
    expected = np.stack(readings.batch(a, b, case.n_digits))
    facts = {"a": a, "b": b, "n_digits": case.n_digits}
    return Numbers("tokens", expected, np.stack([got["x"], got["y"]]), facts=facts)


def batch_x(subject, case):
    return {"x": readings.made_batch(subject, case)["x"]}


def batch_places(subject, case):
    """Where targets count, and what stands where none should."""
    y = readings.made_batch(subject, case)["y"]
    return {"counted": y != -1, "elsewhere": y[:, : 2 * case.n_digits + 1]}


def batch_targets(subject, case):
    """The targets of the answer's places."""
    return {"targets": readings.made_batch(subject, case)["y"][:, 2 * case.n_digits + 1 :]}


def first_wrong_row(expected, got):
    return int((expected != got).any(axis=1).argmax())


@check("batch_input", "x is the encoded problem without its last token", ("batch_form",))
def test_batch_input(exam):
    expected, _ = readings.batch(*PLAIN.numbers(), PLAIN.n_digits)
    got = look(exam, PLAIN.as_case(), batch_x, PLAIN)["x"]
    if not np.array_equal(expected, got):
        row = first_wrong_row(expected, got)
        a, b = (int(numbers[row]) for numbers in PLAIN.numbers())
        fail(
            PLAIN.as_case(a=a, b=b),
            f"For {a} + {b} with {PLAIN.n_digits} digits, x must be the tokens of "
            f"{readings.encode(a, b, PLAIN.n_digits)!r} but for the last. At which position do they part?",
            f"expected  {shown(expected[row])}",
            f"got       {shown(got[row])}   (. is -1, ? is no token)",
            numbers=batch_numbers(exam, PLAIN),
        )


@check(
    "batch_places",
    'the targets that count stand under "=" and the answer\'s digits, all others are -1',
    ("batch_form",),
)
def test_batch_places(exam):
    _, expected = readings.batch(*PLAIN.numbers(), PLAIN.n_digits)
    counted = look(exam, PLAIN.as_case(), batch_places, PLAIN)["counted"]
    if not np.array_equal(counted, expected != -1):
        n = PLAIN.n_digits
        wanted = list(range(2 * n + 1, 3 * n + 2))
        came = np.flatnonzero(counted[first_wrong_row(expected != -1, counted)]).tolist()
        row = first_wrong_row(expected != -1, counted)
        fail(
            PLAIN.as_case(),
            f'With n_digits = {n}, "=" stands at position {2 * n + 1}, and the token after it is the first '
            f"digit of the "
            f"answer: so the targets at {wanted[0]} to {wanted[-1]} count, and all others must be -1. Which "
            f"ones count in "
            f"yours?",
            f"expected  {wanted}",
            f"got       {came}",
            f"y         {shown(readings.made_batch(exam.attempt, PLAIN)['y'][row])}   (. is -1, ? is no "
            f"token)",
            numbers=batch_numbers(exam, PLAIN),
        )


@check(
    "batch_targets",
    "each target is the token after it: the next digit of the answer",
    ("encode_answer_part", "batch_form"),
)
def test_batch_targets(exam):
    n = PLAIN.n_digits
    _, y = readings.batch(*PLAIN.numbers(), n)
    expected = y[:, 2 * n + 1 :]
    got = look(exam, PLAIN.as_case(), batch_targets, PLAIN)["targets"]
    if not np.array_equal(expected, got):
        row = first_wrong_row(expected, got)
        a, b = (int(numbers[row]) for numbers in PLAIN.numbers())
        fail(
            PLAIN.as_case(a=a, b=b),
            f'For {a} + {b} = {a + b} the targets from "=" on must be the {n + 1} digits of the answer, the '
            f"last digit of "
            f"the sum first. A model predicts the *next* token: is y one place ahead of x?",
            f"expected  {shown(expected[row])}",
            f"got       {shown(got[row])}   (. is -1, ? is no token)",
            numbers=batch_numbers(exam, PLAIN),
        )


@check(
    "batch_any",
    "batches are right for any n and B, one problem alone included",
    ("batch_input", "batch_places", "batch_targets"),
)
def test_batch_any(exam):
    def body(exam, case):
        x, y = readings.batch(*case.numbers(), case.n_digits)
        got = look(exam, case.as_case(), readings.made_batch, case)
        for key, expected in (("x", x), ("y", y)):
            if not np.array_equal(expected, got[key]):
                row = first_wrong_row(expected, got[key])
                a, b = (int(numbers[row]) for numbers in case.numbers())
                fail(
                    case.as_case(a=a, b=b),
                    f"{key} is right for {PLAIN.n_digits} digits, and wrong for {a} + {b} with "
                    f"{case.n_digits}. Which number in your code depends on n_digits, and is every step "
                    "exact for large numbers?",
                    f"expected  {shown(expected[row])}",
                    f"got       {shown(got[key][row])}   (. is -1, ? is no token)",
                )

    for_all(
        exam,
        cases(),
        body,
        max_examples=10,
        always=(Problems(1, 3), Problems(9, 8), Problems(2, 1), Problems(5, 2)),
    )


# Shortcuts are taken for one digit, for one problem, and where nothing has to be padded.
KEPT = (PLAIN, Problems(1, 1), Problems(9, 4), Problems(2, 1))


@check("batch_kept", "make_batch leaves a and b as they are", ("batch_form",))
def test_batch_kept(exam):
    for case in KEPT:
        function.all_kept(exam, case.as_case(), "make_batch", readings.batch_kept, case)


# More digits than in any other check: what is kept from a call with as many was not watched.
WATCHED = Problems(n_digits=12, B=6)


@check("batch_devices", devices.TITLE, ("batch_form",))
def test_batch_devices(exam):
    asked = readings.batch_asked(*WATCHED.numbers(), WATCHED.n_digits)
    devices.check_devices(exam, WATCHED.as_case(), "x and y of make_batch", "a", asked)


# The loss.


def logits_and_targets(B=4, T=7, V=5, seed=0, scale=2.0):
    """Logits, and targets of which about half count: never the same number in two rows, 0 among them; of four
    rows one has a hole and one no target that counts."""
    rng = np.random.default_rng((seed, 21))
    logits = (scale * rng.normal(size=(B, T, V))).astype(np.float32)
    targets = rng.integers(0, V, size=(B, T))
    for row in range(B):
        targets[row, : 1 + row * (T - 2) // max(B - 1, 1)] = -1
        targets[row, -1] = 0  # the token of id 0 is a target like any other
    if B >= 4:
        targets[1, -2], targets[2] = -1, -1
    return logits, targets.astype(np.int64)


def loss_case(logits, targets):
    B, T, V = logits.shape
    return {"B": B, "T": T, "V": V, "targets that count": int((targets != -1).sum())}


LOSSES = ((3, 7, 5), (1, 1, 12), (2, 11, 12), (4, 8, 12))  # B, T, V


def of_loss_value(sizes: tuple) -> tuple[np.ndarray, np.ndarray]:
    logits, targets = logits_and_targets(*sizes)
    targets[0, -1] = 0
    return logits, targets


def loss_numbers(exam) -> Numbers | None:
    """The loss for all sizes: in each of them a count is another number."""
    cases = [of_loss_value(sizes) for sizes in LOSSES]
    got = [exam.further(readings.loss_value, *case) for case in cases]
    if None in got:
        return None
    expected = np.array([readings.loss_and_gradient(*case)[0] for case in cases])
    facts = {key: [sizes[at] for sizes in LOSSES] for at, key in enumerate("BTV")} | {
        "places": [B * T for B, T, _ in LOSSES],
        "counted": [int((targets != -1).sum()) for _, targets in cases],
    }
    allowed = tolerance("float32", max(logits.size for logits, _ in cases), 1.0)
    return Numbers("loss", expected, np.array([reading["loss"] for reading in got]), allowed, facts)


@check("loss_value", "masked_loss is the mean cross entropy over the targets that are not -1", ("runs",))
def test_loss_value(exam):
    for sizes in LOSSES:
        logits, targets = of_loss_value(sizes)
        case = loss_case(logits, targets)
        expected, _ = readings.loss_and_gradient(logits, targets)
        got = look(exam, case, readings.loss_value, logits, targets)["loss"]
        if not abs(got - expected) <= tolerance("float32", logits.size, max(abs(expected), 1.0)):
            count, every = case["targets that count"], logits.shape[0] * logits.shape[1]
            hint = ""
            if abs(got - expected * count) < 1e-4 * abs(got):
                hint = f" It is the sum: divide by the {count} targets that count."
            elif abs(got - expected * count / every) < 1e-4 * abs(got):
                hint = f" It is the sum divided by all {every} positions: only {count} of them count."
            fail(
                case,
                f"The mean over the {count} targets that are not -1 is {expected:.6f} nats, and yours is "
                f"{got:.6f}.{hint} Which positions are summed, and what is the sum divided by?",
                numbers=loss_numbers(exam),
            )


@check(
    "loss_gradient", "its gradient at the targets that count is (softmax - one-hot) / count", ("loss_value",)
)
def test_loss_gradient(exam):
    logits, targets = logits_and_targets()
    case = loss_case(logits, targets)
    expected = readings.loss_and_gradient(logits, targets)[1][targets != -1]
    got = look(exam, case, readings.loss_gradient, logits, targets)["gradient"]
    if got is None:
        fail(
            case,
            "The loss has no gradient for the logits: nothing can be learned from it. Is it detached, or "
            "made a Python number?",
        )
    if wrong(expected, got, 1e-6).any():
        fail(
            case,
            "The value is right, and the gradient is not. Is a part of the loss detached?",
            worst(expected, got, ("target", "token")),
        )


@check("loss_masked_gradient", "no gradient reaches the places whose target is -1", ("loss_value",))
def test_loss_masked_gradient(exam):
    logits, targets = logits_and_targets()
    case = loss_case(logits, targets)
    got = look(exam, case, readings.loss_masked_gradient, logits, targets)["gradient"]
    if got is None:
        fail(case, "The loss has no gradient for the logits. Is it detached, or made a Python number?")
    if not (got == 0).all():
        fail(
            case,
            "Where the target is -1 the gradient must be exactly 0, and it is not. Do these places enter the "
            "loss in another way, through a mean or a multiplication?",
            worst(np.zeros_like(got), got, ("masked place", "token")),
        )


@check(
    "loss_all_masked", "where every target is -1 the loss is 0, not NaN, and can be differentiated", ("runs",)
)
def test_loss_all_masked(exam):
    logits, targets = logits_and_targets()
    targets[:] = -1
    case = loss_case(logits, targets)
    got = look(exam, case, readings.loss_of, logits, targets, same=same_masked)
    if not got["loss"] == 0:
        fail(
            case,
            f"With no target that counts the loss must be 0, and yours is {got['loss']:.6g}. A mean of "
            f"nothing divides 0 by 0.",
        )
    if got["gradient"] is None or not (got["gradient"] == 0).all():
        came = "has none" if got["gradient"] is None else "is not 0 (or NaN)"
        fail(
            case,
            "The loss is 0, and backward() must still work: the gradient for the logits is 0 everywhere; "
            f"yours {came}. Is the 0 a new constant, where it should come from the logits?",
        )


@of_readings
def same_masked(one, other):
    """The loss, and whether its gradient is none, zero or something else."""

    def kind(reading):
        gradient = reading["gradient"]
        return "none" if gradient is None else "zero" if (gradient == 0).all() else "other"

    losses = [reading["loss"] for reading in (one, other)]
    return kind(one) == kind(other) and (
        abs(losses[0] - losses[1]) < 1e-4 or all(loss != loss for loss in losses)
    )


@check("loss_large", "large logits give no infinity", ("loss_value",))
def test_loss_large(exam):
    # exp(200) is infinite in float32, and exp(-200) is 0.
    logits, targets = logits_and_targets(scale=200.0)
    case = loss_case(logits, targets) | {"largest logit": float(np.abs(logits).max())}
    expected, _ = readings.loss_and_gradient(logits, targets)
    got = look(exam, case, readings.loss_value, logits, targets)["loss"]
    if not abs(got - expected) <= tolerance("float32", logits.size, abs(expected)):
        fail(
            case,
            f"For logits of up to {case['largest logit']:.0f} the loss is {expected:.4f}, and yours is "
            f"{got:.4f}. The logarithm of a softmax loses what the softmax rounds to 0; cross_entropy and "
            "log_softmax do not.",
        )


# What training hands over: logits with their first or last places cut off, or with V moved from the middle to
# the end; targets that are a slice of longer rows.
LOSS_LAYOUTS = ("cut", "transposed", "sliced")


@check(
    "loss_layouts",
    "logits and targets may be slices of larger tensors",
    ("loss_gradient", "loss_masked_gradient"),
)
def test_loss_layouts(exam):
    logits, targets = logits_and_targets()
    expected, gradient = readings.loss_and_gradient(logits, targets)
    for layout in LOSS_LAYOUTS:
        case = loss_case(logits, targets) | {"layout of the logits": layout}
        got = look(exam, case, readings.loss_layout, logits, targets, layout)
        right = abs(got["loss"] - expected) <= tolerance("float32", logits.size, max(abs(expected), 1.0))
        if (
            not right
            or got["gradient"] is None
            or wrong(gradient.astype(np.float32), got["gradient"], 1e-6).any()
        ):
            fail(
                case,
                f"The same numbers in another layout must give the same loss, {expected:.6f}, and the same "
                f"gradient; yours is {got['loss']:.6f}. Does your code read memory in its own order (view, "
                "as_strided)? reshape follows the dimensions.",
            )


@check("loss_kept", "masked_loss leaves the logits and the targets as they are", ("runs",))
def test_loss_kept(exam):
    logits, targets = logits_and_targets()
    # Some places masked, all, none, and one alone: where nothing is masked, or everything, an attempt may
    # take a shortcut.
    cases = (
        (logits, targets),
        (logits, np.full_like(targets, -1)),
        (logits, np.maximum(targets, 0)),
        logits_and_targets(1, 1, 12),
    )
    for case in cases:
        function.all_kept(exam, loss_case(*case), "masked_loss", readings.loss_kept, *case)


@check("loss_devices", devices.TITLE, ("loss_value",))
def test_loss_devices(exam):
    logits, targets = logits_and_targets(B=3, T=9, V=6)
    cases = targets, np.full_like(targets, -1)
    asks = [readings.loss_asked(logits, some) for some in cases]
    devices.check_devices(exam, loss_case(logits, targets), "The loss", "the logits", *asks)


# The sampler.

DRAWS = 20_000


def drawn_numbers(exam) -> Numbers | None:
    """A large draw of problems of three digits: few enough numbers for each to come, and three lengths."""
    got, n = exam.further(readings.drawn, DRAWS, 3, 6), 3
    if got is None:
        return None
    return Numbers("drawn", np.array([0, 10**n - 1]), np.stack(got), facts={"n_digits": n})


@check("sample_form", "sample_problems gives two long tensors of `count` numbers on the CPU", ("runs",))
def test_sample_form(exam):
    for count, n in ((7, 3), (1, 3), (1000, 2), (5, 9), (5, 1)):
        look(exam, {"count": count, "n_digits": n}, function.has_form, readings.drawn, count, n, 1)


@check("sample_range", "every number has at most n digits, and none is negative", ("sample_form",))
def test_sample_range(exam):
    for count, n in ((2000, 1), (2000, 3), (2000, 9)):
        got = look(exam, {"count": count, "n_digits": n}, readings.sample_range, count, n)
        if got["below"] or got["above"]:
            fail(
                {"count": count, "n_digits": n},
                f"With {n} digits numbers go from 0 to {10**n - 1}, and some of yours are "
                f"{'above' if got['above'] else 'below'}. What are the bounds that you draw between?",
            )


@check("sample_held_out", "no problem that is held out is drawn, in neither order", ("sample_range",))
def test_sample_held_out(exam):
    # Three digits first, where most is drawn; then with few and with many digits, for which an attempt may
    # take another path.
    for count, n in ((DRAWS, 3), (3000, 2), (3000, 9)):
        no_held_out(exam, count, n)


def no_held_out(exam, count, n):
    case = {"count": count, "n_digits": n}

    @of_readings
    def same(one, other):
        return all(
            abs(one[key] - other[key]) < 0.006 and (one[key] > 0) == (other[key] > 0)
            for key in ("ordered", "swapped")
        )

    got = look(exam, case, readings.held_out_shares, exam.reference, count, n, same=same)
    if got["ordered"] or got["swapped"]:
        a, b = got["example"]
        fail(
            case | {"a": a, "b": b},
            "A problem for which is_held_out says True must never be drawn: the model is measured on these. "
            "Yours draws some. What happens to the places of those that you throw away, and is (b, a) "
            "thrown away with (a, b)?",
            f"held out among those with a <= b: {got['ordered']:.2%}; among those with a > b: "
            f"{got['swapped']:.2%}",
            f"for example {a} + {b}",
        )


@check("sample_seed", "the generator alone decides what is drawn, and advances", ("sample_form",))
def test_sample_seed(exam):
    for count, n in ((60, 3), (60, 7), (2000, 3)):
        case = {"count": count, "n_digits": n}
        function.generator_decides(exam, case, "sample_problems", readings.seeds, count, n)


@check(
    "sample_calls",
    "many small draws from one generator are as good as a large one",
    ("sample_held_out", "sample_seed"),
)
def test_sample_calls(exam):
    # Of 240 pairs from 900,000, two alike come up in a thirtieth of the seeds, and a fourth time in fewer
    # than 1 of 10**7.
    case = {"calls": sampling.SMALL_CALLS, "count": 1, "n_digits": 3}
    sampling.check_small_calls(exam, case, readings.small_draws, exam.reference, most=3)


@check(
    "sample_uniform", "every pair that is left for training is as likely as any other", ("sample_held_out",)
)
def test_sample_uniform(exam):
    # One digit: few enough pairs to count each; the largest number, 9, is every tenth.
    case = {"count": DRAWS, "n_digits": 1}
    a, b = np.divmod(np.arange(100), 10)
    allowed = ~readings.held_out(exam.reference, a, b, 1).reshape(10, 10)
    shares = allowed / allowed.sum()
    expected = shares * DRAWS

    def deviations(shares):
        """Of the pairs, and the largest of these and of the numbers a and b alone."""
        counts = shares * DRAWS
        pairs = deviation(counts, expected, int(allowed.sum()) - 1)
        sides = [deviation(counts.sum(axis=axis), expected.sum(axis=axis), 9) for axis in (0, 1)]
        return pairs, max(pairs, *sides)

    def same(one, other):
        if not close("shares", 0.005)(one, other) or isinstance(one, CheckFailed):
            return isinstance(one, CheckFailed) and close("shares", 0.005)(one, other)
        # Near each other may also be a right table and one that is slightly wrong.
        return (deviations(one["shares"])[1] > LIMIT) == (deviations(other["shares"])[1] > LIMIT)

    got = look(exam, case, readings.pair_table, DRAWS, same=same)["shares"]
    sampling.remark_slow(exam, DRAWS)
    pairs, largest = deviations(got)
    if largest > LIMIT:
        lines = [
            f"{side} = {digit}: drawn {came:.2%} of the time, expected {wanted:.2%}"
            for side, axis in (("a", 1), ("b", 0))
            for digit, (came, wanted) in enumerate(zip(got.sum(axis=axis), shares.sum(axis=axis)))
            if abs(came - wanted) * DRAWS > LIMIT * np.sqrt(wanted * DRAWS)
        ]
        never = np.argwhere(allowed & (got == 0))
        if len(never):
            lines.append(f"never drawn: {len(never)} pairs, such as {int(never[0][0])} + {int(never[0][1])}")
        fail(
            case,
            f"Each of the {int(allowed.sum())} pairs of one digit that are left for training must be drawn "
            f"equally often; yours are {largest:.0f} standard deviations from that. What are the bounds of "
            "your draw, and when one is thrown away, are both numbers drawn again?",
            *lines[:8],
            numbers=drawn_numbers(exam),
        )
    if pairs < -LIMIT:
        fail(
            case,
            "Your draws are more even than chance: independent draws with replacement repeat some pairs and "
            "miss others. Do you go through a shuffled list?",
        )


@check("sample_replacement", "draws are independent: a pair may come again", ("sample_held_out",))
def test_sample_replacement(exam):
    count, n = 5000, 2
    case = {"count": count, "n_digits": n}
    grid = np.arange(10**n)
    a, b = np.repeat(grid, 10**n), np.tile(grid, 10**n)
    pool = int((~readings.held_out(exam.reference, a, b, n)).sum())
    expected = pool * (1 - (1 - 1 / pool) ** count)
    got = look(exam, case, readings.distinct, count, n, same=close("distinct", 150))["distinct"]
    # The number of different pairs has a standard deviation below sqrt(pool) / 3 = 32.
    if abs(got - expected) > 200:
        fail(
            case,
            f"Among {count} independent draws from {pool} pairs, about {expected:.0f} are different; yours "
            f"has {got}. "
            + ("Do you draw without replacement?" if got > expected else "Does it draw from a small pool?"),
        )


# Draws and calls: all in one, and as small batches. Not more of these, since a right sampler may take a
# quarter of a second each.
LOTS = ((DRAWS, 1, 3), (5000, 50, 3), (5000, 1, 7))


def independent(count: int, n: int) -> dict[str, float]:
    """How many different pairs of n digits there are among independent draws, ordered and unordered."""
    pool, alone = 0.9 * 100.0**n, 0.9 * 10.0**n
    both_ways = (
        pool - alone
    ) / 2  # unordered pairs that come in two orders; those that are alone come in one
    kinds = {"distinct": ((pool, 1),), "unordered": ((alone, 1), (both_ways, 2))}
    return {
        key: sum(-many * np.expm1(count * np.log1p(-ways / pool)) for many, ways in groups)
        for key, groups in kinds.items()
    }


def dependence(got, count: int, n: int) -> dict[str, float]:
    """How far a reading is from independent draws, by what: more than 1 is too far, which happens for a right
    sampler in fewer than 1 of 10**7 seeds, all measures together. Over 400 seeds of the solution the largest
    of these shares was 0.73."""
    found = {
        key: abs(got[key] - wanted) / sampling.farthest(max(count - wanted, 0.0))
        for key, wanted in independent(count, n).items()
    }
    found["spread"] = max(abs(deviation_of(spread, 999)) for spread in got["spread"]) / LIMIT
    return found | {"couples": got["couples"], "strongest": got["strongest"] / sampling.STRONGEST}


def same_dependence(count: int, n: int):
    """The same measures are too far off, by about as much, and in the same place."""

    @of_readings
    def same(one, other):
        first, second = (
            {key: far for key, far in dependence(got, count, n).items() if far > 1} for got in (one, other)
        )
        near = first.keys() == second.keys() and all(
            abs(first[key] - second[key]) <= 0.2 * first[key] + 0.5 for key in first
        )
        places = {sampling.place(got["strongest_where"], count) for got in (one, other)}
        return near and ("strongest" not in first or len(places) == 1)

    return same


@check(
    "sample_independent",
    "draws do not depend on each other, wherever they stand and in however many calls",
    ("sample_replacement", "sample_calls"),
)
def test_sample_independent(exam):
    for count, calls, n in LOTS:
        case = {"count": count // calls, "calls": calls, "n_digits": n}
        got = look(exam, case, readings.independence, count, calls, n, same=same_dependence(count, n))
        too_far = {key for key, far in dependence(got, count, n).items() if far > 1}
        if not too_far:
            continue
        expected = independent(count, n)
        lines = [
            f"{words}: {got[key]:,}, and about {expected[key]:,.0f} of {count:,} are expected"
            for key, words in (
                ("distinct", "different pairs"),
                ("unordered", "different pairs, in whatever order"),
            )
            if key in too_far
        ]
        if "couples" in too_far:
            lines.append(f"{got['couples_where']} come in fewer different couples than chance gives")
        if "spread" in too_far:
            lines.append(
                f"the numbers from 0 to {10**n - 1} come "
                + ("more evenly than chance" if min(got["spread"]) < 900 else "unevenly")
            )
        if "strongest" in too_far:
            lines.append(
                f"the strongest correlation is that of {got['strongest_where']}: {got['strongest']:.0f} "
                f"standard deviations"
            )
        fail(
            case,
            "Draws must be independent, and yours are not: a pair, or one number of it, can be predicted "
            "from others. Is the batch sorted, reversed, repeated or gone through in order, or is one "
            "number made from another?",
            *lines,
            numbers=drawn_numbers(exam),
        )


@check("sample_digits", "every digit is as likely at every place, for many digits too", ("sample_held_out",))
def test_sample_digits(exam):
    for count, n in ((DRAWS, 3), (5000, 9)):
        case = {"count": count, "n_digits": n}
        got = look(exam, case, readings.digit_shares, count, n, same=close("shares", 0.06))["shares"]
        deviations = [
            [deviation(got[s, p] * count, np.full(10, count / 10), 9) for p in range(n)] for s in range(2)
        ]
        if np.max(deviations) > LIMIT + 0.5:  # up to 18 places are looked at
            side, place = np.unravel_index(int(np.argmax(deviations)), (2, n))
            shares = ", ".join(f"{digit}: {share:.0%}" for digit, share in enumerate(got[side, place]))
            fail(
                case,
                f"With numbers drawn uniformly from 0 to {10**n - 1} each digit stands at each place a tenth "
                f"of the time. In yours the digit of 10^{place} of {'ab'[side]} does not. Is a length drawn "
                "first, or a float rounded?",
                shares,
                numbers=drawn_numbers(exam),
            )


# Answers.

ASKING = Asking(PLAIN)


@check("add_form", "add gives a long tensor of shape (B,), on the device of a", ("runs",))
def test_add_form(exam):
    look(exam, PLAIN.as_case(), function.has_form, decoding.answers, ADD, ASKING)


@check("add_prompt", 'the model is given the problem up to "=", and nothing of the answer', ("add_form",))
def test_add_prompt(exam):
    n = PLAIN.n_digits
    expected = sorted({tuple(row[: 2 * n + 2].tolist()) for row in readings.tokens(*PLAIN.numbers(), n)})
    got = look(exam, PLAIN.as_case(), readings.prompts, ASKING)["prompts"]
    if not got:
        fail(PLAIN.as_case(), "The model was never called: where does the answer come from?")
    if got != [list(row) for row in expected]:
        odd = next((row for row in got if tuple(row) not in expected), got[0])
        fail(
            PLAIN.as_case(),
            f'Every call of the model must begin with an encoded problem up to and with "=", {2 * n + 2} '
            f"tokens here. What "
            f"stands at the beginning of yours?",
            f"expected  {shown(expected[0])}",
            f"got       {shown(odd)}",
        )


@check("add_calls", "the model is called once per digit of the answer, with the whole batch", ("add_form",))
def test_add_calls(exam):
    for case in (PLAIN, Problems(3, 40)):
        n, B = case.n_digits, case.B
        got = look(exam, case.as_case(), readings.call_sizes, Asking(case))["sizes"]
        if got != [B] * (n + 1):
            hint = (
                "Is there a loop over the problems?"
                if len(got) > 2 * (n + 1)
                else f"Two numbers of {n} digits have a sum of {n + 1}."
            )
            fail(
                case.as_case(),
                f"{B} problems of {n} digits take {n + 1} calls of the model, each with all {B} of them; "
                f"yours makes {len(got)} calls. {hint}",
                f"problems per call: {got[:12]}",
            )


@check(
    "add_feedback", "each call sees the digits that the model wrote before it", ("add_prompt", "add_calls")
)
def test_add_feedback(exam):
    n = PLAIN.n_digits
    digits = ASKING.digits()
    expected = np.full((n + 1, PLAIN.B, n), -1, dtype=np.int64)
    for k in range(n + 1):
        expected[k, :, :k] = digits[:, :k]
    got = look(exam, PLAIN.as_case(), readings.feedback, ASKING)["seen"]
    if not np.array_equal(expected, got):
        k, row, _ = np.argwhere(expected != got)[0]
        a, b = (int(numbers[row]) for numbers in PLAIN.numbers())
        true = [int(d) for d in readings.encode(a, b, n).split("=")[1]][:k]
        came = got[k, row, :k].tolist()
        hint = (
            "These are the digits of the true sum: the model is told what it should find."
            if came == true
            else "Which position's logits do you take, and where does its token go?"
        )
        fail(
            PLAIN.as_case(a=a, b=b, call=int(k)),
            f"In call {k} (counted from 0) the model must see the {k} digits that it chose itself, after "
            f'"=". {hint}',
            f"expected  {shown(expected[k, row, :k])}",
            f"got       {shown(came)}   (. is nothing)",
        )


def answers_fail(asking, got):
    case, digits = asking.problems, asking.digits()
    expected = readings.value_of(digits)
    if np.array_equal(expected, got):
        return
    row = int((expected != got).argmax())
    a, b = (int(numbers[row]) for numbers in case.numbers())
    hint = "Which position's logits do you take, and is the first digit that it writes the one of the units?"
    if np.array_equal(got, sum(case.numbers())):
        hint = "Yours are the true sums: is the model asked at all?"
    elif np.array_equal(got, readings.value_of(digits[:, ::-1])):
        hint = (
            "Yours read its digits the other way round: the first one that it writes is the one of the units."
        )
    fail(
        case.as_case(a=a, b=b),
        f"A test model answered, which writes a different number for every problem (not the sum). For {a} + "
        f"{b} it writes {shown(digits[row])}, which means {int(expected[row])}; your add gives "
        f"{int(got[row])}. {hint}",
    )


@check("add_answer", "the answer is what the model writes, its first digit being the units", ("add_prompt",))
def test_add_answer(exam):
    answers_fail(ASKING, look(exam, PLAIN.as_case(), decoding.answers, ADD, ASKING)["answers"])


@check("add_any", "answers are right for any n and B, one problem alone included", ("add_answer",))
def test_add_any(exam):
    def body(exam, case):
        asking = Asking(case, case.seed)
        answers_fail(asking, look(exam, case.as_case(), decoding.answers, ADD, asking)["answers"])

    for_all(exam, cases(), body, max_examples=8, always=(Problems(1, 3), Problems(9, 3), Problems(2, 1)))


@check("add_greedy", "decoding is greedy: the most likely digit, every time", ("add_form",))
def test_add_greedy(exam):
    # The winner leads by little: with 32 problems and 4 digits, a sample would differ nearly everywhere.
    decoding.check_greedy(exam, ADD, Asking(Problems(3, 32), 1, margin=0.5))


ASKED = decoding.in_all_modes(ASKING, *(Asking(case) for case in KEPT[1:]))


@check("add_eval", "it decodes in eval mode, whatever mode the model came in", ("add_form",))
def test_add_eval(exam):
    decoding.check_eval(exam, ADD, ASKED)


@check("add_mode", "the model is afterwards in the mode that it was in", ("add_form",))
def test_add_mode(exam):
    decoding.check_mode(exam, ADD, ASKED)


@check("add_gradients", "no gradients are recorded inside the model", ("add_form",))
def test_add_gradients(exam):
    decoding.check_gradients(exam, ADD, ASKED)


@check("add_kept", "add leaves a, b and all else of the model as they are", ("add_form",))
def test_add_kept(exam):
    # Models that take no token more than the longest problem, and one that does; in both modes.
    asks = [(Asking(case), decoding.TRAIN) for case in KEPT]
    decoding.check_kept(exam, ADD, (*asks, (Asking(PLAIN, spare=4), decoding.EVAL)))


@check("add_devices", devices.TITLE, ("add_form", "batch_devices"))
def test_add_devices(exam):
    asked = decoding.asked(ADD, Asking(WATCHED))
    devices.check_devices(exam, WATCHED.as_case(), "The result of add", "a", asked)


# A few steps of training.


def sizes_right(n, reading):
    """The number of tokens, whether it is long enough and small enough, and the device."""
    sizes = reading["sizes"]
    return (
        sizes["vocab_size"],
        sizes["block_size"] >= 3 * n + 2,
        sizes["parameters"] <= MOST_PARAMETERS,
        reading["device"],
    )


@check("train_updates", "train_adder makes exactly `steps` updates, of all models together", CHEAP)
def test_train_updates(exam):
    exam.prepare("train_seed")
    # One step is the shortest run there is; a schedule that divides by steps - 1 shows itself.
    check_updates(exam, UNIT, (Adding(2, 5), Adding(2, 1)))


@check("train_devices", "it trains on the device that it is given", ("train_updates",))
def test_train_devices(exam):
    case = Adding(2, 2, seed=3)
    asked = UNIT.ask("returned", case)
    what = "The model that train_adder trains"
    devices.check_devices(exam, case.as_case(), what, "its argument `device`", asked)


@check("train_returned", "what it returns is the model that was trained", ("train_updates",))
def test_train_returned(exam):
    case = Adding(2, 6)
    if not look(exam, case.as_case(), moved, UNIT, Adding(2, 1), case.steps)["moved"]:
        fail(
            case.as_case(),
            "With the same seed, 1 step and 6 steps return exactly the same weights: the training does not "
            "reach the model that you return. Which object does the optimizer hold, and which one do you "
            "return?",
        )


@check(
    "train_sizes", "the GPT has 12 tokens, 3n + 2 places and at most 1,000,000 parameters", ("train_updates",)
)
def test_train_sizes(exam):
    for n in (3, 5, 1):
        tried = Adding(n, 2)
        case = tried.as_case()
        reading = look(exam, case, training.sizes, tried, same=same_by(functools.partial(sizes_right, n)))
        got = reading["sizes"]
        if got["vocab_size"] != len(readings.VOCABULARY):
            fail(
                case,
                f"The vocabulary has {len(readings.VOCABULARY)} tokens, so vocab_size must be "
                f"{len(readings.VOCABULARY)}; yours is {got['vocab_size']}.",
            )
        if not got["block_size"] >= 3 * n + 2:
            fail(
                case,
                f"A problem of {n} digits has 3n + 2 = {3 * n + 2} tokens of input, so block_size must be at "
                f"least that; yours is {got['block_size']}.",
            )
        if not got["parameters"] <= MOST_PARAMETERS:
            fail(
                case,
                f"At most {MOST_PARAMETERS:,} parameters: a table of all problems would fit into a large "
                f"model. Yours has {got['parameters']:,}; about 100,000 are enough.",
            )
        if reading["device"] not in ("", exam.device):
            fail(
                case,
                f"It was asked to train on {exam.device}, and the weights that were trained are on "
                f"{reading['device']}.",
            )


@check("train_parts", "the model is a GPT with default parts: it is its weights that add", ("train_updates",))
def test_train_parts(exam):
    check_parts(exam, UNIT, Adding(2, 2))


@check("train_problems", "it trains on no problem that is held out", ("train_updates",))
def test_train_problems(exam):
    case = Adding(3, 10)

    @of_readings
    def same(one, other):
        return (one["held_out"] > 0) == (other["held_out"] > 0) and abs(
            one["held_out"] - other["held_out"]
        ) < 0.1

    # The look fails where no problem was seen.
    got = look(exam, case.as_case(), training.trained_on, exam.reference, case, same=same)
    if got["held_out"]:
        a, b = got["example"]
        fail(
            case.as_case(a=a, b=b),
            f"{got['held_out']:.0%} of the problems that it trains on are held out, for example {a} + {b}. "
            "The model could then memorise the answers that it is tested on. Where do its problems come "
            "from, if not from sample_problems?",
        )


@check("train_seed", "the seed alone decides the weights", ("train_updates", "train_returned"))
def test_train_seed(exam):
    check_seed(exam, UNIT, Adding(2, 3), elsewhere=Adding(2, 3, seed=5))


@check("train_report", "it calls report(step, loss), with an int and a float", ("train_updates",))
def test_train_report(exam):
    check_report(exam, UNIT, (Adding(1, 20), Adding(1, 1)))


# The training run.

DIGITS, PROBLEMS = 3, 4000


@check("train_adds", "trained with 2000 steps, it adds 99 % of held-out problems of 3 digits", TRAINING[:-1])
def test_train_adds(exam):
    case = {"n_digits": DIGITS, "steps": training.STEPS, "problems": PROBLEMS}
    progress = RunProgress(training.STEPS, exam.note)
    adding = Adding(DIGITS, training.STEPS, exam.seed + 1)
    model = long_run(exam, case, progress, lambda: training.trained(exam.attempt, adding, progress))
    held = readings.held_out(exam.reference, *model.problems, DIGITS)
    if held.any():
        a, b = (int(numbers[held.argmax()]) for numbers in model.problems)
        fail(
            case | {"a": a, "b": b},
            f"{held.mean():.1%} of the problems that were seen in its training are held out, for example "
            f"{a} + {b}; in the first steps there were none. The model could then memorise the answers that "
            "it is tested on: where do its later problems come from?",
        )
    exam.note("decoding held-out problems")
    result = training.measured(exam.reference, model, DIGITS, PROBLEMS, seed_of_held_out(exam))
    exam.shown += training.pictures(result, model, DIGITS)
    if result.exact < training.WANTED:
        seen = training.measured_on(exam.reference, model, DIGITS)
        message, lines = training.diagnosis(result, seen, model, DIGITS, training.WANTED)
        fail(case | {"seconds": round(progress.seconds)}, message, *lines)
    exam.measured = f"{result.exact:.2%} of {PROBLEMS} held-out problems are right"
