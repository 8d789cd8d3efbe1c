"""The catalogue of known mistakes of the calculator: each a patch on solutions/more/calculator.py."""

from dataclasses import replace

from tests.exercises import Mistake

_REVERSED = 'f"{number:0{count}d}"[::-1]'
_SIGN = '("-" if a < b else "+")'
_PARTS = "reversed_digits(a * units, 3), reversed_digits(a * tens * 10, 4), reversed_digits(a * b, 4)"

_ENCODE = (
    Mistake(
        "not_reversed", "no number is reversed",
        "You write each number as one reads it. Its first digit depends on every carry, so the model would "
        "have to finish a sum before it writes anything. Write the last digit first.",
        ((_REVERSED, 'f"{number:0{count}d}"'),),
    ),
    Mistake(
        "padded_after_reversing", "numbers are padded after they are reversed",
        "You reverse first and pad then, so the zeros stand in front of the units. Pad, then reverse.",
        ((_REVERSED, "str(number)[::-1].zfill(count)"),),
    ),
    Mistake(
        "zero_is_negative", "the difference 0 has a minus sign",
        'You write "-" wherever a is not larger than b. 0 has "+": the minus sign is for a < b alone.',
        ((_SIGN, '("+" if a > b else "-")'),),
    ),
    Mistake(
        "sign_swapped", "the sign is the wrong one",
        'You write "-" where a is larger. a - b is below 0 where a < b.',
        ((_SIGN, '("-" if a > b else "+")'),),
    ),
    Mistake(
        "shift_forgotten", "the second partial product is not shifted",
        "You multiply a with b's first digit and forget that it stands for tens: 34 * 57 is 34 * 7 and 34 * "
        "50, and not 34 * 5.",
        ((_PARTS, _PARTS.replace("a * tens * 10", "a * tens")),),
    ),
)  # fmt: skip

_AREAS = {"encode": _ENCODE}
MISTAKES = tuple(replace(mistake, area=area) for area, group in _AREAS.items() for mistake in group)
