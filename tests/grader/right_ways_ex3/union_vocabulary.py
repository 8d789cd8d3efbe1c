"""A tokenizer that keeps the source's characters as well, evaluation after every update,
accumulation, modes by hand."""

from dataclasses import replace

import torch
from gpt_core import GPT, CharTokenizer
from gpt_core.evaluation import exhaustive_loss


def remove_overlap(pretrain_text, heldout_text, window=50):
    table = {}

    def normal(text):
        result, origin, in_space = [], [], False
        for i, char in enumerate(text):
            if char.isspace():
                if not in_space:
                    result.append(" ")
                    origin.append(i)
                in_space = True
            else:
                if char not in table:
                    table[char] = char.lower()
                result.append(table[char])
                origin.append(i)
                in_space = False
        return "".join(result), origin

    a, origin = normal(pretrain_text)
    b, _ = normal(heldout_text)
    grams = {hash(b[j : j + window]): None for j in range(len(b) - window + 1)}
    exact = {b[j : j + window] for j in range(len(b) - window + 1)}
    line_of, number = [], 0
    for char in pretrain_text:
        line_of.append(number)
        number += char == "\n"
    dropped = set()
    for j in range(len(a) - window + 1):
        gram = a[j : j + window]
        if hash(gram) in grams and gram in exact:
            for k in range(j, j + window):
                if a[k] != " ":
                    dropped.add(line_of[origin[k]])
    lines = pretrain_text.split("\n")
    result = [line + "\n" for line in lines[:-1]] + [lines[-1]]
    return "".join(line for n, line in enumerate(result) if n not in dropped)


def transfer_weights(pretrained, source, target, target_tokenizer):
    p, t = pretrained.config, target.config
    if p.n_layer != t.n_layer:
        raise ValueError(f"n_layer: {p.n_layer} and {t.n_layer}")
    if p.n_embd != t.n_embd or p.n_head != t.n_head:
        raise ValueError("another width or number of heads")
    state = target.state_dict()  # the target's own tensors, so that writing into them is in place
    old = pretrained.state_dict()
    missing = [c for c in target_tokenizer.chars if c not in set(source.chars)]
    for name, tensor in state.items():
        value = old[name]
        if name in ("token_embedding_table.weight", "lm_head.weight", "lm_head.bias"):
            for new_id, char in enumerate(target_tokenizer.chars):
                if char not in missing:
                    tensor[new_id] = value[source.chars.index(char)]
        elif name == "position_embedding_table.weight":
            rows = min(tensor.shape[0], value.shape[0])
            tensor[:rows] = value[:rows]
        else:
            tensor[...] = value
    return sorted(missing, reverse=True)


def finetune_optimizer(model, lr, weight_decay):
    groups = {}
    for parameter in filter(lambda p: p.requires_grad, model.parameters()):
        groups.setdefault(tuple(parameter.shape), []).append(parameter)  # one group per shape
    made = [{"params": ps, "weight_decay": weight_decay if len(shape) > 1 else 0.0} for shape, ps in groups.items()]
    return torch.optim.AdamW(made, lr, betas=(0.8, 0.95), foreach=False)


def finetune(pretrained, source, text, *, steps, lr, device, seed, report):
    block = pretrained.config.block_size
    part, rest = text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :]
    for name, piece in (("training", part), ("validation", rest)):
        if len(piece) < block + 1:
            raise ValueError(f"the {name} part has {len(piece)} characters, {block + 1} are needed")
    tokenizer = CharTokenizer(list(source.chars) + sorted(set(text) - set(source.chars)))
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = GPT(replace(pretrained.config, vocab_size=tokenizer.vocab_size))
    transfer_weights(pretrained, source, model, tokenizer)
    model.to(device)
    train = torch.tensor(tokenizer.encode(part), device=device)
    val = torch.tensor(tokenizer.encode(rest), device=device)
    optimizer = finetune_optimizer(model, lr, 0.1)
    keep = GPT(model.config).to(device)  # the best weights live in a model of their own
    keep.load_state_dict(model.state_dict())
    lowest = exhaustive_loss(keep, val)
    for step in range(steps):
        optimizer.zero_grad()
        for _ in range(2):
            at = torch.randint(0, len(train) - block, (6,), generator=generator)
            x = torch.stack([train[i : i + block] for i in at.tolist()])
            y = torch.stack([train[i + 1 : i + 1 + block] for i in at.tolist()])
            _, loss = model(x, y)
            (loss / 2).backward()
        optimizer.step()
        if step % 5 == 4 or step + 1 == steps:
            report(step + 1, loss.item())
            now = exhaustive_loss(model, val)
            if now < lowest:
                lowest = now
                keep.load_state_dict(model.state_dict())
    return keep, tokenizer
