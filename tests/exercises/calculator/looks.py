"""What the calculator's checks look at, in plain torch: batches, the sampler, texts that are refused.

These run in a worker beside the graded module `m` (grader/worker/look.py); readings.py asks for them.
"""

import torch

from data import arithmetic
from grader.worker import tools

FAR = 1 << 40  # stands for all larger numbers


def made_batch(m, problems):
    """x and y of make_batch, and the list that it was given, as it is afterwards."""
    given = [tuple(problem) for problem in problems]
    pair = m.make_batch(given)
    return {"x": tools.item(pair, 0, 2), "y": tools.item(pair, 1, 2), "problems": given}


def drawn(m, count, seed, calls):
    """As many calls of sample_problems with one generator, one after the other.

    sizes: how many problems each gave. problems: (N, 3) of all, with the place of the operator in OPERATORS,
    -1 for none. wrong: what is no list of (int, str, int), in words, or "".
    """
    generator = tools.generator(seed)
    found, sizes, wrong = [], [], ""
    for _ in range(calls):
        problems = m.sample_problems(count, generator)
        if type(problems) is not list:
            wrong = wrong or f"an object of type {type(problems).__name__}"
            continue
        sizes.append(len(problems))
        for problem in problems:
            if type(problem) is tuple and [*map(type, problem)] == [int, str, int]:
                a, op, b = problem
                place = arithmetic.OPERATORS.find(op) if len(op) == 1 else -1
                found.append([max(-FAR, min(a, FAR)), place, max(-FAR, min(b, FAR))])
            else:
                parts = (
                    [type(part).__name__ for part in problem] if isinstance(problem, (tuple, list)) else []
                )
                kind = f"{type(problem).__name__} ({', '.join(parts[:5])})"
                wrong = wrong or f"a list with a {kind} in it"
    return {
        "sizes": torch.tensor(sizes, dtype=torch.int64),
        "problems": torch.tensor(found, dtype=torch.int64).reshape(-1, 3),
        "wrong": wrong,
    }


def held_out(m, problems):
    """held_out of data.arithmetic for rows of (a, place of the operator, b): of the graded module nothing."""
    a, ops, b = tools.tensor(problems, "int64").unbind(dim=1)
    held = torch.zeros_like(a, dtype=torch.bool)
    for place, op in enumerate(arithmetic.OPERATORS):
        held[ops == place] = arithmetic.held_out(a[ops == place], op, b[ops == place])
    return {"held": held}


def pools(m):
    """Of each operator, how many pairs are left for training with each a, with each b, and with a up to b
    and above."""
    found = {}
    for op in arithmetic.OPERATORS:
        largest_a, smallest_b, largest_b = arithmetic.RANGES[op]
        a = torch.arange(largest_a + 1)[:, None].expand(-1, largest_b + 1)
        b = torch.arange(largest_b + 1)[None, :].expand(largest_a + 1, -1)
        left = ~arithmetic.held_out(a, op, b) & (b >= smallest_b)
        orders = [(left & which).sum() for which in (a <= b, a > b)]
        found |= {f"{op}a": left.sum(dim=1), f"{op}b": left.sum(dim=0), f"{op}order": torch.stack(orders)}
    return found


def refused(m, steps, table, texts):
    """The outcome of calculate for each of these texts; whether the test model was in the same mode
    afterwards, and which errors have no words."""
    came, kept, silent = {}, [], []

    def asked(model, text):
        try:
            return m.calculate(model, text)
        except ValueError as error:
            silent.extend([text] * (not str(error).strip()))
            raise

    for i, text in enumerate(texts):
        model = tools.oracle(steps, table, [True])
        came[str(i)] = tools.outcome(asked, model, text)
        kept.append(all(tools.modes(model).values()))
    return came | {"kept": kept, "silent": silent}


def held_out_problems(m, op, count, seed):
    """a and b of `count` problems of one operator that are held out, to measure a trained model on."""
    a, b = arithmetic.sample_held_out(op, count, tools.generator(seed))
    return {"a": a, "b": b}
