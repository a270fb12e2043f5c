"""Model what a weather file lacks from what it has."""

import numpy as np
import pandas as pd


def global_irradiance(
    cloud_cover: np.ndarray, middle: np.ndarray, *, latitude: float, longitude: float
) -> np.ndarray:
    r"""Estimate the global horizontal irradiance under clouds.

    Parameters
    ----------
    cloud_cover
        Share of the sky covered. [1]
    middle
        Middles of the intervals. [datetime64, UTC]
    latitude, longitude
        North and east. [deg]

    Returns
    -------
    numpy.ndarray
        Means over the intervals, roughly; NaN where the cover is not known. [W m-2]

    Notes
    -----
    .. math:: G = (910 \sin\gamma - 30) (1 - 0.75 N^{3.4})

    with the sun's elevation :math:`\gamma` and the cover :math:`N`; fitted to ten years of hourly
    values of Hamburg, so good for climates like it and not for single hours.

    References
    ----------
    .. [1] F. Kasten and G. Czeplak, "Solar and terrestrial radiation dependent on the amount and
       type of cloud," Solar Energy, vol. 24, no. 2, pp. 177-189, 1980.
       doi:10.1016/0038-092X(80)90391-6
    """
    import pvlib  # noqa: PLC0415 (takes a second, seldom needed)

    is_seen = np.isfinite(cloud_cover)  # a hole in a file may be years long
    known = pd.DatetimeIndex(middle[is_seen], tz="UTC")
    sun = pvlib.solarposition.spa_python(known, latitude, longitude)
    sine = np.sin(np.radians(sun["elevation"].to_numpy()))
    clear = np.maximum(910.0 * sine - 30.0, 0.0)
    found = np.full(len(cloud_cover), np.nan)
    found[is_seen] = clear * (1.0 - 0.75 * cloud_cover[is_seen] ** 3.4)
    return found


def relative_humidity(air_temperature: np.ndarray, start: np.ndarray) -> np.ndarray:
    r"""Estimate humidity where only temperature is known: the dew point is the day's minimum.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    start
        Starts of the intervals. [datetime64, UTC]

    Returns
    -------
    numpy.ndarray
        Relative humidity. [1]

    Notes
    -----
    .. math:: e(T) = 0.6108 \exp \frac{17.27 T}{T + 237.3}, \quad \varphi = e(T_{min}) / e(T)

    Too moist in dry climates, by a few kelvin of dew point.

    References
    ----------
    .. [1] R. G. Allen et al., "Crop evapotranspiration," FAO Irrigation and Drainage Paper 56,
       equations 11 and 48, 1998.
    """
    temperature = pd.Series(air_temperature)
    lowest = temperature.groupby(start.astype("datetime64[D]")).transform("min").to_numpy()

    def vapour(degrees: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(17.27 * degrees / (degrees + 237.3)))

    return np.asarray(vapour(lowest) / vapour(air_temperature))
