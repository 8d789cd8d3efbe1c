"""What the checks of grouped-query attention look at beside the batteries' looks; it runs in a worker."""

from tests.exercises.battery.converted_looks import converted


def grouped(m, unit, config, weights, x, arguments, dtype, train, change):
    """What group_heads makes of a fused attention, and what it does to it."""
    kind = getattr(m, unit)
    return converted(m.group_heads, kind, config, weights, x, arguments, dtype, train, change)
