"""The hints of Muon, from a nudge to nearly the answer; see tests/exercises/ex1/hints.py."""

HINTS = {
    "step five any_scale dtypes devices": (
        "Work through the example of the sheet by hand: a diagonal matrix shows what happens to its entries.",
        "x = g / g.norm(), and in each step s = x @ x.T is (R, R). What is 0 / 0?",
        "x = a * x + (b * s + c * s @ s) @ x, on a copy of g, and back to g's dtype at the end.",
    ),
    "": (
        "Look up torch.optim.Optimizer: what are self.param_groups and self.state?",
        "The momentum belongs in self.state[p], a dict that travels in state_dict, and lr into the group.",
        "m.mul_(momentum).add_(p.grad), u = p.grad + momentum * m, then p.mul_(1 - lr * decay) and "
        "p.add_(orthogonalise(u), alpha=-lr * max(1, R / S) ** 0.5).",
    ),
    "split": (
        "Print name, shape and ndim of model.named_parameters(): which of these are maps between two spaces?",
        "Which of them stand in model.blocks? The others are all that are not among them, by identity.",
        "[p for p in model.blocks.parameters() if p.ndim == 2]; compare by id(p), since == takes numbers.",
    ),
}
COMPARE = ("where the momentum is kept", "how the two lists are told apart")
