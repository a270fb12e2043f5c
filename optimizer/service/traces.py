"""The jobs of a run from a trace that is counted from the first hour of any year."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

import sites
from telemetry.series import read_jobs
from twin.time_axes import QUARTER_HOUR
from twin.workload.jobs import covered_hours


def jobs_of(path: Path, *, start: np.datetime64, end: np.datetime64) -> pd.DataFrame:
    """Return the jobs of every year that a stretch touches.

    Parameters
    ----------
    path
        A trace, which is a usual year; the synthetic one that ships is a usual month instead.
    start, end
        The stretch, a run and its history.

    Returns
    -------
    pandas.DataFrame
        As :func:`telemetry.series.read_jobs` gives them; ``attrs["hours"]`` has for how long
        traces tell, without what lies between one and the next.

    Notes
    -----
    A trace longer than a year ends where that of the next year begins.
    """
    first, last = (pd.Timestamp(moment) for moment in (start, end - QUARTER_HOUR))
    if path == sites.series_file("jobs"):
        return _months(read_jobs(path, year=last.year), first, last)
    whole = [read_jobs(path, year=year) for year in range(first.year, last.year + 1)]
    ended = [one[one["arrival"] < later["arrival"].min()] for one, later in pairwise(whole)]
    told = [*ended, whole[-1]]
    jobs: pd.DataFrame = pd.concat(told, ignore_index=True)
    jobs.attrs["hours"] = sum(covered_hours(one["arrival"].to_numpy()) for one in told if len(one))
    return jobs


def _months(month: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """Return the jobs of a month, moved by its length as often as fills the stretch."""
    begin = month["arrival"].iloc[0].floor("D")
    length = month["arrival"].iloc[-1].ceil("D") - begin
    moves = range((first - begin) // length, (last - begin) // length + 1)
    moved = [month.assign(arrival=month["arrival"] + move * length) for move in moves]
    return pd.concat(moved, ignore_index=True)
