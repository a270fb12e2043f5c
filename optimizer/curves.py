"""The twin's physics as convex segments: for each machine and interval, never below the curve.

The physics is sampled over the outputs that can occur (:mod:`optimizer.reach`). The lead draw is
replaced by its lower convex hull, break points are set where the greatest error is least, and every
draw is lifted until no line lies below its curve; what that costs in truth is recorded as the
error. Of a curve with steps, such as machines that switch on, two steps between two samples look
like one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.reach import SAMPLES, Reach
from twin.physics import FloatArray
from twin.relations import Convert

MOST_SEGMENTS: Final = 4
"""Most segments of a curve. [1]"""

GOOD_ENOUGH: Final = 5e-4
"""Error, as a share of the greatest draw, at which no further segment is added. [1]"""

UNKNOWN: Final = 1e9
"""Stands for an endless change of slope at the end of a range. [1]"""

ROUNDING: Final = 1e-12
"""Share of a draw that is no difference. [1]"""

LEAST_WIDTH: Final = 1e-6
"""Range of outputs below which a curve is a point. [MW]"""

_UP_TO: Final = {
    count: np.tril(np.ones((count, count), dtype=bool))[:, :, None]
    for count in range(1, len(SAMPLES))
}
"""Number of later samples -> where a sample lies before the end of a line or at it."""

_LAST: Final = len(SAMPLES) - 1

_CHOICES: Final = tuple(
    np.array([(0, *inner, _LAST) for inner in combinations(range(1, _LAST), segments - 1)])
    for segments in range(1, MOST_SEGMENTS + 1)
)
"""Samples at which one, two, ... segments may meet, ``(choice, point)``."""


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

    def take(self, rows: slice) -> "Segments":
        """Return the segments of some of the intervals."""
        maps = (self.offset, self.slope, self.error)
        offset, slope, error = ({c: v[rows] for c, v in one.items()} for one in maps)
        return Segments(
            low=self.low[rows], width=self.width[rows], offset=offset, slope=slope, error=error
        )

    def mean_slope(self, carrier: str) -> FloatArray:
        """Return the draw per output over the whole range, ``(time,)``. [1; m3 MWh-1 for water]"""
        rise = (self.slope[carrier] * self.width).sum(axis=1)
        return rise / np.maximum(self.width.sum(axis=1), LEAST_WIDTH)


def lay(convert: Convert, reach: Reach) -> Segments:
    """Lay segments over a conversion in every interval.

    Parameters
    ----------
    convert
        The conversion; its lead draw is made convex.
    reach
        Outputs that can occur, and what is drawn there.

    Returns
    -------
    Segments
        As few as keep the error small, at most :data:`MOST_SEGMENTS`.
    """
    grid = reach.outputs
    lead = reach.draws[convert.lead]
    chords = _chords(lead)
    hull = _lower_hull(lead, chords)
    is_convex = np.allclose(hull, lead, rtol=ROUNDING, atol=0.0)
    places = _break_points(hull, chords if is_convex else _chords(hull))
    at = np.take_along_axis(grid, places, axis=0)
    width = np.diff(at, axis=0)
    offset, slope, error = {}, {}, {}
    for carrier, curve in reach.draws.items():
        drawn = np.take_along_axis(hull if carrier == convert.lead else curve, places, axis=0)
        rise = np.diff(drawn, axis=0) / np.maximum(width, LEAST_WIDTH)
        lines = drawn[0] + rise[0] * (grid - at[0])
        for place, bend in zip(range(1, len(rise)), np.diff(rise, axis=0), strict=True):
            lines += bend * np.maximum(grid - at[place], 0.0)
        lift, error[carrier] = _lift(grid, curve, lines)
        slope[carrier], offset[carrier] = rise.T, drawn[0] + lift
    return Segments(low=at[0], width=width.T, offset=offset, slope=slope, error=error)


def _lower_hull(curve: FloatArray, chords: list[FloatArray]) -> FloatArray:
    """Return the greatest convex function below sampled curves, on the same ``(sample, time)``."""
    hull = curve.copy()
    for first, lines in enumerate(chords):
        lowest = np.where(_UP_TO[len(lines)], lines, np.inf).min(axis=0)
        hull[first + 1 :] = np.minimum(hull[first + 1 :], lowest)
    return hull


def _chords(curve: FloatArray) -> list[FloatArray]:
    """Return the lines from each sample through each later one, at all later samples.

    Returns
    -------
    list of numpy.ndarray
        First sample -> lines, ``(end, sample, time)``.
    """
    found = []
    for first in range(len(SAMPLES) - 1):
        ahead = SAMPLES[first + 1 :] - SAMPLES[first]
        slope = (curve[first + 1 :] - curve[first]) / ahead[:, None]
        found.append(curve[first] + slope[:, None] * ahead[:, None])
    return found


def _break_points(curve: FloatArray, chords: list[FloatArray]) -> NDArray[np.int64]:
    """Return the samples ``(point, time)`` between which chords of a convex curve err least."""
    count = curve.shape[1]
    miss = np.zeros((_LAST, _LAST + 1, count))
    for first, lines in enumerate(chords):
        over = np.where(_UP_TO[len(lines)], lines - curve[first + 1 :], 0.0)
        miss[first, first + 1 :] = over.max(axis=1)
    small = GOOD_ENOUGH * np.abs(curve).max()
    for choices in _CHOICES:
        worst = miss[choices[:, :-1], choices[:, 1:]].max(axis=1)
        best = worst.argmin(axis=0)
        if worst[best, np.arange(count)].max() <= small:
            break
    return np.asarray(choices[best].T)


def _lift(grid: FloatArray, curve: FloatArray, lines: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return how far lines must rise to lie nowhere below a curve, and how far they then miss it.

    The lines bend at samples only, so between two samples they err most at one of them, but for
    the bulge of the curve itself.
    """
    gap = lines - curve
    lift = (_bulge(grid, -curve) - np.minimum(gap[1:], gap[:-1])).max(axis=0)
    lift = np.maximum(lift, 0.0)
    return lift, (_bulge(grid, curve) + np.maximum(gap[1:], gap[:-1])).max(axis=0) + lift


def _bulge(grid: FloatArray, curve: FloatArray) -> FloatArray:
    """Return how far a curve may lie below its chords between samples, ``(cell, time)``.

    If its slope changes by a at the sample before a cell of width h and by b at the one after, one
    bend inside explains both and lies h a b / (a + b) deep. Of a cell at the end only one is known.
    Changes of unlike sign are a step inside, as deep as the greater.
    """
    width = np.maximum(np.diff(grid, axis=0), LEAST_WIDTH)
    turn = np.diff(np.diff(curve, axis=0) / width, axis=0)
    before = np.concatenate([UNKNOWN * turn[:1], turn])
    after = np.concatenate([turn, UNKNOWN * turn[-1:]])
    is_bend = (before > 0.0) & (after > 0.0)
    bend = before * after / np.where(is_bend, before + after, 1.0)
    step = np.maximum(np.maximum(before, after), 0.0)
    return np.asarray(width * np.where(is_bend, bend, step))
