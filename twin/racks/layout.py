"""Positions of the racks of a site, and tables of their behaviour and of their coolant units.

The tables are computed from the physics of the equipment, so the views need no second model.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from twin.equipment import CduBank, CoolingPlant, ITHall
from twin.errors import IssueCode, StateError
from twin.physics import FloatArray
from twin.racks.kernels import CduTable, HallTable, RackPlacement, RackTable
from twin.relations import Conversion, SetPoints
from twin.site import Site
from twin.units import SECONDS_PER_HOUR, W_PER_MW
from twin.weather import Weather

TABLE_POINT_COUNT: Final = 1025
"""Points of a table; interpolation errors are at most a millionth of the range."""

RACK_RESIDENCE_S: Final = 15.0
"""Time of coolant at rated flow in a rack, its manifolds and hoses; an assumption. [s]"""

CDU_RESIDENCE_S: Final = 30.0
"""Time of coolant at rated flow in a unit and its headers; an assumption. [s]"""

_HEADROOM: Final = 1.05  # of the largest heat that racks can bring to a unit
_MIN_HEAT_SHARE: Final = 1e-9  # of the rated heat; at zero, heat per kelvin would be 0/0


@dataclass(frozen=True, kw_only=True)
class RackLayout:
    """The racks, coolant units and chips of a site.

    - ``cdu``: The bank of coolant units.
    - ``places``, ``hall_table``, ``cdu_table``: Positions, and tables of behaviour.
    - ``tabulated_chip_power``: Power of one chip at the knots of its hall's racks, ``(hall,
      knot)``. [W]
    """

    site: Site
    cdu: CduBank
    halls: tuple[ITHall, ...]
    places: RackPlacement
    hall_table: HallTable
    cdu_table: CduTable
    tabulated_chip_power: FloatArray

    @classmethod
    def from_site(cls, site: Site) -> Self:
        """Return the layout of a site.

        Racks are numbered hall after hall. Each unit serves neighbours, in numbers as equal as
        possible.

        Raises ``StateError`` if the site has not exactly one bank of coolant units, or fewer racks
        than units, or if air cools the chips of a hall.
        """
        halls, banks = site.machines_of(ITHall), site.machines_of(CduBank)
        if len(banks) != 1 or banks[0].count > site.rack_count:
            raise StateError.single(
                site.name,
                IssueCode.UNSUPPORTED,
                "equipment, cdu",
                found=", ".join(bank.name for bank in banks),
                expected="one bank of coolant units, each with at least one rack",
                remedy="view the level site or hall",
            )
        air_cooled = [hall.name for hall in halls if hall.is_air_cooled]
        if air_cooled:
            raise StateError.single(
                site.name,
                IssueCode.UNSUPPORTED,
                "hall",
                found=", ".join(air_cooled),
                expected="halls with liquid-cooled chips",
                remedy="view the level site or hall",
            )
        cdu = banks[0]
        first = np.arange(cdu.count + 1) * site.rack_count // cdu.count
        hall = np.repeat(np.arange(len(halls)), [h.racks for h in halls])
        places = RackPlacement(
            first_rack=first.astype(np.int64), hall_of_rack=hall.astype(np.int64)
        )
        max_heat = _HEADROOM * _max_heat(halls, places)
        return cls(
            site=site,
            cdu=cdu,
            halls=halls,
            places=places,
            hall_table=_hall_table(halls, cdu, max_heat),
            cdu_table=_unit_table(cdu, max_heat, site.rack_count),
            tabulated_chip_power=np.stack([_chip_power(h) for h in halls]),
        )

    @property
    def facility_plant(self) -> CoolingPlant:
        """The plant that supplies the units with water."""
        return next(
            plant for plant in self.site.machines_of(CoolingPlant) if plant.serves == "warm"
        )

    def rack_table(self, set_points: SetPoints | None = None) -> RackTable:
        """Return the tables of racks and units for their kernel.

        ``set_points`` has a single number for each set point of the water; by default the declared
        ones.
        """
        if set_points is None:
            return RackTable(self.places, self.hall_table, self.cdu_table)
        max_heat = (TABLE_POINT_COUNT - 1) / self.cdu_table.knots_per_mw
        resistance = _resistances(self.halls, self.cdu, max_heat, set_points)
        return RackTable(
            self.places,
            self.hall_table._replace(resistance=resistance),
            _unit_table(
                self.cdu, max_heat, self.rack_count, controlled=(self.facility_plant, set_points)
            ),
        )

    @property
    def rack_count(self) -> int:
        """Number of racks. [1]"""
        return len(self.places.hall_of_rack)

    @property
    def cdu_count(self) -> int:
        """Number of coolant units. [1]"""
        return self.cdu.count

    @cached_property
    def rack_labels(self) -> NDArray[np.str_]:
        """Names of the racks, ``hall/rack`` as in the telemetry archive."""
        return np.array([f"{h.name}/r{r + 1:04d}" for h in self.halls for r in range(h.racks)])

    @cached_property
    def cdu_labels(self) -> NDArray[np.str_]:
        """Names of the coolant units."""
        return np.array([f"{self.cdu.name}/u{unit + 1:03d}" for unit in range(self.cdu_count)])

    @cached_property
    def cdu_of_rack(self) -> NDArray[np.int64]:
        """Index of the coolant unit of each rack, ``(rack,)``."""
        return np.repeat(np.arange(self.cdu_count), np.diff(self.places.first_rack))


def _knots(hall: ITHall) -> FloatArray:
    return np.linspace(0.0, hall.rack_power, TABLE_POINT_COUNT)


def _chip_power(hall: ITHall) -> FloatArray:
    """Return the power of one chip over the power of its rack, at the knots. [W]"""
    return hall.accelerator_power(_knots(hall)) * W_PER_MW


def _hall_table(halls: tuple[ITHall, ...], cdu: CduBank, max_heat: float) -> HallTable:
    cold = np.zeros(TABLE_POINT_COUNT)
    return HallTable(
        idle_power=np.array([h.rack_idle_power for h in halls]),
        power_span=np.array([h.rack_power - h.rack_idle_power for h in halls]),
        liquid_share=np.array([h.liquid_share for h in halls]),
        knots_per_mw=np.array([(TABLE_POINT_COUNT - 1) / h.rack_power for h in halls]),
        chip_temperature_rise=np.stack([h.chip_temperature(_knots(h), cold) for h in halls]),
        resistance=_resistances(halls, cdu, max_heat),
    )


def _resistances(
    halls: tuple[ITHall, ...], cdu: CduBank, max_heat: float, points: SetPoints | None = None
) -> FloatArray:
    """Return the resistance of all halls' plates at the knots of a unit, ``(hall, knot)``. [1]"""
    flow = cdu.cold_plate_flow(np.linspace(0.0, max_heat, TABLE_POINT_COUNT) * cdu.count, points)
    return np.stack([_resistance(h, flow) for h in halls])


def _resistance(hall: ITHall, flow: FloatArray) -> FloatArray:
    """Return the resistance of a hall's plates at flow shares, over that at full flow. [1]"""
    full = hall.chip_temperature(hall.rack_power, 0.0)
    return np.asarray(hall.chip_temperature(hall.rack_power, 0.0, flow_share=flow) / full)


def _max_heat(halls: tuple[ITHall, ...], places: RackPlacement) -> float:
    """Return the largest heat of the racks of one unit. [MW]"""
    max_heat = np.array([h.rack_power * h.liquid_share for h in halls])[places.hall_of_rack]
    return float(np.add.reduceat(max_heat, places.first_rack[:-1]).max())


def _unit_table(
    cdu: CduBank,
    max_heat: float,
    racks: int,
    *,
    controlled: tuple[CoolingPlant, SetPoints] | None = None,
) -> CduTable:
    """Tabulate one unit of a bank from its physics, with the set points of its plant's water."""
    points = through = None
    heat = np.linspace(0.0, max_heat, TABLE_POINT_COUNT)
    heat[0] = _MIN_HEAT_SHARE * cdu.rated_heat
    bank = heat * cdu.count
    convert = next(r for r in cdu.relations() if isinstance(r, Conversion))
    if controlled is not None:
        plant, points = controlled
        through = plant.consumer_flow(
            bank, rated_heat=cdu.rated_heat_total, rated_range=cdu.facility_range, set_points=points
        )
    physics = convert.with_set_points(points).flows_at_output
    pump = physics(bank, _indoor_air(TABLE_POINT_COUNT)).inputs["critical"] / cdu.count
    carried = heat + pump
    rated_rate = cdu.rated_heat / cdu.technology_range
    rate = cdu.coolant_flow(carried * cdu.count, points) * rated_rate
    approach = cdu.technology_supply_temperature(
        bank, np.zeros(TABLE_POINT_COUNT), set_points=points, facility_flow=through
    )
    return CduTable(
        knots_per_mw=(TABLE_POINT_COUNT - 1) / max_heat,
        pump_power=pump,
        capacity_rate=rate,
        heat_per_kelvin=1.0 / (approach / carried + 1.0 / rate),
        rack_capacity=rated_rate * cdu.count / racks * RACK_RESIDENCE_S / SECONDS_PER_HOUR,
        cdu_capacity=rated_rate * CDU_RESIDENCE_S / SECONDS_PER_HOUR,
    )


def _indoor_air(count: int) -> Weather:
    """Return some weather for indoor machines, whose physics ignores it."""
    still = np.zeros(count)
    return Weather(
        air_temperature=still,
        wet_bulb_temperature=still,
        humidity_ratio=still,
        air_pressure=still + 100.0,
    )
