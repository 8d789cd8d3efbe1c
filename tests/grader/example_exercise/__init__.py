"""The worked example of CONTRIBUTING.md: RMSNorm, a whole exercise. It is none of the workbook's own;
tests/grader/test_contributing.py adds it to a copy of the workbook and tries it there."""
