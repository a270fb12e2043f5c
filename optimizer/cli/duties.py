"""The limits of law that `gigatwin report` tells beside its figures, as advice."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

import numpy as np
import xarray as xr

import sites
from twin.errors import ProblemError, ValidationIssue
from twin.reporting.national_limits import LimitAssessment, assess_limits
from twin.site import Site

LIMITS: Final = ("limit of", "figure", "value", "limit", "binds from", "kept")
"""Columns of the table."""

OPEN: Final = "unknown: contracts and guarantees of origin count too"


def judged_duties(
    site: Site, run: xr.Dataset, opened: str | None
) -> tuple[tuple[LimitAssessment, ...], list[str]]:
    """Return the duties of a site beside what it did, and what to know of them.

    Parameters
    ----------
    site
        The site.
    run
        What it did.
    opened
        First day of its operation, as ``2026-09-01``; without it no duty is judged.

    Raises
    ------
    ProblemError
        If that is no day, or one after the run.
    """
    known = sites.national_limits(site.time_zone)
    day = None if opened is None else _first_day(opened, run)
    if known is None:
        return (), [] if day is None else [f"no limits of law are known for {site.time_zone}"]
    if day is None:
        mend = "add --opened DAY, the first day of the site's operation"
        return (), [f"limits of law are not looked at: {mend}"]
    verdicts = assess_limits(site, run, known.duties.values(), opened=day)
    sources = sorted({f"{one.duty.source}; {one.duty.status}" for one in verdicts})
    about = "limits bind means of whole years, and PUE there is without what only lifts waste heat"
    return verdicts, [f"{about}: advice, check the law", known.note, *sources]


def rows_of(verdicts: Sequence[LimitAssessment]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each duty, as :data:`LIMITS` heads them."""
    for one in verdicts:
        sign = "at most" if one.duty.at_most is not None else "at least"
        value = "unknown" if np.isnan(one.value) else f"{one.value:.3f}"
        day = f"{one.binds_from}" if one.is_binding else f"{one.binds_from}, not yet"
        limit = f"{sign} {one.duty.limit:g}"
        yield one.duty.paragraph, one.duty.figure, value, limit, day, _kept(one)


def told_duties(verdicts: Sequence[LimitAssessment]) -> list[dict[str, object]]:
    """Return the duties as plain values for JSON."""
    return [
        one.duty.model_dump(mode="json")
        | {
            "value": None if np.isnan(one.value) else one.value,
            "limit": one.duty.limit,
            "binds_from": str(one.binds_from),
            "is_binding": one.is_binding,
            "is_kept": one.is_kept,
        }
        for one in verdicts
    ]


def _kept(one: LimitAssessment) -> str:
    if one.is_kept is None:
        return "unknown" if np.isnan(one.value) else OPEN
    return "yes" if one.is_kept else "NO"


def _first_day(text: str, run: xr.Dataset) -> date:
    last = run["time"].to_numpy()[-1]
    mend = "write the first day of operation as 2026-09-01, no later than the last day of the run"
    mend += f", {last.astype('datetime64[D]')}"
    fault = ValidationIssue(place="--opened", value=text, mend=mend)
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ProblemError("command", [fault]) from error
    if np.datetime64(day) > last:
        raise ProblemError("command", [fault])
    return day
