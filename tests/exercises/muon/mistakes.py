"""The catalogue of known mistakes of Muon: each a patch on solutions/more/muon.py."""

from tests.exercises import Mistake

_COEFFICIENTS = "COEFFICIENTS = 3.4445, -4.7750, 2.0315"
_NORM = "x = x / x.norm().clamp(min=torch.finfo(x.dtype).tiny)"
_BACK = "x = x.T if tall else x\n    return"
_GATHER = 'm = state["momentum"].mul_(momentum).add_(p.grad)'
_UPDATE = "update = orthogonalise(p.grad + momentum * m)"
_DECAY = 'p.mul_(1 - lr * group["weight_decay"])'
_SCALE = "max(1, p.shape[0] / p.shape[1]) ** 0.5"
_SKIP = "if p.grad is None:\n                    continue"
_NEW = 'state["momentum"] = torch.zeros_like(p)'
_MATRICES = "matrices = [p for p in model.blocks.parameters() if p.ndim == 2]"
_OTHERS = "[p for p in model.parameters() if id(p) not in known]"

MISTAKES = (
    Mistake(
        "cubic_coefficients", "the steps are those of the classical cubic iteration",
        "x = 1.5 x - 0.5 x^3 converges to exactly 1, but slowly. Use a, b and c of the sheet.",
        ((_COEFFICIENTS, "COEFFICIENTS = 1.5, -0.5, 0.0"),),
    ),
    Mistake(
        "squared_by_element", "s is squared element by element",
        "s * s multiplies each entry with itself. The formula's is the product of matrices, s @ s.",
        (("c * s @ s", "c * s * s"),),
    ),
    Mistake(
        "largest_entry", "g is divided by its largest entry",
        "Singular values may exceed the largest entry, where the polynomial diverges. Divide by the norm.",
        ((_NORM, "x = x / x.abs().max().clamp(min=1e-30)"),),
    ),
    Mistake(
        "rows_normalised", "each row of g is divided by its own norm",
        "x.norm(dim=-1) is a norm for each row. One number divides the whole matrix.",
        ((_NORM, "x = x / x.norm(dim=-1, keepdim=True).clamp(min=1e-30)"),),
    ),
    Mistake(
        "not_normalised", "g is not normalised",
        "The polynomial keeps singular values between 0 and 1.2 in bounds, and larger ones explode.",
        ((_NORM, "pass"),),
    ),
    Mistake(
        "zero_by_zero", "0 is divided by 0",
        "A gradient of zeros has the norm 0, and your result is NaN. One such update destroys the weights.",
        ((_NORM, "x = x / x.norm()"),),
    ),
    Mistake(
        "reshaped_back", "a tall matrix is reshaped in place of transposed",
        "reshape keeps the order of the numbers in memory. .T exchanges rows and columns.",
        ((_BACK, "x = x.reshape(g.shape) if tall else x\n    return"),),
    ),
    Mistake(
        "not_transposed_back", "a tall matrix is not transposed back",
        "You transpose where R > S, and return (S, R).",
        ((_BACK, "return"),),
    ),
    Mistake(
        "in_place", "g is overwritten",
        "x = g is no copy where the dtype is the same, so x /= .. writes into the gradient or momentum.",
        ((_NORM, "x = x.div_(x.norm().clamp(min=torch.finfo(x.dtype).tiny))"),),
    ),
    Mistake(
        "float32_returned", "the result is float32",
        "You compute in float32, which is right, and return that. The result must have g's dtype.",
        (("return x.to(g.dtype)", "return x"),),
    ),
    Mistake(
        "scale_forgotten", "max(1, R / S)**0.5 is forgotten",
        "A tall matrix gets too small an update.",
        ((_SCALE, "1"),),
    ),
    Mistake(
        "scale_upside_down", "the scale is max(1, S / R)**0.5",
        "R is the number of rows, p.shape[0]. Tall matrices get the larger update, not wide ones.",
        ((_SCALE, "max(1, p.shape[1] / p.shape[0]) ** 0.5"),),
    ),
    Mistake(
        "scale_of_the_larger_side", "the scale is 0.2 * max(R, S)**0.5",
        "That recipe makes updates as large as AdamW's. The contract's is max(1, R / S)**0.5.",
        ((_SCALE, "0.2 * max(p.shape) ** 0.5"),),
    ),
    Mistake(
        "no_nesterov", "the momentum is not Nesterov's",
        "You make m orthogonal. The contract looks one step further: u = g + momentum * m.",
        ((_UPDATE, "update = orthogonalise(m)"),),
    ),
    Mistake(
        "momentum_of_the_orthogonal", "the momentum is taken after orthogonalise",
        "You sum up orthogonal matrices. Sum up gradients, and make the sum orthogonal.",
        ((_GATHER, _GATHER.replace("p.grad", "orthogonalise(p.grad)")),
         (_UPDATE, "update = orthogonalise(p.grad) + momentum * m")),
    ),
    Mistake(
        "gradient_kept_as_momentum", "the first gradient itself is kept as the momentum",
        "self.state holds p.grad, into which the next gradient may be written. Clone it.",
        ((_NEW, 'state["momentum"] = p.grad'),
         (_GATHER, 'm = state["momentum"]\n                if m is not p.grad:\n'
                   '                    m.mul_(momentum).add_(p.grad)')),
    ),
    Mistake(
        "decay_in_the_gradient", "the decay is added to the gradient",
        "There orthogonalise forgets how large it was. Decoupled decay shrinks w itself.",
        ((_GATHER, f'p.grad = p.grad + group["weight_decay"] * p\n                {_GATHER}'),
         (_DECAY, "pass")),
    ),
    Mistake(
        "decay_without_lr", "the decay has no lr",
        "Then a schedule of lr does not reach it. It is w -= lr * weight_decay * w.",
        ((_DECAY, 'p.mul_(1 - group["weight_decay"])'),),
    ),
    Mistake(
        "lr_of_the_start", "lr is read from the defaults",
        "self.defaults is what Muon was built with. A scheduler writes into the groups.",
        (('lr, momentum = group["lr"]', 'lr, momentum = self.defaults["lr"]'),),
    ),
    Mistake(
        "no_gradient_no_skip", "a parameter without a gradient gets a gradient of zeros",
        "It is moved by its old momentum, and decays. Skip it.",
        ((_SKIP, "if p.grad is None:\n                    p.grad = torch.zeros_like(p)"),),
    ),
    Mistake(
        "momentum_beside_the_state", "the momentum is not in self.state",
        "A dict of your own is not in state_dict, so a resumed run begins without momentum.",
        (("state = self.state[p]", "state = vars(self).setdefault('mine', {}).setdefault(p, {})"),),
    ),
    Mistake(
        "momentum_by_shape", "parameters of one shape share their momentum",
        "Your momentum is kept under the shape. Each parameter needs its own: self.state[p].",
        (("state = self.state[p]", "state = self.state['momentum', p.shape]"),),
    ),
    Mistake(
        "anything_accepted", "parameters of any shape are accepted",
        "A bias has no singular values. Refuse what is not 2-D when Muon is built, with a ValueError.",
        (("if p.ndim != 2:", "if False:"),),
    ),
    Mistake(
        "embeddings_too", "embeddings and head are among the matrices",
        "You take every 2-D parameter. The tables outside of the blocks belong to the others.",
        ((_MATRICES, "matrices = [p for p in model.parameters() if p.ndim == 2]"),),
    ),
    Mistake(
        "head_too", "the head is among the matrices",
        "lm_head is a table of one row for each token: it belongs to the others.",
        ((_MATRICES, f"{_MATRICES} + [model.lm_head.weight]"),),
    ),
    Mistake(
        "by_name", "matrices are recognised by the name weight",
        "A norm's weight has one dimension, and a part of your own may name its matrices otherwise.",
        ((_MATRICES, "matrices = [p for n, p in model.blocks.named_parameters() if 'weight' in n]"),),
    ),
    Mistake(
        "frozen_left_out", "frozen parameters are in no list",
        "Each parameter belongs in one of the two lists: who thaws one later would not train it.",
        ((_OTHERS, _OTHERS.replace("known", "known and p.requires_grad")),
         (_MATRICES, _MATRICES.replace("== 2", "== 2 and p.requires_grad"))),
    ),
    Mistake(
        "all_are_others", "the matrices are among the others too",
        "AdamW and Muon would both update them. Leave out of the others what is in the first list.",
        ((_OTHERS, "list(model.parameters())"),),
    ),
)  # fmt: skip
