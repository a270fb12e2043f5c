"""The twin's physics as convex segments: for each machine and interval, never below the curve.

The physics is sampled on a grid over the outputs that can occur. The lead draw is replaced by its
lower convex hull, break points are set where the greatest error is least, and every draw is lifted
until no line lies below its curve. What that costs in truth is recorded as the error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.reach import Reach
from twin.physics import FloatArray
from twin.relations import Convert
from twin.weather import Weather

SAMPLES: Final = 13
"""Points at which the physics is asked for each interval. [1]"""

MOST_SEGMENTS: Final = 4
"""Most segments of a curve. [1]"""

GOOD_ENOUGH: Final = 5e-4
"""Error, as a share of the greatest draw, at which no further segment is added. [1]"""

LEAST_WIDTH: Final = 1e-6
"""Range of outputs below which a curve is a point. [MW]"""


@dataclass(frozen=True, kw_only=True)
class Segments:
    """One conversion as segments that are filled from the left.

    Attributes
    ----------
    low
        Output with all segments empty, ``(time,)``. [MW]
    width
        Lengths of the segments, ``(time, segment)``. [MW]
    offset
        Carrier -> draw at ``low``, ``(time,)``. [MW; m3 h-1 for water]
    slope
        Carrier -> draw per output, ``(time, segment)``. [1; m3 MWh-1 for water]
    error
        Carrier -> most by which the lines lie above the curve, ``(time,)``. [MW; m3 h-1]
    """

    low: FloatArray
    width: FloatArray
    offset: Mapping[str, FloatArray]
    slope: Mapping[str, FloatArray]
    error: Mapping[str, FloatArray]

    def draw(self, carrier: str, output: FloatArray) -> FloatArray:
        """Return what is drawn at an output when the segments are filled in order.

        Parameters
        ----------
        carrier
            Carrier drawn.
        output
            What is delivered, ``(time,)``. [MW]

        Returns
        -------
        numpy.ndarray
            The draw. [MW; m3 h-1 for water]
        """
        return self.offset[carrier] + (self.slope[carrier] * self.fill(output)).sum(axis=1)

    def fill(self, output: FloatArray) -> FloatArray:
        """Return segments filled in order up to an output, ``(time, segment)``. [MW]"""
        before = np.cumsum(self.width, axis=1) - self.width
        return np.clip((output - self.low)[:, None] - before, 0.0, self.width)

    def mean_slope(self, carrier: str) -> FloatArray:
        """Return the draw per output over the whole range, ``(time,)``. [1; m3 MWh-1 for water]"""
        rise = (self.slope[carrier] * self.width).sum(axis=1)
        return rise / np.maximum(self.width.sum(axis=1), LEAST_WIDTH)


def lay(convert: Convert, weather: Weather, *, reach: Reach) -> Segments:
    """Lay segments over a conversion in the weather of every interval.

    Parameters
    ----------
    convert
        The conversion; its lead draw is made convex.
    weather
        Outdoor air on ``time``.
    reach
        Outputs that can occur.

    Returns
    -------
    Segments
        As few as keep the error small, at most :data:`MOST_SEGMENTS`.
    """
    grid = reach.grid(SAMPLES)
    draws = convert.physics(grid, weather).draws
    values = {c: np.broadcast_to(draws[c], grid.shape).astype(float) for c in convert.draws}
    hull = _lower_hull(grid, values[convert.lead])
    places = _break_points(grid, hull)
    at = np.take_along_axis(grid, places, axis=0)
    width = np.diff(at, axis=0)
    offset, slope, error = {}, {}, {}
    for carrier, curve in values.items():
        drawn = np.take_along_axis(hull if carrier == convert.lead else curve, places, axis=0)
        slope[carrier] = (np.diff(drawn, axis=0) / np.maximum(width, LEAST_WIDTH)).T
        lift, error[carrier] = _lift(grid, curve, at=at, drawn=drawn)
        offset[carrier] = drawn[0] + lift
    return Segments(low=at[0], width=width.T, offset=offset, slope=slope, error=error)


def _lower_hull(grid: FloatArray, curve: FloatArray) -> FloatArray:
    """Return the greatest convex function below sampled curves, on the same ``(sample, time)``."""
    if (np.diff(curve, 2, axis=0) >= 0.0).all():
        return curve
    hull = curve.copy()
    for i, j in combinations(range(len(grid)), 2):
        inside = slice(i + 1, j)
        share = np.linspace(0.0, 1.0, j - i + 1)[1:-1, None]
        hull[inside] = np.minimum(hull[inside], curve[i] + share * (curve[j] - curve[i]))
    return hull


def _break_points(grid: FloatArray, curve: FloatArray) -> NDArray[np.int64]:
    """Return the samples ``(point, time)`` between which chords of a convex curve err least."""
    last, count = len(grid) - 1, grid.shape[1]
    miss = {}
    for i, j in combinations(range(last + 1), 2):
        share = np.linspace(0.0, 1.0, j - i + 1)[:, None]
        chord = curve[i] + share * (curve[j] - curve[i])
        miss[i, j] = (chord - curve[i : j + 1]).max(axis=0)
    small = GOOD_ENOUGH * np.abs(curve).max()
    for segments in range(1, MOST_SEGMENTS + 1):
        choices = [(0, *inner, last) for inner in combinations(range(1, last), segments - 1)]
        worst = np.stack([np.max([miss[pair] for pair in pairwise(c)], axis=0) for c in choices])
        best = worst.argmin(axis=0)
        if worst[best, np.arange(count)].max() <= small:
            break
    return np.array(choices)[best].T


def _lift(
    grid: FloatArray, curve: FloatArray, *, at: FloatArray, drawn: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return how far lines must rise to lie nowhere below a curve, and how far they then miss it.

    Between two samples a curve may bulge beyond what the samples show: by no more than a quarter
    of the change of slope seen at both, if it bends one way there.
    """
    lines = np.stack(
        [np.interp(grid[:, t], at[:, t], drawn[:, t]) for t in range(grid.shape[1])], axis=1
    )
    bend = np.zeros_like(curve)
    bend[1:-1] = np.diff(curve, 2, axis=0)
    up = (np.maximum(-bend[1:], 0.0) + np.maximum(-bend[:-1], 0.0)).max(axis=0) / 4.0
    down = (np.maximum(bend[1:], 0.0) + np.maximum(bend[:-1], 0.0)).max(axis=0) / 4.0
    lift = np.maximum((curve - lines).max(axis=0), 0.0) + up
    return lift, (lines - curve).max(axis=0) + lift + down
