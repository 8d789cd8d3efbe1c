"""The stubs of the menu: one feature of a paper each. `python grade.py rmsnorm` checks the first."""
