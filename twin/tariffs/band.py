"""Band load watched through the year: hours of use so far, what they still need, what it is worth.

The discount goes by the year's energy over its greatest quarter-hour: one quarter-hour can lose it,
and so can a year of waiting for cheap hours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.axes import HOUR
from twin.physics import FloatArray
from twin.tariffs.declaration import Tariff, UtilisationPrices
from twin.tariffs.metered import Metered
from twin.tariffs.network import class_of, hours_of_use, prices_at
from twin.tariffs.periods import Moments, year_ends

_NONE: Final = 1e-6  # MWh


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Where a year of band load stands.

    Attributes
    ----------
    energy, peak
        Energy taken so far [MWh] and greatest import of the year [MW].
    hours
        Hours of use so far: energy over peak. [h]
    unseen
        Part of the year before the first quarter-hour, taken to be as the mean. [h]
    left
        Rest of the year. [h]
    expected
        Hours of use of the whole year if the rest is as the mean. [h]
    needed
        Hours of a class -> mean import of the rest that reaches it at the peak so far, and the
        least energy of the rule. [MW] Above the peak it cannot be reached.
    most_peak
        Hours of a class -> greatest peak at which the energy expected reaches it. [MW]
    charge
        Published network charge of the year expected. [EUR]
    worth
        Hours of a class -> what its discount takes off that. [EUR]
    reached
        Hours of the class that is expected; 0 if none is. [h]
    """

    energy: float
    peak: float
    hours: float
    unseen: float
    left: float
    expected: float
    needed: Mapping[float, float]
    most_peak: Mapping[float, float]
    charge: float
    worth: Mapping[float, float]
    reached: float


def watch(tariff: Tariff, starts: Moments, power: FloatArray, *, time_zone: str) -> Watch | None:
    """Return where the band load of a year stands after some quarter-hours.

    Parameters
    ----------
    tariff
        The tariff in force.
    starts
        Starts of the year's quarter-hours so far, UTC. [datetime64]
    power
        Mean import less export in each. [MW]
    time_zone
        IANA zone of the site.

    Returns
    -------
    Watch or None
        None without the rule, or where its table does not hold on the first day, as on the bill.
    """
    if tariff.band_load is None or tariff.utilisation is None:
        return None
    metered = Metered(tariff, starts, power, time_zone=time_zone)
    if not tariff.band_load.holds_on(metered.day):
        return None
    energy, peak, mean = metered.energy(), metered.peak(), float(metered.taken.mean())
    begin, end = year_ends(starts[0], time_zone)
    unseen, left = (max(float(span / HOUR), 0.0) for span in (starts[0] - begin, end - metered.end))
    year = energy + mean * (unseen + left)
    classes = sorted(one.hours for one in tariff.band_load.classes)
    least, charge = tariff.band_load.least_energy, published(tariff.utilisation, year, peak)
    reached = class_of(tariff.band_load, hours_of_use(year, peak), year)
    return Watch(
        energy=energy,
        peak=peak,
        hours=float(hours_of_use(energy, peak)),
        unseen=unseen,
        left=left,
        expected=float(hours_of_use(year, peak)),
        needed={
            hours: _mean(max(hours * peak, least) - energy - mean * unseen, left)
            for hours in classes
        },
        most_peak={hours: year / hours for hours in classes},
        charge=charge,
        worth={one.hours: (1.0 - one.share) * charge for one in tariff.band_load.classes},
        reached=reached.hours if reached else 0.0,
    )


def _mean(energy: float, hours: float) -> float:
    """Return the mean power that gives an energy [MWh] in some hours. [MW]"""
    if energy <= _NONE:
        return 0.0
    return energy / hours if hours else np.inf


def published(prices: UtilisationPrices, energy: float, peak: float) -> float:
    """Return the published network charge of a year. [EUR]

    Parameters
    ----------
    prices
        Prices by hours of use.
    energy
        Energy of the year. [MWh]
    peak
        Its greatest import. [MW]
    """
    power_price, energy_price = prices_at(prices, hours_of_use(energy, peak))
    return power_price * peak + energy_price * energy
