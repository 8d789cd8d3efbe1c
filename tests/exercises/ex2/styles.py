"""Other right ways to write exercise 2, in which its mistakes must keep their names: patches on
solutions/ex2_addition.py."""

from tests.exercises import Style

# Numbers as text.
JOINED = (
    ("str(a + b).zfill(n_digits + 1)[::-1]", '"".join(reversed(str(a + b).rjust(n_digits + 1, "0")))'),
    (
        'return f"{a:0{n_digits}d}+{b:0{n_digits}d}={answer}"',
        'return "".join([str(a).zfill(n_digits), "+", str(b).zfill(n_digits), "=", answer])',
    ),
)
BY_DIVISION = (
    (
        "str(a + b).zfill(n_digits + 1)[::-1]",
        '"".join(str((a + b) // 10**k % 10) for k in range(n_digits + 1))',
    ),
    ("return int(digits[::-1])", "return sum(int(digit) * 10**k for k, digit in enumerate(digits))"),
)
ASCII_DIGITS = (
    (
        "if not digits or any(character not in DIGITS for character in digits):",
        "if not (digits.isascii() and digits.isdigit()):",
    ),
)

# Batches.
TEXT_DIGITS = (
    (
        "    powers = 10 ** torch.arange(count - 1, -1, -1, device=numbers.device)\n"
        "    return numbers[:, None] // powers % 10\n",
        '    texts = [f"{number:0{count}d}"[-count:] for number in numbers.tolist()]\n'
        "    rows = [[int(digit) for digit in text] for text in texts]\n"
        "    return torch.tensor(rows, dtype=torch.long, device=numbers.device).reshape(-1, count)\n",
    ),
)
DIGIT_BY_DIGIT = (
    (
        "    powers = 10 ** torch.arange(count - 1, -1, -1, device=numbers.device)\n"
        "    return numbers[:, None] // powers % 10\n",
        "    columns, left = [], numbers\n"
        "    for _ in range(count):\n"
        "        columns.append(left.remainder(10))\n"
        '        left = left.div(10, rounding_mode="floor")\n'
        "    return torch.stack(columns[::-1], dim=1)\n",
    ),
)
TARGETS_BY_WHERE = (
    ("    x, y = tokens[:, :-1], tokens[:, 1:].clone()\n", "    x, y = tokens[:, :-1], tokens[:, 1:]\n"),
    (
        "    y[:, : 2 * n_digits + 1] = -1\n",
        "    place = torch.arange(y.shape[1], device=y.device)\n"
        "    y = torch.where(place > 2 * n_digits, y, -1)\n",
    ),
)

# Losses.
_SUM = (
    '    total = F.cross_entropy(logits.reshape(flat.shape[0], -1), flat, ignore_index=-1, reduction="sum")\n'
)
_MEAN = "    return total / (flat != -1).sum().clamp(min=1)\n"
GATHERED = (
    (
        _SUM,
        "    log_p = F.log_softmax(logits.reshape(flat.shape[0], -1), dim=-1)\n"
        "    picked = log_p.gather(1, flat.clamp(min=0)[:, None])[:, 0]\n"
        "    total = -picked.masked_fill(flat < 0, 0.0).sum()\n",
    ),
)
IN_FLOAT64 = (
    (
        _SUM,
        "    log_p = logits.double().log_softmax(dim=-1).reshape(flat.shape[0], -1)\n"
        '    total = F.nll_loss(log_p, flat, ignore_index=-1, reduction="sum").to(logits.dtype)\n',
    ),
)
WEIGHTED = (
    (
        _SUM + _MEAN,
        "    weight = (flat != -1).to(logits.dtype)\n"
        '    each = F.cross_entropy(logits.reshape(len(flat), -1), flat.clamp(min=0), reduction="none")\n'
        "    return (each * weight).sum() / weight.sum().clamp(min=1)\n",
    ),
)

# Samples.
TWO_DRAWS = (
    (
        "pairs = torch.randint(0, 10**n_digits, (2, missing + missing // 4 + 8), generator=generator)",
        "more = (2 * missing + 5,)\n"
        "        first = torch.randint(10**n_digits, more, generator=generator)\n"
        "        pairs = torch.stack([first, torch.randint(10**n_digits, more, generator=generator)])",
    ),
)
ROWS_OF_PAIRS = (
    (
        "        pairs = pairs[:, ~is_held_out(pairs[0], pairs[1], n_digits)]\n",
        "        trained = is_held_out(pairs[0], pairs[1], n_digits).logical_not().nonzero()[:, 0]\n"
        "        pairs = pairs.index_select(1, trained)\n",
    ),
    ("torch.randint(0, 10**n_digits, (2, missing", "torch.randint(0, 10**n_digits, (2, 64 + missing"),
)

# Answers.
COPIED = (
    (
        "    modes = [(module, module.training) for module in model.modules()]\n    model.eval()\n",
        "    model = copy.deepcopy(model).eval()\n",
    ),
    ("    for module, training in modes:\n        module.training = training\n", ""),
    ("import math\n", "import copy\nimport math\n"),
)
DIGITS_ALONE = (
    (
        "following = logits[:, -1].argmax(dim=-1, keepdim=True)",
        "following = logits[:, -1, :10].topk(1, dim=-1).indices",
    ),
    ("@torch.no_grad()\ndef add(", "@torch.inference_mode()\ndef add("),
    (
        "    answer = tokens[:, 2 * n_digits + 2 :]  # (B, n + 1), the last digit first\n"
        "    return (answer * 10 ** torch.arange(n_digits + 1, device=a.device)).sum(dim=1)\n",
        "    answer = tokens[:, 2 * n_digits + 2 :]\n"
        "    number = torch.zeros_like(a)\n"
        "    for digit in answer.flip(1).unbind(1):\n"
        "        number = 10 * number + digit\n"
        "    return number\n",
    ),
)
IN_A_TABLE = (
    (
        '    tokens = x[:, : 2 * n_digits + 2]  # up to and with "=": what follows in x would give the '
        "answer away\n",
        "    problem = 2 * n_digits + 2\n"
        "    tokens = torch.cat([x[:, :problem], torch.zeros_like(x[:, : n_digits + 1])], dim=1)\n",
    ),
    ("    for _ in range(n_digits + 1):\n", "    for end in range(problem, tokens.shape[1]):\n"),
    ("logits, _ = model(tokens)", "logits, _ = model(tokens[:, :end])"),
    (
        "        tokens = torch.cat([tokens, following], dim=1)\n",
        "        tokens[:, end : end + 1] = following\n",
    ),
)

# Training.
SMALL = (
    ("n_layer=2, n_head=4, n_embd=64, dropout=0.0", "n_layer=1, n_head=2, n_embd=32, dropout=0.1"),
    ("    draw_weights(model, generator)\n", ""),
    ("    model = GPT(config)\n", "    torch.manual_seed(seed)\n    model = GPT(config)\n"),
    (
        "    optimizer = torch.optim.AdamW(\n"
        "        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.1, fused=True\n"
        "    )\n",
        "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)\n",
    ),
)
LARGE_BATCHES = (
    ("BATCH, LATER_BATCH = 96, 48", "BATCH, LATER_BATCH = 128, 32"),
    ("betas=(0.9, 0.99), weight_decay=0.1, fused=True", "foreach=True"),
    ("        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", ""),
    (
        "        logits, _ = model(x)\n        loss = masked_loss(logits, y)\n",
        "        loss = masked_loss(model(x)[0], y)\n",
    ),
    (
        "        optimizer.zero_grad(set_to_none=True)\n        loss.backward()\n",
        "        for parameter in model.parameters():\n"
        "            parameter.grad = None\n"
        "        loss.backward()\n",
    ),
    ("if (step + 1) % 10 == 0 or step + 1 == steps:", "if step % 5 == 4 or step == steps - 1:"),
)

# int of one character refuses a line end, and much of what it takes in a longer text.
BY_INT = ("decode_regex_end", "decode_with_int_alone")
ON_THE_COPY = ("attribute_left",)  # which nobody sees

STYLES = (
    Style("joined", JOINED + DIGIT_BY_DIGIT + GATHERED + TWO_DRAWS + COPIED, mends=ON_THE_COPY),
    Style("by_division", BY_DIVISION + TARGETS_BY_WHERE + IN_FLOAT64 + DIGITS_ALONE, mends=BY_INT),
    Style("small_model", ASCII_DIGITS + TEXT_DIGITS + WEIGHTED + SMALL),
    Style("in_a_table", IN_A_TABLE + ROWS_OF_PAIRS + LARGE_BATCHES),
    Style("gathered", GATHERED + ROWS_OF_PAIRS + SMALL + DIGITS_ALONE),
    Style("float64_loss", IN_FLOAT64 + TWO_DRAWS + TEXT_DIGITS + JOINED),
    Style("large_batches", LARGE_BATCHES + COPIED + BY_DIVISION, mends=BY_INT + ON_THE_COPY),
)
