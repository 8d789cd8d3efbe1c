"""The checks of the calculator, one mechanism each: problems as text, batches, the sampler, decoding, a few
steps of training, and then the training run that shows whether the model calculates.
"""

import itertools

import numpy as np
from hypothesis import strategies as st

from tests.exercises import EXERCISES
from tests.exercises.battery import decoding, devices, function, sampling
from tests.exercises.battery.sampling import LIMIT, STRONGEST, deviation, deviation_of
from tests.exercises.battery.training import (
    RunProgress,
    check_parts,
    check_report,
    check_seed,
    check_updates,
    long_run,
    moved,
    returned,
    same_by,
    seed_of_held_out,
)
from tests.exercises.calculator import readings, training
from tests.exercises.calculator.answers import diagnosis, pictures, scratchpad_use
from tests.exercises.calculator.readings import (
    CALCULATE,
    FORMS,
    LARGEST,
    OPERATORS,
    VOCABULARY,
    WIDTH,
    Asking,
)
from tests.exercises.calculator.training import MOST_PARAMETERS, UNIT, Calculating
from tests.exercises.exam import check, fail, for_all, look, of_readings

FUNCTIONS = ("encode", "decode", "make_batch", "sample_problems", "calculate", "train_calculator")


@check("runs", "the file runs, and defines the six functions of the contract")
def test_runs(exam):
    function.defined(exam, FUNCTIONS)


# Problems as text. The examples need zeros in front, carries and borrows, and operands in both orders.

EXAMPLES = {
    "+": ((85, 50), (7, 5), (123, 456), (999, 1), (0, 0), (999, 999)),
    "-": ((394, 864), (864, 394), (5, 5), (0, 999), (100, 1), (700, 12)),
    "*": ((34, 57), (99, 99), (10, 10), (70, 5), (5, 70), (0, 45), (45, 0), (3, 4)),
    "/": ((6007, 83), (9999, 1), (0, 7), (84, 2), (5, 99), (9801, 99), (1000, 10), (7, 8)),
}  # fmt: skip
EVERY = tuple((a, op, b) for op, pairs in EXAMPLES.items() for a, b in pairs)
# The numbers in an answer, in order, and a question for each.
NUMBERS = {
    "+": {"sum": "Which digit can be known first, before any carry is? It has up to 4 digits."},
    "-": {"difference": "What sign has 0, and is it the difference without its sign that is reversed?"},
    "*": {
        "product of a and b's last digit": "It has up to 3 digits, the last one first.",
        "product of a and b's first digit, times ten": "34 * 57 is 34 * 7 and 34 * 50: is the second one "
        "moved by a digit, and has it 4 digits, the last one first?",
        "product": "It has up to 4 digits, the last one first.",
    },
    "/": {
        f"{number} for a's {nth} digit": question
        for nth in ("first", "second", "third", "last")
        for number, question in (
            ("digit of the quotient", "How often does b go into what remains and this digit?"),
            ("product", "It is that digit times b, 3 digits, the last one first."),
            ("remainder", "It is smaller than b, 2 digits, the last one first."),
        )
    } | {"quotient": "It has 4 digits, and it alone has the first one first."},
}  # fmt: skip


def numbers_in(answer: str) -> list[str]:
    """An answer, cut before the marks that are no signs of the difference."""
    return "".join(f"\n{c}" if c in "*=," or c in "+-" and i else c for i, c in enumerate(answer)).split("\n")


@check("encode_prompt", 'the prompt is a, the operator, b and "=", with zeros in front', ("runs",))
def test_encode_prompt(exam):
    got = look(exam, {"problems": EVERY}, readings.part_of, 0, EVERY)["parts"]
    for (a, op, b), came in zip(EVERY, got):
        wanted, _ = readings.encode(a, op, b)
        if came != wanted:
            digits = " and ".join(str(len(str(largest))) for largest in LARGEST[op])
            fail(
                {"a": a, "op": op, "b": b},
                f"The prompt of {a} {op} {b} must be {wanted!r}, and yours is {came!r}. encode gives two "
                f"strings; a and b have {digits} digits here, so that a place always means the same power "
                "of ten: what pads them?",
            )


def check_answers(exam, op):
    problems = tuple((a, op, b) for a, b in EXAMPLES[op])
    got = look(exam, {"problems": problems}, readings.part_of, 1, problems)["parts"]
    for (a, _, b), came in zip(problems, got):
        _, wanted = readings.encode(a, op, b)
        if came == wanted:
            continue
        pieces = itertools.zip_longest(numbers_in(wanted), numbers_in(came or ""))
        at = next(i for i, (right, yours) in enumerate(pieces) if right != yours)
        name = [*NUMBERS[op]][min(at, len(NUMBERS[op]) - 1)]
        hint = f"It parts at the {name}. {NUMBERS[op][name]}"
        if came is not None and came.rstrip(";") == wanted.rstrip(";"):
            hint = 'An answer ends with one ";", which tells the model where to stop.'
        fail(
            {"a": a, "op": op, "b": b},
            f"The answer to {a} {op} {b} must be {wanted!r}, and yours is {came!r}. {hint}",
        )


TITLES = {
    "+": ("encode_sum", "of a sum the answer is its 4 digits, the last one first"),
    "-": ("encode_difference", "of a difference the answer is its sign, and 3 digits, the last one first"),
    "*": ("encode_product", "of a product the answer is two partial products, and their sum"),
    "/": ("encode_quotient", "of a quotient the answer is the steps of a long division, and their digits"),
}  # fmt: skip
for _op, (_id, _title) in TITLES.items():
    globals()[f"test_{_id}"] = check(_id, _title, ("runs",))(lambda exam, op=_op: check_answers(exam, op))


@st.composite
def problems(draw):
    """A problem whose numbers have any length."""
    op = draw(st.sampled_from(OPERATORS))
    a, b = (draw(st.integers(0, largest) | st.integers(0, 9)) for largest in LARGEST[op])
    return a, op, max(b, 1) if op == "/" else b


CORNERS = tuple((a, op, b) for op in OPERATORS for a in (0, LARGEST[op][0]) for b in (1, LARGEST[op][1]))


@check("encode_any", "any problem is encoded right", ("encode_prompt", *(id for id, _ in TITLES.values())))
def test_encode_any(exam):
    def body(exam, several):
        got = look(exam, {"problems": several}, readings.encoded, several)["texts"]
        for (a, op, b), came in zip(several, got):
            if tuple(came) != readings.encode(a, op, b):
                fail(
                    {"a": a, "op": op, "b": b},
                    f"encode({a}, {op!r}, {b}) must be {readings.encode(a, op, b)!r}, and is "
                    f"{tuple(came)!r}. What is special about these numbers?",
                )

    for_all(
        exam,
        st.lists(problems(), min_size=1, max_size=40).map(tuple),
        body,
        max_examples=5,
        always=(CORNERS,),
    )


REFUSED_PROBLEMS = tuple(
    (a, op, b)
    for op in OPERATORS
    for a, b in ((-1, 5), (5, -1), (LARGEST[op][0] + 1, 5), (5, LARGEST[op][1] + 1))
) + ((7, "/", 0), (0, "/", 0), (3, "^", 4), (3, "", 4), (3, "+-", 4), (3, "**", 4), (9, "//", 4), (3, "x", 4))


@check("encode_errors", "what is no problem is a ValueError", ("runs",))
def test_encode_errors(exam):
    function.refuses(
        exam,
        "encode",
        REFUSED_PROBLEMS,
        "It would be read as another problem, or has no answer. Are the operator, both operands and a "
        "division by 0 checked?",
    )


# An answer of each form, with what it says; only its form is looked at.
DECODED = (
    ("+", "5310;"), ("+", "0000;"), ("+", "9999;"), ("+", "0001;"),
    ("-", "-074;"), ("-", "+001;"), ("-", "-000;"), ("-", "+000;"), ("-", "-999;"),
    ("*", "832+0071=8391;"), ("*", "000+0000=8391;"), ("*", "111+2222=0003;"), ("*", "999+9999=1000;"),
    ("/", "0*000-60,0*000-06,7*185-91,2*661-13,0072;"), ("/", "9*999-99,9*999-99,9*999-99,9*999-09,0100;"),
    ("/", "1*234-56,7*890-12,3*456-78,9*012-34,5678;"),
)  # fmt: skip


@check("decode_numbers", "an answer's number is read, whatever the steps before it say", ("runs",))
def test_decode_numbers(exam):
    got = look(exam, {"answers": DECODED}, readings.decoded, DECODED)
    for (op, text), came, types in zip(DECODED, got["numbers"], got["types"]):
        wanted = readings.decode(op, text)
        of_two = isinstance(wanted, tuple)
        if came != ([*wanted] if of_two else wanted) or types != (str([int, int]) if of_two else ""):
            ends = (
                "The quotient stands at the end, its first digit first, and the last remainder before it, "
                "its last digit first: they give (quotient, remainder), two ints."
                if of_two
                else "The number stands at the end, its last digit first."
            )
            fail(
                {"op": op, "answer": text},
                f"decode({op!r}, {text!r}) must be {wanted}, and is {came}. {ends} Only the form is looked "
                "at: where in the answer do you read?",
            )


_RIGHT = {"+": "5310;", "-": "-074;", "*": "832+0071=8391;", "/": DECODED[-3][1]}
REFUSED_ANSWERS = tuple(
    (op, text)
    for op, right in _RIGHT.items()
    for text in (
        "", ";", right[:-1], f"{right};", right[1:], f"0{right}", f"{right[:-1]}0;", f"{right[:-2]};",
        f" {right}", f"{right} ", f"{right}\n", f"{right[:-2]} ;", f"{right[:-2]}٣;", f"{right[:-2]}²;",
        f"{right[:-1]},", f"{right}0", f"{right[:-2]}_;", f"{right[:-2]}-;", f"{right[-2::-1]};",
    )
    if (text or op == "+") and not (op == "+" and text[::-1] == f";{right[:-1]}")
) + (
    ("+", "+531;"), ("+", "-531;"), ("+", "-074;"), ("-", "0740;"), ("-", "*074;"), ("-", "--74;"),
    ("-", "5310;"), ("*", "832-0071=8391;"), ("*", "832+0071;8391;"), ("*", "832+071=8391;"), ("*", "8391;"),
    ("*", "832+00710=839;"), ("*", "8321+071=8391;"), ("*", "832+0071=839;"), ("*", "83a+0071=8391;"),
    ("/", "0072;"), ("/", "0*000-60,7*185-91,2*661-13,0072;"), ("/", _RIGHT["/"].replace(",", "", 1)),
    ("/", "0*000-60," + _RIGHT["/"]), ("/", _RIGHT["/"].replace("*", "+")), ("/", "2*661-13,0072;"),
    ("/", _RIGHT["/"].replace(",0072", ";0072")), ("/", _RIGHT["/"].replace("0*", "00*", 1)),
    ("/", _RIGHT["/"].replace("7*185", "x*185")), ("/", _RIGHT["/"].replace("-13", "-1")),
    ("^", "5310;"), ("", "5310;"), ("+-", "5310;"), ("//", _RIGHT["/"]), ("=", "5310;"),
)  # fmt: skip


@check("decode_errors", "any other form is a ValueError", ("runs",))
def test_decode_errors(exam):
    function.refuses(
        exam,
        "decode",
        REFUSED_ANSWERS,
        "A model writes all sorts of things. Is every character looked at, the marks between the numbers, "
        'their lengths, and the one ";" at the end?',
    )


# Batches. All operators in one, and then what a batch without a division has the width of.

PLAIN = ((85, "+", 50), (394, "-", 864), (34, "*", 57), (6007, "/", 83), (5, "-", 5), (0, "/", 7))
FEW = (PLAIN, ((7, "+", 5),), ((12, "*", 34), (99, "*", 99)), ((9999, "/", 1),))


def shown(row) -> str:
    """A row of tokens; -1 as a dot, anything else that is no token as a question mark."""
    return "".join("." if t == -1 else VOCABULARY[t] if 0 <= t < 17 else "?" for t in map(int, row))


@check("batch_form", "make_batch gives two long tensors of shape (B, 48) on the CPU", ("runs",))
def test_batch_form(exam):
    for problems in FEW:
        look(exam, {"problems": problems}, function.has_form, readings.made_batch, problems)


def check_batch(exam, part, message):
    """One part of readings.part_of_batch."""
    for problems in FEW:
        case = {"problems": problems}
        got = look(exam, case, readings.part_of_batch, part, problems)["part"]
        wanted = readings.batch(problems)
        right = readings.split_batch(part, problems, *wanted)
        if not np.array_equal(got, right):
            rows = exam.further(readings.made_batch, problems)
            lines = []
            if rows is not None:
                given = (rows["x"], rows["y"])
                at = next(
                    i
                    for i in range(len(problems))
                    if any((w[i] != g[i]).any() for w, g in zip(wanted, given))
                )
                for name, expected, came in zip("xy", wanted, given):
                    lines += [
                        f"{name} expected  {shown(expected[at])}",
                        f"{name} got       {shown(came[at])}",
                    ]
                case |= dict(zip(("a", "op", "b"), problems[at]))
            fail(case, message, *lines)


@check("batch_input", "x begins with prompt and answer, cut after 48 tokens", ("batch_form", "encode_any"))
def test_batch_input(exam):
    check_batch(
        exam,
        "problem",
        "Each row of x must begin with the tokens of a prompt and its answer; the longest form has 49 "
        "tokens, and its last one is left out. A token's id is its place in VOCABULARY: what stands in "
        "yours?",
    )


@check("batch_padding", 'behind the answer x is filled up with ";"', ("batch_form", "encode_any"))
def test_batch_padding(exam):
    check_batch(
        exam,
        "padding",
        'A row of x that is shorter than 48 tokens is filled up with ";". What stands there in yours?',
    )


@check("batch_places", 'the targets that count are the answer\'s, from under "=" to its ";"', ("batch_form",))
def test_batch_places(exam):
    check_batch(
        exam,
        "places",
        'The first target that counts stands under "=", and the last one is the ";" that ends the answer: '
        "without it the model never learns to stop. All others are -1, those of the prompt and those behind "
        "the answer. Which ones count in yours?",
    )


@check("batch_targets", "each target is the token after it", ("batch_input", "batch_places"))
def test_batch_targets(exam):
    check_batch(exam, "targets", "A model predicts the *next* token: is y one place ahead of the whole form?")


@check("batch_any", "batches are right for any problems", ("batch_targets", "batch_padding"))
def test_batch_any(exam):
    def body(exam, several):
        got, wanted = (
            look(exam, {"problems": several}, readings.made_batch, several),
            readings.batch(several),
        )
        for name, right in zip("xy", wanted):
            if not np.array_equal(got[name], right):
                row = int((got[name] != right).any(axis=1).argmax())
                fail(
                    dict(zip(("a", "op", "b"), several[row])) | {"row": row, "B": len(several)},
                    f"{name} was right for other problems. What is special about this batch?",
                    f"expected  {shown(right[row])}",
                    f"got       {shown(got[name][row])}",
                )

    lists = st.lists(problems(), min_size=1, max_size=30).map(tuple)
    for_all(exam, lists, body, max_examples=6, always=(CORNERS[::-1] + EVERY,))


@check("batch_kept", "make_batch leaves the list of problems as it is", ("batch_form",))
def test_batch_kept(exam):
    for problems in FEW:
        function.all_kept(exam, {"problems": problems}, "make_batch", readings.batch_kept, problems)


# The sampler. One large draw for most checks: a sampler in pure Python may take seconds for it.

DRAWS = 40_000
DRAW = {"count": DRAWS}


@check("sample_form", "sample_problems gives a list of `count` tuples (int, str, int)", ("runs",))
def test_sample_form(exam):
    for count in (7, 1, 100):
        look(exam, {"count": count}, function.has_form, readings.drawn, count)


@check("sample_range", "every operand lies in the range of its operator", ("sample_form",))
def test_sample_range(exam):
    found = look(exam, DRAW, readings.outside_ranges, DRAWS)["outside"]
    if found:
        fail(
            DRAW,
            "data.arithmetic.RANGES holds the ranges: + and - take 0 to 999, * takes 0 to 99, / takes 0 to "
            "9999 by 1 to 99, and there is no other operator. What are the bounds of your draws?",
            f"outside: {', '.join(found[:6])}",
        )


@of_readings
def same_shares(one, other):
    shares = [np.array(reading["shares"]) for reading in (one, other)]
    return bool((abs(shares[0] - shares[1]) < 0.03).all() and ((shares[0] > 0) == (shares[1] > 0)).all())


@check("sample_held_out", "no problem that is held out is drawn", ("sample_range",))
def test_sample_held_out(exam):
    got = look(exam, DRAW, readings.held_out_shares, exam.reference, DRAWS, same=same_shares)
    if got["example"]:
        a, op, b = got["example"]
        fail(
            DRAW | {"a": a, "op": op, "b": b},
            "A problem for which is_held_out says True must never be drawn: the model is measured on these. "
            f"Yours draws some, such as {a} {op} {b}. Is it asked for every operator, and for the pair that "
            "is returned, in its order?",
        )


@check("sample_seed", "the generator alone decides what is drawn, and advances", ("sample_form",))
def test_sample_seed(exam):
    for count in (40, 400):
        case = {"count": count}
        function.generator_decides(exam, case, "sample_problems", readings.seeds, count)


@check(
    "sample_calls",
    "many small draws from one generator are as good as a large one",
    ("sample_held_out", "sample_seed"),
)
def test_sample_calls(exam):
    # Of 60 products from 9000 pairs some may come again: more than 8 in fewer than 1 of 10**10 seeds.
    case = {"calls": sampling.SMALL_CALLS, "count": 1}
    sampling.check_small_calls(exam, case, readings.small_draws, exam.reference, most=8)


def uneven(counts: dict, pools: dict) -> dict[str, float]:
    """What of the counts is too far from the pools' shares, and how far, in standard deviations. Of all 21
    kinds together a right sampler fails in fewer than 1 of 10**6 seeds; for an end that never comes, which is
    expected 18 times or more, in 1 of 10**7."""
    found = {}
    for key, share in pools.items():
        if key.startswith("the ends"):
            continue
        expected = share / share.sum() * counts[key].sum()
        if (far := deviation(counts[key], expected, int((expected > 0).sum()) - 1)) > LIMIT:
            found[key] = far
    for place, op in enumerate(OPERATORS):
        ends = [f"the ends of {side} of {op}" for side in "ab"]
        share = [pools[key] / pools[f"{key[12:]}"].sum() for key in ends]
        for end, sides in itertools.product((0, 1), ((0,), (1,), (0, 1))):
            expected = sum(share[side][end] for side in sides) * counts["operators"][place]
            if expected > 18 and not any(counts[ends[side]][end] for side in sides):
                names = " or ".join("ab"[side] for side in sides)
                found[f"the {('smallest', 'largest')[end]} {names} of {op}"] = np.inf
    return found


@check("sample_operators", "each operator comes with probability 1/4", ("sample_form",))
def test_sample_operators(exam):
    def far(reading):
        return deviation(reading["operators"], np.full(4, DRAWS / 4), 3) > LIMIT

    @of_readings
    def same(one, other):
        return far(one) == far(other) and bool(
            abs(one["operators"] - other["operators"]).max() < 0.02 * DRAWS
        )

    got = look(exam, DRAW, readings.operators, DRAWS, same=same)
    if far(got):
        shares = ", ".join(f"{op} {count / DRAWS:.1%}" for op, count in zip(OPERATORS, got["operators"]))
        fail(
            DRAW,
            f"Each operator must come in a quarter of the draws; yours come so: {shares}. What picks it?",
        )


@check(
    "sample_uniform",
    "of an operator every pair that is left for training is as likely as any other",
    ("sample_held_out", "sample_operators"),
)
def test_sample_uniform(exam):
    pools = readings.pools(exam.reference)

    @of_readings
    def same(one, other):
        first, second = (uneven(reading, pools) for reading in (one, other))
        return first.keys() == second.keys() and all(
            np.abs(one[key] / one[key].sum() - other[key] / other[key].sum()).max() < 0.05
            for key in pools
            if not key.startswith("the ends")
        )

    got = look(exam, DRAW, readings.counts, DRAWS, same=same)
    sampling.remark_slow(exam, DRAWS)
    if found := uneven(got, pools):
        lines = [
            f"{key}: " + ("never drawn" if np.isinf(far) else f"{far:.0f} standard deviations away")
            for key, far in sorted(found.items(), key=lambda item: -item[1])
        ]
        fail(
            DRAW,
            "Operands must be uniform over the pairs of an operator that are left for training, and yours "
            "are not. What are the bounds of your draw (torch.randint leaves the upper one out), and are "
            "lengths drawn first?",
            *lines[:6],
        )


def repeated(reading, unordered: bool) -> dict[str, float]:
    """How far the numbers of different problems are from those of independent draws, by operator: more than 1
    is too far, which happens in fewer than 1 of 10**9 seeds."""
    found = {}
    for op, (count, ordered, in_any_order) in reading.items():
        of_a, of_b = (largest + 1 for largest in LARGEST[op])
        pool, alone = 0.9 * of_a * (of_b - (op == "/")), 0.9 * of_a
        if unordered and op in "+*":  # only these have both orders left for training, or none
            groups, came = ((alone, 1), ((pool - alone) / 2, 2)), in_any_order
        else:
            groups, came = ((pool, 1),), ordered
        wanted = sum(-many * np.expm1(count * np.log1p(-ways / pool)) for many, ways in groups)
        found[op] = abs(came - wanted) / sampling.farthest(max(count - wanted, 0.0))
    return found


def same_repeats(unordered: bool):
    @of_readings
    def same(one, other):
        return all(
            (far > 1) == (repeated(other, unordered)[op] > 1)
            and abs(far - repeated(other, unordered)[op]) < 3
            for op, far in repeated(one, unordered).items()
        )

    return same


@check("sample_replacement", "draws are independent: a problem may come again", ("sample_uniform",))
def test_sample_replacement(exam):
    check_repeats(exam, False, "different problems")


def check_repeats(exam, unordered, words):
    got = look(exam, DRAW, readings.different, DRAWS, same=same_repeats(unordered))
    for op, far in repeated(got, unordered).items():
        if far > 1:
            count, *different = got[op]
            fail(
                DRAW | {"op": op},
                f"{count} draws of problems with {op} hold {different[unordered]} {words}, which is not what "
                "independent draws give. Do you draw without replacement, from a small pool, or one problem "
                "out of another?",
            )


LOTS = ((DRAWS, 1), (20, 200))  # count, calls


@check(
    "sample_independent",
    "draws do not depend on each other, wherever they stand and in however many calls",
    ("sample_replacement", "sample_calls"),
)
def test_sample_independent(exam):
    check_repeats(exam, True, "different problems, in whatever order")
    for count, calls in LOTS:
        case = {"count": count, "calls": calls}

        def far(reading, calls=calls):
            spread = deviation_of(reading["spread"], 3 * calls)
            return reading["strongest"] > STRONGEST, spread > LIMIT, spread < -LIMIT

        @of_readings
        def same(one, other, far=far):
            places = {reading["where"] for reading in (one, other)}
            return far(one) == far(other) and (len(places) == 1 or not far(one)[0])

        got = look(exam, case, readings.dependence, count, calls, same=same)
        strong, *unequal = far(got)
        if strong:
            fail(
                case,
                "Draws must be independent, and yours are not: one can be predicted from another. Is the "
                "draw sorted, or are the operators drawn in turn or in blocks?",
                f"the strongest correlation is that of {got['where']}: {got['strongest']:.0f} standard "
                "deviations",
            )
        if any(unequal):
            more = "more evenly" if unequal[1] else "less evenly"
            fail(
                case,
                f"In {calls} draws of {count} the operators come {more} than chance gives. Each problem's "
                "operator is drawn by itself: is a number of each fixed beforehand?",
            )


# Answers.

ASKS = tuple(
    Asking(text, seed=seed)
    for text in ("85+50", "999+1", "394-864", "5-9", "34*57", "7*90", "6007/83", "84/2", "0/7")
    for seed in (0, 1)
)
ONE_EACH = tuple(Asking(text, seed=2) for text in ("12+345", "700-12", "12*34", "9801/99"))
LONGEST = ONE_EACH[-1]


def check_results(exam, asks, hint):
    got = look(exam, asks[0].as_case(), readings.results, asks)["results"]
    for asking, came in zip(asks, got):
        if came == asking.result():
            continue
        a, op, b = asking.problem
        said = hint
        true = divmod(a, b) if op == "/" else {"+": a + b, "-": a - b, "*": a * b}[op]
        if came == ("{} r {}".format(*true) if op == "/" else str(true)):
            said = "Yours is the true result: is the model asked at all?"
        fail(
            asking.as_case(),
            f"A test model answered, which writes other digits for every problem. To {asking.prompt!r} it "
            f"writes {asking.written()!r}, so that calculate must give {asking.result()!r}; yours gives "
            f"{came!r}. {said}",
        )


@check("calculate_form", "calculate gives a text", ("runs",))
def test_calculate_form(exam):
    for asking in ONE_EACH:
        case = asking.as_case()
        look(exam, case, function.has_form, decoding.answers, CALCULATE, asking)


@check(
    "calculate_prompt",
    'the model is given the encoded problem up to "=", and writes the answer itself',
    ("calculate_form",),
)
def test_calculate_prompt(exam):
    asks = (*ONE_EACH, Asking("7+5"), Asking("5-7"), Asking("3*4"), Asking("9/8"))
    got = look(exam, asks[0].as_case(), readings.prompts, asks)["prompts"]
    for asking, came in zip(asks, got):
        if not came:
            fail(asking.as_case(), "The model was never called: where does the answer come from?")
        if came != [asking.prompt]:
            odd = next(text for text in came if text != asking.prompt)
            fail(
                asking.as_case(),
                f"Every call of the model must begin with {asking.prompt!r}; yours has one that begins with "
                f"{odd!r}. Are zeros put in front, is a the first number, and does every call get all tokens "
                "so far?",
            )


@check("calculate_answer", "the result is what the model writes", ("calculate_prompt",))
def test_calculate_answer(exam):
    check_results(
        exam,
        ASKS,
        "Which position's logits do you take, are all 17 tokens allowed, and is the answer read as decode "
        "reads it?",
    )


@check("calculate_feedback", "each call sees what the model wrote before it", ("calculate_prompt",))
def test_calculate_feedback(exam):
    for asking in ONE_EACH:
        got = look(exam, asking.as_case(), readings.feedback, asking)["seen"]
        written = asking.written()
        for k, came in enumerate(got):
            if k < len(written) and came != written[:k]:
                a, op, b = asking.problem
                true = readings.encode(a, op, b)[1]
                hint = (
                    "That is the right answer: the model is told what it should find."
                    if came == true[:k]
                    else "Which position's logits do you take, and where does its token go?"
                )
                fail(
                    asking.as_case(call=k),
                    f"In call {k} (counted from 0) the model must see the {k} tokens that it wrote itself "
                    f"after the prompt, {written[:k]!r}; it sees {came!r}. {hint}",
                )


# Answers that are none: a ";" too early, none at the end, a mark in the place of a digit.
NO_FORMS = (
    ("85+50", "dd;dd"), ("85+50", ";dddd"), ("85+50", "ddddd"), ("12+7", "dd-d;"), ("5-9", "dddd;"),
    ("5-9", "sdddd"), ("12*34", "ddd+dddd=dddd,"), ("12*34", "ddd+dddd;"), ("12*34", "ddd-dddd=dddd;"),
    ("84/2", "d*ddd-dd,dddd;"), ("84/2", 4 * "d*ddd-dd," + "dddd,"), ("84/2", 4 * "d*ddd-dd;" + "dddd;"),
)  # fmt: skip
NONE = tuple(Asking(text, form) for text, form in NO_FORMS)


@check(
    "calculate_stops",
    'the model is asked up to ";", and no more often than an answer is long',
    ("calculate_prompt",),
)
def test_calculate_stops(exam):
    asks = (*ONE_EACH, *NONE)
    got = look(exam, asks[0].as_case(), readings.call_counts, asks)["calls"]
    for asking, came in zip(asks, got):
        written = asking.written()
        if came > len(written):
            fail(
                asking.as_case(),
                f"The model wrote {written!r}, {len(written)} tokens, and was called {came} times. Decoding "
                f'ends with ";", and after the {len(FORMS[asking.op])} tokens that an answer with '
                f"{asking.op} has.",
            )


@check("calculate_unknown", 'what is no answer gives "?"', ("calculate_answer",))
def test_calculate_unknown(exam):
    check_results(exam, NONE, "What does decode say to that, and what becomes of its ValueError?")


SPACED = (  # each group is looked at by itself
    ("85 + 50", "34 *57", "6007/ 83", "5   -   9"),
    (" 85+50", "85+50 ", "   5  -  9  "),
    ("007+05", "0012*0034", "000009/0000008", "0+0", "00000-00001"),
)


@check(
    "calculate_spaces",
    "spaces around the operator and at the ends are taken, zeros too",
    ("calculate_answer",),
)
def test_calculate_spaces(exam):
    for texts in SPACED:
        check_results(exam, tuple(map(Asking, texts)), "Is the text read number by number, each as an int?")


@check("calculate_signs", "of a difference the sign is read, and 0 has none", ("calculate_answer",))
def test_calculate_signs(exam):
    signs = ("-000;", "+000;", "-100;", "+999;", "-010;")
    check_results(exam, tuple(Asking("5-9", form) for form in signs), "What does decode make of the sign?")


REFUSED_TEXTS = (
    "", " ", "12", "12*", "*12", "+", "-5+3", "5+-3", "+5+3", "5--3", "1+2+3", "12-3-4", "1.5+2", "12x34",
    "12^3",
    "1000+1", "1+1000", "1000-1", "1-1000", "100*5", "5*100", "10000/5", "5/100", "84/0", "84/000", "1 2+3",
    "12 34", "12+3 4", "1_0+5", "٣+4", "5²+1", "12+34=", "12+34;", "12**3", "12//3", "1e2+1", "0x5+1", "a+b",
    "(1+2)", "12, +3", "99999+1", "five+six",
)  # fmt: skip


@of_readings
def same_refusals(one, other):
    return function.same_outcomes(one, other) and one["silent"] == other["silent"]


@check(
    "calculate_refuses",
    "a text that is no problem of these sizes is a ValueError with a sentence",
    ("calculate_form",),
)
def test_calculate_refuses(exam):
    case = {"texts": REFUSED_TEXTS}
    got = look(exam, case, readings.refusals, REFUSED_TEXTS, same=same_refusals)
    for text, came in zip(REFUSED_TEXTS, got["came"]):
        if came != "ValueError":
            fail(
                {"text": text},
                f"calculate(model, {text!r}) must raise a ValueError, and {came}. A problem is two numbers "
                "of the digits 0 to 9 in the operator's range, one operator between them, and nothing else.",
            )
    if got["silent"]:
        fail(
            {"text": got["silent"][0]},
            f"calculate(model, {got['silent'][0]!r}) raises a ValueError without a word. It needs a "
            "sentence: what was found, and what is allowed?",
        )


@check("calculate_greedy", "decoding is greedy: the most likely token, every time", ("calculate_form",))
def test_calculate_greedy(exam):
    # The winner leads by little: of 41 tokens a sample would differ in many.
    decoding.check_greedy(exam, CALCULATE, Asking("6007/83", margin=0.5))


ASKED = decoding.in_all_modes(ONE_EACH[2], *ONE_EACH, NONE[1])


@check("calculate_eval", "it decodes in eval mode, whatever mode the model came in", ("calculate_form",))
def test_calculate_eval(exam):
    decoding.check_eval(exam, CALCULATE, ASKED)


@check("calculate_mode", "the model is afterwards in the mode that it was in", ("calculate_form",))
def test_calculate_mode(exam):
    decoding.check_mode(exam, CALCULATE, ASKED)
    texts = ("", "12", "5/0", "1000+1")
    kept = look(exam, {"texts": texts}, readings.refused_modes, texts)["kept"]
    if not all(kept):
        fail(
            {"text": texts[kept.index(False)]},
            f"calculate refuses the text {texts[kept.index(False)]!r}, and leaves the model in another mode. "
            "Is the text read before model.eval() is called?",
        )


@check("calculate_gradients", "no gradients are recorded inside the model", ("calculate_form",))
def test_calculate_gradients(exam):
    decoding.check_gradients(exam, CALCULATE, ASKED)


@check("calculate_kept", "all else of the model stays as it is", ("calculate_form",))
def test_calculate_kept(exam):
    asks = [(case, decoding.TRAIN) for case in ONE_EACH]
    decoding.check_kept(exam, CALCULATE, (*asks, (NONE[1], decoding.TRAIN), (ONE_EACH[0], decoding.EVAL)))


@check("calculate_devices", devices.TITLE, ("calculate_form",))
def test_calculate_devices(exam):
    asks = [decoding.asked(CALCULATE, asking) for asking in ONE_EACH]
    devices.check_devices(exam, ONE_EACH[0].as_case(), "What the model is given", "its parameters", *asks)


# A few steps of training.

CHECKS = EXERCISES["calculator"].checks
TRAINING = tuple(id for id in CHECKS if id.startswith("train_"))
CHEAP = tuple(id for id in CHECKS if id not in TRAINING)
FIVE, TWO, ONE = Calculating(5), Calculating(2), Calculating(1)


@check("train_updates", "train_calculator makes exactly `steps` updates, of all models together", CHEAP)
def test_train_updates(exam):
    exam.prepare("train_seed")
    check_updates(exam, UNIT, (FIVE, ONE))


@check("train_devices", "it trains on the device that it is given", ("train_updates",))
def test_train_devices(exam):
    what = "The model that train_calculator trains"
    devices.check_devices(exam, ONE.as_case(), what, "its argument `device`", UNIT.ask("returned", ONE))


@check("train_returned", "what it returns is the model that was trained", ("train_updates",))
def test_train_returned(exam):
    if not look(exam, TWO.as_case(), moved, UNIT, ONE, TWO.steps)["moved"]:
        fail(
            TWO.as_case(),
            "With the same seed, 1 step and 2 steps return exactly the same weights: the training does not "
            "reach the model that you return. Which object does the optimizer hold, and which one do you "
            "return?",
        )


def sizes(subject, case):
    """The config of the model, its number of parameters, and the device that it was trained on."""
    answer = returned(subject, UNIT, case)
    return {"sizes": answer.plain("sizes"), "device": answer.plain("device")}


def sizes_right(reading):
    got = reading["sizes"]
    return (
        got["vocab_size"],
        got["block_size"] >= WIDTH,
        got["parameters"] <= MOST_PARAMETERS,
        reading["device"],
    )


@check("train_sizes", "the GPT has 17 tokens, 48 places and at most 2,000,000 parameters", ("train_updates",))
def test_train_sizes(exam):
    reading = look(exam, TWO.as_case(), sizes, TWO, same=same_by(sizes_right))
    got, device = reading["sizes"], reading["device"]
    for wrong, message in (
        (got["vocab_size"] != len(VOCABULARY), f"vocab_size must be 17; yours is {got['vocab_size']}."),
        (not got["block_size"] >= WIDTH, f"block_size must be at least 48; yours is {got['block_size']}."),
        (
            not got["parameters"] <= MOST_PARAMETERS,
            f"at most 2,000,000 parameters are allowed; yours has {got['parameters']:,}.",
        ),
        (device not in ("", exam.device), f"It was asked to train on {exam.device}, and did on {device}."),
    ):
        if wrong:
            fail(TWO.as_case(), f"Which config do you build? {message}")


@check("train_parts", "the model is a GPT with default parts: its weights calculate", ("train_updates",))
def test_train_parts(exam):
    check_parts(exam, UNIT, TWO)


@check("train_problems", "it trains on no problem that is held out", ("train_updates",))
def test_train_problems(exam):
    @of_readings
    def same(one, other):
        shares = one["held_out"], other["held_out"]
        return (shares[0] > 0) == (shares[1] > 0) and abs(shares[0] - shares[1]) < 0.1

    got = look(exam, FIVE.as_case(), training.trained_on, exam.reference, FIVE, same=same)
    if got["held_out"]:
        a, op, b = got["example"]
        fail(
            FIVE.as_case(a=a, op=op, b=b),
            f"{got['held_out']:.0%} of the problems that it trains on are held out, for example {a} {op} "
            f"{b}. The model could then memorise the answers that it is tested on. Where do its problems "
            f"come from?",
        )


@check("train_seed", "the seed alone decides the weights", ("train_updates", "train_returned"))
def test_train_seed(exam):
    check_seed(exam, UNIT, TWO, elsewhere=Calculating(2, seed=5))


@check("train_report", "it calls report(step, loss), with an int and a float", ("train_updates",))
def test_train_report(exam):
    check_report(exam, UNIT, (FIVE, ONE))


# The training run.


@check(
    "train_calculates",
    "trained with 5000 steps, it solves 99 % of held-out problems with each operator",
    TRAINING[:-1],
)
def test_train_calculates(exam):
    case = {"steps": training.STEPS, "problems": training.PROBLEMS}
    calculating = Calculating(training.STEPS, exam.seed + 1)
    progress = RunProgress(training.STEPS, exam.note, enough="four layers of 128 channels are enough")
    model = long_run(exam, case, progress, lambda: training.trained(exam.attempt, calculating, progress))
    held = readings.held_out(exam.reference, model.problems)
    if held.any():
        a, op, b = readings.first_of(model.problems, held)
        fail(
            case | {"a": a, "op": op, "b": b},
            f"{held.mean():.1%} of the problems that were seen in its training are held out, for example "
            f"{a} {op} {b}; in the first steps there were none. The model could then memorise the answers "
            "that it is tested on: where do its later problems come from?",
        )
    seed = seed_of_held_out(exam)
    found = training.measured(exam.reference, model, seed, exam.note)
    exam.shown += pictures(found, model.curve)
    used = scratchpad_use(training.following(exam.reference, model, seed))
    if min(answers.exact for answers in found.values()) < training.WANTED:
        message, lines = diagnosis(found, training.WANTED)
        fail(case | {"seconds": round(progress.seconds)}, message, *lines, used)
    shares = ", ".join(f"{op} {answers.exact:.1%}" for op, answers in found.items())
    exam.measured = f"right of {training.PROBLEMS} held-out problems each: {shares}; {used}"
