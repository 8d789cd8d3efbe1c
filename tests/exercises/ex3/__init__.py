"""Exercise 3: the checks, how they look at an attempt, and the known mistakes."""
