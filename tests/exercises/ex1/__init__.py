"""Exercise 1, fused attention: its checks (checks.py), how they look at an attention (looks.py), and the
catalogue of known mistakes (mistakes.py)."""
