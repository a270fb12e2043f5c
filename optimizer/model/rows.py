"""Names, labels and units of rows and columns, without Pyomo."""

from collections.abc import Mapping
from typing import Final


def reserve_column(product: str) -> str:
    """Return the name of the column with the capacity that a holder keeps for a product."""
    return f"held_{product}"


ARRIVED_WORK_LABEL: Final = "work that has arrived"
JOB_RACKS_LABEL: Final = "racks that the waiting jobs can use"

ROW_LABELS: Final[Mapping[str, str]] = {
    "import_power": "power taken from the connection or source",
    "export_power": "power or heat sold",
    "charge": "charging",
    "discharge": "discharging",
    "level": "level of the store",
    "within_site": "racks of the site",
    "within_jobs": JOB_RACKS_LABEL,
    "racks": JOB_RACKS_LABEL,
    "below_peak": "running peak of the billing period",
    "below_excess": "contracted power",
    "below_band": "peak that band load allows",
    **dict.fromkeys(("ramp_up", "first_up"), "ramp of the connection, upwards"),
    **dict.fromkeys(("ramp_down", "first_down"), "ramp of the connection, downwards"),
    "met": ARRIVED_WORK_LABEL,
    "used_power": "work with which single failures are endured",
    "capacity": "most that the machine can give",
    "heat_taken": "heat that the network takes, or the machine can give",
    **dict.fromkeys(("fills", "ebbs"), "power of the store near an end of its window"),
    "carries": "output of the units that run",
    "needs": "least load of units that run",
    "stays_on": "least time that units stay on",
    "stays_off": "least time that units stay off",
    "rests": "least time between starts of a unit",
    "promised": "load target or budget",
    "power_up": "power kept for reserves upwards",
    "power_down": "power kept for reserves downwards",
    "energy_up": "energy behind reserves upwards",
    "energy_down": "room for reserves downwards",
    "first_energy_up": "energy behind reserves upwards",
    "first_energy_down": "room for reserves downwards",
    "lasts_up": "energy behind reserves upwards, to the end of their use",
    "lasts_down": "room for reserves downwards, to the end of their use",
    "import_room": "connection, with reserves used downwards",
    "export_room": "connection, with reserves used upwards",
    "stops": "work that runs and may stop for reserves",
    "puts_off": "deadlines of work that may stop for reserves",
}
"""Row or column -> its label for people."""

UPPER_BOUND_COLUMNS: Final = frozenset(
    {"import_power", "export_power", "charge", "discharge", "level", "met", "racks"}
    | {"capacity", "heat_taken", "used_power"}
)
"""Columns whose upper bound alone is a limit; a value of zero only means that use does not pay."""

LOWER_BOUND_LABELS: Final[Mapping[str, str]] = {
    "level": "least level of the store",
    "met": "deadlines of the work",
}
"""Column -> label of its lower bound."""

RESERVE_ENERGY_ROWS: Final = ("energy", "first_energy", "lasts")
"""Rows of the energy behind upward reserves, and of the free storage for downward ones."""

ROW_UNITS: Final = {
    "level": "MWh",
    "met": "MWh",
    "within_site": "rack",
    "within_jobs": "rack",
    "racks": "rack",
    "stays_on": "unit",
    "stays_off": "unit",
    "rests": "unit",
    **{f"{row}_{way}": "MWh" for row in RESERVE_ENERGY_ROWS for way in ("up", "down")},
    "puts_off": "MWh",
}
"""Row or column -> its unit, where that is not MW."""

DEMAND_CHARGE_NAMES: Final = ("peak", "excess", "band")
"""Names of demand charges in blocks and rows."""

DEMAND_CHARGE_ROWS: Final = frozenset(f"below_{name}" for name in DEMAND_CHARGE_NAMES)
"""Rows of demand charges."""

RAMP_ROWS: Final = frozenset({"ramp_up", "ramp_down"})
"""Rows that exist only where a ramp can bind, and not in the first interval."""

NEAR_TERM_ROWS: Final = frozenset({"stays_on", "stays_off", "rests"})
"""Rows of the integer part of the horizon, from the first interval."""
