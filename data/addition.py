"""The addition problems of exercise 2: the vocabulary, and which problems are held out of training.

A problem is an ordered pair (a, b) of numbers of at most n digits. A fixed tenth of them is never
trained on, so that a model that adds can be told from one that memorised its problems.
"""

import torch

VOCABULARY = "0123456789+="  # a token's id is its place here
LARGEST_DIGITS = 18  # a + b of longer numbers does not fit int64
_PARTS = 10  # one part in so many is held out
_SALT = 4496  # chosen so that even one digit has a tenth held out, with and without a carry


def _check(a: torch.Tensor, b: torch.Tensor, n_digits: int) -> None:
    if isinstance(n_digits, bool) or not isinstance(n_digits, int) or not 1 <= n_digits <= LARGEST_DIGITS:
        raise ValueError(f"n_digits is {n_digits!r}; it must be a whole number from 1 to {LARGEST_DIGITS}.")
    for name, numbers in (("a", a), ("b", b)):
        if not isinstance(numbers, torch.Tensor) or numbers.dtype != torch.int64:
            came = numbers.dtype if isinstance(numbers, torch.Tensor) else type(numbers).__name__
            raise ValueError(f"{name} is {came}; it must be a long tensor (torch.int64).")
        if numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) < 10**n_digits:
            raise ValueError(
                f"{name} goes from {int(numbers.min())} to {int(numbers.max())}; with n_digits = {n_digits} "
                f"its numbers must lie from 0 to {10**n_digits - 1}."
            )
    if a.shape != b.shape or a.device != b.device:
        raise ValueError(
            f"a has shape {tuple(a.shape)} on {a.device}, b {tuple(b.shape)} on {b.device}; "
            f"they must agree, pair by pair."
        )


def _mix(h: torch.Tensor) -> torch.Tensor:
    """One round of an integer hash on 32 bits, held in int64, where no product overflows."""
    h = ((h >> 16) ^ h) * 0x45D9F3B & 0xFFFFFFFF
    return (h >> 15) ^ h


def is_held_out(a: torch.Tensor, b: torch.Tensor, n_digits: int) -> torch.Tensor:
    """Which problems are held out of training: a fixed tenth of them.

    a, b: long tensors of one shape, 0 <= a, b < 10**n_digits -> bool, of that shape and on that device.

    A hash of the *unordered* pair decides: with (a, b) held out so is (b, a), which would give the
    answer away. ValueError where the numbers are not such.
    """
    _check(a, b, n_digits)
    small, large = torch.minimum(a, b), torch.maximum(a, b)
    h = torch.full_like(small, _SALT)
    # 30 bits at a time: a number of 9 digits in one piece, a longer one in several.
    for part in (small & 0x3FFFFFFF, small >> 30, large & 0x3FFFFFFF, large >> 30):
        h = _mix(_mix(h ^ part) + 0x9E3779B9 & 0xFFFFFFFF)
    return h % _PARTS == 0


def sample_held_out(
    count: int, n_digits: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` held-out problems, drawn with replacement, uniform over the ordered pairs.

    generator: a CPU generator; it decides, and advances. -> a, b: (count,) long on the CPU.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count is {count!r}; it must be a whole number of at least 1.")
    found, missing = [], count
    while missing > 0:
        pairs = torch.randint(0, 10**n_digits, (2, 2 * _PARTS * missing + 100), generator=generator)
        pairs = pairs[:, is_held_out(*pairs, n_digits)]
        found.append(pairs)
        missing -= pairs.shape[1]
    a, b = torch.cat(found, dim=1)[:, :count]
    return a.clone(), b.clone()


def carry_chain(a: torch.Tensor, b: torch.Tensor, n_digits: int) -> torch.Tensor:
    """The longest run of neighbouring columns with a carry, 0 to n_digits: how hard a problem is.

    a, b: long tensors of one shape -> long, of that shape. 999 + 001 has a chain of 3, 909 + 101 of 1.
    """
    _check(a, b, n_digits)
    carry, run, longest = torch.zeros_like(a), torch.zeros_like(a), torch.zeros_like(a)
    for column in range(n_digits):
        power = 10**column
        carry = (a // power % 10 + b // power % 10 + carry) // 10
        run = (run + 1) * carry
        longest = torch.maximum(longest, run)
    return longest
