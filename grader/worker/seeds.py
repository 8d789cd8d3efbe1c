"""Seeds every global generator that a learner's code may draw from."""

import random

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed the global generators of torch, numpy and Python: dropout may be drawn from any of them."""
    torch.default_generator.manual_seed(seed)
    # torch.manual_seed would else note a stack for each kind of device: a millisecond
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
