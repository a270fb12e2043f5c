"""Recent readings of the archive, which fill the live state after a restart."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from telemetry.archive.layout import NO_READING_QUALITY, QUALITY_CODES, read_metadata_changes
from telemetry.archive.reader import open_folder, open_snapshot
from telemetry.archive.recovery import STORAGE_ERRORS
from telemetry.live.state import LIVE_HISTORY_SPAN
from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.samples import CHIP_VARIABLES, GOOD_QUALITY, PointValue, RackBatch
from telemetry.points.point_meanings import RACK_OBJECT_TYPE
from telemetry.quality.checks import QualityFlag
from twin.errors import ArchiveError

RESTORED_READING_INTERVAL: Final = np.timedelta64(15, "m")
"""The last value of each point in each such interval is read."""


def recent_readings(folder: Path, site: str) -> Iterator[PointValue | RackBatch]:
    """Yield the readings of a site in the time span of the live state.

    See :func:`recent_point_values` and :func:`recent_rack_batches`. It raises ArchiveError if the
    archive cannot be read.
    """
    try:
        changes = read_metadata_changes(open_snapshot(folder, site).root)
        since = {label: np.datetime64(found[-1][1], "s") for label, found in changes.items()}
        for one in recent_point_values(open_folder(folder, site, group="points")):
            if one.time >= since.get(one.point, one.time):  # earlier ones have another unit
                yield one
        yield from recent_rack_batches(open_folder(folder, site, group="racks"), site)
    except STORAGE_ERRORS as error:
        message = f"{folder}: cannot be read: {error}; check the disk and its permissions"
        raise ArchiveError(message) from error


def recent_point_values(points: xr.Dataset) -> Iterator[PointValue]:
    """Yield recent values of the points of an archive, in order of time.

    These are the last value of each point in each quarter-hour of the last day; for points of
    racks, which are many, in the newest quarter-hour only.
    """
    if "value" not in points or not points.sizes["time"]:
        return
    times = points["time"].values
    is_rack = points["object_type"].values == RACK_OBJECT_TYPE
    spans = list(_spans(times))
    for first, last in spans:
        selected = slice(None) if (first, last) == spans[-1] else np.flatnonzero(~is_rack)
        yield from last_values(points.isel(time=slice(first, last), point=selected))


def recent_rack_batches(racks: xr.Dataset, site: str) -> Iterator[RackBatch]:
    """Yield a batch of each rack in the newest second of an archive, with boot and sequence 0."""
    if "power" not in racks or not racks.sizes["time"]:
        return
    for batch in rack_batches(racks.isel(time=-1), site):
        interval = np.diff(racks["time"].values[-2:])
        yield replace(batch, interval=interval[0]) if interval.size else batch


def rack_batches(racks: xr.Dataset, site: str) -> Iterator[RackBatch]:
    """Yield the batch of each rack in one second of an archive.

    Boot and sequence are 0, the interval that of restored readings; absent chips keep their place.
    """
    every = np.stack([racks[name].values for name in CHIP_VARIABLES])
    is_present = ~np.isnan(every).any(axis=0)
    for column in np.flatnonzero(is_present.any(axis=1)).tolist():
        hall, _, rack = str(racks["rack"].values[column]).partition("/")
        chips = np.flatnonzero(is_present[column])[-1] + 1
        values = np.where(is_present[column, :chips], every[:, column, :chips], np.nan)
        yield RackBatch(
            site=site,
            hall=hall,
            rack=rack,
            boot=0,
            sequence=0,
            time=np.datetime64(racks["time"].item(), "us"),
            interval=RESTORED_READING_INTERVAL,
            values=np.ascontiguousarray(values, dtype=np.float32),
        )


def _spans(times: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the rows (first, last + 1) to read of each quarter-hour.

    These are its last 100 s at most, within which every point is repeated.
    """
    (begin,) = np.searchsorted(times, times[-1:] - LIVE_HISTORY_SPAN)
    interval = np.ceil((times[begin:] - np.datetime64(0, "s")) / RESTORED_READING_INTERVAL)
    (edges,) = np.nonzero(np.diff(interval, append=np.inf))
    for last in (begin + edges).tolist():
        (first,) = np.searchsorted(times, times[last : last + 1] - REPEAT_PERIOD, side="right")
        yield int(max(first, begin)), last + 1


def last_values(points: xr.Dataset) -> Iterator[PointValue]:
    """Yield the last value of each point that has one, in order of time."""
    if "value" not in points or not points.sizes["time"]:
        return
    codes, values = points["quality"].values, points["value"].values
    has_value = codes != NO_READING_QUALITY
    rows = len(codes) - 1 - np.argmax(has_value[::-1], axis=0)
    (columns,) = np.nonzero(has_value.any(axis=0))
    names, times = points["point"].values.tolist(), points["time"].values
    for column in columns[np.argsort(rows[columns], kind="stable")].tolist():
        row = rows[column]
        value = float(values[row, column])
        is_good = codes[row, column] != QUALITY_CODES[QualityFlag.BAD_SOURCE]
        yield PointValue(
            point=names[column],
            time=times[row],
            value=None if np.isnan(value) else value,
            quality=GOOD_QUALITY if is_good else GOOD_QUALITY - 1,
        )
