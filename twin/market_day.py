"""The clock by which a day-ahead market keeps its day, which is not always that of the site."""

from typing import Final

COUPLING: Final = "Europe/Brussels"
"""Clock of the coupled European day-ahead market: CET, and CEST in summer, for all its zones."""

COUPLED: Final = frozenset(
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


def market_day_zone(time_zone: str) -> str:
    """Return the IANA zone by which the day-ahead market of a place keeps its day.

    Parameters
    ----------
    time_zone
        IANA zone of the place.

    Returns
    -------
    str
        That of Brussels in the coupled European market, else that of the place.
    """
    return COUPLING if time_zone in COUPLED else time_zone
