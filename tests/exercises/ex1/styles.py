"""Other right ways to write exercise 1, in which its mistakes must keep their names: patches on
solutions/ex1_fused_attention.py."""

from tests.exercises import Style

_PRODUCT = "scores = q @ k.transpose(-2, -1)"
_MASK = 'scores.masked_fill(self.future[:T, :T], float("-inf"))'
_SOFTMAX = "weights = F.softmax(scores, dim=-1)  # each query shares out 1 among its keys\n"
_DROP_WEIGHTS = "self.weight_dropout(weights)"
_OUT = "out = weights @ v"
_SPLIT = "x.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)"
_QKV_LINE = "        q, k, v = self.qkv(x).split(C, dim=-1)  # (B, T, C) each\n"
_HEADS_LINE = (
    "        q, k, v = self.split_heads(q), self.split_heads(k), self.split_heads(v)  # (B, H, T, D)\n"
)
_METHOD = (
    "    def split_heads(self, x: torch.Tensor) -> torch.Tensor:\n"
    '        """(B, T, C) -> (B, H, T, D)."""\n'
    f"        B, T, C = x.shape\n        return {_SPLIT}\n\n"
)
_BUFFER = (
    "        # True where the key comes after the query. Kept at block_size, cut to T in forward.\n"
    "        ones = torch.ones(config.block_size, config.block_size, dtype=torch.bool)\n"
    '        self.register_buffer("future", torch.triu(ones, diagonal=1), persistent=False)\n'
)
_JOINED = "  # the heads of one token side by side again\n"

EINSUM = (
    (_PRODUCT, 'scores = torch.einsum("bhqd,bhkd->bhqk", q, k)'),
    (_OUT, 'out = torch.einsum("bhqk,bhkd->bhqd", weights, v)'),
)
FLOAT64 = (
    (f"        {_PRODUCT}", f"        q, k, v = q.double(), k.double(), v.double()\n        {_PRODUCT}"),
    (_JOINED, "\n        out = out.to(x.dtype)\n"),
)
OWN_SOFTMAX = (
    (f"{_PRODUCT} * q.shape[-1] ** -0.5", "scores = (q * q.shape[-1] ** -0.5) @ k.mT"),
    (
        _SOFTMAX,
        "weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()\n"
        "        weights = weights / weights.sum(dim=-1, keepdim=True)\n",
    ),
)
WHERE = ((_MASK, 'torch.where(self.future[:T, :T], float("-inf"), scores)'),)
HEADS_AT_ONCE = (
    (_METHOD, ""),
    (_HEADS_LINE, ""),
    (
        _QKV_LINE,
        "        q, k, v = self.qkv(x).reshape(B, T, 3, self.n_head, -1).permute(2, 0, 3, 1, 4).unbind(0)\n",
    ),
)
FUNCTIONS = (
    ("        self.weight_dropout = nn.Dropout(config.dropout)\n", ""),
    ("self.output_dropout = nn.Dropout(config.dropout)", "self.p = config.dropout"),
    (_DROP_WEIGHTS, "F.dropout(weights, p=self.p, training=self.training)"),
    ("self.output_dropout(self.proj(out))", "F.dropout(self.proj(out), self.p, self.training)"),
    ("self.qkv(x).split(C, dim=-1)", "F.linear(x, self.qkv.weight).chunk(3, dim=-1)"),
)
CONTIGUOUS = (
    (_SPLIT, f"{_SPLIT}.contiguous()"),
    (f"{_OUT}  # (B, H, T, D)\n", f"{_OUT}\n        out = out.contiguous()\n"),
    ("k.transpose(-2, -1)", "k.transpose(-2, -1).contiguous()"),
)
ADDED = (
    (
        f"        scores = {_MASK}\n",
        "        hidden = self.future[:T, :T]\n"
        "        fill = torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=x.device)\n"
        "        scores = scores + fill.where(hidden, 0.0)\n",
    ),
    (_SPLIT, "x.unflatten(-1, (self.n_head, -1)).movedim(-2, -3)"),
)

STYLES = (
    Style("einsum", EINSUM + WHERE),
    # A float32 mask makes nothing wider there.
    Style("float64_inside", FLOAT64, mends=("mask_in_float32",)),
    Style("own_softmax", OWN_SOFTMAX),
    Style(
        "heads_at_once",
        HEADS_AT_ONCE
        + (
            ("    queries = [head.query.weight for head in baseline.heads]  # (D, C) each\n", ""),
            ("    keys = [head.key.weight for head in baseline.heads]\n", ""),
            ("    values = [head.value.weight for head in baseline.heads]\n", ""),
            (
                "    fused.qkv.weight.copy_(torch.cat(queries + keys + values))\n",
                "    D, C = baseline.heads[0].query.weight.shape\n"
                "    for number, head in enumerate(baseline.heads):\n"
                "        for part, linear in enumerate((head.query, head.key, head.value)):\n"
                "            start = part * C + number * D\n"
                "            fused.qkv.weight[start : start + D] = linear.weight\n",
            ),
        ),
    ),
    Style(
        "sdpa",
        (
            (_BUFFER, ""),
            (f"        {_PRODUCT} * q.shape[-1] ** -0.5  # (B, H, T, T): [query, key]\n", ""),
            (
                "        # -inf and not a large number: exp(-inf) is exactly 0, "
                "whatever the other scores are.\n",
                "",
            ),
            (f"        scores = {_MASK}\n        {_SOFTMAX}", ""),
            ("        self.weight_dropout = nn.Dropout(config.dropout)\n", ""),
            (f"        weights = {_DROP_WEIGHTS}\n", ""),
            (
                _OUT,
                "p = self.output_dropout.p if self.training else 0.0\n"
                "        out = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)",
            ),
        ),
    ),
    Style("functions", FUNCTIONS),
    Style("contiguous", CONTIGUOUS),
    Style("added_mask", ADDED),
)
