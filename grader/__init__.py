"""Runs a file that may hang, crash or cheat, and says what is wrong with it.

Three processes: the judge (`judge.py`, no torch) draws the cases and compares; the reference and the
attempt are workers (`worker.py`) that answer its requests. See `judge.grade`.
"""
