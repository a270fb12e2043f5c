"""How long electrical machines bear an overload."""

from typing import Final

import numpy as np

from twin.physics.numeric import FloatArray, Numeric

# Medium power transformers, ONAF (IEC 60076-7:2018, thermal characteristics and limits of emergency
# loading; read from memory of the standard: to be checked against the text).
_TOP_OIL_RISE: Final = 52.0  # K at rating
_HOT_SPOT_RISE: Final = 26.0  # K over top oil at rating: hot-spot factor 1.3 times gradient 20 K
_OIL_EXPONENT: Final = 0.8
_WINDING_EXPONENT: Final = 1.3
_OIL_LAG: Final = 0.5 * 150.0  # min: factor k11 times the time constant of the oil
_TOP_OIL_LIMIT: Final = 115.0  # degC
_HOT_SPOT_LIMIT: Final = 140.0  # degC
_MOST_LOAD: Final = 1.5  # of the rated current

# Usual data sheets of double-conversion UPS: load share up to which, and minutes. (assumption)
_UPS_LOADS: Final = np.array([1.0, 1.1, 1.25, 1.5])
_UPS_MINUTES: Final = np.array([np.inf, 10.0, 1.0, 1.0 / 6.0, 0.0])


def transformer_overload_time(
    load: Numeric, before: Numeric, *, air_temperature: Numeric, loss_ratio: float
) -> FloatArray:
    r"""Return how long an oil-immersed transformer bears a load.

    Parameters
    ----------
    load, before
        Apparent power over the rating, from now on and in the long time before, whichever way it
        flows. [1]
    air_temperature
        Outdoor air. [degC]
    loss_ratio
        Load loss at rating over no-load loss. [1]

    Returns
    -------
    numpy.ndarray
        Time until the oil or the hot spot reaches its emergency limit; infinite if never. [min]

    Notes
    -----
    Top oil stands :math:`52 [(1 + R K^2) / (1 + R)]^{0.8}` K above the air in the end and goes
    there with 75 min; the hot spot stands :math:`26 K^{1.3}` K above it, here at once, which is on
    the safe side. Limits are 115 degC, 140 degC and 1.5 times the rated current.

    References
    ----------
    .. [1] *Power transformers - Part 7: Loading guide for mineral-oil-immersed power
       transformers*, IEC 60076-7:2018.

    Examples
    --------
    >>> float(transformer_overload_time(1.0, 0.8, air_temperature=20.0, loss_ratio=5.0))
    inf
    """
    load = np.abs(np.asarray(load, dtype=np.float64))

    def oil(share: Numeric) -> FloatArray:
        losses = (1.0 + loss_ratio * np.asarray(share) ** 2) / (1.0 + loss_ratio)
        return np.asarray(_TOP_OIL_RISE * losses**_OIL_EXPONENT)

    spot = _HOT_SPOT_RISE * load**_WINDING_EXPONENT
    room = np.minimum(_TOP_OIL_LIMIT, _HOT_SPOT_LIMIT - spot) - air_temperature
    begun, ended = oil(before), oil(load)
    span = np.where(ended > begun, ended - begun, 1.0)
    share = np.clip((room - begun) / span, 0.0, None)
    is_reached = (share < 1.0) & (ended > room)
    time = -_OIL_LAG * np.log1p(-np.where(is_reached, share, 0.0))
    return np.where(load > _MOST_LOAD, 0.0, np.where(is_reached, time, np.inf))


def ups_overload_time(load: Numeric) -> FloatArray:
    """Return how long a UPS bears a load before it goes over to bypass.

    Parameters
    ----------
    load
        Output over the rating of what is left of it. [1]

    Returns
    -------
    numpy.ndarray
        Time, infinite up to the rating: 10 min to 110 %, 1 min to 125 %, 10 s to 150 %. [min]
    """
    return np.asarray(_UPS_MINUTES[np.searchsorted(_UPS_LOADS, np.asarray(load), side="left")])
