"""Arrays of an archive that read what is asked for, and not before."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from telemetry.archive.chunk_io import Int64Array
from telemetry.archive.layout import SECOND_LEVELS, ResolutionLevel
from telemetry.archive.shard_format import AnyArray
from telemetry.archive.snapshot import Snapshot
from telemetry.messages.models import REPEAT_PERIOD
from telemetry.points.binding import PointBinding
from telemetry.quality.checks import STALE_PERIODS
from twin.physics import FloatArray

SPARE_AFTER_SILENCE_S: Final = STALE_PERIODS * int(REPEAT_PERIOD / np.timedelta64(1, "s"))
"""Silence of a point from which another one of the same quantity is read. [s]"""

type AxisKey = int | slice | NDArray[np.int64]


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
