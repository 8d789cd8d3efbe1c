"""The command line of the workbook: `python grade.py ex1`."""

import sys

from grader.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
