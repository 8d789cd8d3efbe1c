"""The hints of exercise 2, from a nudge to nearly the answer, by the function that they are for."""

HINTS = {
    "": (
        "The seven functions build on each other from top to bottom of the file. Write encode_problem "
        "first; the others can go on raising NotImplementedError meanwhile.",
        "Work the example of the docstring by hand: 85 + 50 with two digits. Every function has its line "
        "in it.",
        "Text first (encode_problem, decode_answer), then tensors (make_batch, masked_loss), then random "
        "draws (sample_problems), then the model (add), and training last: each check names the function "
        "that it is about.",
    ),
    "encode decode": (
        "Which digit of a sum can be known first, before any carry is?",
        "Pad first, reverse last: the sum has n + 1 digits with zeros in front, and then it is written "
        'backwards. f"{a:0{n}d}" pads, text[::-1] reverses.',
        'f"{a:0{n}d}+{b:0{n}d}=" + f"{a + b:0{n + 1}d}"[::-1], after a ValueError for each of a and '
        'b that is not in range. decode_answer: refuse "" and every character that is not in '
        '"0123456789", then int(digits[::-1]).',
    ),
    "batch": (
        "Write the tokens of one whole problem in a row, 3n + 3 of them. What are x and y, in terms of "
        "that row?",
        "x = tokens[:, :-1] and y = tokens[:, 1:], then -1 into y where there is nothing to learn. The "
        'first target that counts stands under "=", at position 2n + 1.',
        "Digit i of a, from the left, is a // 10 ** (n - 1 - i) % 10, whole numbers all the way. Join "
        'the digits of a, a column of "+", the digits of b, a column of "=" and the n + 1 digits of '
        "a + b, reversed; y is a clone, and y[:, : 2n + 1] = -1. Make new tensors on a.device.",
    ),
    "loss": (
        "What is the sum of the losses divided by, and what if that is 0?",
        "F.cross_entropy takes logits (N, V) and targets (N,), and leaves out the targets that you name "
        'as ignore_index; with reduction="sum" you divide yourself.',
        "total = F.cross_entropy(logits.reshape(-1, V), targets.reshape(-1), ignore_index=-1, "
        'reduction="sum"), divided by (targets != -1).sum().clamp(min=1). The sum over nothing is 0 '
        "and keeps its graph.",
    ),
    "sample": (
        "Draw pairs, throw away those for which is_held_out is True, and then some are missing: what next?",
        "Throw the pair away, never one number of it, and draw again until `count` are kept; every call "
        "of torch.randint gets generator=generator.",
        "while fewer than count are kept: pairs = torch.randint(0, 10 ** n, (2, m), "
        "generator=generator), keep pairs[:, ~is_held_out(pairs[0], pairs[1], n)]; then torch.cat and "
        "the first count of them. The upper bound of randint is left out of the draw.",
    ),
    "add": (
        "It is generate() of the lecture with three changes: it starts from a problem, it takes the most "
        "likely token, and it stops after n + 1.",
        'The prompt ends with "=": the first 2n + 2 tokens. Each call gives logits (B, T, V), of which '
        "the last position counts; its argmax is appended. The first digit written is that of the units.",
        "was = model.training, then model.eval(), and under torch.no_grad() n + 1 times: logits, _ = "
        "model(tokens); tokens = torch.cat([tokens, logits[:, -1].argmax(-1, keepdim=True)], dim=1). Then "
        "model.train(was), and the sum of digit i times 10 ** i.",
    ),
    "train": (
        "One model, and a loop of `steps` updates: sample_problems, make_batch, model, masked_loss, "
        "backward, step. Which of these draws random numbers, and where does its seed come from?",
        "One torch.Generator from the seed draws the problems, and the first weights come from the seed "
        "too (torch.manual_seed(seed) before GPT(config)). 2 layers of 64 channels with 4 heads are "
        "enough; AdamW with a rate of about 3e-3 that falls to 0 in the second half.",
        "If the loss stays near ln 10 = 2.3, the first weights are too small for a model this narrow: "
        "draw the matrices with a standard deviation near 0.1. A batch of 128 at first, and "
        "clip_grad_norm_ at 1.0. report(step, loss.item()) every few steps, and after the last.",
    ),
}

COMPARE = (
    "the table at the top of the solution: what the reversed sum, the mask and the first weights are "
    "worth, in steps",
    "how the digits of a whole batch are taken apart and put together without a loop over problems",
    "try the sum with its first digit first, and 5 digits: python exercises/ex2_addition.py",
)
