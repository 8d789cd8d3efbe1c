"""What the checks of SwiGLU look at beside the battery's looks, in plain torch; it runs in a worker."""

import numpy as np
import torch


def hidden(m, widths):
    """hidden_size of each width: a whole number where it gives one, of whichever type but a float."""
    return {str(width): _whole(m.hidden_size(width)) for width in widths}


def _whole(value):
    is_float = isinstance(value, (float, np.floating)) or (
        isinstance(value, torch.Tensor) and value.is_floating_point()
    )
    try:
        return value if is_float or value != int(value) else int(value)
    except (TypeError, ValueError, OverflowError):
        return value
