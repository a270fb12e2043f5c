"""Read an archive as xarray: lazily, and as it stood at the last commit.

Nothing but times and labels is read before somebody asks for values. What is opened does not
change, whatever is committed meanwhile; open again to see more. An archive opens as it is stored,
or by machine: the points that are bound to a site, under the names of the table of variables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import icechunk
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from telemetry.archive.chunk_io import Int64Array
from telemetry.archive.commit_batch import MIN_SECOND, QUALITY_CODES, TRUSTED_CODES
from telemetry.archive.layout import (
    DAY_S,
    LABEL_AXES,
    OPEN_MINUTES,
    ROLLUPS,
    SECOND_LEVELS,
    AnyArray,
    ResolutionLevel,
    read_all_metadata,
    read_labels,
    rollup_arrays,
)
from telemetry.archive.metadata_history import MetadataChange, read_changes
from telemetry.archive.recovery import STORAGE_ERRORS
from telemetry.archive.repository_files import CorruptRepositoryError, verify_head
from telemetry.archive.snapshot import Snapshot
from telemetry.archive.storage import (
    RepositoryLocation,
    is_bucket_url,
    panics_as_errors,
    repository_config,
)
from telemetry.files import state_folder
from telemetry.messages.models import CHIP_VARIABLES, REPEAT_PERIOD, PointMetadata
from telemetry.points.binding import PointBinder, PointBinding
from telemetry.points.site_points import SiteVariables, VariableLayout
from telemetry.quality.checks import STALE_PERIODS
from twin import variables
from twin.errors import ArchiveError, ProblemError
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import to_utc

CHIP_UNITS: Final = dict(zip(CHIP_VARIABLES, ("W", "degC", "1", "1", "MHz"), strict=True))
"""Units of what chips say, as they were sent."""

METADATA_COORDINATES: Final = (
    "object_type",
    "point_type",
    "object_id",
    "unit",
    "integration",
    "rack",
)
"""What of a point's metadata stands beside its values."""

SPARE_AFTER_SILENCE_S: Final = STALE_PERIODS * int(REPEAT_PERIOD / np.timedelta64(1, "s"))
"""Silence of a point from which another one of the same quantity is read. [s]"""

type AxisKey = int | slice | NDArray[np.int64]
type ArchiveGroup = Literal["racks", "points"]
type Resolution = Literal["1min", "15min", "1h"] | None


def open(
    site: Site | str,
    *,
    start: np.datetime64 | str | None = None,
    end: np.datetime64 | str | None = None,
    group: ArchiveGroup | None = None,
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
        :mod:`telemetry.archive.storage`.

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
    folder = (
        str(root) if is_bucket_url(root or "") else Path(root or state_folder(name)) / "archive"
    )
    return open_folder(folder, site, group=group, resolution=resolution, span=(start, end))


type TimeRange = tuple[TimeArgument, TimeArgument]


def open_folder(
    folder: Path | str,
    site: Site | str,
    *,
    group: ArchiveGroup | None,
    resolution: Resolution = None,
    span: TimeRange = (None, None),
) -> xr.Dataset:
    """Open the archive that lies in a folder, or in a bucket; see :func:`open`."""
    name = site if isinstance(site, str) else site.name
    check_arguments(site, group=group, resolution=resolution, span=span)
    try:
        snapshot = open_snapshot(folder, name)
        opened = _opened(snapshot, site, group=group, level=resolution, span=span)
    except (CorruptRepositoryError, *STORAGE_ERRORS) as error:
        message = f"{folder}: cannot be read: {error}; the service remedies it when it starts"
        raise ArchiveError(message) from error
    return opened.assign_attrs(site=name, title=f"what was heard of {name}")


def open_snapshot(folder: Path | str, site: str = "") -> Snapshot:
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
    place = RepositoryLocation.of(folder)
    if place.folder is not None and not place.folder.is_dir():
        message = f"{folder}: no archive; name the state folder of a service (--state, root=)"
        raise ArchiveError(message)
    verify_head(
        place.folder, seals := place.checksums
    )  # seals first: what is committed meanwhile is later
    with panics_as_errors():
        held = icechunk.Repository.open(place.storage, config=repository_config())
        snapshot = Snapshot.last(held, place.folder, seals=seals)
        found = str(snapshot.root.attrs["site"])
    if site and found != site:
        message = f"{folder}: this is the archive of {found}, not of {site}; name another folder"
        raise ArchiveError(message)
    return snapshot


def _opened(
    snapshot: Snapshot,
    site: Site | str,
    *,
    group: ArchiveGroup | None,
    level: Resolution,
    span: TimeRange,
) -> xr.Dataset:
    if group is not None and level is not None:
        return _rolled(snapshot, group, ROLLUPS[level], span)
    if group == "racks":
        return _racks(snapshot, span=span)
    if group == "points":
        return _points(snapshot, span=span)
    if isinstance(site, str):
        raise TypeError(site)  # it was checked before
    return open_by_machine(snapshot, site, span=span)


def _racks(snapshot: Snapshot, *, span: TimeRange) -> xr.Dataset:
    """Return what the chips said."""
    seconds, time = stored_seconds(snapshot, "racks", span)
    labels = read_labels(snapshot.root, "racks")
    if not labels:
        return xr.Dataset(coords={"time": time})
    size = len(labels), _chips(snapshot, seconds)
    found = {
        name: lazy_variable(
            ("time", "rack", "chip"),
            StoredArray(snapshot, "racks", name, seconds=seconds, size=size),
            {"units": CHIP_UNITS[name]},
        )
        for name in CHIP_VARIABLES
    }
    return xr.Dataset(found, coords={"time": time, "rack": labels})


def _chips(
    snapshot: Snapshot, seconds: Int64Array, levels: Sequence[ResolutionLevel] = SECOND_LEVELS
) -> int:
    """Return the most chips that a rack has in the periods of some seconds."""
    most = 1
    for level in levels:
        names = [name if level in SECOND_LEVELS else f"{name}_mean" for name in CHIP_VARIABLES]
        for period in {level.period(day) for day in np.unique(seconds // DAY_S * DAY_S).tolist()}:
            most = max(most, _deep(snapshot, [f"racks/{level.name}/{period}/{n}" for n in names]))
    return most


def _deep(snapshot: Snapshot, paths: Sequence[str]) -> int:
    """Return the chips of the first array that is sound; who reads the others is told."""
    for path in paths:
        try:
            grid = snapshot.grid(path)
        except CorruptRepositoryError:
            continue
        return grid.shape[2] if grid else 0
    return 0


def _points(snapshot: Snapshot, *, span: TimeRange) -> xr.Dataset:
    """Return all points as they were sent."""
    seconds, time = stored_seconds(snapshot, "points", span)
    labels = read_labels(snapshot.root, "points")
    if not labels:
        return xr.Dataset(coords={"time": time})
    flags: dict[str, object] = {
        "flag_values": list(QUALITY_CODES.values()),
        "flag_meanings": " ".join(QUALITY_CODES),
        "long_name": "verdict on a reading; -1 where there is none",
    }
    axes, size = ("time", "point"), (len(labels), 0)
    found = {
        name: lazy_variable(
            axes, StoredArray(snapshot, "points", name, seconds=seconds, size=size), attrs
        )
        for name, attrs in (("value", {}), ("quality", flags))
    }
    return xr.Dataset(found, coords={"time": time, "point": labels, **_columns(snapshot, labels)})


def _columns(snapshot: Snapshot, labels: list[str]) -> dict[str, tuple[str, list[str]]]:
    """Return what of the metadata of points stands beside their values."""
    known = read_all_metadata(snapshot.root)
    return {
        name: ("point", [str(getattr(known.get(label), name, "")) for label in labels])
        for name in METADATA_COORDINATES
    }


def _rolled(
    snapshot: Snapshot, group: ArchiveGroup, level: ResolutionLevel, span: TimeRange
) -> xr.Dataset:
    """Return roll-ups of what was heard."""
    seconds, _ = received_seconds(snapshot, group, span)
    starts = np.unique(seconds // level.step * level.step)
    labels = read_labels(snapshot.root, group)
    coords: dict[str, object] = {"time": time_variable(starts), LABEL_AXES[group]: labels}
    if not labels:
        return xr.Dataset(coords={"time": time_variable(starts)})
    chips = _chips(snapshot, starts, [level]) if group == "racks" else 0
    if group == "points":
        coords |= _columns(snapshot, labels)
    axes = ("time", LABEL_AXES[group], "chip")[: 3 if chips else 2]
    found = {}
    for name in rollup_arrays(group):
        lazy = StoredArray(
            snapshot, group, name, seconds=starts, size=(len(labels), chips), levels=[level]
        )
        of, _, statistic = name.rpartition("_")
        unit = "1" if statistic == "count" else CHIP_UNITS.get(of, "")
        found[name] = lazy_variable(axes, lazy, {"units": unit} if unit else {})
    return xr.Dataset(found, coords=coords)


def check_arguments(
    site: Site | str, *, group: str | None, resolution: str | None, span: TimeRange
) -> None:
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
    for place, told, known in (("group", group, LABEL_AXES), ("resolution", resolution, ROLLUPS)):
        if told is not None and told not in known:
            message = f"{place} = {told}: choose {', '.join(known)}, or none"
            raise ArchiveError(message)
    if group is None and resolution is not None:
        message = f"resolution = {resolution}: variables are not rolled up; ask for a group: "
        raise ArchiveError(message + ", ".join(LABEL_AXES))
    if group is None and isinstance(site, str):
        message = f"site = {site}: a name; give the site itself, or ask for a group: "
        raise ArchiveError(message + ", ".join(LABEL_AXES))
    first, last = (_moment(place, one) for place, one in zip(("start", "end"), span, strict=True))
    if last <= first:  # never where one of them is not told
        message = f"start = {first}, end = {last}: no stretch of time; name the earlier first"
        raise ArchiveError(message)


type TimeArgument = np.datetime64 | str | None


def _moment(place: str, moment: TimeArgument) -> np.datetime64:
    if moment is None:
        return np.datetime64("NaT", "us")
    try:
        return to_moment(moment)
    except (TypeError, ValueError, ProblemError) as error:
        message = f"{place} = {moment}: no moment; write UTC as 2026-07-01T00:00:00"
        raise ArchiveError(message) from error


_FAR: Final = 2**40  # s: later than any time


def received_seconds(
    snapshot: Snapshot, group: str, span: TimeRange
) -> tuple[Int64Array, xr.Variable]:
    """Return the seconds of a span of which something was heard, also as times."""
    first, last = (_second(moment) for moment in span)
    seconds = snapshot.seconds_present(
        group, -_FAR if first is None else first, _FAR if last is None else last
    )
    return seconds, time_variable(seconds)


def stored_seconds(
    snapshot: Snapshot, group: str, span: TimeRange
) -> tuple[Int64Array, xr.Variable]:
    """Return the seconds of a span whose readings are kept singly, also as times."""
    seconds, times = received_seconds(snapshot, group, span)
    kept = {day for level in SECOND_LEVELS for day in snapshot.names(f"{group}/{level.name}")}
    if kept.issuperset(snapshot.days(group)):
        return seconds, times
    days = np.array(sorted(OPEN_MINUTES.rows(day)[0] for day in kept), dtype=np.int64)
    seconds = seconds[np.isin(seconds // DAY_S * DAY_S, days)]
    return seconds, time_variable(seconds)


def time_variable(seconds: Int64Array) -> xr.Variable:
    """Return seconds since 1970 as times."""
    moments = seconds.astype("datetime64[s]").astype("datetime64[us]")
    return xr.Variable("time", moments, {"standard_name": "time"})


def to_moment(told: np.datetime64 | str) -> np.datetime64:
    """Return a moment; a text without an offset is UTC."""
    return to_utc(told) if isinstance(told, str) else np.datetime64(told, "us")


def _second(moment: TimeArgument) -> int | None:
    """Return the first whole second that is not before a moment. [s since 1970]"""
    if moment is None:
        return None
    return -int(-to_moment(moment).astype(np.int64) // 1_000_000)


def open_by_machine(snapshot: Snapshot, site: Site, *, span: TimeRange) -> xr.Dataset:
    """Return the variables of a site that any point is bound to, in canonical units."""
    seconds, time = stored_seconds(snapshot, "points", span)
    binder = PointBinder(site)
    columns = {label: column for column, label in enumerate(read_labels(snapshot.root, "points"))}
    bound: dict[int, list[tuple[int, PointBinding]]] = {}
    slots = SiteVariables(site)
    for point, metadata in read_all_metadata(snapshot.root).items():
        binding = binder.register(metadata)
        if binding and binding.key in slots.slots:
            bound.setdefault(slots.slots[binding.key], []).append((columns[point], binding))
    was = _earlier(site, read_changes(snapshot.root), columns)
    found: dict[str, xr.Variable] = {}
    labels: dict[str, list[str]] = {}
    for shape in slots.layouts:
        places = range(shape.first, shape.first + sum(shape.counts))
        bindings = [bound.get(place, []) for place in places]
        if any(bindings):
            lazy = BoundVariable(snapshot, seconds=seconds, shape=shape, bindings=bindings, was=was)
            dims = ("time", shape.dim) if shape.dim else ("time",)
            found[shape.variable] = lazy_variable(
                dims, lazy, variables.variable_attributes(shape.variable)
            )
            if shape.dim:
                labels[shape.dim] = list(shape.labels)
    return xr.Dataset(found, coords={"time": time, **labels})


type FormerBinding = tuple[int, int, PointBinding | None]
"""First second whose meaning is not sure, first that is again, and the binding before. [s]"""


def _earlier(
    site: Site, turns: Mapping[str, Sequence[MetadataChange]], columns: Mapping[str, int]
) -> Mapping[int, Sequence[FormerBinding]]:
    """Return by column what points were bound to before their metadata changed."""
    binder = PointBinder(site)  # of a site of many points it takes long to make
    return {
        columns[label]: [(unsure, sure, _alone(binder, was)) for unsure, sure, was in found]
        for label, found in turns.items()
        if label in columns
    }


def _alone(binder: PointBinder, metadata: PointMetadata) -> PointBinding | None:
    """Return what a point was bound to, as if it had been the only one."""
    found = binder.bind(metadata) if binder.belongs_to_site(metadata.point) else None
    return None if isinstance(found, str) else found


class BoundVariable(BackendArray):
    """One variable of the vocabulary, made of the points that are bound to it.

    Parameters
    ----------
    snapshot
        The archive.
    seconds
        The wanted rows. [s since 1970]
    shape
        How the variable is made of its objects.
    bindings
        Columns of points and their bindings, in the order of the variable's objects; of several
        points of one object each is read while those before it are silent.
    was
        Column -> what its point was bound to before its metadata changed, oldest first.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        seconds: Int64Array,
        shape: VariableLayout,
        bindings: list[list[tuple[int, PointBinding]]],
        was: Mapping[int, Sequence[FormerBinding]],
    ) -> None:
        self._snapshot = snapshot
        self._seconds = seconds
        self._pick = replace(shape, first=0).pick
        self._bindings, self._was = bindings, was
        labels = (len(shape.labels),) if shape.dim else ()
        self.shape = (len(seconds), *labels)
        self.dtype = np.dtype(np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> FloatArray:
        """Return a part; xarray asks."""
        outer = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, outer, self._part))

    def _part(self, key: tuple[AxisKey, ...]) -> FloatArray:
        wanted = self._seconds[key[0]]
        picked = self._pick(self._read(np.atleast_1d(wanted)))
        picked = picked[:, *key[1:]]
        return picked if np.ndim(wanted) else picked[0]

    def _read(self, seconds: Int64Array) -> FloatArray:
        """Return canonical values by object, NaN where nothing is to be believed."""
        found = np.full((len(seconds), len(self._bindings)), np.nan)
        if not len(seconds):
            return found
        single = [place for place, some in enumerate(self._bindings) if len(some) == 1]
        if single:
            order = np.argsort(seconds, kind="stable")
            told = self._told(seconds[order], [self._bindings[place][0] for place in single])
            found[:, single] = told[np.argsort(order, kind="stable")]
        for place, some in enumerate(self._bindings):
            if len(some) > 1:
                found[:, place] = self._relieved(seconds, some)
        return found

    def _relieved(
        self, seconds: Int64Array, bindings: list[tuple[int, PointBinding]]
    ) -> FloatArray:
        """Return values of the first point that was not silent for long, at some seconds."""
        wanted = np.unique(seconds)
        following = np.minimum(np.searchsorted(wanted, self._seconds), len(wanted) - 1)
        ahead = wanted[following] - self._seconds
        rows = self._seconds[(ahead >= 0) & (ahead <= SPARE_AFTER_SILENCE_S)]
        told = self._told(rows, bindings)
        values = told[:, 0]
        for spare in told.T[1:]:
            heard = np.maximum.accumulate(np.where(np.isnan(values), -SPARE_AFTER_SILENCE_S, rows))
            values = np.where(
                np.isnan(values) & (rows - heard > SPARE_AFTER_SILENCE_S), spare, values
            )
        return np.asarray(values[np.searchsorted(rows, seconds)])

    def _told(self, seconds: Int64Array, bindings: list[tuple[int, PointBinding]]) -> FloatArray:
        """Return canonical values of points at seconds in rising order."""
        columns = np.array([column for column, _ in bindings], dtype=np.int64)
        values, codes = (
            self._snapshot.read("points", name, seconds=seconds, columns=columns)
            for name in ("value", "quality")
        )
        told = values.astype(np.float64)
        for place, (column, binding) in enumerate(bindings):
            said, begin = told[:, place].copy(), MIN_SECOND
            told[:, place] = to_canonical(binding, said)
            for unsure, sure, before in self._was.get(column, ()):
                told[(begin <= seconds) & (seconds < sure), place] = np.nan
                if before is not None and before.key == binding.key:
                    is_old = (begin <= seconds) & (seconds < unsure)
                    told[is_old, place] = to_canonical(before, said[is_old])
                begin = sure
        return np.where(np.isin(codes, TRUSTED_CODES), told, np.nan)


class StoredArray(BackendArray):
    """The wanted rows of an array of the store.

    Parameters
    ----------
    snapshot
        The archive.
    group, name
        Which array.
    seconds
        The wanted rows, in rising order. [s since 1970]
    size
        How many labels it has, and how many chips; 0 if it has no such axis.
    levels
        Where its values stand.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        group: str,
        name: str,
        *,
        seconds: Int64Array,
        size: tuple[int, int],
        levels: Sequence[ResolutionLevel] = SECOND_LEVELS,
    ) -> None:
        self._snapshot = snapshot
        self._path = group, name
        self._seconds = seconds
        self._levels = levels
        self.shape = (len(seconds), size[0], *size[1:]) if size[1] else (len(seconds), size[0])
        empty = snapshot.read(group, name, seconds=seconds[:0], columns=seconds[:0], levels=levels)
        self.dtype = empty.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> AnyArray:
        """Return a part; xarray asks."""
        outer = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, outer, self._part))

    def _part(self, key: tuple[AxisKey, ...]) -> AnyArray:
        axes = [np.arange(size)[one] for size, one in zip(self.shape, key, strict=True)]
        rows, columns, *deep = (np.atleast_1d(axis) for axis in axes)
        order = np.argsort(rows, kind="stable")
        found = self._snapshot.read(
            *self._path,
            seconds=self._seconds[rows[order]],
            columns=columns,
            chips=deep[0] if deep else None,
            levels=self._levels,
        )
        if (np.diff(order) != 1).any():
            found = found[np.argsort(order, kind="stable")]
        return found[tuple(0 if np.ndim(axis) == 0 else slice(None) for axis in axes)]


def to_canonical(binding: PointBinding, values: FloatArray) -> FloatArray:
    """Return values of the wire in the canonical unit of their variable."""
    if binding.states is None:
        return values * binding.factor + binding.offset
    told, places = np.unique(values, return_inverse=True)
    meant = [np.nan if np.isnan(value) else binding.to_canonical(value) for value in told.tolist()]
    return np.array(meant)[places]


def lazy_variable(
    dims: tuple[str, ...], lazy: BackendArray, attrs: Mapping[str, object]
) -> xr.Variable:
    """Return a variable that reads when it is asked."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(lazy), dict(attrs))
