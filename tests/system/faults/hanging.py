"""`gigatwin` with a solver that hangs and a service with a short solver deadline."""

import os
import sys
from functools import partial
from threading import Event

from optimizer.cli import app
from optimizer.service import startup
from optimizer.service.solver_process import SolverProcess

DEADLINE = float(os.environ.get("HANGING_DEADLINE", "1.5"))
"""Longest wait for a decision. [s]"""

ASKED = "the solver was called and hangs"


def hang(*_):
    """Write a line to the log and never return."""
    sys.stderr.write(f"{ASKED}\n")
    sys.stderr.flush()
    Event().wait()


if __name__ == "__main__":
    startup.SolverProcess = partial(SolverProcess, DEADLINE, hang)
    app()
