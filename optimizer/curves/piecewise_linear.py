"""Convex piecewise linear curves of the twin's physics, never below the physics.

The primary draw of the samples (:mod:`optimizer.curves.operating_range`) is replaced by its lower
convex hull. Break points minimise the largest error. Each draw is then raised until no segment lies
below its curve; ``max_excess_over_curve`` records by how much segments lie above it. Finally the
curve is cut to the operating range. If a curve has steps, such as machines that
switch on, two steps between neighbouring samples look like one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.curves.operating_range import SAMPLE_POINTS, CurveSamples, OperatingRange
from twin.physics import FloatArray
from twin.relations import Conversion

MAX_SEGMENTS: Final = 4
"""Largest number of segments of a curve. [1]"""

CURVE_ERROR_TARGET: Final = 3e-4
"""Error, as a share of the largest draw, at which no further segment is added. [1]"""

UNBOUNDED_SLOPE_FACTOR: Final = 1e9
"""Factor that stands for an unbounded change of slope at the end of a range. [1]"""

DRAW_TOLERANCE: Final = 1e-12
"""Relative difference of draws that is ignored. [1]"""

MIN_OUTPUT_RANGE_MW: Final = 1e-6
"""Range of outputs below which a curve is a point. [MW]"""

_UP_TO: Final = {
    count: np.tril(np.ones((count, count), dtype=bool))[:, :, None]
    for count in range(1, len(SAMPLE_POINTS))
}
"""Number of later samples -> whether a sample lies before the end of a chord or at it."""

_LAST: Final = len(SAMPLE_POINTS) - 1

_CHOICES: Final = tuple(
    np.array([(0, *inner, _LAST) for inner in combinations(range(1, _LAST), segments - 1)])
    for segments in range(1, MAX_SEGMENTS + 1)
)
"""Samples at which one, two, ... segments may meet, ``(choice, point)``."""


@dataclass(frozen=True, kw_only=True)
class ConvexSegments:
    """One conversion as segments that are filled from the left.

    - `min_output`: output with all segments empty, ``(time,)``. [MW]
    - `segment_widths`: lengths of the segments, ``(time, segment)``. [MW]
    - `draw_at_min_output`: Carrier -> draw at ``min_output``, ``(time,)``. [MW; m3 h-1 for water]
    - `segment_slopes`: Carrier -> draw per output, ``(time, segment)``. [1; m3 MWh-1 for water]
    - `mean_slope`: Carrier -> mean draw per output over the forward sampled range, ``(time,)``. [1;
      m3 MWh-1 for water]
    - `max_excess_over_curve`: Carrier -> largest distance of segments above the curve, ``(time,)``.
      [MW; m3 h-1]
    """

    min_output: FloatArray
    segment_widths: FloatArray
    draw_at_min_output: Mapping[str, FloatArray]
    segment_slopes: Mapping[str, FloatArray]
    mean_slope: Mapping[str, FloatArray]
    max_excess_over_curve: Mapping[str, FloatArray]

    def draw(self, carrier: str, output: FloatArray) -> FloatArray:
        """Return the draw at an output [MW], with segments filled in order. [MW; m3 h-1 for
        water]
        """
        return self.draw_at_min_output[carrier] + (
            self.segment_slopes[carrier] * self.output_by_segment(output)
        ).sum(axis=1)

    def output_by_segment(self, output: FloatArray) -> FloatArray:
        """Return segments filled in order up to an output, ``(time, segment)``. [MW]"""
        before = np.cumsum(self.segment_widths, axis=1) - self.segment_widths
        return np.clip((output - self.min_output)[:, None] - before, 0.0, self.segment_widths)

    def restricted(self, low: FloatArray, high: FloatArray) -> "ConvexSegments":
        """Return the same curve between two outputs, ``(time,)``. [MW]

        Segments that lie below in every interval are removed; those above keep no width.
        """
        under = self.output_by_segment(low)
        width = self.output_by_segment(high) - under
        (used,) = np.nonzero((width > 0.0).any(axis=0))
        columns = slice(used[0] if len(used) else -1, None)
        return ConvexSegments(
            min_output=self.min_output + under.sum(axis=1),
            segment_widths=width[:, columns],
            draw_at_min_output={c: self.draw(c, low) for c in self.draw_at_min_output},
            segment_slopes={c: slope[:, columns] for c, slope in self.segment_slopes.items()},
            mean_slope=self.mean_slope,
            max_excess_over_curve=self.max_excess_over_curve,
        )

    def end_to_end_slope(self, carrier: str) -> FloatArray:
        """Return the slope from end to end of the segments, ``(time,)``. [1; m3 MWh-1 for water]"""
        rise = (self.segment_slopes[carrier] * self.segment_widths).sum(axis=1)
        return np.asarray(rise / np.maximum(self.segment_widths.sum(axis=1), MIN_OUTPUT_RANGE_MW))

    def continued_by(self, right: "ConvexSegments") -> "ConvexSegments":
        """Return the curve continued by another, raised where the other begins higher."""
        end = self.min_output + self.segment_widths.sum(axis=1)
        gap = {c: right.draw_at_min_output[c] - self.draw(c, end) for c in self.draw_at_min_output}
        return ConvexSegments(
            min_output=self.min_output,
            segment_widths=np.concatenate([self.segment_widths, right.segment_widths], axis=1),
            draw_at_min_output={
                c: self.draw_at_min_output[c] + np.maximum(gap[c], 0.0)
                for c in self.draw_at_min_output
            },
            segment_slopes={
                c: np.concatenate([s, right.segment_slopes[c]], axis=1)
                for c, s in self.segment_slopes.items()
            },
            mean_slope=right.mean_slope,
            max_excess_over_curve={
                c: np.maximum(e, right.max_excess_over_curve[c]) + np.abs(gap[c])
                for c, e in self.max_excess_over_curve.items()
            },
        )

    def at_intervals(self, rows: slice) -> "ConvexSegments":
        """Return the segments of some intervals."""
        maps = (
            self.draw_at_min_output,
            self.segment_slopes,
            self.mean_slope,
            self.max_excess_over_curve,
        )
        offset, slope, mean, error = ({c: v[rows] for c, v in one.items()} for one in maps)
        return ConvexSegments(
            min_output=self.min_output[rows],
            segment_widths=self.segment_widths[rows],
            draw_at_min_output=offset,
            segment_slopes=slope,
            mean_slope=mean,
            max_excess_over_curve=error,
        )


def fit_piecewise_linear(convert: Conversion, operating_range: OperatingRange) -> ConvexSegments:
    """Fit convex segments to a conversion in every interval.

    The number of segments is the smallest with a small error, at most :data:`MAX_SEGMENTS`.
    """
    lines, *others = (
        _fit_range(convert.primary_input, samples) for samples in operating_range.samples
    )
    for right in others:
        lines = lines.continued_by(right)
    return lines.restricted(operating_range.min_output, operating_range.max_output)


def _fit_range(carrier: str, samples: CurveSamples) -> ConvexSegments:
    """Fit segments to all sampled outputs; the primary draw is made convex."""
    grid, primary = samples.outputs, samples.draw_by_carrier[carrier]
    chords = _chords(primary)
    hull = _lower_hull(primary, chords)
    is_convex = np.allclose(hull, primary, rtol=DRAW_TOLERANCE, atol=0.0)
    places = _break_points(hull, chords if is_convex else _chords(hull))
    at = np.take_along_axis(grid, places, axis=0)
    width = np.diff(at, axis=0)
    offset, slope, mean, error = {}, {}, {}, {}
    for input_carrier, curve in samples.draw_by_carrier.items():
        ends = np.take_along_axis(hull if input_carrier == carrier else curve, places, axis=0)
        rise = np.diff(ends, axis=0) / np.maximum(width, MIN_OUTPUT_RANGE_MW)
        lines = ends[0] + rise[0] * (grid - at[0])
        for place, bend in zip(range(1, len(rise)), np.diff(rise, axis=0), strict=True):
            lines += bend * np.maximum(grid - at[place], 0.0)
        lift, error[input_carrier] = _upper_bound_shift(grid, curve, lines)
        slope[input_carrier], offset[input_carrier] = rise.T, ends[0] + lift
        mean[input_carrier] = (ends[-1] - ends[0]) / np.maximum(at[-1] - at[0], MIN_OUTPUT_RANGE_MW)
    return ConvexSegments(
        min_output=at[0],
        segment_widths=width.T,
        draw_at_min_output=offset,
        segment_slopes=slope,
        mean_slope=mean,
        max_excess_over_curve=error,
    )


def _lower_hull(curve: FloatArray, chords: list[FloatArray]) -> FloatArray:
    """Return the largest convex function below sampled curves, on the same ``(sample, time)``."""
    hull = curve.copy()
    for first, lines in enumerate(chords):
        lowest = np.where(_UP_TO[len(lines)], lines, np.inf).min(axis=0)
        hull[first + 1 :] = np.minimum(hull[first + 1 :], lowest)
    return hull


def _chords(curve: FloatArray) -> list[FloatArray]:
    """Return for each sample the chords to later samples, at all later samples ``(end, sample,
    time)``.
    """
    found = []
    for first in range(len(SAMPLE_POINTS) - 1):
        ahead = SAMPLE_POINTS[first + 1 :] - SAMPLE_POINTS[first]
        slope = (curve[first + 1 :] - curve[first]) / ahead[:, None]
        found.append(curve[first] + slope[:, None] * ahead[:, None])
    return found


def _break_points(curve: FloatArray, chords: list[FloatArray]) -> NDArray[np.int64]:
    """Return the samples ``(point, time)`` whose chords approximate a convex curve best."""
    count = curve.shape[1]
    chord_error = np.zeros((_LAST, _LAST + 1, count))
    for first, lines in enumerate(chords):
        over = np.where(_UP_TO[len(lines)], lines - curve[first + 1 :], 0.0)
        chord_error[first, first + 1 :] = over.max(axis=1)
    tolerance = CURVE_ERROR_TARGET * np.abs(curve).max()
    for choices in _CHOICES:
        worst = chord_error[choices[:, :-1], choices[:, 1:]].max(axis=1)
        best = worst.argmin(axis=0)
        if worst[best, np.arange(count)].max() <= tolerance:
            break
    return np.asarray(choices[best].T)


def _upper_bound_shift(
    grid: FloatArray, curve: FloatArray, lines: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return how far lines must rise to lie nowhere below a curve, and their error afterwards.

    Lines bend only at samples. Between samples their error is largest at one of them, apart from
    the curvature of the curve itself.
    """
    gap = lines - curve
    lift = (_interpolation_error(grid, -curve) - np.minimum(gap[1:], gap[:-1])).max(axis=0)
    lift = np.maximum(lift, 0.0)
    return lift, (_interpolation_error(grid, curve) + np.maximum(gap[1:], gap[:-1])).max(
        axis=0
    ) + lift


def _interpolation_error(grid: FloatArray, curve: FloatArray) -> FloatArray:
    """Return how far a curve may lie below its chords between samples, ``(cell, time)``.

    If the slope changes by a before a cell of width h and by b after it, one bend inside explains
    both; its depth is h a b / (a + b). At the ends only one change is known. Changes of opposite
    sign mean a step inside, as deep as the larger one.
    """
    width = np.maximum(np.diff(grid, axis=0), MIN_OUTPUT_RANGE_MW)
    turn = np.diff(np.diff(curve, axis=0) / width, axis=0)
    before = np.concatenate([UNBOUNDED_SLOPE_FACTOR * turn[:1], turn])
    after = np.concatenate([turn, UNBOUNDED_SLOPE_FACTOR * turn[-1:]])
    is_bend = (before > 0.0) & (after > 0.0)
    bend = before * after / np.where(is_bend, before + after, 1.0)
    step = np.maximum(np.maximum(before, after), 0.0)
    return np.asarray(width * np.where(is_bend, bend, step))
