"""Which jobs must run, which had better, and in what order racks are given out."""

import numpy as np
from numpy.typing import NDArray

from twin.workload.queue import JobQueue


def pressing(queue: JobQueue, hours: float) -> NDArray[np.bool_]:
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


def begun(queue: JobQueue) -> NDArray[np.bool_]:
    """Return which jobs run and have not yet run for their minimum."""
    return np.asarray(queue.running & (queue.ran < queue.each("minimum_run")))


def due(queue: JobQueue, hours: float) -> NDArray[np.bool_]:
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
    queue: JobQueue, must: NDArray[np.bool_], soon: NDArray[np.bool_] | None = None
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
    all that must run, shortest rest first: where not all of them find racks, an hour late costs a
    job its racks, and the weighted sum of completion times is least in the order of work over
    weight, rest times racks over racks [1]_. To finish long ones in time instead holds up many
    short ones. Then those that are due. Then running jobs that a pause throws back, then the
    others, each with the least laxity first.

    .. [1] W. E. Smith, "Various optimizers for single-stage production," Nav. Res. Logist. Q.,
       vol. 3, pp. 59-66, 1956.
    """
    young, costly = begun(queue), queue.running & (queue.each("pause_loss") > 0)
    is_due = np.zeros_like(must) if soon is None else soon
    groups = [young, must, is_due, costly]
    rank = np.select(groups, range(len(groups)), default=len(groups))
    return np.lexsort((np.where(must, queue.rest, queue.laxity), rank))
