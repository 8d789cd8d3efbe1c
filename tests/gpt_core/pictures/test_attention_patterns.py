import pytest
import torch

from gpt_core.pictures.attention_patterns import PATTERNS, in_words, measure, strongest

TEXT = "ANNA:\nSo an\nso on"


def head(*looks: int) -> torch.Tensor:
    """A head that gives all its weight to one character: to which, for each query."""
    return torch.eye(len(TEXT))[list(looks)][None]


def share(weights: torch.Tensor, short: str) -> float:
    return next(one.share for one in measure(weights, TEXT)[0] if one.pattern.short == short)


def test_a_head_that_looks_one_back_has_all_its_weight_on_the_previous_character():
    one_back = head(0, *range(len(TEXT) - 1))
    assert share(one_back, "previous") == 1 and share(one_back, "itself") == 0
    found = strongest(measure(one_back, TEXT)[0])
    assert in_words(2, 3, found) == (
        "Head 3 of layer 2 looks at the previous character: 100 % of its weight (spread evenly it would be "
        "15 %)."
    )


def test_the_start_of_a_line_is_its_first_character_and_the_line_end_before_it():
    starts = [0] * 6 + [6] * 6 + [12] * 5
    assert share(head(*starts), "line start") == 1
    assert share(head(*[5 if i == 6 else i for i in starts]), "line start") == 1
    assert share(head(*range(len(TEXT))), "line start") == 0


def test_the_start_of_a_word_is_its_first_letter_and_the_space_or_line_end_before_it():
    # "ANNA:" from 0, "So" from 6, "an" from 9, "so" from 12, "on" from 15.
    assert share(head(*[0] * 6, *[6] * 3, *[9] * 3, *[12] * 3, 15, 15), "word start") == 1
    assert share(head(*[0] * 6, *[5] * 3, *[8] * 3, *[11] * 3, 15, 15), "word start") == 1


def test_spaces_line_ends_and_what_is_near_are_found_by_their_places():
    space, line_end = TEXT.index(" "), TEXT.index("\n")
    assert share(head(*range(line_end + 1), *[line_end] * 11), "line ends") == 1
    assert share(head(*range(space + 1), *[space] * 8), "spaces") == 1
    assert share(head(0, 1, *range(15)), "2 to 4 back") == 1  # two back
    assert share(head(*range(5), *range(12)), "2 to 4 back") < 0.3  # five back


def test_the_same_letter_is_an_earlier_copy_and_what_followed_it_is_the_next_place():
    copy = list(range(len(TEXT)))
    copy[3], copy[7], copy[10], copy[16] = 0, 7, 9, 10  # A to A; n of "an" to a, which is no copy
    weights = head(*copy)
    # Earlier by two or more: A(3)-A(0), the line end (11)-(5), the space (14)-(8), o (13)-(7), o (15)-(7 or
    # 13), n (16)-(10); N (2) has its copy beside it.
    assert share(weights, "same letter") == pytest.approx(2 / 6)
    after = [0] * len(TEXT)
    after[3] = 1  # N followed A
    assert share(head(*after), "after same") == pytest.approx(1 / 6)


def test_a_head_that_spreads_its_weight_evenly_shows_no_pattern():
    even = torch.ones(len(TEXT), len(TEXT)).tril()
    measured = measure((even / even.sum(-1, keepdim=True))[None], TEXT)[0]
    assert strongest(measured) is None and len(measured) == len(PATTERNS)
    assert all(one.share == pytest.approx(one.even) for one in measured)


@pytest.mark.parametrize("text, left", [("A", 0), ("AB", 2), ("ABC", 5)])
def test_a_pattern_that_a_short_text_has_no_place_for_is_left_out(text, left):
    assert len(measure(torch.eye(len(text))[None], text)[0]) == left
