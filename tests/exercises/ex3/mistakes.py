"""The catalogue of known mistakes of exercise 3: each a patch on solutions/ex3_pretrain_finetune.py."""

from dataclasses import replace

from tests.exercises import Mistake

# Lines of the solution that several mistakes change.
_FOLD = 'return " ".join(text.split()).replace("Σ", "σ").lower()'
_WINDOWS = "windows = {heldout[i : i + window] for i in range(len(heldout) - window + 1)}"
_LINES = 'lines = pretrain_text.split("\\n")'
_FOLDED = "folded = [fold(line) for line in lines]"
_TEXT = 'text = " ".join(line for line in folded if line)'
_STARTS = "for i in range(len(text) - window + 1):"
_IN = "if text[i : i + window] in windows:"
_MARK = 'shared[i : i + window] = b"\\1" * window'
_TEST = "if shared.find(1, start, end) < 0:"
_KEEP = "            kept.append(line)\n"
_KEPT = 'return "\\n".join(kept)'
_HELDOUT = "heldout = fold(heldout_text)"

_FIELDS = 'for field in ("n_layer", "n_embd", "n_head"):'
_ROW_OF = "row_of = {char: row for row, char in enumerate(source.chars)}\n"
_PAIRS = "pairs = [(row_of[c], row) for row, c in enumerate(target_tokenizer.chars) if c in row_of]"
_BY_CHARACTER = 'by_character = ("token_embedding_table.weight", "lm_head.weight", "lm_head.bias")'
_WEIGHTS = "    weights = dict(pretrained.named_parameters())\n"
_EACH = "    for name, parameter in target.named_parameters():\n"
_WEIGHT = "weight = weights[name].to(parameter)"
_ROWS = "parameter[target_rows] = weight[source_rows]"
_POSITION_ROWS = "parameter[:shorter] = weight[:shorter]"
_COPY = "            parameter.copy_(weight)\n"
_NEW = "    return [char for char in target_tokenizer.chars if char not in row_of]\n"

_TRAINABLE = "trainable = [p for p in model.parameters() if p.requires_grad]"
_MATRICES = '{"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},'
_OTHERS = '{"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},'
_ADAMW = "return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)"

_BORDER = "border, T = int(0.9 * len(text)), pretrained.config.block_size"
_SHORT = "if min(border, len(text) - border) < T + 1:"
_SEED = "    torch.manual_seed(seed)\n"
_TOKENIZER = "tokenizer = CharTokenizer.from_text(text)"
_MODEL = "model = GPT(replace(pretrained.config, vocab_size=tokenizer.vocab_size))"
_TRANSFER = "    transfer_weights(pretrained, source, model, tokenizer)\n"
_PARTS = "batches, validation = Batches(tokens[:border], T, seed), tokens[border:]"
_OPTIMIZER = "optimizer = finetune_optimizer(model, lr, WEIGHT_DECAY)"
_CLONE = "p.detach().clone()"
_FIRST = "best_loss, best = exhaustive_loss(model, validation), weights()"
_STEPS = "for step in range(1, steps + 1):"
_RATE = 'group["lr"] = lr * rate(step, steps)'
_TAKE = "x, y = batches.take(batches.draw(batch_size(device)))"
_ZERO = "        optimizer.zero_grad(set_to_none=True)\n"
_STEP = "        optimizer.step()\n"
_EVALUATED = "validation_loss = exhaustive_loss(model, validation)"
_BETTER = "if validation_loss < best_loss:"
_REPORT = "report(step, loss.item())"
_LOAD_BEST = "    model.load_state_dict(best)\n"
_RETURN = "return model, tokenizer"
_FINETUNE_DEF, _MAIN = "def finetune(\n", 'if __name__ == "__main__":'

_OVERLAP = (
    Mistake(
        "overlap_case_sensitive",
        "case is not ignored",
        "You compare the texts as they are, so a speech that one edition sets in capitals is not found. Fold "
        "both texts: str.lower.",
        ((_FOLD, 'return " ".join(text.split())'),),
    ),
    Mistake(
        "overlap_heldout_case",
        "the case of the held-out text is not ignored",
        "You lower the pretraining text alone. What is in capitals in the held-out text is never found: fold "
        "both in the same way.",
        ((_HELDOUT, 'heldout = " ".join(heldout_text.split())'),),
    ),
    Mistake(
        "overlap_casefold",
        "str.casefold is used instead of str.lower",
        "str.casefold also spells ß as ss, so that other words become the same, and a text longer than it "
        "was. Case is ignored by str.lower.",
        ((_FOLD, 'return " ".join(text.split()).casefold()'),),
    ),
    Mistake(
        "overlap_upper",
        "str.upper is used instead of str.lower",
        "str.upper writes ß as SS, and gives ı and i, ſ and s one capital, so that other words become the "
        "same. Case is ignored by str.lower.",
        ((_FOLD, 'return " ".join(text.split()).upper()'),),
    ),
    Mistake(
        "overlap_lower_whole",
        "a whole text is lowered at once",
        "str.lower of a whole text writes a capital Σ by its place: ς at the end of a word, σ elsewhere. So "
        "one letter becomes two, and a copy that "
        'ends elsewhere is not found. Lower each character by itself: "".join(map(str.lower, text)).',
        ((_FOLD, 'return " ".join(text.split()).lower()'),),
    ),
    Mistake(
        "overlap_whitespace_exact",
        "whitespace is compared as it is",
        "You compare spaces, tabs and newlines as they are, so that another indentation or line break hides "
        "a copy. Any run of whitespace counts as one space.",
        (
            (_FOLD, 'return text.replace("Σ", "σ").lower()'),
            (_TEXT, 'text = "\\n".join(folded)'),
            ("start = end + 1 if of_text else start", "start = end + 1"),
            (
                _TEST,
                "if not line.strip() or not any(shared[j] for j in range(start, end) if not "
                "text[j].isspace()):",
            ),
        ),
    ),
    Mistake(
        "overlap_whitespace_removed",
        "whitespace is removed instead of folded",
        'You take all whitespace away, so that "to get her" and "together" are the same. Any run of it '
        "counts as one space.",
        (
            (_FOLD, 'return "".join(text.split()).replace("Σ", "σ").lower()'),
            (_TEXT, 'text = "".join(folded)'),
            ("start = end + 1 if of_text else start", "start = end"),
        ),
    ),
    Mistake(
        "overlap_newlines_not_folded",
        "a newline is not whitespace",
        "You fold spaces and tabs inside of lines, and then join the lines with newlines: a run that another "
        "edition breaks elsewhere is not found. A newline is whitespace too, and counts as a space.",
        (
            (_TEXT, 'text = "\\n".join(line for line in folded if line)'),
            (_HELDOUT, 'heldout = "\\n".join(line for line in map(fold, heldout_text.split("\\n")) if line)'),
        ),
    ),
    Mistake(
        "overlap_whitespace_few",
        "only spaces, tabs and newlines are whitespace",
        "You fold spaces, tabs and newlines, and a carriage return or a no-break space stays as it is: a "
        "file with other line ends shares no run with its copy. str.isspace says what whitespace is, and "
        "str.split() uses it.",
        (
            (
                _FOLD,
                'return " ".join(part for part in text.replace("\\t", " ").replace("\\n", " ").split(" ") if '
                'part).replace("Σ", "σ").lower()',
            ),
        ),
    ),
    Mistake(
        "overlap_within_lines",
        "each line is compared by itself",
        "You look for runs inside of each line, and a line of verse is shorter than 50 characters: almost "
        "nothing is found. Runs may span lines, so fold the whole text, and remember where each line lies "
        "in it.",
        (
            (
                _IN,
                "if text[i : i + window] in windows and any(a <= i and i + window <= b for a, b in spans):",
            ),
            (
                _TEXT,
                'text = " ".join(line for line in folded if line)\n    spans, at = [], 0\n    for of in '
                "folded:\n        spans.append((at, at + len(of)))\n        at += len(of) + bool(of)",
            ),
        ),
    ),
    Mistake(
        "overlap_whole_lines",
        "only lines that the held-out text has whole are dropped",
        "You look up whole lines in the held-out text. What another edition breaks or spells otherwise at "
        "one end stays. Compare runs of characters.",
        ((_TEST, 'if not of_text or f" {of_text} " not in f" {heldout} " or len(of_text) < window:'),),
    ),
    Mistake(
        "overlap_words",
        "runs are made of words",
        "You compare words, so a run that begins or ends inside of one is missed, and punctuation may be "
        "lost. A run is `window` characters.",
        ((_IN, 'if (i == 0 or text[i - 1] == " ") and text[i : i + window] in windows:'),),
    ),
    Mistake(
        "overlap_no_punctuation",
        "punctuation is left out of the comparison",
        "You take punctuation away before you compare, so texts that differ in it count as the same. Only "
        "whitespace and case are folded.",
        (
            (
                _FOLD,
                'return " ".join("".join(c for c in text if c.isalnum() or c.isspace() or c in '
                '"<>[]").split()).replace("Σ", "σ").lower()',
            ),
        ),
    ),
    Mistake(
        "overlap_one_more",
        "a run takes one character too many",
        "You look for window + 1 characters, so that a run of exactly `window` is not found. Check the ends "
        "of your slices.",
        (("if window < 1:", "window += 1\n    if window < 2:"),),
    ),
    Mistake(
        "overlap_one_less",
        "a run takes one character too few",
        "You look for window - 1 characters: what shares no run is dropped. Check the ends of your slices.",
        (("if window < 1:", "window = max(window - 1, 1)\n    if window < 1:"),),
    ),
    Mistake(
        "overlap_fixed_window",
        "window is not used",
        "A run has 50 characters in your code whatever `window` says. Use the argument.",
        (("if window < 1:", "window = 50\n    if window < 1:"),),
    ),
    Mistake(
        "overlap_last_window",
        "the last window of the held-out text is forgotten",
        "There are len - window + 1 windows in a text, and your range makes one less: a run at the very end "
        "of the held-out text is missed.",
        ((_WINDOWS, _WINDOWS.replace("len(heldout) - window + 1", "len(heldout) - window")),),
    ),
    Mistake(
        "overlap_last_start",
        "the last window of the pretraining text is forgotten",
        "There are len - window + 1 windows in a text, and your range makes one less: a run at the very end "
        "of the pretraining text is missed.",
        ((_STARTS, "for i in range(len(text) - window):"),),
    ),
    Mistake(
        "overlap_short_tails",
        "slices shorter than a window count as runs",
        "Your ranges go to the ends of the texts, and the last slices there are shorter than `window`: two "
        "texts that both end in a full stop share one. There are len - window + 1 windows in a text.",
        (
            (_WINDOWS, "windows = {heldout[i : i + window] for i in range(len(heldout))}"),
            (_STARTS, "for i in range(len(text)):"),
            (_MARK, 'shared[i : i + window] = b"\\1" * len(text[i : i + window])'),
        ),
    ),
    Mistake(
        "overlap_strides_heldout",
        "only every window-th run of the held-out text is looked for",
        "You cut the held-out text into pieces of `window` characters. A copy rarely begins where a piece "
        "does: take the windows at every position.",
        (
            (
                _WINDOWS,
                "windows = {heldout[i : i + window] for i in range(0, len(heldout) - window + 1, window)}",
            ),
        ),
    ),
    Mistake(
        "overlap_strides_pretrain",
        "only every window-th position of the pretraining text is looked at",
        "You step through the pretraining text by whole windows. A copy begins anywhere: look at every "
        "position.",
        ((_STARTS, "for i in range(0, len(text) - window + 1, window):"),),
    ),
    Mistake(
        "overlap_skips_after_hit",
        "the windows that begin inside of a run are skipped",
        "After a hit you go on behind it. A copy that is longer than `window` by a few characters then keeps "
        "its end: the windows that begin inside of a run are runs too.",
        (
            (_STARTS, "i = -1\n    while (i := i + 1) <= len(text) - window:"),
            (_MARK, _MARK + "\n            i += window - 1"),
        ),
    ),
    Mistake(
        "overlap_start_only",
        "only the line in which a run begins is dropped",
        "You mark the first character of a run, so the lines in which it goes on stay. All of its characters "
        "count.",
        ((_MARK, "shared[i] = 1"),),
    ),
    Mistake(
        "overlap_end_only",
        "only the line in which a run ends is dropped",
        "You mark the last character of a run, so the lines in which it began stay. All of its characters "
        "count.",
        ((_MARK, "shared[i + window - 1] = 1"),),
    ),
    Mistake(
        "overlap_whole_lines_covered",
        "a line is dropped only where all of it is shared",
        "You drop a line when each of its characters lies in a run. One is enough: half a line of the "
        "held-out text is a leak too.",
        ((_TEST, "if not of_text or shared.find(0, start, end) >= 0:"),),
    ),
    Mistake(
        "overlap_first_only",
        "only the first run of each kind is dropped",
        "You forget a run once it has been found, so that the second copy of it stays. A corpus may hold a "
        "play twice.",
        ((_MARK, _MARK + "\n            windows.discard(text[i : i + window])"),),
    ),
    Mistake(
        "overlap_dropped_by_text",
        "a line is dropped wherever its text stands",
        "You collect the texts of the lines to drop, and drop every line that reads so, also where it lies "
        "in no run. A line goes for its place: keep indices.",
        (
            (_KEEP, _KEEP + "        else:\n            gone.add(line)\n"),
            ("kept, start = [], 0", "kept, start, gone = [], 0, set()"),
            (_KEPT, 'return "\\n".join(line for line in kept if line not in gone)'),
        ),
    ),
    Mistake(
        "overlap_newline_counts",
        "the line before a run is dropped for its newline",
        "A run may begin with a space that is the newline of the line before, and you drop that line. A line "
        "goes for one of its own characters that is not whitespace.",
        ((_TEST, "if not of_text or shared.find(1, start, end + 1) < 0:"),),
    ),
    Mistake(
        "overlap_next_line_counts",
        "the line after a run is dropped for the newline before it",
        "A run may end with a space that is the newline in front of the next line, and you drop that line. A "
        "line goes for one of its own characters that is not whitespace.",
        ((_TEST, "if not of_text or shared.find(1, max(start - 1, 0), end) < 0:"),),
    ),
    Mistake(
        "overlap_space_counts",
        "a line is dropped for a space that is shared",
        "With window = 1 the space by itself is a run, and you drop each line that has one. A line goes for "
        "a character that is not whitespace.",
        (('    windows.discard(" ")', '    windows.discard("")'),),
    ),
    Mistake(
        "overlap_blank_lines",
        "blank lines are dropped",
        "Whitespace-only lines disappear from your result. They have no character that could lie in a run, "
        "and a model learns from them where a speech ends.",
        ((_TEST, "if (line.strip() or line is lines[-1]) and shared.find(1, start, end) < 0:"),),
    ),
    Mistake(
        "overlap_blank_lines_inside",
        "blank lines inside of a run are dropped",
        "A blank line between two lines of a run goes with them. It has no character of its own that lies in "
        "the run: blank lines always stay.",
        (
            (
                _TEST,
                "if shared.find(1, start, end) < 0 and (of_text or not 0 < start < len(text) or not "
                "shared[start - 1]):",
            ),
        ),
    ),
    Mistake(
        "overlap_kept_folded",
        "the lines that stay are folded",
        "You return the folded lines, in lower case. Folding is for comparing; what stays is the text "
        "itself.",
        ((_KEEP, "            kept.append(of_text)\n"),),
    ),
    Mistake(
        "overlap_kept_stripped",
        "the lines that stay are stripped",
        "You strip the lines that stay. Their spaces and indentation are text to learn from: keep them as "
        "they are.",
        ((_KEEP, "            kept.append(line.strip())\n"),),
    ),
    Mistake(
        "overlap_kept_unique",
        "lines that stay are kept once",
        "You remove lines that come twice. That may be a good idea, but the contract does not ask for it: "
        "only what overlaps goes.",
        ((_KEPT, 'return "\\n".join(dict.fromkeys(kept))'),),
    ),
    Mistake(
        "overlap_kept_sorted",
        "the lines that stay are in another order",
        "Your lines come back sorted, perhaps by way of a set. The order is part of the text: keep it.",
        ((_KEPT, 'return "\\n".join(sorted(kept[:-1]) + kept[-1:])'),),
    ),
    Mistake(
        "overlap_returns_dropped",
        "what is dropped is returned",
        "You return the lines that share a run, and not the others. Check the condition under which a line "
        "is kept.",
        ((_TEST, "if shared.find(1, start, end) >= 0 or line is lines[-1]:"),),
    ),
    Mistake(
        "overlap_cuts_runs",
        "runs are cut out of their lines",
        "You take the shared characters out and keep the pieces around them, which are no sentences any "
        "more. The whole line goes.",
        (
            (
                _TEST,
                'if shared.find(1, start, end) >= 0:\n            kept.append("".join(c for j, c in '
                "enumerate(of_text, start) if not shared[j]))\n        else:",
            ),
        ),
    ),
    Mistake(
        "overlap_last_newline",
        "a newline is added after the last line",
        "Each line gets a newline, also a last one that had none. Keep the line ends that are there.",
        (
            (
                _KEPT,
                'return "".join(line + "\\n" for line in kept if line or kept[-1:] != [line] or '
                'pretrain_text.endswith("\\n\\n"))',
            ),
        ),
    ),
    Mistake(
        "overlap_splitlines",
        "lines end at more than a newline",
        "str.splitlines also splits at carriage returns, form feeds and a handful of Unicode's separators. "
        "Here a line ends at \\n: "
        'split("\\n").',
        (
            (
                _LINES,
                'lines, ends = [], []\n    for part in pretrain_text.splitlines(keepends=True) + [""] * '
                'pretrain_text.endswith("\\n"):\n        lines.append(part.removesuffix("\\n"))\n        '
                "ends.append(part[len(lines[-1]):])",
            ),
            (
                _KEEP,
                '            kept.append(line + (ends[len(seen)] if len(seen) < len(ends) else ""))\n        '
                "seen.append(line)\n",
            ),
            ("kept, start = [], 0", "kept, start, seen = [], 0, []"),
            (_KEPT, 'return "".join(kept)'),
        ),
    ),
    Mistake(
        "overlap_quadratic",
        "each window is searched for in the whole held-out text",
        "`in` on a string reads it from its beginning, each time: with 83 million windows and a million "
        "characters that takes weeks. In a set of windows each look-up takes the same short time.",
        ((_IN, "if text[i : i + window] in heldout:"),),
    ),
    Mistake(
        "overlap_splits_again",
        "the text is split at its first newline again and again",
        "Each partition or slice copies all that is left of the text, so that time grows with the square of "
        "its length: a corpus of two million lines "
        'takes days. text.split("\\n") goes through it once.',
        (
            (
                _LINES,
                'lines, left = [], pretrain_text\n    while "\\n" in left:\n        line, _, left = '
                'left.partition("\\n")\n        lines.append(line)\n    lines.append(left)',
            ),
        ),
    ),
    Mistake(
        "overlap_nothing",
        "nothing is removed",
        "The pretraining text comes back as it was. Which lines share a run with the held-out text?",
        ((_IN, "if False:"),),
    ),
    Mistake(
        "overlap_returns_list",
        "the lines are returned as a list",
        "remove_overlap returns a str: join the lines that stay.",
        ((_KEPT, "return kept"),),
    ),
)

_ROWS_BY_INDEX = (
    "if parameter.shape != weight.shape:\n                rows = min(len(parameter), len(weight))\n          "
    "      parameter[:rows] = weight[:rows]\n            else:\n                parameter.copy_(weight)"
)

_TRANSFERS = (
    Mistake(
        "frozen_not_transferred",
        "what is frozen in the target is not transferred",
        "You leave out parameters whose requires_grad is False. It says what training may change; a "
        "transfer copies every parameter.",
        ((_EACH, _EACH + "        if not parameter.requires_grad:\n            continue\n"),),
    ),
    Mistake(
        "rows_by_index",
        "rows go by their number instead of their character",
        "Row 5 of the source goes to row 5 of the target, which is another character there: the model reads "
        "with the letters mixed up. Find out for each character of the target which id it has in the source.",
        ((_ROWS, _ROWS_BY_INDEX),),
    ),
    Mistake(
        "output_by_index",
        "the rows of lm_head go by their number",
        "The embedding goes by character, and the output does not: the model reads right and writes other "
        "letters. lm_head.weight and lm_head.bias have a row per character too.",
        (
            (
                _ROWS,
                'rows = (target_rows, source_rows) if name.startswith("token") else '
                "(range(min(len(parameter), len(weight))),) * 2\n"
                "            parameter[list(rows[0])] = weight[list(rows[1])]",
            ),
        ),
    ),
    Mistake(
        "bias_by_index",
        "the bias of lm_head goes by its number",
        "Rows go by character, and the bias of lm_head does not: it holds how often each character comes, "
        "and now holds it for other characters.",
        (
            (
                _ROWS,
                'rows = (target_rows, source_rows) if name != "lm_head.bias" else (range(min(len(parameter), '
                "len(weight))),) * 2\n"
                "            parameter[list(rows[0])] = weight[list(rows[1])]",
            ),
        ),
    ),
    Mistake(
        "rows_swapped",
        "source and target are swapped in the rows",
        "You write the row of the target's id in the source to the source's id in the target. For each "
        "character: target[its id there] = source[its id here].",
        (
            (
                _ROWS,
                "for a, b in zip(target_rows, source_rows):\n                if a < len(weight) and b < "
                "len(parameter):\n                    parameter[b] = weight[a]",
            ),
        ),
    ),
    Mistake(
        "embedding_forgotten",
        "the embedding is not transferred",
        "The rows of token_embedding_table stay as they were: the blocks get vectors that they have never "
        "seen.",
        (
            (
                _ROWS,
                'if not name.startswith("token"):\n                parameter[target_rows] = '
                "weight[source_rows]",
            ),
        ),
    ),
    Mistake(
        "output_forgotten",
        "lm_head is not transferred",
        "The rows of lm_head and its bias stay as they were: what the blocks have worked out is read off by "
        "an untrained layer.",
        (
            (
                _ROWS,
                'if not name.startswith("lm_head"):\n                parameter[target_rows] = '
                "weight[source_rows]",
            ),
        ),
    ),
    Mistake(
        "output_rows_forgotten",
        "the rows of lm_head are not transferred",
        "Its bias goes over, and its weight does not. Each character has a row there, as in the embedding.",
        (
            (
                _ROWS,
                'if name != "lm_head.weight":\n                parameter[target_rows] = weight[source_rows]',
            ),
        ),
    ),
    Mistake(
        "bias_forgotten",
        "the bias of lm_head is not transferred",
        "lm_head is a Linear with a bias, a number per character: how often it comes. It goes by character "
        "like the rows.",
        (
            (
                _ROWS,
                'if name != "lm_head.bias":\n                parameter[target_rows] = weight[source_rows]',
            ),
        ),
    ),
    Mistake(
        "positions_forgotten",
        "positions are not transferred",
        "The position table stays fresh, so that the model has to learn again what the place of a token "
        "means. Copy it up to the shorter table.",
        ((_POSITION_ROWS, "pass"),),
    ),
    Mistake(
        "positions_only_if_equal",
        "positions are transferred only between tables of one length",
        "Where block_size differs you leave the position table out. Its first rows mean the same in both: "
        "copy up to the shorter one.",
        ((_POSITION_ROWS, "if len(parameter) == len(weight):\n                parameter.copy_(weight)"),),
    ),
    Mistake(
        "positions_from_the_end",
        "positions are lined up at the end",
        "You copy the last rows of the position table. Row i is position i, counted from the beginning, in "
        "both tables.",
        ((_POSITION_ROWS, "parameter[-shorter:] = weight[-shorter:]"),),
    ),
    Mistake(
        "positions_zeroed",
        "positions beyond the source's table are set to 0",
        "What the shorter table does not have stays as it is in the target; zeros make all far positions "
        "look alike.",
        ((_POSITION_ROWS, "parameter.zero_()\n            parameter[:shorter] = weight[:shorter]"),),
    ),
    Mistake(
        "blocks_forgotten",
        "the blocks are not transferred",
        "Rows and positions go over, and the blocks stay fresh: they are where nearly all has been learned.",
        ((_COPY, "            pass\n"),),
    ),
    Mistake(
        "first_block_only",
        "only the first block is transferred",
        "Blocks beyond blocks.0 stay fresh. Go through all of them.",
        (
            (
                _COPY,
                '            if not name.startswith("blocks.") or name.startswith("blocks.0."):\n            '
                "    parameter.copy_(weight)\n",
            ),
        ),
    ),
    Mistake(
        "last_norm_forgotten",
        "ln_f is not transferred",
        "The norm after the blocks, ln_f, stays fresh. Its gain and bias were learned with all other "
        "weights.",
        ((_COPY, '            if not name.startswith("ln_f"):\n                parameter.copy_(weight)\n'),),
    ),
    Mistake(
        "matrices_only",
        "biases and norms are not transferred",
        "You copy parameters of two dimensions, and the biases and norms inside of the blocks stay fresh. "
        "Copy every parameter.",
        ((_COPY, "            if parameter.ndim >= 2:\n                parameter.copy_(weight)\n"),),
    ),
    Mistake(
        "new_characters_zeroed",
        "new characters get rows of zeros",
        "You clear the rows before you write. Characters that the source does not know must keep their fresh "
        "weights: with equal rows no gradient could ever tell them apart.",
        ((_ROWS, "parameter.zero_()\n            parameter[target_rows] = weight[source_rows]"),),
    ),
    Mistake(
        "new_characters_mean",
        "new characters get the mean of the others",
        "A known trick, and another contract: characters that the source does not know keep their fresh "
        "weights here.",
        (
            (
                _ROWS,
                "parameter.copy_(weight.mean(dim=0).expand_as(parameter))\n            "
                "parameter[target_rows] = weight[source_rows]",
            ),
        ),
    ),
    Mistake(
        "returns_known",
        "the characters that both know are returned",
        "Your list holds what was found. It must hold what was not: the characters that only the target "
        "knows.",
        ((_NEW, "    return [char for char in target_tokenizer.chars if char in row_of]\n"),),
    ),
    Mistake(
        "returns_unused",
        "the characters that only the source knows are returned",
        "Your list holds what was left over in the source. It must hold the characters that only the target "
        "knows: these have fresh weights.",
        ((_NEW, "    return [char for char in source.chars if char not in target_tokenizer.chars]\n"),),
    ),
    Mistake(
        "returns_ids",
        "ids are returned instead of characters",
        "An id means nothing without its tokenizer. The list holds characters.",
        (
            (
                _NEW,
                "    return [row for row, char in enumerate(target_tokenizer.chars) if char not in row_of]\n",
            ),
        ),
    ),
    Mistake(
        "returns_nothing",
        "no list is returned",
        "transfer_weights returns the characters that only the target knows; yours returns None.",
        ((_NEW, ""),),
    ),
    Mistake(
        "returns_without_whitespace",
        "new whitespace characters are not returned",
        "Your list leaves out a new newline or space, perhaps by strip or split. They are characters with "
        "rows like all others.",
        (
            (
                _NEW,
                "    return [char for char in target_tokenizer.chars if char not in row_of and "
                "char.strip()]\n",
            ),
        ),
    ),
    Mistake(
        "returns_set",
        "a set is returned",
        "The contract says a list, in any order. sorted(..) makes one.",
        ((_NEW, "    return {char for char in target_tokenizer.chars if char not in row_of}\n"),),
    ),
    Mistake(
        "storage_shared",
        "both models share their memory",
        "Assigning parameter.data passes the tensor on: training the target then trains the pretrained model "
        "too. copy_ writes the numbers.",
        ((_COPY, "            parameter.data = weight.detach()\n"),),
    ),
    Mistake(
        "parameters_replaced",
        "the target gets new parameter objects",
        "You put new Parameters into the target. An optimizer that was made before holds the old ones, and "
        "trains parameters that are no longer used. Write in place, with copy_.",
        (
            (
                _COPY,
                '            holder, _, last = name.rpartition(".")\n            new = '
                "nn.Parameter(weight.clone(), parameter.requires_grad)\n"
                "            new.grad = parameter.grad\n            setattr(target.get_submodule(holder), "
                "last, new)\n",
            ),
            (_EACH, "    for name, parameter in list(target.named_parameters()):\n"),
        ),
    ),
    Mistake(
        "source_in_eval",
        "the pretrained model is put into eval mode",
        "You call pretrained.eval(), which copying does not need, and training it further then has no "
        "dropout.",
        ((_WEIGHTS, "    pretrained.eval()\n" + _WEIGHTS),),
    ),
    Mistake(
        "source_frozen",
        "the pretrained model is frozen",
        "You call requires_grad_(False) on the pretrained model. Under torch.no_grad() nothing needs to be "
        "frozen to be copied.",
        ((_WEIGHTS, "    pretrained.requires_grad_(False)\n" + _WEIGHTS),),
    ),
    Mistake(
        "source_gradients_lost",
        "the gradients of the pretrained model are cleared",
        "You call zero_grad on the pretrained model. It is left as it was, gradients included.",
        ((_WEIGHTS, "    pretrained.zero_grad()\n" + _WEIGHTS),),
    ),
    Mistake(
        "source_config_replaced",
        "the pretrained model gets the target's config",
        "You assign to pretrained.config, and from then on it says another vocabulary or length than the "
        "model has. Nothing of the pretrained model changes.",
        ((_WEIGHTS, "    pretrained.config = target.config\n" + _WEIGHTS),),
    ),
    Mistake(
        "source_dropout_off",
        "the transfer switches off the dropout of the pretrained model",
        "You set p of every nn.Dropout in the pretrained model to 0. Copying needs no forward pass, and "
        "training it further then has no dropout.",
        (
            (
                _WEIGHTS,
                "    for module in pretrained.modules():\n        if isinstance(module, nn.Dropout):\n       "
                "     module.p = 0.0\n" + _WEIGHTS,
            ),
        ),
    ),
    Mistake(
        "source_tokenizer_extended",
        "new characters are added to the source's tokenizer",
        "You append what the target knows to source.chars: the tokenizer then has more ids than its model "
        "has rows. Both tokenizers are left as they were; a dict of your own is enough.",
        (
            (
                _ROW_OF,
                _ROW_OF + "    known, source.chars = source.chars, source.chars + tuple(c for c in "
                "target_tokenizer.chars if c not in row_of)\n",
            ),
        ),
    ),
    Mistake(
        "same_vocabulary_shared",
        "where the vocabularies are the same, the blocks are handed on",
        "For two equal vocabularies you take a short cut, and the target gets the pretrained model's own "
        "blocks: training the one then trains the other. Equal vocabularies need no case of their own; copy "
        "as for all others.",
        (
            (
                _WEIGHTS,
                _WEIGHTS + "    if source.chars == target_tokenizer.chars:\n        target.blocks = "
                "pretrained.blocks\n",
            ),
        ),
    ),
    Mistake(
        "same_vocabulary_state_dict",
        "where the vocabularies are the same, the whole state is loaded",
        "For two equal vocabularies you take a short cut by load_state_dict, which refuses position tables "
        "of different lengths. Equal vocabularies need no case of their own; copy as for all others.",
        (
            (
                _WEIGHTS,
                "    if source.chars == target_tokenizer.chars:\n        "
                "target.load_state_dict(pretrained.state_dict())\n        return []\n" + _WEIGHTS,
            ),
        ),
    ),
    Mistake(
        "returns_nothing_if_same",
        "no list is returned where nothing is new",
        "Where the target has no new character you return None. An empty list is a list: [].",
        ((_NEW, _NEW.replace("row_of]\n", "row_of] or None\n")),),
    ),
    Mistake(
        "source_overwritten",
        "the pretrained model is written to",
        "Your copy goes the wrong way for some weights: the pretrained model is changed. copy_ writes into "
        "the tensor on its left.",
        ((_COPY, "            weights[name].copy_(parameter)\n"),),
    ),
    Mistake(
        "target_in_eval",
        "the target is put into eval mode",
        "You call target.eval(): training would then go on without dropout. The mode is the caller's.",
        ((_EACH, "    target.eval()\n" + _EACH),),
    ),
    Mistake(
        "target_frozen",
        "the target is frozen",
        "The target's parameters come back with requires_grad False (or all of them with True). Only numbers "
        "go over.",
        ((_EACH, "    target.requires_grad_(False)\n" + _EACH),),
    ),
    Mistake(
        "depth_unchecked",
        "another depth is not refused",
        "With more or fewer layers some blocks have no partner, and your code copies what fits. The contract "
        "asks for a ValueError.",
        (
            (_FIELDS, 'for field in ("n_embd", "n_head"):'),
            (
                _WEIGHT,
                "if name not in weights:\n            continue\n        weight = weights[name].to(parameter)",
            ),
        ),
    ),
    Mistake(
        "heads_unchecked",
        "another number of heads is not refused",
        "Width and depth can be the same with other heads: blocks.0.attention.heads.0 then has another "
        "shape, or is not there. Compare n_head too, and raise a ValueError.",
        ((_FIELDS, 'for field in ("n_layer", "n_embd"):'),),
    ),
    Mistake(
        "shapes_skipped",
        "parameters that do not fit are skipped silently",
        "You copy the parameters whose name and shape agree and pass over the others. A model that is half "
        "transferred looks like one that learns badly: raise a ValueError.",
        (
            (_FIELDS, "for field in ():"),
            (
                _WEIGHT,
                "if name not in weights or weights[name].shape[1:] != parameter.shape[1:]:\n            "
                "continue\n"
                '        if name not in by_character and name != "position_embedding_table.weight" and '
                "weights[name].shape != parameter.shape:\n"
                "            continue\n        weight = weights[name].to(parameter)",
            ),
        ),
    ),
    Mistake(
        "another_error",
        "another exception than ValueError is raised",
        "You refuse sizes that differ with an assert, which python -O takes away. The contract names a "
        "ValueError.",
        (
            (
                '            raise ValueError(\n                f"{field}',
                '            raise AssertionError(\n                f"{field}',
            ),
        ),
    ),
    Mistake(
        "partly_written",
        "weights are written before the ValueError",
        "You compare sizes on the way, when some weights have been written: the target is then neither fresh "
        "nor transferred. Compare first.",
        ((_FIELDS, "target.token_embedding_table.weight.zero_()\n    " + _FIELDS),),
    ),
)

_OPTIMIZERS = (
    Mistake(
        "decay_everywhere",
        "biases and norms decay too",
        "All parameters are in one group with weight_decay. Split them: decay for two or more dimensions, "
        "none for the others.",
        ((_OTHERS, _OTHERS.replace("0.0", "weight_decay")),),
    ),
    Mistake(
        "decay_nowhere",
        "nothing decays",
        "weight_decay is 0 in every group. Parameters of two or more dimensions get the one that was asked "
        "for.",
        ((_MATRICES, _MATRICES.replace("weight_decay}", "0.0}")),),
    ),
    Mistake(
        "decay_swapped",
        "the two groups are swapped",
        "Biases and norms decay in your optimizer, and matrices do not. Check the condition.",
        ((_MATRICES, _MATRICES.replace(">= 2", "< 2")), (_OTHERS, _OTHERS.replace("< 2", ">= 2"))),
    ),
    Mistake(
        "decay_default",
        "the groups have AdamW's own decay",
        "A group without weight_decay gets AdamW's default, 0.01. Give it the one that was asked for.",
        ((_MATRICES, '{"params": [p for p in trainable if p.ndim >= 2]},'),),
    ),
    Mistake(
        "decay_zero_ignored",
        "a decay of 0 is taken for none given",
        'With weight_decay = 0.0 "if weight_decay:" does not hold, and the group gets AdamW\'s default, '
        "0.01. Pass on what was asked for, 0 too.",
        (
            (
                _MATRICES,
                '{"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay or 0.01},',
            ),
        ),
    ),
    Mistake(
        "decay_two_dimensions_only",
        "only what has exactly two dimensions decays",
        "You ask for ndim == 2. A part of another GPT may hold a parameter of three dimensions, for all "
        "heads in one: it decays as well, ndim >= 2.",
        ((_MATRICES, _MATRICES.replace(">= 2", "== 2")), (_OTHERS, _OTHERS.replace("< 2", "!= 2"))),
    ),
    Mistake(
        "decay_norms",
        "norms decay, since only names with bias are left out",
        'You recognise parameters by "bias" in their name, and the gain of a norm is called weight. Go '
        "by the number of dimensions: it has one.",
        (
            (_TRAINABLE, _TRAINABLE + "\n    named = {id(p): n for n, p in model.named_parameters()}"),
            (_MATRICES, _MATRICES.replace("p.ndim >= 2", '"bias" not in named[id(p)]')),
            (_OTHERS, _OTHERS.replace("p.ndim < 2", '"bias" in named[id(p)]')),
        ),
    ),
    Mistake(
        "tables_without_decay",
        "embeddings do not decay",
        "You leave the embedding tables out of decay, as some recipes do. Here every parameter of two or "
        "more dimensions decays, tables too.",
        (
            (
                _TRAINABLE,
                _TRAINABLE
                + '\n    tables = {id(p) for n, p in model.named_parameters() if "embedding" in n}',
            ),
            (_MATRICES, _MATRICES.replace("p.ndim >= 2", "p.ndim >= 2 and id(p) not in tables")),
            (_OTHERS, _OTHERS.replace("p.ndim < 2", "p.ndim < 2 or id(p) in tables")),
        ),
    ),
    Mistake(
        "positions_without_decay",
        "the position table does not decay",
        "You leave the position table out of decay. It has two dimensions, and decays like every matrix.",
        (
            (
                _TRAINABLE,
                _TRAINABLE + '\n    tables = {id(p) for n, p in model.named_parameters() if "position" in n}',
            ),
            (_MATRICES, _MATRICES.replace("p.ndim >= 2", "p.ndim >= 2 and id(p) not in tables")),
            (_OTHERS, _OTHERS.replace("p.ndim < 2", "p.ndim < 2 or id(p) in tables")),
        ),
    ),
    Mistake(
        "frozen_included",
        "frozen parameters are in the optimizer",
        "Parameters with requires_grad False are in your groups. They have no gradient, and some "
        "optimizers would still decay them. Leave them out.",
        ((_TRAINABLE, "trainable = list(model.parameters())"),),
    ),
    Mistake(
        "small_parameters_missing",
        "biases and norms are in no group",
        "Only parameters of two or more dimensions are in your optimizer: the others are never trained. They "
        "need a group of their own, without decay.",
        (("    return torch.optim.AdamW(groups", "    return torch.optim.AdamW(groups[:1]"),),
    ),
    Mistake(
        "shared_parameter_twice",
        "a parameter that two modules share is in the optimizer twice",
        "You go through the modules, or through names without leaving out duplicates: a parameter that two "
        "modules share, as a tied lm_head does, is then listed twice. model.parameters() lists it once.",
        (
            (
                _TRAINABLE,
                "trainable = [p for _, p in model.named_parameters(remove_duplicate=False) if "
                "p.requires_grad]",
            ),
        ),
    ),
    Mistake(
        "only_known_modules",
        "only Linears, Embeddings and LayerNorms are gone through",
        "You take the parameters of the modules that you list. A part of another GPT may hold a parameter of "
        "its own, and that is never trained: go through model.parameters().",
        (
            (
                _TRAINABLE,
                "listed = {id(p) for m in model.modules() if isinstance(m, (nn.Linear, nn.Embedding, "
                "nn.LayerNorm)) for n, p in m.named_parameters() "
                'if n in ("weight", "bias")}\n    trainable = [p for p in model.parameters() if '
                "p.requires_grad and id(p) in listed]",
            ),
        ),
    ),
    Mistake(
        "head_missing",
        "lm_head is in no group",
        "The output layer is not in your optimizer. Go through all parameters of the model, not through its "
        "blocks.",
        (
            (
                _TRAINABLE,
                "trainable = [p for n, p in model.named_parameters() if p.requires_grad and not "
                'n.startswith("lm_head")]',
            ),
        ),
    ),
    Mistake(
        "blocks_only",
        "only the blocks are in the optimizer",
        "You take model.blocks.parameters(): embeddings, positions, ln_f and lm_head are never trained.",
        ((_TRAINABLE, "trainable = [p for p in model.blocks.parameters() if p.requires_grad]"),),
    ),
    Mistake(
        "optimizer_adam",
        "it is an Adam",
        "In torch.optim.Adam decay is added to the gradient and then divided by its size, so that it hardly "
        "works. AdamW decays the weights themselves.",
        ((_ADAMW, "return torch.optim.Adam(groups, lr=lr, betas=(0.9, 0.99))"),),
    ),
    Mistake(
        "optimizer_sgd",
        "it is an SGD",
        "The contract asks for torch.optim.AdamW.",
        ((_ADAMW, "return torch.optim.SGD(groups, lr=lr)"),),
    ),
    Mistake(
        "optimizer_lr_ignored",
        "the learning rate is AdamW's own",
        "lr is not passed on, so that every group has 0.001. A finetuning rate that is ignored is the rate "
        "of pretraining.",
        ((_ADAMW, "return torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)"),),
    ),
    Mistake(
        "optimizer_two_rates",
        "the second group has another learning rate",
        "One group has a learning rate of its own. All have the one that was asked for.",
        ((_OTHERS, _OTHERS.replace('"weight_decay": 0.0', '"weight_decay": 0.0, "lr": lr * 0.1')),),
    ),
    Mistake(
        "optimizer_kept",
        "the optimizer of an earlier call is used again",
        "You keep the optimizer, with its averages of the gradients of pretraining: its first updates go "
        "where the old task wanted to go. Make a new one.",
        (
            (
                _ADAMW,
                'if not hasattr(model, "optimizer"):\n        model.optimizer = torch.optim.AdamW(groups, '
                "lr=lr, betas=(0.9, 0.99), fused=True)\n"
                "    for group, new in zip(model.optimizer.param_groups, groups):\n        "
                'group.update(lr=lr, weight_decay=new["weight_decay"])\n'
                "    return model.optimizer",
            ),
        ),
    ),
)

_FINETUNE = (
    Mistake(
        "tokenizer_of_training_part",
        "the tokenizer is made of the training part",
        "A character that only the validation text has is then unknown, and encoding that text fails. The "
        "tokenizer covers the whole text.",
        ((_TOKENIZER, "tokenizer = CharTokenizer.from_text(text[:border])"),),
    ),
    Mistake(
        "tokenizer_of_source",
        "the pretrained tokenizer is used for the text",
        "You encode the text with the source's tokenizer, which does not know all of its characters. The "
        "text needs a tokenizer of its own.",
        ((_TOKENIZER, "tokenizer = source"),),
    ),
    Mistake(
        "source_returned",
        "the pretrained tokenizer is returned",
        "What you return does not decode what the model writes: the model's ids are those of the new "
        "tokenizer.",
        ((_RETURN, "return model, source"),),
    ),
    Mistake(
        "model_alone_returned",
        "the tokenizer is not returned",
        "finetune returns two things: the model and its tokenizer. Without the tokenizer the model's ids "
        "mean nothing.",
        ((_RETURN, "return model"),),
    ),
    Mistake(
        "returned_in_other_order",
        "tokenizer and model are swapped",
        "finetune returns (model, tokenizer).",
        ((_RETURN, "return tokenizer, model"),),
    ),
    Mistake(
        "config_default",
        "the model has sizes of its own",
        "You build the new model with another dropout or block_size than the pretrained one has. Its config "
        "is pretrained.config with the new vocab_size: dataclasses.replace.",
        ((_MODEL, "model = GPT(replace(pretrained.config, vocab_size=tokenizer.vocab_size, dropout=0.0))"),),
    ),
    Mistake(
        "parts_of_its_own",
        "the model has a feed-forward part of its own",
        "You built the GPT with another activation. With the same weights a GPT with default parts gives "
        "other numbers, and that is what is measured.",
        (
            (
                _MODEL,
                "from gpt_core import FeedForward\n\n    def gelu(config):\n        part = "
                "FeedForward(config)\n        part.net[1] = nn.GELU()\n        return part\n\n    model = "
                "GPT(replace(pretrained.config, vocab_size=tokenizer.vocab_size), feed_forward=gelu)",
            ),
        ),
    ),
    Mistake(
        "not_transferred",
        "nothing is transferred",
        "The model that you train starts from fresh weights: pretraining plays no part. Call "
        "transfer_weights before the training.",
        ((_TRANSFER, ""),),
    ),
    Mistake(
        "transferred_with_source_tokenizer",
        "transfer_weights is given the source's tokenizer twice",
        "You pass `source` as the target's tokenizer, so rows go to the ids that characters have in the "
        "source. The target's ids are those of the new tokenizer.",
        (
            (
                _TRANSFER,
                "    rows = min(len(source.chars), tokenizer.vocab_size)\n    transfer_weights(pretrained, "
                "CharTokenizer(source.chars), model, CharTokenizer(source.chars[:rows]))\n",
            ),
        ),
    ),
    Mistake(
        "initialised_afterwards",
        "the model is initialised after the transfer",
        "You draw fresh weights when the pretrained ones are in: some of them are overwritten. Initialise "
        "first, transfer then.",
        (
            (
                _TRANSFER,
                _TRANSFER
                + "    from gpt_core.models import init_weights\n\n    model.blocks.apply(init_weights)\n",
            ),
        ),
    ),
    Mistake(
        "steps_one_less",
        "one update too few is made",
        "range(1, steps) has steps - 1 numbers. Budgets that differ by one make no honest comparison.",
        (
            (_STEPS, "for step in range(1, steps):"),
            ("or step == steps:\n            report", "or step >= steps - 1:\n            report"),
            (_LOAD_BEST, _LOAD_BEST + "    report(steps, 0.0)\n"),
        ),
    ),
    Mistake(
        "steps_one_more",
        "one update too many is made",
        "range(steps + 1) has steps + 1 numbers, and a second optimizer.step() after the loop is an update "
        "too. Budgets that differ by one make no honest comparison.",
        ((_STEPS, "for step in range(1, steps + 2):"),),
    ),
    Mistake(
        "best_of_three_runs",
        "three models are trained, and the best one is returned",
        "You finetune several times with other seeds, each with `steps` updates, and keep the best. That is "
        "a budget of several, and a comparison of unequal budgets proves nothing. Train one.",
        (
            (_FINETUNE_DEF, "def one_run(\n"),
            (
                _MAIN,
                "def finetune(pretrained, source, text, *, steps, lr, device, seed, report):\n    "
                "runs = []\n    for again in range(3):\n        model, tokenizer = one_run(\n      "
                "      pretrained, source, text, steps=steps, lr=lr, device=device, seed=3 * seed "
                "+ again, report=report\n        )\n        validation = encode_text(tokenizer, "
                "text[int(0.9 * len(text)) :]).to(device)\n        "
                "runs.append((exhaustive_loss(model, validation), again, model, tokenizer))\n    "
                "return min(runs)[2:]\n\n\n" + _MAIN,
            ),
        ),
    ),
    Mistake(
        "second_phase",
        "a second phase of training follows, with an optimizer of its own",
        "After `steps` updates you go on with a new optimizer, at a lower rate or on another part of the "
        "weights. Its updates count too: all of them together are `steps`. Divide the budget among the "
        "phases.",
        (
            (
                _LOAD_BEST,
                "    polish = finetune_optimizer(model, 0.1 * lr, WEIGHT_DECAY)\n    for _ in range(5):\n    "
                "    x, y = batches.take(batches.draw(batch_size(device)))\n        polish.zero_grad()\n "
                "       model(x, y)[1].backward()\n        polish.step()\n    if exhaustive_loss(model, "
                "validation) < best_loss:\n        best = weights()\n" + _LOAD_BEST,
            ),
        ),
    ),
    Mistake(
        "stops_early",
        "it stops when the validation loss gets no better",
        "After a few evaluations without progress you leave the loop. Early stopping saves time, and makes "
        "budgets unequal: here exactly `steps` updates are made, and the best weights are returned anyway.",
        (
            (_BETTER, "late = 0 if validation_loss < best_loss else late + 1\n            " + _BETTER),
            (_FIRST, _FIRST + "\n    late = 0"),
            (
                "        if step % REPORT_EVERY == 0 or step == steps:\n",
                "        if late >= 3:\n            break\n        if step % REPORT_EVERY == 0 or step == "
                "steps:\n",
            ),
            (_LOAD_BEST, _LOAD_BEST + "    report(step, loss.item())\n"),
        ),
    ),
    Mistake(
        "steps_ignored",
        "the number of steps is your own",
        "You train for a number of steps that you chose, or count passes over the text as steps. The budget "
        "is the caller's, in updates: both sides of a comparison get the same.",
        ((_STEPS, "for step in range(1, 501):"),),
    ),
    Mistake(
        "lr_not_used",
        "the learning rate is your own",
        "lr is not used: a constant of yours is. Finetuning is often done at a lower rate, and the caller "
        "says at which.",
        ((_RATE, 'group["lr"] = 1e-3 * rate(step, steps)'),),
    ),
    Mistake(
        "lr_ten_times",
        "the learning rate goes above lr",
        "Your schedule rises to more than lr. Warm-up ends at lr, and from there it only falls.",
        ((_RATE, 'group["lr"] = 10 * lr * rate(step, steps)'),),
    ),
    Mistake(
        "trains_on_all",
        "the validation text is trained on too",
        "Your batches come from the whole text (or it is split at random, where neighbouring windows share "
        "most characters). The validation text chooses the best weights and judges them. Once the model "
        "has trained on it, its loss falls and means nothing.",
        ((_PARTS, _PARTS.replace("tokens[:border]", "tokens")),),
    ),
    Mistake(
        "trains_on_validation",
        "it trains on the validation text, and not on the first 90 %",
        "Train on text[:int(0.9 * len(text))], and evaluate on what follows. Yours are swapped.",
        ((_PARTS, "batches, validation = Batches(tokens[border:], T, seed), tokens[border:]"),),
    ),
    Mistake(
        "trains_on_less",
        "only the first 80 % are trained on",
        "Your border is int(0.8 * len(text)), or you keep a second part aside: a tenth of the text is "
        "never used. Train on text[:int(0.9 * len(text))].",
        ((_PARTS, _PARTS.replace("tokens[:border]", "tokens[: int(0.8 * len(text))]")),),
    ),
    Mistake(
        "target_is_the_same_token",
        "a token is taught itself",
        "y is x: the model learns to repeat the token that it sees, which is easy and worth nothing. y is "
        "one place ahead: x = row[:-1], y = row[1:].",
        ((_TAKE, _TAKE + "\n        y = x"),),
    ),
    Mistake(
        "target_two_ahead",
        "a token is taught the one after the next",
        "y is two places ahead of x: the shift is made twice, once in the batch and once more.",
        ((_TAKE, _TAKE + "\n        x, y = x[:, :-1], y[:, 1:]"),),
    ),
    Mistake(
        "first_of_validation_is_target",
        "the first character of the validation text is a target of the training",
        "Your training part is one token too long: inputs end at the border, and the last target lies behind "
        "it. Inputs and targets both come from tokens[:border].",
        ((_PARTS, _PARTS.replace("tokens[:border]", "tokens[: border + 1]")),),
    ),
    Mistake(
        "evaluates_in_train_mode",
        "the validation loss is taken in train mode",
        "Dropout is on when the validation loss is taken: the loss is too large, and noisy, so the best "
        "weights are the luckiest ones. model.eval() before, model.train() afterwards.",
        (
            (
                _EVALUATED,
                "with torch.no_grad():\n                validation_loss = sum(model(validation[i : i + "
                "T][None].long(), validation[i + 1 : i + T + 1][None].long())[1].item() for i in range(0, "
                "len(validation) - T, T))",
            ),
        ),
    ),
    Mistake(
        "stays_in_eval_mode",
        "the model stays in eval mode after an evaluation",
        "You call model.eval() and never model.train() again: from the first evaluation on there is no "
        "dropout.",
        ((_EVALUATED, _EVALUATED + "\n            model.eval()"),),
    ),
    Mistake(
        "trains_in_eval_mode",
        "it trains in eval mode",
        "You put the model into eval mode before the training, so its dropout never works.",
        (("    model.to(device)\n", "    model.to(device).eval()\n"),),
    ),
    Mistake(
        "mode_of_pretrained",
        "the new model has the mode of the pretrained one",
        "You train in the mode in which the pretrained model came, as a copy of it would: where that was "
        "last evaluated, there is no dropout. Call model.train() before the training.",
        (("    model.to(device)\n", "    model.to(device).train(pretrained.training)\n"),),
    ),
    Mistake(
        "blocks_in_eval_mode",
        "the blocks stay in eval mode",
        "You put the blocks into eval mode, and model.training says True all the same: the dropout is in "
        "them. model.train() puts every part back.",
        (
            (
                "        _, loss = model(x, y)\n",
                "        model.blocks.eval()\n        _, loss = model(x, y)\n",
            ),
        ),
    ),
    Mistake(
        "dropout_set_to_zero",
        "dropout is switched off",
        "You set p of every nn.Dropout to 0, and the config still says otherwise. The model has pretrained's "
        "config, dropout included.",
        (
            (
                "    model.to(device)\n",
                "    model.to(device)\n    for module in model.modules():\n        if isinstance(module, "
                "nn.Dropout):\n            module.p = 0.0\n",
            ),
        ),
    ),
    Mistake(
        "trains_the_pretrained",
        "the pretrained model is trained",
        "Your optimizer holds the pretrained model (or one that shares its weights): afterwards there is no "
        "pretrained model any more to compare with.",
        ((_TRANSFER, _TRANSFER + "    model.blocks = pretrained.blocks\n"),),
    ),
    Mistake(
        "pretrained_to_eval",
        "the pretrained model's mode is changed",
        "You call pretrained.eval() or train() in finetune. It is left as it was.",
        ((_TRANSFER, "    pretrained.train()\n" + _TRANSFER),),
    ),
    Mistake(
        "pretrained_config_replaced",
        "the pretrained model's config is replaced",
        "You assign the new config to pretrained.config, and build from that. The pretrained model then says "
        "that it has another vocabulary than it has. dataclasses.replace gives a new config: keep it in a "
        "variable.",
        (
            (
                _MODEL,
                "pretrained.config = replace(pretrained.config, vocab_size=tokenizer.vocab_size)\n    model "
                "= GPT(pretrained.config)",
            ),
        ),
    ),
    Mistake(
        "pretrained_dropout_off",
        "the dropout of the pretrained model is switched off",
        "You set p of every nn.Dropout in the pretrained model to 0, and leave it so. It is left as it was, "
        "dropout included.",
        (
            (
                _TRANSFER,
                "    for module in pretrained.modules():\n        if isinstance(module, nn.Dropout):\n       "
                "     module.p = 0.0\n" + _TRANSFER,
            ),
        ),
    ),
    Mistake(
        "source_extended",
        "the pretrained tokenizer gets the new characters",
        "You add the text's characters to `source`, which belongs to the pretrained model: afterwards it has "
        "ids for which that model has no row. Make a tokenizer of the text, and leave `source` as it was.",
        (
            (
                _TRANSFER,
                _TRANSFER + "    source.chars = source.chars + tuple(c for c in tokenizer.chars if c not in "
                "source.chars)\n",
            ),
        ),
    ),
    Mistake(
        "same_vocabulary_no_copy",
        "where the vocabularies are the same, the pretrained model itself is trained",
        "For a text with exactly the characters of `source` you train the pretrained model: afterwards there "
        "is none to compare with. Equal vocabularies need no case of their own.",
        (
            (
                _MODEL,
                _MODEL + "\n    if tokenizer.chars == source.chars:\n        model = pretrained.train()",
            ),
            (
                _TRANSFER,
                "    if model is not pretrained:\n        transfer_weights(pretrained, source, model, "
                "tokenizer)\n",
            ),
        ),
    ),
    Mistake(
        "same_vocabulary_deepcopy",
        "where the vocabularies are the same, the pretrained model is copied with all that was set in it",
        "For a text with exactly the characters of `source` you train a deep copy, which has the modes and "
        "the frozen parameters of the pretrained model: what is frozen there is never trained. Build a new "
        "GPT, and transfer.",
        (
            (
                _MODEL,
                _MODEL + "\n    if tokenizer.chars == source.chars:\n        import copy\n\n        model = "
                "copy.deepcopy(pretrained).train()",
            ),
        ),
    ),
    Mistake(
        "frequencies_of_validation",
        "the frequencies of the validation text are written into lm_head.bias",
        "You count the characters of the validation text and write their frequencies into the weights. "
        "Nothing in the weights may come from the validation text: its loss no longer says how well the "
        "model does on text that it has not seen. Count text[:int(0.9 * len(text))], or let the training "
        "find it out.",
        (
            (
                _LOAD_BEST,
                _LOAD_BEST + "    count = torch.bincount(validation.long(), "
                "minlength=tokenizer.vocab_size) + 1\n    model.lm_head.bias.data.copy_((count / "
                "count.sum()).log())\n",
            ),
        ),
    ),
    Mistake(
        "frequencies_of_whole_text",
        "new characters begin with their frequency in the whole text",
        "You set lm_head.bias of a new character by how often it occurs in `text`. The last tenth of that "
        "is the validation text, and nothing in the weights may come from it. Count text[:int(0.9 * "
        "len(text))].",
        (
            (
                _TRANSFER,
                _TRANSFER
                + "    for row, char in enumerate(tokenizer.chars):\n        if char not in source.chars:\n"
                "            model.lm_head.bias.data[row] = math.log(text.count(char) / len(text))\n",
            ),
        ),
    ),
    Mistake(
        "short_text_accepted",
        "a text that is too short is not refused",
        "A validation text shorter than block_size + 1 has no whole window. Raise a ValueError before "
        "anything is trained.",
        ((_SHORT, "if len(text) < T:"),),
    ),
    Mistake(
        "short_by_one",
        "a validation text of block_size characters is accepted",
        "A window of block_size takes one character more, for its last target: block_size + 1.",
        ((_SHORT, "if min(border, len(text) - border) < T:"),),
    ),
    Mistake(
        "short_too_strict",
        "a validation text of block_size + 1 characters is refused",
        "block_size + 1 characters are one window with its targets, and enough. Is it < or <=?",
        ((_SHORT, "if min(border, len(text) - border) <= T + 1:"),),
    ),
    Mistake(
        "seed_of_weights_ignored",
        "fresh weights and dropout do not depend on the seed",
        "The batches come from the seed, and the fresh weights and the dropout from torch's generator, "
        "whose state is arbitrary when you are called: torch.manual_seed(seed) first.",
        ((_SEED, ""),),
    ),
    Mistake(
        "seed_of_batches_ignored",
        "the batches do not depend on the seed",
        "Fresh weights come from the seed, and the batches from a generator that does not.",
        (
            (
                _PARTS,
                "import os\n\n    batches, validation = Batches(tokens[:border], T, "
                "int.from_bytes(os.urandom(4), "
                '"big")), tokens[border:]',
            ),
        ),
    ),
    Mistake(
        "seed_from_a_hash",
        "a seed, or the order of the vocabulary, comes from the hash of a string",
        'hash("..") and the order of set(text) are others in every process, unless PYTHONHASHSEED is set: '
        "the run repeats as long as the "
        "program goes on, and never again. Make seeds by arithmetic, and sort a set before you use it.",
        (
            (
                _PARTS,
                'batches, validation = Batches(tokens[:border], T, (hash("batches") + seed) % 2**31), '
                "tokens[border:]",
            ),
        ),
    ),
    Mistake(
        "seed_fixed",
        "the seed is your own",
        "You seed with a number of your own, so that every seed gives the same model: five seeds are then "
        "one, five times.",
        ((_SEED, "    seed = 1337\n" + _SEED),),
    ),
    Mistake(
        "finetune_report_never_called",
        "report is never called",
        "Nothing is reported, so the progress bar stands still. Call report(step, loss) every few steps.",
        ((_REPORT, "pass"),),
    ),
    Mistake(
        "finetune_report_gets_a_tensor",
        "report is given a tensor",
        "You pass the loss as a tensor, which keeps its graph alive and does not format as a number. "
        "loss.item() is the number.",
        ((_REPORT, "report(step, loss)"),),
    ),
    Mistake(
        "finetune_report_swapped",
        "report is given the loss first",
        "report takes the step, then the loss.",
        ((_REPORT, "report(loss.item(), step)"),),
    ),
    Mistake(
        "last_returned",
        "the last weights are returned instead of the best",
        "The weights after the last update are returned, even where earlier ones were better. Either the "
        "best weights are never loaded, or no copy was made of them: state_dict() gives the very tensors "
        "that later updates write into.",
        ((_LOAD_BEST, ""),),
    ),
    Mistake(
        "transferred_not_counted",
        "the transferred weights are not among those compared",
        "The first loss that you take is after some updates, so that finetuning can make a model worse on "
        "its own text. Evaluate before the first update too.",
        (
            (_FIRST, 'best_loss, best = float("inf"), weights()'),
            (_BETTER, "if not validation_loss >= best_loss:"),
        ),
    ),
    Mistake(
        "chosen_by_training_loss",
        "the best weights are chosen by the training loss",
        "The training loss is lowest where the text is memorised. The validation loss, on text that was "
        "not trained on, tells which weights are best.",
        (
            (_EVALUATED, "validation_loss = exhaustive_loss(model, tokens[:border])"),
            (_FIRST, "best_loss, best = exhaustive_loss(model, tokens[:border]), weights()"),
        ),
    ),
    Mistake(
        "worst_returned",
        "the worst weights are returned",
        "You keep the weights with the highest loss. Check the comparison.",
        ((_BETTER, "if validation_loss > best_loss:"),),
    ),
    Mistake(
        "transferred_returned",
        "the transferred weights are always returned",
        "The weights from before the training are returned: the best weights are never replaced, or belong "
        "to another model than the one that the optimizer trains.",
        ((_BETTER, "if False:"),),
    ),
    Mistake(
        "text_on_cpu",
        "the text stays on the CPU, whatever the device",
        "The model moves to `device`, and the tokens that it reads do not. Move them as well: .to(device).",
        (("encode_text(tokenizer, text).to(device)", "encode_text(tokenizer, text)"),),
        devices=True,
    ),
    Mistake(
        "finetuned_on_cpu",
        "the model is trained on the CPU, whatever the device",
        "`device` is not used. Move the model and its tokens there.",
        (("    model.to(device)\n", "    device = 'cpu'\n"),),
        devices=True,
    ),
)

_AREAS = {"overlap": _OVERLAP, "transfer": _TRANSFERS, "optimizer": _OPTIMIZERS, "finetune": _FINETUNE}
MISTAKES = tuple(replace(mistake, area=area) for area, group in _AREAS.items() for mistake in group)
