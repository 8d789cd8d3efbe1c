"""Exercise 4, rotary position embeddings: its checks (checks.py), how they look at angles, at a rotation and
at an attention (readings.py, and in torch looks.py), and the catalogue of known mistakes (mistakes.py). What
any attention must pass stands in battery/."""
