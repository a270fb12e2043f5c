"""Arrays that read what is asked for, and not before: the ground under an opened archive."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from telemetry.archive.blocks import Values
from telemetry.archive.layout import FINEST, Level
from telemetry.archive.marks import BEFORE_ALL
from telemetry.archive.plan import Numbers
from telemetry.archive.seconds import BELIEVED
from telemetry.archive.snapshot import Snapshot
from telemetry.metadata.binding import Binding
from telemetry.quality import PERIODS
from telemetry.samples import REPEATED
from telemetry.windows.slots import Shape
from twin.physics import FloatArray

SILENCE: Final = PERIODS * int(REPEATED / np.timedelta64(1, "s"))
"""Silence of a point from which another one of the same quantity is read. [s]"""

type Axis = int | slice | NDArray[np.int64]


class Stored(BackendArray):
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
        seconds: Numbers,
        size: tuple[int, int],
        levels: Sequence[Level] = FINEST,
    ) -> None:
        self._snapshot = snapshot
        self._path = group, name
        self._seconds = seconds
        self._levels = levels
        self.shape = (len(seconds), size[0], *size[1:]) if size[1] else (len(seconds), size[0])
        empty = snapshot.read(group, name, seconds=seconds[:0], columns=seconds[:0], levels=levels)
        self.dtype = empty.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Values:
        """Return a part; xarray asks."""
        outer = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, outer, self._part))

    def _part(self, key: tuple[Axis, ...]) -> Values:
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


type Was = tuple[int, int, Binding | None]
"""First second whose meaning is not sure, first that is again, and the binding before. [s]"""


class Bound(BackendArray):
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
        seconds: Numbers,
        shape: Shape,
        bindings: list[list[tuple[int, Binding]]],
        was: Mapping[int, Sequence[Was]],
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

    def _part(self, key: tuple[Axis, ...]) -> FloatArray:
        wanted = self._seconds[key[0]]
        picked = self._pick(self._read(np.atleast_1d(wanted)))
        picked = picked[:, *key[1:]]
        return picked if np.ndim(wanted) else picked[0]

    def _read(self, seconds: Numbers) -> FloatArray:
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

    def _relieved(self, seconds: Numbers, bindings: list[tuple[int, Binding]]) -> FloatArray:
        """Return values of the first point that was not silent for long, at some seconds."""
        wanted = np.unique(seconds)
        following = np.minimum(np.searchsorted(wanted, self._seconds), len(wanted) - 1)
        ahead = wanted[following] - self._seconds
        rows = self._seconds[(ahead >= 0) & (ahead <= SILENCE)]
        told = self._told(rows, bindings)
        values = told[:, 0]
        for spare in told.T[1:]:
            heard = np.maximum.accumulate(np.where(np.isnan(values), -SILENCE, rows))
            values = np.where(np.isnan(values) & (rows - heard > SILENCE), spare, values)
        return np.asarray(values[np.searchsorted(rows, seconds)])

    def _told(self, seconds: Numbers, bindings: list[tuple[int, Binding]]) -> FloatArray:
        """Return canonical values of points at seconds in rising order."""
        columns = np.array([column for column, _ in bindings], dtype=np.int64)
        values, codes = (
            self._snapshot.read("points", name, seconds=seconds, columns=columns)
            for name in ("value", "quality")
        )
        told = values.astype(np.float64)
        for place, (column, binding) in enumerate(bindings):
            said, begin = told[:, place].copy(), BEFORE_ALL
            told[:, place] = canonical(binding, said)
            for unsure, sure, before in self._was.get(column, ()):
                told[(begin <= seconds) & (seconds < sure), place] = np.nan
                if before is not None and before.key == binding.key:
                    is_old = (begin <= seconds) & (seconds < unsure)
                    told[is_old, place] = canonical(before, said[is_old])
                begin = sure
        return np.where(np.isin(codes, BELIEVED), told, np.nan)


def canonical(binding: Binding, values: FloatArray) -> FloatArray:
    """Return values of the wire in the canonical unit of their variable."""
    if binding.states is None:
        return values * binding.factor + binding.offset
    told, places = np.unique(values, return_inverse=True)
    meant = [np.nan if np.isnan(value) else binding.canonical(value) for value in told.tolist()]
    return np.array(meant)[places]


def variable(dims: tuple[str, ...], lazy: BackendArray, attrs: Mapping[str, object]) -> xr.Variable:
    """Return a variable that reads when it is asked."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(lazy), dict(attrs))
