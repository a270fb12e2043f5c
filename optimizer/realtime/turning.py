"""How a plant turns from one interval of a plan to the next, and what its meter makes of that."""

import numpy as np

from twin.physics import FloatArray
from twin.simulation.limits import SET_POINT_TRANSITION_MIN
from twin.time_axes import METERING_PERIOD_MIN


def mean_way(span: float, over: float = SET_POINT_TRANSITION_MIN) -> float:
    """Return the mean share made of a way in the time since it began.

    Parameters
    ----------
    span
        That time. [min]
    over
        Time that the whole way takes. [min]
    """
    return span / (2.0 * over) if span <= over else 1.0 - over / (2.0 * span)


def metered(setpoints: FloatArray, *, before: float, since: float = 0.0) -> FloatArray:
    """Return the means that a meter shows of quarter-hours towards whose set points a plant turns.

    Parameters
    ----------
    setpoints
        Net import that the plant has reached ten minutes after it began to turn, and keeps until
        the end of the quarter-hour, ``(time,)``. [MW]
    before
        Net import when it begins to turn towards the first. [MW]
    since
        How much of the first quarter-hour is over then, at `before`. [min]

    Returns
    -------
    numpy.ndarray
        Mean net import over each quarter-hour, ``(time,)``. [MW]

    Notes
    -----
    In full quarter-hours the mean is :math:`p_i - (p_i - p_{i-1}) / 3`. The turn takes as long as
    plans and verdicts count on (`twin.simulation.limits.SET_POINT_TRANSITION_MIN`); a plant that
    its ramp keeps from that is a little behind.
    """
    spans = np.full(len(setpoints), float(METERING_PERIOD_MIN))
    spans[:1] = np.clip(METERING_PERIOD_MIN - since, 0.0, METERING_PERIOD_MIN)
    means = np.empty(len(setpoints))
    begin = before
    for place, (goal, span) in enumerate(zip(setpoints.tolist(), spans.tolist(), strict=True)):
        means[place] = begin + (goal - begin) * mean_way(span) * span / METERING_PERIOD_MIN
        begin += (goal - begin) * min(span / SET_POINT_TRANSITION_MIN, 1.0)
    return means
