"""The checks of exercise 3, one mechanism each: what overlap is and what is kept, what a transfer writes and
what it leaves alone, the groups of an optimizer, a few steps of finetuning, and then the comparison that
shows whether pretraining helped.
"""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from tests.exercises import EXERCISES, models, numbers
from tests.exercises.battery import devices, function
from tests.exercises.battery.training import check_parts, check_report, check_seed, check_updates, same_by
from tests.exercises.ex3 import finetuning, readings, training
from tests.exercises.ex3.finetuning import ALL_KNOWN, MOST_UPDATES, SOME_KNOWN, TRAINED, UNIT, Tuning
from tests.exercises.ex3.readings import BY_CHARACTER, Models, Texts, shown
from tests.exercises.exam import CheckFailed, Numbers, check, fail, for_all, in_parts, look, more_patience

FUNCTIONS = ("remove_overlap", "transfer_weights", "finetune_optimizer", "finetune")
# Every check that needs no training run.
CHEAP = tuple(id for id in EXERCISES["ex3"].checks if id not in EXERCISES["ex3"].training)


@check("runs", "the file runs, and defines the four functions of the contract")
def test_runs(exam):
    function.defined(exam, FUNCTIONS)


# Overlap. The contract leaves open what whitespace at the ends of a text means, so no run reaches it: each
# text begins and ends with characters that the other one does not have, or with a run. 50 characters:
RUN = "shall i compare thee to a summer's day? thou art m"
OTHER = "of hand or foot or lip or eye or brow I see their antique pen would have express'd"


def texts_agree(exam, cases: tuple[Texts, ...], question: str):
    """Each case must come out as the definition says."""
    got = look(exam, cases[0].as_case(), readings.removed, cases)["texts"]
    for case, came in zip(cases, got):
        expected = case.expected()
        if came != expected:
            fail(
                case.as_case(), question, f"expected  {shown(expected, 200)}", f"got       {shown(came, 200)}"
            )


@check(
    "overlap_line",
    "a line that shares 50 characters with the held-out text is dropped, the others stay",
    ("runs",),
)
def test_overlap_line(exam):
    texts_agree(
        exam,
        (
            Texts(f"<1> {OTHER}\n<2> {RUN}ore\n<3> {OTHER}\n", f"[{OTHER[::-1]}, {RUN}ore]"),
            Texts(f"<1> {OTHER}\n{RUN}ore\n<3> {OTHER}\n", f"[{OTHER[::-1]}\n{RUN}ore\n]"),
        ),
        "The second of three lines shares a run of 50 characters with the held-out text, and must go, whole; "
        "the first and the third share none, and stay. What does your code drop?",
    )


@check("overlap_window", "50 characters are a run, and 49 are none; window sets another length", ("runs",))
def test_overlap_window(exam):
    cases = [Texts(f"<1> {OTHER}\n<{RUN[:n]}>\n<3> {OTHER}\n", f"[{RUN[:n]}]") for n in (49, 50, 48)]
    for n in (49, 50):
        # Not the beginning of the run, nor its end, but its middle is what the other text has.
        cases.append(Texts(f"<1>\n<2> as {RUN} it\n<3>\n", f"[say {RUN[:n]}]"))
    cases += [Texts("<>\n<abcdefg>\n<>\n", f"[{'abcdefg'[:n]}]", 5, keyword=n == 6) for n in (4, 5, 6)]
    cases.append(Texts("<1>\n‹éééé>\n<2>\n", "[éééé]", 5))  # characters and not bytes
    # the space is shared too, and is no character of a line
    cases.append(Texts("<1 2>\n<b 3>\n<4>\n", "[b c]", 1))
    texts_agree(
        exam,
        tuple(cases),
        "A run has exactly `window` characters, 50 where nothing else is said. Is one counted too few or too "
        "many?",
    )


@check(
    "overlap_inside_words", "a run may begin and end inside words, and punctuation is part of it", ("runs",)
)
def test_overlap_inside_words(exam):
    cases = (
        Texts(f"<1>\n<2> un{RUN}ineral\n<3>\n", f"[{RUN}uch]", 50),
        # The same words, and a comma more: no 30 characters in a row are the same.
        Texts(
            "<1>\n<2> and every fair, from fair sometime declines\n<3>\n",
            "[and every fair from fair sometime declines]",
            30,
        ),
        Texts("<1>\n<2> antidisestablishmentarianism\n<3>\n", "[predisestablishmentarians]", 20),
    )
    texts_agree(
        exam,
        cases,
        "Runs are made of characters, and punctuation is one like any other. Does your code compare words?",
    )


@check("overlap_case", "case is ignored", ("runs",))
def test_overlap_case(exam):
    cases = (
        Texts(f"<1>\n<2> {RUN.upper()}\n<3>\n", f"[{RUN}]"),
        Texts(f"<1>\n<2> {RUN}\n<3>\n", f"[{RUN.upper()}]"),
        Texts("<1>\n<2> ÀÉÎ ÕÜ ŻÓŁW\n<3>\n", "[àéî õü żółw]", 10),
        # Case and nothing else: no two letters for one, no accents taken away, no quotes made straight.
        Texts("<1>\n‹straße weg>\n<3>\n", "[strasse weg]", 7),
        Texts("<1>\n‹don’t go>\n<3>\n", "[don't go]", 7),
        Texts("<1>\n‹été à la>\n<3>\n", "[ete a la]", 7),
        # What str.upper or a regular expression without case take for the same; and a kelvin sign, whose
        # lower case is k.
        *(
            Texts(f"<1>\n‹ab{one}cd>\n<3>\n", f"[ab{other}cd]", 5)
            for one, other in ("ıi", "ſs", "µμ", "\N{KELVIN SIGN}k")
        ),
        # One way to write é and another, a ligature, a sign without width: other characters.
        Texts("<1>\n‹abécd>\n<3>\n", "[abe\u0301cd]", 5),
        Texts("<1>\n‹of\ufb01ce>\n<3>\n", "[office]", 5),
        Texts("<1>\n‹ab\u200bcd>\n<3>\n", "[abcd]", 4),
        # Character by character: str.lower of a whole text writes a Σ by its place, ς at the end of a word.
        Texts("<1>\n‹ΟΔΟΣ ΜΟΥ>\n<3>\n", "[οδοσ μου]", 8),
        Texts("<1>\n‹οδοσ μου>\n<3>\n", "[ΟΔΟΣ ΜΟΥ]", 8),
        Texts("<1>\n‹ΟΔΟΣ ΜΟΥ>\n<3>\n", "[οδος μου]", 8),
    )
    texts_agree(
        exam,
        cases,
        "An edition may set a speech in capitals, and it is the same speech: both texts must be compared "
        "without case, by str.lower of each character. Is it both, is it one character at a time, and is "
        "anything folded that is not case?",
    )


@check("overlap_whitespace", "any run of whitespace counts as one space", ("runs",))
def test_overlap_whitespace(exam):
    cases = (
        Texts(f"<1>\n<2> {RUN.replace(' ', '   ')}\n<3>\n", f"[{RUN}]"),
        Texts(f"<1>\n<2> {RUN}\n<3>\n", f"[{RUN.replace(' ', '  ')}]"),
        Texts(f"<1>\n<2> {RUN.replace(' ', chr(9))}\n<3>\n", f"[{RUN.replace(' ', chr(10))}]"),
        # Without any whitespace these two would be the same.
        Texts("<1>\n<2> to get her\n<3>\n", "[together]", 8),
        # Whitespace is what str.isspace says: more than a space, a tab and a newline, and more than ASCII's.
        *(Texts(f"<1>\n<bcd{space}efg>\n", "[bcd efg]", 7) for space in ("\r", "\xa0", "\u2003")),
    )
    texts_agree(
        exam,
        cases,
        "Two editions differ in indentation and in where a line breaks. Spaces, tabs and newlines in a row "
        "count as one space, in both texts; and whitespace still counts, as that one. Which characters are "
        "whitespace? str.isspace knows.",
    )


@check("overlap_lines", "a run may span lines: each line with a character in it is dropped", ("runs",))
def test_overlap_lines(exam):
    cut = (RUN[:17], RUN[18:29], RUN[30:])
    cases = (
        Texts(f"<1> {OTHER}\n<2> {cut[0]}\n{cut[1]}\n{cut[2]}\n<3> {OTHER}\n", f"[{RUN}]"),
        Texts(f"<1>\n<2> {cut[0]}\n\n   {cut[1]}\n \t\n{cut[2]}\n<3>\n", f"[{RUN}]"),
        Texts(f"<1>\n<2> {RUN}\n<3>\n", f"[{cut[0]}\n{cut[1]}\n\n{cut[2]}]"),
        # One character of a line is enough, its first or its last.
        Texts("<1>\n<x\nbcdef\ng>\n<3>\n", "[x bcdef g]", 9),
        # Its last characters are in the run that begins one place after another, and so on.
        Texts("<1>\n<2 abcdefgh\nijk>\n<3>\n", "[abcdefgh ijk]", 8),
        # A comma is a character that is not whitespace.
        Texts("<1>\n<2 abcd\n,\nefgh>\n<3>\n", "[abcd , efgh]", 9),
    )
    texts_agree(
        exam,
        cases,
        "Another edition breaks the lines elsewhere, so a run may begin in one line and end in another. Is "
        "the whole text compared, or each line by itself? And does every window count, also one that begins "
        "inside of another?",
    )


@check(
    "overlap_neighbours",
    "a line of which only the newline lies in a run stays, and so does a blank line",
    ("runs",),
)
def test_overlap_neighbours(exam):
    cases = (
        # The run is " bcdef ": it begins with the newline of one line, and ends with that of the next.
        Texts("<1>\n<2>\nbcdef\n<3>\n", "[< bcdef >]", 7),
        Texts("<1>\n<2>  \n  bcdef\n  <3>\n", "[< bcdef >]", 7),
        Texts("<1>\n\n \t \nbcdef\n\n\nghijk\n \n<3>\n", "[bcdef ghijk]", 11),
    )
    texts_agree(
        exam,
        cases,
        "A line is dropped for a character of its own that is not whitespace. That the newline in front of a "
        "run belongs to the line before is no reason to drop that one, and a blank line has no character at "
        "all.",
    )


@check("overlap_ends", "a run counts at the very beginning and end of a text too", ("runs",))
def test_overlap_ends(exam):
    cases = (
        Texts(f"<1>\n<2> {RUN}\n<3>\n", f"[{RUN}"),
        Texts(f"<1>\n<2> {RUN}\n<3>\n", f"{RUN}]"),
        Texts(f"{RUN}>\n<2>\n", f"[{RUN}]"),
        Texts(f"<1>\n<2> {RUN}\n", f"[{RUN}]"),
        # Both end with "hello": slices beyond the end are shorter than a window, and no runs.
        Texts("<1>\nhello", "[say hello", 50),
        Texts("hello\n", "hello\n", 50),
        Texts("<1>\n<2>\n", "", 50),
    )
    texts_agree(
        exam,
        cases,
        "A text of n characters has n - window + 1 windows, the first and the last included, and no shorter "
        "ones behind. Which one does your range leave out, or add?",
    )


@check(
    "overlap_kept", "lines that stay are unchanged, in their order, as often as they were there", ("runs",)
)
def test_overlap_kept(exam):
    lines = (
        "<b>  Two  Spaces, A Tab\tAnd ÉTÉ ",
        "<a>",
        "",
        "<a>",
        "   ",
        "<b>  Two  Spaces, A Tab\tAnd ÉTÉ ",
        "\t<z>",
        "<a>",
        "<c>\xa0<d>\r",
        "\ufeff<e>\x00\u2028<f>",
    )
    cases = (
        Texts("\n".join(lines) + "\n", f"[{RUN}]"),
        Texts("\n".join(lines[:3]) + f"\n{RUN}\n" + "\n".join(lines[3:]) + "\n\n", f"[{RUN}]"),
        Texts(f"<1> {RUN}\n<2> without a newline at its end", f"[{RUN}]"),
        Texts("", f"[{RUN}]"),
        Texts("<1>\n<2> A short one\n", "[short]"),
        # The first "bc" lies in the run, the second is another line with the same text.
        Texts("<1>\nbc\ndefgh\n<2>\nbc\n<3>\n", "[bc defgh]", 8),
    )
    texts_agree(
        exam,
        cases,
        "Lines that stay must not be folded, stripped, sorted or made unique, and a line is dropped for "
        "its place, not for its words. Which lines changed?",
    )


@check("overlap_line_ends", "a line ends at a newline and nowhere else", ("runs",))
def test_overlap_line_ends(exam):
    breaks = ("\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028")
    cases = tuple(Texts(f"<1>\n<2>{other}bcdefg{other}<3>\n<4>\n", "[bcdefg]", 6) for other in breaks)
    texts_agree(
        exam,
        cases,
        "A line ends at \\n; a carriage return, a form feed or a line separator is whitespace inside of one. "
        "str.splitlines knows many more line ends than that.",
    )


@st.composite
def overlapping(draw):
    """Short texts of few characters, so that runs of all lengths come about by chance."""
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    window = draw(st.integers(1, 9))
    alphabet = list("aabAB ,\n\n\t")
    lengths = [draw(st.integers(0, 60)), draw(st.integers(0, 60))]
    pretrain, heldout = ("".join(rng.choice(alphabet, length)) for length in lengths)
    return Texts(f"<{pretrain}>\n", f"[{heldout}]", window)


OVERLAP = (
    "overlap_line",
    "overlap_window",
    "overlap_inside_words",
    "overlap_case",
    "overlap_whitespace",
    "overlap_lines",
    "overlap_neighbours",
    "overlap_ends",
    "overlap_kept",
    "overlap_line_ends",
)


@check("overlap_any", "the overlap is right for any two texts and any window", OVERLAP)
def test_overlap_any(exam):
    def body(exam, case):
        texts_agree(
            exam,
            (case,),
            "This small case comes out otherwise than the definition says. Which characters lie in a run?",
        )

    for_all(exam, overlapping(), body, max_examples=60)


# What a quadratic loop may run over, and for each a text on which it takes minutes. Linear code takes a
# second or two, so that the usual deadline of one request tells them apart on any machine.
def long_texts() -> list[tuple[str, Texts, int]]:
    """(what is special, the two texts, how many characters must be left)"""
    rng = np.random.default_rng(31)
    # 400,000 windows against as many: 1.6e11 comparisons, and with a search for each window still minutes.
    chars = np.array(list("abcdefghij    \n"))
    pretrain, heldout = ("".join(rng.choice(chars, 400_000)) for _ in range(2))
    random = Texts(f"<{pretrain}>\n<{RUN}>\n<>\n", f"[{heldout}, {RUN}]")
    # Half of it shared, in short lines here and there: each line asked for each run, or the lines before each
    # counted.
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    lines = [
        f"<{''.join(row)}>" if i % 2 else "".join(row)
        for i, row in enumerate(rng.choice(letters, (30_000, 9)))
    ]
    shared = Texts("\n".join(lines) + "\n", "\n".join(lines[::2]) + "\n", 9)
    # 300,000 short lines: the text split at its first newline again and again, which copies all that follows
    # each time, or the result put together line by line. Its first and last characters take four bytes, and
    # in Python every character of a text takes as many as the widest one. And a long rule of dashes in both,
    # one run in 20,000 places of each.
    wide, rule = "<\N{PERFORMING ARTS}>\n", "-" * 20_000
    short = Texts(wide + "\n" * 300_000 + f"<{RUN}{rule}>\n" + wide, f"[{OTHER}, {RUN}, {rule}]")
    return [
        ("one line is shared", random, len(random.pretrain) - len(f"<{RUN}>\n")),
        ("every other line is shared", shared, len("\n".join(lines[1::2]) + "\n")),
        (
            "nearly all lines are blank, and one is dashes",
            short,
            len(short.pretrain) - len(f"<{RUN}{rule}>\n"),
        ),
    ]


@check("overlap_fast", "texts of 300,000 characters take seconds, not hours", ("overlap_line",))
def test_overlap_fast(exam):
    for special, texts, wanted in long_texts():
        case = {"characters": len(texts.pretrain), "window": texts.window or 50, "special": special}
        left = look(exam, case, readings.removed_in_time, texts)["left"]
        if left != wanted:
            fail(case, f"Of a long text ({special}) {left:,} characters are left instead of {wanted:,}.")


# Transfer.

PLAIN = Models()
# Where an attempt may take a shortcut: one vocabulary for both, in one order or in two, nothing to keep
# fresh, nothing to copy; one head, one layer, one character.
SAME = Models(target="dacbfe\n", seed=5)
CASES = (
    PLAIN,
    Models(source_block=5, target_block=7, seed=1),
    Models(source_block=7, target_block=5, seed=2),
    # Dropout has no weights: a small text may take more of it than the pretraining did.
    Models(target_dropout=0.3, seed=3),
    SAME,
    Models(target="\nefbcad", seed=6),
    Models(target="fab", seed=7),
    Models(source="ab", target="xyz", seed=8),
    Models(target="dacbfe\n", source_block=7, target_block=5, seed=12),
    Models(n_head=1, seed=9),
    Models(n_layer=1, seed=10),
    Models(source="a", target="a", source_block=1, target_block=1),
)
# A letter and its capital are two characters, and a tab is a character like all others.
CAPITALS = Models(source="abC\n \t", target="cA\tB\n b", seed=4)


SPACES = Models(source="abq", target="a\nbz \t", seed=2)  # whitespace is made of characters like all others


@check("transfer_returned", "it returns the characters that only the target knows", ("runs",))
def test_transfer_returned(exam):
    for case in (*CASES, SPACES, CAPITALS):
        got = look(exam, case.as_case(), readings.transfer_list, case)["new"]
        if got != sorted(case.new()):
            fail(
                case.as_case(),
                f"The source knows {case.source!r} and the target {case.target!r}, so the list must hold "
                f"{case.new()}, in any order; yours holds {got}. Which of the two tokenizers do you ask, "
                "and for what?",
            )


def part_agrees(exam, case: Models, part: str, question: str, frozen: bool = False):
    """One part of the target's weights must be what the transfer makes it."""
    expected = readings.parts(case.expected(), case, part)
    got = look(
        exam,
        case.as_case() | ({"frozen": "every other parameter"} if frozen else {}),
        readings.transfer,
        case,
        part,
        frozen,
    )
    for name, array in expected.items():
        if not np.allclose(got[name], array, rtol=0, atol=1e-6):
            before = readings.parts(case.weights("target"), case, part)[name]
            untouched = (
                " It is as it was before." if np.array_equal(got[name], before) and part != "fresh" else ""
            )
            fail(
                case.as_case(),
                f"{name} is not what it must be after the transfer.{untouched} {question}",
                numbers.worst(array, got[name], ("row", "channel")[: array.ndim]),
                numbers.pattern(array, got[name], 1e-6, ("row", "channel")[: array.ndim]),
                [line for line in [numbers.rounded_to(got[name], array)] if line],
            )


def all_agree(exam, part: str, question: str):
    for case in (*CASES, CAPITALS):
        part_agrees(exam, case, part, question)


@check("transfer_blocks", "the weights of the blocks and the last norm are copied", ("runs",))
def test_transfer_blocks(exam):
    all_agree(
        exam, "blocks", "Every parameter of the blocks and of ln_f goes over as it is: biases and norms too."
    )


@check("transfer_embedding", "a row of the embedding goes to the row of the same character", ("runs",))
def test_transfer_embedding(exam):
    all_agree(
        exam,
        BY_CHARACTER[0],
        "The same character has another id in the target's tokenizer: its row must go there. Which rows do "
        "you write, and from which?",
    )


@check("transfer_output", "a row of lm_head goes to the row of the same character", ("runs",))
def test_transfer_output(exam):
    all_agree(
        exam,
        BY_CHARACTER[1],
        "A row of lm_head is the output of one character, and goes to that character's id like a row of the "
        "embedding.",
    )


@check("transfer_output_bias", "the bias of lm_head goes by character as well", ("runs",))
def test_transfer_output_bias(exam):
    all_agree(
        exam,
        BY_CHARACTER[2],
        "lm_head has a bias, one number per character: how often it comes. Does it move with its row?",
    )


@check("transfer_positions", "positions are copied up to the shorter table", ("runs",))
def test_transfer_positions(exam):
    all_agree(
        exam,
        "positions",
        "Row i is position i in both models, as far as the table of both goes (source_block and target_block "
        "in the case).",
    )


@check(
    "transfer_fresh",
    "characters and positions that the source does not know keep their fresh weights",
    ("transfer_embedding", "transfer_positions"),
)
def test_transfer_fresh(exam):
    all_agree(
        exam,
        "fresh",
        "A character or a position that only the target knows has nothing to get, and must keep the "
        "weights that it has: zeros, or another character's row, would be a worse start.",
    )


@st.composite
def vocabularies(draw):
    """Two vocabularies of any overlap, and tables of any lengths."""
    sets = [
        draw(st.lists(st.sampled_from("abcdefgh \n"), min_size=1, max_size=8, unique=True)) for _ in range(2)
    ]
    sizes = {"source_block": draw(st.integers(1, 6)), "target_block": draw(st.integers(1, 6))}
    n_head = draw(st.sampled_from((1, 2, 4)))
    return Models(
        "".join(sets[0]),
        "".join(sets[1]),
        **sizes,
        n_layer=draw(st.integers(1, 2)),
        n_head=n_head,
        seed=draw(st.integers(0, 99)),
    )


COPIED = ("blocks", *BY_CHARACTER, "positions", "fresh")
TRANSFERS = tuple(id for id in EXERCISES["ex3"].checks if id.startswith("transfer_"))


@check(
    "transfer_any",
    "the transfer is right for any two vocabularies and sizes",
    TRANSFERS[: TRANSFERS.index("transfer_any")],
)
def test_transfer_any(exam):
    def body(exam, case):
        for part in COPIED:
            part_agrees(exam, case, part, "What is special about these vocabularies?")

    for_all(exam, vocabularies(), body, max_examples=6)
    for part in COPIED:
        part_agrees(
            exam,
            PLAIN,
            part,
            "Here every other parameter of both models is frozen; without that it is right. requires_grad "
            "says what is trained, and not what is copied.",
            frozen=True,
        )


WHAT = models.WHAT | {
    "source": "the tokenizer `source`",
    "target_tokenizer": "the target's tokenizer",
    "settings": "torch's settings",
}


def nothing_changed(case: dict, kept: dict, whose: str, question: str):
    changed = [WHAT[key] for key, same in kept.items() if not same]
    if changed:
        fail(case, f"{whose} must be left as it was; what changed: {', '.join(changed)}. {question}")


@check("transfer_source_kept", "the pretrained model and both tokenizers are left as they were", ("runs",))
def test_transfer_source_kept(exam):
    for case in CASES[::2]:
        kept = look(exam, case.as_case(), readings.transfer_keeps, case, "source")
        nothing_changed(
            case.as_case(),
            kept,
            "The pretrained model",
            "The caller may still use it: weights, gradients, requires_grad, the mode of every module, its "
            "config. Copying changes none of them.",
        )


@check(
    "transfer_target_kept",
    "the target's parameters are written in place, and nothing else of it changes",
    ("runs",),
)
def test_transfer_target_kept(exam):
    for case in CASES[::2]:
        kept = look(exam, case.as_case(), readings.transfer_keeps, case, "target")
        nothing_changed(
            case.as_case(),
            kept,
            "All but the weights of the target",
            "An optimizer may hold its parameters already, and a new object would never be trained. "
            "parameter.copy_(..) under torch.no_grad() writes the numbers alone.",
        )


@check(
    "transfer_shares",
    "no storage is shared: changing one model later does not change the other",
    ("transfer_blocks",),
)
def test_transfer_shares(exam):
    for case in CASES[::2]:
        kept = look(exam, case.as_case(), readings.transfer_shares, case)
        for of, other in (("source", "target"), ("target", "pretrained model")):
            if not kept[of]:
                fail(
                    case.as_case(),
                    f"After the transfer the weights of the {other} were changed, and those of the {of} "
                    "changed with them: both are the same memory. What copies numbers, and what only "
                    "passes a tensor on?",
                )


REFUSED = ({"n_layer": 1}, {"n_layer": 3}, {"n_embd": 4}, {"n_embd": 16}, {"n_head": 1}, {"n_head": 4})


@check("transfer_refuses", "another depth, width or number of heads is a ValueError", ("runs",))
def test_transfer_refuses(exam):
    for case, refused in ((PLAIN, REFUSED), (SAME, REFUSED[::2])):
        got = look(exam, case.as_case(), readings.transfer_refuses, case, refused)
        for sizes, came in zip(refused, got["came"]):
            (key, value), *_ = sizes.items()
            if came != "ValueError":
                fail(
                    case.as_case(target_has=sizes),
                    f"The pretrained model has {key} = {getattr(case, key)} and the target {value}: no "
                    f"transfer makes sense, and it must raise a ValueError; yours {came}. Are depth, width "
                    "and heads all compared?",
                )


@check("transfer_untouched", "where sizes differ, nothing is changed", ("transfer_refuses",))
def test_transfer_untouched(exam):
    for case, refused in ((PLAIN, REFUSED), (SAME, REFUSED[::2])):
        got = look(exam, case.as_case(), readings.transfer_refuses, case, refused)
        for sizes, kept in zip(refused, got["kept"]):
            if not kept:
                fail(
                    case.as_case(target_has=sizes),
                    "It raises its ValueError, but something is not as it was before: weights, "
                    "requires_grad, modes. A target with some weights written is neither fresh nor "
                    "transferred. What must come first?",
                )


@check("transfer_devices", devices.TITLE, ("transfer_returned",))
def test_transfer_devices(exam):
    case = replace(PLAIN, seed=7)
    what = "Every weight of the target"
    devices.check_devices(exam, case.as_case(), what, "the target", readings.transfer_asked(case, False))


# The optimizer.

LR, DECAY = 3e-4, 0.07
FROZEN = (False, True, False)


def same_float(one: float, other: float) -> bool:
    """Whether two numbers are the same in float32: a learning rate may be a tensor."""
    return np.float32(one) == np.float32(other)


def names_of(dimensions) -> list[str]:
    return sorted(key for key, shape in readings.SHAPES.items() if dimensions(len(shape)))


@check("optimizer_type", "finetune_optimizer returns a torch.optim.AdamW", ("runs",))
def test_optimizer_type(exam):
    case = readings.SIZES | {"lr": LR, "weight_decay": DECAY}
    got = look(exam, case, readings.optimizer_part, "type", LR, DECAY)["type"]
    if got != "AdamW":
        fail(
            case,
            f"It must be a torch.optim.AdamW that makes the loss smaller; it is {got}. In Adam decay is "
            f"added to the gradient, and divided with it. Which class do you call, and with what?",
        )


def counts_fail(case: dict, got: dict, wanted: list[str]):
    missing = [key for key in wanted if key not in got]
    more = [key for key in got if key not in wanted]
    twice = [key for key, count in got.items() if count > 1]
    for which, what in (
        (missing, "in no group, and never trained"),
        (twice, "in it more than once"),
        (more, "in it that should not be"),
    ):
        if which:
            many = "1 parameter is" if len(which) == 1 else f"{len(which)} parameters are"
            fail(case, f"{many} {what}. How do you go through them?", f"for example {which[0]}")


@check("optimizer_once", "each parameter is in exactly one group", ("optimizer_type",))
def test_optimizer_once(exam):
    case = readings.SIZES | {"lr": LR, "weight_decay": DECAY}
    counts_fail(
        case, look(exam, case, readings.optimizer_part, "names", LR, DECAY)["names"], names_of(lambda n: True)
    )


@check("optimizer_frozen", "frozen parameters are left out", ("optimizer_once",))
def test_optimizer_frozen(exam):
    case = readings.SIZES | {"frozen": "every third"}
    # Frozen in the order of `parameters()`, which the worker knows: what the reference holds is what is not
    # frozen.
    wanted = list(exam.expected(readings.optimizer_part, "names", LR, DECAY, FROZEN)["names"])
    counts_fail(case, look(exam, case, readings.optimizer_part, "names", LR, DECAY, FROZEN)["names"], wanted)


def decay_numbers(exam) -> Numbers | None:
    """The decay of every parameter, where DECAY and where none is asked for."""
    names = names_of(lambda n: True)
    got = [exam.further(readings.optimizer_part, "decay", LR, decay) for decay in (DECAY, 0.0)]
    if None in got or any(set(reading["decay"]) != set(names) for reading in got):
        return None
    dims = [len(readings.SHAPES[name]) for name in names]
    expected = [[decay * (n >= 2) for n in dims] for decay in (DECAY, 0.0)]
    facts = {"decay": (DECAY, 0.0), "names": names, "dims": dims}
    came = np.array([[reading["decay"][name] for name in names] for reading in got])
    return Numbers("decay", np.array(expected), came, facts=facts)


def decays_fail(exam, matrices: bool, message: str):
    for decay in (DECAY, 0.0):
        case, wanted = readings.SIZES | {"lr": LR, "weight_decay": decay}, decay if matrices else 0.0
        got = look(exam, case, readings.optimizer_decay, matrices, LR, decay)
        odd = [key for key, came in got.items() if not same_float(came, wanted)]
        if odd or not got:
            fail(
                case,
                message,
                f"for example {odd[0]}: its weight_decay is {got[odd[0]]:g}, not {wanted:g} ({len(odd)} of "
                f"{len(got)} are wrong)"
                if odd
                else "none found",
                numbers=decay_numbers(exam),
            )


@check(
    "optimizer_decay",
    "parameters of two or more dimensions decay, the position table too",
    ("optimizer_once",),
)
def test_optimizer_decay(exam):
    decays_fail(
        exam,
        True,
        "Every matrix and table must decay by weight_decay, which may be 0. How do you recognise them: by "
        "their name, or by ndim?",
    )


@check("optimizer_no_decay", "biases and norms do not decay", ("optimizer_once",))
def test_optimizer_no_decay(exam):
    decays_fail(
        exam,
        False,
        "Parameters of one dimension or none must have weight_decay = 0: pulling the gain of a norm to 0 "
        "makes the model no simpler.",
    )


@check("optimizer_lr", "every group has the learning rate that was asked for", ("optimizer_type",))
def test_optimizer_lr(exam):
    cases = (LR, DECAY), (0.05, 0.0)
    for lr, decay in cases:
        case = readings.SIZES | {"lr": lr, "weight_decay": decay}
        got = look(exam, case, readings.optimizer_part, "lr", lr, decay)["lr"]
        if not got or not all(same_float(rate, lr) for rate in got):
            fail(
                case,
                f"With lr = {lr} every group must have that rate; yours have {got}. A group without an lr of "
                f"its own gets AdamW's default, 0.001.",
                numbers=optimizer_rates(exam, cases),
            )


def optimizer_rates(exam, cases) -> Numbers | None:
    """The rate of all groups for each (lr, decay); None where groups have several."""
    got = [exam.further(readings.optimizer_part, "lr", *case) for case in cases]
    if None in got or any(len(reading["lr"]) != 1 for reading in got):
        return None
    rates = np.array([reading["lr"][0] for reading in got])
    return Numbers("rate", np.array([lr for lr, _ in cases]), rates, facts={"of": "optimizer"})


@check("optimizer_state", "no state is carried over: each call makes a new optimizer", ("optimizer_type",))
def test_optimizer_state(exam):
    case = readings.SIZES | {"calls": 2}
    got = look(exam, case, readings.optimizer_state)["state"]
    if got:
        fail(
            case,
            f"After an update with the first optimizer, a second call gives one that remembers {got} "
            f"parameters: averages of gradients from another task. Is it made anew?",
        )


@check(
    "optimizer_shared",
    "a parameter that two modules share is one parameter",
    (
        "optimizer_once",
        "optimizer_frozen",
        "optimizer_decay",
        "optimizer_no_decay",
        "optimizer_lr",
        "optimizer_state",
    ),
)
def test_optimizer_shared(exam):
    tied = readings.SIZES | {
        "lr": LR,
        "weight_decay": DECAY,
        "lm_head.weight": "is token_embedding_table.weight",
    }
    got = look(exam, tied, readings.optimizer_part, "names", LR, DECAY, (False,), True)["names"]
    counts_fail(tied, got, [key for key in names_of(lambda n: True) if key != "lm_head.weight"])
    got = look(exam, tied, readings.optimizer_part, "decay", LR, DECAY, (False,), True)["decay"][
        readings.BY_CHARACTER[0]
    ]
    if not same_float(got, DECAY):
        fail(
            tied,
            f"The matrix that both use must decay by {DECAY}, as every other one; its weight_decay is "
            f"{got:g}. In which group is it?",
        )


# A few steps of finetuning.

TUNE = Tuning()
# Where an attempt may take a shortcut: no character of the text is new, and the two vocabularies are the
# same.
KNOWN = (Tuning(chars=ALL_KNOWN), Tuning(chars="".join(sorted(TRAINED + finetuning.VALIDATION))))
# A text on which training helps, so that what comes back has been trained: one character makes up most of it.
PLENTY = "aaaaaaab"
LEARNED = Tuning(trained=PLENTY, validation=PLENTY)
WORSENED = Tuning(lr=3e-2, steps=60, chars=ALL_KNOWN, validation_bias=3.0, dropout=0.0, n_layer=1, n_embd=8)
TINY_LR = 1e-7
FIRST_UPDATE = 5.0  # times lr


@check("finetune_updates", "it makes exactly `steps` updates, of all models together", ("runs",))
def test_finetune_updates(exam):
    exam.prepare("finetune_seed")
    # On what can be learned: weights that are kept apart show their last update by coming back. And where the
    # validation loss rises from the first update on, so that one would stop early.
    check_updates(exam, UNIT, (replace(LEARNED, steps=6), replace(LEARNED, steps=1), WORSENED))


@check(
    "finetune_returned",
    "it returns a GPT and its tokenizer: pretrained's config, a vocabulary for the whole text",
    ("transfer_returned", "finetune_updates"),
)
def test_finetune_returned(exam):
    for tuning in (TUNE, *KNOWN):
        case = tuning.as_case()
        got = look(exam, case, finetuning.sizes, tuning)
        if got["missing"]:
            fail(
                case,
                f"The tokenizer must know every character of the text; it does not know {got['missing']}. Is "
                f"it made from all of it?",
            )
        if not got["vocab_size"]:
            fail(
                case,
                "The model's vocab_size is not the number of characters that the tokenizer has. What changes "
                "in pretrained.config?",
            )
        if got["others"]:
            fail(
                case,
                f"The model's config must be that of the pretrained one but for vocab_size; "
                f"{', '.join(got['others'])} came out otherwise.",
            )


@check(
    "finetune_parts",
    "the model is a GPT with default parts: it is its weights that count",
    ("finetune_returned",),
)
def test_finetune_parts(exam):
    check_parts(exam, UNIT, TUNE)


@check(
    "finetune_transfers",
    "it starts from the transferred weights: with lr = 0 it returns them",
    ("finetune_returned",),
)
def test_finetune_transfers(exam):
    for case in (Tuning(lr=0.0, steps=3), *(replace(known, lr=0.0, steps=3) for known in KNOWN)):
        got = look(exam, case.as_case(), finetuning.transferred_only, case)
        if got["blocks"]:
            fail(
                case.as_case(),
                "With lr = 0 no update changes anything, so the returned blocks must be the pretrained "
                "ones; they are not. Is transfer_weights called, into the model that you train? And is lr "
                "used?",
            )
        if got["rows"]:
            fail(
                case.as_case(),
                "With lr = 0 the rows of known characters must be returned as the pretrained model has "
                f"them; {', '.join(got['rows'])} differs. Which tokenizer does transfer_weights get as the "
                "target's?",
            )


@check("finetune_lr", "the learning rate is never above lr", ("finetune_updates",))
def test_finetune_lr(exam):
    # On what can be learned: where updates are written by hand, how far the weights that come back moved is
    # all there is to see.
    cases = (replace(LEARNED, lr=3e-4, steps=12), replace(LEARNED, lr=3e-5, steps=12))
    same = same_by(lambda reading: (reading["above"], reading["proportional"]))
    got = look(exam, cases[0].as_case(), finetuning.rates, cases, same=same)
    if not all(got["shares"]):
        fail(
            cases[0].as_case(),
            "No update at a learning rate above 0 was seen, and no weight moved. What is lr used for?",
        )
    if any(got["above"]):
        which = got["above"].index(True)
        fail(
            cases[which].as_case(),
            f"A learning rate may rise up to lr, and fall from there; yours reaches "
            f"{got['shares'][which]:.3g} times lr. What does your schedule multiply?",
            numbers=Numbers(
                "rate",
                np.array([case.lr for case in cases]),
                np.array([share * case.lr for share, case in zip(got["shares"], cases)]),
                facts={"of": "finetune"},
            ),
        )
    if not all(got["shares"]):
        # No optimizer of torch's was seen to step: then what the weights do must tell. The first update of an
        # AdamW moves no weight by more than lr, but for decay; without its correction of the averages by
        # three times that.
        case = replace(LEARNED, lr=1e-3, steps=1)
        came = look(exam, case.as_case(), finetuning.moved, case)["updates"]
        if came > FIRST_UPDATE:
            fail(
                case.as_case(),
                f"The first update of AdamW moves no weight by more than about lr; one of yours moved "
                f"{came:.3g} times as far. Which rate do you take?",
            )


@check("finetune_small_lr", "a small lr moves the weights little", ("finetune_transfers", "finetune_updates"))
def test_finetune_small_lr(exam):
    case = replace(LEARNED, lr=TINY_LR, steps=12)
    same = same_by(lambda reading: reading["updates"] > MOST_UPDATES)
    got = look(exam, case.as_case(), finetuning.moved, case, same=same)["updates"]
    if got > MOST_UPDATES:
        fail(
            case.as_case(),
            f"With lr = {TINY_LR:g}, {case.steps} updates of AdamW move no weight by more than about "
            f"{case.steps} times that; one of yours moved {got:.3g} times as far. Is lr what your optimizer "
            "gets?",
        )


LATE = Tuning(steps=30, length=150, late="hij")


@check(
    "finetune_part",
    "it trains on the first 90 % of the text, and on nothing of the validation text",
    ("finetune_updates",),
)
def test_finetune_part(exam):
    # A window of 8 tokens touches the last tenth of what is trained on with probability 1/9, so
    # ROWS_THAT_TELL of them all miss it with 2e-8. Batches so small that there are fewer rows are not judged
    # by it.
    case = LATE
    got = look(exam, case.as_case(), finetuning.trained_on_validation, case)
    if not got["seen"]:
        fail(
            case.as_case(),
            "The grader did not see what the model trains on, so it cannot say that the validation text is "
            "kept apart. The tokens must be looked up in the token table of a gpt_core.GPT, by model(x, y) "
            "or model.token_embedding_table(x) with x of shape (B, T), and the loss must come from there.",
        )
    if got["validation"]:
        fail(
            case.as_case(),
            "It trains on characters of the validation text, which chooses the weights to return and "
            "judges them. The model then memorises that text, and its loss says nothing. Train on "
            "text[:int(0.9 * len(text))] alone.",
        )
    if got["taught_ahead"] == -1:
        fail(
            case.as_case(),
            "The grader did not see the targets of the training: no cross entropy of logits (B, T, V) out "
            "of lm_head raises one token at each place. Is the loss that of the next token, at every place?",
        )
    if got["taught_ahead"] != 1:
        ahead = -1 if got["taught_ahead"] is None else got["taught_ahead"]
        came = {0: "itself", None: "something else"}.get(
            got["taught_ahead"], f"the one {got['taught_ahead']} places on"
        )
        fail(
            case.as_case(),
            f"A token must be taught the character that comes after it in the text; yours is taught {came}. "
            "Is y one place ahead of x, and only one?",
            numbers=Numbers("ahead", np.array([1]), np.array([ahead])),
        )
    if got["taught"]:
        fail(
            case.as_case(),
            "A character of the validation text is a target of the training: the last input stands before "
            "the border, and its target behind it. Is your training part one token too long?",
        )
    if not got["train"]:
        fail(
            case.as_case(),
            "Every row of the training has characters of the validation text, and none is from the first "
            "90 % alone. Which part is trained on?",
        )
    if got["late"] is False:
        fail(
            case.as_case(),
            f"What stands between 80 % and 90 % of the text (the only {case.late!r} of this one) is never "
            f"trained on in {case.steps} updates. Is the border int(0.9 * len(text)), and can a batch begin "
            "anywhere before it?",
        )


@check("finetune_modes", "it trains in train mode, and evaluates in eval mode", ("finetune_part",))
def test_finetune_modes(exam):
    # A copy of a model has its mode: one that was last evaluated is in eval mode. Where no character is new
    # an attempt may train a copy.
    for case in (LATE, Tuning(steps=12, pretrained_train=False, chars=KNOWN[-1].chars)):
        got = look(exam, case.as_case(), finetuning.modes, case)
        shown = case.as_case(
            dropout=case.dropout, pretrained="train mode" if case.pretrained_train else "eval mode"
        )
        if got["validation_in_train"] is None or not got["trained"]:
            fail(
                shown,
                f"No {'reading of the validation text' if got['trained'] else 'training'} was seen. Does a "
                "gpt_core.GPT look the tokens up, in rows of shape (B, T)?",
            )
        if got["validation_in_train"]:
            fail(
                shown,
                "The validation text is read in train mode: dropout makes each loss larger and noisy, and "
                "the weights that come out as best are the lucky ones. model.eval() before, and back "
                "afterwards.",
            )
        if any(mode != finetuning.DROPOUT_ON for mode in got["trained"]):
            what = (
                "the model is in eval mode",
                "a part of it is in eval mode",
                "some p is not the config's",
            )[min(got["trained"])]
            fail(
                shown,
                f"It trains without the dropout that its config asks for: {what}. Is the model that you "
                "train put into train mode at first, whatever the mode of the pretrained one, and back "
                "after each evaluation?",
            )


# Two characters make up most of the text, and a model that has not learned so gives each 1/8. In a validation
# text of only one of them every window has the same loss, so whichever windows are sampled, the same weights
# are best. At so small an lr that loss falls from the first update to the last, for either character.
TWO = Tuning(steps=10, lr=1e-4, chars=ALL_KNOWN, trained="aaaaaaabbbbbbbcdefg\n", dropout=0.0)
# As large as the text of the comparison below, at its lr, and with new characters, of which "a" is one.
AS_LARGE = replace(
    TWO,
    steps=2,
    lr=training.LR,
    length=training.SHORT,
    chars=SOME_KNOWN,
    block_size=training.SIZES["block_size"],
    n_embd=training.SIZES["n_embd"],
)


@check(
    "finetune_validation",
    "the validation text decides which weights are returned, and nothing else about them",
    ("finetune_transfers", "finetune_updates"),
)
def test_finetune_validation(exam):
    # "a little" in one of two may be another choice: very small batches may make the loss rise once.
    little = 0
    # In two updates every optimizer moves a weight by a few times lr. Validation texts of a tenth change the
    # logarithm of how often "a" comes in the whole text by 0.26, which is 43 times lr an update here.
    for case, most in ((TWO, MOST_UPDATES), (AS_LARGE, 0.2 * MOST_UPDATES)):
        apart = look(exam, case.as_case(), finetuning.depends_on_validation, case, ("a", "b"), most)["apart"]
        little += apart == "a little"
        if apart == "far" or little == 2:
            fail(
                case.as_case(validation="of a, or of b"),
                "With the same seed and the same first 90 % of the text, another validation text gives "
                "other weights, though on both the loss falls with every update: something in the weights "
                "comes from the validation text. Count, fit and train nothing there. Its loss says which "
                "weights are best, and that is all.",
            )


@check(
    "finetune_thawed",
    "what was frozen in the pretrained model is trained as well",
    ("finetune_transfers", "finetune_updates"),
)
def test_finetune_thawed(exam):
    for case in (
        replace(LEARNED, dropout=0.0),
        replace(LEARNED, dropout=0.0, chars="".join(sorted(PLENTY[-2:]))),
    ):
        if not look(exam, case.as_case(), finetuning.thawed, case)["same"]:
            fail(
                case.as_case(pretrained="half of it frozen, parts in eval mode"),
                "The result is different where half of the pretrained model is frozen or in eval mode. "
                "Only its weights, its config and its characters may matter: train a new model, and not a "
                "copy with everything that was set there.",
            )


@check(
    "finetune_kept", "the pretrained model and its tokenizer are left as they were", ("finetune_returned",)
)
def test_finetune_kept(exam):
    for case in (TUNE, *KNOWN):
        kept = look(exam, case.as_case(), finetuning.kept, case)
        nothing_changed(
            case.as_case(),
            kept,
            "The pretrained model",
            "It is compared with, and finetuned for another text: weights, config, dropout's p, modes, its "
            "tokenizer. Does your optimizer hold a model of your own?",
        )


@check(
    "finetune_short",
    "a text too short for block_size + 1 characters in each part is a ValueError",
    ("finetune_returned",),
)
def test_finetune_short(exam):
    # On both sides of the border: of 80 characters 8 are for validation, of 81 are 9: a window of 8 with its
    # targets.
    cases = tuple(Tuning(length=length, steps=1) for length in (80, 79, 20, 81, 90))
    got = look(exam, cases[0].as_case(), finetuning.refuses_short, cases)
    for case, came in zip(cases, got["came"]):
        length, short = case.length, case.length - int(0.9 * case.length) < case.block_size + 1
        validation = length - int(0.9 * length)
        if short and came != "ValueError":
            fail(
                case.as_case(),
                f"Of {length} characters {validation} are for validation, and block_size + 1 = "
                f"{case.block_size + 1} are needed: that must be a ValueError; yours {came}. Is the border "
                "int(0.9 * len(text)), and are both sides of it counted?",
            )
        if not short and not came.startswith("returns"):
            fail(
                case.as_case(),
                f"Of {length} characters {validation} are for validation, and block_size + 1 = "
                f"{case.block_size + 1} are enough; yours {came}. Is the border int(0.9 * len(text)), and "
                "is it < or <=?",
            )
    if not got["kept"]:
        fail(
            cases[0].as_case(),
            "It raises its ValueError, but the pretrained model or its tokenizer is not as it was: modes, "
            "requires_grad, gradients. Are the lengths looked at first?",
        )


@check("finetune_seed", "the seed decides the result", ("finetune_updates",))
def test_finetune_seed(exam):
    # With ten characters: a set of them has the same order in two processes once in three million, and is
    # still learned from, so that trained weights come back.
    many = 24 * "a" + "bcdefghij"
    check_seed(exam, UNIT, LEARNED, elsewhere=replace(LEARNED, trained=many, validation=many))


@check("finetune_devices", "it trains on the device that it is given", ("finetune_updates",))
def test_finetune_devices(exam):
    case = replace(TUNE, steps=2, seed=3)
    what = "The model that finetune trains"
    asked = UNIT.ask("returned", case)
    devices.check_devices(exam, case.as_case(), what, "its argument `device`", asked)


@check("finetune_report", "it calls report(step, loss), with an int and a float", ("finetune_updates",))
def test_finetune_report(exam):
    check_report(exam, UNIT, [Tuning(steps=20)])  # a run may be shorter than the distance of two reports


# What comes back, measured by the reference.

# Where training does harm, the transferred weights are the best.
HARMED = {
    "an lr that destroys them": Tuning(lr=1000.0, steps=8, chars=ALL_KNOWN, validation_bias=3.0, dropout=0.0),
    "validation of another kind": Tuning(
        lr=3e-2, steps=40, chars=ALL_KNOWN, validation_bias=3.0, dropout=0.0
    ),
    # From 180 random characters a model learns how often each comes, and then memorises them.
    "a text without order": Tuning(
        lr=2e-2,
        steps=300,
        seed=2,
        length=200,
        chars="gdbfc\nae",
        trained="aabbccdefg\n",
        validation="aabbccdefg\n",
        dropout=0.0,
        n_embd=32,
    ),
}
SLACK = 0.1  # nats: a sampled estimate may take weights a little worse for the best


def does_harm(case: Tuning):
    """A look: whether what comes back from this run is worse than the transferred weights."""
    return lambda subject, reference: finetuning.gets_worse(subject, reference, case, SLACK)["worse"]


# All of the runs, since one alone does not tell whether the last weights come back or the first ones were
# never looked at.
WORSE = in_parts(**{what: does_harm(case) for what, case in HARMED.items()})
HELPED = replace(LEARNED, steps=100, chars=ALL_KNOWN, dropout=0.0)


@check(
    "finetune_improves",
    "where the validation text is like the training text, the returned model beats the transferred weights",
    CHEAP,
)
def test_finetune_improves(exam):
    case = HELPED.as_case()
    if not look(exam, case, finetuning.improved, exam.reference, HELPED)["improved"]:
        fail(
            case,
            f"{HELPED.steps} updates at lr = {HELPED.lr:g} must lower the validation loss, and the returned "
            "model's is no lower than that of the transferred weights. Do you return the model that was "
            "trained, and are the best weights the ones with the lowest loss?",
        )


@check(
    "finetune_best",
    "of all weights, the transferred ones included, those with the lowest validation loss are returned",
    CHEAP,
)
def test_finetune_best(exam):
    for what, worse in look(exam, {"runs": list(HARMED)}, WORSE, exam.reference).items():
        if worse:
            case = HARMED[what]
            fail(
                case.as_case(),
                "The returned model has a higher validation loss than the weights that it began with "
                f"({what}). Is the loss of the transferred weights taken before the first update, are "
                "weights copied when they are the best, and do you return these copies?",
            )


# The validation text is 24 letters in an order that the seed decides, three times over: a model that has seen
# it knows which letter follows which. The chance that a model which has not seen it comes below a loss of L
# on its N characters is at most exp(N * L) / 24!: no probability over texts of that length can be large for
# many of the 24! orders. For L = 0.35 that is 1e-13, and times the number of weights compared still far below
# 1e-6.
CIRCLE = "ABCDEFGHIJKLMNOPQRSTUVWX"
HIDDEN = Tuning(
    lr=1e-2,
    steps=300,
    length=720,
    block_size=24,
    chars=TRAINED + CIRCLE,
    validation=CIRCLE,
    round=True,
    dropout=0.0,
    n_embd=32,
)
KNOWS = 0.35


@check("finetune_unseen", "the returned model has not memorised the validation text", CHEAP)
def test_finetune_unseen(exam):
    if look(exam, HIDDEN.as_case(), finetuning.knows_validation, exam.reference, HIDDEN, KNOWS)["knows"]:
        fail(
            HIDDEN.as_case(),
            "The validation text follows a rule that the first 90 % do not show. A model that has not seen "
            f"it cannot come below {KNOWS} nats per character, and the returned model does. It was trained "
            "on the validation text.",
        )


# The comparison with fresh weights.


@check(
    "finetune_helps",
    "after pretraining, finetuning beats the same from fresh weights, with every seed",
    CHEAP + ("finetune_improves", "finetune_best", "finetune_unseen"),
)
def test_finetune_helps(exam):
    case = {"seeds": training.SEEDS, "steps": training.STEPS, "lr": training.LR, "characters": training.SHORT}
    exam.note("pretraining (the reference)")
    comparison = training.Comparison(exam.reference, exam.seed)
    outcomes = []
    try:
        for seed in range(training.SEEDS):
            exam.note(f"finetuning, seed {seed + 1} of {training.SEEDS}")
            outcomes.append(comparison.outcome(exam.attempt, seed))
    except CheckFailed as failure:
        failure.case = case
        if failure.same is not None and failure.same[:2] == ("died", "deadline"):
            fail(
                case,
                f"Too slow, which does not mean wrong: {training.STEPS} updates of a model of 2 x 32 "
                f"channels took more than {training.SECONDS:.0f} s. How large are your batches, and how "
                f"often do you evaluate? {more_patience()} gives a slow machine three times as long.",
                *failure.details,
            )
        raise
    exam.shown += training.pictures(outcomes, comparison)
    found = training.diagnosis(outcomes, comparison.guess)
    if found is not None:
        fail(case, found[0], *found[1])
    gain = min(outcome.scratch - outcome.finetuned for outcome in outcomes)
    exam.measured = (
        f"with each of {training.SEEDS} seeds the loss is lower, by at least {gain:.2f} nats per character"
    )
