"""Names, labels and units of rows and columns, without Pyomo."""

from collections.abc import Mapping
from typing import Final


def reserve_column(product: str) -> str:
    """Return the name of the column with the capacity that a holder keeps for a product."""
    return f"capacity_{product}"


ARRIVED_WORK_LABEL: Final = "work that has arrived"
JOB_RACKS_LABEL: Final = "racks that the waiting jobs can use"

ROW_LABELS: Final[Mapping[str, str]] = {
    "import_power": "power taken from the connection or source",
    "export_power": "power or heat sold",
    "charge": "charging",
    "discharge": "discharging",
    "level": "level of the store",
    "site_racks": "racks of the site",
    "cohort_racks": JOB_RACKS_LABEL,
    "racks": JOB_RACKS_LABEL,
    "below_peak": "running peak of the billing period",
    "below_excess": "contracted power",
    "below_band": "peak that band load allows",
    **dict.fromkeys(("ramp_up", "first_up"), "ramp of the connection, upwards"),
    **dict.fromkeys(("ramp_down", "first_down"), "ramp of the connection, downwards"),
    "work_credited": ARRIVED_WORK_LABEL,
    "used_power": "work with which single failures are endured",
    "capacity": "most that the machine can give",
    "heat_taken": "heat that the network takes, or the machine can give",
    **dict.fromkeys(
        ("taper_charge_limit", "taper_discharge_limit"),
        "power of the store near an end of its window",
    ),
    "max_output": "output of the units that run",
    "min_output": "least load of units that run",
    "min_up_time": "least time that units stay on",
    "min_down_time": "least time that units stay off",
    "min_restart_time": "least time between starts of a unit",
    "obligation": "load target or budget",
    "power_up": "power kept for reserves upwards",
    "power_down": "power kept for reserves downwards",
    "energy_up": "energy behind reserves upwards",
    "energy_down": "room for reserves downwards",
    "first_energy_up": "energy behind reserves upwards",
    "first_energy_down": "room for reserves downwards",
    "energy_at_end_up": "energy behind reserves upwards, to the end of their use",
    "energy_at_end_down": "room for reserves downwards, to the end of their use",
    "import_headroom": "connection, with reserves used downwards",
    "export_headroom": "connection, with reserves used upwards",
    "stoppable_power": "work that runs and may stop for reserves",
    "deferral_limit": "deadlines of work that may stop for reserves",
}
"""Row or column -> its label for people."""

UPPER_BOUND_COLUMNS: Final = frozenset(
    {"import_power", "export_power", "charge", "discharge", "level", "work_credited", "racks"}
    | {"capacity", "heat_taken", "used_power"}
)
"""Columns whose upper bound alone is a limit; a value of zero only means that use does not pay."""

LOWER_BOUND_LABELS: Final[Mapping[str, str]] = {
    "level": "least level of the store",
    "work_credited": "deadlines of the work",
}
"""Column -> label of its lower bound."""

RESERVE_ENERGY_ROWS: Final = ("energy", "first_energy", "energy_at_end")
"""Rows of the energy behind upward reserves, and of the free storage for downward ones."""

ROW_UNITS: Final = {
    "level": "MWh",
    "work_credited": "MWh",
    "site_racks": "rack",
    "cohort_racks": "rack",
    "racks": "rack",
    "min_up_time": "unit",
    "min_down_time": "unit",
    "min_restart_time": "unit",
    **{f"{row}_{way}": "MWh" for row in RESERVE_ENERGY_ROWS for way in ("up", "down")},
    "deferral_limit": "MWh",
}
"""Row or column -> its unit, where that is not MW."""

DEMAND_CHARGE_NAMES: Final = ("peak", "excess", "band")
"""Names of demand charges in blocks and rows."""

DEMAND_CHARGE_ROWS: Final = frozenset(f"below_{name}" for name in DEMAND_CHARGE_NAMES)

RAMP_ROWS: Final = frozenset({"ramp_up", "ramp_down"})
"""Rows that exist only where a ramp can bind, and not in the first interval."""

NEAR_TERM_ROWS: Final = frozenset({"min_up_time", "min_down_time", "min_restart_time"})
"""Rows of the integer part of the horizon, from the first interval."""
