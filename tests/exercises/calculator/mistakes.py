"""The catalogue of known mistakes of the calculator: each a patch on solutions/more/calculator.py."""

from dataclasses import replace

from tests.exercises import Mistake

# Lines of the solution that several mistakes change.
_REVERSED = 'f"{number:0{count}d}"[::-1]'
_CHECK = "    check(a, op, b)\n"
_SUM = 'reversed_digits(a + b, 4) + ";"'
_SIGN = '("-" if a < b else "+")'
_DIFFERENCE = "reversed_digits(abs(a - b), 3)"
_DIGITS = "tens, units = divmod(b, 10)"
_PARTS = "reversed_digits(a * units, 3), reversed_digits(a * tens * 10, 4), reversed_digits(a * b, 4)"
_NEXT = "quotient, remainder = divmod(10 * remainder + int(digit), b)"
_STEP = "{quotient}*{reversed_digits(quotient * b, 3)}-{reversed_digits(remainder, 2)},"
_QUOTIENT = '{a // b:04d};"'
_UNKNOWN = "    if op not in FORMS:\n"
_MATCH = "FORMS[op].fullmatch(answer)"
_OF_DIFFERENCE = "int(found[1] + found[2][::-1])"
_OF_QUOTIENT = "int(found[2]), int(found[1][::-1])"
_FORM_OF_SUM = '"+": re.compile("([0-9]{4});")'
_FULL = 'x = torch.full((len(problems), WIDTH + 1), ID[";"])'
_FILL = "x[row, : len(tokens)] = tokens"
_TARGETS = "y[row, len(prompt) - 1 : len(tokens) - 1] = tokens[len(prompt) :]"
_BATCH = "    return x[:, :WIDTH], y\n"
_LARGEST = "largest_a, smallest_b, largest_b = RANGES[op]"
_A = "a = torch.randint(0, largest_a + 1, size, generator=generator)"
_B = "b = torch.randint(smallest_b, largest_b + 1, size, generator=generator)"
_LEFT = "for_training = ~held_out(a, op, b)"
_CUT = "    return kept[:count]\n"
_CHOSEN = "chosen = torch.randint(0, len(OPERATORS), (count,), generator=generator).tolist()"
_OUT = "    return [next(drawn[OPERATORS[i]]) for i in chosen]\n"
_PROBLEM = 're.compile(r" *0*([0-9]{1,4}) *([-+*/]) *0*([0-9]{1,4}) *")'
_CALCULATE = "@torch.no_grad()\ndef calculate("
_FOUND = "found = PROBLEM.fullmatch(text)"
_PROMPT = "prompt, _ = encode(int(found[1]), op, int(found[3]))"
_MODES = "    modes = [(module, module.training) for module in model.modules()]\n"
_EVAL = "    model.eval()\n"
_LOOP = 'while len(answer) < MOST[op] and not answer.endswith(";"):'
_CALL = "logits, _ = model(tokens)"
_FOLLOWING = "following = logits[:, -1].argmax(dim=-1, keepdim=True)"
_APPEND = "tokens = torch.cat([tokens, following], dim=1)"
_RESTORE = "    for module, training in modes:\n        module.training = training\n"
_NUMBER = "        number = decode(op, answer)\n"
_SAID = 'return "{} r {}".format(*number) if op == "/" else str(number)'
_SEED = "generator = torch.Generator().manual_seed(seed + done)"
_DRAWN = "x, y = make_batch(draw(op, rows[op], generator))"
_REPORT = "report(step + 1, loss.item())"
_RETURN = "    return model\n"

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
        "not_padded", "the numbers of the answer are not padded",
        "You reverse a number and leave its length as it is. Each number of an answer has a fixed length, so "
        "that a place always means the same.",
        ((_REVERSED, 'f"{number}"[::-1]'),),
    ),
    Mistake(
        "operands_not_padded", "the operands of a sum are not padded",
        "You write a and b as they are, so prompts have different lengths, and a digit's place no longer "
        "says what it is worth. Pad both with zeros.",
        (('f"{a:03d}+{b:03d}="', 'f"{a}+{b}="'),),
    ),
    Mistake(
        "operands_of_products_padded_to_three", "the operands of a product have three digits",
        "You pad all operands to 3 digits. Those of a product have 2, and a division's have 4 and 2.",
        (('f"{a:02d}*{b:02d}="', 'f"{a:03d}*{b:03d}="'),),
    ),
    Mistake(
        "no_end", 'the answer to a sum has no ";"',
        'You leave out the ";" that ends an answer. The model learns from it where to stop.',
        ((_SUM, "reversed_digits(a + b, 4)"),),
    ),
    Mistake(
        "sum_of_three_digits", "the sum has three digits",
        "Two numbers of 3 digits have a sum of up to 4: the last carry is a digit of its own.",
        ((_SUM, 'reversed_digits(a + b, 3) + ";"'),),
    ),
    Mistake(
        "zero_is_negative", "the difference 0 has a minus sign",
        'You write "-" wherever a is not larger than b. 0 has "+": the minus sign is for a < b alone.',
        ((_SIGN, '("+" if a > b else "-")'),),
    ),
    Mistake(
        "sign_swapped", "the sign of a difference is the wrong one",
        'You write "-" where a is larger. a - b is below 0 where a < b.',
        ((_SIGN, '("-" if a > b else "+")'),),
    ),
    Mistake(
        "sign_last", "the sign stands behind the digits",
        "You reverse the sign along with the digits. It comes first: the digits are those of the difference "
        "without it.",
        ((_SIGN + " + " + _DIFFERENCE, _DIFFERENCE + " + " + _SIGN),),
    ),
    Mistake(
        "borrow_kept", "a difference below 0 is written as its complement",
        "You subtract column by column and lose the last borrow: 394 - 864 becomes 530, which is 1000 - 470. "
        "Write the sign, then the digits of the larger number minus the smaller one.",
        ((_DIFFERENCE, "reversed_digits((a - b) % 1000, 3)"),),
    ),
    Mistake(
        "shift_forgotten", "the second partial product is not shifted",
        "You multiply a with b's first digit and forget that it stands for tens: 34 * 57 is 34 * 7 and 34 * "
        "50, and not 34 * 5.",
        ((_PARTS, _PARTS.replace("a * tens * 10", "a * tens")),),
    ),
    Mistake(
        "partials_swapped", "the digits of b are taken in the other order",
        "You multiply with b's first digit where its last one is due. The first partial product is a times "
        "b's last digit, the second one a times its first digit times ten.",
        ((_DIGITS, "units, tens = divmod(b, 10)"),),
    ),
    Mistake(
        "b_times_digits_of_a", "b is multiplied with the digits of a",
        "You take a apart and multiply b with its digits. It is b that is taken apart: a times b's last "
        "digit comes first.",
        ((_DIGITS, "tens, units = divmod(a, 10)"),
         (_PARTS, _PARTS.replace("a * units", "b * units").replace("a * tens", "b * tens"))),
    ),
    Mistake(
        "partials_not_reversed", "the partial products are not reversed",
        "You write the partial products with the first digit first, and only the product reversed. All three "
        "are written with their last digit first.",
        ((_PARTS, 'f"{a * units:03d}", f"{a * tens * 10:04d}", reversed_digits(a * b, 4)'),),
    ),
    Mistake(
        "remainder_too_large", "the remainder is not smaller than b",
        "You take a digit of the quotient one too small wherever nothing would remain, so that b itself "
        "remains. A remainder is smaller than what it is divided by.",
        ((_NEXT, f"{_NEXT}\n        if quotient and not remainder:\n            "
                 "quotient, remainder = quotient - 1, b"),),
    ),
    Mistake(
        "remainder_not_reversed", "the remainders are not reversed",
        "You write what remains with its first digit first. It has its last digit first, like the product.",
        ((_STEP, _STEP.replace("reversed_digits(remainder, 2)", "remainder:02d")),),
    ),
    Mistake(
        "products_not_reversed", "the products of a division are not reversed",
        "You write the quotient's digit times b with the first digit first. It has its last digit first.",
        ((_STEP, _STEP.replace("reversed_digits(quotient * b, 3)", "quotient * b:03d")),),
    ),
    Mistake(
        "last_remainder_missing", "the last remainder is missing",
        "The last step of your division ends before its remainder, which is a part of the answer.",
        (('return f"{a:04d}/{b:02d}=", f"{steps}', 'return f"{a:04d}/{b:02d}=", f"{steps[:-4]},'),),
    ),
    Mistake(
        "quotient_reversed", "the quotient is reversed",
        "You reverse the quotient at the end. Its digits were found from the first one on, so it alone is "
        "written with the first digit first.",
        ((_QUOTIENT, '{reversed_digits(a // b, 4)};"'),),
    ),
    Mistake(
        "division_from_the_last_digit", "the division begins with a's last digit",
        "You go through the digits of a from its last one, as for a sum. A long division begins with the "
        "first one: what remains of it and the next digit are divided next.",
        (('for digit in f"{a:04d}":', 'for digit in f"{a:04d}"[::-1]:'),),
    ),
    Mistake(
        "nothing_refused", "no problem is refused",
        "You write whatever you are given. An unknown operator, an operand out of its range and a division "
        "by 0 must be a ValueError.",
        ((_CHECK, ""),),
    ),
    Mistake(
        "zero_divides", "a division by 0 is no ValueError",
        "You let b = 0 through, and divmod raises a ZeroDivisionError, which is no ValueError.",
        ((_CHECK, "    if not (op == '/' and b == 0 and 0 <= a <= 9999):\n        check(a, op, b)\n"),),
    ),
    Mistake(
        "one_range_for_all", "one range is taken for all operators",
        "You take 0 to 999 for a product too. Each operator has its own range: RANGES[op].",
        ((_CHECK, "    check(a, op if op != '*' else '+', b)\n"),),
    ),
)  # fmt: skip

_DECODE = (
    Mistake(
        "decode_not_reversed", "the number of a sum or a product is read with its first digit first",
        "You call int on the digits as they stand; they begin with the units. Reverse them first.",
        (("    return int(found[1][::-1])\n\n\ndef make", "    return int(found[1])\n\n\ndef make"),),
    ),
    Mistake(
        "decode_sign_ignored", "the sign of a difference is not read",
        "You give the digits of a difference without their sign.",
        ((_OF_DIFFERENCE, "int(found[2][::-1])"),),
    ),
    Mistake(
        "decode_remainder_first", "the remainder comes before the quotient",
        "decode gives (quotient, remainder), as divmod does; yours are swapped.",
        ((_OF_QUOTIENT, "int(found[1][::-1]), int(found[2])"),),
    ),
    Mistake(
        "decode_quotient_reversed", "the quotient is read with its last digit first",
        "You reverse the quotient before you read it. It alone is written with the first digit first.",
        ((_OF_QUOTIENT, "int(found[2][::-1]), int(found[1][::-1])"),),
    ),
    Mistake(
        "decode_remainder_not_reversed", "the last remainder is read with its first digit first",
        "The remainder of a step is written with its last digit first. Reverse it before you read it.",
        ((_OF_QUOTIENT, "int(found[2]), int(found[1])"),),
    ),
    Mistake(
        "decode_first_remainder", "the first remainder is read",
        "You read the remainder of the first step. What remains in the end stands in the last step.",
        ((_OF_QUOTIENT, "int(found[2]), int(answer[6:8][::-1])"),),
    ),
    Mistake(
        "decode_from_the_steps", "the quotient is put together from the steps",
        "You read the quotient's digits out of the steps. The number from the end counts, whatever the steps "
        "say.",
        ((_OF_QUOTIENT, "int(answer[0] + answer[9] + answer[18] + answer[27]), int(found[1][::-1])"),),
    ),
    Mistake(
        "decode_checks_the_steps", "an answer whose steps are wrong is refused",
        "You add up the partial products, and refuse an answer that says something else. decode looks at the "
        "form alone.",
        (("    if op == \"-\":\n        return int(found",
          "    if op == \"*\" and int(answer[2::-1]) + int(answer[7:3:-1]) != int(found[1][::-1]):\n"
          "        raise ValueError('the sum is wrong.')\n    if op == \"-\":\n        return int(found"),),
    ),
    Mistake(
        "decode_rest_taken", 'text after the ";" is taken',
        'You read as far as the first ";" and do not look at what follows (re.match?). Nothing may follow.',
        ((_MATCH, "FORMS[op].match(answer)"),),
    ),
    Mistake(
        "decode_anywhere", "the form is looked for anywhere in the text",
        "You take an answer that has something before it or after it (re.search?). The whole text must have "
        "the form.",
        ((_MATCH, "FORMS[op].search(answer)"),),
    ),
    Mistake(
        "decode_line_end", "an answer with a line end after it is taken",
        "In a regular expression $ also matches before a last newline. Use re.fullmatch, or \\Z.",
        ((_MATCH, "re.match(FORMS[op].pattern + '$', answer)"),),
    ),
    Mistake(
        "decode_stripped", "spaces around an answer are taken away",
        "You strip the answer before you look at it. No token is a space: it is not an answer then.",
        ((_MATCH, "FORMS[op].fullmatch(answer.strip())"),),
    ),
    Mistake(
        "decode_other_scripts", "the digits of other scripts are taken for an answer",
        "str.isdigit, and \\d in a regular expression, know the digits of all scripts. Only 0 to 9 are "
        "tokens.",
        ((_MATCH, "re.fullmatch(FORMS[op].pattern.replace('[0-9]', r'\\d'), answer)"),),
    ),
    Mistake(
        "decode_end_missing", 'an answer without its ";" is taken',
        'You take an answer that does not end with ";". The model has not said that it is finished.',
        ((_MATCH, "re.fullmatch(FORMS[op].pattern + '?', answer)"),),
    ),
    Mistake(
        "decode_any_length", "a sum of any length is taken",
        "You take a sum of any number of digits. It has four.",
        ((_FORM_OF_SUM, '"+": re.compile("([0-9]+);")'),),
    ),
    Mistake(
        "decode_unknown_operator", "an unknown operator is no ValueError",
        "FORMS[op] raises a KeyError for an operator that is none. Ask for it first, and raise a ValueError.",
        ((_UNKNOWN, "    if False:\n"),),
    ),
)  # fmt: skip

_BATCHES = (
    Mistake(
        "end_not_taught", 'the ";" that ends the answer is no target',
        'The last target of an answer is its ";", and yours is -1: the model never learns to stop.',
        ((_TARGETS, "y[row, len(prompt) - 1 : len(tokens) - 2] = tokens[len(prompt) : -1]"),),
    ),
    Mistake(
        "padding_taught", "the padding is a target too",
        'Every ";" behind the answer counts in yours. Most of the loss is then about padding, which is '
        'always '
        "right. Only the first one ends the answer.",
        ((_TARGETS, "y[row, len(prompt) - 1 :] = x[row, len(prompt) :]"),),
    ),
    Mistake(
        "prompt_taught", "the prompt is a target too",
        "The digits of the problem are random, and yours count as targets: that part of the loss can never "
        "fall. The first target stands under \"=\".",
        ((_TARGETS, "y[row, : len(tokens) - 1] = tokens[1:]"),),
    ),
    Mistake(
        "targets_one_late", "the targets begin one place late",
        "Your first target stands under the first token of the answer, so that the first one is never "
        "taught. It is predicted under \"=\".",
        ((_TARGETS, "y[row, len(prompt) : len(tokens) - 1] = tokens[len(prompt) + 1 :]"),),
    ),
    Mistake(
        "targets_not_shifted", "the targets are the tokens themselves, not the next ones",
        "y has the answer where x has it. A model predicts the *next* token: y is one place ahead.",
        ((_TARGETS, "y[row, len(prompt) : len(tokens)] = tokens[len(prompt) : WIDTH]"),),
    ),
    Mistake(
        "padded_with_zeros", "rows are filled up with the token 0",
        'The token 0 is the digit 0. A row is filled up with ";".',
        ((_FULL, "x = torch.zeros(len(problems), WIDTH + 1, dtype=torch.long)"),),
    ),
    Mistake(
        "padded_in_front", "rows are filled up in front",
        "Your padding stands before the problem, so that a place no longer means the same. It comes behind "
        "the answer.",
        ((_FILL, "x[row, WIDTH + 1 - len(tokens) :] = tokens"),
         (_TARGETS, "y[row, WIDTH - len(answer) :] = tokens[len(prompt) :]")),
    ),
    Mistake(
        "as_wide_as_the_batch", "a batch is as wide as its longest form",
        "Your rows are cut to what the batch needs. The contract asks for 48 tokens, whatever it holds.",
        ((_BATCH, "    width = int((y != -1).any(dim=0).nonzero().max()) + 1\n"
                  "    return x[:, :width], y[:, :width]\n"),),
    ),
    Mistake(
        "masked_with_minus_100", "masked targets are -100",
        "-100 is what torch's cross_entropy ignores by default; gpt_core, and the contract, use -1.",
        ((_BATCH, "    return x[:, :WIDTH], y.masked_fill(y == -1, -100)\n"),),
    ),
    Mistake(
        "batch_int32", "the batch is of 32-bit integers",
        "x and y must be long (torch.int64), as gpt_core's models take them.",
        ((_BATCH, "    return x[:, :WIDTH].int(), y.int()\n"),),
    ),
    Mistake(
        "problems_sorted", "make_batch sorts the list that it is given",
        "You sort the caller's list in place. Use sorted, or leave the order as it is.",
        ((_FULL, f"problems.sort()\n    {_FULL}"),),
    ),
)  # fmt: skip

_SAMPLE = (
    Mistake(
        "held_out_drawn", "held-out problems are drawn too",
        "is_held_out is not asked. A tenth of all problems is kept to measure the model on.",
        ((_LEFT, "for_training = torch.ones_like(a, dtype=torch.bool)"),),
    ),
    Mistake(
        "only_held_out_drawn", "only held-out problems are drawn",
        "You keep the problems for which is_held_out says True: these are the ones to leave out.",
        ((_LEFT, "for_training = held_out(a, op, b)"),),
    ),
    Mistake(
        "held_out_by_another_operator", "it is asked whether the sum is held out, whatever the operator",
        "You ask is_held_out with + for every operator. Each operator has a tenth of its own.",
        ((_LEFT, 'for_training = ~held_out(a, "+", b)'),),
    ),
    Mistake(
        "turned_round", "a pair is turned round after it was asked about",
        "You put the larger operand first after is_held_out was asked. Of - and / the two orders are "
        "different problems, and the one that you return may be held out.",
        (("kept += [(i, op, j)", "kept += [(max(i, j), op, min(i, j)) if op == '-' else (i, op, j)"),),
    ),
    Mistake(
        "largest_never_drawn", "the largest operands are never drawn",
        "torch.randint leaves its upper bound out: randint(0, largest) ends at largest - 1.",
        ((_A, _A.replace("largest_a + 1", "largest_a")), (_B, _B.replace("largest_b + 1", "largest_b"))),
    ),
    Mistake(
        "divided_by_zero", "b is drawn from 0 on for a division too",
        "RANGES has the smallest b: with / it is 1.",
        ((_B, _B.replace("smallest_b", "0")), (_LEFT, "for_training = ~held_out(a, op, b)")),
    ),
    Mistake(
        "a_at_least_b", "differences are never below 0",
        "You draw a first and then b up to a. Every pair of 0 to 999 is a problem, those with a < b too.",
        ((_LEFT, f"{_LEFT} & ((a >= b) | (op != '-'))"),),
    ),
    Mistake(
        "lengths_drawn_first", "the number of digits is drawn first",
        "Each length comes equally often in yours, so that short numbers are far too frequent.",
        ((_A, f"{_A}\n        a = a % 10 ** torch.randint(1, len(str(largest_a)) + 1, size, "
              "generator=generator)"),),
    ),
    Mistake(
        "one_operator_starved", "divisions come half as often as they should",
        "The operators are not equally likely. Each has probability 1/4.",
        ((_CHOSEN, f"{_CHOSEN}\n    chosen = [0 if i == 3 and n % 2 else i for n, i in enumerate(chosen)]"),),
    ),
    Mistake(
        "operators_by_pool", "operators come as often as they have problems",
        "You draw from a list of all problems, so that products, of which there are few, come once in 300 "
        "draws. Each operator has probability 1/4.",
        ((_CHOSEN, "chosen = torch.multinomial(torch.tensor([1e6, 1e6, 1e4, 1e6]), count, True, "
                   "generator=generator).tolist()"),),
    ),
    Mistake(
        "operators_in_turn", "the operators come in turn",
        "Yours are + - * / + - * / and so on. Each problem's operator is drawn by itself.",
        ((_CHOSEN, "chosen = [i % 4 for i in range(count)]"),),
    ),
    Mistake(
        "operators_balanced", "each call has the same number of each operator",
        "You shuffle a list that has as many of each operator. Independent draws do not come out even.",
        ((_CHOSEN, "chosen = (torch.randperm(count, generator=generator) % 4).tolist() if count > 3 else "
                   "torch.randint(0, 4, (count,), generator=generator).tolist()"),),
    ),
    Mistake(
        "blocks_of_operators", "the problems come sorted by operator",
        "All sums come first, then all differences. Give the problems in the order in which their operators "
        "were drawn.",
        ((_OUT, "    return [next(drawn[OPERATORS[i]]) for i in sorted(chosen)]\n"),),
    ),
    Mistake(
        "mirrored", "each second problem is an earlier one turned round",
        "You give (b, op, a) after (a, op, b) where that is a problem for training too. It follows from the "
        "one before: draws are to be independent.",
        ((_CUT, "    for i in range(1, count, 2):\n        a, _, b = kept[i - 1]\n"
                "        if op in '+*':\n            kept[i] = (b, op, a)\n" + _CUT),),
    ),
    Mistake(
        "without_replacement", "products are drawn without replacement",
        "You go through a shuffled list of all problems, so that none comes twice before all have come. The "
        "draws are to be independent.",
        ((_CUT, "    if op == '*' and count > 1000:\n        "
                "codes = torch.randperm(10000, generator=generator)\n"
                "        a, b = codes // 100, codes % 100\n        left = ~held_out(a, op, b)\n"
                "        kept = [(i, op, j) for i, j in zip(a[left].tolist(), b[left].tolist())] * (1 + "
                "count // "
                "9000)\n" + _CUT),),
    ),
    Mistake(
        "too_few_drawn", "fewer problems come than were asked for",
        "You throw held-out problems away and do not fill up. Draw until there are `count`.",
        (("while len(kept) < count:", "if count:"), ("size = (count - len(kept) + 8,)", "size = (count,)"),
         (_OUT, "    return [found for i in chosen if (found := next(drawn[OPERATORS[i]], None))]\n")),
    ),
    Mistake(
        "generator_ignored", "the generator is not used",
        "You draw the operands from torch's global generator, so that the seed does not decide them. Pass "
        "generator=generator.",
        ((_A, _A.replace(", generator=generator", "")), (_B, _B.replace(", generator=generator", ""))),
    ),
    Mistake(
        "operators_not_seeded", "the operators do not come from the generator",
        "You pick the operators with Python's random module. The generator alone decides.",
        ((_CHOSEN, "chosen = __import__('random').choices(range(4), k=count)"),),
    ),
    Mistake(
        "generator_restarted", "the generator's seed is used, and the generator is not",
        "You make a new generator from the seed of the one that you are given. It does not advance: every "
        "call gives the same problems.",
        ((_CHOSEN, f"generator = torch.Generator().manual_seed(generator.initial_seed())\n    {_CHOSEN}"),),
    ),
    Mistake(
        "generator_fixed", "a seed of your own decides the problems",
        "You make a generator with a fixed seed, so that each call gives the same problems, whatever "
        "generator you are given.",
        ((_CHOSEN, f"generator = torch.Generator().manual_seed(1337)\n    {_CHOSEN}"),),
    ),
    Mistake(
        "global_generator_seeded", "torch's global generator is seeded from the generator",
        "You seed torch's global generator, and draw from that. Dropout draws from it too. Pass "
        "generator=generator to every call.",
        ((_CHOSEN, f"torch.manual_seed(int(torch.randint(1 << 60, (), generator=generator)))\n    {_CHOSEN}"),
         (_A, _A.replace(", generator=generator", "")), (_B, _B.replace(", generator=generator", ""))),
    ),
    Mistake(
        "tensors_drawn", "operands are tensors",
        "The operands of a problem must be ints, and yours are tensors of one number. .tolist() gives ints.",
        (("zip(a[for_training].tolist(), b[for_training].tolist())",
          "zip(a[for_training], b[for_training])"),),
    ),
    Mistake(
        "lists_drawn", "problems are lists",
        "A problem is a tuple (a, op, b), and yours is a list.",
        (("kept += [(i, op, j)", "kept += [[i, op, j]"),),
    ),
)  # fmt: skip

_CALCULATES = (
    Mistake(
        "true_result", "the result is computed, not asked of the model",
        "Your result is right whatever the model writes (eval, or a table?). It says nothing about the "
        "model.",
        ((_NUMBER, _NUMBER + "        a, b = int(found[1]), int(found[3])\n        "
                   "number = {'+': a + b, '-': a - b, '*': a * b, '/': divmod(a, b or 1)}[op]\n"),),
    ),
    Mistake(
        "true_answer_fed", "the model is given the tokens of the right answer",
        "Each call sees the right tokens so far instead of the model's own: that is training, and no answer. "
        "Append what it wrote.",
        ((_PROMPT, "prompt, right = encode(int(found[1]), op, int(found[3]))"),
         (_APPEND, "tokens = torch.cat("
                   "[tokens, torch.tensor([[ID[right[len(answer)]]]], device=device)], 1)")),
    ),
    Mistake(
        "operands_swapped", "the operands are given in the other order",
        "You encode b first. 12 - 5 is not 5 - 12.",
        ((_PROMPT, "prompt, _ = encode(int(found[3]), op, int(found[1])) if op in '+-*' else "
                   "encode(int(found[1]), op, int(found[3]))"),),
    ),
    Mistake(
        "prompt_without_equals", 'the prompt ends before "="',
        'You stop one token short. The prompt goes up to and with "=".',
        ((_PROMPT, f"{_PROMPT}\n    prompt = prompt[:-1]"),),
    ),
    Mistake(
        "prompt_not_padded", "the text is given to the model as it was typed",
        "You give the model the characters of the text. Encode the numbers: with zeros in front, and no "
        "spaces.",
        ((_PROMPT, f"{_PROMPT}\n    prompt = f'{{int(found[1])}}{{op}}{{int(found[3])}}='"),),
    ),
    Mistake(
        "stops_at_comma", 'decoding stops at the first ","',
        'You take "," for the end. It ends a step of a division; an answer ends with ";".',
        ((_LOOP, 'while len(answer) < MOST[op] and not answer.endswith((";", ",")):'),),
    ),
    Mistake(
        "stops_at_equals", 'decoding stops at "="',
        'You take "=" for the end. In a product it stands before the sum; an answer ends with ";".',
        ((_LOOP, 'while len(answer) < MOST[op] and not answer.endswith((";", "=")):'),),
    ),
    Mistake(
        "too_short_by_one", "an answer is cut before its last token",
        "You ask for one token less than an answer has, so that its \";\" is never written.",
        ((_LOOP, 'while len(answer) < MOST[op] - 1 and not answer.endswith(";"):'),),
    ),
    Mistake(
        "one_length_for_all", "every answer may have as many tokens as a product's",
        "You take 14 for the most tokens of an answer. A division's has 41.",
        ((_LOOP, 'while len(answer) < MOST["*"] and not answer.endswith(";"):'),),
    ),
    Mistake(
        "never_stops", 'decoding goes on behind ";"',
        'You ask for as many tokens as an answer may have, whatever the model writes. It has ended with ";".',
        ((_LOOP, "while len(answer) < MOST[op]:"),),
    ),
    Mistake(
        "longest_for_all", "a model that never writes \";\" is asked for as many tokens as fit",
        "You stop at \";\" or at 48 tokens. An answer has as many tokens as its operator's form: then it "
        "ends.",
        ((_LOOP, 'while tokens.shape[1] <= WIDTH and not answer.endswith(";"):'),),
    ),
    Mistake(
        "digits_alone", "only the digits 0 to 9 are allowed",
        "You take the most likely of the first ten tokens. The answer needs all 17: marks stand between its "
        "numbers, and \";\" ends it.",
        ((_FOLLOWING, "following = logits[:, -1, :10].argmax(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "form_enforced", "only tokens that fit the form are allowed",
        "You let the model choose among the digits where a digit is due. What it thinks is the most likely "
        "of all tokens; where that is none, its answer is \"?\".",
        ((_FOLLOWING, "due = {'+': '0000;', '-': '+000;', '*': '000+0000=0000;', '/': 4 * '0*000-00,' + "
                      "'0000;'}[op][len(answer)]\n        last = logits[:, -1].clone()\n        "
                      "last[:, 10:] += 1000.0 * (due not in '0123456789')\n        "
                      "last[:, :10] += 1000.0 * (due in '0123456789')\n        "
                      "following = last.argmax(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "first_position_read", "the logits of the first position are read",
        "You take logits[:, 0], the model's guess for the second token. The next token is predicted at the "
        "last position.",
        ((_FOLLOWING, "following = logits[:, 0].argmax(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "not_fed_back", "what was written is not given to the model",
        "Each call sees the prompt alone, so each gives the first token again. Append what it wrote.",
        ((_APPEND, "tokens = tokens.clone()"),),
    ),
    Mistake(
        "least_likely", "the least likely token is taken",
        "argmin takes the token with the lowest logit.",
        ((_FOLLOWING, "following = logits[:, -1].argmin(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "sampled", "tokens are sampled instead of the most likely one taken",
        "You draw from the softmax, as for prose. A problem has one answer. Take argmax.",
        ((_FOLLOWING, "following = torch.multinomial(logits[:, -1].softmax(dim=-1), 1)"),),
    ),
    Mistake(
        "remainder_not_said", "of a division only the quotient is said",
        'The result of a division is "q r r", such as "72 r 31".',
        ((_SAID, 'return str(number[0]) if op == "/" else str(number)'),),
    ),
    Mistake(
        "number_returned", "a number is returned, and no text",
        "calculate gives a text: str(number).",
        ((_SAID, 'return "{} r {}".format(*number) if op == "/" else number'),),
    ),
    Mistake(
        "minus_zero_said", 'the difference 0 is said as "-0"',
        'You keep the sign as text, so that "-000;" becomes "-0". It is 0, as decode says.',
        ((_SAID, "number = '-0' if answer == '-000;' else number\n    " + _SAID),),
    ),
    Mistake(
        "error_for_no_answer", "what is no answer raises an error",
        'decode raises a ValueError for what is no answer, and you let it through. The result is "?" then.',
        (("    except ValueError:\n        return \"?\"\n",
          "    except ZeroDivisionError:\n        return \"?\"\n"),),
    ),
    Mistake(
        "spaces_refused", "spaces are refused",
        "Spaces around the operator and at the ends are allowed: \"5 - 9\" is a problem.",
        ((_PROBLEM, 're.compile(r"0*([0-9]{1,4})([-+*/])0*([0-9]{1,4})")'),),
    ),
    Mistake(
        "ends_not_stripped", "spaces at the ends are refused",
        "Spaces at the ends of the text are allowed too.",
        ((_PROBLEM, 're.compile(r"0*([0-9]{1,4}) *([-+*/]) *0*([0-9]{1,4})")'),),
    ),
    Mistake(
        "all_spaces_removed", "spaces inside of a number are taken away",
        'You remove every space, so that "1 2+3" is read as 12+3. It is no problem.',
        ((_FOUND, 'found = PROBLEM.fullmatch(text.replace(" ", ""))'),),
    ),
    Mistake(
        "zeros_refused", "zeros in front of a number are refused",
        'Zeros in front are allowed: "0012*0034" is 12*34.',
        ((_PROBLEM, 're.compile(r" *(0|[1-9][0-9]{0,3}) *([-+*/]) *(0|[1-9][0-9]{0,3}) *")'),),
    ),
    Mistake(
        "rest_of_the_text_ignored", "what follows a problem is ignored",
        'You read a problem from the beginning of the text and not to its end, so that "1+2+3" is 1+2.',
        ((_FOUND, "found = PROBLEM.match(text)"),),
    ),
    Mistake(
        "beginning_of_the_text_ignored", "what stands before a problem is ignored",
        'You look for a problem anywhere in the text, so that "-5+3" is 5+3. The whole text must be one.',
        ((_FOUND, "found = PROBLEM.search(text)"),),
    ),
    Mistake(
        "signs_taken", "a sign before a number is taken",
        'You take "-5+3" and "5+-3". A sign makes a text no problem: numbers begin at 0.',
        ((_PROBLEM, 're.compile(r" *[-+]?0*([0-9]{1,4}) *([-+*/]) *[-+]?0*([0-9]{1,4}) *")'),),
    ),
    Mistake(
        "other_scripts_read", "the digits of other scripts are read",
        "\\d in a regular expression, str.isdigit and int know the digits of all scripts. Only 0 to 9 count.",
        ((_PROBLEM, 're.compile(r" *0*(\\d{1,4}) *([-+*/]) *0*(\\d{1,4}) *")'),),
    ),
    Mistake(
        "refused_without_a_word", "a text is refused without a word",
        "Your ValueError has no message. Say what was found and what is allowed.",
        (("        raise ValueError(\n            f\"{text!r} is no problem; write two whole numbers "
          "and one of + - * /, such as 12*34.\"\n        )\n", "        raise ValueError\n"),),
    ),
    Mistake(
        "refused_after_eval", "a refused text leaves the model in eval mode",
        "You call model.eval() before the text is read, and the ValueError goes past the line that puts the "
        "mode back. Read the text first, or use try and finally.",
        ((_MODES + _EVAL, ""), ("    " + _FOUND, _MODES + _EVAL + "    " + _FOUND)),
    ),
    Mistake(
        "mode_left_in_eval", "the model is left in eval mode",
        "You call model.eval() and leave it so. Remember the mode, and put it back.",
        ((_RESTORE, ""),),
    ),
    Mistake(
        "mode_always_train", "the model is put into train mode",
        "model.train() at the end is right only for a model that was in train mode. Remember the mode.",
        ((_RESTORE, "    model.train()\n"),),
    ),
    Mistake(
        "decodes_in_train_mode", "the model is asked in the mode that it came in",
        "You never call model.eval(), so a model that comes from its training answers with dropout on.",
        ((_EVAL, ""),),
    ),
    Mistake(
        "gradients_recorded", "gradients are recorded while decoding",
        "Without torch.no_grad() every call keeps its activations for a backward pass that never comes.",
        ((_CALCULATE, "def calculate("),),
    ),
    Mistake(
        "attribute_left", "an attribute is left on the model",
        "You keep something on the model (model.answer = ..). It belongs to the caller.",
        ((_NUMBER, "        model.answer = answer\n" + _NUMBER),),
    ),
    Mistake(
        "model_frozen", "requires_grad of the weights is switched off",
        "You switch gradients off in the model itself, and they stay off. torch.no_grad() ends by itself.",
        ((_EVAL, _EVAL + "    model.requires_grad_(False)\n"),),
    ),
    Mistake(
        "tokens_without_device", "the prompt is made without a device",
        "torch.tensor is on the CPU unless you say otherwise. Pass the device of the model's parameters.",
        (("tokens = torch.tensor([[ID[character] for character in prompt]], device=device)",
          "tokens = torch.tensor([[ID[character] for character in prompt]])"),),
        devices=True,
    ),
)  # fmt: skip

_TRAIN = (
    Mistake(
        "returned_untrained", "another model is returned than the one that was trained",
        "What you return was never given to the optimizer: its weights are the first ones.",
        (("    model.to(device).train()\n",
          "    import copy\n\n    model.to(device).train()\n    untouched = copy.deepcopy(model)\n"),
         (_RETURN, "    return untouched\n")),
    ),
    Mistake(
        "nothing_returned", "train_calculator returns nothing",
        "There is no return at the end of train_calculator, so it gives None.",
        ((_RETURN, ""),),
    ),
    Mistake(
        "trained_on_all", "held-out problems are trained on too",
        "You draw problems in train_calculator from all pairs. Some of those are the ones that it is "
        "measured on.",
        ((_DRAWN, "least = RANGES[op].smallest_b\n            "
                  "numbers = torch.randint(least, 100, (2, rows[op]), "
                  "generator=generator)\n            x, y = make_batch([(i, op, j) for i, j in "
                  "zip(*numbers.tolist())])"),),
    ),
    Mistake(
        "trained_on_held_out", "only held-out problems are trained on",
        "train_calculator draws with sample_held_out, which is for measuring.",
        ((_DRAWN, "from data.arithmetic import sample_held_out\n\n            numbers = sample_held_out(op, "
                  "rows[op], generator)\n            x, y = make_batch([(i, op, j) for i, j in "
                  "zip(*(side.tolist() for side in numbers))])"),),
    ),
    Mistake(
        "problems_not_seeded", "the problems of training do not depend on the seed",
        "The first weights come from the seed, and the problems from a generator that does not.",
        ((_DRAWN, "other = torch.Generator().manual_seed(int(torch.randint(1 << 30, ())))\n            "
                  "x, y = make_batch(draw(op, rows[op], other))"),),
    ),
    Mistake(
        "seed_fixed", "the seed is your own",
        "You seed with a number of your own, so that every seed gives the same model. Take the argument.",
        ((_SEED, "generator = torch.Generator().manual_seed(1337)"),),
    ),
    Mistake(
        "seed_from_a_hash", "a seed is made with the hash of a string",
        'hash("..") is another number in every process. Make further seeds by arithmetic (seed + 1), and '
        'sort '
        "a set before you use it.",
        ((_SEED, 'generator = torch.Generator().manual_seed((hash("problems") + seed) % 2**31)'),),
    ),
    Mistake(
        "report_never_called", "report is never called",
        "Nothing is reported, so the progress bar stands still. Call report(step, loss) every few steps.",
        ((_REPORT, "pass"),),
    ),
    Mistake(
        "report_gets_a_tensor", "report is given a tensor",
        "You pass the loss as a tensor, which keeps its graph alive. loss.item() is the number.",
        ((_REPORT, "report(step + 1, loss)"),),
    ),
    Mistake(
        "report_swapped", "report is given the loss first",
        "report takes the step, then the loss.",
        ((_REPORT, "report(loss.item(), step + 1)"),),
    ),
)  # fmt: skip

_AREAS = {
    "encode": _ENCODE,
    "decode": _DECODE,
    "batch": _BATCHES,
    "sample": _SAMPLE,
    "calculate": _CALCULATES,
    "train": _TRAIN,
}
MISTAKES = tuple(replace(mistake, area=area) for area, group in _AREAS.items() for mistake in group)
