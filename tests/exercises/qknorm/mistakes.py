"""The catalogue of known mistakes of QK-norm: each a patch on solutions/more/qknorm.py."""

from tests.exercises import Mistake

_MEAN = "wide.pow(2).mean(dim=-1, keepdim=True)"
_ROOT = "torch.rsqrt(mean + EPS)"
_WIDE = "x.to(torch.promote_types(x.dtype, torch.float32))"
_RETURN = f"(wide * {_ROOT}).to(x.dtype) * self.weight"
_NORM = "q, k = self.q_norm(q), self.k_norm(k)"
_SCALE = "q.shape[-1] ** -0.5"
_PER_HEAD = "(config.n_head, 1, config.head_size)"

MISTAKES = (
    Mistake(
        "over_the_width", "the norm runs over all heads together",
        "Your mean runs over all C channels of a token, so large queries in one head make the others' small. "
        "Norm after the split into heads, over the D channels of each.",
        ((_MEAN, "wide.pow(2).mean(dim=(1, -1), keepdim=True)"),),
    ),
    Mistake(
        "over_the_heads", "the norm runs over the heads",
        "Your mean runs over dimension 1 of (B, H, T, D), the heads. It belongs over the last.",
        ((_MEAN, "wide.pow(2).mean(dim=1, keepdim=True)"),),
    ),
    Mistake(
        "over_the_tokens", "the norm runs over the tokens",
        "Your mean runs over the time, so a token sees the tokens after it, mask or not. It belongs over the "
        "channels of one head, the last of (B, H, T, D).",
        ((_MEAN, "wide.pow(2).mean(dim=2, keepdim=True)"),),
    ),
    Mistake(
        "values_too", "the values are normed as well",
        "You norm v. Its length is part of what is passed on: only q and k, which make the scores, are.",
        ((_NORM, "q, k, v = self.q_norm(q), self.k_norm(k), self.k_norm(v) / self.k_norm.weight"),),
    ),
    Mistake(
        "queries_only", "the keys are not normed",
        "k_norm is never called. Your keys keep their length, so that nothing bounds the scores.",
        ((_NORM, "q = self.q_norm(q)"),),
    ),
    Mistake(
        "keys_only", "the queries are not normed",
        "q_norm is never called. Your queries keep their length, so that nothing bounds the scores.",
        ((_NORM, "k = self.k_norm(k)"),),
    ),
    Mistake(
        "not_used", "what the norms give is not used",
        "You call the norms and go on with the q and k of before. Assign what they return.",
        ((_NORM, "self.q_norm(q), self.k_norm(k)"),),
    ),
    Mistake(
        "one_norm_for_both", "q_norm norms the keys too",
        "You call q_norm twice, so k_norm is created and never learns.",
        ((_NORM, "q, k = self.q_norm(q), self.q_norm(k)"),),
    ),
    Mistake(
        "no_scale", "the scores are not scaled",
        "You left 1 / sqrt(D) out. Normed q and k have the length sqrt(D), so q . k is up to D: it belongs.",
        ((f" * {_SCALE}", ""),),
    ),
    Mistake(
        "scaled_twice", "the scores are scaled twice",
        "You divide by D, so the scores are sqrt(D) times too small. Is a second scale in the norm, or "
        "does F.scaled_dot_product_attention scale once more?",
        ((_SCALE, "q.shape[-1] ** -1.0"),),
    ),
    Mistake(
        "length_one", "q and k get the length 1",
        "You divide by the root of the sum of the squares, as F.normalize does: their length is 1 and not "
        "sqrt(D). The contract has the root of the mean.",
        ((_MEAN, "wide.pow(2).sum(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "mean_taken_off", "the mean is taken off first",
        "You subtract the mean of the channels: that is LayerNorm. RMSNorm leaves it where it is.",
        ((_WIDE, f"{_WIDE}\n        wide = wide - wide.mean(-1, keepdim=True)"),),
    ),
    Mistake(
        "eps_outside", "eps stands outside of the root",
        "You add eps to the root. The contract adds it to the mean of the squares.",
        ((_ROOT, "(mean.sqrt() + EPS).reciprocal()"),),
    ),
    Mistake(
        "eps_1e5", "eps is 1e-5",
        "Your eps is 1e-5, as in LayerNorm and in the menu's RMSNorm. Here it is 1e-6.",
        (("EPS = 1e-6", "EPS = 1e-5"),),
    ),
    Mistake(
        "weight_not_used", "the weights are not used",
        "The norms' weights are created and never multiplied with, so no head can become sharp.",
        ((_RETURN, f"(wide * {_ROOT}).to(x.dtype)"),),
    ),
    Mistake(
        "weight_of_q_not_used", "q_norm's weight is not used",
        "q is divided by its root mean square, and not multiplied with q_norm.weight; k is.",
        ((_NORM, "q, k = self.q_norm(q) / self.q_norm.weight, self.k_norm(k)"),),
    ),
    Mistake(
        "gain_per_head", "each head has weights of its own",
        "Your weights have a number for every head and channel. All heads share D numbers.",
        (("self.q_norm = HeadNorm(config.head_size)", f"self.q_norm = HeadNorm({_PER_HEAD})"),
         ("self.k_norm = HeadNorm(config.head_size)", f"self.k_norm = HeadNorm({_PER_HEAD})")),
    ),
    Mistake(
        "all_in_half", "the norm is computed in x's own dtype",
        "In float16 the square of 300 is infinite, so the query becomes 0. Compute in float32 at least.",
        ((_WIDE, "x"),),
    ),
    Mistake(
        "not_cast_back", "q and k stay float32",
        "You compute the norm in float32, which is right, and do not go back: in half precision q and k have "
        "another dtype than v then.",
        ((_RETURN, f"wide * {_ROOT} * self.weight.float()"),),
    ),
)  # fmt: skip
