"""As in the lecture: get_batch, estimate_loss on random batches, a constant learning rate; characters one by one."""

import copy

import torch
from gpt_core import GPT, CharTokenizer, GPTConfig


def remove_overlap(pretrain_text, heldout_text, window=50):
    def squeeze(text):
        chars, places = [], []
        for place, c in enumerate(text):
            if c.isspace():
                if chars and chars[-1] == " ":
                    continue
                c = " "
            chars.append(c.lower())
            places.append(place)
        return "".join(chars), places

    heldout, _ = squeeze(heldout_text)
    seen = set()
    for i in range(len(heldout) - window + 1):
        seen.add(heldout[i : i + window])
    text, places = squeeze(pretrain_text)
    bad, until = set(), 0
    for i in range(len(text) - window + 1):
        if text[i : i + window] in seen:
            for j in range(max(i, until), i + window):
                if text[j] != " ":
                    bad.add(places[j])
            until = i + window
    out, start = "", 0
    pieces = []
    while start < len(pretrain_text):
        end = pretrain_text.find("\n", start)
        end = len(pretrain_text) if end < 0 else end + 1
        if bad.isdisjoint(range(start, end)):
            pieces.append(pretrain_text[start:end])
        start = end
    return out.join(pieces)


def transfer_weights(pretrained, source, target, target_tokenizer):
    a, b = pretrained.config, target.config
    if (a.n_layer, a.n_embd, a.n_head) != (b.n_layer, b.n_embd, b.n_head):
        raise ValueError("sizes differ")
    new = []
    with torch.no_grad():
        for theirs, ours in zip(pretrained.blocks.parameters(), target.blocks.parameters()):
            ours.copy_(theirs)
        target.ln_f.weight.copy_(pretrained.ln_f.weight)
        target.ln_f.bias.copy_(pretrained.ln_f.bias)
        for i in range(min(a.block_size, b.block_size)):
            target.position_embedding_table.weight[i] = pretrained.position_embedding_table.weight[i]
        for i, c in enumerate(target_tokenizer.chars):
            try:
                (j,) = source.encode(c)
            except ValueError:
                new.append(c)
                continue
            target.token_embedding_table.weight[i] = pretrained.token_embedding_table.weight[j]
            target.lm_head.weight[i] = pretrained.lm_head.weight[j]
            target.lm_head.bias[i] = pretrained.lm_head.bias[j]
    return new


def finetune_optimizer(model, lr, weight_decay):
    decay, rest = [], []
    for name, p in model.named_parameters():
        if p.requires_grad:
            (decay if p.dim() > 1 else rest).append(p)
    return torch.optim.AdamW(
        [dict(params=decay, weight_decay=weight_decay), dict(params=rest, weight_decay=0)], lr=lr
    )


def finetune(pretrained, source, text, *, steps, lr, device, seed, report):
    n = int(0.9 * len(text))
    block_size = pretrained.config.block_size
    if n < block_size + 1 or len(text) - n < block_size + 1:
        raise ValueError("the text is too short")
    torch.manual_seed(seed)
    chars = sorted(list(set(text)))
    tokenizer = CharTokenizer(chars)
    c = pretrained.config
    model = GPT(GPTConfig(len(chars), block_size, c.n_layer, c.n_head, c.n_embd, c.dropout)).to(device)
    transfer_weights(pretrained, source, model, tokenizer)
    data = torch.tensor(tokenizer.encode(text), dtype=torch.long)
    train_data, val_data = data[:n], data[n:]

    def get_batch(split, batch_size=16):
        data = train_data if split == "train" else val_data
        ix = torch.randint(len(data) - block_size, (batch_size,))
        x = torch.stack([data[i : i + block_size] for i in ix])
        y = torch.stack([data[i + 1 : i + block_size + 1] for i in ix])
        return x.to(device), y.to(device)

    @torch.no_grad()
    def estimate_loss():
        model.eval()
        losses = torch.zeros(20)
        for k in range(20):
            X, Y = get_batch("val")
            logits, loss = model(X, Y)
            losses[k] = loss.item()
        model.train()
        return losses.mean()

    best, best_state = estimate_loss(), copy.deepcopy(model.state_dict())
    optimizer = finetune_optimizer(model, lr, 0.01)
    for iter in range(steps):
        xb, yb = get_batch("train")
        logits, loss = model(xb, yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if iter % 25 == 0 or iter == steps - 1:
            val = estimate_loss()
            report(iter, float(val))
            if val < best:
                best, best_state = val, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    return model, tokenizer
