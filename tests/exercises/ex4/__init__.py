"""Exercise 4, rotary position embeddings: its checks (checks.py), how they look at angles, at a rotation and
at an attention (looks.py), and the catalogue of known mistakes (mistakes.py)."""
