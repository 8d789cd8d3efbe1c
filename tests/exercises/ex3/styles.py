"""Other right ways to write exercise 3, in which its mistakes must keep their names: patches on
solutions/ex3_pretrain_finetune.py."""

from tests.exercises import Style

# Overlap.
_FOLD = 'return " ".join(text.split()).replace("Σ", "σ").lower()'
_WINDOWS = "    windows = {heldout[i : i + window] for i in range(len(heldout) - window + 1)}\n"
_SHARED = (
    '        if text[i : i + window] in windows:\n            shared[i : i + window] = b"\\1" * window\n'
)
BY_CHARACTER = ((_FOLD, 'return "".join(map(str.lower, " ".join(text.split())))'),)
BY_REGEX = (
    (_FOLD, 'return re.sub(r"\\s+", " ", text.strip()).replace("Σ", "σ").lower()'),
    ("import math\n", "import math\nimport re\n"),
)
HASHED = (
    (
        _WINDOWS,
        "    windows = set()\n"
        "    for end in range(window, len(heldout) + 1):\n"
        "        windows.add(heldout[end - window : end])\n",
    ),
    ('return "\\n".join(kept)', 'return "".join(f"\\n{line}" for line in kept)[1:]'),
)
COVERED = (
    ("    shared = bytearray(len(text))\n", "    covered, last = [0] * len(text), -1\n"),
    (
        _SHARED,
        "        if text[i : i + window] in windows:\n"
        "            for at in range(max(i, last), i + window):\n"
        "                covered[at] = 1\n"
        "            last = i + window\n",
    ),
    ("        if shared.find(1, start, end) < 0:\n", "        if not any(covered[start:end]):\n"),
)
SLICED = (
    (
        "    kept, start = [], 0\n    for line, of_text in zip(lines, folded):\n"
        "        end = start + len(of_text)\n",
        "    kept, start = [], 0\n    for number in range(len(lines)):\n"
        "        line, of_text = lines[number], folded[number]\n        end = start + len(of_text)\n",
    ),
    ('    lines = pretrain_text.split("\\n")\n', '    lines = re.split("\\n", pretrain_text)\n'),
    ("from collections.abc import Callable\n", "import re\nfrom collections.abc import Callable\n"),
)

# Transfers.
BY_INDEX_COPY = (
    (
        "            parameter[target_rows] = weight[source_rows]\n",
        "            rows = torch.tensor(target_rows, dtype=torch.long, device=parameter.device)\n"
        "            parameter.index_copy_(0, rows, weight[source_rows])\n",
    ),
    ("            parameter.copy_(weight)\n", "            parameter.data.copy_(weight)\n"),
)
ROW_BY_ROW = (
    (
        "            parameter[target_rows] = weight[source_rows]\n",
        "            for ours, theirs in zip(target_rows, source_rows):\n"
        "                parameter[ours].copy_(weight[theirs])\n",
    ),
    (
        "            parameter[:shorter] = weight[:shorter]\n",
        "            for row in range(shorter):\n                parameter[row] = weight[row]\n",
    ),
)
BY_STATE = (
    ("    weights = dict(pretrained.named_parameters())\n", "    weights = pretrained.state_dict()\n"),
    (
        "    row_of = {char: row for row, char in enumerate(source.chars)}\n",
        "    row_of = dict(zip(source.chars, range(len(source.chars))))\n",
    ),
    (
        "    return [char for char in target_tokenizer.chars if char not in row_of]\n",
        "    return sorted(set(target_tokenizer.chars) - set(source.chars))\n",
    ),
)
LISTED_PAIRS = (
    (
        "    pairs = [(row_of[c], row) for row, c in enumerate(target_tokenizer.chars) if c in row_of]\n"
        "    source_rows, target_rows = [pair[0] for pair in pairs], [pair[1] for pair in pairs]\n",
        "    source_rows, target_rows = [], []\n"
        "    for row, c in enumerate(target_tokenizer.chars):\n"
        "        if c in row_of:\n"
        "            source_rows.append(row_of[c])\n"
        "            target_rows.append(row)\n",
    ),
)

# Optimizers.
_GROUPS = (
    "    groups = [\n"
    '        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},\n'
    '        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},\n'
    "    ]\n"
    "    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)\n"
)
A_GROUP_EACH = (
    (
        _GROUPS,
        "    groups = []\n"
        "    for p in trainable:\n"
        '        groups.append({"params": [p], "weight_decay": weight_decay if p.dim() > 1 else 0.0})\n'
        "    return torch.optim.AdamW(groups, lr=lr)\n",
    ),
)
GROUP_ADDED = (
    (
        "    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)\n",
        "    optimizer = torch.optim.AdamW(groups[:1], lr=lr, amsgrad=True)\n"
        "    for group in groups[1:]:\n"
        "        optimizer.add_param_group(group)\n"
        "    return optimizer\n",
    ),
)
NAMED = (
    (
        "    trainable = [p for p in model.parameters() if p.requires_grad]\n",
        "    trainable = []\n"
        "    for _, p in model.named_parameters():\n"
        "        if p.requires_grad:\n"
        "            trainable.append(p)\n",
    ),
    ("betas=(0.9, 0.99), fused=True)\n\n\nWEIGHT_DECAY = 0.1", "foreach=True)\n\n\nWEIGHT_DECAY = 0.02"),
)

# Finetuning.
_SCHEDULE = '        for group in optimizer.param_groups:\n            group["lr"] = lr * rate(step, steps)\n'
_TAKEN = "        x, y = batches.take(batches.draw(batch_size(device)))\n"
_CLIP = "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
CONSTANT_RATE = (
    (_SCHEDULE, ""),
    (_CLIP, ""),
    ("        optimizer.zero_grad(set_to_none=True)\n", "        model.zero_grad()\n"),
    (
        "        if step % REPORT_EVERY == 0 or step == steps:\n",
        "        if not step % 10 or step == steps:\n",
    ),
)
OWN_BATCHES = (
    (
        "    batches, validation = Batches(tokens[:border], T, seed), tokens[border:]\n",
        "    training, validation = tokens[:border].long(), tokens[border:]\n"
        "    generator = torch.Generator().manual_seed(seed)\n",
    ),
    (
        _TAKEN,
        "        starts = torch.randint(len(training) - T, (16,), generator=generator).tolist()\n"
        "        x = torch.stack([training[start : start + T] for start in starts])\n"
        "        y = torch.stack([training[start + 1 : start + T + 1] for start in starts])\n",
    ),
)
SCHEDULED = (
    (_SCHEDULE, ""),
    (
        "    optimizer = finetune_optimizer(model, lr, WEIGHT_DECAY)\n",
        "    optimizer = finetune_optimizer(model, lr, WEIGHT_DECAY)\n"
        "    warm_up = lambda step: min(1.0, (step + 1) / 5)\n"
        "    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up)\n",
    ),
    ("        optimizer.step()\n", "        optimizer.step()\n        schedule.step()\n"),
)
STATE_COPIED = (
    (
        "        return {name: p.detach().clone() for name, p in model.named_parameters()}\n",
        "        return copy.deepcopy(model.state_dict())\n",
    ),
    ("import math\n", "import copy\nimport math\n"),
    ("EVALUATIONS = 10", "EVALUATIONS = 4"),
)
OWN_LOSS = (
    (
        "        _, loss = model(x, y)\n",
        "        logits, _ = model(x)\n"
        "        loss = nn.functional.cross_entropy(logits.transpose(1, 2), y.long())\n",
    ),
    ('    return 12 if device == "cpu" else 64\n', "    return 8\n"),
)

STYLES = (
    Style("by_character", BY_CHARACTER + BY_INDEX_COPY + A_GROUP_EACH + CONSTANT_RATE),
    Style("covered", COVERED + ROW_BY_ROW + NAMED + OWN_BATCHES),
    Style("by_regex", BY_REGEX + BY_STATE + GROUP_ADDED + SCHEDULED),
    Style("hashed", HASHED + LISTED_PAIRS + STATE_COPIED + OWN_LOSS),
    Style("sliced", SLICED + BY_INDEX_COPY + BY_STATE + OWN_BATCHES + SCHEDULED + NAMED),
    Style(
        "row_by_row",
        ROW_BY_ROW + LISTED_PAIRS + CONSTANT_RATE + STATE_COPIED + BY_CHARACTER,
        # No schedule writes over the optimizer's rate, so that finetune has a rate of its own as well.
        mends=("optimizer_lr_ignored",),
    ),
)
