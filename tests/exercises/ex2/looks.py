"""What exercise 2's checks look at, in plain torch: batches, the loss, the sampler.

These run in a worker beside the graded module `m` (grader/worker/look.py); readings.py asks for them.
"""

from data import addition
from grader.worker import probes, tools


def made_batch(m, a, b, n):
    """x and y of make_batch."""
    pair = m.make_batch(tools.tensor(a, "int64"), tools.tensor(b, "int64"), n)
    return {"x": tools.item(pair, 0, 2), "y": tools.item(pair, 1, 2)}


def loss(m, logits, targets, layout):
    """masked_loss, its gradient for the logits, and what it was given and torch's settings as they are
    afterwards.

    layout: of the logits; the targets are a slice of longer rows unless the logits are contiguous.
    """
    logits = tools.tensor(logits, layout=layout, requires_grad=True)
    targets = tools.tensor(targets, "int64", layout="contiguous" if layout == "contiguous" else "cut")
    before = probes.settings()
    loss = m.masked_loss(logits, targets)
    gradient = tools.gradients(loss, 1.0, logits=logits)["logits"]
    return {
        "loss": loss,
        "gradient": gradient,
        "logits": logits,
        "targets": targets,
        "before": before,
        "after": probes.settings(),
    }


def drawn(m, count, n, seed, calls):
    """a and b of as many calls of sample_problems with one generator, one after the other."""
    generator = tools.generator(seed)
    pairs = [m.sample_problems(count, n, generator) for _ in range(calls)]
    return {
        f"{side}{call}": tools.item(pair, i, 2)
        for call, pair in enumerate(pairs)
        for i, side in enumerate("ab")
    }


def held_out(m, a, b, n):
    """is_held_out of data.addition: of the graded module nothing."""
    return {"held": addition.is_held_out(tools.tensor(a, "int64"), tools.tensor(b, "int64"), n)}
