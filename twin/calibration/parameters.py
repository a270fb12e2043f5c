"""What of a site may differ from its file: one table of parameters, their bounds and doubts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from twin.equipment import (
    Accelerators,
    Battery,
    Cdu,
    CoolingPlant,
    Equipment,
    HallAir,
    HeatReuse,
    Ups,
)
from twin.equipment.heat_rejection import DryCooler
from twin.site import Site

FACTOR_DOUBT: Final = 0.10
"""Standard deviation of a factor before anything is heard: machines wear by up to 15 %. [1]"""

POWER_DOUBT: Final = 0.15
"""The same of pump and fan powers at rating: maker's curves and unknown heads. [1]"""

EFFICIENCY_DOUBT: Final = 0.02
"""The same of battery efficiencies at the bus. [1]"""

HALL_DOUBT: Final = 0.03
"""The same of what racks draw beside their declared power. [1]"""

OFFSET_DOUBT: Final = 0.3
"""The same of temperature sensors, class B of IEC 60751 at 0 to 50 degC. [K]"""

REACH: Final = 4.0
"""Bounds lie this many standard deviations off what the site file says. [1]"""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One number of a site that telemetry may correct.

    Attributes
    ----------
    machine
        Id in the site file.
    path
        Names of the inner tables and of the parameter; for an offset, the sensor's variable.
    prior
        What the site file says; zero for an offset. [unit]
    doubt
        Standard deviation before anything is heard. [unit]
    low, high
        Bounds of any estimate. [unit]
    unit
        Of the value.
    is_offset
        Whether it is the offset of a sensor: what it reads less what is true.
    """

    machine: str
    path: tuple[str, ...]
    prior: float
    doubt: float
    low: float
    high: float
    unit: str = "1"
    is_offset: bool = False

    @property
    def name(self) -> str:
        """Name by which reports and overlays know it."""
        return ".".join((self.machine, *self.path, *(("offset",) if self.is_offset else ())))


_TABLE: Final[tuple[tuple[type[Equipment], tuple[str, ...], float, float], ...]] = (
    (Ups, ("loss_factor",), FACTOR_DOUBT, 2.0),
    (Cdu, ("fouling",), FACTOR_DOUBT, 2.0),
    (Cdu, ("pump_power",), POWER_DOUBT, 0.0),
    (HallAir, ("fan_power",), POWER_DOUBT, 0.0),
    (Battery, ("charge_efficiency",), EFFICIENCY_DOUBT, 1.0),
    (Battery, ("discharge_efficiency",), EFFICIENCY_DOUBT, 1.0),
    (Accelerators, ("power_factor_error",), HALL_DOUBT, 2.0),
    (HeatReuse, ("lorenz_efficiency",), FACTOR_DOUBT, 1.0),
    (CoolingPlant, ("pump_power",), POWER_DOUBT, 0.0),
)
"""Kind, parameter, doubt as a share of its value, greatest value that has a sense (0: none)."""


def parameters_of(site: Site) -> tuple[Parameter, ...]:
    """Return all parameters of a site that may be calibrated, in the order of its file."""
    return tuple(found for machine in site.equipment.values() for found in _of(machine))


def _of(machine: Equipment) -> Iterator[Parameter]:
    for kind, path, doubt, most in _TABLE:
        if isinstance(machine, kind):
            yield _share(machine, path, doubt, most=most)
    if isinstance(machine, CoolingPlant):
        is_dry = isinstance(machine.rejection, DryCooler)
        worn = "fouling" if is_dry else "approach_factor"
        yield _share(machine, ("rejection", worn), FACTOR_DOUBT, most=2.0)
        if machine.chillers is not None:
            yield _share(machine, ("chillers", "eir_factor"), FACTOR_DOUBT, most=2.0)
        yield _offset(machine, "facility_supply_temperature")
    if isinstance(machine, Cdu):
        yield _offset(machine, "technology_supply_temperature")


def _share(machine: Equipment, path: tuple[str, ...], doubt: float, *, most: float) -> Parameter:
    prior = value_of(machine, path)
    width = doubt * prior
    high = prior + REACH * width
    return Parameter(
        machine=machine.name,
        path=path,
        prior=prior,
        doubt=width,
        low=prior - REACH * width,
        high=min(high, most) if most else high,
        unit="MW" if path[-1].endswith("_power") else "1",
    )


def _offset(machine: Equipment, variable: str) -> Parameter:
    width = REACH * OFFSET_DOUBT
    return Parameter(
        machine=machine.name,
        path=(variable,),
        prior=0.0,
        doubt=OFFSET_DOUBT,
        low=-width,
        high=width,
        unit="K",
        is_offset=True,
    )


def value_of(table: BaseModel, path: tuple[str, ...]) -> float:
    """Return a parameter of a machine, or of one of its inner tables."""
    found: object = table
    for name in path:
        found = getattr(found, name)
    return float(str(found))


def applied(site: Site, values: Mapping[Parameter, float]) -> Site:
    """Return the site with parameters changed; offsets of sensors change no machine.

    Parameters
    ----------
    site
        The site.
    values
        Parameter -> its value.

    Returns
    -------
    Site
        The changed copy.
    """
    machines = dict(site.equipment)
    for parameter, value in values.items():
        if not parameter.is_offset:
            machine = machines[parameter.machine]
            machines[parameter.machine] = _changed(machine, parameter.path, value)
    return site.with_equipment(machines)


def _changed[T: BaseModel](table: T, path: tuple[str, ...], value: float) -> T:
    name, *rest = path
    inner: object = _changed(getattr(table, name), tuple(rest), value) if rest else value
    return table.model_copy(update={name: inner})
