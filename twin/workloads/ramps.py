"""Sums of very many ramps at few instants: what jobs can have done, must have done, may occupy."""

import numpy as np

from twin.physics import FloatArray
from twin.workloads.jobs import IntArray


def ramps(
    hours: FloatArray,
    *,
    begin: FloatArray,
    length: FloatArray,
    slope: FloatArray,
    place: IntArray,
    count: int,
) -> FloatArray:
    r"""Return the sums of ramps that rise from a begin on for a length, and then stay.

    Parameters
    ----------
    hours
        Where the sums are asked, never falling. [h]
    begin, length
        Of each ramp. [h]
    slope
        Rise of each in an hour. [any unit per hour]
    place
        Row of each.
    count
        Number of rows. [1]

    Returns
    -------
    numpy.ndarray
        :math:`\sum_j s_j \min(\max(t - b_j, 0), l_j)`, ``(row, hours)``. [the slope's unit times h]

    Notes
    -----
    Each is a rise at its begin less one at its end, and rises that have begun sum to
    :math:`t \sum s - \sum s b`: of 10,000 jobs over a week in a hundredth of the time of a table
    of jobs by instants.
    """
    ends = begin + length
    edges = np.concatenate([begin, ends])
    slopes = np.concatenate([slope, -slope])
    columns = len(hours) + 1
    cell = np.tile(place, 2) * columns + np.searchsorted(hours, edges)
    size = count * columns

    def begun(weight: FloatArray) -> FloatArray:
        cells = np.bincount(cell, weight, minlength=size).reshape(count, columns)
        return np.cumsum(cells[:, :-1], axis=1)

    return np.asarray(hours * begun(slopes) - begun(slopes * edges))


def presence(spent: FloatArray, edges: FloatArray) -> FloatArray:
    """Return how much there is on the mean between edges of what is there for a time.

    Parameters
    ----------
    spent
        :func:`ramps` at the edges: each begins when it comes, and rises by how much it is for as
        long as it stays.
    edges
        Edges of the intervals, rising. [h]

    Returns
    -------
    numpy.ndarray
        Never below 0, ``(row, interval)``. [the slope's unit]
    """
    return np.maximum(np.diff(spent, axis=1) / np.diff(edges), 0.0)  # they round below 0
