"""Read an archive as xarray: lazily, and as it stood at the last commit.

Nothing but times and labels is read before somebody asks for values. What is opened does not
change, whatever is committed meanwhile; open again to see more.
"""

import os
from pathlib import Path
from typing import Final, Literal

import icechunk
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from telemetry.archive.layout import NO_TIME, array, labels_of, metadata_of, numbers
from telemetry.archive.lazy import Bound, Stored, variable
from telemetry.archive.minutes import CODES
from telemetry.archive.opening import FAILURES, STORE
from telemetry.archive.store import read
from telemetry.binding import Binder, Binding
from telemetry.samples import CHIP_VARIABLES
from telemetry.slots import Slots
from twin import vocabulary
from twin.errors import ArchiveError
from twin.site import Site

UNITS: Final = dict(zip(CHIP_VARIABLES, ("W", "degC", "1", "1", "MHz"), strict=True))
"""Units of what chips say, as they were sent."""

COLUMNS: Final = ("object_type", "point_type", "object_id", "unit", "integration", "rack")
"""What of a point's metadata stands beside its values."""

type Group = Literal["racks", "points"]
type Moment = np.datetime64 | str | None
type Span = tuple[Moment, Moment]


def open(
    site: Site | str,
    *,
    start: np.datetime64 | str | None = None,
    end: np.datetime64 | str | None = None,
    group: Group | None = None,
    root: Path | None = None,
) -> xr.Dataset:
    """Open what was heard of a site.

    Parameters
    ----------
    site
        The site; its name is enough if a group is asked for.
    start, end
        First moment wanted, and the first no longer wanted, UTC; all there is if None.
    group
        None for the variables of the vocabulary, by machine and in canonical units, as far as
        points are bound to them, NaN where a reading is not to be believed.
        ``points`` for all points as they were sent: ``value`` and ``quality`` on ``time`` and
        ``point``, with their metadata as coordinates.
        ``racks`` for the chips: ``power``, ``temperature``, ``utilisation``, ``memory`` and
        ``clock`` on ``time``, ``rack`` (``{hall}/{rack}``) and ``chip``.
    root
        State folder of the service; ``$GIGATWIN_STATE`` if None, or else the service's own
        default, ``gigatwin/<site>`` in the user's state folder.

    Returns
    -------
    xarray.Dataset
        Lazy. ``time`` has the whole seconds that had readings; NaN where one of them had none
        of a label, as points are sent on change and repeated every 100 s.

    Raises
    ------
    ArchiveError
        If there is no archive, or it cannot be read.

    Examples
    --------
    >>> day = telemetry.open(site, start="2026-07-01", end="2026-07-02")  # doctest: +SKIP
    >>> day["battery_level"].sel(battery="battery_1").to_series()  # doctest: +SKIP
    >>> chips = telemetry.open("rhine", group="racks")  # doctest: +SKIP
    >>> chips["power"].isel(time=-1).sum("chip").load()  # doctest: +SKIP
    """
    name = site if isinstance(site, str) else site.name
    folder = Path(root or state_folder(name)) / "archive"
    return open_folder(folder, site, group=group, span=(start, end))


def open_folder(
    folder: Path, site: Site | str, *, group: Group | None, span: Span = (None, None)
) -> xr.Dataset:
    """Open the archive that lies in a folder; see :func:`open`."""
    name = site if isinstance(site, str) else site.name
    try:
        opened = _opened(_tree(folder), site, group=group, span=span)
    except FAILURES as error:
        message = f"{folder}: cannot be read: {error}; the service sets it aside when it starts"
        raise ArchiveError(message) from error
    return opened.assign_attrs(site=name, title=f"what was heard of {name}")


def state_folder(site: str) -> Path:
    """Return where the service of a site keeps its state, if nobody says otherwise."""
    named = os.environ.get("GIGATWIN_STATE")
    if named:
        return Path(named)
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "gigatwin" / site


def _tree(folder: Path) -> zarr.Group:
    path = folder / STORE
    if not path.is_dir():
        message = f"{folder}: no archive; name the state folder of a service as root"
        raise ArchiveError(message)
    return read(icechunk.Repository.open(icechunk.local_filesystem_storage(str(path))))


def _opened(tree: zarr.Group, site: Site | str, *, group: Group | None, span: Span) -> xr.Dataset:
    if group == "racks":
        return _racks(tree, span=span)
    if group == "points":
        return _points(tree, span=span)
    if isinstance(site, str):
        message = f"{site} is a name: give the site itself, or ask for a group"
        raise ArchiveError(message)
    return _bound(tree, site, span=span)


def _rows(tree: zarr.Group, group: str, span: Span) -> tuple[NDArray[np.int64], xr.Variable]:
    """Return the rows within a span in order of time, and their times."""
    times = numbers(tree, f"{group}/time", slice(None)) if group in tree else np.empty(0, np.int64)
    first, last = (_second(moment) for moment in span)
    is_in = times != NO_TIME
    if first is not None:
        is_in &= times >= first
    if last is not None:
        is_in &= times < last
    (rows,) = np.nonzero(is_in)
    rows = rows[np.argsort(times[rows], kind="stable")]
    moments = times[rows].astype("datetime64[s]").astype("datetime64[us]")
    return rows, xr.Variable("time", moments, {"standard_name": "time"})


def _racks(tree: zarr.Group, *, span: Span) -> xr.Dataset:
    """Return what the chips said."""
    rows, time = _rows(tree, "racks", span)
    if "racks" not in tree:
        return xr.Dataset(coords={"time": time})
    found = {
        name: variable(
            ("time", "rack", "chip"),
            Stored(array(tree, f"racks/{name}"), rows),
            {"units": UNITS[name]},
        )
        for name in CHIP_VARIABLES
    }
    return xr.Dataset(found, coords={"time": time, "rack": labels_of(tree, "racks")})


def _points(tree: zarr.Group, *, span: Span) -> xr.Dataset:
    """Return all points as they were sent."""
    rows, time = _rows(tree, "points", span)
    if "points" not in tree:
        return xr.Dataset(coords={"time": time})
    labels = labels_of(tree, "points")
    known = metadata_of(tree)
    flags: dict[str, object] = {
        "flag_values": list(CODES.values()),
        "flag_meanings": " ".join(CODES),
        "long_name": "verdict on a reading; -1 where there is none",
    }
    axes = ("time", "point")
    columns = {
        name: ("point", [str(getattr(known.get(label), name, "")) for label in labels])
        for name in COLUMNS
    }
    return xr.Dataset(
        {
            "value": variable(axes, Stored(array(tree, "points/value"), rows), {}),
            "quality": variable(axes, Stored(array(tree, "points/quality"), rows), flags),
        },
        coords={"time": time, "point": labels, **columns},
    )


def _bound(tree: zarr.Group, site: Site, *, span: Span) -> xr.Dataset:
    """Return the variables of a site that any point is bound to."""
    rows, time = _rows(tree, "points", span)
    if "points" not in tree:
        return xr.Dataset(coords={"time": time})
    binder = Binder(site)
    columns = {label: column for column, label in enumerate(labels_of(tree, "points"))}
    bound: dict[int, tuple[int, Binding]] = {}
    slots = Slots(site)
    for point, metadata in metadata_of(tree).items():
        binding = binder.learn(metadata)
        if binding is not None and binding.key in slots.places:
            bound[slots.places[binding.key]] = columns[point], binding
    values, codes = (array(tree, f"points/{name}") for name in ("value", "quality"))
    found: dict[str, xr.Variable] = {}
    labels: dict[str, list[str]] = {}
    for shape in slots.shapes:
        places = range(shape.first, shape.first + sum(shape.counts))
        bindings = [bound.get(place) for place in places]
        if any(bindings):
            lazy = Bound(values, codes, rows=rows, shape=shape, bindings=bindings)
            dims = ("time", shape.dim) if shape.dim else ("time",)
            found[shape.variable] = variable(dims, lazy, _attributes(shape.variable))
            if shape.dim:
                labels[shape.dim] = list(shape.labels)
    return xr.Dataset(found, coords={"time": time, **labels})


def _attributes(name: str) -> dict[str, str]:
    word = vocabulary.term(name)
    attributes = {"units": word.unit, "long_name": word.meaning}
    return attributes | ({"standard_name": word.cf_name} if word.cf_name else {})


def _second(moment: Moment) -> int | None:
    """Return the first whole second that is not before a moment. [s since 1970]"""
    if moment is None:
        return None
    return -int(-np.datetime64(moment, "us").astype(np.int64) // 1_000_000)
