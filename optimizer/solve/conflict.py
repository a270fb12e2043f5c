"""Why no values keep all rows: what cannot all be kept, read from the solver's own proof."""

from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np

from optimizer.compile.arrays import IntArray
from optimizer.solve.passing import ask, set_options
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray

NOISE: Final = 1e-9
"""Share of the greatest weight of a proof, or of its terms, that is none. [1]"""

IIS: Final[dict[str, Any]] = {
    "iis_strategy": int(highspy.IisStrategy.kIisStrategyFromLp)
    | int(highspy.IisStrategy.kIisStrategyIrreducible),
    "iis_time_limit": 1.0,
}
"""How a conflict is sought where there is no proof: from the least sum of breaches, then made
small, and for how long at most. By its own choice the solver finds none in a site's model."""

UPPER: Final = (
    int(highspy.IisBoundStatus.kIisBoundStatusUpper),
    int(highspy.IisBoundStatus.kIisBoundStatusBoxed),
)
"""What the solver says of columns whose upper bound is in a conflict that it has sought."""


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """What cannot all be kept; nothing if it was not found.

    Attributes
    ----------
    rows, columns
        Positions.
    is_low
        Whether it is the lower bound of a column that cannot be kept.
    """

    rows: IntArray
    columns: IntArray
    is_low: BoolArray


def conflict_in(highs: Any) -> Conflict:
    """Return rows and columns that cannot all be kept.

    A run of the simplex that finds no values ends with a proof: a sum of rows, each with a weight,
    that no values within the bounds of the columns can keep. It is irreducible as it stands, and
    costs one more run at most; to seek another takes as many as there are rows.

    Parameters
    ----------
    highs
        The solver, after a run that found no values.

    Returns
    -------
    Conflict
        By the proof; where there is none, by a search that ends after a second.
    """
    status, is_there, ray = highs.getDualRay()
    ask(status, "getDualRay", may_warn=True)
    found = _proven(highs.getLp(), np.array(ray)) if is_there else None
    return _sought(highs) if found is None else found


def _proven(model: Any, ray: FloatArray) -> Conflict | None:
    """Return what a proof weighs; nothing if it proves nothing."""
    weight = np.where(np.abs(ray) > NOISE * np.abs(ray).max(), ray, 0.0)
    matrix = model.a_matrix_
    start, index, value = (np.array(part) for part in (matrix.start_, matrix.index_, matrix.value_))
    major = np.repeat(np.arange(len(start) - 1), np.diff(start))
    is_by_column = matrix.format_ == highspy.MatrixFormat.kColwise
    row, column = (index, major) if is_by_column else (major, index)
    terms, columns = weight[row] * value, len(model.col_lower_)
    total = np.bincount(column, weights=terms, minlength=columns)
    size = np.bincount(column, weights=np.abs(terms), minlength=columns)
    total = np.where(np.abs(total) > NOISE * size, total, 0.0)
    least = -_most(-weight, np.array(model.row_lower_), np.array(model.row_upper_))
    most = _most(total, np.array(model.col_lower_), np.array(model.col_upper_))
    if not least > most:
        return None
    places = np.flatnonzero(total)
    return Conflict(
        rows=np.flatnonzero(weight).astype(np.int32),
        columns=places.astype(np.int32),
        is_low=total[places] < 0.0,
    )


def _most(weight: FloatArray, low: FloatArray, high: FloatArray) -> float:
    """Return the greatest weighted sum of what lies between bounds."""
    of = weight != 0.0
    return float((weight[of] * np.where(weight > 0.0, high, low)[of]).sum())


def _sought(highs: Any) -> Conflict:
    """Return what the solver finds in a while; of a column that is free, neither bound."""
    set_options(highs, IIS)
    status, found = highs.getIis()
    if status == highspy.HighsStatus.kError:  # whoever asked tells what is short all the same
        none = np.empty(0, dtype=np.int32)
        return Conflict(rows=none, columns=none, is_low=np.empty(0, dtype=bool))
    bound = np.array([int(one) for one in found.col_bound_], dtype=np.int32)
    is_low = bound == int(highspy.IisBoundStatus.kIisBoundStatusLower)
    is_high = np.isin(bound, UPPER)
    counts = is_low | is_high
    return Conflict(
        rows=np.array(found.row_index_, dtype=np.int32),
        columns=np.array(found.col_index_, dtype=np.int32)[counts],
        is_low=is_low[counts],
    )
