"""Market zones and the local time they keep."""

import difflib
from typing import Final
from zoneinfo import available_timezones

from twin.errors import Fault, SeriesError

LOCAL_TIME: Final[dict[str, str]] = {
    "AT": "Europe/Vienna",
    "BE": "Europe/Brussels",
    "BG": "Europe/Sofia",
    "CH": "Europe/Zurich",
    "CZ": "Europe/Prague",
    "DE": "Europe/Berlin",
    "DE-LU": "Europe/Berlin",
    "DK1": "Europe/Copenhagen",
    "DK2": "Europe/Copenhagen",
    "EE": "Europe/Tallinn",
    "ES": "Europe/Madrid",
    "FI": "Europe/Helsinki",
    "FR": "Europe/Paris",
    "GB": "Europe/London",
    "GR": "Europe/Athens",
    "HR": "Europe/Zagreb",
    "HU": "Europe/Budapest",
    "IE": "Europe/Dublin",
    "LT": "Europe/Vilnius",
    "LU": "Europe/Luxembourg",
    "LV": "Europe/Riga",
    "NL": "Europe/Amsterdam",
    "PL": "Europe/Warsaw",
    "PT": "Europe/Lisbon",
    "RO": "Europe/Bucharest",
    "RS": "Europe/Belgrade",
    "SI": "Europe/Ljubljana",
    "SK": "Europe/Bratislava",
    **{f"IT-{part}": "Europe/Rome" for part in ("NORTH", "CNORTH", "CSOUTH", "SOUTH")},
    **{f"IT-{part}": "Europe/Rome" for part in ("CALABRIA", "SARDINIA", "SICILY")},
    "IT": "Europe/Rome",
    **{f"NO{number}": "Europe/Oslo" for number in range(1, 6)},
    **{f"SE{number}": "Europe/Stockholm" for number in range(1, 5)},
}
"""Local time of each bidding zone, which is not always the time of the market day."""


def market_zone(zone: str) -> str:
    """Return a bidding zone as its market writes it: ``DE-LU`` for ``de_lu``."""
    return zone.upper().replace("_", "-")


def is_known(zone: str) -> bool:
    """Return whether the local time of a zone is known."""
    return market_zone(zone) in LOCAL_TIME or zone in available_timezones()


def time_zone(zone: str) -> str:
    """Return the IANA name of a zone's local time.

    Parameters
    ----------
    zone
        A bidding zone such as ``DE-LU`` (``DE_LU`` is understood), or an IANA name.

    Returns
    -------
    str
        The IANA name.

    Raises
    ------
    SeriesError
        If neither list has the zone.
    """
    market = market_zone(zone)
    if market in LOCAL_TIME:
        return LOCAL_TIME[market]
    names = available_timezones()
    if zone in names:
        return zone
    close = difflib.get_close_matches(market, LOCAL_TIME, 1) or difflib.get_close_matches(
        zone, sorted(names), 1
    )
    hint = f"; did you mean {close[0]}?" if close else ""
    mend = f"give a bidding zone such as DE-LU, or an IANA name such as Europe/Berlin{hint}"
    raise SeriesError("zone", [Fault(place="zone", value=repr(zone), mend=mend)])
