"""What files tell of a site's year, on one axis: runs of ours, and meters of whoever reports.

Quarter-hours of a connection's meter: from a file, or from the course of a back-test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from optimizer.reporting.run_files import SITE_ATTRIBUTE
from telemetry.series.table import TextTable, cell_location, parse_numbers, raise_faults, read_table
from telemetry.series.timestamps import row_times
from twin import variables
from twin.errors import ProblemError, UnitError, ValidationIssue
from twin.markets.bill_lines import check_quarter_hours
from twin.markets.tariffs import InstantArray
from twin.physics import FloatArray
from twin.reporting.eu_report import missing_values, negative_rate_issues, report_variables
from twin.reporting.indicators import INDICATOR_VARIABLES
from twin.time_axes import HOUR, QUARTER_HOUR
from twin.units import format_minute, parse_quantity
from twin.variables import net_import

EXPECTED_DIMENSIONS: Final = {
    **dict.fromkeys(
        (*INDICATOR_VARIABLES, "carbon_intensity", "matched_power", "air_temperature"), ()
    ),
    "heat_reuse_power": ("heat_reuse",),
    "renewable_used_power": ("renewable",),
}
"""What a word stands on beside ``time``; those left out may stand on any owner."""

GAP_TOLERANCE: Final = np.timedelta64(1, "s")
"""By so much may an interval miss the next: durations are rounded."""

MAX_LISTED: Final = 5
"""So many spans are told one by one."""


def join_files(files: Sequence[Path], *, site: str) -> tuple[xr.Dataset, list[str]]:
    """Return what several files tell of a site as one, and in words what they leave open.

    Parameters
    ----------
    files
        NetCDF files, in any order, and their intervals in any order.
    site
        The site that they must be of.

    Returns
    -------
    tuple
        The words that figures use, as far as all files tell them, on ``time``, rising, with
        ``duration`` [h]: intervals in which one of them is no number are left out. And in words
        what is missing or left out, and which files do not tell their site.

    Raises
    ------
    ProblemError
        If a file cannot be read, has no ``time`` with ``duration``, is of another site, or holds
        what cannot be true; if two intervals tell the same time, or none tells every word.
    """
    read = [(_read(path), path) for path in files]
    notes = _check_site(read, site)
    words = [set(report_variables(part)) for part, _ in read]
    known = set.intersection(*words)
    if lost := set.union(*words) - known:
        notes.append(f"left out, since not all files tell it: {', '.join(sorted(lost))}")
    parts = [part[sorted(known)] for part, _ in read]
    try:
        whole = xr.concat(parts, "time", join="exact", combine_attrs="override")
    except ValueError as error:  # one has a machine that another has not
        remedy = "give files of the same machines, those of each year by itself"
        raise _refusal("files", "not of the same machines", remedy) from error
    source = np.repeat([str(path) for _, path in read], [part.sizes["time"] for part in parts])
    order = np.argsort(whole["time"].to_numpy(), kind="stable")
    whole = whole.isel(time=order)
    notes += _describe_gaps(whole, source[order])
    is_lost, lacks = _missing_values(whole)
    if is_lost.all():
        remedy = "no interval has every word; drop a word that is not known, or tell it"
        raise _refusal("files", "; ".join(lacks), remedy)
    return whole.isel(time=~is_lost), [*notes, *lacks]


def interval_ends(data: xr.Dataset) -> np.ndarray:
    """Return when each interval ends. [datetime64]"""
    length = np.round(data["duration"].to_numpy() * (HOUR / np.timedelta64(1, "ms")))
    return np.asarray(data["time"].to_numpy() + length.astype("timedelta64[ms]"))


def _read(path: Path) -> xr.Dataset:
    """Return the words that figures use, from a file, each looked at by itself."""
    remedy = "give NetCDF files that simulate --out or backtest --out wrote, or of meters"
    try:
        with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as opened:
            found = opened.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # what its library raises
        raise _refusal(path, "cannot be read", remedy) from error
    if "duration" not in found.coords or not found.sizes.get("time"):
        raise _refusal(path, "has no time with duration", remedy)
    part = found[list(report_variables(found))].assign_coords(
        duration=_hours(found["duration"], path)
    )
    faults = list(_faults(part))
    try:
        variables.check_variables(
            part, *dict.fromkeys((*INDICATOR_VARIABLES, *report_variables(part)))
        )
    except UnitError as error:
        faults += error.issues
    if faults := faults or negative_rate_issues(part):
        raise ProblemError(
            "report", [replace(one, location=f"{path}, {one.location}") for one in faults]
        )
    return part


def _hours(duration: xr.DataArray, path: Path) -> xr.DataArray:
    """Return lengths of intervals in hours, whatever unit of time a file has them in. [h]"""
    place, unit = f"{path}, duration", duration.attrs.get("units")
    try:
        hour = parse_quantity(f"1 {unit}", "h")
    except UnitError as error:
        remedy = 'attrs["units"] must be "h", or another unit of time'
        raise _refusal(place, repr(unit), remedy) from error
    if duration.dims != ("time",) or duration.dtype.kind not in "fiu":
        raise _refusal(place, f"{duration.dtype} on {duration.dims}", "give a number on time")
    return (duration * hour).assign_attrs(units="h")


def _faults(part: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield what is wrong with the axis of a file, and with what its words stand on."""
    starts, hours = part["time"].to_numpy(), part["duration"].to_numpy()
    if starts.dtype.kind != "M" or np.isnat(starts).any():
        yield ValidationIssue(
            location="time", found="no moment", remedy="give the start of each interval, UTC"
        )
    if not (np.isfinite(hours) & (hours > 0.0)).all():
        yield ValidationIssue(
            location="duration", found="not above 0", remedy="give the length of each interval"
        )
    for name in report_variables(part):
        word = part[name]
        wanted = EXPECTED_DIMENSIONS.get(
            name, tuple(str(dim) for dim in word.dims if dim != "time")
        )
        if set(word.dims) != {"time", *wanted}:
            remedy = f"must stand on {' and '.join(('time', *wanted))}"
            yield ValidationIssue(
                location=name, found=" and ".join(map(str, word.dims)), remedy=remedy
            )
        if word.dtype.kind not in "fiu":
            yield ValidationIssue(location=name, found=str(word.dtype), remedy="must be a number")


def _check_site(read: Sequence[tuple[xr.Dataset, Path]], site: str) -> list[str]:
    """Return which files do not tell their site, as meters do not; refuse those of another."""
    faults, notes = [], []
    for part, path in read:
        told = part.attrs.get(SITE_ATTRIBUTE, "")
        if not told:
            notes.append(f"{path} does not tell its site, and is taken as of {site}")
        elif told != site:
            remedy = f"give runs of {site} only, or report on {told}"
            faults.append(
                ValidationIssue(location=str(path), found=f"a run of {told}", remedy=remedy)
            )
    if faults:
        raise ProblemError("report", faults)
    return notes


def _describe_gaps(joined: xr.Dataset, source: np.ndarray) -> list[str]:
    """Return in words which times between the intervals none tells; refuse those told twice."""
    begin, end = joined["time"].to_numpy(), interval_ends(joined)
    so_far = np.maximum.accumulate(end)[:-1]
    if (doubled := begin[1:] < so_far - GAP_TOLERANCE).any():
        at = int(np.argmax(doubled)) + 1
        before = int(np.argmax(end[:at]))
        told = f"from {format_minute(begin[before])} to {format_minute(end[before])}"
        remedy = f"lies in an interval of {source[before]} {told}; give each time once"
        raise _refusal(source[at], format_minute(begin[at]), remedy)
    gaps = np.flatnonzero(begin[1:] > so_far + GAP_TOLERANCE)
    hours = (begin[gaps + 1] - so_far[gaps]) / HOUR
    notes = [
        f"nothing is known from {format_minute(so_far[gap])} for {length:,.1f} h"
        for gap, length in zip(gaps[:MAX_LISTED], hours[:MAX_LISTED], strict=True)
    ]
    if len(gaps) > MAX_LISTED:
        more = f"nor between {len(gaps) - MAX_LISTED:,} more intervals"
        notes.append(f"{more}, {hours[MAX_LISTED:].sum():,.1f} h together")
    return notes


def _missing_values(joined: xr.Dataset) -> tuple[np.ndarray, list[str]]:
    """Return in which intervals a word is not known, and in words when each is not."""
    is_lost, notes = np.zeros(joined.sizes["time"], dtype=bool), []
    for name, is_untold in missing_values(joined).items():
        if is_untold.any():
            hours = float(joined["duration"].to_numpy()[is_untold].sum())
            spans = _spans(joined, is_untold)
            notes.append(f"{name} is no number {spans}: no figure counts these {hours:,.1f} h")
            is_lost |= is_untold
    return is_lost, notes


def _spans(joined: xr.Dataset, holds: np.ndarray) -> str:
    """Return in words from when to when something holds, interval after interval."""
    begin, end = joined["time"].to_numpy(), interval_ends(joined)
    turns = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(int)))
    pairs = turns.reshape(-1, 2)
    told = [
        f"from {format_minute(begin[a])} to {format_minute(end[b - 1])}"
        for a, b in pairs[:MAX_LISTED]
    ]
    more = [f"{len(pairs) - MAX_LISTED:,} times more"] if len(pairs) > MAX_LISTED else []
    return ", ".join([*told, *more])


def _refusal(place: object, value: str, remedy: str) -> ProblemError:
    return ProblemError(
        "report", [ValidationIssue(location=str(place), found=value, remedy=remedy)]
    )


IMPORT_COLUMNS: Final = {
    "import_mw": ("MW", 1.0),
    "import_kw": ("kW", 1e-3),
    "import_mwh": ("MWh", float(HOUR / QUARTER_HOUR)),
    "import_kwh": ("kWh", 1e-3 * float(HOUR / QUARTER_HOUR)),
}
"""Columns that may hold the import, their unit, and MW of it."""


def read_meter(path: Path, *, zone: str | None = None) -> tuple[InstantArray, FloatArray]:
    """Return the quarter-hours of a meter's file.

    Parameters
    ----------
    path
        Separated text, as for prices, with the start of every quarter-hour in ``time_utc``, or in
        ``time`` or the like, and the import in one of ``import_mw``, ``import_kw`` (means),
        ``import_mwh``, ``import_kwh`` (energy of the quarter-hour).
    zone
        Bidding zone or IANA name of naive local times.

    Returns
    -------
    tuple of numpy.ndarray
        Starts, UTC [datetime64], and mean import. [MW]

    Raises
    ------
    SeriesError
        If there is no column of import or more than one, a time has no offset and no zone is given,
        a quarter-hour is missing, or a value is no number, or negative.
    """
    table = read_table(path)
    found = [name for name in table.columns if name in IMPORT_COLUMNS]
    if len(found) != 1:
        remedy = f"needs exactly one of {', '.join(IMPORT_COLUMNS)}"
        raise table.column_error(remedy)
    (column,) = found
    values = parse_numbers(table, column, name=column)
    _refuse_export(table, column, values)
    starts, _ = row_times(table, zone)
    power = IMPORT_COLUMNS[column][1] * values
    check_quarter_hours(starts, power, source=table.source)
    return starts, power


def metered_import(trajectory: xr.Dataset) -> tuple[InstantArray, FloatArray]:
    """Return the quarter-hours that a back-test's plant metered.

    Parameters
    ----------
    trajectory
        Means of quarter-hours, as :func:`optimizer.backtesting.runner.build_trajectory` gives.

    Returns
    -------
    tuple of numpy.ndarray
        Starts, UTC [datetime64], and import less export. [MW]
    """
    net = net_import(trajectory)
    return trajectory["time"].to_numpy().astype("datetime64[us]"), net.to_numpy().astype(float)


def _refuse_export(table: TextTable, column: str, values: FloatArray) -> None:
    """Refuse rows whose import is negative: it would be billed as nothing."""
    remedy = "an import is never negative; write what was taken, 0 where the site fed in"
    faults = [
        ValidationIssue(
            location=cell_location(table.source, row=table.lines[row], name=column),
            found=f"{values[row]:g} {IMPORT_COLUMNS[column][0]}",
            remedy=remedy,
        )
        for row in np.flatnonzero(values < 0.0)
    ]
    raise_faults(table.source, faults)
