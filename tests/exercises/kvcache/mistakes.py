"""The catalogue of known mistakes of the KV cache: each a patch on solutions/more/kvcache.py."""

from tests.exercises import Mistake

_MASK = "scores = scores.masked_fill(self.future[T - T_new : T, :T]"
_KEYS = "self.keys[:, :, self.length : end] = k"
_VALUES = "self.values[:, :, self.length : end] = v"
_ROOM = "k.new_empty(B, H, self.block_size, D)"
_FULL = "end > self.block_size"
_RETURN = "return self.keys[:, :, :end], self.values[:, :, :end]"
_NEW = "return Cache(self.config.block_size)"
_PROJECT = "q, k, v = self.project(x)"
_APPEND = "keys, values = cache.append(k, v)"
_ATTEND = "return self.attend(q, keys, values)"
_WEIGHT = "self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)"

MISTAKES = (
    Mistake(
        "mask_top_left", "a later chunk takes the first rows of the mask",
        "Your mask is the first T_new rows of the triangle, so a new token sees the beginning of the text "
        "alone. The new tokens are the last of T: rows T - T_new to T - 1. is_causal=True has this fault.",
        ((_MASK, "scores = scores.masked_fill(self.future[:T_new, :T]"),),
    ),
    Mistake(
        "top_left_for_several", "the mask of several new tokens is aligned top left",
        "is_causal=True, as the first rows of a triangle, lets new token i see the tokens 0 to i of the "
        "whole text. One token is right in yours, without a mask; several need the last rows of (T, T).",
        ((_MASK, f"if T_new > 1:\n            {_MASK.replace('T - T_new : T', ':T_new')}"),),
    ),
    Mistake(
        "no_mask_with_a_past", "a later chunk is not masked",
        "You mask where the cache is empty and not where it holds something. One token alone needs no mask, "
        "but of several the first ones now see those after them.",
        ((_MASK, f"if T_new == T:\n            {_MASK}"),),
    ),
    Mistake(
        "past_not_seen", "the new tokens do not see the past",
        "Your new tokens attend to their own keys and values alone. Is what the cache holds used, and is it "
        "filled at all? `cache or ..` and `if not cache` take an empty dict or list for none.",
        ((_ATTEND, "return self.attend(q, k, v)"),),
    ),
    Mistake(
        "one_cache_for_all", "there is one cache for all texts",
        "new_cache gives the same object each time (on self, on the class, in the file, a default argument), "
        "so the next text goes on from the last one. Make it in new_cache's body; keep nothing on self.",
        ((_NEW, "self.kept = getattr(self, 'kept', None) or Cache(self.config.block_size)\n"
                "        return self.kept"),),
    ),
    Mistake(
        "one_cache_emptied", "one cache, kept on the module, that new_cache empties",
        "A new text empties the one cache that all share, and a text that goes on later has lost its past. "
        "new_cache must return an object of its own.",
        ((_NEW, "self.kept = getattr(self, 'kept', None) or Cache(self.config.block_size)\n"
                "        self.kept.length = 0\n        return self.kept"),),
    ),
    Mistake(
        "joined_along_heads", "keys and values are joined along the heads",
        "You join along dimension 1, the heads; the time is dimension 2. More heads of keys than of queries "
        "do not fit together.",
        ((_RETURN, "past = self.keys[:, :, : end - k.shape[2]]\n"
                   "        return torch.cat((past, k), dim=1), self.values[:, :, :end]"),),
    ),
    Mistake(
        "new_before_old", "the new keys and values stand before the old ones",
        "torch.cat((k, keys)) puts the new tokens first, and the mask then hides the wrong ones. The older "
        "stand first.",
        ((_RETURN, "return (self.keys[:, :, :end].roll(k.shape[2], 2), "
                   "self.values[:, :, :end].roll(k.shape[2], 2))"),),
    ),
    Mistake(
        "last_chunk_only", "the cache keeps the last chunk alone",
        "Each call puts the keys and values of its own tokens in the place of the older ones, so that the "
        "next call sees no further back. Put them behind.",
        ((_RETURN, "self.length = k.shape[2]\n        found = self.keys[:, :, :end].clone(), "
                   "self.values[:, :, :end].clone()\n        self.keys[:, :, : self.length] = k\n"
                   "        self.values[:, :, : self.length] = v\n        return found"),),
    ),
    Mistake(
        "chunks_counted", "the cache counts calls, and not tokens",
        "Your length grows by 1 in each call, so after a chunk of several tokens the next one overwrites "
        "them. It must grow by x.shape[1].",
        (("self.length = end", "self.length += 1"),),
    ),
    Mistake(
        "one_sequence_for_all", "the keys and values of the first sequence are kept for all",
        "Your cache has no dimension for the batch, or of size 1: all sequences read the first one's past.",
        ((_ROOM, "k.new_empty(1, H, self.block_size, D)"), (_KEYS, _KEYS + "[:1]"),
         (_VALUES, _VALUES + "[:1]")),
    ),
    Mistake(
        "cache_in_float32", "the cache is float32, whatever x is",
        "torch.empty makes float32, and a bfloat16 key comes out of your cache as float32. Make it with "
        "dtype=k.dtype and device=k.device, or by k.new_empty.",
        ((_ROOM, "torch.empty(B, H, self.block_size, D, device=k.device)"),),
    ),
    Mistake(
        "cache_on_the_cpu", "the cache is made on the CPU",
        "torch.empty without a device makes a tensor on the CPU, wherever k is. k.new_empty takes k's.",
        ((_ROOM, "torch.empty(B, H, self.block_size, D, dtype=k.dtype)"),),
        devices=True,
    ),
    Mistake(
        "no_value_error", "too many tokens are no ValueError",
        "You let the cache grow past block_size, and something else fails, or nothing. Compare the tokens in "
        "the cache plus T_new with block_size, and raise ValueError.",
        ((_FULL, "False"),),
    ),
    Mistake(
        "refused_too_late", "the ValueError comes when the tokens are in the cache already",
        "You append the new tokens, or count them, and then look whether they are too many: after the "
        "ValueError the cache holds them. Look first, and change the cache only then.",
        ((f"if {_FULL}:", f"if {_FULL}:\n            self.length = end"),),
    ),
    Mistake(
        "last_token_refused", "the last of block_size tokens is refused",
        "You compare with >=, so the cache holds one token fewer than the model takes.",
        ((_FULL, "end >= self.block_size"),),
    ),
    Mistake(
        "chunk_alone_compared", "only the chunk's own length is compared with block_size",
        "You refuse a chunk longer than block_size, and not one that does not fit behind what is there.",
        ((_FULL, "k.shape[2] > self.block_size"),),
    ),
    Mistake(
        "asserted", "too many tokens are an AssertionError",
        "assert is for what cannot happen, and python -O leaves it out. The contract says ValueError.",
        (("raise ValueError(", "raise AssertionError("),),
    ),
    Mistake(
        "oldest_forgotten", "the oldest tokens are dropped in place of a ValueError",
        "You let the window slide. Then every token stands at another position, and its key and value are "
        "those of the old one: gpt_core begins a new cache there, and asks you for a ValueError.",
        ((_FULL, "False"), ("self.length = end", "if end > self.block_size:\n            return k, v\n"
                            "        self.length = end"),
         (_KEYS, "self.keys[:, :, self.length : end] = k[:, :, : self.block_size - self.length]"),
         (_VALUES, "self.values[:, :, self.length : end] = v[:, :, : self.block_size - self.length]")),
    ),
    Mistake(
        "everything_again", "the whole text is computed anew in each call",
        "You keep x and run forward on all of it. That is right, and no faster than without a cache. Keep "
        "keys and values, and compute the new tokens alone.",
        ((_PROJECT + "\n        keys", "cache.x = torch.cat((cache.x, x), 1) if cache.length else x\n"
          "        q, k, v = (m[:, :, cache.length :] for m in self.project(cache.x))\n        keys"),
         (_ATTEND, "return self.forward(cache.x)[:, -x.shape[1] :]")),
    ),
    Mistake(
        "old_queries_again", "the old queries are kept, and all rows computed again",
        "You keep the queries too, compute the outputs of all tokens, and throw all but the last away. The "
        "old ones are computed already.",
        ((_APPEND, f"cache.q = torch.cat((cache.q, q), 2) if cache.length else q\n        {_APPEND}"),
         (_ATTEND, "return self.attend(cache.q, keys, values)[:, -x.shape[1] :]")),
    ),
    Mistake(
        "keys_and_values_again", "the old keys and values are projected again",
        "You keep x, and project the keys and values of all tokens in each call. They never change: keep "
        "them as they come out of qkv.",
        ((_ATTEND, "cache.x = torch.cat((cache.x, x), 1) if hasattr(cache, 'x') else x\n"
                   "        _, keys, values = self.project(cache.x)\n        " + _ATTEND),),
    ),
    Mistake(
        "returns_a_pair", "forward_cached returns the cache as well",
        "You return (y, cache), as some libraries do. Here the output alone is returned, and the cache that "
        "was given is changed.",
        ((_ATTEND, f"{_ATTEND}, cache"),),
    ),
    Mistake(
        "dropout_with_a_cache", "forward_cached drops out in eval mode",
        "F.dropout(x, p) and dropout_p of scaled_dot_product_attention ask no mode. Pass p only where "
        "self.training, or use nn.Dropout.",
        ((_ATTEND, "return F.dropout(self.attend(q, keys, values), self.output_dropout.p)"),),
    ),
    Mistake(
        "loop_over_heads", "forward_cached goes over the heads one by one",
        "Your forward has all heads in one tensor, and forward_cached a loop. One product does all of them "
        "there, too.",
        ((_ATTEND, "each = [self.attend(q, keys, values) for _ in range(q.shape[1])]\n"
                   "        return each[0]"),),
    ),
    Mistake(
        "weights_kept", "forward_cached uses weights that were copied once",
        "You prepare the weights in the first new_cache and keep them on the module. When they change, a new "
        "cache still computes with the old ones.",
        ((_NEW, "self.kept = getattr(self, 'kept', None) or {'w': self.proj.weight.detach().clone()}\n"
                f"        {_NEW}"),
         (_ATTEND, f"now, self.proj.weight.data = self.proj.weight.data, self.kept['w']\n"
                   f"        y = {_ATTEND[7:]}\n        self.proj.weight.data = now\n        return y")),
        keeps=True,
    ),
)  # fmt: skip
