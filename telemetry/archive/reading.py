"""Read an archive as xarray: lazily, and as it stood at the last commit.

Nothing but times and labels is read before somebody asks for values. What is opened does not
change, whatever is committed meanwhile; open again to see more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import icechunk
import numpy as np
import xarray as xr

from telemetry.archive.heads import hold
from telemetry.archive.layout import (
    DAY,
    FINEST,
    LABELS,
    ROLLED,
    Level,
    labels_of,
    metadata_of,
    rolled_names,
)
from telemetry.archive.lazy import Stored, variable
from telemetry.archive.machines import by_machine
from telemetry.archive.opening import FAILURES
from telemetry.archive.panics import panics_as_errors
from telemetry.archive.patience import patient
from telemetry.archive.places import Place, is_url
from telemetry.archive.plan import Numbers
from telemetry.archive.question import check
from telemetry.archive.seals import SpoiltError
from telemetry.archive.seconds import CODES
from telemetry.archive.snapshot import Snapshot
from telemetry.archive.spans import Span, heard_in, kept_in, times_of
from telemetry.home import state_folder
from telemetry.samples import CHIP_VARIABLES
from twin.errors import ArchiveError
from twin.site import Site

UNITS: Final = dict(zip(CHIP_VARIABLES, ("W", "degC", "1", "1", "MHz"), strict=True))
"""Units of what chips say, as they were sent."""

COLUMNS: Final = ("object_type", "point_type", "object_id", "unit", "integration", "rack")
"""What of a point's metadata stands beside its values."""

type Group = Literal["racks", "points"]
type Resolution = Literal["1min", "15min", "1h"] | None


def open(
    site: Site | str,
    *,
    start: np.datetime64 | str | None = None,
    end: np.datetime64 | str | None = None,
    group: Group | None = None,
    resolution: Resolution = None,
    root: Path | str | None = None,
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
    resolution
        None for single seconds; ``1min``, ``15min`` or ``1h`` for roll-ups of a group:
        ``power_min``, ``power_mean``, ``power_max`` and ``power_count`` (of the seconds that were
        believed), and so on. They come with the compaction of their hour.
    root
        State folder of the service; ``$GIGATWIN_STATE`` if None, or else the service's own
        default, ``gigatwin/<site>`` in the user's state folder. Or the URL of its bucket, see
        :mod:`telemetry.archive.places`.

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
    folder = str(root) if is_url(root or "") else Path(root or state_folder(name)) / "archive"
    return open_folder(folder, site, group=group, resolution=resolution, span=(start, end))


def open_folder(
    folder: Path | str,
    site: Site | str,
    *,
    group: Group | None,
    resolution: Resolution = None,
    span: Span = (None, None),
) -> xr.Dataset:
    """Open the archive that lies in a folder, or in a bucket; see :func:`open`."""
    name = site if isinstance(site, str) else site.name
    check(site, group=group, resolution=resolution, span=span)
    try:
        snapshot = snapshot_of(folder, name)
        opened = _opened(snapshot, site, group=group, level=resolution, span=span)
    except (SpoiltError, *FAILURES) as error:
        message = f"{folder}: cannot be read: {error}; the service mends it when it starts"
        raise ArchiveError(message) from error
    return opened.assign_attrs(site=name, title=f"what was heard of {name}")


def snapshot_of(folder: Path | str, site: str = "") -> Snapshot:
    """Return the last commit of the archive that lies in a folder, or in a bucket.

    Parameters
    ----------
    folder
        Of the archive, or its URL.
    site
        Name of the site whose archive it must be; "" for any.

    Raises
    ------
    ArchiveError
        If there is none, or it is that of another site.
    """
    place = Place.of(folder)
    if place.folder is not None and not place.folder.is_dir():
        message = f"{folder}: no archive; name the state folder of a service (--state, root=)"
        raise ArchiveError(message)
    hold(place.folder, seals := place.seals)  # seals first: what is committed meanwhile is later
    with panics_as_errors():
        held = icechunk.Repository.open(place.storage, config=patient())
        snapshot = Snapshot.last(held, place.folder, seals=seals)
        found = str(snapshot.root.attrs["site"])
    if site and found != site:
        message = f"{folder}: this is the archive of {found}, not of {site}; name another folder"
        raise ArchiveError(message)
    return snapshot


def _opened(
    snapshot: Snapshot, site: Site | str, *, group: Group | None, level: Resolution, span: Span
) -> xr.Dataset:
    if group is not None and level is not None:
        return _rolled(snapshot, group, ROLLED[level], span)
    if group == "racks":
        return _racks(snapshot, span=span)
    if group == "points":
        return _points(snapshot, span=span)
    if isinstance(site, str):
        raise TypeError(site)  # it was checked before
    return by_machine(snapshot, site, span=span)


def _racks(snapshot: Snapshot, *, span: Span) -> xr.Dataset:
    """Return what the chips said."""
    seconds, time = kept_in(snapshot, "racks", span)
    labels = labels_of(snapshot.root, "racks")
    if not labels:
        return xr.Dataset(coords={"time": time})
    size = len(labels), _chips(snapshot, seconds)
    found = {
        name: variable(
            ("time", "rack", "chip"),
            Stored(snapshot, "racks", name, seconds=seconds, size=size),
            {"units": UNITS[name]},
        )
        for name in CHIP_VARIABLES
    }
    return xr.Dataset(found, coords={"time": time, "rack": labels})


def _chips(snapshot: Snapshot, seconds: Numbers, levels: Sequence[Level] = FINEST) -> int:
    """Return the most chips that a rack has in the periods of some seconds."""
    most = 1
    for level in levels:
        names = [name if level in FINEST else f"{name}_mean" for name in CHIP_VARIABLES]
        for period in {level.period(day) for day in np.unique(seconds // DAY * DAY).tolist()}:
            most = max(most, _deep(snapshot, [f"racks/{level.name}/{period}/{n}" for n in names]))
    return most


def _deep(snapshot: Snapshot, paths: Sequence[str]) -> int:
    """Return the chips of the first array that is sound; who reads the others is told."""
    for path in paths:
        try:
            grid = snapshot.grid(path)
        except SpoiltError:
            continue
        return grid.shape[2] if grid else 0
    return 0


def _points(snapshot: Snapshot, *, span: Span) -> xr.Dataset:
    """Return all points as they were sent."""
    seconds, time = kept_in(snapshot, "points", span)
    labels = labels_of(snapshot.root, "points")
    if not labels:
        return xr.Dataset(coords={"time": time})
    flags: dict[str, object] = {
        "flag_values": list(CODES.values()),
        "flag_meanings": " ".join(CODES),
        "long_name": "verdict on a reading; -1 where there is none",
    }
    axes, size = ("time", "point"), (len(labels), 0)
    found = {
        name: variable(axes, Stored(snapshot, "points", name, seconds=seconds, size=size), attrs)
        for name, attrs in (("value", {}), ("quality", flags))
    }
    return xr.Dataset(found, coords={"time": time, "point": labels, **_columns(snapshot, labels)})


def _columns(snapshot: Snapshot, labels: list[str]) -> dict[str, tuple[str, list[str]]]:
    """Return what of the metadata of points stands beside their values."""
    known = metadata_of(snapshot.root)
    return {
        name: ("point", [str(getattr(known.get(label), name, "")) for label in labels])
        for name in COLUMNS
    }


def _rolled(snapshot: Snapshot, group: Group, level: Level, span: Span) -> xr.Dataset:
    """Return roll-ups of what was heard."""
    seconds, _ = heard_in(snapshot, group, span)
    starts = np.unique(seconds // level.step * level.step)
    labels = labels_of(snapshot.root, group)
    coords: dict[str, object] = {"time": times_of(starts), LABELS[group]: labels}
    if not labels:
        return xr.Dataset(coords={"time": times_of(starts)})
    chips = _chips(snapshot, starts, [level]) if group == "racks" else 0
    if group == "points":
        coords |= _columns(snapshot, labels)
    axes = ("time", LABELS[group], "chip")[: 3 if chips else 2]
    found = {}
    for name in rolled_names(group):
        lazy = Stored(
            snapshot, group, name, seconds=starts, size=(len(labels), chips), levels=[level]
        )
        of, _, statistic = name.rpartition("_")
        unit = "1" if statistic == "count" else UNITS.get(of, "")
        found[name] = variable(axes, lazy, {"units": unit} if unit else {})
    return xr.Dataset(found, coords=coords)
