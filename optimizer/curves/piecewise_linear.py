"""The twin's physics as convex segments: for each machine and interval, never below the curve.

The physics is sampled (:mod:`optimizer.curves.operating_range`). The lead draw is replaced by its
lower convex hull, break points are set where the greatest error is least, and every draw is lifted
until no line lies below its curve; what that costs in truth is recorded as the error. What cannot
occur is then cut off. Of a curve with steps, such as machines that switch on, two steps between two
samples look like one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.curves.operating_range import SAMPLE_POINTS, CurveSamples, OperatingRange
from twin.physics import FloatArray
from twin.relations import Convert

MAX_SEGMENTS: Final = 4
"""Most segments of a curve. [1]"""

CURVE_ERROR_TARGET: Final = 3e-4
"""Error, as a share of the greatest draw, at which no further segment is added. [1]"""

UNBOUNDED_SLOPE_FACTOR: Final = 1e9
"""Stands for an endless change of slope at the end of a range. [1]"""

DRAW_TOLERANCE: Final = 1e-12
"""Share of a draw that is no difference. [1]"""

MIN_OUTPUT_RANGE_MW: Final = 1e-6
"""Range of outputs below which a curve is a point. [MW]"""

_UP_TO: Final = {
    count: np.tril(np.ones((count, count), dtype=bool))[:, :, None]
    for count in range(1, len(SAMPLE_POINTS))
}
"""Number of later samples -> where a sample lies before the end of a line or at it."""

_LAST: Final = len(SAMPLE_POINTS) - 1

_CHOICES: Final = tuple(
    np.array([(0, *inner, _LAST) for inner in combinations(range(1, _LAST), segments - 1)])
    for segments in range(1, MAX_SEGMENTS + 1)
)
"""Samples at which one, two, ... segments may meet, ``(choice, point)``."""


@dataclass(frozen=True, kw_only=True)
class ConvexSegments:
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
    mean_slope
        Carrier -> draw per output over all that the lines were laid on, backward outputs left out,
        ``(time,)``. [1; m3 MWh-1 for water]
    error
        Carrier -> most by which the lines lie above the curve, ``(time,)``. [MW; m3 h-1]
    """

    low: FloatArray
    width: FloatArray
    offset: Mapping[str, FloatArray]
    slope: Mapping[str, FloatArray]
    mean_slope: Mapping[str, FloatArray]
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

    def restricted(self, low: FloatArray, high: FloatArray) -> "ConvexSegments":
        """Return the same lines from one output to another, within these, ``(time,)``. [MW]

        Segments that lie below in every interval are left out; those above stay, without width.
        """
        under = self.fill(low)
        width = self.fill(high) - under
        (used,) = np.nonzero((width > 0.0).any(axis=0))
        kept = slice(used[0] if len(used) else -1, None)
        return ConvexSegments(
            low=self.low + under.sum(axis=1),
            width=width[:, kept],
            offset={c: self.draw(c, low) for c in self.offset},
            slope={c: slope[:, kept] for c, slope in self.slope.items()},
            mean_slope=self.mean_slope,
            error=self.error,
        )

    def secant(self, carrier: str) -> FloatArray:
        """Return the slope from end to end of the segments, ``(time,)``. [1; m3 MWh-1 for water]"""
        rise = (self.slope[carrier] * self.width).sum(axis=1)
        return np.asarray(rise / np.maximum(self.width.sum(axis=1), MIN_OUTPUT_RANGE_MW))

    def append(self, right: "ConvexSegments") -> "ConvexSegments":
        """Return these lines and, from their end on, those of another, none of them lower."""
        end = self.low + self.width.sum(axis=1)
        gap = {c: right.offset[c] - self.draw(c, end) for c in self.offset}
        return ConvexSegments(
            low=self.low,
            width=np.concatenate([self.width, right.width], axis=1),
            offset={c: self.offset[c] + np.maximum(gap[c], 0.0) for c in self.offset},
            slope={c: np.concatenate([s, right.slope[c]], axis=1) for c, s in self.slope.items()},
            mean_slope=right.mean_slope,
            error={
                c: np.maximum(e, right.error[c]) + np.abs(gap[c]) for c, e in self.error.items()
            },
        )

    def at_intervals(self, rows: slice) -> "ConvexSegments":
        """Return the segments of some of the intervals."""
        maps = (self.offset, self.slope, self.mean_slope, self.error)
        offset, slope, mean, error = ({c: v[rows] for c, v in one.items()} for one in maps)
        return ConvexSegments(
            low=self.low[rows],
            width=self.width[rows],
            offset=offset,
            slope=slope,
            mean_slope=mean,
            error=error,
        )


def fit_piecewise_linear(convert: Convert, reach: OperatingRange) -> ConvexSegments:
    """Lay segments over a conversion in every interval.

    Parameters
    ----------
    convert
        The conversion; its lead draw is made convex.
    reach
        Outputs that can occur, and what is drawn there.

    Returns
    -------
    ConvexSegments
        As few as keep the error small, at most :data:`MAX_SEGMENTS`.
    """
    lines, *others = (_fit_range(convert.primary_input, asked) for asked in reach.samples)
    for right in others:
        lines = lines.append(right)
    return lines.restricted(reach.low, reach.high)


def _fit_range(carrier: str, asked: CurveSamples) -> ConvexSegments:
    """Lay segments over all outputs that were asked; a lead draw is made convex."""
    grid, lead = asked.outputs, asked.draws[carrier]
    chords = _chords(lead)
    hull = _lower_hull(lead, chords)
    is_convex = np.allclose(hull, lead, rtol=DRAW_TOLERANCE, atol=0.0)
    places = _break_points(hull, chords if is_convex else _chords(hull))
    at = np.take_along_axis(grid, places, axis=0)
    width = np.diff(at, axis=0)
    offset, slope, mean, error = {}, {}, {}, {}
    for drawn, curve in asked.draws.items():
        ends = np.take_along_axis(hull if drawn == carrier else curve, places, axis=0)
        rise = np.diff(ends, axis=0) / np.maximum(width, MIN_OUTPUT_RANGE_MW)
        lines = ends[0] + rise[0] * (grid - at[0])
        for place, bend in zip(range(1, len(rise)), np.diff(rise, axis=0), strict=True):
            lines += bend * np.maximum(grid - at[place], 0.0)
        lift, error[drawn] = _upper_bound_shift(grid, curve, lines)
        slope[drawn], offset[drawn] = rise.T, ends[0] + lift
        mean[drawn] = (ends[-1] - ends[0]) / np.maximum(at[-1] - at[0], MIN_OUTPUT_RANGE_MW)
    return ConvexSegments(
        low=at[0], width=width.T, offset=offset, slope=slope, mean_slope=mean, error=error
    )


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
    for first in range(len(SAMPLE_POINTS) - 1):
        ahead = SAMPLE_POINTS[first + 1 :] - SAMPLE_POINTS[first]
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
    small = CURVE_ERROR_TARGET * np.abs(curve).max()
    for choices in _CHOICES:
        worst = miss[choices[:, :-1], choices[:, 1:]].max(axis=1)
        best = worst.argmin(axis=0)
        if worst[best, np.arange(count)].max() <= small:
            break
    return np.asarray(choices[best].T)


def _upper_bound_shift(
    grid: FloatArray, curve: FloatArray, lines: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return how far lines must rise to lie nowhere below a curve, and how far they then miss it.

    The lines bend at samples only, so between two samples they err most at one of them, but for
    the bulge of the curve itself.
    """
    gap = lines - curve
    lift = (_interpolation_error(grid, -curve) - np.minimum(gap[1:], gap[:-1])).max(axis=0)
    lift = np.maximum(lift, 0.0)
    return lift, (_interpolation_error(grid, curve) + np.maximum(gap[1:], gap[:-1])).max(
        axis=0
    ) + lift


def _interpolation_error(grid: FloatArray, curve: FloatArray) -> FloatArray:
    """Return how far a curve may lie below its chords between samples, ``(cell, time)``.

    If its slope changes by a at the sample before a cell of width h and by b at the one after, one
    bend inside explains both and lies h a b / (a + b) deep. Of a cell at the end only one is known.
    Changes of unlike sign are a step inside, as deep as the greater.
    """
    width = np.maximum(np.diff(grid, axis=0), MIN_OUTPUT_RANGE_MW)
    turn = np.diff(np.diff(curve, axis=0) / width, axis=0)
    before = np.concatenate([UNBOUNDED_SLOPE_FACTOR * turn[:1], turn])
    after = np.concatenate([turn, UNBOUNDED_SLOPE_FACTOR * turn[-1:]])
    is_bend = (before > 0.0) & (after > 0.0)
    bend = before * after / np.where(is_bend, before + after, 1.0)
    step = np.maximum(np.maximum(before, after), 0.0)
    return np.asarray(width * np.where(is_bend, bend, step))
