"""The catalogue of known mistakes of RMSNorm: each a patch on solutions/more/rmsnorm.py."""

from tests.exercises import Mistake

_WEIGHT = "self.weight = nn.Parameter(torch.ones(config.n_embd))"
_WIDE = "x.to(torch.promote_types(x.dtype, torch.float32))"
_MEAN = "wide.pow(2).mean(dim=-1, keepdim=True)"
_RETURN = "(wide * torch.rsqrt(mean + EPS)).to(x.dtype) * self.weight"

MISTAKES = (
    Mistake(
        "bias_too", "there is a bias too",
        "You add a parameter bias, as LayerNorm has one. RMSNorm has its weight alone.",
        ((_WEIGHT, f"{_WEIGHT}\n        self.bias = nn.Parameter(torch.zeros(config.n_embd))"),),
    ),
    Mistake(
        "no_parameter", "the weight is no nn.Parameter",
        "A tensor on self is in no list of parameters, so nothing trains it, loads it or moves it.",
        ((_WEIGHT, "self.weight = torch.ones(config.n_embd)"),),
    ),
    Mistake(
        "mean_taken_off", "the mean is taken off first",
        "You subtract the mean of the channels: that is LayerNorm. RMSNorm leaves it where it is.",
        ((_WIDE, f"{_WIDE}\n        wide = wide - wide.mean(-1, keepdim=True)"),),
    ),
    Mistake(
        "over_tokens", "the mean runs over the tokens",
        "Your mean runs over dimension 1, so a token's output depends on the others. Look at dim.",
        ((_MEAN, "wide.pow(2).mean(dim=1, keepdim=True)"),),
    ),
    Mistake(
        "sum_of_squares", "the squares are summed, and not averaged",
        "You divide by the length of the token, which grows with C. The mean of the squares does not.",
        ((_MEAN, "wide.pow(2).sum(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "eps_outside", "eps stands outside of the root",
        "You add eps to the root. The contract adds it to the mean, where it is a floor of sqrt(eps).",
        ((_RETURN, "(wide / (mean.sqrt() + EPS)).to(x.dtype) * self.weight"),),
    ),
    Mistake(
        "eps_1e8", "eps is 1e-8",
        "Your eps is 1e-8, as Adam's. Here it is 1e-5, and small inputs come out smaller.",
        (("EPS = 1e-5", "EPS = 1e-8"),),
    ),
    Mistake(
        "one_plus_weight", "the weight is counted from 1",
        "You multiply with 1 + weight, as Gemma does, whose weight begins as zeros. Here it begins as ones.",
        ((_RETURN, "(wide * torch.rsqrt(mean + EPS)).to(x.dtype) * (1 + self.weight)"),),
    ),
    Mistake(
        "detached", "the root mean square is detached",
        "Your divisor carries no gradient, so the way back treats it as a number. It depends on x too.",
        ((_MEAN, f"{_MEAN}.detach()"),),
    ),
    Mistake(
        "in_place_of_a_view", "x is overwritten through x.float()",
        "Of a float32 x, x.float() is x itself and no copy, so what you write into it changes x. Multiply "
        "into a new tensor.",
        ((_RETURN, "wide.mul_(torch.rsqrt(mean + EPS)).to(x.dtype) * self.weight"),),
    ),
    Mistake(
        "squared_in_half", "the squares are taken in x's own dtype",
        "You square first and go to float32 afterwards. In float16 the square of 300 is infinite by then. Go "
        "to float32 before you square.",
        ((_MEAN, "x.pow(2).to(wide.dtype).mean(dim=-1, keepdim=True)"),),
    ),
    Mistake(
        "all_in_half", "everything is computed in x's own dtype",
        "Squares, mean and root are taken in x's dtype. In float16 the square of 300 is infinite, and "
        "bfloat16 keeps 8 bits. Compute in float32 at least.",
        ((_WIDE, "x"),),
    ),
    Mistake(
        "float32_returned", "half precision comes back as float32",
        "You compute in float32, which is right, and return that. The output must have x's dtype.",
        ((_RETURN, "wide * torch.rsqrt(mean + EPS) * self.weight.float()"),),
    ),
    Mistake(
        "absolute_values", "the mean of the absolute values is taken",
        "You divide by the mean of |x|. It is smaller than the root of the mean of the squares, most of all "
        "for a token with one large channel.",
        ((_RETURN, "(wide / (wide.abs().mean(-1, keepdim=True).pow(2) + EPS).sqrt()).to(x.dtype) * "
                   "self.weight"),),
    ),
    Mistake(
        "root_forgotten", "the root is forgotten",
        "You divide by the mean of the squares and not by its root, so x of twice the size comes out as half "
        "as large.",
        ((_RETURN, "(wide / (mean + EPS)).to(x.dtype) * self.weight"),),
    ),
    Mistake(
        "over_the_batch", "the mean runs over the batch",
        "Your mean runs over dimension 0, so a sequence's output depends on the others in its batch. Look at "
        "dim.",
        ((_MEAN, "wide.pow(2).mean(dim=0, keepdim=True)"),),
    ),
    Mistake(
        "weight_not_used", "the weight is not used",
        "weight is created and never multiplied with, so the model cannot learn a scale for each channel.",
        ((_RETURN, "(wide * torch.rsqrt(mean + EPS)).to(x.dtype)"),),
    ),
    Mistake(
        "begins_as_zeros", "the weight begins as zeros",
        "A norm that begins as zeros passes nothing on, and no gradient either. weight begins as ones.",
        ((_WEIGHT, "self.weight = nn.Parameter(torch.zeros(config.n_embd))"),),
    ),
    Mistake(
        "eps_1e6", "eps is 1e-6",
        "Your eps is 1e-6, as Llama's. Here it is 1e-5.",
        (("EPS = 1e-5", "EPS = 1e-6"),),
    ),
)  # fmt: skip
