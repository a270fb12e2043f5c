"""Which jobs must run, which had better, and in what order racks are given out."""

import numpy as np
from numpy.typing import NDArray

from twin.workloads.queue import Queue


def pressing(queue: Queue, hours: float) -> NDArray[np.bool_]:
    """Return which jobs must run in the coming interval, planned or not.

    Parameters
    ----------
    queue
        The jobs.
    hours
        Length of the interval. [h]

    Returns
    -------
    numpy.ndarray
        True for jobs that would be late if they waited, that a pause would make late, or that
        have not yet run for their minimum.
    """
    young = begun(queue)
    spent = queue.running & (queue.laxity < hours + queue.each("pause_loss"))
    return (queue.laxity < hours) | young | spent


def begun(queue: Queue) -> NDArray[np.bool_]:
    """Return which jobs run and have not yet run for their minimum."""
    return np.asarray(queue.running & (queue.ran < queue.each("minimum_run")))


def due(queue: Queue, hours: float) -> NDArray[np.bool_]:
    """Return which jobs would have to run uncapped one day if they waited in the coming interval.

    Parameters
    ----------
    queue
        The jobs.
    hours
        Length of the interval. [h]
    """
    tolerance = queue.each("tolerance")
    return queue.laxity < hours + queue.rest * tolerance / (1.0 - tolerance)


def urgency(
    queue: Queue, must: NDArray[np.bool_], soon: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """Return the jobs, most urgent first.

    Parameters
    ----------
    queue
        The jobs.
    must
        Which must run, by :func:`pressing`.
    soon
        Which had better run, by :func:`due`; by default none.

    Notes
    -----
    First those that have not yet run for their minimum: it is promised, and others may wait. Then
    those that must run and can be in time, and running ones that must not be paused; then those
    that are due. Then those that are late whatever is done, shortest first, so that few stay late.
    Then running jobs that a pause throws back, then the others, each with the least laxity first.
    """
    young, costly = begun(queue), queue.running & (queue.each("pause_loss") > 0)
    late = (queue.laxity < 0) & ~costly
    is_due = np.zeros_like(late) if soon is None else soon
    groups = [young, must & ~late, is_due & ~late, late, costly]
    rank = np.select(groups, range(len(groups)), default=len(groups))
    return np.lexsort((np.where(late, queue.rest, queue.laxity), rank))
