"""What the checks look at in a function of one matrix, in plain torch.

`unit` is its name in the graded module `m`."""

from grader.worker import tools


def results(m, unit, given, dtype, more):
    """The result for each matrix; more: further keyword arguments."""
    return {str(i): getattr(m, unit)(tools.tensor(g, dtype), **more) for i, g in enumerate(given)}
