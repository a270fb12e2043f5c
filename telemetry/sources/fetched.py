"""Fetch a series into a file that a service reads: a better one takes its place, a worse one never.

What a service answers is read before it is kept. An answer that ends before the file that is there
leaves that as it is: a service that lost its newest days must not take them from whoever plans.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from telemetry.durable import write_whole
from telemetry.sources.carbon import kinds, read_carbon
from telemetry.sources.market import read_market
from telemetry.sources.prices import read_prices
from telemetry.sources.services import SERVICES, Question
from telemetry.sources.weather import read_weather
from twin.axes import edges_of, to_minute
from twin.errors import Fault, SeriesError, nearest

NAMES: Final = {
    "prices": "electricity_price",
    "weather": "air_temperature",
    "carbon": "carbon_intensity",
}
"""What is fetched -> the variable that says until when it is told."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What was fetched.

    Attributes
    ----------
    begin, end
        Of what the file tells now, UTC.
    intervals
        Intervals that are told. [1]
    is_kept
        Whether the file that was there is kept, as it tells of later times than the answer.
    """

    begin: np.datetime64
    end: np.datetime64
    intervals: int
    is_kept: bool


def fetch(what: str, service: str, asked: Question, *, out: Path) -> Fetched:
    """Ask a service, and write its answer in place of a file unless that tells more.

    Parameters
    ----------
    what
        ``prices``, ``weather`` or ``carbon``.
    service
        One of :data:`telemetry.sources.services.SERVICES`.
    asked
        The question.
    out
        The file.

    Raises
    ------
    SeriesError
        If the service is not known, does not answer, or answers what no reader takes; then the file
        stays as it is.
    JournalError
        If the disk does not take the file.
    """
    known = SERVICES[what]
    if service not in known:
        mend = f"for {what} known are {', '.join(known)}" + nearest(service, known)
        raise SeriesError("fetch", [Fault(place="service", value=service, mend=mend)])
    text = known[service].ask(asked)
    with tempfile.TemporaryDirectory(prefix="gigatwin-") as folder:
        draft = Path(folder) / f"answer of {service}"
        draft.write_text(text, encoding="utf-8")
        begin, end, count = told(what, draft)
    before = told(what, out) if _is_readable(what, out) else None
    if before is not None and before[1] > end:
        return Fetched(begin=before[0], end=before[1], intervals=before[2], is_kept=True)
    write_whole(out, text)
    return Fetched(begin=begin, end=end, intervals=count, is_kept=False)


def told(what: str, path: Path) -> tuple[np.datetime64, np.datetime64, int]:
    """Return from when until when a file tells, and in how many intervals.

    Raises
    ------
    SeriesError
        If no reader takes it, or it tells nothing.
    """
    data = _read(what, path)
    known = np.flatnonzero(np.isfinite(data[NAMES[what]].to_numpy()))
    if not known.size:
        mend = "nothing in it is a number; ask for other days, or later"
        raise SeriesError(path.name, [Fault(place=f"{path.name}, {what}", value="", mend=mend)])
    edges = edges_of(data)
    return edges[known[0]], edges[known[-1] + 1], int(known.size)


def _read(what: str, path: Path) -> xr.Dataset:
    if what == "prices":
        return read_prices(path)
    if what == "weather":
        return read_weather(path)
    return read_carbon(path, kind="lca" if "lca" in kinds(read_market(path)) else "direct")


def _is_readable(what: str, path: Path) -> bool:
    """Return whether a file is there and tells something; one that is spoilt may be replaced."""
    try:
        told(what, path)
    except SeriesError:
        return False
    return True


def words_of(found: Fetched) -> str:
    """Return until when is told, in words."""
    return (
        f"{found.intervals} intervals from {to_minute(found.begin)} to {to_minute(found.end)}"
        + (
            "; the file that was there tells of later times than the answer, and stays"
            * found.is_kept
        )
    )
