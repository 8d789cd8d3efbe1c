"""What the checks look at in an attention with groups of heads, in plain torch.

These run in a worker beside the graded module `m` (grader/worker/look.py); grouped.py asks for them."""

from grader.worker import tools


def built(m, unit, config, groups):
    """What building one with each number of groups comes to, its shapes where it is built; "" for none."""
    found, config = {}, tools.config(**config)
    for G in groups:
        came = tools.outcome(getattr(m, unit), config, **({} if G is None else {"n_kv_head": G}))
        if "value" in came:
            came = {"value": {key: p["shape"] for key, p in tools.parameters(came["value"]).items()}}
        found["" if G is None else str(G)] = came
    return found
