"""The command line of the workbook: `python grade.py ex1`."""

import sys

if __name__ == "__main__":
    try:
        from grader.cli import main
    except KeyboardInterrupt:
        print("\ngrade.py: stopped; nothing was changed.", file=sys.stderr)
        sys.exit(130)
    sys.exit(main(sys.argv[1:]))
