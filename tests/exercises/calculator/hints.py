"""The hints of the calculator, from a nudge to nearly the answer, by the function that they are for."""

HINTS = {
    "": (
        "The six functions build on each other from top to bottom of the file. Write encode first; the "
        "others can go on raising NotImplementedError meanwhile.",
        "Work the examples of the sheet by hand: every character of an answer follows from the problem and "
        "the characters before it.",
        "Text first (encode, decode), then make_batch and sample_problems, then calculate, and training "
        "last: each check names the function that it is about.",
    ),
    "encode": (
        "Write the steps on paper first, as you were taught them, and then each number of them with its last "
        "digit first.",
        'One helper writes them all: f"{number:0{count}d}"[::-1]. The sign of a difference stands before it, '
        "and the quotient alone is not reversed.",
        "A product: a * (b % 10) in 3 digits, a * (b // 10) * 10 in 4, a * b in 4. A division: for each "
        "digit "
        'of f"{a:04d}": quotient, remainder = divmod(10 * remainder + int(digit), b). data.arithmetic.check '
        "refuses what is no problem.",
    ),
    "decode": (
        "What has every right answer with this operator in common, whatever its digits are?",
        "One regular expression for each operator, and re.fullmatch, which allows nothing before or behind. "
        "[0-9] and not \\d, which knows the digits of all scripts.",
        r'For "/": r"(?:[0-9]\*[0-9]{3}-([0-9]{2}),){4}([0-9]{4});". A group that repeats holds its last '
        "match: the last remainder, which is reversed as all but the quotient are.",
    ),
    "batch": (
        "Write the whole form of one problem in a row of 49 tokens. What are x and y, in terms of that row?",
        'Begin with a row of ";" for x and one of -1 for y, and write prompt + answer and the answer into '
        'them. The first target stands under "=", at len(prompt) - 1.',
        "x[row, : len(tokens)] = tokens, and y[row, len(prompt) - 1 : len(tokens) - 1] = "
        "tokens[len(prompt) :], for x of width 49 and y of width 48; x[:, :48] at the end.",
    ),
    "sample": (
        "First the operator, then its operands. What happens to the operator when a pair is thrown away?",
        "It stays: draw another pair for it. Every call of torch.randint gets generator=generator, and "
        "leaves its upper bound out.",
        "chosen = torch.randint(0, 4, (count,), generator=generator); for each operator draw as many pairs "
        "as it was chosen, throw the held-out ones away, draw again until there are enough; then hand them "
        "out in the order of `chosen`.",
    ),
    "calculate": (
        "It is generate() of the lecture: it starts from a prompt, takes the most likely token, and stops at "
        '";".',
        "Read the text with one regular expression, and let encode refuse what is out of range and make the "
        "prompt. Then model.eval(), torch.no_grad(), and a loop of at most 5, 5, 14 or 41 tokens.",
        "logits, _ = model(tokens); tokens = torch.cat([tokens, logits[:, -1].argmax(-1, keepdim=True)], "
        'dim=1), until it wrote ";". Put the mode back, then decode; a ValueError of decode is "?".',
    ),
    "train": (
        "One model, and a loop of `steps` updates: problems, make_batch, model, backward, step. Which of "
        "these draws random numbers, and where does its seed come from?",
        "One torch.Generator from the seed draws the first weights and the problems. Four layers of 128 "
        "channels with 4 heads; AdamW with a rate of about 2e-3 that falls to 0 in the second half.",
        "Each operator in every update, and its loss as a mean of its own: else the 41 tokens of a division "
        "weigh eight times as much as the 5 of a sum. First weights larger than 0.02, clip_grad_norm_ at "
        "1.0.",
    ),
}
COMPARE = (
    "how the steps of a division come out of one divmod for each digit",
    "how each operator gets its own share of the loss, and rows that are only as wide as they need to be",
    "what is left of the accuracy without the steps",
)
