"""What exercise 2's checks look at, in plain torch: batches, the loss, the sampler, `add` with a test model.

These run in a worker beside the graded module `m` (grader/worker/look.py); readings.py asks for them.
"""

from data import addition
from grader.worker import probes, tools
from grader.worker.seeds import seed_all


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


def added(m, steps, table, train, a, b, n):
    """What `add` gives with a test model, the calls of that model, and its modes before and after.

    steps, table: of the test model. train: the modes of it and of each module in it, in order, repeated.
    """
    model = tools.oracle(steps, table, train)
    before = tools.modes(model)
    answers = m.add(model, tools.tensor(a, "int64"), tools.tensor(b, "int64"), n)
    return {"answers": answers, "before": before, "after": tools.modes(model)} | tools.record(model)


def added_with_seeds(m, steps, table, a, b, n, seeds):
    """What `add` gives with each of these seeds of torch."""
    found = {}
    for seed in range(seeds):
        seed_all(seed)
        model = tools.oracle(steps, table, [False])
        found[str(seed)] = m.add(model, tools.tensor(a, "int64"), tools.tensor(b, "int64"), n)
    return found


def added_in_training(m, steps, table, train, a, b, n):
    """a, b, all that can be observed of the model, and torch's settings, before and after a call of `add`."""
    model = tools.oracle(steps, table, train)
    # As in the middle of a training: some weights frozen, all with a gradient.
    probes.condition(model, train, frozen=(False, True), grad=0.5)
    a, b = tools.tensor(a, "int64"), tools.tensor(b, "int64")
    state, before = tools.state(model), probes.settings()
    m.add(model, a, b, n)
    return {
        "a": a,
        "b": b,
        "model": state,
        "model_after": tools.state(model),
        "before": before,
        "after": probes.settings(),
    }
