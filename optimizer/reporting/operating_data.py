"""Operating data of a site on one time axis: stored runs joined, and their import for bills."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from optimizer.reporting.run_files import SITE_ATTRIBUTE
from twin import variables
from twin.errors import IssueCode, ProblemError, UnitError, ValidationIssue
from twin.markets.tariffs import InstantArray
from twin.physics import FloatArray
from twin.reporting.eu_report import missing_values, negative_rate_issues, report_variables
from twin.reporting.indicators import INDICATOR_VARIABLES
from twin.time_axes import HOUR, interval_ends
from twin.units import format_minute, parse_quantity
from twin.variables import net_import

EXPECTED_DIMENSIONS: Final = {
    **dict.fromkeys(
        (*INDICATOR_VARIABLES, "carbon_intensity", "matched_power", "air_temperature"), ()
    ),
    "heat_reuse_power": ("heat_reuse",),
    "renewable_used_power": ("renewable",),
}
"""Dimensions of a variable besides ``time``; other variables may have any owner."""

GAP_TOLERANCE: Final = np.timedelta64(1, "s")
"""Tolerated gap or overlap between intervals; durations are rounded."""

MAX_LISTED: Final = 5
"""Periods that a note lists one by one. [1]"""


def join_files(files: Sequence[Path], *, site: str) -> tuple[xr.Dataset, list[str]]:
    """Return the data of several files of a site as one dataset, and notes on what is missing.

    The dataset holds the variables that all files have, on rising ``time`` with ``duration`` [h].
    Intervals with an unknown value are left out. Files and intervals may be in any order.

    Raises ProblemError if a file cannot be read, has no ``time`` with ``duration``, belongs to
    another site or has impossible values; if intervals overlap, or none has every variable.
    """
    read = [(_read(path), path) for path in files]
    notes = _check_site(read, site)
    names = [set(report_variables(part)) for part, _ in read]
    common = set.intersection(*names)
    if missing := set.union(*names) - common:
        notes.append(f"left out, since not all files have it: {', '.join(sorted(missing))}")
    parts = [part[sorted(common)] for part, _ in read]
    try:
        joined = xr.concat(parts, "time", join="exact", combine_attrs="override")
    except ValueError as error:  # one file has a machine that another has not
        expected = "files of the same machines"
        remedy = "report on the files of each year separately"
        raise _report_error(
            "files", "other machines", expected=expected, remedy=remedy, code=IssueCode.WRONG_AXES
        ) from error
    source = np.repeat([str(path) for _, path in read], [part.sizes["time"] for part in parts])
    order = np.argsort(joined["time"].to_numpy(), kind="stable")
    joined = joined.isel(time=order)
    notes += _describe_gaps(joined, source[order])
    is_incomplete, missing_notes = _missing_values(joined)
    if is_incomplete.all():
        raise _report_error(
            "files",
            "; ".join(missing_notes),
            expected="an interval with every variable",
            remedy="remove a variable that is not known, or fill it",
            code=IssueCode.TIME_GAP,
        )
    return joined.isel(time=~is_incomplete), [*notes, *missing_notes]


def _read(path: Path) -> xr.Dataset:
    """Return the variables of one file that figures use, after checks of each."""
    expected = "a NetCDF file with time and duration"
    remedy = "give files written by simulate --out or backtest --out, or files of meters"
    try:
        with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as opened:
            data = opened.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # errors of the library
        raise _report_error(
            path, "cannot be read", expected=expected, remedy=remedy, code=IssueCode.FILE_ERROR
        ) from error
    if "duration" not in data.coords or not data.sizes.get("time"):
        raise _report_error(
            path, "no time with duration", expected=expected, remedy=remedy, code=IssueCode.MISSING
        )
    part = data[list(report_variables(data))].assign_coords(duration=_hours(data["duration"], path))
    issues = list(_axes_issues(part))
    try:
        variables.check_variables(
            part, *dict.fromkeys((*INDICATOR_VARIABLES, *report_variables(part)))
        )
    except UnitError as error:
        issues += error.issues
    if issues := issues or negative_rate_issues(part):
        raise ProblemError(
            "report", [replace(one, location=f"{path}, {one.location}") for one in issues]
        )
    return part


def _hours(duration: xr.DataArray, path: Path) -> xr.DataArray:
    """Return interval lengths in hours, whatever unit of time the file uses. [h]"""
    location, unit = f"{path}, duration", duration.attrs.get("units")
    try:
        hour = parse_quantity(f"1 {unit}", "h")
    except UnitError as error:
        expected, remedy = "a unit of time", 'write attrs["units"] = "h", or another unit of time'
        raise _report_error(
            location, repr(unit), expected=expected, remedy=remedy, code=IssueCode.WRONG_UNIT
        ) from error
    if duration.dims != ("time",) or duration.dtype.kind not in "fiu":
        raise _report_error(
            location,
            f"{duration.dtype} on {duration.dims}",
            expected="numbers on time",
            remedy="write the length of each interval",
            code=IssueCode.WRONG_AXES,
        )
    return (duration * hour).assign_attrs(units="h")


def _axes_issues(part: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield the issues of a file's time axis, and of the dimensions of its variables."""
    starts, hours = part["time"].to_numpy(), part["duration"].to_numpy()
    if starts.dtype.kind != "M" or np.isnat(starts).any():
        yield IssueCode.WRONG_TYPE.issue(
            "time",
            found="no time",
            expected="the start of each interval, UTC",
            remedy="write dates",
        )
    if not (np.isfinite(hours) & (hours > 0.0)).all():
        yield IssueCode.OUT_OF_RANGE.issue(
            "duration",
            found="not above 0",
            expected="a positive length of each interval",
            remedy="correct it",
        )
    for name in report_variables(part):
        values = part[name]
        dims = EXPECTED_DIMENSIONS.get(
            name, tuple(str(dim) for dim in values.dims if dim != "time")
        )
        if set(values.dims) != {"time", *dims}:
            yield IssueCode.WRONG_AXES.issue(
                name,
                found=" and ".join(map(str, values.dims)),
                expected=" and ".join(("time", *dims)),
                remedy="write the variable on these axes",
            )
        if values.dtype.kind not in "fiu":
            yield IssueCode.WRONG_TYPE.issue(
                name, found=str(values.dtype), expected="numbers", remedy="convert it"
            )


def _check_site(read: Sequence[tuple[xr.Dataset, Path]], site: str) -> list[str]:
    """Return which files do not name their site, as those of meters; refuse those of another."""
    issues, notes = [], []
    for part, path in read:
        named = part.attrs.get(SITE_ATTRIBUTE, "")
        if not named:
            notes.append(f"{path} does not name its site, and is taken as of {site}")
        elif named != site:
            issues.append(
                IssueCode.INCONSISTENT.issue(
                    str(path),
                    found=f"a run of {named}",
                    expected=f"runs of {site} only",
                    remedy=f"omit the file, or report on {named}",
                )
            )
    ProblemError.raise_if_any("report", issues)
    return notes


def _describe_gaps(joined: xr.Dataset, source: np.ndarray) -> list[str]:
    """Return notes on the periods between intervals; refuse overlapping intervals."""
    begin, end = joined["time"].to_numpy(), interval_ends(joined)
    so_far = np.maximum.accumulate(end)[:-1]
    if (overlaps := begin[1:] < so_far - GAP_TOLERANCE).any():
        at = int(np.argmax(overlaps)) + 1
        before = int(np.argmax(end[:at]))
        period = f"from {format_minute(begin[before])} to {format_minute(end[before])}"
        raise _report_error(
            source[at],
            format_minute(begin[at]),
            expected=f"no time within an interval of {source[before]} {period}",
            remedy="give each time once",
            code=IssueCode.TIME_ORDER,
        )
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
    """Return in which intervals a variable is unknown, and a note on each variable."""
    is_incomplete, notes = np.zeros(joined.sizes["time"], dtype=bool), []
    for name, is_missing in missing_values(joined).items():
        if is_missing.any():
            hours = float(joined["duration"].to_numpy()[is_missing].sum())
            spans = _spans(joined, is_missing)
            notes.append(f"{name} is no number {spans}: no figure counts these {hours:,.1f} h")
            is_incomplete |= is_missing
    return is_incomplete, notes


def _spans(joined: xr.Dataset, holds: np.ndarray) -> str:
    """Return in words the periods in which a condition holds."""
    begin, end = joined["time"].to_numpy(), interval_ends(joined)
    changes = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(int)))
    pairs = changes.reshape(-1, 2)
    periods = [
        f"from {format_minute(begin[a])} to {format_minute(end[b - 1])}"
        for a, b in pairs[:MAX_LISTED]
    ]
    more = [f"{len(pairs) - MAX_LISTED:,} more periods"] if len(pairs) > MAX_LISTED else []
    return ", ".join([*periods, *more])


def _report_error(
    location: object, found: str, *, expected: str, remedy: str, code: IssueCode
) -> ProblemError:
    return ProblemError.single(
        "report", code, str(location), found=found, expected=expected, remedy=remedy
    )


def metered_import(trajectory: xr.Dataset) -> tuple[InstantArray, FloatArray]:
    """Return starts, UTC [datetime64], and import less export [MW] of a back-test's quarter-hours.

    `trajectory` is that of :func:`optimizer.backtesting.runner.build_trajectory`.
    """
    net = net_import(trajectory)
    return trajectory["time"].to_numpy().astype("datetime64[us]"), net.to_numpy().astype(float)
