"""The window's raw arrays as Datasets: the present with ages, and the recent past."""

import numpy as np
import xarray as xr

from telemetry.windows.racks import WORDS, Racks
from telemetry.windows.rows import Rows
from telemetry.windows.slots import Slots, age_of
from twin import axes, vocabulary
from twin.physics import FloatArray

type Part = tuple[str, FloatArray]


def present(
    slots: Slots,
    racks: Racks,
    *,
    now: np.datetime64,
    longest: np.timedelta64,
    ahead: np.timedelta64,
) -> xr.Dataset:
    """Return what is known at a moment; see :meth:`telemetry.window.Window.observed`.

    Parameters
    ----------
    slots, racks
        What was read.
    now
        The moment, UTC.
    longest, ahead
        Age from which a value is stale, and how far ahead of now one may be stamped.

    Returns
    -------
    xarray.Dataset
        Every variable and its age.
    """
    age = age_of(slots.time, now, ahead=ahead)
    is_fresh = age <= float(longest / np.timedelta64(1, "s"))
    values = np.where(is_fresh, slots.value, np.nan)
    found: dict[str, Part] = {}
    ages: dict[str, Part] = {}
    for shape in slots.shapes:
        found[shape.variable] = (shape.dim, shape.pick(values))
        ages[shape.variable] = (shape.dim, shape.newest(age))
    halls = racks.observed(now, longest=longest, ahead=ahead)
    heard = halls.pop("age")
    for name, numbers in halls.items():
        found[name] = ("hall", numbers)
        ages[name] = ("hall", heard)
    variables = {name: _variable(name, *part) for name, part in found.items()}
    variables |= {f"{name}_age": _age(name, *part) for name, part in ages.items()}
    return xr.Dataset(variables, coords={"instant": np.datetime64(now, "us"), **_labels(slots)})


def past(
    slots: Slots, racks: Racks, rows: Rows, *, start: np.datetime64, end: np.datetime64
) -> xr.Dataset:
    """Return the recent past on ``time``; see :meth:`telemetry.window.Window.dataset`.

    Parameters
    ----------
    slots, racks
        Which columns of the rows say what.
    rows
        What was read.
    start, end
        The span, UTC.

    Returns
    -------
    xarray.Dataset
        Means of all variables except those of single racks.
    """
    starts = rows.starts(start, end)
    means, tops = rows.table(starts)
    grid = axes.regular(starts.astype("datetime64[us]")[0], len(starts), rows.period)
    found: dict[str, Part] = {
        shape.variable: (shape.dim, shape.pick(means))
        for shape in slots.shapes
        if shape.dim != "rack"
    }
    first, halls = slots.machines, len(racks.halls)
    power = means[:, first : first + halls] * racks.counts
    for name, numbers in zip(WORDS, (power, tops, means[:, first + halls :]), strict=True):
        found[name] = ("hall", numbers)
    variables = {name: _variable(name, *part, "time") for name, part in found.items()}
    labels = {dim: names for dim, names in _labels(slots).items() if dim != "rack"}
    return grid.assign(variables).assign_coords(labels)


def _labels(slots: Slots) -> dict[str, list[str]]:
    return {shape.dim: list(shape.labels) for shape in slots.shapes if shape.dim}


def _variable(name: str, dim: str, values: FloatArray, *axes_before: str) -> xr.Variable:
    word = vocabulary.term(name)
    attrs = {"units": word.unit, "long_name": word.meaning}
    if word.cf_name:
        attrs["standard_name"] = word.cf_name
    dims = (*axes_before, dim) if dim else axes_before
    return xr.Variable(dims, values, attrs)


def _age(name: str, dim: str, values: FloatArray) -> xr.Variable:
    attrs = {"units": "s", "long_name": f"age of {name}"}
    return xr.Variable((dim,) if dim else (), values, attrs)
