"""The catalogue of known mistakes of SwiGLU: each a patch on solutions/more/swiglu.py."""

from tests.exercises import Mistake

_SIZE = "8 * -(-n_embd // 3)"
_HIDDEN = "F.silu(self.gate(x)) * self.up(x)"
_RETURN = "self.dropout(self.down(hidden))"
_GATE = "self.gate = nn.Linear(config.n_embd, hidden, bias=False)"
_DOWN = "self.down = nn.Linear(hidden, config.n_embd, bias=False)"
_DROPOUT = "nn.Dropout(config.dropout)"

MISTAKES = (
    Mistake(
        "silu_of_the_product", "silu is taken of the product",
        "You multiply gate(x) with up(x) first, and take silu of that. Then neither is linear, and neither "
        "is a gate. silu belongs on gate(x) alone.",
        ((_HIDDEN, "F.silu(self.gate(x) * self.up(x))"),),
    ),
    Mistake(
        "swapped", "gate and up are swapped",
        "You take silu of up(x), and gate(x) stays linear. With saved weights that is another function: the "
        "one under silu is called gate.",
        ((_HIDDEN, "self.gate(x) * F.silu(self.up(x))"),),
    ),
    Mistake(
        "sigmoid", "the gate is a sigmoid",
        "Your gate is sigmoid(z), as in the first gated linear units. silu(z) is z * sigmoid(z).",
        ((_HIDDEN, "F.sigmoid(self.gate(x)) * self.up(x)"),),
    ),
    Mistake(
        "gelu", "the gate is a GELU",
        "Your gate is gelu(z), which makes it GEGLU, the paper's equation 5. SwiGLU has silu.",
        ((_HIDDEN, "F.gelu(self.gate(x)) * self.up(x)"),),
    ),
    Mistake(
        "relu", "the gate is a ReLU",
        "Your gate is relu(z), which makes it ReGLU, the paper's equation 5. SwiGLU has silu.",
        ((_HIDDEN, "F.relu(self.gate(x)) * self.up(x)"),),
    ),
    Mistake(
        "no_activation", "the gate has no function",
        "You multiply gate(x) with up(x) as they are, which the paper calls bilinear. silu is missing.",
        ((_HIDDEN, "self.gate(x) * self.up(x)"),),
    ),
    Mistake(
        "silu_overflows", "silu is written out so that it overflows",
        "You divide z * exp(z) by 1 + exp(z). For z above 88 both are infinite, and their quotient is NaN. "
        "z * torch.sigmoid(z) is right for every z.",
        ((_HIDDEN, "self.gate(x) * self.gate(x).exp() / (1 + self.gate(x).exp()) * self.up(x)"),),
    ),
    Mistake(
        "added", "gate and up are added",
        "You add silu(gate(x)) and up(x). A gate lets a part of it through: it is a factor.",
        ((_HIDDEN, "F.silu(self.gate(x)) + self.up(x)"),),
    ),
    Mistake(
        "up_not_used", "up is not used",
        "What you hand to down is silu(gate(x)) alone: up is created and never called, so it learns nothing.",
        ((_HIDDEN, "F.silu(self.gate(x))"),),
    ),
    Mistake(
        "gate_detached", "the gate is detached",
        "No gradient reaches the gate, so its weights stay as they began. Is it computed under no_grad, or "
        "from .data?",
        ((_HIDDEN, "F.silu(self.gate(x)).detach() * self.up(x)"),),
    ),
    Mistake(
        "down_bias", "down has a bias",
        "nn.Linear has a bias unless it is told bias=False. No layer has one here.",
        ((_DOWN, "self.down = nn.Linear(hidden, config.n_embd)"),),
    ),
    Mistake(
        "hidden_of_4", "the hidden size is 4 C",
        "That is the lecture's. With three matrices it is half as many parameters again: 8 C / 3 keeps "
        "their number.",
        ((_SIZE, "4 * n_embd"),),
    ),
    Mistake(
        "rounded_to_the_nearest", "the hidden size is rounded to the nearest multiple of 8",
        "You take the multiple of 8 that is nearest to 8 C / 3, which may be a smaller number. Round up.",
        ((_SIZE, "8 * round(n_embd / 3)"),),
    ),
    Mistake(
        "always_one_more", "the hidden size is too large where nothing is to be rounded",
        "You add 8 to the multiple of 8 below, also where 8 C / 3 is one already, as for C = 384. Add 7 and "
        "round down, or use math.ceil.",
        ((_SIZE, "8 * n_embd // 3 // 8 * 8 + 8"),),
    ),
    Mistake(
        "float_returned", "hidden_size gives a float",
        "Your number is right and a float: / gives one whatever is divided. Use //, math.ceil or int.",
        ((_SIZE, "8.0 * -(-n_embd // 3)"), ("hidden = hidden_size(config.n_embd)",
                                            "hidden = int(hidden_size(config.n_embd))")),
    ),
    Mistake(
        "no_dropout", "there is no dropout",
        "Nothing is dropped in train mode. The lecture's feed-forward ends in dropout, and so does this one.",
        ((_RETURN, "self.down(hidden)"),),
    ),
    Mistake(
        "dropout_in_the_middle", "dropout stands before down",
        "You drop hidden units. Dropout is the last step here, on the output of down.",
        ((_RETURN, "self.down(self.dropout(hidden))"),),
    ),
    Mistake(
        "dropout_in_eval", "dropout is on in eval mode",
        "F.dropout drops unless it is told training=self.training. In eval mode nothing may be dropped.",
        ((_RETURN, "F.dropout(self.down(hidden), self.dropout.p)"),),
    ),
    Mistake(
        "dropout_of_a_number", "dropout has a probability of its own",
        "You drop with a number that you wrote down. The probability is config.dropout.",
        ((_DROPOUT, "nn.Dropout(0.1)"),),
    ),
)  # fmt: skip
