"""What plans pay under a tariff: energy by the interval, peaks by the MW.

All with the taxes of the bill; the electricity itself is none of its lines. A plan sees a week, a
bill a month or a year. Which branch of a network charge the year will come to, and with how many
hours of use, is declared (``plan_for``, ``expected``); the bill reckons all.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics import FloatArray
from twin.tariffs.band import published
from twin.tariffs.clock import Clock
from twin.tariffs.declaration import BandClass, Tariff, UtilisationPrices
from twin.tariffs.money import decimal
from twin.tariffs.network import class_of, prices_at

SPREAD: Final = 0.03
"""Share of the peak that band load allows over which the loss of its discount is laid. [1]"""


def energy_price(tariff: Tariff, clock: Clock) -> FloatArray:
    """Return what a tariff charges for energy taken in each interval, taxes and all. [EUR MWh-1]

    Parameters
    ----------
    tariff
        The tariff.
    clock
        The intervals, with the tariff's holidays.
    """
    period = clock.period(tariff.periods)
    names = [one.name for one in tariff.periods]
    total = np.zeros(len(period))
    for price in tariff.energy:
        numbers = [number for number, name in enumerate(names) if name in price.periods]
        total += price.price * (np.isin(period, numbers) if price.periods else 1.0)
    if tariff.utilisation:
        _, price_of_use = _prices(tariff.utilisation)
        total += share(tariff) * price_of_use
    return total * tariff.taxed


def peak_price(tariff: Tariff) -> float:
    """Return what a tariff charges for a MW of the peak of a month or year, taxed. [EUR MW-1]"""
    total = sum(price.price for price in tariff.peaks)
    if tariff.utilisation:
        price_of_power, _ = _prices(tariff.utilisation)
        total += share(tariff) * price_of_power
    return total * tariff.taxed


def share(tariff: Tariff) -> float:
    """Return the share of the published network charge that plans count with. [1]"""
    reached = planned_class(tariff)
    return reached.share if reached else 1.0


def planned_class(tariff: Tariff) -> BandClass | None:
    """Return the class of band load that plans are made for; None if they are for none.

    A year that is expected to take too little has none, as on its bill; 0 says nothing.
    """
    prices, band = tariff.utilisation, tariff.band_load
    if prices is None or band is None or prices.plan_for != "band_load":
        return None
    return class_of(band, decimal(prices.expected), band.expected_energy or None)


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The peak that band load allows.

    Attributes
    ----------
    most
        Greatest import at which the energy expected of the year keeps its class. [MW]
    price
        Loss of the class, laid over a small share of that peak. [EUR MW-1]
    """

    most: float
    price: float


def guard(tariff: Tariff) -> Guard | None:
    """Return the peak that band load allows; None if no energy is expected, or no class.

    The class is lost at once, which no linear price says: so the loss is laid over the first
    :data:`SPREAD` of the way beyond.
    """
    reached, band, prices = planned_class(tariff), tariff.band_load, tariff.utilisation
    if reached is None or band is None or prices is None or not band.expected_energy:
        return None
    most = band.expected_energy / reached.hours
    below = [one.share for one in band.classes if one.hours < reached.hours]
    lost = min(below, default=1.0) - reached.share
    charge = published(prices, band.expected_energy, most)
    return Guard(most=most, price=tariff.taxed * lost * charge / (SPREAD * most))


def _prices(prices: UtilisationPrices) -> tuple[float, float]:
    return prices_at(prices, decimal(prices.expected))
