"""Day-ahead market: when its prices are published, and the time zone of its day."""

from typing import Final

import numpy as np
import pandas as pd

from twin.time_axes import local_midnight

PRICE_PUBLICATION_TIMES: Final = (
    (pd.Timestamp("1970-01-01"), pd.Timedelta(hours=12, minutes=45)),
    (pd.Timestamp("2025-10-01"), pd.Timedelta(hours=12, minutes=55)),
)
"""First day of delivery -> local time at which its day-ahead prices are published, the day before.

The coupled market has quarter-hour products from 1 October 2025 on, and its results come later.
"""

PRICE_PUBLICATION_TOLERANCE: Final = np.timedelta64(2, "h")
"""Delay of published prices that is neither an alarm nor a degraded plan."""

COUPLED_MARKET_ZONE: Final = "Europe/Brussels"
"""Time zone of the coupled European day-ahead market: CET, in summer CEST."""

COUPLED_TIME_ZONES: Final = frozenset(
    [f"Atlantic/{island}" for island in ("Azores", "Canary", "Madeira")]  # priced as their mainland
    + [
        f"Europe/{city}"
        for city in [
            "Amsterdam",
            "Athens",
            "Berlin",
            "Bratislava",
            "Brussels",
            "Bucharest",
            "Budapest",
            "Busingen",
            "Copenhagen",
            "Dublin",
            "Helsinki",
            "Lisbon",
            "Ljubljana",
            "Luxembourg",
            "Madrid",
            "Mariehamn",
            "Oslo",
            "Paris",
            "Prague",
            "Riga",
            "Rome",
            "Sofia",
            "Stockholm",
            "Tallinn",
            "Vienna",
            "Vilnius",
            "Warsaw",
            "Zagreb",
        ]
    ]
)
"""IANA zones with prices of the coupled day-ahead market, under Regulation (EU) 2015/1222."""


def published_until(now: np.datetime64, time_zone: str) -> np.datetime64:
    """Return the end of the day-ahead prices published at a time: local midnight, in UTC.

    It is the midnight after today, from the time of :data:`PRICE_PUBLICATION_TIMES` on the midnight
    after tomorrow, both in ``time_zone``.
    """
    clock = pd.Timestamp(now, tz="UTC").tz_convert(time_zone).tz_localize(None)
    today = clock.normalize()
    tomorrow = today + pd.DateOffset(days=1)
    published = [moment for first, moment in PRICE_PUBLICATION_TIMES if first <= tomorrow][-1]
    is_out = clock - today >= published
    return local_midnight(today + pd.DateOffset(days=2 if is_out else 1), time_zone)


def market_time_zone(time_zone: str) -> str:
    """Return the IANA zone that defines the day of a place's day-ahead market."""
    return COUPLED_MARKET_ZONE if time_zone in COUPLED_TIME_ZONES else time_zone
