"""For every test: one thread for torch. The tensors are small, and threads that spin for work cost more
than they bring (6 times as long was measured on two shared cores)."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
