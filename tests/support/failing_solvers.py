"""A solver that fails in many ways, for tests of the solver process."""

import multiprocessing
import os
import signal
import threading

import numpy as np
import xarray as xr

from optimizer.planner.decision import Decision
from optimizer.verification.verifier import ScheduleVerdict
from twin.errors import NoScheduleError, SeriesError

ENDS = {
    "hang": lambda: threading.Event().wait(),
    "crash with a lock": lambda: (multiprocessing.Lock(), os.kill(os.getpid(), signal.SIGKILL)),
    "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(0),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}
ERRORS = {
    "no schedule": NoScheduleError("the peak is too low"),
    "series": SeriesError("series", []),
    "fault": ZeroDivisionError(),
    "memory": MemoryError(),
}
ANSWERS = {"rubbish": "no decision at all", "no pickle": lambda: None}


def moody(problem, previous, *_):
    """Behave as the `mood` of the problem says; the decision names process and predecessor."""
    mood = problem["mood"]
    if mood in ENDS:
        ENDS[mood]()
    if mood in ERRORS:
        raise ERRORS[mood]
    if mood in ANSWERS:
        return ANSWERS[mood]
    return Decision(
        schedule=xr.Dataset(attrs={"process": os.getpid(), "previous": previous}),
        verdict=ScheduleVerdict(violations=(), replay=None),
        explanation=None,
    )


def asked(mood="good", *, size=1):
    """Return a problem with a mood and a size."""
    return {"mood": mood, "load": np.zeros(size)}
