"""Cooling degree days of a run, by Eurostat."""

from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from twin.axes import HOUR, local_midnight

HOT: Final = 24.0
"""Mean of a day from which on it has cooling degrees: all above :data:`COOL`. [degC]"""

COOL: Final = 21.0
"""Temperature from which cooling degrees are counted. [degC]"""


def cooling_degree_days(run: xr.Dataset, time_zone: str) -> float:
    """Return the cooling degree days: of days of 24 degC and more, what lies above 21 degC. [K d]

    Days are those of the calendar where the site stands; one that is told in part counts in part.

    Parameters
    ----------
    run
        With ``air_temperature`` [degC] on ``time`` with ``duration``. [h]
    time_zone
        IANA zone of the site.
    """
    local = pd.DatetimeIndex(run["time"].to_numpy()).tz_localize("UTC").tz_convert(time_zone)
    days, day = np.unique(local.tz_localize(None).normalize(), return_inverse=True)
    edges = [
        [local_midnight(pd.Timestamp(one) + pd.DateOffset(days=n), time_zone) for n in (0, 1)]
        for one in days
    ]
    length = run["duration"].to_numpy()
    told = np.bincount(day, weights=length)
    mean = np.bincount(day, weights=length * run["air_temperature"].to_numpy()) / told
    whole = np.diff(np.array(edges), axis=1)[:, 0] / HOUR
    return float(np.where(mean >= HOT, (mean - COOL) * told / whole, 0.0).sum())
