"""Exercise 1, fused attention: its checks (checks.py), what they look at in fuse_heads (looks.py), and the
catalogue of known mistakes (mistakes.py). What any attention must pass stands in battery/."""
