"""Exercise 3, solved: pretrain, then finetune, and prove that it helped.

The idea: most of what a model needs for a small corpus (letters, words, where a line ends) is not special
to it, and can be learned where text is plentiful. What carries over is the weights; what has to be
translated is the vocabulary, since a row of the embedding belongs to a character and not to a number.

The proof is the harder half, because each mistake in it makes pretraining look better than it is:
pretraining text that holds what is measured later, more updates for one side than for the other,
a loss that is measured with dropout, the best of several seeds. So the overlap goes first, both
sides run the same code with the same budget and seed, and every loss is exhaustive.

What it is worth, with nanoGPT's CPU model (0.8 million parameters), pretrained with 4000 steps on 82 million
characters of novels and plays, and finetuned with 500 steps on tiny Shakespeare (`--size cpu`, seed 1337, one
run each; half an hour on two busy cores). Exhaustive validation loss, nats per character:

                                                   pretrained   from scratch
    (a) 500 steps on tiny Shakespeare each            1.693        2.267
    (b) 4500 steps in all each                        1.693        1.619
    (c) as (a), with its first 100,000 characters     1.858        2.428

So the honest answer is: it depends on what is scarce. Against the same steps on the text, or where there is
little of it, pretraining wins by half a nat. Against the same total compute it lost by 0.07: a small model
that may read Shakespeare all the time learns Shakespeare best. (One seed each, and no rate was tuned, neither
5e-4 for finetuning nor 1e-3 from scratch.) For a model that is large enough to memorise a million characters
the answer may differ: `--size gpu` tries it.

Two things to look at in its output. The leak check: 35,848 places of the corpus share 50 characters with tiny
Shakespeare, whose plays are among the plays, and 1.3 % of it had to go. And the gap between validation and
training loss in pretraining: it stays below 0 (the novels at the end are easier than the plays), where from
scratch on tiny Shakespeare it is 0.23 after 4500 steps and grows. That is how a large enough corpus looks."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn as nn

from gpt_core import GPT, CharTokenizer
from gpt_core.batches import Batches, encode_text
from gpt_core.evaluation import exhaustive_loss


def fold(text: str) -> str:
    """What two copies of a text share: its characters in lower case, any run of whitespace one space."""
    # Character by character: str.lower would spell a capital sigma by its place in the word.
    return " ".join(text.split()).replace("Σ", "σ").lower()


def remove_overlap(pretrain_text: str, heldout_text: str, window: int = 50) -> str:
    """`pretrain_text` without the lines that share a run of `window` characters with `heldout_text`.

    A run is `window` consecutive characters of both folded texts, and may span lines. A line goes if at
    least one of its characters that are not whitespace lies in a run; the others are kept as they are.

    What one tries first is to look for the lines of one text in the other. It finds nothing where an
    edition breaks its lines elsewhere, and that is the rule: runs know no lines. Time and memory grow
    linearly, with a set of the held-out windows.

    ValueError for a window below 1.
    """
    if window < 1:
        raise ValueError(f"window is {window}; a run takes at least 1 character.")
    heldout = fold(heldout_text)
    windows = {heldout[i : i + window] for i in range(len(heldout) - window + 1)}
    windows.discard(" ")  # with window = 1: it would lie in every line, and is no character of any
    lines = pretrain_text.split("\n")
    folded = [fold(line) for line in lines]
    # Lines without a character leave no trace; between two others stands the space that was a newline.
    text = " ".join(line for line in folded if line)
    shared = bytearray(len(text))
    for i in range(len(text) - window + 1):
        if text[i : i + window] in windows:
            shared[i : i + window] = b"\1" * window
    kept, start = [], 0
    for line, of_text in zip(lines, folded):
        end = start + len(of_text)
        # From its first character to its last: the space in front of a line and behind it is not its own.
        if shared.find(1, start, end) < 0:
            kept.append(line)
        start = end + 1 if of_text else start
    return "\n".join(kept)


@torch.no_grad()
def transfer_weights(
    pretrained: GPT, source: CharTokenizer, target: GPT, target_tokenizer: CharTokenizer
) -> list[str]:
    """Write the weights of `pretrained` into `target`; returns the characters that only the target knows.

    Embedding and output rows go by character, positions up to the shorter table, all else as it is. What
    `pretrained` does not know keeps its fresh weights.

    ValueError, and nothing written, where depth, width or heads differ.
    """
    for field in ("n_layer", "n_embd", "n_head"):
        has, needs = getattr(pretrained.config, field), getattr(target.config, field)
        if has != needs:
            raise ValueError(
                f"{field} is {has} in the pretrained model and {needs} in the target: the weights of a block "
                f"fit a block of the same size only; build the target with {field}={has}."
            )
    row_of = {char: row for row, char in enumerate(source.chars)}
    pairs = [(row_of[c], row) for row, c in enumerate(target_tokenizer.chars) if c in row_of]
    source_rows, target_rows = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    by_character = ("token_embedding_table.weight", "lm_head.weight", "lm_head.bias")
    weights = dict(pretrained.named_parameters())
    for name, parameter in target.named_parameters():
        weight = weights[name].to(parameter)  # its dtype and device
        # copy_ and the assignment to rows both write into the target's own storage.
        if name in by_character:
            parameter[target_rows] = weight[source_rows]
        elif name == "position_embedding_table.weight":
            shorter = min(len(parameter), len(weight))
            parameter[:shorter] = weight[:shorter]
        else:
            parameter.copy_(weight)
    return [char for char in target_tokenizer.chars if char not in row_of]


def finetune_optimizer(model: GPT, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """A new AdamW over every parameter that requires a gradient, with decay on matrices alone.

    Decay pulls weights to 0. For a bias or the gain of a norm that does not make the function simpler, so
    parameters of one dimension are in a second group, without decay.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)


WEIGHT_DECAY = 0.1
EVALUATIONS = 10  # per run, that of the transferred weights not counted
REPORT_EVERY = 10  # updates


def batch_size(device: str) -> int:
    """Sequences per update: nanoGPT's 12 on a CPU; a GPU is no slower with 64."""
    return 12 if device == "cpu" else 64


def rate(step: int, steps: int) -> float:
    """The share of lr for update `step` of `steps`, from 1 on: a warm-up, then half a cosine to a tenth."""
    warm_up = min(1.0, step / min(100, max(1, steps // 10)))
    return warm_up * (0.55 + 0.45 * math.cos(math.pi * step / steps))


def finetune(
    pretrained: GPT,
    source: CharTokenizer,
    text: str,
    *,
    steps: int,
    lr: float,
    device: str,
    seed: int,
    report: Callable[[int, float], None],
) -> tuple[GPT, CharTokenizer]:
    """A GPT that goes on from `pretrained`, trained on the first 90 % of `text`, and its tokenizer.

    The seed decides the fresh weights, the batches and the dropout. report(step, loss) is called after
    every tenth update, and after the last.

    Of all weights that are evaluated, those with the lowest exhaustive validation loss are returned. The
    transferred ones are the first of them, so finetuning never makes a model worse on its own text.

    ValueError for a text of which a part is shorter than block_size + 1.
    """
    border, T = int(0.9 * len(text)), pretrained.config.block_size
    if min(border, len(text) - border) < T + 1:
        raise ValueError(
            f"the text has {len(text)} characters, {border} to train on and {len(text) - border} to "
            f"validate; each part takes at least block_size + 1 = {T + 1}: use a longer text or a smaller "
            "block_size."
        )
    torch.manual_seed(seed)
    # Of the whole text: a character that only the validation text has still needs a row.
    tokenizer = CharTokenizer.from_text(text)
    model = GPT(replace(pretrained.config, vocab_size=tokenizer.vocab_size))
    transfer_weights(pretrained, source, model, tokenizer)
    model.to(device)
    tokens = encode_text(tokenizer, text).to(device)
    batches, validation = Batches(tokens[:border], T, seed), tokens[border:]
    optimizer = finetune_optimizer(model, lr, WEIGHT_DECAY)

    def weights() -> dict[str, torch.Tensor]:
        # Copies: state_dict alone gives the tensors that the next update writes into.
        return {name: p.detach().clone() for name, p in model.named_parameters()}

    best_loss, best = exhaustive_loss(model, validation), weights()
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = lr * rate(step, steps)
        x, y = batches.take(batches.draw(batch_size(device)))
        _, loss = model(x, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % max(1, steps // EVALUATIONS) == 0 or step == steps:
            # In eval mode, and back in train mode afterwards. A loss that is NaN is not below any other.
            validation_loss = exhaustive_loss(model, validation)
            if validation_loss < best_loss:
                best_loss, best = validation_loss, weights()
        if step % REPORT_EVERY == 0 or step == steps:
            report(step, loss.item())
    model.load_state_dict(best)
    return model, tokenizer


if __name__ == "__main__":
    from gpt_core.experiments.pretraining import main

    main(remove_overlap, finetune)
