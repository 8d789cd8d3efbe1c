"""The catalogue of known mistakes of exercise 1: each a patch on solutions/ex1_fused_attention.py."""

from tests.exercises import Mistake

# Lines of the solution that several mistakes change.
_SCALE = "q.shape[-1] ** -0.5"
_MASK = 'scores.masked_fill(self.future[:T, :T], float("-inf"))'
_MASK_LINE = f"        scores = {_MASK}\n"
_SOFTMAX = "F.softmax(scores, dim=-1)"
_DROP_WEIGHTS = "self.weight_dropout(weights)"
_SPLIT = "x.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)"
_QKV_LINEAR = "nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)"
_PROJ_LINEAR = "self.proj = nn.Linear(config.n_embd, config.n_embd)"
_QKV = "q, k, v = self.qkv(x).split(C, dim=-1)"
_HEADS = "q, k, v = self.split_heads(q), self.split_heads(k), self.split_heads(v)"
_OUT = "out = weights @ v"
_MERGE = "out.transpose(1, 2).reshape(B, T, C)"
_RETURN = "self.output_dropout(self.proj(out))"
_MODULE_WEIGHTS = "self.weight_dropout = nn.Dropout(config.dropout)"
_MODULE_OUTPUT = "self.output_dropout = nn.Dropout(config.dropout)"
_FUSED = "fused = FusedMultiHeadAttention(baseline.config)"
_JOIN = "torch.cat(queries + keys + values)"

MISTAKES = (
    # The device.
    Mistake(
        "mask_is_no_buffer",
        "the mask is an attribute, and no buffer",
        "A tensor that is kept as a plain attribute stays on the CPU when the module moves to a GPU, and "
        "there the scores meet it. Keep it with self.register_buffer: buffers move with the module.",
        (
            (
                'self.register_buffer("future", torch.triu(ones, diagonal=1), persistent=False)',
                "self.future = torch.triu(ones, diagonal=1)",
            ),
        ),
        devices=True,
    ),
    Mistake(
        "mask_without_device",
        "the mask is made in forward, without a device",
        "A tensor that you make is on the CPU unless you say otherwise. On a GPU the scores meet a mask of "
        "the CPU. Write device=x.device where you make it, or keep it in a buffer.",
        ((_MASK, 'scores.masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf"))'),),
        devices=True,
    ),
    # The softmax and the scale.
    Mistake(
        "queries_normalised",
        "queries and keys are normalised",
        "You give q and k length 1 before their product (QK-norm, which some later models have, with a scale "
        "that is learned). The lecture's q . k grows with both lengths; take the normalisation out.",
        ((_HEADS, f"{_HEADS}\n        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)"),),
    ),
    Mistake(
        "softmax_over_queries",
        "the softmax runs over the queries",
        "Your softmax normalises each column of the scores: all queries together share out 1 for each key, "
        "so the weights of one token do not sum to 1. A token shares its attention among the keys it sees, "
        "which is the last dimension of (B, H, T, T). Look at the dim of your softmax.",
        ((_SOFTMAX, "F.softmax(scores, dim=-2)"),),
    ),
    Mistake(
        "softmax_over_heads",
        "the softmax runs over the heads",
        "Your softmax runs over dimension 1, so the heads of one pair of tokens compete with each other. "
        "Each head has a softmax of its own, over its keys: the last dimension of (B, H, T, T). Look at dim.",
        ((_SOFTMAX, "F.softmax(scores, dim=1)"),),
    ),
    Mistake(
        "softmax_over_batch",
        "the softmax runs over the batch",
        "Your softmax runs over dimension 0, so the sequences of a batch compete with each other, and one "
        "sequence alone gives weights of 1 everywhere. It belongs over the keys, the last dimension. Look "
        "at dim.",
        ((_SOFTMAX, "F.softmax(scores, dim=0)"),),
    ),
    Mistake(
        "softmax_overflows",
        "a softmax written out without taking the maximum off",
        "You divide exp(scores) by its sum. For scores above 88 exp is infinite in float32, and for scores "
        "below -104 every term is 0: both give NaN. Subtract the row's maximum first, which changes nothing "
        "else, or use F.softmax.",
        ((_SOFTMAX, "scores.exp() / scores.exp().sum(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "no_scale",
        "the scores are not scaled",
        "You use q . k as it is. For inputs of variance 1 it has variance D, so with wide heads the softmax "
        "is nearly a maximum and its gradient vanishes. Multiply by 1 / sqrt(D) before the softmax.",
        ((f" * {_SCALE}", ""),),
    ),
    Mistake(
        "scale_by_width",
        "the scores are scaled by C instead of D",
        "You divide by sqrt(C), the width of the whole model; each head's q . k sums over D = C / H channels "
        "only, so your softmax is too flat. The size to take is the last dimension of q after the split "
        "into heads.",
        ((_SCALE, "C ** -0.5"),),
    ),
    Mistake(
        "scale_without_root",
        "the scores are divided by D instead of sqrt(D)",
        "q . k has variance D, so its standard deviation is sqrt(D); dividing by D makes wide heads nearly "
        "uniform. Look for the missing square root (or for a scale that is applied twice).",
        ((_SCALE, "q.shape[-1] ** -1.0"),),
    ),
    Mistake(
        "scale_multiplied",
        "the scores are multiplied by sqrt(D) instead of divided",
        "Your scale makes the scores larger where it should make them smaller: the softmax becomes a "
        "maximum. The exponent is -0.5, or you divide by sqrt(D).",
        ((_SCALE, "q.shape[-1] ** 0.5"),),
    ),
    Mistake(
        "scale_by_heads",
        "the scores are scaled by the number of heads",
        "You divide by sqrt(H). The sum in q . k runs over the D channels of one head, so D is what counts.",
        ((_SCALE, "self.n_head ** -0.5"),),
    ),
    Mistake(
        "scale_on_both",
        "1 / sqrt(D) is applied to a score that is scaled already",
        "You scale the queries by 1 / sqrt(D), then the scores by it again through the keys (a fourth root "
        "on each would be right, a square root on each is not). Here the product ends up divided by D ** "
        "0.75.",
        ((_SCALE, "q.shape[-1] ** -0.75"),),
    ),
    # The mask.
    Mistake(
        "no_mask",
        "there is no causal mask",
        "Every token sees the whole sequence, the tokens after it included. Training loss then falls to "
        "almost 0, because the answer stands in the input, and generation is nonsense. Is the result of "
        "masked_fill, which returns a new tensor, not used? Does mask[:, :, T, T] take one element, where "
        "mask[:, :, :T, :T] is meant? Mask the scores where key > query.",
        ((_MASK_LINE, ""),),
    ),
    Mistake(
        "mask_transposed",
        "the mask is transposed: tokens see the future and not the past",
        "Your mask keeps the keys at and after the query. In scores[query, key] what must go is the upper "
        "triangle, key > query. Check tril against triu, and which index is the query.",
        (("self.future[:T, :T]", "self.future[:T, :T].T"),),
    ),
    Mistake(
        "mask_hides_itself",
        "the mask removes the diagonal: a token does not see itself",
        "Your mask also removes key == query. Token 0 is left without any key, and a softmax over nothing "
        "but -inf is NaN. The triangle to remove starts one above the diagonal: triu(.., diagonal=1).",
        (("diagonal=1", "diagonal=0"),),
    ),
    Mistake(
        "mask_one_ahead",
        "the mask lets each token see the next one",
        "Your mask starts two above the diagonal, so each token sees its successor, the very thing that it "
        "is to predict. The triangle to remove starts one above the diagonal.",
        (("diagonal=1", "diagonal=2"),),
    ),
    Mistake(
        "mask_filled_with_zero",
        "masked scores are set to 0",
        "A score of 0 is not nothing: exp(0) is 1, so the future still gets weight. This also happens when "
        "the scores are multiplied with a mask of ones and zeros. Put -inf in the place of a masked score.",
        ((_MASK, "scores.masked_fill(self.future[:T, :T], 0.0)"),),
    ),
    Mistake(
        "mask_minus_10000",
        "masked scores are set to -10000",
        "-1e4 is a large number, not minus infinity: where the scores that a query may see are as low, the "
        "masked keys get all the weight. float('-inf') always works; so does torch.finfo(dtype).min.",
        ((_MASK, "scores.masked_fill(self.future[:T, :T], -1e4)"),),
    ),
    Mistake(
        "mask_is_a_number_in_half",
        "in half precision masked scores are set to a number",
        "float16 has no -1e9, so something like -1e4 is often chosen for half precision; but a score can be "
        "lower, and bfloat16 reaches as far as float32. float('-inf') is a number of every dtype; so is "
        "torch.finfo(scores.dtype).min.",
        (
            (
                _MASK,
                'scores.masked_fill(self.future[:T, :T], float("-inf") if x.dtype.itemsize > 2 else -1e4)',
            ),
        ),
    ),
    Mistake(
        "mask_minus_65504",
        "masked scores are set to -65504",
        "-65504 is the lowest number of float16, and not minus infinity: in float32 and bfloat16 scores can "
        "be lower, and then the masked keys get all the weight. Use float('-inf'), or "
        "torch.finfo(scores.dtype).min.",
        ((_MASK, "scores.masked_fill(self.future[:T, :T], -65504.0)"),),
    ),
    Mistake(
        "mask_added_10000",
        "-10000 is added to masked scores",
        "Adding -1e4 only lowers a masked score; one that was large to begin with still wins. Replace it by "
        "-inf (masked_fill), or add -inf.",
        ((_MASK, "scores - 1e4 * self.future[:T, :T]"),),
    ),
    Mistake(
        "mask_after_softmax",
        "the mask is applied after the softmax",
        "You zero the weights of the future after the softmax has counted them: the rows no longer sum to 1, "
        "and early tokens come out too small. Mask the scores, then take the softmax.",
        ((_MASK_LINE, ""), (_SOFTMAX, "F.softmax(scores, dim=-1).masked_fill(self.future[:T, :T], 0.0)")),
    ),
    Mistake(
        "mask_multiplied",
        "the scores are multiplied by -inf",
        "You multiply where you should replace: a negative score times -inf is +inf, and the softmax gives "
        "NaN. Use masked_fill(mask, -inf), or add a mask that holds 0 and -inf.",
        ((_MASK, 'scores * torch.ones_like(scores).masked_fill(self.future[:T, :T], float("-inf"))'),),
    ),
    Mistake(
        "mask_of_ones_added",
        "a mask of ones and zeros is added to the scores",
        "You add the 0/1 triangle itself: the keys that a query may see get 1 more, and the others stay. A "
        "mask that is added must hold 0 where the key is seen and -inf where it is not.",
        ((_MASK, "scores + (~self.future[:T, :T]).to(scores.dtype)"),),
    ),
    Mistake(
        "mask_not_cropped",
        "the mask is not cut to T",
        "Your mask is (block_size, block_size), also for shorter inputs, so anything shorter than block_size "
        "fails. Generation starts with one token. Take mask[:T, :T].",
        (("self.future[:T, :T]", "self.future"),),
    ),
    Mistake(
        "mask_of_512",
        "the mask is made for 512 tokens, whatever block_size is",
        "Your mask has a fixed size, so that longer inputs fail although block_size allows them. Make it for "
        "config.block_size, or in forward for T.",
        (
            (
                "torch.ones(config.block_size, config.block_size, dtype=torch.bool)",
                "torch.ones(512, 512, dtype=torch.bool)",
            ),
        ),
    ),
    Mistake(
        "window_of_384",
        "a token sees only the last 384 tokens",
        "Keys further back than 384 tokens are masked. A sliding window is a way to make long inputs "
        "cheaper; the lecture's token sees all tokens before it, up to block_size.",
        (
            (
                _MASK_LINE,
                f"{_MASK_LINE}        far = torch.ones_like(self.future[:T, :T]).tril(-384)\n"
                '        scores = scores.masked_fill(far, float("-inf"))\n',
            ),
        ),
    ),
    Mistake(
        "mask_of_first_length",
        "the mask of the first input is kept for all later ones",
        "You build the mask once, for the T of the first call, and keep it on self. The next input has "
        "another length. Build it for block_size and cut it to T, or make it anew in each call.",
        (
            (
                _MASK_LINE,
                "        if not hasattr(self, 'kept'):\n            self.kept = self.future[:T, :T]\n"
                '        scores = scores.masked_fill(self.kept, float("-inf"))\n',
            ),
        ),
    ),
    Mistake(
        "mask_in_float32",
        "the scores become float32: a mask or a scale is float32 whatever x is",
        "Adding a float32 mask, or multiplying with a float32 tensor, makes bfloat16 scores float32, and "
        "those do not fit v. Make it in the scores' dtype; a boolean mask with masked_fill and a scale "
        "that is a Python number have none.",
        (
            (
                _MASK,
                'scores + torch.full((T, T), float("-inf"), dtype=torch.float32, device=x.device).triu(1)',
            ),
        ),
    ),
    Mistake(
        "mask_upside_down",
        "the mask takes away what it should keep",
        "You fill where the triangle is 1 instead of where it is 0 (or the other way round): a token sees "
        "only what comes after it, and the last one sees nothing, which gives NaN.",
        (("self.future[:T, :T]", "~self.future[:T, :T]"),),
    ),
    Mistake(
        "mask_upside_down_in_sdpa",
        "the mask removes what it should keep, and a fully masked row gives 0",
        "A token sees only what comes after it, and the last one sees nothing, for which "
        "scaled_dot_product_attention gives 0. In its attn_mask True keeps a key; in masked_fill True "
        "removes it.",
        (
            ("self.future[:T, :T]", "~self.future[:T, :T]"),
            (_SOFTMAX, "F.softmax(scores, dim=-1).nan_to_num(0.0)"),
        ),
    ),
    Mistake(
        "mask_is_parameter",
        "the mask is a Parameter",
        "A Parameter is saved, counted, and handed to the optimizer; a mask is a constant. Use "
        "register_buffer(name, tensor, persistent=False), which still moves it with the module.",
        (
            (
                'self.register_buffer("future", torch.triu(ones, diagonal=1), persistent=False)',
                "self.future = nn.Parameter(torch.triu(ones, diagonal=1), requires_grad=False)",
            ),
        ),
    ),
    # The shapes.
    Mistake(
        "split_without_transpose",
        "the split into heads is a view as (B, H, T, D)",
        "view never moves a number: memory holds token after token, so reading it as (B, H, T, D) gives the "
        "first head all channels of the first T / H tokens. View as (B, T, H, D), then transpose(1, 2).",
        ((_SPLIT, "x.reshape(B, self.n_head, T, C // self.n_head)"),),
    ),
    Mistake(
        "heads_not_moved",
        "the head is not moved in front of the time",
        "q, k and v are still (B, T, H, D), so q @ k.transpose(-2, -1) compares the heads of one token with "
        "each other: the scores are (B, T, H, H), and a (T, T) mask fits them only by chance. transpose(1, "
        "2) after the view.",
        ((_SPLIT, "x.view(B, T, self.n_head, C // self.n_head)"), (_MERGE, "out.reshape(B, T, C)")),
    ),
    Mistake(
        "heads_not_moved_mask_cut",
        "the head is not moved in front of the time, and the mask is cut to H",
        "q, k and v are still (B, T, H, D), so the heads of one token attend to each other and no token ever "
        "sees another; a mask cut to (H, H) only hides the error message. transpose(1, 2) after the view, "
        "and the mask cut to T.",
        (
            (_SPLIT, "x.view(B, T, self.n_head, C // self.n_head)"),
            (_MERGE, "out.reshape(B, T, C)"),
            (
                "ones = torch.ones(config.block_size, config.block_size, dtype=torch.bool)",
                "ones = torch.ones(config.n_head, config.n_head, dtype=torch.bool)",
            ),
            ("self.future[:T, :T]", "self.future"),
        ),
    ),
    Mistake(
        "heads_not_moved_no_mask",
        "the heads of one token attend to each other, without a mask",
        "q, k and v are still (B, T, H, D), so the scores are (B, T, H, H): no token ever sees another. "
        "transpose(1, 2) after the view, then the causal mask.",
        (
            (_SPLIT, "x.view(B, T, self.n_head, C // self.n_head)"),
            (_MERGE, "out.reshape(B, T, C)"),
            (_MASK_LINE, ""),
        ),
    ),
    Mistake(
        "merge_without_transpose",
        "the heads are joined without moving time back",
        "out is (B, H, T, D); reshaping it to (B, T, C) as it is mixes tokens with heads, though the shape "
        "is right. transpose(1, 2) first, so that the H heads of one token lie side by side.",
        ((_MERGE, "out.reshape(B, T, C)"),),
    ),
    Mistake(
        "merge_channel_first",
        "the heads are joined channel by channel",
        "You order the channels as (D, H): channel 0 of every head, then channel 1. The contract, and "
        "torch.cat over the heads, put head after head: transpose(1, 2), not permute(0, 2, 3, 1).",
        ((_MERGE, "out.permute(0, 2, 3, 1).reshape(B, T, C)"),),
    ),
    Mistake(
        "head_index_fastest",
        "the split reads the channels as (D, H)",
        "You view the C channels as (D, H), so a head gets every H-th channel. In qkv.weight the rows of one "
        "head stand together: view as (B, T, H, D).",
        ((_SPLIT, "x.view(B, T, C // self.n_head, self.n_head).permute(0, 3, 1, 2)"),),
    ),
    Mistake(
        "rows_by_head",
        "the rows of qkv are read head by head",
        "You view qkv's output as (B, T, H, 3 D), so that each head has its query, key and value together. "
        "The contract puts all queries first, then all keys, then all values: split the last dimension in "
        "three, then each in heads.",
        (
            (
                _QKV,
                "q, k, v = (m.reshape(B, T, C) for m in self.qkv(x).view(B, T, self.n_head, 3 * (C // "
                "self.n_head)).split(C // self.n_head, dim=-1))",
            ),
        ),
    ),
    Mistake(
        "rows_interleaved",
        "the rows of qkv are read alternately: query, key, value, query, ..",
        "You view qkv's output as (B, T, C, 3), so that its rows go query, key, value, query, .. The "
        "contract puts all queries first, then all keys, then all values.",
        ((_QKV, "q, k, v = self.qkv(x).view(B, T, C, 3).unbind(-1)"),),
    ),
    Mistake(
        "rows_key_first",
        "queries and keys are swapped",
        "The first third of qkv.weight are the queries, the second the keys. With the two swapped the scores "
        "are transposed, and the mask then cuts the wrong pairs.",
        ((_QKV, _QKV.replace("q, k, v", "k, q, v")),),
    ),
    Mistake(
        "rows_value_first",
        "the rows of qkv are read as value, key, query",
        "The order of the rows in qkv.weight is query, key, value; you take the first third as the values.",
        ((_QKV, _QKV.replace("q, k, v", "v, k, q")),),
    ),
    Mistake(
        "rows_value_second",
        "keys and values are swapped",
        "The second third of qkv.weight are the keys, the last third the values; you take them the other way "
        "round.",
        ((_QKV, _QKV.replace("q, k, v", "q, v, k")),),
    ),
    Mistake(
        "rows_rotated",
        "the rows of qkv are read as key, value, query",
        "The order of the rows in qkv.weight is query, key, value; yours begins with the keys and ends with "
        "the queries.",
        ((_QKV, _QKV.replace("q, k, v", "k, v, q")),),
    ),
    Mistake(
        "rows_value_query_key",
        "the rows of qkv are read as value, query, key",
        "The order of the rows in qkv.weight is query, key, value; yours begins with the values.",
        ((_QKV, _QKV.replace("q, k, v", "v, q, k")),),
    ),
    Mistake(
        "key_is_query",
        "the keys are the queries",
        "You compare queries with queries: each token mostly attends to itself, and the key rows are never "
        "used. Does the same name stand on both sides of the product?",
        ((_HEADS, "q, k, v = self.split_heads(q), self.split_heads(q), self.split_heads(v)"),),
    ),
    Mistake(
        "value_is_key",
        "the values are the keys",
        "You average keys where you should average values; the value rows are never used.",
        ((_HEADS, "q, k, v = self.split_heads(q), self.split_heads(k), self.split_heads(k)"),),
    ),
    Mistake(
        "value_is_input",
        "the input is averaged instead of the values",
        "You apply the attention weights to x itself. What a token passes on is its value, the last third of "
        "qkv.",
        ((_HEADS, "q, k, v = self.split_heads(q), self.split_heads(k), self.split_heads(x)"),),
    ),
    Mistake(
        "heads_averaged",
        "the heads are averaged",
        "You take the mean over the heads, and every head's channels carry the same. The heads' outputs "
        "stand side by side: H times D channels make C.",
        ((_OUT, "out = (weights @ v).mean(dim=1, keepdim=True).expand_as(v)"),),
    ),
    Mistake(
        "weights_averaged",
        "the attention weights are averaged over the heads",
        "All heads use the mean of their attention matrices, so there is in effect one head. Each head "
        "attends with its own weights.",
        ((_OUT, "out = weights.mean(dim=1, keepdim=True) @ v"),),
    ),
    Mistake(
        "heads_reversed",
        "the heads are joined in reverse order",
        "The last head's channels come first. Head 0 owns the first D channels, as in torch.cat over the "
        "heads.",
        ((_MERGE, "out.flip(1).transpose(1, 2).reshape(B, T, C)"),),
    ),
    # The projection.
    Mistake(
        "projection_missing",
        "the output is not projected",
        "You return the joined heads as they are. proj mixes the heads; without it no channel combines two "
        "of them.",
        ((_RETURN, "self.output_dropout(out)"),),
    ),
    Mistake(
        "projection_without_bias",
        "proj has no bias",
        "nn.Linear(C, C, bias=False) leaves proj.bias out; the baseline's proj has one. Only qkv has none.",
        (
            (_PROJ_LINEAR, "self.proj = nn.Linear(config.n_embd, config.n_embd, bias=False)"),
            ("    fused.proj.bias.copy_(baseline.proj.bias)\n", ""),
        ),
    ),
    Mistake(
        "projection_bias_unused",
        "proj's bias is never added",
        "You multiply by proj.weight and leave proj.bias out. Call self.proj(out).",
        ((_RETURN, "self.output_dropout(F.linear(out, self.proj.weight))"),),
    ),
    Mistake(
        "projection_transposed",
        "proj's weight is transposed",
        "nn.Linear multiplies with weight.T, its rows are the outputs; yours multiplies with the weight as "
        "it is.",
        ((_RETURN, "self.output_dropout(F.linear(out, self.proj.weight.T, self.proj.bias))"),),
    ),
    Mistake(
        "projection_twice",
        "proj is applied twice",
        "The output goes through proj two times. Does your merge project, and then forward again?",
        ((_RETURN, "self.output_dropout(self.proj(self.proj(out)))"),),
    ),
    Mistake(
        "residual_inside",
        "x is added inside the attention",
        "You return x + proj(..). The residual connection belongs to Block, which adds x itself; with both "
        "it is there twice.",
        ((_RETURN, "x + self.output_dropout(self.proj(out))"),),
    ),
    # The parameters.
    Mistake(
        "qkv_with_bias",
        "qkv has a bias",
        "nn.Linear adds a bias unless told not to; the lecture's key, query and value have none. Pass "
        "bias=False.",
        ((_QKV_LINEAR, "nn.Linear(config.n_embd, 3 * config.n_embd)"),),
    ),
    Mistake(
        "three_linears",
        "three Linears instead of one",
        "You keep query, key and value in three modules. That is a right attention, and only half of the "
        "exercise: one Linear with 3C rows does all three in one product, and saved weights are named "
        "qkv.weight.",
        (
            (
                f"self.qkv = {_QKV_LINEAR}",
                "self.query = nn.Linear(config.n_embd, config.n_embd, bias=False)\n"
                "        self.key = nn.Linear(config.n_embd, config.n_embd, bias=False)\n"
                "        self.value = nn.Linear(config.n_embd, config.n_embd, bias=False)",
            ),
            (_QKV, "q, k, v = self.query(x), self.key(x), self.value(x)"),
        ),
    ),
    Mistake(
        "qkv_transposed",
        "qkv.weight is stored as (C, 3C)",
        "nn.Linear stores its weight as (outputs, inputs), so qkv.weight is (3C, C). Yours is the transpose, "
        "and saved weights do not fit.",
        (
            (_QKV_LINEAR, "nn.Linear(3 * config.n_embd, config.n_embd, bias=False)"),
            ("self.qkv(x).split", "F.linear(x, self.qkv.weight.T).split"),
        ),
    ),
    Mistake(
        "projection_frozen",
        "proj is not trainable",
        "requires_grad is False on proj, so no optimizer will ever change it. Was it made under no_grad, or "
        "frozen?",
        ((_PROJ_LINEAR, f"{_PROJ_LINEAR}.requires_grad_(False)"),),
    ),
    Mistake(
        "qkv_frozen",
        "qkv is not trainable",
        "requires_grad is False on qkv, so no optimizer will ever change it. Was it made under no_grad, or "
        "frozen?",
        ((_QKV_LINEAR, f"{_QKV_LINEAR}.requires_grad_(False)"),),
    ),
    # Dropout.
    Mistake(
        "dropout_on_weights_missing",
        "no dropout on the attention weights",
        "Only the output is dropped out. The lecture drops attention weights as well, so that a token cannot "
        "rely on one other. Apply nn.Dropout(config.dropout) between the softmax and the product with v.",
        ((f"        weights = {_DROP_WEIGHTS}\n", ""),),
    ),
    Mistake(
        "dropout_on_output_missing",
        "no dropout on the output",
        "Only the attention weights are dropped out. The result of proj goes through a second "
        "nn.Dropout(config.dropout) before it is returned.",
        ((_RETURN, "self.proj(out)"),),
    ),
    Mistake(
        "dropout_missing",
        "no dropout at all",
        "config.dropout is never used. It belongs on the attention weights, after the softmax, and on the "
        "output, after proj.",
        ((_RETURN, "self.proj(out)"), (f"        weights = {_DROP_WEIGHTS}\n", "")),
    ),
    Mistake(
        "dropout_on_scores",
        "dropout on the scores, before the softmax",
        "A dropped score is 0, and exp(0) is 1: the softmax gives that key weight all the same. Drop the "
        "weights, after the softmax.",
        (
            (f"        weights = {_DROP_WEIGHTS}\n", ""),
            (_MASK_LINE, f"        scores = self.weight_dropout(scores)\n{_MASK_LINE}"),
        ),
    ),
    Mistake(
        "dropout_on_values",
        "dropout on the values instead of the weights",
        "You drop channels of the values. What is to be dropped is an attention weight: then all channels "
        "that one token takes from another go at once.",
        ((f"        weights = {_DROP_WEIGHTS}\n", "        v = self.weight_dropout(v)\n"),),
    ),
    Mistake(
        "dropout_before_projection",
        "the second dropout stands before proj",
        "You drop the joined heads and project afterwards, so no output is ever 0 and the bias is never "
        "dropped. The baseline drops the result of proj.",
        ((_RETURN, "self.proj(self.output_dropout(out))"),),
    ),
    Mistake(
        "dropout_weights_not_rescaled",
        "kept attention weights are not divided by 1 - p",
        "You zero a share p of the weights and leave the others as they are, so training sees smaller "
        "outputs than evaluation. What is kept must be divided by 1 - p; nn.Dropout does it.",
        (
            (
                _DROP_WEIGHTS,
                "weights * (torch.rand_like(weights) >= self.weight_dropout.p) if self.training else weights",
            ),
        ),
    ),
    Mistake(
        "dropout_output_not_rescaled",
        "the kept output is not divided by 1 - p",
        "You zero a share p of the output and leave the other elements as they are, so training sees "
        "smaller outputs than evaluation. What is kept must be divided by 1 - p; nn.Dropout does it.",
        (
            (
                _RETURN,
                "self.proj(out) * ((torch.rand_like(x) >= self.output_dropout.p) if self.training else 1)",
            ),
        ),
    ),
    Mistake(
        "dropout_weights_in_eval",
        "the attention weights are dropped in eval mode too",
        "This dropout ignores the mode. nn.Dropout follows it; F.dropout needs training=self.training, and "
        "scaled_dot_product_attention drops whenever its dropout_p is above 0.",
        ((_DROP_WEIGHTS, "F.dropout(weights, self.weight_dropout.p)"),),
    ),
    Mistake(
        "dropout_output_in_eval",
        "the output is dropped in eval mode too",
        "This dropout ignores the mode. nn.Dropout follows it; F.dropout needs training=self.training.",
        ((_RETURN, "F.dropout(self.proj(out), self.output_dropout.p)"),),
    ),
    Mistake(
        "dropout_in_eval",
        "both dropouts drop in eval mode too",
        "F.dropout(x, p) always drops: its default is training=True, whatever the module's mode is. Pass "
        "training=self.training, or use nn.Dropout, which follows the mode.",
        (
            (_DROP_WEIGHTS, "F.dropout(weights, self.weight_dropout.p)"),
            (_RETURN, "F.dropout(self.proj(out), self.output_dropout.p)"),
        ),
    ),
    Mistake(
        "dropout_written_as_number",
        "the probability of dropout is written as a number, 0.2",
        "The lecture's dropout is 0.2, and you wrote that number; here config.dropout holds it. Where that "
        "is 0, yours still drops.",
        (
            (_MODULE_WEIGHTS, "self.weight_dropout = nn.Dropout(0.2)"),
            (_MODULE_OUTPUT, "self.output_dropout = nn.Dropout(0.2)"),
        ),
    ),
    Mistake(
        "dropout_before_bias",
        "the second dropout stands between proj's product and its bias",
        "You drop out @ W and add the bias afterwards, so the bias is never dropped. The baseline drops the "
        "result of proj, bias and all.",
        ((_RETURN, "self.output_dropout(F.linear(out, self.proj.weight)) + self.proj.bias"),),
    ),
    Mistake(
        "dropout_output_same_in_heads",
        "the output drops the same channels of every head",
        "You draw one mask for the channels of a head and use it for all heads. Draw it in the shape of the "
        "output, (B, T, C).",
        (
            (
                f"        return {_RETURN}",
                "        one = self.output_dropout(torch.ones_like(x[..., : C // self.n_head]))\n"
                "        return self.proj(out) * one.repeat(1, 1, self.n_head)",
            ),
        ),
    ),
    Mistake(
        "dropout_mode_remembered",
        "the mode of the first call decides about dropout for good",
        "You look at self.training once and keep the answer. After a first call in eval mode the module "
        "trains without dropout; after one in train mode it evaluates with it. Look at self.training in "
        "every call; nn.Dropout does.",
        (
            (
                _RETURN,
                '(self.output_dropout if self.__dict__.setdefault("first", self.training) else '
                "nn.Identity())(self.proj(out))",
            ),
        ),
    ),
    Mistake(
        "dropout_only_with_gradients",
        "dropout looks at whether gradients are recorded, not at the mode",
        "You drop where torch.is_grad_enabled(). The mode decides, and nothing else: under torch.no_grad() a "
        "module in train mode drops, and in eval mode it does not even when gradients are recorded.",
        ((_RETURN, "(self.output_dropout(self.proj(out)) if torch.is_grad_enabled() else self.proj(out))"),),
    ),
    Mistake(
        "dropout_weights_only_with_gradients",
        "dropout on the weights looks at whether gradients are recorded",
        "You drop attention weights where torch.is_grad_enabled(). The mode decides, and nothing else: under "
        "torch.no_grad() a module in train mode drops.",
        (
            (
                f"weights = {_DROP_WEIGHTS}",
                f"weights = {_DROP_WEIGHTS} if torch.is_grad_enabled() else weights",
            ),
        ),
    ),
    Mistake(
        "dropout_on_short_inputs",
        "the attention weights are dropped in short inputs only",
        "Dropout on the weights depends on T: from some length on it is left out, as on a path for long "
        "inputs that has none. Training is done at the full length. Drop on every path.",
        ((f"weights = {_DROP_WEIGHTS}", f"weights = {_DROP_WEIGHTS} if T <= 8 else weights"),),
    ),
    Mistake(
        "dropout_default_on_weights",
        "the attention weights are dropped with 0.5, whatever the config says",
        "nn.Dropout() without an argument drops half. Pass config.dropout.",
        ((_MODULE_WEIGHTS, "self.weight_dropout = nn.Dropout()"),),
    ),
    Mistake(
        "dropout_default_on_output",
        "the output is dropped with 0.5, whatever the config says",
        "nn.Dropout() without an argument drops half. Pass config.dropout.",
        ((_MODULE_OUTPUT, "self.output_dropout = nn.Dropout()"),),
    ),
    Mistake(
        "dropout_inverted",
        "config.dropout is taken for the share that is kept",
        "You drop with probability 1 - config.dropout. nn.Dropout takes the probability of dropping, not of "
        "keeping.",
        (
            (_MODULE_WEIGHTS, "self.weight_dropout = nn.Dropout(1 - config.dropout)"),
            (_MODULE_OUTPUT, "self.output_dropout = nn.Dropout(1 - config.dropout)"),
        ),
    ),
    Mistake(
        "dropout_same_in_heads",
        "all heads drop the same weights",
        "You draw one (B, 1, T, T) mask and use it for every head. In the baseline each head drops for "
        "itself: draw it in the shape of the weights.",
        ((_DROP_WEIGHTS, "weights * self.weight_dropout(torch.ones_like(weights[:, :1]))"),),
    ),
    Mistake(
        "dropout_same_in_batch",
        "all sequences of a batch drop the same weights",
        "You draw one mask and use it for every sequence of the batch. Draw it in the shape of the weights.",
        ((_DROP_WEIGHTS, "weights * self.weight_dropout(torch.ones_like(weights[:1]))"),),
    ),
    Mistake(
        "dropout_same_for_queries",
        "a dropped key is dropped for all queries",
        "You draw one mask per key and use it for every query, so a token is hidden from all others at once. "
        "In the baseline each weight is dropped for itself: draw the mask in the shape of the weights.",
        ((_DROP_WEIGHTS, "weights * self.weight_dropout(torch.ones_like(weights[:, :, :1]))"),),
    ),
    Mistake(
        "dropout_same_for_keys",
        "all keys of a query are dropped together",
        "You draw one mask per query, so a token loses all that it attends to or nothing. Draw the mask in "
        "the shape of the weights.",
        ((_DROP_WEIGHTS, "weights * self.weight_dropout(torch.ones_like(weights[..., :1]))"),),
    ),
    Mistake(
        "dropout_output_same_for_tokens",
        "the output drops the same channels of all tokens",
        "You draw one mask per sequence and use it for every token of it (Dropout1d and Dropout2d do so). "
        "Draw it in the shape of the output: nn.Dropout.",
        ((_RETURN, "self.proj(out) * self.output_dropout(torch.ones_like(x[:, :1]))"),),
    ),
    Mistake(
        "dropout_output_same_for_channels",
        "the output drops whole tokens",
        "You draw one number per token and drop all of its channels together. Draw the mask in the shape of "
        "the output.",
        ((_RETURN, "self.proj(out) * self.output_dropout(torch.ones_like(x[..., :1]))"),),
    ),
    Mistake(
        "dropout_output_same_in_batch",
        "the output drops the same places in all sequences",
        "You draw one mask and use it for every sequence of the batch. Draw it in the shape of the output.",
        ((_RETURN, "self.proj(out) * self.output_dropout(torch.ones_like(x[:1]))"),),
    ),
    Mistake(
        "no_gradient_in_eval",
        "no gradient flows in eval mode",
        "You compute under no_grad unless self.training. Eval mode switches dropout off and nothing else; "
        "no gradients is what torch.no_grad() is for.",
        (
            (
                f"        return {_RETURN}",
                f"        if not self.training:\n            out = out.detach()\n        return {_RETURN}",
            ),
        ),
    ),
    Mistake(
        "dropout_cuts_the_gradient",
        "dropout on the weights is applied under no_grad",
        "The output is right, but in training no gradient flows back through the dropped weights, so "
        "queries and keys never learn; in eval mode dropout does nothing, and the fault does not show. "
        "Call dropout like any other layer.",
        ((f"weights = {_DROP_WEIGHTS}", f"with torch.no_grad():\n            weights = {_DROP_WEIGHTS}"),),
    ),
    Mistake(
        "no_mask_in_training",
        "the causal mask is missing in train mode",
        "You mask in eval mode only. In training every token then sees its successors: the loss falls to "
        "almost 0 and the model has learnt to copy. The mask has nothing to do with the mode.",
        ((_MASK_LINE, f"        if not self.training:\n    {_MASK_LINE}"),),
    ),
    # What goes on besides the mathematics.
    Mistake(
        "input_modified",
        "forward writes into its input",
        "An operation in place changes x, which the caller still needs: in a Block it is the residual "
        "stream's norm. Look for names that end in _, for += and for x[..] = .",
        (
            (
                f"        return {_RETURN}",
                f"        result = {_RETURN}\n        x.data[:, 0] = 0.0\n        return result",
            ),
        ),
    ),
    Mistake(
        "result_in_float32",
        "the result is float32 whatever the input",
        "Your output is float32 also for a bfloat16 or float64 input, so the residual stream silently "
        "changes its dtype. Computing in float32 inside is fine; return to x.dtype at the end.",
        ((_RETURN, "self.output_dropout(self.proj(out)).float()"),),
    ),
    Mistake(
        "computes_in_half",
        "float16 inside",
        "You compute in float16, which keeps 3 digits and nothing above 65504: a float32 input loses half of "
        "its digits. Compute in x's dtype.",
        ((_HEADS, f"{_HEADS}\n        q, k, v = (m.half().to(x.dtype) for m in (q, k, v))"),),
    ),
    Mistake(
        "computes_in_bfloat16",
        "bfloat16 inside",
        "You compute in bfloat16, which keeps 2 to 3 digits: a float32 input loses most of its digits. "
        "Compute in x's dtype; autocast is up to the trainer.",
        ((_HEADS, f"{_HEADS}\n        q, k, v = (m.bfloat16().to(x.dtype) for m in (q, k, v))"),),
    ),
    Mistake(
        "weights_detached",
        "the attention weights are detached",
        "The output is right, but no gradient flows through the softmax: queries and keys never learn. Look "
        "for detach(), .data, no_grad or torch.tensor(..) around the weights.",
        ((_OUT, "out = weights.detach() @ v"),),
    ),
    Mistake(
        "values_detached",
        "the values are detached",
        "The output is right, but no gradient reaches the value rows of qkv. Look for detach(), .data or "
        "no_grad around v.",
        ((_OUT, "out = weights @ v.detach()"),),
    ),
    Mistake(
        "input_detached",
        "the input is detached",
        "The parameters get their gradients, but x gets none: the blocks below this one would never learn. "
        "Look for detach(), .data or torch.tensor(x).",
        ((_QKV, "q, k, v = self.qkv(x.detach()).split(C, dim=-1)"),),
    ),
    Mistake(
        "heads_detached",
        "the joined heads are detached before proj",
        "Only proj learns: no gradient flows back into the attention. Look for detach(), .data or no_grad "
        "before proj.",
        ((_RETURN, "self.output_dropout(self.proj(out.detach()))"),),
    ),
    Mistake(
        "keys_kept",
        "keys and values of the first call are kept",
        "The second call still uses the keys and values of the first. A cache belongs to generation, and "
        "must then know which sequence it is for; forward(x) here depends on x alone.",
        (
            (
                _HEADS,
                f"{_HEADS}\n        if not hasattr(self, 'kept'):\n            self.kept = (k, v)\n        "
                f"k, v = self.kept",
            ),
        ),
    ),
    Mistake(
        "loop_over_heads",
        "a Python loop over the heads",
        "The numbers are right, but Python still goes over the heads one by one, as the lecture's module "
        "does. Make the head a dimension of one tensor: (B, H, T, D) @ (B, H, D, T) does all of them in one "
        "product.",
        ((_OUT, "out = torch.stack([weights[:, h] @ v[:, h] for h in range(self.n_head)], dim=1)"),),
    ),
    Mistake(
        "loop_padded",
        "a Python loop over a fixed number of heads",
        "Your loop always runs the same number of times, so it does not grow with H; it is a loop all the "
        "same, and as slow. Make the head a dimension of one tensor.",
        (
            (
                _OUT,
                "out = torch.stack([weights[:, h % self.n_head] @ v[:, h % self.n_head] "
                "for h in range(max(64, self.n_head))][: self.n_head], dim=1)",
            ),
        ),
    ),
    # fuse_heads.
    Mistake(
        "fuse_rows_by_head",
        "fuse_heads joins query, key and value head by head",
        "You append the query, key and value of head 0, then those of head 1. The rows of qkv.weight are all "
        "queries, then all keys, then all values: three lists, joined.",
        ((_JOIN, "torch.cat([w for head in zip(queries, keys, values) for w in head])"),),
    ),
    Mistake(
        "fuse_keys_first",
        "fuse_heads puts the keys before the queries",
        "Head lists key first, then query; qkv.weight wants the queries first.",
        ((_JOIN, "torch.cat(keys + queries + values)"),),
    ),
    Mistake(
        "fuse_heads_reversed",
        "fuse_heads joins the heads in reverse order",
        "The last head's rows come first. Head 0 owns the first D rows of the queries, of the keys and of "
        "the values.",
        ((_JOIN, "torch.cat(queries[::-1] + keys[::-1] + values[::-1])"),),
    ),
    Mistake(
        "fuse_first_head_only",
        "fuse_heads copies head 0 for every head",
        "All heads of the fused module are the first head. Is the loop variable used inside the loop?",
        ((_JOIN, "torch.cat(len(queries) * queries[:1] + len(keys) * keys[:1] + len(values) * values[:1])"),),
    ),
    Mistake(
        "fuse_forgets_qkv",
        "fuse_heads leaves qkv as it was initialised",
        "proj is copied and qkv is not: its weights are the random ones of a new module.",
        ((f"    fused.qkv.weight.copy_({_JOIN})\n", ""),),
    ),
    Mistake(
        "fuse_forgets_projection",
        "fuse_heads leaves proj.weight as it was initialised",
        "qkv is copied and proj.weight is not: it is the random one of a new module.",
        (("    fused.proj.weight.copy_(baseline.proj.weight)\n", ""),),
    ),
    Mistake(
        "fuse_forgets_bias",
        "fuse_heads leaves proj.bias as it was initialised",
        "Both weights are copied and proj.bias is not: it is the random one of a new module.",
        (("    fused.proj.bias.copy_(baseline.proj.bias)\n", ""),),
    ),
    Mistake(
        "fuse_goes_through_float32",
        "fuse_heads copies by way of float32",
        "Somewhere on its way a weight is float32, so that a float64 baseline loses half of its digits. Look "
        "for .float(), for torch.empty without a dtype, and for a copy into a module that "
        "gets its dtype only afterwards.",
        (
            (
                _FUSED + "\n    fused.to(baseline.proj.weight)  # its dtype and its device\n",
                f"{_FUSED}.to(baseline.proj.weight.device)\n",
            ),
            ("    return fused\n", "    return fused.to(baseline.proj.weight)\n"),
        ),
    ),
    Mistake(
        "fuse_shares_projection",
        "fuse_heads shares proj with the baseline",
        "fused.proj is the baseline's own module, or its Parameter: training one changes the other. Copy the "
        "values: fused.proj.weight.copy_(..) under no_grad, or load_state_dict.",
        (
            ("    fused.proj.weight.copy_(baseline.proj.weight)\n", "    fused.proj = baseline.proj\n"),
            ("    fused.proj.bias.copy_(baseline.proj.bias)\n", ""),
        ),
    ),
    Mistake(
        "fuse_forgets_dtype",
        "fuse_heads forgets the dtype",
        "A new module is float32 on the CPU, whatever the baseline is. Move it: "
        "fused.to(baseline.proj.weight).",
        (
            (
                "    fused.to(baseline.proj.weight)  # its dtype and its device\n",
                "    fused.to(baseline.proj.weight.device)\n",
            ),
        ),
    ),
    Mistake(
        "fuse_forgets_device",
        "fuse_heads forgets the device",
        "A new module is on the CPU, wherever the baseline is. Move it: fused.to(baseline.proj.weight).",
        (
            (
                "    fused.to(baseline.proj.weight)  # its dtype and its device\n",
                "    fused.to(baseline.proj.weight.dtype)\n",
            ),
        ),
        devices=True,
    ),
    Mistake(
        "fuse_forgets_mode",
        "fuse_heads forgets the mode: the result always trains",
        "A new module is in train mode, so a fused module of a baseline in eval mode drops out at test time. "
        "Pass the mode on: fused.train(baseline.training).",
        (("    fused.train(baseline.training)\n", ""),),
    ),
    Mistake(
        "fuse_always_eval",
        "fuse_heads always returns a module in eval mode",
        "You call eval() whatever the baseline's mode is, so training goes on without dropout. Pass the mode "
        "on: fused.train(baseline.training).",
        (("    fused.train(baseline.training)\n", "    fused.eval()\n"),),
    ),
    Mistake(
        "fuse_forgets_dropout",
        "fuse_heads builds a module without dropout",
        "The new module's config has dropout 0. Build it from baseline.config.",
        (
            (
                _FUSED,
                "import dataclasses\n    fused = "
                "FusedMultiHeadAttention(dataclasses.replace(baseline.config, dropout=0.0))",
            ),
        ),
    ),
    Mistake(
        "fuse_default_block_size",
        "fuse_heads builds a module with the default block_size",
        "The new module's config has block_size 256, GPTConfig's default, and fails beyond it. Build it from "
        "baseline.config.",
        (
            (
                _FUSED,
                "import dataclasses\n    fused = "
                "FusedMultiHeadAttention(dataclasses.replace(baseline.config, block_size=256))",
            ),
        ),
    ),
    Mistake(
        "fuse_freezes",
        "fuse_heads returns weights that are not trainable",
        "The parameters of the fused module have requires_grad False. Copying under no_grad is right; "
        "freezing the result is not.",
        (("    return fused\n", "    return fused.requires_grad_(False)\n"),),
    ),
    Mistake(
        "fuse_returns_baseline",
        "fuse_heads returns the baseline",
        "What comes back is the module that went in. Build a FusedMultiHeadAttention and return that.",
        (("    return fused\n", "    return baseline\n"),),
    ),
    Mistake(
        "fuse_sorts_heads_as_text",
        "fuse_heads goes over the heads in the order of their names as text",
        "Sorted as text, heads.10 stands before heads.2, so from eleven heads on the rows are mixed up. Go "
        "over baseline.heads, which is in order.",
        (
            (
                _JOIN,
                "torch.cat([part[i] for part in (queries, keys, values) "
                "for i in sorted(range(len(part)), key=str)])",
            ),
        ),
    ),
    Mistake(
        "fuse_returns_nothing",
        "fuse_heads returns None",
        "The fused module is built and then forgotten: there is no return at the end of fuse_heads.",
        (("    return fused\n", ""),),
    ),
    Mistake(
        "fuse_ends_training",
        "fuse_heads puts the baseline into eval mode",
        "The baseline that was handed in comes back in another mode, so training goes on without dropout. "
        "Change only the new module.",
        (("    return fused\n", "    baseline.eval()\n    return fused\n"),),
    ),
    Mistake(
        "fuse_changes_baseline",
        "fuse_heads changes the baseline",
        "The baseline's weights are not what they were. Do you move or reshape them in place?",
        (("    return fused\n", "    baseline.proj.bias.zero_()\n    return fused\n"),),
    ),
)
