"""Jobs: what arrives, how much of the racks it wants, how long it runs, and when it is due."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twin.declarations import WorkKind
from twin.errors import ProblemError, ValidationIssue
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.site import Site
from twin.time_axes import HOUR, QUARTER_HOUR
from twin.units import format_minute

type TimeArray = NDArray[np.datetime64]

MAX_JOB_RACK_SHARE: Final = 0.1
"""Widest job, as a share of all racks; wider ones of a file are made narrower and longer. [1]"""

ARRIVAL_HISTORY: Final = np.timedelta64(14, "D")
"""How far back arrivals are remembered, to expect those to come."""

_DAY: Final = np.timedelta64(1, "D")
_TINY: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Jobs side by side, one array a property, in order of arrival.

    Attributes
    ----------
    number
        Number of the job in its file; the name by which orders call it.
    kind_index
        Place of its kind among the kinds of the site.
    arrival, deadline
        From when on it may run, and when it should be done. [datetime64, UTC]
    length
        Hours that it runs uncapped. [h]
    racks
        Racks that it uses while it runs; it runs on all of them or not at all. [1]
    """

    number: IntArray
    kind_index: IntArray
    arrival: TimeArray
    deadline: TimeArray
    length: FloatArray
    racks: FloatArray

    def __len__(self) -> int:
        """Return the number of jobs."""
        return len(self.number)

    def select(self, which: NDArray[np.bool_] | IntArray | slice) -> Self:
        """Return some of the jobs."""
        return type(self)(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def followed_by(self, later: "Jobs") -> Self:
        """Return these jobs followed by others."""
        pairs = {f.name: (getattr(self, f.name), getattr(later, f.name)) for f in fields(self)}
        return type(self)(**{name: np.concatenate(pair) for name, pair in pairs.items()})

    def arriving_between(self, start: np.datetime64, end: np.datetime64) -> Self:
        """Return the jobs that arrive after ``start`` and not after ``end``."""
        first, last = np.searchsorted(self.arrival, [start, end], side="right")
        return self.select(slice(first, last))


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The work of one run.

    Attributes
    ----------
    jobs
        All jobs to be done: first the backlog of the start, then the arrivals.
    arrivals
        All jobs as they arrived, from two weeks before the start on, whole.
    """

    jobs: Jobs
    arrivals: Jobs

    def past(self, instant: np.datetime64) -> Jobs:
        """Return the arrivals of the two weeks before an instant: all that is known of them."""
        return self.arrivals.arriving_between(instant - ARRIVAL_HISTORY, instant)


def workload_from_jobs(
    frame: pd.DataFrame,
    site: Site,
    *,
    start: np.datetime64,
    end: np.datetime64,
    load_scale: float,
    is_closed: bool = True,
) -> Workload:
    """Return the work of a run, scaled from the jobs of a file to the racks of a site.

    Parameters
    ----------
    frame
        One job a row: ``arrival`` [datetime64, UTC], ``length`` [h] and ``size`` [1]; perhaps
        ``attrs["hours"]``, the hours of which it tells, if it has holes.
    site
        The site.
    start, end
        First and last instant of the run.
    load_scale
        Mean racks busy over all days of the file, as a share of the site's racks. [1]
    is_closed
        Whether every job is due by the end, so that all policies do the same work.

    Returns
    -------
    Workload
        Jobs to do, and what arrived before.

    Raises
    ------
    ProblemError
        If a column is missing, a value makes no sense, or nothing is left to do.

    Notes
    -----
    A job that wants more than a tenth of the racks is made narrower and longer, its work kept.
    The longest kind whose ``longer_than`` it reaches is its kind. Jobs are seen at the
    quarter-hour after they arrive, where the plan is made, and their windows count from there.

    The backlog of the start are the jobs that would still run had each begun on arrival; they have
    their rest to do and keep their deadlines. At the end a job due later is cut: its deadline
    becomes the end and its length shrinks as its window does, so its slack stays what it was.
    """
    _check_frame(frame)
    racks = site.racks
    jobs = _scaled(frame, tuple(site.work.values()), racks=racks, load_scale=load_scale)
    arrivals = jobs.arriving_between(start - ARRIVAL_HISTORY, end)
    run = _cut_begin(jobs, start, end)
    run = _cut_end(run, start, end) if is_closed else run
    if not len(run):
        remedy = "no job of the file falls into the run; choose another start or another file"
        value = f"{format_minute(start)} to {format_minute(end)}"
        raise ProblemError("jobs", [ValidationIssue(location="run", found=value, remedy=remedy)])
    check_jobs(run, racks=racks)
    return Workload(jobs=run, arrivals=arrivals)


def check_jobs(jobs: Jobs, *, racks: float) -> Jobs:
    """Return the jobs if each can be done inside its window on the racks there are.

    Raises
    ------
    ProblemError
        If a job has no length, needs too many racks, or is longer than its window.
    """
    window = (jobs.deadline - jobs.arrival) / HOUR
    issues = []
    for name, values, is_good, remedy in (
        ("length", jobs.length, jobs.length > 0, "must be above 0 h"),
        ("racks", jobs.racks, (jobs.racks > 0) & (jobs.racks <= racks), f"the site has {racks}"),
        (
            "length",
            jobs.length,
            jobs.length <= window + 1e-6,
            "is longer than its window; allow a later deadline or a shorter job",
        ),
    ):
        issues += [
            ValidationIssue(
                location=f"job {jobs.number[row]}, {name}", found=f"{values[row]:g}", remedy=remedy
            )
            for row in np.flatnonzero(~is_good)
        ]
    if issues:
        raise ProblemError("jobs", issues)
    return jobs


def kind_by_length(length: FloatArray, kinds: Sequence[WorkKind]) -> IntArray:
    """Return the place of the kind that jobs of some lengths belong to.

    Parameters
    ----------
    length
        Hours that the jobs run uncapped. [h]
    kinds
        The kinds of the site, in its order.

    Returns
    -------
    numpy.ndarray
        The kind with the greatest ``longer_than`` reached; the shortest kind if none is.
    """
    rising = sorted(range(len(kinds)), key=lambda k: kinds[k].longer_than)
    bounds = [kinds[k].longer_than for k in rising]
    reached = np.searchsorted(bounds, length, side="right") - 1
    return np.asarray(np.array(rising)[np.maximum(reached, 0)], dtype=np.int64)


def covered_hours(arrival: TimeArray) -> float:
    """Return the hours of the days from the first of some arrivals to the last. [h]"""
    first, last = arrival.min().astype("datetime64[D]"), arrival.max().astype("datetime64[D]")
    return float((last + _DAY - first) / HOUR)


def _scaled(
    frame: pd.DataFrame, kinds: Sequence[WorkKind], *, racks: float, load_scale: float
) -> Jobs:
    arrival = frame["arrival"].to_numpy().astype("datetime64[us]")
    size, length = frame["size"].to_numpy(float), frame["length"].to_numpy(float)
    hours = frame.attrs.get("hours", covered_hours(arrival))
    wide = size * load_scale * racks * hours / float(size @ length)
    width = np.minimum(wide, MAX_JOB_RACK_SHARE * racks)
    length = length * wide / width
    kind = kind_by_length(length, kinds)
    slack = np.array([k.slack for k in kinds])[kind]
    seen = _next_quarter(arrival)
    jobs = Jobs(
        number=np.arange(len(frame)),
        kind_index=kind,
        arrival=seen,
        deadline=seen + _span(length * (1.0 + slack)),
        length=length,
        racks=width,
    )
    return jobs.select(np.argsort(seen, kind="stable"))


def _cut_begin(jobs: Jobs, start: np.datetime64, end: np.datetime64) -> Jobs:
    """Return the jobs of a run, those begun before its start with the rest of their length."""
    stop = jobs.arrival + _span(jobs.length)
    jobs = jobs.select((stop > start) & (jobs.arrival < end))
    begun = np.maximum((start - jobs.arrival) / HOUR, 0.0)
    return _with_length(jobs, jobs.length - begun)


def _cut_end(jobs: Jobs, start: np.datetime64, end: np.datetime64) -> Jobs:
    """Return the jobs with deadlines no later than the end, cut with their windows."""
    begin = np.maximum(jobs.arrival, start)
    share = np.minimum((end - begin) / (jobs.deadline - begin), 1.0)
    jobs = _with_length(jobs, jobs.length * share)
    return Jobs(**{**vars(jobs), "deadline": np.minimum(jobs.deadline, end)})


def _with_length(jobs: Jobs, length: FloatArray) -> Jobs:
    return Jobs(**{**vars(jobs), "length": length}).select(length > _TINY)


def _span(hours: FloatArray) -> NDArray[np.timedelta64]:
    return np.asarray(np.ceil(hours * 3.6e9).astype("timedelta64[us]"))


def _next_quarter(moments: TimeArray) -> TimeArray:
    ticks = QUARTER_HOUR.astype("timedelta64[us]").astype(np.int64)
    return np.asarray((-(-moments.astype(np.int64) // ticks) * ticks).astype("datetime64[us]"))


def _check_frame(frame: pd.DataFrame) -> None:
    missing = [name for name in ("arrival", "length", "size") if name not in frame]
    issues = [
        ValidationIssue(location=name, found="", remedy="the column is missing") for name in missing
    ]
    if not missing and frame.empty:
        issues.append(
            ValidationIssue(
                location="rows", found="0", remedy="the file has no job; give one that has"
            )
        )
    for name in {"length", "size"} - set(missing):
        values = frame[name].to_numpy(float)
        issues += [
            ValidationIssue(
                location=f"job {row}, {name}", found=f"{values[row]:g}", remedy="must be above 0"
            )
            for row in np.flatnonzero(~((values > 0) & np.isfinite(values)))
        ]
    if issues:
        raise ProblemError("jobs", issues)
