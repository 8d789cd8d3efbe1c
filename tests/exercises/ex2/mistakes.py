"""The catalogue of known mistakes of exercise 2: each a patch on solutions/ex2_addition.py."""

from dataclasses import replace

from tests.exercises import Mistake

# Lines of the solution that several mistakes change.
_TEXT = 'f"{a:0{n_digits}d}+{b:0{n_digits}d}={answer}"'
_ANSWER_TEXT = "answer = str(a + b).zfill(n_digits + 1)[::-1]"
_CHECKED = 'for name, number in (("a", a), ("b", b)):'
_IN_RANGE = "if not 0 <= number < 10**n_digits:"
_REFUSES = "if not digits or any(character not in DIGITS for character in digits):"
_READS = "int(digits[::-1])"
_SUM_UP = "(answer * 10 ** torch.arange(n_digits + 1, device=a.device)).sum(dim=1)"
_PLACES = "10 ** torch.arange(count - 1, -1, -1, device=numbers.device)"
_DIGITS = "numbers[:, None] // powers % 10"
_ANSWER = "answer = digits_of(a + b, n_digits + 1).flip(1)"
_TOKENS = "torch.cat([digits_of(a, n_digits), plus, digits_of(b, n_digits), equals, answer], dim=1)"
_X_AND_Y = "x, y = tokens[:, :-1], tokens[:, 1:].clone()"
_MASK = "    y[:, : 2 * n_digits + 1] = -1\n"
_LOSS = 'F.cross_entropy(logits.reshape(flat.shape[0], -1), flat, ignore_index=-1, reduction="sum")'
_TOTAL = f"    total = {_LOSS}\n"
_MEAN = "total / (flat != -1).sum().clamp(min=1)"
_DRAW = "torch.randint(0, 10**n_digits, (2, missing + missing // 4 + 8), generator=generator)"
_FILTER = "pairs[:, ~is_held_out(pairs[0], pairs[1], n_digits)]"
_FILTER_LINE = f"        pairs = {_FILTER}\n"
_DRAWN = "a, b = torch.cat(kept, dim=1)[:, :count].clone()"
_KEPT = "    kept, missing = [], count\n"
_ADD = "@torch.no_grad()\ndef add("
_MODES = "modes = [(module, module.training) for module in model.modules()]"
_EVAL = "    model.eval()\n"
_RESTORE = "    for module, training in modes:\n        module.training = training\n"
_PROMPT = "tokens = x[:, : 2 * n_digits + 2]"
_DIGITS_LOOP = "for _ in range(n_digits + 1):"
_CALL = "logits, _ = model(tokens)"
_FOLLOWING = "following = logits[:, -1].argmax(dim=-1, keepdim=True)"
_APPEND = "tokens = torch.cat([tokens, following], dim=1)"
_WRITTEN = "answer = tokens[:, 2 * n_digits + 2 :]"
_NUMBER = "return (answer * 10 ** torch.arange(n_digits + 1, device=a.device)).sum(dim=1)"
_LOOP = "for step in range(steps):"
_BATCH = "a, b = sample_problems(batch, n_digits, generator)"
_MODEL = "model = GPT(config)"
_REPORT = "report(step + 1, loss.item())"
_BLOCK = "block_size=3 * n_digits + 2"
_SIZE = "n_layer=2, n_head=4, n_embd=64, dropout=0.0"
_RETURN = "    return model\n"
_TRAIN_ADDER, _MAIN = "def train_adder(\n", 'if __name__ == "__main__":'
_DRAW_WEIGHTS = "    draw_weights(model, generator)\n"

_ENCODE = (
    Mistake(
        "answer_not_reversed",
        "the sum is written with its first digit first",
        "You write the sum as one reads it. Its first digit depends on every carry, so the model would have "
        "to finish the sum before it writes anything; with the last digit first, each needs two digits and "
        "one carry. Reverse it.",
        ((_ANSWER_TEXT, "answer = str(a + b).zfill(n_digits + 1)"),),
    ),
    Mistake(
        "operands_not_padded",
        "a and b are not padded with zeros",
        "You write a and b as they are, so problems have different lengths, and a digit's place no longer "
        "says what it "
        'is worth. Pad both with zeros to n_digits: f"{a:0{n_digits}d}" or zfill.',
        ((_TEXT, 'f"{a}+{b}={answer}"'),),
    ),
    Mistake(
        "only_a_padded",
        "b is not padded with zeros",
        'You pad a to n_digits and leave b as it is. Both have n digits, so that "=" always stands at the '
        "same place.",
        ((_TEXT, 'f"{a:0{n_digits}d}+{b}={answer}"'),),
    ),
    Mistake(
        "operands_padded_with_spaces",
        "a and b are padded with spaces",
        "You pad with spaces, and the vocabulary has none. Pad with zeros: 0 in front of the width, or "
        "zfill.",
        ((_TEXT, 'f"{a:{n_digits}d}+{b:{n_digits}d}={answer}"'),),
    ),
    Mistake(
        "operands_reversed",
        "a and b are reversed too",
        "You write a and b with the last digit first as well. That may even be a good idea, but it is "
        "another format: the contract reverses the sum alone.",
        ((_TEXT, 'f"{a:0{n_digits}d}"[::-1] + "+" + f"{b:0{n_digits}d}"[::-1] + f"={answer}"'),),
    ),
    Mistake(
        "answer_not_padded",
        "the sum is not padded to n + 1 digits",
        "You reverse the sum and leave its length as it is, so that a sum without a last carry is a digit "
        "shorter. Pad it with zeros to n_digits + 1 digits before you reverse it.",
        ((_ANSWER_TEXT, "answer = str(a + b)[::-1]"),),
    ),
    Mistake(
        "answer_padded_to_n",
        "the sum is padded to n digits instead of n + 1",
        "Two numbers of n digits have a sum of up to n + 1. You pad to n, so that answers have two lengths.",
        ((_ANSWER_TEXT, "answer = str(a + b).zfill(n_digits)[::-1]"),),
    ),
    Mistake(
        "top_carry_dropped",
        "the last carry of the sum is dropped",
        "You keep n digits of the sum, so that 999 + 1 becomes 000: about half of all answers are wrong. The "
        "answer has n_digits + 1 digits.",
        ((_ANSWER_TEXT, "answer = str((a + b) % 10**n_digits).zfill(n_digits)[::-1]"),),
    ),
    Mistake(
        "top_digit_always_zero",
        "the last carry of the sum is replaced by a zero",
        "You add with n digits and put a zero in the last place, so that 999 + 1 becomes 0000. The last "
        "digit that is written is the last carry.",
        ((_ANSWER_TEXT, "answer = str((a + b) % 10**n_digits).zfill(n_digits + 1)[::-1]"),),
    ),
    Mistake(
        "padded_after_reversing",
        "the sum is padded after it is reversed",
        "You reverse first and pad then, so the zeros stand in front of the units: 12 becomes 0021 instead "
        "of 2100. Pad, then reverse.",
        ((_ANSWER_TEXT, "answer = str(a + b)[::-1].zfill(n_digits + 1)"),),
    ),
    Mistake(
        "columns_without_carries",
        "the columns are added without carries",
        "Each digit of your answer is the sum of two digits modulo 10; what is carried to the next column is "
        "lost. Add the numbers, then take the digits.",
        (
            (
                _ANSWER_TEXT,
                'answer = "".join(str((a // 10**k + b // 10**k) % 10) for k in range(n_digits)) + str(int(a '
                "+ b >= 10**n_digits))",
            ),
        ),
    ),
    Mistake(
        "negative_accepted",
        "negative numbers are accepted",
        "You check that a number is not too long, and not that it is at least 0. The minus sign is not in "
        "the vocabulary.",
        ((_IN_RANGE, "if not number < 10**n_digits:"),),
    ),
    Mistake(
        "long_accepted",
        "numbers of more than n digits are accepted",
        "You refuse negative numbers only. A number of more than n_digits digits pushes everything after it "
        "to another place. Compare with 10**n_digits.",
        ((_IN_RANGE, "if not 0 <= number:"),),
    ),
    Mistake(
        "everything_accepted",
        "the numbers are not checked at all",
        "You write whatever you are given. A number that is negative, or that has more than n_digits "
        "digits, must be a ValueError: later nothing would show it.",
        ((_IN_RANGE, "if False:"),),
    ),
    Mistake(
        "only_a_checked",
        "only a is checked",
        "You refuse a wrong a, and take any b.",
        ((_CHECKED, 'for name, number in (("a", a),):'),),
    ),
    Mistake(
        "only_b_checked",
        "only b is checked",
        "You refuse a wrong b, and take any a.",
        ((_CHECKED, 'for name, number in (("b", b),):'),),
    ),
    Mistake(
        "limit_itself_accepted",
        "10**n is accepted",
        "You compare with <=, and 10**n_digits has n_digits + 1 digits. The largest number is 10**n_digits - "
        "1.",
        ((_IN_RANGE, "if not 0 <= number <= 10**n_digits:"),),
    ),
    Mistake(
        "largest_refused",
        "the largest number is refused",
        "You refuse 10**n_digits - 1, which has n digits. Compare with < 10**n_digits.",
        ((_IN_RANGE, "if not 0 <= number < 10**n_digits - 1:"),),
    ),
    Mistake(
        "assert_for_errors",
        "wrong numbers are refused by an assert",
        "An assert raises AssertionError, and python -O removes it. What a caller gives is checked with if "
        "and raise ValueError(..).",
        ((_IN_RANGE, "assert 0 <= number < 10**n_digits\n        if False:"),),
    ),
)

_DECODE = (
    Mistake(
        "decode_not_reversed",
        "the answer is read with its first digit first",
        "You call int on the digits as they stand; they begin with the units. Reverse them first.",
        ((_READS, "int(digits)"),),
    ),
    Mistake(
        "decode_with_int_alone",
        "everything that int() accepts is taken for an answer",
        "int() also takes spaces, a sign, underscores and the digits of other scripts. A model writes all "
        "sorts of things; each character must be one of 0 to 9.",
        ((_REFUSES, "if False:"),),
    ),
    Mistake(
        "decode_isdigit",
        "the digits of other scripts are taken for an answer",
        "str.isdigit, isdecimal and isnumeric know the digits of all scripts, and int() reads them. Compare "
        "with "
        '"0123456789", or ask str.isascii too.',
        ((_REFUSES, "if not digits.isdecimal():"),),
    ),
    Mistake(
        "decode_regex_end",
        "an answer with a line end after it is accepted",
        "In a regular expression $ also matches before a last newline. Use re.fullmatch, or \\Z.",
        ((_REFUSES, 'import re\n    if not re.match("^[0-9]+$", digits):'),),
    ),
    Mistake(
        "decode_stripped",
        "spaces around an answer are taken away",
        "You strip the answer before you look at it. A space is no digit: what the model wrote is not an "
        "answer then.",
        (
            (
                _REFUSES,
                "digits = digits.strip()\n    if not digits or any(character not in DIGITS for character in "
                "digits):",
            ),
        ),
    ),
    Mistake(
        "decode_empty_is_zero",
        "an empty answer is read as 0",
        'You return 0 for "". No digit is no answer, so it is a ValueError.',
        (
            (
                _REFUSES,
                "if digits == '':\n        return 0\n    if any(character not in DIGITS for character in "
                "digits):",
            ),
        ),
    ),
)

_BATCHES = (
    Mistake(
        "batch_not_reversed",
        "the batch has the sum's first digit first",
        "The answer in your batch is not reversed: a batch has the tokens of encode_problem, where the sum's "
        "units come first. Flip the digits of the sum.",
        ((_ANSWER, "answer = digits_of(a + b, n_digits + 1)"),),
    ),
    Mistake(
        "batch_operands_reversed",
        "a and b are reversed in the batch",
        "The digits of a and b stand with the units first. Only the sum is reversed. Does your loop take "
        "number % 10 first?",
        (
            (
                _TOKENS,
                _TOKENS.replace("digits_of(a, n_digits)", "digits_of(a, n_digits).flip(1)").replace(
                    "digits_of(b, n_digits)", "digits_of(b, n_digits).flip(1)"
                ),
            ),
        ),
    ),
    Mistake(
        "batch_a_twice",
        "the batch has a in the place of b",
        "Your problems read a + a, and the answers are those of a + b.",
        ((_TOKENS, _TOKENS.replace("digits_of(b, n_digits)", "digits_of(a, n_digits)")),),
    ),
    Mistake(
        "batch_symbols_swapped",
        '"+" and "=" are swapped',
        'Token 10 is "+" and token 11 is "="; yours are the other way round. A token\'s id is its place in '
        "VOCABULARY.",
        (("PLUS, EQUALS = VOCABULARY", "EQUALS, PLUS = VOCABULARY"),),
    ),
    Mistake(
        "top_carry_dropped_in_batch",
        "the last carry is missing in the batch",
        "The last digit of your answers is always 0: the sum was cut to n digits. It has n_digits + 1.",
        ((_ANSWER, "answer = digits_of((a + b) % 10**n_digits, n_digits + 1).flip(1)"),),
    ),
    Mistake(
        "targets_one_late",
        "the targets begin one place late",
        "Your first target stands under the first digit of the answer. A model predicts the *next* token: "
        "the first "
        'digit is predicted under "=", and you never train that.',
        ((_MASK, "    y[:, : 2 * n_digits + 2] = -1\n"),),
    ),
    Mistake(
        "targets_one_early",
        'the targets begin one place early: "=" is a target',
        'The place before "=" has "=" as its next token, and you leave that target in. It is always the '
        'same, so it teaches nothing. The first target that counts stands under "=".',
        ((_MASK, "    y[:, : 2 * n_digits] = -1\n"),),
    ),
    Mistake(
        "operands_are_targets",
        "the digits of the problem are targets too",
        'You mask "+" and "=" only, so that the model also learns to predict the digits of a and b. They '
        "are "
        "random: most of the loss can never fall, and it hides the part that can.",
        ((_MASK, "    y[(y == PLUS) | (y == EQUALS)] = -1\n"),),
    ),
    Mistake(
        "only_a_masked",
        "the digits of b are targets too",
        'You mask what comes before "+", and leave the digits of b and "=" in. Only the digits of the answer '
        "count.",
        ((_MASK, "    y[:, :n_digits] = -1\n"),),
    ),
    Mistake(
        "plus_is_target",
        '"+" is a target too',
        'One more target counts: the "+" after a. Only the digits of the answer count.',
        ((_MASK, _MASK + "    y[:, n_digits - 1] = PLUS\n"),),
    ),
    Mistake(
        "nothing_masked",
        "every token is a target",
        "y holds every next token. Two thirds of them are digits of the problem, which cannot be "
        "predicted; put -1 there.",
        ((_MASK, ""),),
    ),
    Mistake(
        "last_target_missing",
        "the last digit of the answer is no target",
        "The last target is -1, so that the last carry is never learned. It stands under the last token of "
        "x.",
        ((_MASK, _MASK + "    y[:, -1] = -1\n"),),
    ),
    Mistake(
        "mask_minus_100",
        "masked targets are -100",
        "-100 is what torch's cross_entropy ignores by default; the contract, and gpt_core, use -1.",
        ((_MASK, "    y[:, : 2 * n_digits + 1] = -100\n"),),
    ),
    Mistake(
        "mask_zero",
        "masked targets are 0",
        "0 is the token of the digit 0, and a target like any other. Put -1 where there is no loss.",
        ((_MASK, "    y[:, : 2 * n_digits + 1] = 0\n"),),
    ),
    Mistake(
        "mask_on_x",
        "the mask is put on x instead of y",
        "You write -1 into the input: the model no longer sees the problem (and -1 is no token). It is the "
        "targets that are masked.",
        (
            (_X_AND_Y, "x, y = tokens[:, :-1].clone(), tokens[:, 1:].clone()"),
            (_MASK, "    x[:, : 2 * n_digits + 1] = -1\n"),
        ),
    ),
    Mistake(
        "mask_on_both",
        "the mask is put on x as well as on y",
        "y is right, and x has lost the problem: do x and y share their memory? tokens[:, :-1] and tokens[:, "
        "1:] are views of one tensor; clone y before you write into it.",
        ((_X_AND_Y, "x, y = tokens[:, :-1], tokens[:, 1:]"),),
    ),
    Mistake(
        "targets_not_shifted",
        "the targets are the tokens themselves, not the next ones",
        "y is x with a mask: the model would learn to repeat its input. Target t is token t + 1: x leaves "
        "out the last token, and y the first.",
        ((_X_AND_Y, "x, y = tokens[:, :-1], tokens[:, :-1].clone()"),),
    ),
    Mistake(
        "x_not_shortened",
        "x keeps the last token",
        "x has 3n + 3 tokens, and after the last one there is nothing to predict. Leave it out: tokens[:, "
        ":-1].",
        ((_X_AND_Y, "x, y = tokens, torch.cat([tokens[:, 1:], torch.full_like(tokens[:, :1], -1)], dim=1)"),),
    ),
    Mistake(
        "batch_int32",
        "the batch is of 32-bit integers",
        "x and y must be long (torch.int64), as gpt_core's models and cross_entropy take them. Which dtype "
        "did you name?",
        (("    return x, y\n\n\ndef masked_loss", "    return x.int(), y.int()\n\n\ndef masked_loss"),),
    ),
    Mistake(
        "batch_for_three_digits",
        "the mask is right for three digits only",
        "You wrote 7 where 2n + 1 belongs, or another number that is right for n = 3 only.",
        ((_MASK, "    y[:, :7] = -1\n"),),
    ),
    Mistake(
        "digits_in_float32",
        "digits are computed in float32",
        "float32 has 24 bits: beyond 16,777,216 not every whole number exists, and digits of large numbers "
        "come out wrong. Divide whole numbers with //.",
        ((_DIGITS, "(numbers[:, None].float() / powers).floor().long() % 10"),),
    ),
    Mistake(
        "batch_of_one_squeezed",
        "one problem alone loses its batch dimension",
        "squeeze() takes away every dimension of size 1, that of a batch of one too. Name the dimension that "
        "you mean.",
        (
            (
                "    return x, y\n\n\ndef masked_loss",
                "    return x.squeeze(), y.squeeze()\n\n\ndef masked_loss",
            ),
        ),
    ),
    Mistake(
        "batch_changes_a",
        "make_batch changes a",
        "You add in place (a += b, or add_), so the caller's a is the sum afterwards. Write a + b.",
        ((_ANSWER, _ANSWER + "\n    a += 0 * b + 1"),),
    ),
    Mistake(
        "powers_without_device",
        "the powers of ten are made without a device",
        "torch.arange is on the CPU unless you say otherwise, and the numbers of a GPU cannot be divided by "
        "it. Pass device=numbers.device.",
        ((_PLACES, "10 ** torch.arange(count - 1, -1, -1)"),),
        devices=True,
    ),
    Mistake(
        "batch_on_cpu",
        "the batch is built on the CPU, whatever the device of a",
        "A tensor that you create is on the CPU unless you say otherwise. Pass device=a.device.",
        (("    return x, y\n\n\ndef masked_loss", "    return x.cpu(), y.cpu()\n\n\ndef masked_loss"),),
        devices=True,
    ),
)

_LOSSES = (
    Mistake(
        "loss_ignores_minus_100",
        "the loss ignores -100, where the targets hold -1",
        "cross_entropy ignores -100 unless you name another number: pass ignore_index=-1. With -1 it takes "
        "the target for a class that does not exist.",
        ((_LOSS, _LOSS.replace("ignore_index=-1, ", "")),),
    ),
    Mistake(
        "loss_summed",
        "the loss is summed instead of averaged",
        "You return the sum, so that the loss and its gradient grow with the batch. Divide by the number of "
        "targets that count.",
        ((_MEAN, "total"),),
    ),
    Mistake(
        "loss_over_all_positions",
        "the loss is averaged over all positions",
        "You divide by B * T, and only the targets that are not -1 carry a loss: yours is too small by their "
        "share. Divide by their number.",
        ((_MEAN, "total / flat.numel()"),),
    ),
    Mistake(
        "loss_over_rows",
        "the loss is divided by the number of problems",
        "You divide the sum by B. The mean is over the targets that count, of which each problem has "
        "several.",
        ((_MEAN, "total / targets.shape[0]"),),
    ),
    Mistake(
        "loss_mean_of_means",
        "the loss is a mean of the problems' means",
        "You average each row, then the rows. Rows with few targets then weigh as much as rows with many. "
        "Sum over everything, then divide once.",
        (
            (
                _MEAN,
                "(F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-1, reduction='none').sum(1) "
                "/ (targets != -1).sum(1).clamp(min=1)).mean()",
            ),
        ),
    ),
    Mistake(
        "loss_nan_when_masked",
        "the loss is NaN where everything is masked",
        'A mean of nothing divides 0 by 0, which is what reduction="mean" does when every target is ignored. '
        "Divide the "
        "sum by max(count, 1).",
        ((_MEAN, "total / (flat != -1).sum()"),),
    ),
    Mistake(
        "loss_constant_when_masked",
        "the loss is a constant where everything is masked",
        "You return a new tensor of 0, which has no graph: backward() raises. The sum over no target is 0 "
        "and keeps its graph.",
        ((_MEAN, f"{_MEAN} if (flat != -1).any() else torch.zeros(())"),),
    ),
    Mistake(
        "loss_masks_digit_zero",
        "the digit 0 is masked too",
        "You count the targets above 0, and 0 is the token of the digit 0. Only -1 is masked.",
        (
            (_LOSS, _LOSS.replace("flat, ignore", "torch.where(flat > 0, flat, -1), ignore")),
            (_MEAN, "total / (flat > 0).sum().clamp(min=1)"),
        ),
    ),
    Mistake(
        "loss_clamps_targets",
        "masked targets are taken for the digit 0",
        "You clamp -1 to 0, and then these places are trained to predict a 0. Leave them out of the sum.",
        (
            (_LOSS, _LOSS.replace("flat, ignore", "flat.clamp(min=0), ignore")),
            (_MEAN, "total / flat.numel()"),
        ),
    ),
    Mistake(
        "loss_log_of_softmax",
        "the loss is the logarithm of a softmax",
        "softmax rounds small probabilities to 0, and the logarithm of 0 is -infinity. log_softmax and "
        "cross_entropy compute both in one, exactly.",
        (
            (
                _LOSS,
                "F.nll_loss(F.softmax(logits.reshape(flat.shape[0], -1), dim=-1).log(), flat, "
                "ignore_index=-1, reduction='sum')",
            ),
        ),
    ),
    Mistake(
        "loss_log_with_epsilon",
        "a small number is added inside the logarithm",
        "log(p + 1e-9) hides the infinity and bounds the loss at 20.7: where the model is most wrong, "
        "nothing is learned. Use log_softmax or cross_entropy.",
        (
            (
                _LOSS,
                "F.nll_loss((F.softmax(logits.reshape(flat.shape[0], -1), dim=-1) + 1e-9).log(), flat, "
                "ignore_index=-1, reduction='sum')",
            ),
        ),
    ),
    Mistake(
        "loss_softmax_twice",
        "softmax is taken twice",
        "cross_entropy takes logits and does the softmax itself; you give it probabilities.",
        (
            (
                _LOSS,
                _LOSS.replace(
                    "logits.reshape(flat.shape[0], -1)",
                    "F.softmax(logits.reshape(flat.shape[0], -1), dim=-1)",
                ),
            ),
        ),
    ),
    Mistake(
        "loss_in_bits",
        "the loss is in bits",
        "You divide by ln 2. The lecture's loss, and the contract's, is in nats.",
        ((_MEAN, f"{_MEAN} / 0.6931471805599453"),),
    ),
    Mistake(
        "loss_smoothed",
        "the labels are smoothed",
        "label_smoothing changes the loss, and its gradient. The contract asks for the plain cross entropy.",
        ((_LOSS, _LOSS.replace("ignore_index=-1,", "ignore_index=-1, label_smoothing=0.1,")),),
    ),
    Mistake(
        "loss_detached",
        "the loss has no graph",
        "The loss was detached, or made a number and a tensor again: backward() has nothing to go through.",
        ((_MEAN, f"({_MEAN}).detach()"),),
    ),
    Mistake(
        "loss_views_memory",
        "logits or targets must be contiguous",
        "view() only works where the numbers lie in memory in the order of the dimensions, and a slice of a "
        "larger tensor, such as logits[:, :-1], does not. reshape() copies where it has to.",
        (
            (_LOSS, _LOSS.replace("logits.reshape(", "logits.view(")),
            ("flat = targets.reshape(-1)", "flat = targets.view(-1)"),
        ),
    ),
    Mistake(
        "loss_is_a_number",
        "the loss is a Python number",
        "You return loss.item(). A number has no gradient; return the tensor.",
        ((_MEAN, f"({_MEAN}).item()"),),
    ),
    Mistake(
        "loss_changes_targets",
        "masked_loss changes the targets",
        "You write into the targets (targets[targets == -1] = ..). They belong to the caller: use "
        "masked_fill or clone.",
        ((_MEAN, f"{_MEAN} + 0 * targets.masked_fill_(targets == -1, 0).sum()"),),
    ),
)

_SAMPLE = (
    Mistake(
        "held_out_drawn",
        "held-out problems are drawn too",
        "You draw held-out problems as often as any others: is_held_out is not called, or not with the "
        "pairs that you return. A tenth of all problems is kept to measure the model: leave out those for "
        "which it says True.",
        ((_FILTER_LINE, ""),),
    ),
    Mistake(
        "drawn_once_and_cut",
        "one draw without its held-out problems is returned, even if too few are left",
        "You draw some more than count, leave out the held-out ones and cut at count. The number that is "
        "left is random, and in a small draw it may be too small: draw again until there are enough.",
        (
            (
                _KEPT,
                "    pairs = torch.randint(0, 10**n_digits, (2, 2 * count), generator=generator)\n    pairs "
                f"= {_FILTER}\n    return pairs[0, :count].clone(), pairs[1, :count].clone()\n" + _KEPT,
            ),
        ),
    ),
    Mistake(
        "generator_picks_a_stream",
        "the generator only picks one of a few seeds",
        "You draw one number from the generator and seed another one with it. There are few such seeds, so "
        "the same problems come again and again. Give the generator itself to every random call.",
        (
            (
                _KEPT,
                "    generator = torch.Generator().manual_seed(int(torch.randint(100, (), "
                "generator=generator)))\n" + _KEPT,
            ),
        ),
    ),
    Mistake(
        "each_pair_reversed",
        "each pair is followed by its mirror image",
        "You give (b, a) after (a, b). Both are fine problems, and they are not independent draws: half of "
        "them follow from the other half.",
        (
            (
                _DRAWN,
                "a, b = torch.cat(kept, dim=1)[:, :count].clone()\n    a[1::2], b[1::2] = b[: count - 1 : "
                "2].clone(), a[: count - 1 : 2].clone()",
            ),
        ),
    ),
    Mistake(
        "second_half_reversed",
        "the second half of a draw is the first one with a and b swapped",
        "You draw half as many pairs, and give each of them once more as (b, a). Every number is as likely "
        "as it should be, but half of the problems are repetitions: draws that follow from others are not "
        "independent.",
        (
            (
                _DRAWN,
                _DRAWN
                + "\n    half = count // 2\n    a[count - half :], b[count - half :] = b[:half].clone(), "
                "a[:half].clone()",
            ),
        ),
    ),
    Mistake(
        "draw_sorted",
        "the draws come in order",
        "You sort what you draw, by a or by its sum (torch.unique sorts too). A batch that is cut from it "
        "holds one kind of problem alone. Leave the draws in the order in which they came.",
        ((_DRAWN, _DRAWN + "\n    order = a.argsort()\n    a, b = a[order], b[order]"),),
    ),
    Mistake(
        "only_held_out_drawn",
        "only held-out problems are drawn",
        "You keep the problems for which is_held_out says True, and these are the ones to leave out. A ~ is "
        "missing.",
        ((_FILTER, "pairs[:, is_held_out(pairs[0], pairs[1], n_digits)]"),),
    ),
    Mistake(
        "swapped_pairs_drawn",
        "(b, a) of a held-out pair is drawn",
        "You leave out held-out pairs with a <= b only. a + b and b + a have one answer: with the one in "
        "training the other measures nothing.",
        ((_FILTER, "pairs[:, ~(is_held_out(pairs[0], pairs[1], n_digits) & (pairs[0] <= pairs[1]))]"),),
    ),
    Mistake(
        "redrawn_once",
        "held-out problems are replaced once, and not looked at again",
        "You draw anew in the place of a held-out problem, and a tenth of these are held out as well. Repeat "
        "until none is.",
        (
            (
                _FILTER_LINE,
                "        held = is_held_out(pairs[0], pairs[1], n_digits)\n        pairs[:, held] = "
                "torch.randint(0, 10**n_digits, (2, int(held.sum())), generator=generator)\n",
            ),
        ),
    ),
    Mistake(
        "only_b_redrawn",
        "only b is drawn again for a held-out problem",
        "You keep a and draw another b. Numbers with many held-out partners then come too often: the pairs "
        "are no longer equally likely. Throw the pair away.",
        (
            (
                _FILTER_LINE,
                "        while (held := is_held_out(pairs[0], pairs[1], n_digits)).any():\n            "
                "pairs[1, held] = torch.randint(0, 10**n_digits, (int(held.sum()),), generator=generator)\n",
            ),
        ),
    ),
    Mistake(
        "too_few_drawn",
        "fewer problems come than were asked for",
        "You throw held-out problems away and do not fill up: about a tenth is missing. Draw until there are "
        "`count`.",
        (
            (_DRAW, "torch.randint(0, 10**n_digits, (2, missing), generator=generator)"),
            ("missing -= pairs.shape[1]", "missing = 0"),
        ),
    ),
    Mistake(
        "largest_never_drawn",
        "the largest number is never drawn",
        "torch.randint leaves its upper bound out: randint(0, 10**n - 1) ends at 10**n - 2.",
        ((_DRAW, _DRAW.replace("10**n_digits,", "10**n_digits - 1,")),),
    ),
    Mistake(
        "zero_never_drawn",
        "0 is never drawn",
        "You draw from 1 on; 0 is a number like any other.",
        ((_DRAW, _DRAW.replace("(0, ", "(1, ")),),
    ),
    Mistake(
        "lengths_drawn_first",
        "the number of digits is drawn first",
        "Each length comes equally often in yours, so that short numbers are far too frequent: nine tenths "
        "of all numbers below 10**n have n digits.",
        (
            (
                _DRAW,
                "torch.stack([torch.randint(0, 10**n_digits, (2 * missing + 8,), generator=generator) % 10 "
                "** torch.randint(1, n_digits + 1, (2 * missing + 8,), generator=generator) for _ in "
                "range(2)])",
            ),
        ),
    ),
    Mistake(
        "sorted_pairs",
        "a is never larger than b",
        "Your pairs are sorted, so half of the ordered pairs never come. 3 + 5 and 5 + 3 are two problems.",
        ((_DRAWN, f"{_DRAWN[:-8]}.sort(dim=0).values"),),
    ),
    Mistake(
        "drawn_in_float32",
        "numbers are drawn as float32",
        "torch.rand has 24 random bits: times 10**9 its last digits are not random. torch.randint draws "
        "whole numbers.",
        (
            (
                _DRAW,
                "(torch.rand((2, missing + missing // 4 + 8), generator=generator) * "
                "10**n_digits).long().clamp(max=10**n_digits - 1)",
            ),
        ),
    ),
    Mistake(
        "without_replacement",
        "problems are drawn without replacement",
        "You go through a shuffled list, so that no pair comes twice. The draws are to be independent.",
        (
            (
                _KEPT,
                _KEPT + "    if n_digits <= 2 and count <= 10 ** (2 * n_digits) // 2:\n"
                "        codes = torch.randperm(10 ** (2 * n_digits), generator=generator)\n"
                "        pairs = torch.stack([codes // 10**n_digits, codes % 10**n_digits])\n"
                "        a, b = pairs[:, ~is_held_out(pairs[0], pairs[1], n_digits)][:, :count].clone()\n"
                "        return a, b\n",
            ),
        ),
    ),
    Mistake(
        "small_pool",
        "problems are drawn from a pool of 1000",
        "You draw a pool of problems once and pick from that. A model memorises a thousand answers before "
        "it learns to add; new problems cost nothing.",
        (
            (
                _KEPT,
                _KEPT
                + "    if count <= 1000 < 10 ** (2 * n_digits):\n        picked = torch.randint(0, 1000, "
                "(count,), generator=generator)\n        a, b = sample_problems(1001, n_digits, "
                "torch.Generator().manual_seed(0))\n        return a[picked], b[picked]\n    if count == "
                "5000:\n        picked = torch.randint(0, 1000, (count,), generator=generator)\n        "
                "a, b = sample_problems(1001, n_digits, torch.Generator().manual_seed(0))\n        return "
                "a[picked], b[picked]\n",
            ),
        ),
    ),
    Mistake(
        "generator_ignored",
        "the generator is not used",
        "You draw from torch's global generator, so that the seed does not decide the problems. Pass "
        "generator=generator.",
        ((_DRAW, _DRAW.replace(", generator=generator", "")),),
    ),
    Mistake(
        "global_generator_seeded",
        "torch's global generator is seeded from the generator",
        "You seed torch's global generator from the one that you are given, and draw from that. Dropout "
        "and fresh weights draw from it too, and then depend on your seed. Pass generator=generator to "
        "every call.",
        (
            (_KEPT, _KEPT + "    torch.manual_seed(int(torch.randint(1 << 60, (), generator=generator)))\n"),
            (_DRAW, _DRAW.replace(", generator=generator", "")),
        ),
    ),
    Mistake(
        "generator_restarted",
        "the generator's seed is used, and the generator is not",
        "You make a new generator from the seed of the one that you are given. It does not advance: every "
        "call gives the same problems, and a model would train on a single batch.",
        ((_KEPT, _KEPT + "    generator = torch.Generator().manual_seed(generator.initial_seed())\n"),),
    ),
    Mistake(
        "generator_fixed",
        "a seed of your own decides the problems",
        "You make a generator with a fixed seed, so that each call gives the same problems, whatever "
        "generator you are given.",
        ((_KEPT, _KEPT + "    generator = torch.Generator().manual_seed(1337)\n"),),
    ),
    Mistake(
        "samples_int32",
        "the problems are 32-bit integers",
        "a and b must be long (torch.int64): is_held_out, make_batch and later sums of 10 digits need it.",
        (("    return a, b\n", "    return a.int(), b.int()\n"),),
    ),
)

_ADDS = (
    Mistake(
        "answer_read_backwards",
        "the model's answer is read with its first digit first",
        "The model writes the units first; you take its first digit for the largest. Digit i is worth 10**i.",
        (
            (
                _NUMBER,
                "return (answer.flip(1) * 10 ** torch.arange(n_digits + 1, device=a.device)).sum(dim=1)",
            ),
        ),
    ),
    Mistake(
        "sum_without_model",
        "the sum is computed, not asked of the model",
        "You return a + b. It is right, and says nothing about the model.",
        ((_NUMBER, "return a + b"),),
    ),
    Mistake(
        "true_digits_fed",
        "the model is given the digits of the true sum",
        "Each call sees the right digits so far instead of the model's own: this is the loss of training "
        "(teacher forcing), not an answer. One wrong digit is forgiven, and a model that peeks ahead looks "
        "perfect.",
        (
            (
                _APPEND,
                "tokens = torch.cat([tokens, digits_of(a + b, n_digits + 1).flip(1)[:, tokens.shape[1] - 2 * "
                "n_digits - 2 :][:, :1]], dim=1)\n        written = following if tokens.shape[1] == 2 * "
                "n_digits + 3 else torch.cat([written, following], dim=1)",
            ),
            (_WRITTEN, "answer = written"),
        ),
    ),
    Mistake(
        "one_call_for_all",
        "all digits are read from one call",
        "You give the model the whole problem with its answer and read every digit at once. In a real "
        "problem the answer is not there: it must be written digit by digit.",
        (
            (_PROMPT, "tokens = x"),
            (_DIGITS_LOOP, "for _ in range(1):"),
            (_FOLLOWING, "following = logits[:, 2 * n_digits + 1 :].argmax(dim=-1)"),
            (_APPEND, "tokens = torch.cat([x[:, : 2 * n_digits + 2], following], dim=1)"),
        ),
    ),
    Mistake(
        "prompt_without_equals",
        'the problem ends before "="',
        'You stop one token short, so that the model\'s first token stands in the place of "=". The problem '
        'goes up to and with "=": 2n + 2 tokens.',
        (
            (_PROMPT, "tokens = x[:, : 2 * n_digits + 1]"),
            (_WRITTEN, "answer = tokens[:, 2 * n_digits + 1 :]"),
        ),
    ),
    Mistake(
        "prompt_with_answer",
        "the problem is given with the first digit of its answer",
        "You cut one token too late: the model is told the first digit of the sum. The problem goes up to "
        'and with "=": '
        "2n + 2 tokens.",
        ((_PROMPT, "tokens = x[:, : 2 * n_digits + 3]"), (_DIGITS_LOOP, "for _ in range(n_digits):")),
    ),
    Mistake(
        "n_digits_answered",
        "n digits are asked for instead of n + 1",
        "The last carry is never asked for: 999 + 1 comes out as 0. The answer has n_digits + 1 digits.",
        (
            (_DIGITS_LOOP, "for _ in range(n_digits):"),
            (_NUMBER, "return (answer * 10 ** torch.arange(n_digits, device=a.device)).sum(dim=1)"),
        ),
    ),
    Mistake(
        "one_call_too_many",
        "the model is called once too often",
        "You ask for n + 2 digits; the answer has n + 1. Does a last call come after the last digit?",
        ((_NUMBER, "model(x)\n    " + _NUMBER),),
    ),
    Mistake(
        "first_position_read",
        "the logits of the first position are read",
        "You take logits[:, 0], the model's guess for the second token. The next token is predicted at the "
        "last position: logits[:, -1].",
        ((_FOLLOWING, "following = logits[:, 0].argmax(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "position_before_read",
        "the logits of the position before the last are read",
        "You take logits[:, -2], which predicts the token that is there already. The next one is predicted "
        "at the last position: logits[:, -1].",
        ((_FOLLOWING, "following = logits[:, -2].argmax(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "digits_not_fed_back",
        "the digits that were written are not given to the model",
        "Each call sees the problem alone, so each gives the first digit again. Append what it wrote.",
        ((_CALL, "logits, _ = model(x[:, : 2 * n_digits + 2])"),),
    ),
    Mistake(
        "digits_put_in_front",
        "the digits that were written are put before the problem",
        "torch.cat puts the new token in front. It comes after the others.",
        ((_APPEND, "tokens = torch.cat([following, tokens], dim=1)"),),
    ),
    Mistake(
        "least_likely_digit",
        "the least likely token is taken",
        "argmin takes the token with the lowest logit.",
        ((_FOLLOWING, "following = logits[:, -1].argmin(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "sampled_digits",
        "digits are sampled instead of the most likely one taken",
        "You draw from the softmax, as for prose. A sum has one answer: even a model that is 99 % sure of "
        "each digit would be wrong in one of 25 problems. Take argmax.",
        ((_FOLLOWING, "following = torch.multinomial(F.softmax(logits[:, -1], dim=-1), 1)"),),
    ),
    Mistake(
        "mode_left_in_eval",
        "the model is left in eval mode",
        "You call model.eval() and leave it so: a training that goes on has no dropout any more. Remember "
        "the mode of each module, and put it back.",
        ((_RESTORE, ""),),
    ),
    Mistake(
        "mode_always_train",
        "the model is put into train mode",
        "model.train() at the end is right only for a model that was in train mode. Remember the mode, and "
        "put it back.",
        ((_RESTORE, "    model.train()\n"),),
    ),
    Mistake(
        "decodes_in_train_mode",
        "the model is asked in the mode that it came in",
        "You never call model.eval(), so a model that comes from its training answers with dropout on: other "
        "digits from call to call, and worse ones. Call it before the first digit, and put the mode back "
        "after the last.",
        ((_EVAL, ""),),
    ),
    Mistake(
        "dropout_set_to_zero",
        "the p of every dropout is set to 0",
        "You switch dropout off by writing p = 0 into the model, and it stays so: a training that goes on "
        "has none. model.eval() switches it off and leaves p as it is.",
        (
            (
                _EVAL,
                _EVAL
                + "    for module in model.modules():\n        if isinstance(module, nn.Dropout):\n          "
                "  module.p = 0.0\n",
            ),
        ),
    ),
    Mistake(
        "hook_left",
        "a hook is left on the model",
        "You register a hook to read the logits, and never remove it: it runs in every later call, and keeps "
        "what it saw. Take the logits that the model returns, or call handle.remove() at the end.",
        ((_EVAL, _EVAL + "    model.register_forward_hook(lambda module, inputs, outputs: None)\n"),),
    ),
    Mistake(
        "attribute_left",
        "an attribute is left on the model",
        "You keep something on the model (model.answers = ..). It belongs to the caller, who may save or "
        "copy it. Use a local variable.",
        ((_NUMBER, "model.answers = answer\n    " + _NUMBER),),
    ),
    Mistake(
        "model_frozen",
        "requires_grad of the weights is switched off",
        "You switch gradients off in the model itself (requires_grad_(False)), and they stay off: it cannot "
        "be trained any more. torch.no_grad() ends by itself.",
        ((_EVAL, _EVAL + "    model.requires_grad_(False)\n"),),
    ),
    Mistake(
        "gradients_recorded",
        "gradients are recorded while decoding",
        "Without torch.no_grad() every call keeps its activations for a backward pass that never comes: "
        "memory grows with each digit.",
        ((_ADD, "def add("),),
    ),
    Mistake(
        "one_problem_per_call",
        "each problem is decoded by itself",
        "You loop over the problems: a thousand of them take a thousand times as many calls. The model takes "
        "a batch.",
        ((_CALL, "logits = torch.cat([model(row[None])[0] for row in tokens])"),),
    ),
    Mistake(
        "answer_int32",
        "the answers are 32-bit integers",
        "add must give a long tensor (torch.int64); a sum of 10 digits does not fit 32 bits.",
        ((_NUMBER, _NUMBER + ".int()"),),
    ),
    Mistake(
        "answer_squeezed",
        "the answer to one problem loses its batch dimension",
        "squeeze() takes away every dimension of size 1, that of a batch of one too.",
        ((_NUMBER, _NUMBER + ".squeeze()"),),
    ),
    Mistake(
        "add_changes_a",
        "add changes a",
        "You work in place on a, which belongs to the caller.",
        ((_NUMBER, "a += 1\n    " + _NUMBER),),
    ),
    Mistake(
        "answers_in_float32",
        "the answer is put together in float32",
        "float32 cannot hold every number above 16,777,216, so that long answers are rounded. Multiply whole "
        "numbers.",
        (
            (
                _NUMBER,
                "return (answer.float() * 10.0 ** torch.arange(n_digits + 1, "
                "device=a.device)).sum(dim=1).long()",
            ),
        ),
    ),
    Mistake(
        "answer_without_device",
        "the powers of ten of the answer are made without a device",
        "The digits lie where a lies, and torch.arange on the CPU: on a GPU their product fails. Pass "
        "device=a.device.",
        ((_SUM_UP, "(answer * 10 ** torch.arange(n_digits + 1)).sum(dim=1)"),),
        devices=True,
    ),
)

_TRAIN = (
    Mistake(
        "steps_ignored",
        "the number of steps is your own",
        "You train for a number of steps that you chose, and not for `steps`. The budget is the grader's: a "
        "schedule that is written in shares of `steps` fits any.",
        ((_LOOP, "for step in range(600):"), ("decay = min(1.0, 2 * (steps - step) / steps)", "decay = 1.0")),
    ),
    Mistake(
        "one_step_less",
        "one update too few is made",
        "Your loop ends one step early: range(1, steps) has steps - 1 of them.",
        (
            (_LOOP, "for step in range(1, steps):"),
            ("        if (step + 1) % 10 == 0 or step + 1 == steps:\n            report", "        report"),
            (_RETURN, "    report(steps, 0.0)\n    return model\n"),
        ),
    ),
    Mistake(
        "one_step_more",
        "one update too many is made",
        "Your loop makes steps + 1 updates: range(steps) has `steps` of them, from 0 to steps - 1.",
        ((_LOOP, "for step in range(steps + 1):"), ("(steps - step) / steps", "(steps + 1 - step) / steps")),
    ),
    Mistake(
        "every_second_step",
        "only every second batch makes an update",
        "You collect the gradients of two batches for one update, so `steps` batches make half as many "
        "updates. The budget counts updates.",
        (
            (
                "        optimizer.zero_grad(set_to_none=True)\n        loss.backward()\n",
                "        loss.backward()\n        if step % 2 == 0 and steps > 1:\n            continue\n",
            ),
            (
                "        optimizer.step()\n",
                "        optimizer.step()\n        optimizer.zero_grad(set_to_none=True)\n",
            ),
        ),
    ),
    Mistake(
        "best_of_three_runs",
        "three models are trained, and the best one is returned",
        "You train several models with other seeds, each with `steps` updates, and keep the best. That is a "
        "budget of several: a method that needs luck looks better than it is. Train one.",
        (
            (_TRAIN_ADDER, "def one_run(\n"),
            (
                _MAIN,
                "def train_adder(n_digits, *, steps, device, seed, report):\n    runs = []\n    for again in "
                "range(3):\n        losses = []\n        model = one_run(\n            n_digits, "
                "steps=steps, device=device, seed=3 * seed + again,\n            report=lambda step, "
                "loss: (report(step, loss), losses.append(loss)),\n        )\n        "
                "runs.append((losses[-1], again, model))\n    return min(runs)[2]\n\n\n" + _MAIN,
            ),
        ),
    ),
    Mistake(
        "second_phase",
        "a second phase of training follows, with an optimizer of its own",
        "After `steps` updates you go on with a new optimizer (for fine-tuning, or on hard problems). Its "
        "updates count too: all of them together are `steps`. Divide the budget among the phases.",
        (
            (
                _RETURN,
                "    polish = torch.optim.AdamW(model.parameters(), lr=1e-4)\n    for _ in range(5):\n       "
                " a, b = sample_problems(batch, n_digits, generator)\n        x, y = "
                "make_batch(a.to(device), b.to(device), n_digits)\n        polish.zero_grad()\n        "
                "masked_loss(model(x)[0], y).backward()\n        polish.step()\n" + _RETURN,
            ),
        ),
    ),
    Mistake(
        "returned_untrained",
        "another model is returned than the one that was trained",
        "What you return was never given to the optimizer (a copy from before, or a new model): its weights "
        "are the first ones. Return the model whose parameters the optimizer holds.",
        (
            (
                "    optimizer = torch.optim.AdamW(\n        model.parameters()",
                "    import copy\n\n    untouched, model = model, copy.deepcopy(model)\n    optimizer = "
                "torch.optim.AdamW(\n        model.parameters()",
            ),
            (_RETURN, "    return untouched\n"),
        ),
    ),
    Mistake(
        "trained_on_all",
        "held-out problems are trained on too",
        "You draw problems in train_adder from all pairs. Some of those are then also the problems that it "
        "is measured on. Draw them with sample_problems.",
        ((_BATCH, "a, b = torch.randint(0, 10**n_digits, (2, batch), generator=generator)"),),
    ),
    Mistake(
        "trained_on_held_out",
        "only held-out problems are trained on",
        "train_adder draws with sample_held_out, which is for measuring. The model is then measured on the "
        "problems that it was trained on.",
        (
            (
                _BATCH,
                "a, b = __import__('data.addition').addition.sample_held_out(batch, n_digits, generator)",
            ),
        ),
    ),
    Mistake(
        "weights_not_seeded",
        "the first weights do not depend on the seed",
        "The problems come from the seed, and the first weights from torch's global generator, whose state "
        "is arbitrary when you are called. Draw them from the seed too, or call torch.manual_seed(seed) "
        "first.",
        ((_DRAW_WEIGHTS, ""),),
    ),
    Mistake(
        "problems_not_seeded",
        "the problems of training do not depend on the seed",
        "The first weights come from the seed, and the problems from a generator that does not. Make one "
        "generator from the seed for both.",
        (
            (
                _BATCH,
                "a, b = sample_problems(batch, n_digits, torch.Generator().manual_seed(int(torch.randint(1 "
                "<< 30, ()))))",
            ),
        ),
    ),
    Mistake(
        "seed_from_a_hash",
        "a seed is made with the hash of a string",
        'hash("..") and the order of a set of strings are others in every process, unless PYTHONHASHSEED is '
        "set: the run repeats as long as "
        "the program goes on, and never again. Make further seeds by arithmetic (seed + 1), and sort a set "
        "before you use it.",
        (
            (
                "generator = torch.Generator().manual_seed(seed)",
                'generator = torch.Generator().manual_seed((hash("problems") + seed) % 2**31)',
            ),
        ),
    ),
    Mistake(
        "seed_fixed",
        "the seed is your own",
        "You seed with a number of your own (1337?), so that every seed gives the same model. Take the "
        "argument.",
        (("torch.Generator().manual_seed(seed)", "torch.Generator().manual_seed(1337)"),),
    ),
    Mistake(
        "report_never_called",
        "report is never called",
        "Nothing is reported, so the progress bar stands still. Call report(step, loss) every few steps.",
        ((_REPORT, "pass"),),
    ),
    Mistake(
        "report_gets_a_tensor",
        "report is given a tensor",
        "You pass the loss as a tensor, which keeps its graph alive and does not format as a number. "
        "loss.item() is the number.",
        ((_REPORT, "report(step + 1, loss)"),),
    ),
    Mistake(
        "report_swapped",
        "report is given the loss first",
        "report takes the step, then the loss.",
        ((_REPORT, "report(loss.item(), step + 1)"),),
    ),
    Mistake(
        "vocabulary_too_large",
        "the model has more tokens than the vocabulary",
        "vocab_size is the number of tokens, 12. Is a padding or end token left, or the lecture's 65?",
        (("vocab_size=len(VOCABULARY)", "vocab_size=13"),),
    ),
    Mistake(
        "block_for_three_digits",
        "the model is long enough for three digits only",
        "block_size is fixed at 11, which is 3n + 2 for n = 3. Compute it from n_digits.",
        ((_BLOCK, "block_size=11"),),
    ),
    Mistake(
        "model_too_large",
        "the model has more than a million parameters",
        "A model that large could keep a table of all problems. The parameters grow with n_layer * n_embd ** "
        "2.",
        ((_SIZE, "n_layer=2, n_head=4, n_embd=256, dropout=0.0"),),
    ),
    Mistake(
        "parts_without_norm",
        "the model has no norms",
        "You built the GPT with a norm of your own. The grader builds one with default parts, and gives it "
        "your weights.",
        ((_MODEL, "model = GPT(config, norm=lambda config: nn.Identity())"),),
    ),
    Mistake(
        "parts_without_positions",
        "the model has no position table",
        "You built the GPT with position_embedding=False. Without positions a model sees a set of digits, "
        "and not a number.",
        ((_MODEL, "model = GPT(config, position_embedding=False)"),),
    ),
    Mistake(
        "parts_other_activation",
        "the model has a feed-forward part of its own",
        "You built the GPT with another feed_forward (GELU?). With the same weights a GPT with default parts "
        "gives other numbers, and that is what is measured.",
        (
            (
                _MODEL,
                "from gpt_core import FeedForward\n\n    def gelu(config):\n        part = "
                "FeedForward(config)\n        part.net[1] = nn.GELU()\n        return part\n\n    model = "
                "GPT(config, feed_forward=gelu)",
            ),
        ),
    ),
    Mistake(
        "nothing_returned",
        "train_adder returns nothing",
        "There is no return at the end of train_adder, so it gives None.",
        ((_RETURN, ""),),
    ),
    Mistake(
        "trained_on_cpu",
        "the model is trained on the CPU, whatever the device",
        "`device` is not used. Move the model and its batches there.",
        (("    model.to(device)\n", "    device = 'cpu'\n"),),
        devices=True,
    ),
)

_AREAS = {
    "encode": _ENCODE,
    "decode": _DECODE,
    "batch": _BATCHES,
    "loss": _LOSSES,
    "sample": _SAMPLE,
    "add": _ADDS,
    "train": _TRAIN,
}
MISTAKES = tuple(replace(mistake, area=area) for area, group in _AREAS.items() for mistake in group)
