"""The invented languages and the noise: what they share, and what they do not."""

import math
from collections import Counter

import pytest

from data import toy


def bigrams(text):
    """Pairs of neighbouring words, of whole lines only: the end of a text may cut a word off."""
    words = text[: text.rindex("\n")].replace(".", " ").split()
    return set(zip(words, words[1:]))


def test_two_texts_of_one_language_share_words_and_what_follows_them_and_not_what_is_said():
    one, other = (toy.invented(20_000, language=3, seed=seed) for seed in (1, 2))
    assert bigrams(one) == bigrams(other)
    assert len({word for pair in bigrams(one) for word in pair}) <= toy.WORDS
    assert one != other and one[:200] not in other


def test_two_languages_share_their_letters_and_no_order_of_words():
    one, other = (toy.invented(20_000, language=language, seed=1) for language in (3, 4))
    assert set(one) == set(other)
    assert not bigrams(one) & bigrams(other)


def test_an_invented_text_is_the_same_everywhere_and_has_exactly_its_length():
    assert (
        toy.invented(59, language=1, seed=1) == "rng obal gettb drebdn rsukri idbu.\ngettb etolgb tkus naa et"
    )
    assert len(toy.invented(1, language=1, seed=1)) == 1
    assert toy.invented(500, language=1, seed=1, stop="!") == toy.invented(500, language=1, seed=1).replace(
        ".", "!"
    )


def test_noise_has_no_order_that_could_be_learned():
    text = toy.noise(50_000, alphabet="abcd", seed=1)
    pairs, singles = Counter(zip(text, text[1:])), Counter(text)
    information = sum(
        count / 49_999 * math.log(count / 49_999 * 50_000**2 / (singles[a] * singles[b]))
        for (a, b), count in pairs.items()
    )
    # Of two independent characters it is 0; from a sample about (4 - 1) ** 2 / (2 * 50,000) nats.
    assert 0 <= information < 5e-4
    assert all(abs(count / 50_000 - 0.25) < 0.01 for count in singles.values())


@pytest.mark.parametrize("length", [0, -1, 2.5, True])
def test_a_length_that_is_no_whole_number_above_0_is_refused(length):
    for call in (
        lambda: toy.invented(length, language=1, seed=1),
        lambda: toy.noise(length, alphabet="ab", seed=1),
    ):
        with pytest.raises(ValueError, match="at least 1"):
            call()


def test_noise_of_no_alphabet_is_refused():
    with pytest.raises(ValueError, match="alphabet is empty"):
        toy.noise(10, alphabet="", seed=1)
