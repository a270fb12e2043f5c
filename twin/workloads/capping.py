"""Keep a limit of power: lower the caps of running jobs, then drop the laxest."""

import numpy as np
from numpy.typing import NDArray

from twin.physics import FloatArray
from twin.workloads.queue import Queue, rates


def work_power(queue: Queue, caps: FloatArray) -> float:
    """Return the power above idle of all jobs that run. [MW]

    Parameters
    ----------
    queue
        The jobs.
    caps
        Cap of each job, 0 for those that wait. [1]
    """
    on = caps > 0
    return float(queue.jobs.racks[on] @ queue.pool.power(caps[on]))


def lasting_power(queue: Queue, caps: FloatArray, hours: float) -> float:
    """Return the power above idle that is sure to be drawn all through an interval. [MW]

    Parameters
    ----------
    queue
        The jobs.
    caps
        Cap of each job, 0 for those that wait. [1]
    hours
        Length of the interval. [h]

    Notes
    -----
    A job that is completed inside it draws nothing after that, and none takes its place there.
    """
    lasts = queue.rest >= rates(queue, caps) * hours
    return work_power(queue, np.where(lasts, caps, 0.0))


def under(queue: Queue, caps: FloatArray, limit: float, *, kept: NDArray[np.bool_]) -> FloatArray:
    """Return caps that keep a limit of power, some jobs being kept as they are.

    Parameters
    ----------
    queue
        The jobs.
    caps
        Cap of each job, 0 for those that wait. [1]
    limit
        Greatest power above idle of all jobs. [MW]
    kept
        Which jobs are not touched.

    Returns
    -------
    numpy.ndarray
        Caps, lowered as far as each kind tolerates, or to the cap that a job runs at already if
        that is lower; then the laxest jobs are dropped. [1]
    """
    caps = caps.copy()
    tolerated = np.minimum(queue.each("least_power"), np.where(queue.running, queue.caps, 1.0))
    least = np.where(kept, caps, np.minimum(tolerated, caps))
    laxest = np.argsort(-queue.laxity, kind="stable")
    for job in [None, *laxest[(caps > 0)[laxest] & ~kept[laxest]].tolist()]:
        if job is not None:
            caps[job] = least[job] = 0.0
        full, low = work_power(queue, caps), work_power(queue, least)
        if full <= limit:
            break
        if low <= limit:
            return np.asarray(least + (limit - low) / (full - low) * (caps - least))
    return caps
