"""Starts one worker in a process of its own, where there is no zygote to fork it from.

The private pipes are this process's standard streams, so that it works on every system; the worker
moves them away before it runs any learner's code.
"""

import json
import os
import sys


def main() -> None:
    from grader import protocol, worker

    requests, answers, output = (protocol.binary(os.dup(stream)) for stream in (0, 1, 2))
    worker.main(requests, answers, output, json.loads(sys.argv[1]))


if __name__ == "__main__":
    main()
