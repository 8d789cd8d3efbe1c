"""Weights as a dict of tensors, AdamW written out over torch.func; a sorted list of windows and bisect."""

import bisect
import io
from dataclasses import replace

import torch
from gpt_core import GPT, CharTokenizer
from gpt_core.batches import encode_text
from torch.func import functional_call, grad_and_value


def words(text):
    return "".join(map(str.lower, " ".join(text.split())))


def remove_overlap(pretrain_text, heldout_text, window=50):
    other = words(heldout_text)
    runs = sorted({other[i : i + window] for i in range(len(other) - window + 1)} - {" "})

    def found(run):
        at = bisect.bisect_left(runs, run)
        return at < len(runs) and runs[at] == run

    lines = list(io.StringIO(pretrain_text, newline="\n"))
    spans, at, parts = [], 0, []
    for line in lines:
        part = words(line)
        spans.append((at, at + len(part)))
        if part:
            parts.append(part)
            at += len(part) + 1
    whole = " ".join(parts)
    starts = [i for i in range(len(whole) - window + 1) if found(whole[i : i + window])]

    def hit(a, b):
        # The first run that ends after a; it hits where it begins before b.
        at = bisect.bisect_right(starts, a - window)
        return a < b and at < len(starts) and starts[at] < b

    return "".join(line for line, (a, b) in zip(lines, spans) if not hit(a, b))


def transfer_weights(pretrained, source, target, target_tokenizer):
    shapes = lambda model: [(k, v.shape) for k, v in model.blocks.named_parameters()]  # noqa: E731
    if shapes(pretrained) != shapes(target):
        raise ValueError("the blocks of the two models differ")
    ids = torch.tensor([source.chars.index(c) if c in source.chars else -1 for c in target_tokenizer.chars])
    old = dict(pretrained.named_parameters())
    for name, parameter in target.named_parameters():
        values = old[name].detach().clone().to(parameter.device, parameter.dtype)
        if name.startswith(("token_embedding_table", "lm_head")):
            known = (ids >= 0).to(parameter.device)
            merged = parameter.detach().clone()
            merged[known] = values[ids[ids >= 0].to(parameter.device)]
            values = merged
        elif name.startswith("position_embedding_table"):
            values = torch.cat([values, parameter.detach()[len(values) :]])[: len(parameter)]
        parameter.data.copy_(values)
    return list(set(target_tokenizer.chars) - set(source.chars))


def finetune_optimizer(model, lr, weight_decay):
    every = dict(model.named_parameters())
    every = {k: p for k, p in every.items() if p.requires_grad}
    optimizer = torch.optim.AdamW(list(every.values()), lr=lr, weight_decay=0.0)
    optimizer.param_groups[0]["params"] = [p for p in every.values() if p.ndim < 2]
    optimizer.add_param_group({"params": [p for p in every.values() if p.ndim >= 2], "weight_decay": weight_decay})
    return optimizer


def finetune(pretrained, source, text, *, steps, lr, device, seed, report):
    T, border = pretrained.config.block_size, int(0.9 * len(text))
    if len(text[border:]) < T + 1 or len(text[:border]) < T + 1:
        raise ValueError("too short")
    tokenizer = CharTokenizer.from_text(text)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _finetune(pretrained, source, tokenizer, text, border, T, steps, lr, device, report)


def _finetune(pretrained, source, tokenizer, text, border, T, steps, lr, device, report):
    model = GPT(replace(pretrained.config, vocab_size=tokenizer.vocab_size)).to(device)
    transfer_weights(pretrained, source, model, tokenizer)
    tokens = encode_text(tokenizer, text).long().to(device)
    weights = {k: p.detach().clone() for k, p in model.named_parameters()}
    first, second = ({k: torch.zeros_like(p) for k, p in weights.items()} for _ in range(2))

    def objective(weights, x, y):
        return functional_call(model, weights, (x, y))[1]

    def on_rest(weights):
        model.eval()
        rest = tokens[border:]
        windows = rest.unfold(0, T + 1, max(1, (len(rest) - T - 1) // 50))
        with torch.no_grad():
            loss = objective(weights, windows[:, :-1], windows[:, 1:]).item()
        model.train()
        return loss

    best = min_loss = None
    for step in range(steps + 1):
        loss_now = on_rest(weights)
        if min_loss is None or loss_now < min_loss:
            min_loss, best = loss_now, weights  # never written in place, so no copies
        if step == steps:
            break
        starts = torch.randint(border - T, (8,))
        rows = torch.stack([tokens[s : s + T + 1] for s in starts])
        gradients, loss = grad_and_value(objective)(weights, rows[:, :-1], rows[:, 1:])
        moved = {}
        for k, g in gradients.items():
            first[k] = 0.9 * first[k] + 0.1 * g
            second[k] = 0.98 * second[k] + 0.02 * g * g
            up, down = first[k] / (1 - 0.9 ** (step + 1)), (second[k] / (1 - 0.98 ** (step + 1))).sqrt() + 1e-8
            moved[k] = weights[k] * (1 - lr * 0.1 * (g.ndim >= 2)) - lr * up / down
        weights = moved
        report(step + 1, float(loss))
    with torch.no_grad():
        for k, p in model.named_parameters():
            p.copy_(best[k])
    return model, tokenizer

