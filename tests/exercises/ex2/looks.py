"""What exercise 2's checks look at, in plain torch: text, batches, the loss.

These run in a worker beside the graded module `m` (grader/worker/look.py); readings.py asks for them.
"""

from grader.worker import probes, tools

def encoded(m, problems):
    """The text of each (a, b, n_digits)."""
    return {str(i): m.encode_problem(*problem) for i, problem in enumerate(problems)}


def decoded(m, texts):
    """The number of each answer."""
    return {str(i): m.decode_answer(text) for i, text in enumerate(texts)}


def refused(m, unit, calls):
    """What a function of the graded module comes to with each of these arguments."""
    return {str(i): tools.outcome(getattr(m, unit), *arguments) for i, arguments in enumerate(calls)}


def made_batch(m, a, b, n):
    """x and y of make_batch; a and b and torch's settings as they are afterwards."""
    a, b = (tools.tensor(numbers, "int64") for numbers in (a, b))
    before = probes.settings()
    pair = m.make_batch(a, b, n)
    after = probes.settings()
    return {"x": tools.item(pair, 0, 2), "y": tools.item(pair, 1, 2), "a": a, "b": b, "before": before, "after": after}


def loss(m, logits, targets, layout):
    """masked_loss, its gradient for the logits, and what it was given and torch's settings as they are afterwards.

    layout: of the logits; the targets are a slice of longer rows unless the logits are contiguous.
    """
    logits = tools.tensor(logits, layout=layout, requires_grad=True)
    targets = tools.tensor(targets, "int64", layout="contiguous" if layout == "contiguous" else "cut")
    before = probes.settings()
    loss = m.masked_loss(logits, targets)
    gradient = tools.gradients(loss, 1.0, logits=logits)["logits"]
    return {
        "loss": loss, "gradient": gradient, "logits": logits, "targets": targets, "before": before, "after": probes.settings(),
    }  # fmt: skip
