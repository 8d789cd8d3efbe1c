"""The catalogue of known mistakes of RMSNorm: each a patch on solutions/mynorm.py."""

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
        "in_place", "x is changed in place",
        "You multiply x in place, and the residual connection beside the norm needs it as it was.",
        ((_RETURN, "x.mul_(torch.rsqrt(mean + EPS).to(x.dtype)) * self.weight"),),
    ),
)  # fmt: skip
