"""The checks of the calculator, one mechanism each: problems as text, batches, the sampler, decoding, a few
steps of training, and then the training run that shows whether the model calculates.
"""

import itertools

from hypothesis import strategies as st

from tests.exercises.battery import function
from tests.exercises.calculator import readings
from tests.exercises.calculator.readings import LARGEST, OPERATORS
from tests.exercises.exam import check, fail, for_all, look

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
