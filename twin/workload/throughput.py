"""Fit a curve of throughput over power to measured jobs under power limits."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.optimize import linprog

from twin.argument_checks import missing_column_issues
from twin.errors import IssueCode, SeriesError
from twin.physics import FloatArray
from twin.site_settings import Throughput

MEASUREMENT_COLUMNS: Final = ("power_limit", "time_per_epoch", "average_power")
"""Required columns of a file of measurements: limit, time of the work, mean power."""

CURVE_KNOTS: Final = np.arange(0.30, 1.0, 0.05)
"""Powers at which a curve may bend; those below the data are not used. [1]"""

MIN_SLOPE_CHANGE: Final = 0.02
"""Change of slope below which a knot is dropped, so that rounded points stay concave. [1]"""

MIN_POINT_DISTANCE: Final = 0.01
"""Smallest distance of the first two points, for the same reason. [1]"""

CURVE_DECIMALS: Final = 4
"""Digits of the points of a curve; measurements hardly have three."""


@dataclass(frozen=True, kw_only=True)
class ThroughputFit:
    """A throughput curve, and the distance of the measurements from it.

    - ``throughput``: The curve: concave, through the uncapped point.
    - ``mean_distance``: Mean distance of the jobs' throughput from the curve. [1]
    - ``root_mean_square``: Root of the mean square distance. [1]
    - ``medians``: By ``power_limit`` in the file's unit: medians of ``work``, ``power`` and
      ``energy`` per work, all relative to the uncapped job [1], and the number of ``jobs``.
    """

    throughput: Throughput
    mean_distance: float
    root_mean_square: float
    medians: pd.DataFrame


def fit_throughput(measured: pd.DataFrame, *, board_share: float = 1.0) -> ThroughputFit:
    r"""Return the concave curve of throughput over power that is nearest to measured jobs.

    - ``measured``: One row a run: ``power_limit``, ``time_per_epoch`` and ``average_power``, each
      in any unit, and columns that identify the job, such as network and batch size.
    - ``board_share``: Share of the uncapped rack's power that the measured boards draw; the
      remaining power is assumed to be the same under any limit. [1]

    Raises ``SeriesError`` if a column is missing, a number is not positive, or the limits lowered
    no power.

    A job is compared with its own run at the greatest limit: :math:`w = t_u / t` and :math:`p = P /
    P_u`. The curve is :math:`w(p) = 1 - \sum_j b_j \max(k_j - p, 0)` with :math:`b_j \ge 0`,
    concave by construction. A linear program minimises the sum of distances from all pairs: a
    median curve, which single odd jobs do not bend. For a rack whose boards draw the share s, power
    is then :math:`1 - s (1 - p)`.

    References
    ----------
    .. [1] J. You, J.-W. Chung and M. Chowdhury, "Zeus: Understanding and Optimizing GPU Energy
       Consumption of DNN Training," in *20th USENIX Symposium on Networked Systems Design and
       Implementation (NSDI)*, 2023, pp. 119-139.
    """
    shares = relative_to_uncapped(measured)
    power, work = shares["power"].to_numpy(), shares["work"].to_numpy()
    knots = np.append(CURVE_KNOTS[power.min() + MIN_POINT_DISTANCE < CURVE_KNOTS], 1.0)
    hinges = np.maximum(knots - power[:, None], 0.0)
    bends = _fit_hinge_weights(hinges, 1.0 - work)
    distance = work - 1.0 + hinges @ bends
    groups = shares.groupby("power_limit")
    medians = groups[["work", "power", "energy"]].median().assign(jobs=groups.size())
    return ThroughputFit(
        throughput=_curve(knots, bends, lowest=float(power.min()), board_share=board_share),
        mean_distance=float(np.abs(distance).mean()),
        root_mean_square=float(np.sqrt(np.square(distance).mean())),
        medians=medians,
    )


def relative_to_uncapped(measured: pd.DataFrame) -> pd.DataFrame:
    """Return each run relative to the run of the same job at the greatest limit of the file.

    Columns: ``power_limit`` as in the file; ``work``, ``power`` and ``energy`` per work [1]. It
    raises errors as :func:`fit_throughput` does.
    """
    _check(measured)
    job = [str(name) for name in measured.columns if name not in MEASUREMENT_COLUMNS]
    table = measured.assign(job=measured.groupby(job).ngroup() if job else 0)
    is_uncapped = table["power_limit"] == table["power_limit"].max()
    uncapped = table[is_uncapped].groupby("job")[["time_per_epoch", "average_power"]].mean()
    pairs = table.merge(uncapped, on="job", suffixes=("", "_uncapped"))
    work = pairs["time_per_epoch_uncapped"] / pairs["time_per_epoch"]
    power = pairs["average_power"] / pairs["average_power_uncapped"]
    shares = pd.DataFrame(
        {"power_limit": pairs["power_limit"], "work": work, "power": power, "energy": power / work}
    )
    if is_uncapped.all() or not shares["power"].min() < 1.0 - MIN_POINT_DISTANCE:
        raise SeriesError.single(
            "measurements",
            IssueCode.INCONSISTENT,
            "power_limit",
            found="no lower power under a limit",
            expected="jobs that draw less under a limit than at the greatest one",
            remedy="add measurements under lower limits",
        )
    return shares


def _check(measured: pd.DataFrame) -> None:
    issues = missing_column_issues(measured.columns, MEASUREMENT_COLUMNS)
    is_complete = not issues
    for name in set(MEASUREMENT_COLUMNS) & set(measured.columns):
        values = pd.to_numeric(measured[name], errors="coerce").to_numpy(dtype=float)
        wrong = ~(np.isfinite(values) & (values > 0.0))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            issues.append(
                IssueCode.OUT_OF_RANGE.issue(
                    f"{name}, row {row + 1}",
                    found=repr(measured[name].iloc[row]),
                    expected="a number above 0",
                    remedy="correct the value",
                )
            )
    if is_complete and measured.empty:
        issues.append(
            IssueCode.MISSING.issue(
                "rows",
                found="0",
                expected="at least one measurement",
                remedy="give a file with measurements",
            )
        )
    SeriesError.raise_if_any("measurements", issues)


def _fit_hinge_weights(hinges: FloatArray, lost: FloatArray) -> FloatArray:
    """Return the non-negative hinge weights nearest to the lost throughput."""
    runs, bends = hinges.shape
    unit = np.eye(runs)
    cost = np.concatenate([np.zeros(bends), np.ones(2 * runs)])
    found = linprog(cost, A_eq=np.hstack([hinges, unit, -unit]), b_eq=lost, method="highs")
    return np.asarray(found.x)[:bends]


def _curve(
    knots: FloatArray, bends: FloatArray, *, lowest: float, board_share: float
) -> Throughput:
    """Return the curve with a point at each bend, from the lowest power or from zero work on."""
    bend_knots = knots[(bends > MIN_SLOPE_CHANGE) & (knots < 1.0)]
    points = np.concatenate([[lowest], bend_knots, [1.0]])
    work = 1.0 - np.maximum(knots - points[:, None], 0.0) @ bends
    if work[0] < 0.0:
        slope = (work[1] - work[0]) / (points[1] - points[0])
        points[0], work[0] = points[1] - work[1] / slope, 0.0
    points = 1.0 - board_share * (1.0 - points)
    return Throughput(
        power_points=tuple(np.round(points, CURVE_DECIMALS).tolist()),
        work_points=tuple(np.round(work, CURVE_DECIMALS).tolist()),
    )
