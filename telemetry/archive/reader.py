"""Read an archive as lazy xarray Datasets, as of the last commit.

Only times and labels are read at once; values are read on access. An open Dataset does not change
when data is committed; open again to see more. An archive opens as it is stored, or by machine: the
points that are bound to a site, under the names of :mod:`twin.variables`.
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

from telemetry.archive.commit_batch import MIN_SECOND
from telemetry.archive.layout import (
    DAY_S,
    LABEL_AXES,
    OPEN_MINUTES_LEVEL,
    QUALITY_CODES,
    ROLLUP_LEVELS,
    SECOND_LEVELS,
    TRUSTED_CODES,
    AnyArray,
    Int64Array,
    MetadataChange,
    ResolutionLevel,
    read_all_metadata,
    read_labels,
    read_metadata_changes,
    rollup_arrays,
)
from telemetry.archive.manifests import CorruptRepositoryError
from telemetry.archive.recovery import STORAGE_ERRORS, verify_head
from telemetry.archive.repository_location import (
    RepositoryLocation,
    is_bucket_url,
    panics_as_errors,
    repository_config,
)
from telemetry.archive.snapshot import Snapshot
from telemetry.durable_files import default_state_folder
from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.samples import CHIP_VARIABLES, PointMetadata
from telemetry.points.binding import PointBinder, PointBinding
from telemetry.points.site_points import SiteVariables, VariableLayout
from telemetry.quality.checks import STALE_PERIODS
from twin import variables
from twin.errors import ArchiveError, IssueCode, ProblemError
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import to_utc

CHIP_UNITS: Final = dict(zip(CHIP_VARIABLES, ("W", "degC", "1", "1", "MHz"), strict=True))
"""Units of chip values, as sent."""

METADATA_COORDINATES: Final = (
    "object_type",
    "point_type",
    "object_id",
    "unit",
    "integration",
    "rack",
)
"""Metadata of points that stands beside their values."""

SPARE_AFTER_SILENCE_S: Final = STALE_PERIODS * int(REPEAT_PERIOD / np.timedelta64(1, "s"))
"""Silence of a point after which a spare point of the same quantity is read. [s]"""

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
    """Open the measured values of a site.

    Parameters
    ----------
    site
        The site; its name suffices with a group.
    start, end
        First time, and the end that is not included, UTC; None for all.
    group
        None for the variables of the site's bound points, by machine and in canonical units, NaN
        where a reading is not trusted.
        ``points`` for all points as sent: ``value`` and ``quality`` on ``time`` and ``point``, with
        their metadata as coordinates.
        ``racks`` for the chips: ``power``, ``temperature``, ``utilisation``, ``memory`` and
        ``clock`` on ``time``, ``rack`` (``{hall}/{rack}``) and ``chip``.
    resolution
        None for single seconds; ``1min``, ``15min`` or ``1h`` for roll-ups of a group:
        ``power_min``, ``power_mean``, ``power_max`` and ``power_count`` (of trusted seconds),
        and so on. They exist after the compaction of their hour.
    root
        State folder of the service; ``$GIGATWIN_STATE`` if None, or else the service's own
        default, ``gigatwin/<site>`` in the user's state folder. Or the URL of its bucket, see
        :mod:`telemetry.archive.repository_location`.

    Returns
    -------
    xarray.Dataset
        Lazy. ``time`` has the whole seconds with readings; NaN where a label has none, as points
        publish on change and every 100 s.

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
        str(root)
        if is_bucket_url(root or "")
        else Path(root or default_state_folder(name)) / "archive"
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
    """Open the archive of a folder or bucket; see :func:`open`."""
    name = site if isinstance(site, str) else site.name
    check_arguments(site, group=group, resolution=resolution, span=span)
    try:
        snapshot = open_snapshot(folder, name)
        opened = _open(snapshot, site, group=group, level=resolution, span=span)
    except (CorruptRepositoryError, *STORAGE_ERRORS) as error:
        message = f"{folder}: cannot be read: {error}; start the service, which repairs it"
        raise ArchiveError(message, code=IssueCode.CORRUPT) from error
    return opened.assign_attrs(site=name, title=f"measured values of {name}")


def open_snapshot(folder: Path | str, site: str = "") -> Snapshot:
    """Return the last commit of the archive in a folder or bucket.

    If ``site`` is given, an archive of another site raises ArchiveError, as does a missing one.
    """
    place = RepositoryLocation.of(folder)
    if place.folder is not None and not place.folder.is_dir():
        message = f"{folder}: no archive; name the state folder of a service (--state, root=)"
        raise ArchiveError(message, code=IssueCode.MISSING)
    # The checksums are read first: commits in the meantime are later.
    verify_head(place.folder, checksums := place.checksums)
    with panics_as_errors():
        repository = icechunk.Repository.open(place.storage, config=repository_config())
        snapshot = Snapshot.last(repository, place.folder, checksums=checksums)
        found = str(snapshot.root.attrs["site"])
    if site and found != site:
        message = f"{folder}: this is the archive of {found}, not of {site}; name another folder"
        raise ArchiveError(message, code=IssueCode.INCONSISTENT)
    return snapshot


def _open(
    snapshot: Snapshot,
    site: Site | str,
    *,
    group: ArchiveGroup | None,
    level: Resolution,
    span: TimeRange,
) -> xr.Dataset:
    if group is not None and level is not None:
        return _rolled(snapshot, group, ROLLUP_LEVELS[level], span)
    if group == "racks":
        return _racks(snapshot, span=span)
    if group == "points":
        return _points(snapshot, span=span)
    if isinstance(site, str):
        raise TypeError(site)  # unreachable after `check_arguments`
    return open_by_machine(snapshot, site, span=span)


def _racks(snapshot: Snapshot, *, span: TimeRange) -> xr.Dataset:
    """Return the values of chips."""
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
    """Return the largest number of chips of a rack in the periods of some seconds."""
    count = 1
    for level in levels:
        names = [name if level in SECOND_LEVELS else f"{name}_mean" for name in CHIP_VARIABLES]
        for period in {level.period(day) for day in np.unique(seconds // DAY_S * DAY_S).tolist()}:
            paths = [f"racks/{level.name}/{period}/{name}" for name in names]
            count = max(count, _chip_count(snapshot, paths))
    return count


def _chip_count(snapshot: Snapshot, paths: Sequence[str]) -> int:
    """Return the chips of the first intact array; a reader of the others gets the error."""
    for path in paths:
        try:
            array = snapshot.array(path)
        except CorruptRepositoryError:
            continue
        return array.shape[2] if array else 0
    return 0


def _points(snapshot: Snapshot, *, span: TimeRange) -> xr.Dataset:
    """Return all points as sent."""
    seconds, time = stored_seconds(snapshot, "points", span)
    labels = read_labels(snapshot.root, "points")
    if not labels:
        return xr.Dataset(coords={"time": time})
    flags: dict[str, object] = {
        "flag_values": list(QUALITY_CODES.values()),
        "flag_meanings": " ".join(QUALITY_CODES),
        "long_name": "quality flag of a reading; -1 where there is none",
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
    """Return the metadata of points that stands beside their values."""
    known = read_all_metadata(snapshot.root)
    return {
        name: ("point", [str(getattr(known.get(label), name, "")) for label in labels])
        for name in METADATA_COORDINATES
    }


def _rolled(
    snapshot: Snapshot, group: ArchiveGroup, level: ResolutionLevel, span: TimeRange
) -> xr.Dataset:
    """Return roll-ups."""
    seconds, _ = received_seconds(snapshot, group, span)
    starts = np.unique(seconds // level.row_seconds * level.row_seconds)
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
    """Raise ArchiveError for arguments of :func:`open` that no archive can answer."""
    for place, value, known in (
        ("group", group, LABEL_AXES),
        ("resolution", resolution, ROLLUP_LEVELS),
    ):
        if value is not None and value not in known:
            message = f"{place} = {value}: unknown; choose {', '.join(known)}, or none"
            raise ArchiveError(message, code=IssueCode.UNKNOWN_NAME)
    groups = ", ".join(LABEL_AXES)
    if group is None and resolution is not None:
        message = (
            f"resolution = {resolution}: variables are not rolled up; choose a group: {groups}"
        )
        raise ArchiveError(message, code=IssueCode.UNSUPPORTED)
    if group is None and isinstance(site, str):
        message = f"site = {site}: a name; give the site itself, or choose a group: {groups}"
        raise ArchiveError(message, code=IssueCode.WRONG_TYPE)
    first, last = (_moment(place, one) for place, one in zip(("start", "end"), span, strict=True))
    if last <= first:  # never true where one of them is missing
        message = f"start = {first}, end = {last}: the end is not later; write the earlier first"
        raise ArchiveError(message, code=IssueCode.TIME_ORDER)


type TimeArgument = np.datetime64 | str | None


def _moment(place: str, moment: TimeArgument) -> np.datetime64:
    if moment is None:
        return np.datetime64("NaT", "us")
    try:
        return to_moment(moment)
    except (TypeError, ValueError, ProblemError) as error:
        message = f"{place} = {moment}: not a time; write UTC as 2026-07-01T00:00:00"
        raise ArchiveError(message, code=IssueCode.INVALID_FORMAT) from error


_MAX_TIME_S: Final = 2**40  # later than any time


def received_seconds(
    snapshot: Snapshot, group: str, span: TimeRange
) -> tuple[Int64Array, xr.Variable]:
    """Return the seconds of a span with values, also as times."""
    first, last = (_second(moment) for moment in span)
    seconds = snapshot.seconds_present(
        group, -_MAX_TIME_S if first is None else first, _MAX_TIME_S if last is None else last
    )
    return seconds, time_variable(seconds)


def stored_seconds(
    snapshot: Snapshot, group: str, span: TimeRange
) -> tuple[Int64Array, xr.Variable]:
    """Return the seconds of a span that are stored singly, also as times."""
    seconds, times = received_seconds(snapshot, group, span)
    stored = {
        day for level in SECOND_LEVELS for day in snapshot.names_in_group(f"{group}/{level.name}")
    }
    if stored.issuperset(snapshot.days(group)):
        return seconds, times
    days = np.array(
        sorted(OPEN_MINUTES_LEVEL.first_second_and_row_count(day)[0] for day in stored),
        dtype=np.int64,
    )
    seconds = seconds[np.isin(seconds // DAY_S * DAY_S, days)]
    return seconds, time_variable(seconds)


def time_variable(seconds: Int64Array) -> xr.Variable:
    """Return seconds since 1970 as times."""
    moments = seconds.astype("datetime64[s]").astype("datetime64[us]")
    return xr.Variable("time", moments, {"standard_name": "time"})


def to_moment(time: np.datetime64 | str) -> np.datetime64:
    """Return a time; a text without an offset is UTC."""
    return to_utc(time) if isinstance(time, str) else np.datetime64(time, "us")


def _second(moment: TimeArgument) -> int | None:
    """Return the first whole second at or after a time. [s since 1970]"""
    if moment is None:
        return None
    return -int(-to_moment(moment).astype(np.int64) // 1_000_000)


def open_by_machine(snapshot: Snapshot, site: Site, *, span: TimeRange) -> xr.Dataset:
    """Return the variables of a site with a bound point, in canonical units."""
    seconds, time = stored_seconds(snapshot, "points", span)
    binder = PointBinder(site)
    columns = {label: column for column, label in enumerate(read_labels(snapshot.root, "points"))}
    bound: dict[int, list[tuple[int, PointBinding]]] = {}
    slots = SiteVariables(site)
    for point, metadata in read_all_metadata(snapshot.root).items():
        binding = binder.register(metadata)
        if binding and binding.key in slots.slots:
            bound.setdefault(slots.slots[binding.key], []).append((columns[point], binding))
    former = _former_bindings(site, read_metadata_changes(snapshot.root), columns)
    found: dict[str, xr.Variable] = {}
    labels: dict[str, list[str]] = {}
    for shape in slots.layouts:
        places = range(shape.first_slot, shape.first_slot + sum(shape.slots_per_label))
        bindings = [bound.get(place, []) for place in places]
        if any(bindings):
            lazy = BoundVariable(
                snapshot, seconds=seconds, shape=shape, bindings=bindings, former=former
            )
            dims = ("time", shape.dim) if shape.dim else ("time",)
            found[shape.variable] = lazy_variable(
                dims, lazy, variables.variable_attributes(shape.variable)
            )
            if shape.dim:
                labels[shape.dim] = list(shape.labels)
    return xr.Dataset(found, coords={"time": time, **labels})


type FormerBinding = tuple[int, int, PointBinding | None]
"""First second with uncertain meaning, first with certain meaning again, and the binding before.
[s]
"""


def _former_bindings(
    site: Site, changes: Mapping[str, Sequence[MetadataChange]], columns: Mapping[str, int]
) -> Mapping[int, Sequence[FormerBinding]]:
    """Return by column what points were bound to before their metadata changed."""
    binder = PointBinder(site)  # one for all, as it is slow for sites of many points
    return {
        columns[label]: [(unsure, sure, _bind(binder, before)) for unsure, sure, before in found]
        for label, found in changes.items()
        if label in columns
    }


def _bind(binder: PointBinder, metadata: PointMetadata) -> PointBinding | None:
    """Return the binding of a point, as if it were the only one."""
    found = binder.find_binding(metadata) if binder.belongs_to_site(metadata.point) else None
    return found if isinstance(found, PointBinding) else None


class BoundVariable(BackendArray):
    """One variable of a site, from the points that are bound to it.

    ``bindings`` has the columns and bindings of the points of each object of ``shape``; a point is
    read while those before it are silent. ``former`` has by column the bindings before metadata
    changes, oldest first. ``seconds`` are the rows. [s since 1970]
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        seconds: Int64Array,
        shape: VariableLayout,
        bindings: list[list[tuple[int, PointBinding]]],
        former: Mapping[int, Sequence[FormerBinding]],
    ) -> None:
        self._snapshot = snapshot
        self._seconds = seconds
        self._pick = replace(shape, first_slot=0).values_by_label
        self._bindings, self._former = bindings, former
        labels = (len(shape.labels),) if shape.dim else ()
        self.shape = (len(seconds), *labels)
        self.dtype = np.dtype(np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> FloatArray:
        """Return a part, for xarray."""
        outer = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, outer, self._part))

    def _part(self, key: tuple[AxisKey, ...]) -> FloatArray:
        wanted = self._seconds[key[0]]
        picked = self._pick(self._read(np.atleast_1d(wanted)))
        picked = picked[:, *key[1:]]
        return picked if np.ndim(wanted) else picked[0]

    def _read(self, seconds: Int64Array) -> FloatArray:
        """Return canonical values by object, NaN where none is trusted."""
        found = np.full((len(seconds), len(self._bindings)), np.nan)
        if not len(seconds):
            return found
        single = [place for place, some in enumerate(self._bindings) if len(some) == 1]
        if single:
            order = np.argsort(seconds, kind="stable")
            values = self._values(seconds[order], [self._bindings[place][0] for place in single])
            found[:, single] = values[np.argsort(order, kind="stable")]
        for place, some in enumerate(self._bindings):
            if len(some) > 1:
                found[:, place] = self._with_spares(seconds, some)
        return found

    def _with_spares(
        self, seconds: Int64Array, bindings: list[tuple[int, PointBinding]]
    ) -> FloatArray:
        """Return at some seconds the values of the first point that was not silent."""
        wanted = np.unique(seconds)
        following = np.minimum(np.searchsorted(wanted, self._seconds), len(wanted) - 1)
        ahead = wanted[following] - self._seconds
        rows = self._seconds[(ahead >= 0) & (ahead <= SPARE_AFTER_SILENCE_S)]
        found = self._values(rows, bindings)
        values = found[:, 0]
        for spare in found.T[1:]:
            newest = np.maximum.accumulate(np.where(np.isnan(values), -SPARE_AFTER_SILENCE_S, rows))
            values = np.where(
                np.isnan(values) & (rows - newest > SPARE_AFTER_SILENCE_S), spare, values
            )
        return np.asarray(values[np.searchsorted(rows, seconds)])

    def _values(self, seconds: Int64Array, bindings: list[tuple[int, PointBinding]]) -> FloatArray:
        """Return canonical values of points at seconds in rising order."""
        columns = np.array([column for column, _ in bindings], dtype=np.int64)
        values, codes = (
            self._snapshot.read("points", name, seconds=seconds, columns=columns)
            for name in ("value", "quality")
        )
        found = values.astype(np.float64)
        for place, (column, binding) in enumerate(bindings):
            raw, begin = found[:, place].copy(), MIN_SECOND
            found[:, place] = to_canonical(binding, raw)
            for unsure, sure, before in self._former.get(column, ()):
                found[(begin <= seconds) & (seconds < sure), place] = np.nan
                if before is not None and before.key == binding.key:
                    is_old = (begin <= seconds) & (seconds < unsure)
                    found[is_old, place] = to_canonical(before, raw[is_old])
                begin = sure
        return np.where(np.isin(codes, TRUSTED_CODES), found, np.nan)


class StoredArray(BackendArray):
    """Rows of an array of the store, read from some levels.

    ``seconds`` are the rows, in rising order [s since 1970]; ``size`` is the number of labels and
    of chips, 0 without such an axis.
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
        """Return a part, for xarray."""
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
    if binding.canonical_states is None:
        return values * binding.factor + binding.offset
    states, places = np.unique(values, return_inverse=True)
    canonical = [
        np.nan if np.isnan(state) else binding.to_canonical(state) for state in states.tolist()
    ]
    return np.array(canonical)[places]


def lazy_variable(
    dims: tuple[str, ...], lazy: BackendArray, attrs: Mapping[str, object]
) -> xr.Variable:
    """Return a variable that is read on access."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(lazy), dict(attrs))
