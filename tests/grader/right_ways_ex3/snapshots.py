"""One group per parameter, added one after the other, with a tensor as learning rate; rows through a matrix of
zeros and ones, checkpoints in memory; runs by a dict of their first places, the last line's newline kept."""

import io

import torch
from gpt_core import GPT, CharTokenizer, GPTConfig
from torch import nn


def normalised(text):
    """Pairs (character, place), a run of whitespace one space at its first place."""
    last = ""
    for place, char in enumerate(text):
        char = " " if char.isspace() else char.lower()
        if not (char == " " and last == " "):
            yield char, place
        last = char


def remove_overlap(pretrain_text, heldout_text, window=50):
    held = "".join(char for char, _ in normalised(heldout_text))
    first = {}
    for i in range(len(held) - window + 1):
        first.setdefault(held[i : i + window], i)
    pairs = list(normalised(pretrain_text))
    chars, places = "".join(c for c, _ in pairs), [p for _, p in pairs]
    marks = bytearray(len(pretrain_text))
    end_of_marks = 0
    for i in range(len(chars) - window + 1):
        if chars[i : i + window] in first:
            for j in range(max(i, end_of_marks), i + window):
                marks[places[j]] = chars[j] != " "
            end_of_marks = i + window
    result, at = [], 0
    for line in pretrain_text.split("\n"):
        if 1 not in marks[at : at + len(line)]:
            result.append(pretrain_text[at : at + len(line) + 1])
        at += len(line) + 1
    return "".join(result)


@torch.no_grad()
def transfer_weights(pretrained, source, target, target_tokenizer):
    for key in ("n_layer", "n_embd", "n_head"):
        if not getattr(pretrained.config, key) == getattr(target.config, key):
            raise ValueError(f"{key} must be the same in both")
    # S[i, j] is 1 where character i of the target is character j of the source.
    S = torch.tensor([[float(a == b) for b in source.chars] for a in target_tokenizer.chars])
    known = S.sum(dim=1) > 0
    for new, old in (
        (target.token_embedding_table.weight, pretrained.token_embedding_table.weight),
        (target.lm_head.weight, pretrained.lm_head.weight),
    ):
        new[known] = (S.to(old) @ old)[known].to(new)
    for row, column in S.nonzero().tolist():
        target.lm_head.bias[row].copy_(pretrained.lm_head.bias[column])
    n = min(target.config.block_size, pretrained.config.block_size)
    positions = pretrained.position_embedding_table.weight.narrow(0, 0, n)
    target.position_embedding_table.weight.narrow(0, 0, n).copy_(positions)
    for ours, theirs in ((target.blocks, pretrained.blocks), (target.ln_f, pretrained.ln_f)):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.view(-1)[:] = q.to(p).flatten()
    return [c for c, k in zip(target_tokenizer.chars, known) if not k]


def finetune_optimizer(model, lr, weight_decay):
    matrices = {id(p) for m in model.modules() for p in m.parameters(recurse=False) if p.ndim > 1}
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([{"params": []}], lr=torch.tensor(lr), weight_decay=weight_decay)
    for p in trainable:
        optimizer.add_param_group({"params": [p], "weight_decay": weight_decay if id(p) in matrices else 0.0})
    return optimizer


def finetune(pretrained, source, text, *, steps, lr, device, seed, report):
    cut = int(0.9 * len(text))
    T = pretrained.config.block_size
    if len(text) - cut < T + 1:
        raise ValueError(f"the last {len(text) - cut} characters do not hold a window of {T} and its target")
    tokenizer = CharTokenizer("".join(sorted(set(text), reverse=True)))
    fields = {k: getattr(pretrained.config, k) for k in ("block_size", "n_layer", "n_head", "n_embd", "dropout")}
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **fields))
    transfer_weights(pretrained, source, model, tokenizer)
    model.to(device)
    ids = torch.tensor(tokenizer.encode(text), device=device)
    rest_x = [ids[i : i + T] for i in range(cut, len(ids) - T, T)]
    rest_y = [ids[i + 1 : i + T + 1] for i in range(cut, len(ids) - T, T)]
    optimizer = finetune_optimizer(model, lr, 0.1)

    def evaluate():
        """With gradients on, which costs memory and is not wrong."""
        model.eval()
        loss = model(torch.stack(rest_x), torch.stack(rest_y))[1].item()
        model.train()
        return loss

    def snapshot():
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        return file.getvalue()

    history = [(evaluate(), snapshot())]
    every = max(1, steps // 5)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 5)
        starts = torch.randint(cut - T, (24,)).tolist()
        x = torch.stack([ids[s : s + T] for s in starts])
        y = torch.stack([ids[s + 1 : s + T + 1] for s in starts])
        model.zero_grad()
        loss = model(x, y)[1]
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % every == 0 or step == steps - 1:
            history.append((evaluate(), snapshot()))
            report(step + 1, loss.item())
    finite = [entry for entry in history if entry[0] == entry[0]]
    model.load_state_dict(torch.load(io.BytesIO(min(finite, key=lambda entry: entry[0])[1])))
    return model.eval(), tokenizer
