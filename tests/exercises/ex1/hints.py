"""The hints of exercise 1, from a nudge to nearly the answer.

HINTS: {the beginnings of the ids of an area's checks ("" where no other fits): the area's hints in order}.
COMPARE: what to look at in the solution once your own code passes.
"""

HINTS = {
    "": (
        "Begin with one token (T = 1): its attention weight is 1, so only qkv's value rows and proj "
        "matter. When that is right, two tokens need the mask and the softmax.",
        "A head is one more batch dimension: bring q, k and v to (B, H, T, D), and q @ k.transpose(-2, "
        "-1) gives the scores of all heads at once, (B, H, T, T). Write the shape beside each line, and "
        "check it with an odd size such as B = 2, T = 5, C = 12, H = 3.",
        "view and reshape keep the order of the numbers in memory, where each token's C channels are "
        "head after head. So the first step is view(B, T, H, D), and only then transpose(1, 2). On the "
        "way back it is transpose first, then reshape(B, T, C).",
        "forward in words: qkv(x), split in three along the last dimension, heads moved to dimension 1; "
        "scores times D ** -0.5; masked_fill with -inf where the key is after the query, the mask cut to "
        "T; softmax over the last dimension; dropout; times v; heads back and joined; proj; dropout.",
    ),
    "parameters trainable runs": (
        "The names are part of the contract, since saved weights are loaded by them: which attribute "
        "names of a module make qkv.weight, proj.weight and proj.bias?",
        "Two nn.Linear are enough, one of them without a bias. A mask is no parameter: register_buffer "
        "keeps it, and moves it to the device with the module.",
        "self.qkv = nn.Linear(C, 3 * C, bias=False) and self.proj = nn.Linear(C, C), with C = "
        "config.n_embd. Nothing else may be an nn.Parameter or an nn.Module with parameters.",
    ),
    "dropout": (
        "There are two dropouts, and they act in train mode only. Which two tensors does the lecture's "
        "attention drop from?",
        "One acts on the attention weights, after the softmax and before the product with v; the other on "
        "the output, after proj. nn.Dropout follows the mode by itself; F.dropout needs "
        "training=self.training.",
        "Make two nn.Dropout(config.dropout) in __init__, and call them: weights = drop1(softmax(..)), "
        "and return drop2(self.proj(out)). Every weight is dropped by itself, so the mask has the shape "
        "of the tensor.",
    ),
    "fuse": (
        "fuse_heads writes no attention: it builds one of yours and copies numbers. Which rows of "
        "qkv.weight belong to the query of head 2?",
        "baseline.heads[h].query.weight is (D, C). All queries head after head, then all keys, then all "
        "values: torch.cat along dimension 0 of 3H matrices gives (3C, C). proj is copied as it is.",
        "fused = FusedMultiHeadAttention(baseline.config); move it with .to(baseline.proj.weight), which "
        "takes dtype and device; fused.train(baseline.training); then under torch.no_grad() "
        "fused.qkv.weight.copy_(torch.cat(..)). copy_ writes numbers; assigning a Parameter would share "
        "it.",
    ),
    "operations": (
        "Where does your Python code go through the heads one after the other? A comprehension and a "
        "torch.stack over heads are loops too.",
        "What differs from head to head is data, and not code: with the head as a dimension, the same "
        "product serves all.",
        "A matrix product multiplies the last two dimensions and repeats over all before them. q (B, H, "
        "T, D) @ k.transpose(-2, -1) (B, H, D, T) is H * B products in one operation, and so is weights "
        "@ v.",
    ),
}

COMPARE = (
    "the way from (B, T, C) to (B, H, T, D) and back: how many lines is yours, and does it copy memory?",
    "where the mask is kept: a buffer, made anew in each call, or is_causal=True?",
    "the docstring ends with F.scaled_dot_product_attention, the same function without the (T, T) "
    "weights: try it",
)
