"""A solver that misbehaves, as the service's worker meets it in its other process."""

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
    """Do what the problem, a dictionary with a mood, tells; decide nothing but who was asked."""
    mood = problem["mood"]
    if mood in ENDS:
        ENDS[mood]()
    if mood in ERRORS:
        raise ERRORS[mood]
    if mood in ANSWERS:
        return ANSWERS[mood]
    return Decision(
        schedule=xr.Dataset(attrs={"process": os.getpid(), "previous": previous}),
        verdict=ScheduleVerdict(violations=(), replay=None, power_error=0.0),
        explanation=None,
    )


def asked(mood="good", *, size=1):
    """Return a question of some size."""
    return {"mood": mood, "load": np.zeros(size)}
