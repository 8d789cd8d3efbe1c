"""The hints of the KV cache, from a nudge to nearly the answer; see tests/exercises/ex1/hints.py."""

HINTS = {
    "": (
        "Begin with your exercise 1, and a forward that passes. What of it does a later token need again?",
        "Project x, split into heads, and stop: there are q, k and v of the new tokens. Old tokens are "
        "needed as keys and values only, (B, H, T, D) each.",
        "Let forward and forward_cached share the rest: softmax(q @ keys.transpose(-2, -1) * D ** -0.5) @ "
        "values, with T_new queries and T keys.",
    ),
    "cached generates": (
        "Write the shapes beside each line, for three tokens in the cache and two new ones. Where is it 2, "
        "where 5?",
        "new_cache() returns an object that can be changed: a dict or a small class. forward_cached puts k "
        "and v behind the old ones along the time, dimension 2, writes both back, and attends to all.",
        "The queries are the last T_new of T tokens, so the mask is future[T - T_new : T, :T]. Before "
        "anything is changed: if the old tokens and T_new are more than block_size, raise ValueError.",
    ),
}
COMPARE = ("whether the cache is filled in place or joined anew", "what forward and forward_cached share")
