"""The stubs that you edit: one file per exercise of the lecture. `python grade.py ex1` checks the first."""
