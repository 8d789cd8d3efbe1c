"""Runs a file that may hang, crash or cheat, and says what is wrong with it.

Three processes: the judge (judge/, no torch) draws the cases and compares; the reference and the
attempt are workers (worker/) that answer its requests. See judge/grade.py.
learner/ shows what was found; author/ proves that what is found is right.
"""
