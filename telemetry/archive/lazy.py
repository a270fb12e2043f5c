"""Arrays that read what is asked for, and not before: the ground under an opened archive."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from telemetry.archive.layout import Array
from telemetry.archive.minutes import BELIEVED
from telemetry.binding import Binding
from telemetry.slots import Shape
from twin.physics import FloatArray

type Rows = NDArray[np.int64]
type Part = int | slice | NDArray[np.int64]
type Values = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int8]


class Stored(BackendArray):
    """The wanted rows of an array of the store, in the wanted order."""

    def __init__(self, array: Array, rows: Rows) -> None:
        self._array = array
        self._rows = rows
        self.shape = (len(rows), *array.shape[1:])
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Values:
        """Return a part; xarray asks."""
        outer = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, outer, self._part))

    def _part(self, key: tuple[Part, ...]) -> Values:
        return rows_of(self._array, self._rows[key[0]], *key[1:])


class Bound(BackendArray):
    """One variable of the vocabulary, made of the points that are bound to it.

    Parameters
    ----------
    values, codes
        What the points sent, and the verdicts on it.
    rows
        The wanted rows.
    shape
        How the variable is made of its objects.
    bindings
        Column of a point -> its binding, in the order of the variable's objects; None for an
        object that no point is known of.
    """

    def __init__(
        self,
        values: Array,
        codes: Array,
        *,
        rows: Rows,
        shape: Shape,
        bindings: list[tuple[int, Binding] | None],
    ) -> None:
        self._values = values
        self._codes = codes
        self._rows = rows
        self._pick = replace(shape, first=0).pick
        self._bindings = bindings
        labels = (len(shape.labels),) if shape.dim else ()
        self.shape = (len(rows), *labels)
        self.dtype = np.dtype(np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> FloatArray:
        """Return a part; xarray asks."""
        outer = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, outer, self._part))

    def _part(self, key: tuple[Part, ...]) -> FloatArray:
        wanted = self._rows[key[0]]
        picked = self._pick(self._read(np.atleast_1d(wanted)))
        picked = picked[:, *key[1:]]
        return picked if np.ndim(wanted) else picked[0]

    def _read(self, rows: Rows) -> FloatArray:
        """Return canonical values by object, NaN where nothing is to be believed."""
        found = np.full((len(rows), len(self._bindings)), np.nan)
        places = [place for place, one in enumerate(self._bindings) if one is not None]
        bound = [one for one in self._bindings if one is not None]
        columns = np.array([column for column, _ in bound], dtype=np.int64)
        if not places or not len(rows):
            return found
        values = np.asarray(rows_of(self._values, rows, columns), dtype=np.float64)
        codes = rows_of(self._codes, rows, columns)
        for place, (_, binding) in enumerate(bound):
            values[:, place] = canonical(binding, values[:, place])
        found[:, places] = np.where(np.isin(codes, BELIEVED), values, np.nan)
        return found


def rows_of(array: Array, rows: Rows | np.int64, *rest: Part) -> Values:
    """Return rows of an array of the store, and parts of its other axes."""
    where: Part = rows if isinstance(rows, np.ndarray) else int(rows)
    if isinstance(where, np.ndarray) and len(where) and (np.diff(where) == 1).all():
        where = slice(int(where[0]), int(where[-1]) + 1)
    if isinstance(where, np.ndarray) and not len(where):
        return np.asarray(array.oindex[(slice(0, 0), *rest)])
    return np.asarray(array.oindex[(where, *rest)])


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
