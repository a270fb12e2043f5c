"""What all peers' scripts share: the question, the clock, and the answer; no package of ours."""

import contextlib
import json
import os
import resource
import sys
import time
from importlib.metadata import version


def report(solve, question, *packages):
    """Solve all cases one by one and print objectives and CPU seconds in the last line.

    ``solve`` returns the objective of a case and a function that writes its model to a file. What
    the solver itself prints goes to the standard error.
    """
    answer = {"objectives": [], "seconds": []}
    out = os.dup(1)
    os.dup2(2, 1)
    for number, case in enumerate(question["cases"]):
        with contextlib.redirect_stdout(sys.stderr):
            begun = used()
            objective, write = solve(case)
            answer["seconds"].append(used() - begun)
            if question["export"]:
                write(f"{question['export']}-{number}")
        answer["objectives"].append(objective)
    os.dup2(out, 1)
    answer["versions"] = {name: version(name) for name in packages}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


def asked():
    """Return the question."""
    return json.load(sys.stdin)


def used():
    """Return CPU seconds of this process, its threads and its ended children."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime
