"""Starts one worker in a process of its own, where there is no zygote to fork it from.

The private pipes are this process's standard streams, so that it works on every system; the worker
moves them away before it runs any learner's code.
"""

import json
import os
import sys


def main() -> None:
    from grader import worker

    output = os.dup(2)
    worker.main(os.dup(0), os.dup(1), output, json.loads(sys.argv[1]))


if __name__ == "__main__":
    main()
