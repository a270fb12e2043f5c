"""`gigatwin` with a solver that hangs and a service that waits for it a moment only."""

from functools import partial
from threading import Event

from optimizer.cli import app
from optimizer.service import daemon
from optimizer.service.worker import Worker

DEADLINE = 1.5
"""Longest wait for a decision. [s]"""


def hang(*_):
    """Decide nothing, for ever."""
    Event().wait()


if __name__ == "__main__":
    daemon.Worker = partial(Worker, DEADLINE, hang)
    app()
