"""What the checks look at in any function that lets a model write, in plain torch: its answers with a test
model, the calls of that model, and what it leaves of it.

`unit` is its name in the graded module `m`; it takes the model, and then `arguments` in their order, of which
an array is a tensor for it. steps, table: of the test model (grader/worker/probes.py).
"""

from grader.worker import probes, tools
from grader.worker.seeds import seed_all
from tests.exercises.battery.function_looks import as_tensor


def decoded(m, unit, steps, table, train, arguments):
    """What it gives, the calls of the model, and its modes before and after.

    train: the modes in which the model and each module in it come, in order, repeated.
    """
    model = tools.oracle(steps, table, train)
    before = tools.modes(model)
    answers = getattr(m, unit)(model, *map(as_tensor, arguments.values()))
    return {"answers": answers, "before": before, "after": tools.modes(model)} | tools.record(model)


def decoded_with_seeds(m, unit, steps, table, arguments, seeds):
    """What it gives with each of these seeds of torch, and what the last call of the model was given."""
    found = {}
    for seed in range(seeds):
        seed_all(seed)
        model = tools.oracle(steps, table, [False])
        found[str(seed)] = getattr(m, unit)(model, *map(as_tensor, arguments.values()))
        found[f"last{seed}"] = model.record.tokens[-1] if model.record.tokens else None
    return found


def decoded_in_training(m, unit, steps, table, train, arguments):
    """Its arguments, all that can be observed of the model, and torch's settings, before and after a call."""
    model = tools.oracle(steps, table, train)
    # As in the middle of a training: some weights frozen, all with a gradient.
    probes.condition(model, train, frozen=(False, True), grad=0.5)
    arguments = {name: as_tensor(value) for name, value in arguments.items()}
    state, before = tools.state(model), probes.settings()
    getattr(m, unit)(model, *arguments.values())
    after = {"model": state, "model_after": tools.state(model), "before": before}
    return arguments | after | {"after": probes.settings()}
