"""How fast a GPT writes, and what its KV cache weighs.

`python exercises/more/kvcache.py` and `python exercises/more/gqa.py` end up here. The models have random
weights: what they write is noise, and takes as long as anything else.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from gpt_core.config import GPTConfig
from gpt_core.layers import Factory
from gpt_core.models import GPT
from gpt_core.sampling import GREEDY, generate
from gpt_core.training.command import BAD_INPUT, FAILED, OK, Parser, begin
from gpt_core.training.device import choose_device
from gpt_core.training.terminal import fail, note

CONFIG = GPTConfig(vocab_size=65, block_size=256, n_layer=4, n_head=8, n_embd=256, dropout=0.0)
GROUPS = (8, 2, 1)  # of keys and values, for the 8 heads of CONFIG


@dataclass(frozen=True)
class Way:
    """A way to write: its name, what builds its attention, and whether it uses the cache."""

    name: str
    attention: Factory
    cache: bool = True


def with_and_without_cache(attention: Factory, arguments: list[str] | None = None) -> int:
    """Measure an attention that has new_cache and forward_cached; returns the exit status."""
    ways = [Way("without the cache", attention, cache=False), Way("with the cache", attention)]
    return _main(ways, 1, arguments)


def fewer_keys_and_values(attention: Callable, arguments: list[str] | None = None) -> int:
    """Measure a GroupedQueryAttention(config, n_kv_head=..) with all groups, and with fewer; the same."""

    def groups(G: int) -> Factory:
        return lambda config: GroupedCache(attention(config, n_kv_head=G), config, G)

    ways = [Way(f"{G} of {CONFIG.n_head} keys and values", groups(G)) for G in GROUPS]
    return _main(ways, 16, arguments)  # a cache of one text is small beside the weights


def _main(ways: list[Way], batch: int, arguments: list[str] | None) -> int:
    begin()
    parser = Parser(description="How fast a GPT with your attention writes, and what its KV cache weighs.")
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 128, 256], help="lengths of the texts")
    parser.add_argument("--batch", type=int, default=batch, help=f"texts side by side; default: {batch}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured; default: 5")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    options = parser.parse_args(arguments)
    try:
        _check(options)
        _measure(ways, options, choose_device(options.device, note=note))
    except NotImplementedError as error:
        return fail(f"Not written yet: {error}", FAILED)
    except ValueError as error:
        return fail(str(error), BAD_INPUT)
    return OK


def _check(options) -> None:
    for name, values, most in (
        ("tokens", options.tokens, CONFIG.block_size), ("batch", [options.batch], 4096),
        ("rounds", [options.rounds], 1000),
    ):  # fmt: skip
        least = 2 if name == "tokens" else 1  # the first one is given
        for value in values:
            if not least <= value <= most:
                raise ValueError(f"--{name} is {value}; it must be from {least} to {most}.")


def _measure(ways: list[Way], options, device: torch.device) -> None:
    torch.set_num_threads(1)  # one token at a time is too little work to share
    torch.manual_seed(1)
    models = {way: GPT(CONFIG, attention=way.attention).to(device) for way in ways}
    print(
        f"GPT of {CONFIG.n_layer} layers, {CONFIG.n_head} heads, {CONFIG.n_embd} wide on {device}, "
        f"{options.batch} text{'s' * (options.batch > 1)} at once; medians of {options.rounds} rounds that "
        f"take turns"
    )
    for tokens in options.tokens:
        rates = tokens_per_second(models, tokens, options.batch, options.rounds, note)
        print(f"texts of {tokens} tokens")
        for way, rate in rates.items():
            line = f"  {way.name:<24}{rate:10,.0f} tokens/s, {rate / rates[ways[0]]:6.2f} times the first"
            if way.cache:
                held = sum(cache_bytes(b.attention, tokens, options.batch) for b in models[way].blocks)
                line += f", the cache {held / 2**20:8.2f} MiB"
            print(line, flush=True)


def tokens_per_second(
    models: dict[Way, GPT], tokens: int, batch: int, rounds: int, report: Callable[[str], None]
) -> dict[Way, float]:
    """Of all texts together: the median of rounds in which the ways take turns; report: gets what is done."""
    times: dict[Way, list[float]] = {way: [] for way in models}
    for number in range(1, rounds + 1):
        report(f"texts of {tokens} tokens, round {number} of {rounds}")
        for way, model in models.items():
            times[way].append(seconds(model, tokens, batch, way.cache))
    return {way: batch * (tokens - 1) / statistics.median(times[way]) for way in models}


def seconds(model: GPT, tokens: int, batch: int, cache: bool) -> float:
    """The time of greedy texts of this many tokens, whose first one is given."""
    device = next(model.parameters()).device
    idx = torch.zeros(batch, 1, dtype=torch.long, device=device)
    generator = torch.Generator(device).manual_seed(1)
    began = time.perf_counter()
    # .cpu() waits for a GPU
    generate(model, idx, tokens - 1, cache=cache, sampling=GREEDY, generator=generator).cpu()
    return time.perf_counter() - began


@torch.no_grad()
def cache_bytes(attention: nn.Module, tokens: int, batch: int) -> int:
    """What the cache of one attention holds after this many tokens; room that is not used yet counts."""
    cache = attention.eval().new_cache()
    weight = attention.proj.weight
    attention.forward_cached(weight.new_zeros(batch, tokens, len(weight)), cache)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors_in(cache)}
    return sum(storage.nbytes() for storage in storages.values())


def tensors_in(value, seen: set[int] | None = None) -> Iterator[torch.Tensor]:
    """The tensors in an object of any kind, in its containers and attributes; parameters are none of them."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        if not isinstance(value, nn.Parameter):
            yield value
        return
    inside = list(getattr(value, "__dict__", {}).values())
    inside += value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
    for item in inside:
        yield from tensors_in(item, seen)


class GroupedCache(nn.Module):
    """A GroupedQueryAttention, which need not have a cache of its own, with one.

    Its forward is the attention's; forward_cached reads q.weight, kv.weight and proj.
    """

    def __init__(self, attention: nn.Module, config: GPTConfig, n_kv_head: int):
        super().__init__()
        self.attention, self.config, self.n_kv_head = attention, config, n_kv_head

    @property
    def proj(self) -> nn.Module:
        """The attention's."""
        return self.attention.proj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x)

    def new_cache(self) -> dict:
        """An empty one; it gets room for block_size tokens when the batch size is known."""
        return {"length": 0}

    def forward_cached(self, x: torch.Tensor, cache: dict) -> torch.Tensor:
        """The outputs of the tokens after those in the cache: (B, T_new, C) -> (B, T_new, C)."""
        B, T_new, C = x.shape
        G, H, D = self.n_kv_head, self.config.n_head, self.config.head_size
        if cache["length"] == 0:
            cache["kv"] = x.new_empty(2, B, G, self.config.block_size, D)
        T = cache["length"] = cache["length"] + T_new
        kv = F.linear(x, self.attention.kv.weight).view(B, T_new, 2, G, D)
        cache["kv"][:, :, :, T - T_new : T] = kv.permute(2, 0, 3, 1, 4)
        k, v = cache["kv"][:, :, :, :T]  # (B, G, T, D) each
        # The heads of a group are H / G times as many queries of one head, so that nothing of the cache is
        # repeated.
        q = F.linear(x, self.attention.q.weight).view(B, T_new, G, H // G, D).permute(0, 2, 3, 1, 4)
        seen = torch.ones(T_new, T, dtype=torch.bool, device=x.device).tril(T - T_new).repeat(H // G, 1)
        out = F.scaled_dot_product_attention(q.reshape(B, G, -1, D), k, v, attn_mask=seen)
        return self.proj(out.view(B, H, T_new, D).transpose(1, 2).reshape(B, T_new, C))
