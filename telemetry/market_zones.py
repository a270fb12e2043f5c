"""Energy Identification Codes (EIC) of parties, zones and meters, and local times of market zones.

A code has 16 letters: two of the issuing office, one for its type, twelve free ones and a check
character.
"""

import difflib
from typing import Final
from zoneinfo import available_timezones

from twin.errors import IssueCode, MessageError, SeriesError

EIC_LENGTH: Final = 16
"""Letters of a code. [1]"""

_EIC_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
_UNUSED_OFFICE: Final = "00"  # no issuing office has this number, so no real code begins with it
_FREE_LETTERS: Final = 12

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
"""Codes of bidding zones by the names that site files use; from ENTSO-E's list of area codes."""


def eic_check_character(first: str) -> str:
    """Return the check character of the first 15 letters; ``-`` means that they may not be used.

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
        w * _EIC_ALPHABET.index(letter) for w, letter in zip(weights, first.upper(), strict=True)
    )
    return _EIC_ALPHABET[36 - (total - 1) % 37]


def is_valid_eic(code: str) -> bool:
    """Return whether a text is a code with the right check character."""
    if len(code) != EIC_LENGTH or not set(code) <= set(_EIC_ALPHABET) or code.endswith("-"):
        return False
    return eic_check_character(code[:-1]) == code[-1]


def eic_of_zone(name: str) -> str:
    """Return the code of a bidding zone; zones outside Europe get a code for demonstrations."""
    code = EIC_BY_ZONE.get(normalise_zone(name))
    return demonstration_eic(name, "Y") if code is None else code


def demonstration_eic(name: str, kind: str = "X") -> str:
    """Return a well-formed code for demonstrations, which begins with ``00`` and contains ``DEMO``.

    Only the first seven letters and digits of ``name`` count. ``kind`` is ``X`` for a party, ``Y``
    for an area, ``Z`` for a measurement point.
    """
    word = "".join(letter for letter in name.upper() if letter in _EIC_ALPHABET[:-1])
    for filler in _EIC_ALPHABET[::-1]:
        first = f"{_UNUSED_OFFICE}{kind}" + f"DEMO-{word[:7]}".ljust(_FREE_LETTERS, filler)
        if eic_check_character(first) != "-":
            return first + eic_check_character(first)
    raise MessageError("demonstration code", name, "a name that gives a check character; change it")


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
"""Local time zone of each bidding zone, which can differ from that of the market day."""


def normalise_zone(zone: str) -> str:
    """Return a bidding zone as its market writes it, such as ``DE-LU`` for ``de_lu``."""
    return zone.upper().replace("_", "-")


def time_zone_of_bidding_zone(zone: str) -> str:
    """Return the IANA name of the local time of a bidding zone; an IANA name is returned as it is.

    It raises SeriesError for a zone that is neither.
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
    raise SeriesError.single(
        "zone",
        IssueCode.UNKNOWN_NAME,
        "zone",
        found=repr(zone),
        expected="a bidding zone or an IANA time zone",
        remedy=f"give a zone such as DE-LU or Europe/Berlin{hint}",
    )
