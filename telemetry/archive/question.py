"""What may be asked of an archive: a fault of the question is none of the archive."""

import numpy as np

from telemetry.archive.layout import LABELS, ROLLED
from telemetry.archive.spans import Moment, Span, moment_of
from twin.errors import ArchiveError, ProblemError
from twin.site import Site


def check(site: Site | str, *, group: str | None, resolution: str | None, span: Span) -> None:
    """Refuse a question that no archive can answer.

    Parameters
    ----------
    site, group, resolution
        As for :func:`telemetry.archive.open`.
    span
        First moment wanted, and the first no longer wanted.

    Raises
    ------
    ArchiveError
        If there is no such group or resolution, or the span is none.
    """
    for place, told, known in (("group", group, LABELS), ("resolution", resolution, ROLLED)):
        if told is not None and told not in known:
            message = f"{place} = {told}: choose {', '.join(known)}, or none"
            raise ArchiveError(message)
    if group is None and resolution is not None:
        message = f"resolution = {resolution}: variables are not rolled up; ask for a group: "
        raise ArchiveError(message + ", ".join(LABELS))
    if group is None and isinstance(site, str):
        message = f"site = {site}: a name; give the site itself, or ask for a group: "
        raise ArchiveError(message + ", ".join(LABELS))
    first, last = (_moment(place, one) for place, one in zip(("start", "end"), span, strict=True))
    if last <= first:  # never where one of them is not told
        message = f"start = {first}, end = {last}: no stretch of time; name the earlier first"
        raise ArchiveError(message)


def _moment(place: str, moment: Moment) -> np.datetime64:
    if moment is None:
        return np.datetime64("NaT", "us")
    try:
        return moment_of(moment)
    except (TypeError, ValueError, ProblemError) as error:
        message = f"{place} = {moment}: no moment; write UTC as 2026-07-01T00:00:00"
        raise ArchiveError(message) from error
