"""numpy throughout: runs by a rolling hash checked on the characters, rows by index
arrays, batches by fancy indexing."""

import re

import numpy as np
import torch
from gpt_core import GPT, CharTokenizer
from torch.nn import functional as F
import dataclasses

BASE, MODULUS = 1_000_003, (1 << 61) - 1


def hashes(codes, window):
    """A hash of every window, one after the other."""
    if len(codes) < window:
        return []
    top, h, out = pow(BASE, window - 1, MODULUS), 0, []
    for i, code in enumerate(codes):
        if i >= window:
            h = (h - codes[i - window] * top) % MODULUS
        h = (h * BASE + code) % MODULUS
        if i >= window - 1:
            out.append(h)
    return out


def remove_overlap(pretrain_text, heldout_text, window=50):
    heldout = "".join(map(str.lower, re.sub(r"\s+", " ", heldout_text)))
    known = {}
    for i, h in enumerate(hashes([ord(c) for c in heldout], window)):
        known.setdefault(h, set()).add(heldout[i : i + window])
    lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in pretrain_text)
    blank = np.fromiter((c.isspace() for c in lower), bool, len(lower))
    keep = ~blank
    keep[1:] |= ~blank[:-1]  # the first of each run of whitespace
    places = np.flatnonzero(keep)
    text = "".join(" " if blank[p] else lower[p] for p in places)
    covered = np.zeros(len(text) + 1, dtype=np.int64)
    for i, h in enumerate(hashes([ord(c) for c in text], window)):
        if h in known and text[i : i + window] in known[h]:
            covered[i] += 1
            covered[i + window] -= 1
    marked = np.zeros(len(lower), dtype=bool)
    marked[places[np.cumsum(covered)[:-1] > 0]] = True
    marked &= ~blank
    lines = re.findall(r"[^\n]*\n|[^\n]+", pretrain_text)
    out, start = [], 0
    for line in lines:
        if not marked[start : start + len(line)].any():
            out.append(line)
        start += len(line)
    return "".join(out)


def transfer_weights(pretrained, source, target, target_tokenizer):
    for field in dataclasses.fields(pretrained.config):
        has, needs = getattr(pretrained.config, field.name), getattr(target.config, field.name)
        if field.name in ("n_layer", "n_head", "n_embd") and has != needs:
            raise ValueError(f"{field.name} differs")
    ours, theirs = np.array(target_tokenizer.chars), np.array(source.chars)
    both, of_ours, of_theirs = np.intersect1d(ours, theirs, return_indices=True)
    of_ours, of_theirs = torch.from_numpy(of_ours), torch.from_numpy(of_theirs)
    old = {k: v.detach() for k, v in pretrained.state_dict().items()}
    with torch.no_grad():
        for k, p in target.named_parameters():
            if k.split(".")[0] in ("token_embedding_table", "lm_head"):
                p.index_copy_(0, of_ours.to(p.device), old[k][of_theirs.to(old[k].device)].to(p))
            else:
                n = min(p.shape[0], old[k].shape[0])
                p[:n].copy_(old[k][:n])
    return [str(c) for c in np.setdiff1d(ours, theirs)][::-1]


def finetune_optimizer(model, lr, weight_decay):
    return torch.optim.AdamW(
        [
            {"params": [p], "lr": lr, "weight_decay": weight_decay * (p.ndim >= 2)}
            for p in model.parameters()
            if p.requires_grad
        ]
    )


def finetune(pretrained, source, text, *, steps, lr, device, seed, report):
    border, T = int(0.9 * len(text)), pretrained.config.block_size
    if len(text) - border <= T:
        raise ValueError(f"{len(text)} characters are too few for block_size {T}")
    rng = np.random.default_rng(seed)
    torch.manual_seed(rng.integers(1 << 31))
    tokenizer = CharTokenizer(dict.fromkeys(text[::-1]))  # in the order of their last places
    model = GPT(dataclasses.replace(pretrained.config, vocab_size=tokenizer.vocab_size))
    transfer_weights(pretrained, source, model, tokenizer)
    model = model.to(device)
    ids = np.array(tokenizer.encode(text))
    train, rest = ids[:border], torch.from_numpy(ids[border:]).to(device)

    def rest_loss():
        was = model.training
        model.train(False)
        total = 0.0
        with torch.inference_mode():
            for i in range(0, len(rest) - 1, T):
                x, y = rest[i : i + T], rest[i + 1 : i + 1 + T]
                logits = model(x[None, : len(y)])[0][0]
                total += F.cross_entropy(logits, y, reduction="sum").item()
        model.train(was)
        return total / (len(rest) - 1)

    optimizer = finetune_optimizer(model, lr, 0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 10))
    best = (rest_loss(), {k: v.cpu().numpy().copy() for k, v in model.state_dict().items()})
    for step in range(steps):
        starts = rng.integers(0, len(train) - T, 10)
        rows = torch.from_numpy(train[starts[:, None] + np.arange(T + 1)]).to(device)
        optimizer.zero_grad()
        loss = model(rows[:, :-1], rows[:, 1:])[1]
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 7 == 6 or step == steps - 1:
            now = rest_loss()
            if now < best[0]:
                best = (now, {k: v.cpu().numpy().copy() for k, v in model.state_dict().items()})
        report(np.int64(step), np.float32(loss.item()))
    model.load_state_dict({k: torch.from_numpy(v) for k, v in best[1].items()})
    return model, tokenizer
