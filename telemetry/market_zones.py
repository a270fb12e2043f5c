"""Energy Identification Codes (EIC): who, where and at which meter, as ENTSO-E's codes say it.

A code has 16 letters: two of the office that gave it out, one for its type, twelve free ones, and a
check character.

Market zones and the local time they keep.
"""

import difflib
from typing import Final
from zoneinfo import available_timezones

from twin.errors import MessageError, SeriesError, ValidationIssue

EIC_LENGTH: Final = 16
"""Letters of a code. [1]"""

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
_OFFICE: Final = "00"  # no issuing office has this number: no real code begins with it
_FREE: Final = 12

EIC_BY_ZONE: Final[dict[str, str]] = {
    "AT": "10YAT-APG------L",
    "BE": "10YBE----------2",
    "BG": "10YCA-BULGARIA-R",
    "CH": "10YCH-SWISSGRIDZ",
    "CZ": "10YCZ-CEPS-----N",
    "DE-LU": "10Y1001A1001A82H",
    "DK1": "10YDK-1--------W",
    "DK2": "10YDK-2--------M",
    "EE": "10Y1001A1001A39I",
    "ES": "10YES-REE------0",
    "FI": "10YFI-1--------U",
    "FR": "10YFR-RTE------C",
    "GR": "10YGR-HTSO-----Y",
    "HR": "10YHR-HEP------M",
    "HU": "10YHU-MAVIR----U",
    "IE": "10Y1001A1001A59C",
    "IT-NORTH": "10Y1001A1001A73I",
    "LT": "10YLT-1001A0008Q",
    "LV": "10YLV-1001A00074",
    "NL": "10YNL----------L",
    "NO1": "10YNO-1--------2",
    "NO2": "10YNO-2--------T",
    "NO3": "10YNO-3--------J",
    "NO4": "10YNO-4--------9",
    "NO5": "10Y1001A1001A48H",
    "PL": "10YPL-AREA-----S",
    "PT": "10YPT-REN------W",
    "RO": "10YRO-TEL------P",
    "SE1": "10Y1001A1001A44P",
    "SE2": "10Y1001A1001A45N",
    "SE3": "10Y1001A1001A46L",
    "SE4": "10Y1001A1001A47J",
    "SI": "10YSI-ELES-----O",
    "SK": "10YSK-SEPS-----K",
}
"""Bidding zones by the names that site files use; from ENTSO-E's public list of area codes."""


def eic_check_character(first: str) -> str:
    """Return the last letter of a code.

    Parameters
    ----------
    first
        Its first 15 letters: digits, capital letters and ``-``.

    Returns
    -------
    str
        One letter; ``-`` says that these 15 letters may not be used.

    Notes
    -----
    Letters count 0 to 36 and are weighted 16 to 2 from the left; the check character is
    ``36 - (sum - 1) mod 37`` [1]_.

    References
    ----------
    .. [1] ENTSO-E, "Energy Identification Code (EIC) Reference Manual," version 5.5, 2021.
    """
    weights = range(EIC_LENGTH, 1, -1)
    total = sum(
        w * _ALPHABET.index(letter) for w, letter in zip(weights, first.upper(), strict=True)
    )
    return _ALPHABET[36 - (total - 1) % 37]


def is_valid_eic(code: str) -> bool:
    """Return whether a text is a code with the right check character."""
    if len(code) != EIC_LENGTH or not set(code) <= set(_ALPHABET) or code.endswith("-"):
        return False
    return eic_check_character(code[:-1]) == code[-1]


def eic_of_zone(name: str) -> str:
    """Return the code of a bidding zone; outside Europe zones have none, and one that says so."""
    code = EIC_BY_ZONE.get(name.upper().replace("_", "-"))
    return demonstration_eic(name, "Y") if code is None else code


def demonstration_eic(name: str, kind: str = "X") -> str:
    """Return a code for demonstrations: well formed, and never given out to anyone.

    Parameters
    ----------
    name
        What to name; only its letters and digits count, and only the first seven of them.
    kind
        ``X`` for a party, ``Y`` for an area, ``Z`` for a measurement point.

    Returns
    -------
    str
        A code that begins with ``00``, which is no issuing office, and says ``DEMO``.
    """
    word = "".join(letter for letter in name.upper() if letter in _ALPHABET[:-1])
    for filler in _ALPHABET[::-1]:
        first = f"{_OFFICE}{kind}" + f"DEMO-{word[:7]}".ljust(_FREE, filler)
        if eic_check_character(first) != "-":
            return first + eic_check_character(first)
    raise MessageError("demonstration code", name, "give it another name")


TIME_ZONE_BY_ZONE: Final[dict[str, str]] = {
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


def normalise_zone(zone: str) -> str:
    """Return a bidding zone as its market writes it: ``DE-LU`` for ``de_lu``."""
    return zone.upper().replace("_", "-")


def is_known_zone(zone: str) -> bool:
    """Return whether the local time of a zone is known."""
    return normalise_zone(zone) in TIME_ZONE_BY_ZONE or zone in available_timezones()


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
    market = normalise_zone(zone)
    if market in TIME_ZONE_BY_ZONE:
        return TIME_ZONE_BY_ZONE[market]
    names = available_timezones()
    if zone in names:
        return zone
    close = difflib.get_close_matches(market, TIME_ZONE_BY_ZONE, 1) or difflib.get_close_matches(
        zone, sorted(names), 1
    )
    hint = f"; did you mean {close[0]}?" if close else ""
    remedy = f"give a bidding zone such as DE-LU, or an IANA name such as Europe/Berlin{hint}"
    raise SeriesError("zone", [ValidationIssue(location="zone", found=repr(zone), remedy=remedy)])
