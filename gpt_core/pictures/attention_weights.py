"""The attention weights of a model on a text, read from the model itself.

A head gives each token a mean of the values of the tokens before it: out = weights @ values. Put the
identity in place of the values, and what comes out are the weights. So nothing is computed a second time
in another way, which might be a wrong one: the mask, the scale, a rotation or a window of your own are in
it. The model is left as it is, and is no slower while it trains.
"""

import torch
import torch.nn as nn

from gpt_core.layers import Head, MultiHeadAttention
from gpt_core.models import LanguageModel

PRECISION = 1e-3  # of a head's output that is made from its weights, beside the largest of its numbers


@torch.no_grad()
def attention_weights(model: LanguageModel, idx: torch.Tensor) -> list[torch.Tensor]:
    """The weights of each layer: idx (1, T) long -> per layer (H, T, T) float32 on the CPU, [head, query,
    key].

    model: in eval mode. Its attentions are the lecture's, or of one's own with the modules of exercise 1:
    `qkv`, whose last channels are the values, head after head, and `proj`, which takes the heads' outputs;
    `kv` in place of `qkv` where heads share keys and values.

    Raises ValueError where the model has no attention, or one that cannot be read.
    """
    attentions = _attentions(model)
    inputs: dict[nn.Module, torch.Tensor] = {}
    hooks = [
        attention.register_forward_pre_hook(lambda module, args: inputs.update({module: args[0]}))
        for attention in attentions
    ]
    try:
        model(idx)
    finally:
        for hook in hooks:
            hook.remove()
    head_size = model.config.head_size
    return [
        _of_layer(attention, inputs[attention], head_size, number)
        for number, attention in enumerate(attentions, start=1)
    ]


def _attentions(model: LanguageModel) -> list[nn.Module]:
    """In the order of the layers."""
    if hasattr(model, "blocks"):
        return [block.attention for block in model.blocks]
    for name in ("sa_heads", "sa_head"):  # the rungs of one layer
        if hasattr(model, name):
            return [getattr(model, name)]
    raise ValueError(f"{type(model).__name__} has no attention: each character sees itself alone.")


def _of_layer(attention: nn.Module, x: torch.Tensor, head_size: int, number: int) -> torch.Tensor:
    heads = attention.heads if isinstance(attention, MultiHeadAttention) else [attention]
    if all(isinstance(head, Head) for head in heads):
        found = [
            _read(head, x, head.value, head.value.out_features, head.value.out_features) for head in heads
        ]
    else:
        found = [_read_fused(attention, x, head_size)]
    if any(weights is None for weights in found):
        raise ValueError(
            f"the attention of layer {number} is {type(attention).__name__}, whose weights cannot be read: "
            f"that takes a Linear qkv (or kv) whose last channels are the values, head after head, and a "
            f"Linear proj that the heads' outputs go through, as in exercise 1."
        )
    return torch.cat(found).float().cpu()


def _read_fused(attention: nn.Module, x: torch.Tensor, head_size: int) -> torch.Tensor | None:
    """Of an attention that computes all heads at once."""
    proj = getattr(attention, "proj", None)
    for name, parts in (("qkv", 3), ("kv", 2)):
        linear = getattr(attention, name, None)
        if isinstance(linear, nn.Linear) and isinstance(proj, nn.Module):
            return _read(attention, x, linear, linear.out_features // parts, head_size, proj)
    return None


def _read(
    module: nn.Module, x: torch.Tensor, linear: nn.Module, width: int, D: int, proj: nn.Module | None = None
) -> torch.Tensor | None:
    """The weights (H, T, T) of a module for x (1, T, C); None where it is not one that this can read.

    The last `width` channels that `linear` gives are the values, D for each head. The heads' outputs, head
    after head, are what `proj` takes, or without one what the module gives.
    """
    own: list[torch.Tensor] = []

    def mixed(put: torch.Tensor | None) -> torch.Tensor | None:
        """The heads' outputs (T, H * D) for these values (T, D) in each head; for its own ones without."""
        seen: list[torch.Tensor] = []

        def exchange(_, __, out):
            if put is None:
                own.append(out[0, :, -width:])
                return out
            changed = out.clone()
            changed[..., -width:] = put.repeat(1, width // D)
            return changed

        hooks = [linear.register_forward_hook(exchange)]
        if proj is not None:
            hooks.append(proj.register_forward_pre_hook(lambda _, args: seen.append(args[0])))
        try:
            seen.append(module(x))
        finally:
            for hook in hooks:
                hook.remove()
        return seen[0][0] if seen[0].shape[:2] == x.shape[:2] else None

    T = x.shape[1]
    outputs = mixed(None)
    if not own or outputs is None or width % D or outputs.shape[-1] % width:
        return None
    H = outputs.shape[-1] // D
    columns = []
    for identity in torch.eye(T, dtype=own[0].dtype, device=x.device).split(D, dim=1):  # D tokens at a time
        put = nn.functional.pad(identity, (0, D - identity.shape[1]))
        columns.append(mixed(put).view(T, H, D)[..., : identity.shape[1]])
    weights = torch.cat(columns, dim=-1).transpose(0, 1)  # (H, T, T)
    # Whatever the module does with its values, its own outputs must come out of these weights.
    values = own[0].view(T, width // D, D).transpose(0, 1).repeat_interleave(H * D // width, dim=0)
    made = (weights @ values).transpose(0, 1).reshape(T, -1)
    return weights if (made - outputs).abs().max() <= PRECISION * outputs.abs().max() else None
