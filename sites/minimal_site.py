"""A minimal site: halls, supply and cooling of usual sizes for a power and a location.

Sizes of declared sites, as shares:

================== ========================================================================
halls              racks of one kind; all of them at full load draw `LOADED_SHARE` of the power
ups, busway        1.15 and 1.08 of the racks' power
warm circuit       1.2 of the heat to liquid, 38 degC, dry coolers of 0.6 MW a unit
chilled circuit    1.3 of the heat to air and of the losses (0.05 of the racks' power), 18 degC,
                   two chillers and a cooling tower
work               training (jobs of 6 h or more) and batch, slowed by a tenth at most; no inference
================== ========================================================================

There is no store, renewable, genset, tariff or fee: add them with ``Site.with_equipment``, or copy
a declared site for your own file.
"""

import math
from collections.abc import Iterator
from typing import Final

from sites.catalogue import TomlTable, standard_machines
from sites.loading import build_site, standard_machine
from twin.equipment import ITHall
from twin.errors import IssueCode, SiteError, ValidationIssue
from twin.site import Site
from twin.text import closest_match_hint
from twin.units import HOURS_PER_DAY, parse_quantity

LOADED_SHARE: Final = 0.8
"""Power of all racks at full load over that of the connection; `small` has 0.79. [1]"""

RAMP_TIME_MIN: Final = 20.0
"""Time of a change of the net import from 0 to the limit; that of `small` is 24. [min]"""

DRY_COOLER_MW: Final = 0.6
"""Heat of one dry cooler, see ``v_bank``. [MW]"""

CDU_MW: Final = 1.3
"""Heat of one coolant distribution unit, see ``row_1300_kw``. [MW]"""

TRANSFORMER_MW: Final = 5.0
"""Load of one transformer, see ``high_voltage_6300_kva``. [MW]"""

MIN_POWER_MW: Final = 1.0
MAX_POWER_MW: Final = 500.0
"""Range of the power for which the shares hold. [MW]"""


def minimal(
    power: float | str,
    latitude: float,
    longitude: float,
    *,
    accelerators: str = "gb200_nvl72",
    elevation: float | str = 0.0,
    zone: str = "DE-LU",
    time_zone: str = "Europe/Berlin",
) -> Site:
    """Return a site of usual sizes for a power and a location, to plan with before data exist.

    Parameters
    ----------
    power
        Power of the connection, 1 to 500 MW: a number [MW] or a text with its unit.
    latitude, longitude
        Position, north and east. [deg]
    accelerators
        Standard racks; see ``docs/reference/standard-machines.md``.
    elevation
        Elevation above the sea: a number [m] or a text with its unit.
    zone, time_zone
        Bidding zone of the market, and IANA time zone.

    Returns
    -------
    Site
        The site, named ``minimal``; it has passed the checks of a site file.

    Raises
    ------
    SiteError
        If a value is invalid; lists all issues.

    Notes
    -----
    :mod:`sites.minimal_site` states the assumptions. All sizes grow with the power, so results per
    MW are those of a usual site; they say nothing of yours.

    Examples
    --------
    >>> site = minimal("20 MW", 50.1, 8.65)
    >>> site.rack_count, site.grid_connection.import_limit
    (121, 20.0)
    """
    limit = parse_quantity(power, "MW") if isinstance(power, str) else float(power)
    SiteError.raise_if_any("minimal", list(_choice_issues(limit, accelerators)))
    hall = standard_machine(accelerators, racks=1)
    assert isinstance(hall, ITHall)  # noqa: S101  (for mypy)
    racks = max(round(LOADED_SHARE * limit / hall.rack_power), 1)
    load, liquid = racks * hall.rack_power, hall.liquid_share
    table: TomlTable = {
        "title": f"Minimal site of {limit:g} MW, with assumed sizes",
        "zone": zone,
        "time_zone": time_zone,
        "latitude": latitude,
        "longitude": longitude,
        "elevation": elevation if isinstance(elevation, str) else _text(elevation, "m"),
        "equipment": {
            **_supply(limit, load),
            "hall_1": {"kind": "accelerators", "standard": accelerators, "racks": racks},
            **(_warm_circuit(liquid * load) if liquid > 0.0 else {}),
            **_chilled_circuit((1.0 - liquid) * load, load=load),
        },
        "work": _work(),
        "service": {"racks": 0, "daily_shape": [1.0] * HOURS_PER_DAY},
    }
    return build_site(table, "minimal", source="minimal")


def _choice_issues(limit: float, accelerators: str) -> Iterator[ValidationIssue]:
    """Yield an issue for a power [MW] out of range, and for unknown racks."""
    if not MIN_POWER_MW <= limit <= MAX_POWER_MW:  # NaN too
        yield IssueCode.OUT_OF_RANGE.issue(
            "power",
            found=f"{limit:g} MW",
            expected=f"{MIN_POWER_MW:g} to {MAX_POWER_MW:g} MW",
            remedy="name the power of the connection",
        )
    known = standard_machines("accelerators")
    if accelerators not in known:
        yield IssueCode.UNKNOWN_NAME.issue(
            "accelerators",
            found=f'"{accelerators}"',
            expected=f"one of {', '.join(known)}",
            remedy=f"name standard racks{closest_match_hint(accelerators, known)}",
        )


def _text(value: float, unit: str) -> str:
    """Return a number with its unit, as in a site file."""
    return f"{value:.6g} {unit}"


def _supply(limit: float, load: float) -> TomlTable:
    """Return the machines from the connection [MW] to racks that draw a load [MW]."""
    units = math.ceil(limit / TRANSFORMER_MW)
    return {
        "grid_1": {
            "kind": "grid",
            "import_limit": _text(limit, "MW"),
            "ramp": _text(limit / RAMP_TIME_MIN, "MW/min"),
        },
        "transformer_1": {
            "kind": "transformer",
            "standard": "high_voltage_6300_kva",
            "count": units,
        },
        "ups_1": {
            "kind": "ups",
            "standard": "double_conversion",
            "rating": _text(1.15 * load, "MW"),
        },
        "busway_1": {
            "kind": "distribution",
            "standard": "busway",
            "rating": _text(1.08 * load, "MW"),
        },
    }


def _warm_circuit(heat: float) -> TomlTable:
    """Return the machines that carry heat from liquid to dry coolers. [MW]"""
    rated = 1.2 * heat
    plant = {
        "kind": "cooling_plant",
        "serves": "warm",
        "rated_cooling": _text(rated, "MW"),
        "supply_temperature": "38 degC",
        "supply_limit": "45 degC",  # class W45
        "temperature_range": "10 K",
        "pump_power": _text(0.008 * rated, "MW"),
        "minimum_flow": 0.3,
        "static_head_share": 0.1,
        "loop": {"volume": _text(3.2 * rated, "m3"), "valve_lag": "120 s"},
        "rejection": {
            "kind": "dry_cooler",
            "standard": "v_bank",
            "count": math.ceil(heat / DRY_COOLER_MW),
        },
    }
    units = {"kind": "cdu", "standard": "row_1300_kw", "count": math.ceil(1.05 * heat / CDU_MW)}
    return {"cdu_1": units, "warm_plant": plant}


def _chilled_circuit(heat: float, *, load: float) -> TomlTable:
    """Return the machines that carry heat of racks to air to chillers and a tower. [MW]

    The losses of busways go to the air too, and those of the UPS to the chilled circuit.
    """
    air, rated = 1.25 * (heat + 0.015 * load), 1.3 * (heat + 0.05 * load)
    return {
        "hall_air_1": {
            "kind": "hall_air",
            "standard": "fan_wall",
            "rated_heat": _text(air, "MW"),
            "fan_power": _text(0.035 * air, "MW"),
        },
        "chilled_plant": {
            "kind": "cooling_plant",
            "serves": "chilled",
            "rated_cooling": _text(rated, "MW"),
            "supply_temperature": "18 degC",
            "supply_limit": "21 degC",
            "temperature_range": "8 K",
            "pump_power": _text(0.011 * rated, "MW"),
            "minimum_flow": 0.3,
            "static_head_share": 0.1,
            "economiser_approach": "2 K",
            "loop": {"volume": _text(7.0 * rated, "m3"), "valve_lag": "120 s"},
            "rejection": {
                "kind": "cooling_tower",
                "standard": "induced_draught_130_kg_s",
                "count": 1,
                "water_flow": _text(56.0 * rated, "kg/s"),
                "air_flow": _text(43.0 * rated, "kg/s"),
                "fan_power": _text(0.013 * rated, "MW"),
            },
            "chillers": {
                "standard": "carrier_19xr_869",
                "count": 2,
                "rated_cooling": _text(0.54 * rated, "MW"),
                "condenser_pump_power": _text(0.006 * rated, "MW"),
            },
        },
    }


def _work() -> TomlTable:
    """Return two kinds of work; caps slow both by at most a tenth, which all racks allow."""
    curve = {"standard": "blackwell_training"}
    training = {"longer_than": "6 h", "slack": 1.0, "tolerance": 0.10, "throughput": curve}
    return {"training": training, "batch": {"slack": 4.0, "tolerance": 0.10, "throughput": curve}}
