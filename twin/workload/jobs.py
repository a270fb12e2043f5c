"""Jobs: their arrival, racks, length and deadline; and announcements of jobs before arrival."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twin.argument_checks import missing_column_issues
from twin.errors import IssueCode, ProblemError
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.site import Site
from twin.site_settings import WorkKind
from twin.time_axes import DAY, HOUR, QUARTER_HOUR
from twin.units import format_minute

type TimeArray = NDArray[np.datetime64]

MAX_JOB_RACK_SHARE: Final = 0.1
"""Widest job, as a share of all racks; wider jobs of a file become narrower and longer. [1]"""

ARRIVAL_HISTORY: Final = np.timedelta64(84, "D")
"""Time over which past arrivals are kept: twelve weeks, from which scenarios are drawn."""

RECENT_HISTORY: Final = np.timedelta64(14, "D")
"""Time over which past arrivals give the expected mean, and announcements their confidence."""

_MIN_LENGTH_H: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Jobs, one array per property, in order of arrival.

    - ``number``: Number of the job in its file, by which orders refer to it.
    - ``kind_index``: Index of its kind among the kinds of the site.
    - ``arrival``, ``deadline``: Earliest start, and when it should be done. [datetime64, UTC]
    - ``length``: Hours that it runs uncapped. [h]
    - ``racks``: Racks that it uses while it runs; it runs on all of them or not at all. [1]
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
class Announcements:
    """Jobs that a scheduler announced before their arrival, one array per property.

    A job may be announced again: its newest announcement replaces the earlier ones.

    - ``number``: Number that the job will have when it arrives.
    - ``kind_index``: Index of its kind among the kinds of the site.
    - ``announced``, ``start``: When it was announced, and when it is expected. [datetime64, UTC]
    - ``withdrawn``: When the announcement was withdrawn; NaT if it was not. [datetime64, UTC]
    - ``length``: Hours that it will run uncapped. [h]
    - ``racks``: Racks that it will use. [1]
    - ``probability``: Probability that the scheduler states; 1 if it states none. [1]
    """

    number: IntArray
    kind_index: IntArray
    announced: TimeArray
    start: TimeArray
    withdrawn: TimeArray
    length: FloatArray
    racks: FloatArray
    probability: FloatArray

    def __len__(self) -> int:
        """Return the number of announcements."""
        return len(self.number)

    def select(self, which: NDArray[np.bool_] | IntArray) -> Self:
        """Return some of the announcements."""
        return type(self)(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def followed_by(self, later: "Announcements") -> Self:
        """Return these announcements followed by others."""
        pairs = {f.name: (getattr(self, f.name), getattr(later, f.name)) for f in fields(self)}
        return type(self)(**{name: np.concatenate(pair) for name, pair in pairs.items()})

    def known_at(self, instant: np.datetime64) -> Self:
        """Return what was known at an instant: neither later announcements nor withdrawals."""
        known = self.select(self.announced <= instant)
        withdrawn = known.withdrawn.copy()
        withdrawn[withdrawn > instant] = np.datetime64("NaT", "us")
        return replace(known, withdrawn=withdrawn)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The work of one run.

    - ``jobs``: All jobs to do: first the backlog of the start, then the arrivals.
    - ``arrival_history``: All jobs as they arrived, from twelve weeks before the start on, uncut.
    - ``announcements``: What the scheduler announced ahead; None if it announces nothing.
    """

    jobs: Jobs
    arrival_history: Jobs
    announcements: Announcements | None = None

    def past(self, instant: np.datetime64) -> Jobs:
        """Return the arrivals of the twelve weeks before an instant."""
        return self.arrival_history.arriving_between(instant - ARRIVAL_HISTORY, instant)


def workload_from_jobs(
    frame: pd.DataFrame,
    site: Site,
    *,
    start: np.datetime64,
    end: np.datetime64,
    load_scale: float,
    is_closed: bool = True,
    announced: pd.DataFrame | None = None,
) -> Workload:
    """Return the work of a run, scaled from the jobs of a file to the racks of a site.

    Parameters
    ----------
    frame
        One job a row: ``arrival`` [datetime64, UTC], ``length`` [h] and ``size`` [1]; optionally
        ``attrs["hours"]``, the hours that it covers, if it has gaps.
    site
        The site.
    start, end
        First and last instant of the run.
    load_scale
        Mean busy racks over all days of the file, as a share of the site's racks. [1]
    is_closed
        Whether every job is due by the end, so that all policies do the same work.
    announced
        Announcements of jobs, as :func:`telemetry.series.read_announcements` returns; their ``id``
        is that of the jobs.

    Returns
    -------
    Workload
        Jobs to do, earlier arrivals, and announcements.

    Raises
    ------
    ProblemError
        If a column is missing, a value is not allowed, or nothing is left to do.

    Notes
    -----
    A job with more than a tenth of the racks becomes narrower and longer with the same work. Its
    kind is the longest one whose ``longer_than`` it reaches. Jobs are visible from the quarter-hour
    after their arrival, when the plan is made, and their windows count from there.

    The backlog of the start are the jobs that would still run had each begun on arrival. They have
    their remaining length to do and keep their deadlines. At the end a job due later is cut: its
    deadline becomes the end and its length shrinks like its window, so its slack stays the same.
    """
    _check_frame(frame)
    racks = site.rack_count
    kinds = tuple(site.work.values())
    jobs = _scaled(frame, kinds, racks=racks, load_scale=load_scale)
    arrivals = jobs.arriving_between(start - ARRIVAL_HISTORY, end)
    run = _cut_begin(jobs, start, end)
    run = _cut_end(run, start, end) if is_closed else run
    if not len(run):
        raise ProblemError.single(
            "jobs",
            IssueCode.MISSING,
            "run",
            found=f"{format_minute(start)} to {format_minute(end)}",
            expected="a job of the file in the run",
            remedy="choose another start or another file",
        )
    check_jobs(run, racks=racks)
    ahead = None
    if announced is not None:
        ahead = _announcements(announced, frame, kinds, racks=racks, load_scale=load_scale)
    return Workload(jobs=run, arrival_history=arrivals, announcements=ahead)


def check_jobs(jobs: Jobs, *, racks: float) -> Jobs:
    """Return the jobs if each can be done inside its window on the available racks.

    Raises ``ProblemError`` if a job has no length, needs too many racks, or is longer than its
    window.
    """
    window = (jobs.deadline - jobs.arrival) / HOUR
    issues = []
    for name, values, is_good, expected in (
        ("length", jobs.length, jobs.length > 0, "above 0 h"),
        (
            "racks",
            jobs.racks,
            (jobs.racks > 0) & (jobs.racks <= racks),
            f"above 0 and at most {racks}",
        ),
        ("length", jobs.length, jobs.length <= window + 1e-6, "at most its window"),
    ):
        issues += [
            IssueCode.OUT_OF_RANGE.issue(
                f"job {jobs.number[row]}, {name}",
                found=f"{values[row]:g}",
                expected=expected,
                remedy="correct the job or its deadline",
            )
            for row in np.flatnonzero(~is_good)
        ]
    ProblemError.raise_if_any("jobs", issues)
    return jobs


def kind_by_length(length: FloatArray, kinds: Sequence[WorkKind]) -> IntArray:
    """Return the index of the kind of jobs with some lengths [h].

    It is the kind with the greatest ``longer_than`` reached; the shortest kind if none is.
    """
    rising = sorted(range(len(kinds)), key=lambda k: kinds[k].longer_than)
    bounds = [kinds[k].longer_than for k in rising]
    reached = np.searchsorted(bounds, length, side="right") - 1
    return np.asarray(np.array(rising)[np.maximum(reached, 0)], dtype=np.int64)


def covered_hours(arrival: TimeArray) -> float:
    """Return the hours of the days from the first to the last of some arrivals. [h]"""
    first, last = arrival.min().astype("datetime64[D]"), arrival.max().astype("datetime64[D]")
    return float((last + DAY - first) / HOUR)


def _widths_and_lengths(
    frame: pd.DataFrame, trace: pd.DataFrame, *, racks: float, load_scale: float
) -> tuple[FloatArray, FloatArray]:
    """Return the racks [1] and lengths [h] of jobs, scaled as all jobs of their trace.

    The widest become narrower and longer.
    """
    sizes, lengths = trace["size"].to_numpy(float), trace["length"].to_numpy(float)
    hours = trace.attrs.get("hours", covered_hours(trace["arrival"].to_numpy()))
    size = frame["size"].to_numpy(float)
    wide = size * load_scale * racks * hours / float(sizes @ lengths)
    width = np.minimum(wide, MAX_JOB_RACK_SHARE * racks)
    return width, frame["length"].to_numpy(float) * wide / width


def _announced_numbers(announced: pd.DataFrame, trace: pd.DataFrame) -> IntArray:
    """Return the numbers of announced jobs; those that never arrive get numbers after all jobs."""
    number_by_id = {name: row for row, name in enumerate(trace["id"].tolist())}
    for name in announced["id"].tolist():
        number_by_id.setdefault(name, len(number_by_id))
    return np.array([number_by_id[name] for name in announced["id"].tolist()], dtype=np.int64)


def _announcements(
    frame: pd.DataFrame,
    trace: pd.DataFrame,
    kinds: Sequence[WorkKind],
    *,
    racks: float,
    load_scale: float,
) -> Announcements:
    """Return announcements on the racks of a site, scaled as the jobs of the trace are."""
    width, length = _widths_and_lengths(frame, trace, racks=racks, load_scale=load_scale)
    return Announcements(
        number=_announced_numbers(frame, trace),
        kind_index=kind_by_length(length, kinds),
        announced=frame["announced"].to_numpy().astype("datetime64[us]"),
        start=_next_quarter(frame["start"].to_numpy().astype("datetime64[us]")),
        withdrawn=frame["withdrawn"].to_numpy().astype("datetime64[us]"),
        length=length,
        racks=width,
        probability=frame["probability"].to_numpy(float),
    )


def _scaled(
    frame: pd.DataFrame, kinds: Sequence[WorkKind], *, racks: float, load_scale: float
) -> Jobs:
    width, length = _widths_and_lengths(frame, frame, racks=racks, load_scale=load_scale)
    kind = kind_by_length(length, kinds)
    slack = np.array([k.slack for k in kinds])[kind]
    seen = _next_quarter(frame["arrival"].to_numpy().astype("datetime64[us]"))
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
    """Return the jobs of a run, those begun before its start with their remaining length."""
    stop = jobs.arrival + _span(jobs.length)
    jobs = jobs.select((stop > start) & (jobs.arrival < end))
    begun = np.maximum((start - jobs.arrival) / HOUR, 0.0)
    return _with_length(jobs, jobs.length - begun)


def _cut_end(jobs: Jobs, start: np.datetime64, end: np.datetime64) -> Jobs:
    """Return the jobs with deadlines at the end at the latest, cut with their windows."""
    begin = np.maximum(jobs.arrival, start)
    share = np.minimum((end - begin) / (jobs.deadline - begin), 1.0)
    jobs = _with_length(jobs, jobs.length * share)
    return Jobs(**{**vars(jobs), "deadline": np.minimum(jobs.deadline, end)})


def _with_length(jobs: Jobs, length: FloatArray) -> Jobs:
    return Jobs(**{**vars(jobs), "length": length}).select(length > _MIN_LENGTH_H)


def _span(hours: FloatArray) -> NDArray[np.timedelta64]:
    return np.asarray(np.ceil(hours * 3.6e9).astype("timedelta64[us]"))


def _next_quarter(moments: TimeArray) -> TimeArray:
    ticks = QUARTER_HOUR.astype("timedelta64[us]").astype(np.int64)
    return np.asarray((-(-moments.astype(np.int64) // ticks) * ticks).astype("datetime64[us]"))


def _check_frame(frame: pd.DataFrame) -> None:
    issues = missing_column_issues(frame.columns, ("arrival", "length", "size"))
    if not issues and frame.empty:
        issues.append(
            IssueCode.MISSING.issue(
                "rows", found="0", expected="at least one job", remedy="give a file with jobs"
            )
        )
    for name in {"length", "size"} & set(frame.columns):
        values = frame[name].to_numpy(float)
        issues += [
            IssueCode.OUT_OF_RANGE.issue(
                f"job {row}, {name}",
                found=f"{values[row]:g}",
                expected="a finite number above 0",
                remedy="correct the value",
            )
            for row in np.flatnonzero(~((values > 0) & np.isfinite(values)))
        ]
    ProblemError.raise_if_any("jobs", issues)
