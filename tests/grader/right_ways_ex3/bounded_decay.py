"""Chunks of half a window at multiples of its length, then the windows around them; AdamW subclassed;
gradient scaling."""

from dataclasses import asdict

import torch
from gpt_core import GPT, CharTokenizer
from gpt_core.batches import Batches
from gpt_core.evaluation import eval_mode, sampled_loss


def one_space(text):
    out = []
    for piece in text.split("\n"):
        folded = " ".join(piece.split())
        if folded:
            out.append(folded)
    return "".join(char.lower() for char in " ".join(out))


def remove_overlap(pretrain_text, heldout_text, window=50):
    half = (window + 1) // 2
    held = one_space(heldout_text)
    halves = {held[i : i + half] for i in range(len(held) - half + 1)}
    runs = {held[i : i + window] for i in range(len(held) - window + 1)} - {" "}
    lines = pretrain_text.split("\n")
    text = one_space(pretrain_text)
    hits = set()
    for at in range(0, len(text), half):
        if text[at : at + half] in halves:
            for start in range(max(0, at + half - window), min(at, len(text) - window) + 1):
                if text[start : start + window] in runs:
                    hits.update(range(start, start + window))
    kept, at = [], 0
    for line in lines:
        length = len(one_space(line))
        if not any(at + k in hits for k in range(length)):
            kept.append(line)
        at += length + (length > 0)
    return "\n".join(kept)


class Tuned(torch.optim.AdamW):
    """An AdamW is an AdamW."""


def transfer_weights(pretrained, source, target, target_tokenizer):
    sizes = [(m.config.n_layer, m.config.n_head, m.config.n_embd) for m in (pretrained, target)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"layers, heads and width are {sizes[0]} and {sizes[1]}")
    there = {c: i for i, c in enumerate(source.chars)}
    here = {c: i for i, c in enumerate(target_tokenizer.chars)}
    shared = [c for c in here if c in there]
    for (name, ours), (other, theirs) in zip(target.named_parameters(), pretrained.named_parameters()):
        assert name == other
        if ours.shape[1:] == theirs.shape[1:] and name.split(".")[0] in ("token_embedding_table", "lm_head"):
            for c in shared:
                ours.data[here[c]] = theirs.data[there[c]]
        else:
            for new, old in zip(ours.data.unbind(), theirs.data.unbind()):
                new.copy_(old)
    return [c for c in here if c not in there]


def finetune_optimizer(model, lr, weight_decay):
    small = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    large = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    groups = [{"params": g, "weight_decay": w} for g, w in ((large, weight_decay), (small, 0.0)) if g]
    return Tuned(groups, lr=lr, amsgrad=True)


def finetune(pretrained, source, text, *, steps, lr, device, seed, report):
    config = asdict(pretrained.config)
    limit = int(0.9 * len(text))
    if len(text) < 1 or len(text) - limit < config["block_size"] + 1:
        raise ValueError("the text is too short for block_size, use a longer one")
    torch.manual_seed(seed)
    tokenizer = CharTokenizer.from_text(text)
    config["vocab_size"] = tokenizer.vocab_size
    model = GPT(type(pretrained.config)(**config))
    transfer_weights(pretrained, source, model, tokenizer)
    model.to(device)
    tokens = torch.tensor(tokenizer.encode(text), device=device)
    first, rest = tokens[:limit], tokens[limit:]
    batches = Batches(first, config["block_size"], seed + 1)

    def on_rest():
        with eval_mode(model):
            return sampled_loss(model, rest, batch_size=32, iters=8, seed=0)  # the same windows each time

    optimizer = finetune_optimizer(model, lr, 0.01)
    best_loss, best_weights, best_step = on_rest(), [p.detach().clone() for p in model.parameters()], 0
    step = 0
    while step < steps:
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - step / steps)
        x, y = batches.take(batches.draw(20))
        loss = model(x, y)[1]
        (loss * 128).backward()
        for p in model.parameters():
            p.grad /= 128
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 8 == 0 or step == steps:
            on = on_rest()
            report(step, on)
            if on < best_loss:
                best_loss, best_weights, best_step = on, [p.detach().clone() for p in model.parameters()], step
    for p, best in zip(model.parameters(), best_weights):
        p.data = best
    return (model, tokenizer)
