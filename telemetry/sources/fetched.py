"""Fetch a series into a file that a service reads.

What a service answers is read before it is kept. An answer that ends before the file that is there,
or tells less of the time that both cover, leaves that as it is: a service that lost its newest days
must not take them from whoever plans.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from telemetry.durable import write_whole
from telemetry.sources.carbon import kinds, read_carbon
from telemetry.sources.market import read_market
from telemetry.sources.prices import read_prices
from telemetry.sources.services import Question, service_of
from telemetry.sources.weather import read_weather
from twin.axes import to_minute, utc
from twin.errors import Fault, SeriesError

NAMES: Final = {
    "prices": ("electricity_price",),
    "weather": ("air_temperature", "relative_humidity", "global_irradiance"),
    "carbon": ("carbon_intensity",),
}
"""What is fetched -> variables that must all be told."""

BEYOND: Final = np.timedelta64(20, "D")
"""No service tells of times that are further ahead."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What was fetched.

    Attributes
    ----------
    begin, end
        Starts of the first and the last interval that the file tells now, UTC.
    intervals
        Intervals that are told. [1]
    is_kept
        Whether the file that was there is kept, as it tells more than the answer.
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
    text = service_of(what, service).ask(asked)
    with tempfile.TemporaryDirectory(prefix="gigatwin-") as folder:
        draft = Path(folder) / f"answer of {service}"
        draft.write_text(text, encoding="utf-8")
        answer = told(what, draft)
    if answer[-1] > asked.now + BEYOND:
        mend = "no service knows that; ask again, or another"
        value = to_minute(answer[-1])
        raise SeriesError(service, [Fault(place=f"{service}, last time", value=value, mend=mend)])
    try:
        before = told(what, out)
    except SeriesError:  # not there yet, or spoilt: it may be replaced
        before = answer[:0]
    common = before[(before >= answer[0]) & (before <= answer[-1])]
    is_kept = bool(before.size) and (before[-1] > answer[-1] or common.size > answer.size)
    if not is_kept:
        write_whole(out, text)
    now = before if is_kept else answer
    return Fetched(begin=now[0], end=now[-1], intervals=now.size, is_kept=is_kept)


def told(what: str, path: Path) -> NDArray[np.datetime64]:
    """Return the starts of all intervals of which a file tells everything that it is for.

    Raises
    ------
    SeriesError
        If no reader takes it, or it tells nothing.
    """
    data = _read(what, path)
    names = [name for name in NAMES[what] if name in data]
    is_known = np.isfinite(np.stack([data[name].to_numpy() for name in names])).all(axis=0)
    time = data["time"].to_numpy()
    for gap in (*data.attrs["gaps"], *data.attrs["long_gaps"]):  # a reader may have filled it
        begin, end = (utc(edge) for edge in gap.split("/"))
        is_known &= (time < begin) | (time >= end)
    if not is_known.any():
        mend = "nothing in it is a number; ask for other days, or later"
        raise SeriesError(path.name, [Fault(place=f"{path.name}, {what}", value="", mend=mend)])
    return np.asarray(time[is_known])


def _read(what: str, path: Path) -> xr.Dataset:
    if what == "prices":
        return read_prices(path)
    if what == "weather":
        return read_weather(path)
    return read_carbon(path, kind="lca" if "lca" in kinds(read_market(path)) else "direct")


def words_of(found: Fetched) -> str:
    """Return until when is told, in words."""
    return (
        f"{found.intervals} intervals from {to_minute(found.begin)} to {to_minute(found.end)}"
        + ("; the file that was there tells more than the answer, and stays" * found.is_kept)
    )
