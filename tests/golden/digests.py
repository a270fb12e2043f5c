"""Digests of arrays, and of linear programs regardless of names and order.

A linear program is identified by colour refinement: every row begins with the hash of its bounds,
every column with that of its cost, bounds and integrality. In each round a row adds the hashes of
its coefficients combined with those of their columns, and the same for columns. The digest is
that of the sorted hashes, so rows and columns may stand in any order.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import xarray as xr
from numpy.typing import NDArray

ROUNDS = 8
"""Rounds of refinement; differences up to this distance are seen."""

NEIGHBOURS = 2
"""Distance up to which content enters the sums of a program, which any processor finds."""

BLOCKS = 64
"""Sums of rows, and of columns, that are kept of a program."""

type Hashes = NDArray[np.uint64]
type Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LinearProgram:
    """Minimise cost times x plus offset between bounds of rows and columns.

    Attributes
    ----------
    rows, columns, values
        Row, column and value of each coefficient.
    row_bounds, column_facts
        (lower, upper) of each row; (cost, lower, upper, integrality) of each column.
    offset
        Constant part of the objective.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    values: Floats
    row_bounds: Floats
    column_facts: Floats
    offset: float

    @classmethod
    def read(cls, path: Path) -> "LinearProgram":
        """Read an MPS file, packed or not."""
        solver = _solver()
        if solver.readModel(str(path)) == highspy.HighsStatus.kError:
            message = f"{path}: not a model"
            raise ValueError(message)
        lp = solver.getLp()
        matrix = lp.a_matrix_
        if matrix.format_ == highspy.MatrixFormat.kRowwise:
            message = f"{path}: stored by rows; expected columns"
            raise ValueError(message)
        kinds = [int(kind) for kind in lp.integrality_] or [0] * lp.num_col_
        facts = [lp.col_cost_, lp.col_lower_, lp.col_upper_, kinds]
        return cls(
            rows=np.asarray(matrix.index_, dtype=np.intp),
            columns=np.repeat(np.arange(lp.num_col_), np.diff(np.asarray(matrix.start_))),
            values=np.asarray(matrix.value_, dtype=np.float64),
            row_bounds=np.column_stack([lp.row_lower_, lp.row_upper_]).astype(np.float64),
            column_facts=np.column_stack(facts).astype(np.float64),
            offset=float(lp.offset_),
        )

    def sorted(self) -> "LinearProgram":
        """Return the same program with rows and columns in the order of their content."""
        row_hashes, column_hashes = self.hashes()
        row_order = np.argsort(row_hashes, kind="stable")
        column_order = np.argsort(column_hashes, kind="stable")
        rows, columns = np.argsort(row_order)[self.rows], np.argsort(column_order)[self.columns]
        order = np.lexsort((rows, columns))
        return LinearProgram(
            rows=rows[order],
            columns=columns[order],
            values=self.values[order],
            row_bounds=self.row_bounds[row_order],
            column_facts=self.column_facts[column_order],
            offset=self.offset,
        )

    def hashes(self) -> tuple[Hashes, Hashes]:
        """Return a hash of every row and of every column by its content."""
        values = _bits(self.values)
        row_own = _combined(_bits(self.row_bounds))
        column_own = _combined(_bits(self.column_facts))
        rows, columns = row_own, column_own
        for _ in range(ROUNDS):
            terms = _mixed(values ^ _mixed(columns[self.columns]))
            rows_next = _mixed(row_own + _mixed(_summed(terms, self.rows, len(row_own))))
            terms = _mixed(values ^ _mixed(rows[self.rows] + np.uint64(1)))
            sums = _summed(terms, self.columns, len(column_own))
            rows, columns = rows_next, _mixed(column_own + _mixed(sums))
        return rows, columns

    def digest(self) -> str:
        """Return a digest of the program, the same for any names and any order."""
        rows, columns = self.hashes()
        offset = _bits(np.array([self.offset]))
        found = hashlib.sha256()
        for part in (np.sort(rows), np.sort(columns), offset):
            found.update(len(part).to_bytes(8, "little") + part.astype("<u8").tobytes())
        return found.hexdigest()

    def sums(self) -> dict[str, list[float]]:
        """Return sums of smooth functions of the content, the same for any names and any order.

        The last bits of coefficients depend on the processor. They change the last bits of these
        sums, where they change all of a digest. Rows and columns are numbers, which are sorted and
        summed in blocks, because one changed coefficient is lost in the sum of all.
        """
        row_own, column_own = _smooth(self.row_bounds), _smooth(self.column_facts)
        values = _smooth(self.values[:, np.newaxis])
        rows, columns = row_own, column_own
        row_sizes = np.maximum(np.bincount(self.rows, minlength=len(rows)), 1)
        column_sizes = np.maximum(np.bincount(self.columns, minlength=len(columns)), 1)
        for _ in range(NEIGHBOURS):
            in_rows = np.bincount(self.rows, values * columns[self.columns], len(rows))
            in_columns = np.bincount(self.columns, values * rows[self.rows], len(columns))
            rows, columns = row_own + in_rows / row_sizes, column_own + in_columns / column_sizes
        return {
            "rows": _block_sums(rows),
            "columns": _block_sums(columns),
            "offset": [self.offset],
        }

    def optimum(self) -> float:
        """Return the least objective without integrality, solved in the order of content."""
        lp, given = highspy.HighsLp(), self.sorted()
        lp.num_row_, lp.num_col_ = len(given.row_bounds), len(given.column_facts)
        lp.col_cost_, lp.col_lower_, lp.col_upper_, _ = given.column_facts.T.copy()
        lp.row_lower_, lp.row_upper_ = given.row_bounds.T.copy()
        lp.offset_ = given.offset
        counts = np.bincount(given.columns, minlength=lp.num_col_)
        lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        lp.a_matrix_.index_ = given.rows.astype(np.int32)
        lp.a_matrix_.value_ = given.values
        solver = _solver()
        solver.passModel(lp)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            message = f"no optimum: {solver.modelStatusToString(solver.getModelStatus())}"
            raise ValueError(message)
        return float(solver.getObjectiveValue())


def _solver() -> Any:
    solver = highspy.Highs()
    for name, value in {"output_flag": False, "threads": 1, "solver": "simplex"}.items():
        solver.setOptionValue(name, value)
    return solver


def model_facts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return of a model what is equal on all processors, and what is equal on one."""
    model = LinearProgram.read(path)
    sizes = {
        "rows": len(model.row_bounds),
        "columns": len(model.column_facts),
        "coefficients": len(model.values),
        "objective": model.optimum(),
        "sums": model.sums(),
    }
    return sizes, {"digest": model.digest()}


def array_digest(values: NDArray[Any], dimensions: tuple[str, ...]) -> str:
    """Return a digest of a numeric array and its dimension names; all NaNs are alike."""
    flat = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    if flat.dtype.kind == "f":
        flat = np.where(np.isnan(flat), np.nan, flat) + flat.dtype.type(0)
    found = hashlib.sha256(repr((str(flat.dtype), flat.shape, dimensions)).encode())
    found.update(flat.tobytes())
    return found.hexdigest()


def dataset_digests(data: xr.Dataset) -> dict[str, str]:
    """Return the digest of every array of numbers or times of a data set by its name."""
    return {
        str(name): array_digest(data[name].to_numpy(), tuple(map(str, data[name].dims)))
        for name in sorted(data.variables, key=str)
        if data[name].dtype.kind in "fiubmM"
    }


def dataset_sums(data: xr.Dataset) -> dict[str, float]:
    """Return the sum of every array of floating-point numbers of a data set by its name."""
    return {
        str(name): float(np.nansum(data[name].to_numpy(), dtype=np.float64))
        for name in sorted(data.variables, key=str)
        if data[name].dtype.kind == "f"
    }


def digest_of(mapping: Mapping[str, str]) -> str:
    """Return one digest of several named ones."""
    return hashlib.sha256(repr(sorted(mapping.items())).encode()).hexdigest()


def _bits(values: Floats) -> Hashes:
    """Return the bits of numbers, of which equal ones have equal bits."""
    return np.ascontiguousarray(values + 0.0).view(np.uint64)


def _smooth(facts: Floats) -> Floats:
    """Return a number of each line of facts, which depends on their order and never jumps."""
    kept = np.where(np.isfinite(facts), facts, 0.0)
    waves = np.sin(np.arcsinh(kept) + np.arange(facts.shape[1]))
    waves = np.where(np.isfinite(facts), waves, 2.0 * np.sign(facts))
    return np.asarray(waves @ np.sqrt(2.0 + np.arange(facts.shape[1])), dtype=np.float64)


def _block_sums(numbers: Floats) -> list[float]:
    """Return the sums of blocks of the sorted numbers, each of which moves as little as they do."""
    return [float(np.sum(block)) for block in np.array_split(np.sort(numbers), BLOCKS)]


def _combined(facts: Hashes) -> Hashes:
    """Return one hash of each line of facts, which depends on their order."""
    found = np.zeros(len(facts), dtype=np.uint64)
    for column in facts.T:
        found = _mixed(found * np.uint64(31) + _mixed(column))
    return found


def _mixed(values: Hashes) -> Hashes:
    """Return each value scrambled, by the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _summed(terms: Hashes, places: NDArray[np.intp], count: int) -> Hashes:
    """Return the sum of the terms at each place, which does not depend on their order."""
    found = np.zeros(count, dtype=np.uint64)
    np.add.at(found, places, terms)
    return found
