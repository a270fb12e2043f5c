"""Where the racks of a site stand, and tables of what they and their coolant units do.

The tables are laid from the equipment's own physics, so that a view of the racks knows no second
copy of it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from twin.equipment import CduBank, CoolingPlant, ITHall
from twin.errors import StateError, ValidationIssue
from twin.physics import FloatArray
from twin.racks.kernels import CduTable, HallTable, RackPlacement, RackTable
from twin.relations import Convert, SetPoints
from twin.site import Site
from twin.weather import Weather

TABLE_POINTS: Final = 1025
"""Points of a table: a quantity that bends is met to a millionth of its range between them."""

RACK_RESIDENCE_S: Final = 15.0
"""Time that coolant at rated flow spends in a rack, its manifolds and hoses; assumed. [s]"""

CDU_RESIDENCE_S: Final = 30.0
"""Time that coolant at rated flow spends in a unit and its headers; assumed. [s]"""

_HOUR: Final = 3600.0  # s
_WATTS: Final = 1e6  # in a MW
_HEADROOM: Final = 1.05  # of the most that racks can bring to a unit
_LEAST_HEAT: Final = 1e-9  # of the rated heat, where heat per kelvin would be 0/0


@dataclass(frozen=True, kw_only=True)
class RackLayout:
    """The racks, coolant units and chips of a site.

    Attributes
    ----------
    site
        The site.
    cdu
        Its bank of coolant units.
    halls
        Its halls.
    places, hall_table, cdu_table
        Who stands where, and what they do.
    chip_power
        Power of one chip at the knots of its hall's racks, ``(hall, knot)``. [W]
    """

    site: Site
    cdu: CduBank
    halls: tuple[ITHall, ...]
    places: RackPlacement
    hall_table: HallTable
    cdu_table: CduTable
    chip_power: FloatArray

    @classmethod
    def from_site(cls, site: Site) -> Self:
        """Return the layout of a site.

        Racks stand hall after hall; each unit serves neighbours, in numbers as equal as can be.

        Raises
        ------
        StateError
            If the site has not exactly one bank of coolant units, or less racks than units, or if
            air cools the chips of a hall.
        """
        halls, banks = site.machines_of(ITHall), site.machines_of(CduBank)
        if len(banks) != 1 or banks[0].count > site.racks:
            remedy = "racks are viewed behind one bank of coolant units, each with a rack or more"
            shown = ", ".join(bank.name for bank in banks)
            raise StateError(
                site.name, [ValidationIssue(location="equipment, cdu", found=shown, remedy=remedy)]
            )
        airy = [hall.name for hall in halls if hall.is_air_cooled]
        if airy:
            remedy = "racks are viewed where coolant cools their chips"
            raise StateError(
                site.name, [ValidationIssue(location="hall", found=", ".join(airy), remedy=remedy)]
            )
        cdu = banks[0]
        first = np.arange(cdu.count + 1) * site.racks // cdu.count
        hall = np.repeat(np.arange(len(halls)), [h.racks for h in halls])
        places = RackPlacement(first_rack=first.astype(np.int64), hall=hall.astype(np.int64))
        most = _HEADROOM * _most_heat(halls, places)
        return cls(
            site=site,
            cdu=cdu,
            halls=halls,
            places=places,
            hall_table=_hall_table(halls, cdu, most),
            cdu_table=_unit_table(cdu, most, site.racks),
            chip_power=np.stack([_chip_power(h) for h in halls]),
        )

    @property
    def facility_plant(self) -> CoolingPlant:
        """The plant whose water goes to the units."""
        return next(
            plant for plant in self.site.machines_of(CoolingPlant) if plant.serves == "warm"
        )

    def rack_table(self, set_points: SetPoints | None = None) -> RackTable:
        """Return what racks and units do, for their kernel.

        Parameters
        ----------
        set_points
            Set points of the water, each a single number; by default the declared ones.
        """
        if set_points is None:
            return RackTable(self.places, self.hall_table, self.cdu_table)
        most = (TABLE_POINTS - 1) / self.cdu_table.knots_per_mw
        resistance = _resistances(self.halls, self.cdu, most, set_points)
        return RackTable(
            self.places,
            self.hall_table._replace(resistance=resistance),
            _unit_table(self.cdu, most, self.rack_count, steered=(self.facility_plant, set_points)),
        )

    @property
    def rack_count(self) -> int:
        """Number of racks. [1]"""
        return len(self.places.hall)

    @property
    def cdu_count(self) -> int:
        """Number of coolant units. [1]"""
        return self.cdu.count

    @cached_property
    def rack_labels(self) -> NDArray[np.str_]:
        """Names of the racks, ``hall/rack`` as in the archive of telemetry."""
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
    return np.linspace(0.0, hall.rack_power, TABLE_POINTS)


def _chip_power(hall: ITHall) -> FloatArray:
    """Return the power of one chip over the power of its rack, at the knots. [W]"""
    board = hall.board_power(_knots(hall) * hall.racks) / hall.racks
    return np.asarray(np.maximum(board, 0.0) * hall.chip_share / hall.chips_per_rack * _WATTS)


def _hall_table(halls: tuple[ITHall, ...], cdu: CduBank, most: float) -> HallTable:
    cold = np.zeros(TABLE_POINTS)
    return HallTable(
        idle_power=np.array([h.rack_idle_power for h in halls]),
        power_span=np.array([h.rack_power - h.rack_idle_power for h in halls]),
        liquid_share=np.array([h.liquid_share for h in halls]),
        knots_per_mw=np.array([(TABLE_POINTS - 1) / h.rack_power for h in halls]),
        chip_temperature_rise=np.stack(
            [np.maximum(h.chip_temperature(_knots(h), cold), 0.0) for h in halls]
        ),
        resistance=_resistances(halls, cdu, most),
    )


def _resistances(
    halls: tuple[ITHall, ...], cdu: CduBank, most: float, points: SetPoints | None = None
) -> FloatArray:
    """Return the resistance of all halls' plates at the knots of a unit, ``(hall, knot)``. [1]"""
    flow = cdu.cold_plate_flow(np.linspace(0.0, most, TABLE_POINTS) * cdu.count, points)
    return np.stack([_resistance(h, flow) for h in halls])


def _resistance(hall: ITHall, flow: FloatArray) -> FloatArray:
    """Return the resistance of a hall's plates at shares of their flow beside that at all. [1]"""
    full = hall.chip_temperature(hall.rack_power, 0.0)
    return np.asarray(hall.chip_temperature(hall.rack_power, 0.0, flow_share=flow) / full)


def _most_heat(halls: tuple[ITHall, ...], places: RackPlacement) -> float:
    """Return the most heat that the racks of one unit bring. [MW]"""
    most = np.array([h.rack_power * h.liquid_share for h in halls])[places.hall]
    return float(np.add.reduceat(most, places.first_rack[:-1]).max())


def _unit_table(
    cdu: CduBank, most: float, racks: int, *, steered: tuple[CoolingPlant, SetPoints] | None = None
) -> CduTable:
    """Tabulate one unit of a bank from the physics of the bank, as its plant's water is steered."""
    points = through = None
    heat = np.linspace(0.0, most, TABLE_POINTS)
    heat[0] = _LEAST_HEAT * cdu.rated_heat
    bank = heat * cdu.count
    convert = next(r for r in cdu.relations() if isinstance(r, Convert))
    if steered is not None:
        plant, points = steered
        through = plant.consumer_flow(
            bank, rated_heat=cdu.rated_heat_total, rated_range=cdu.facility_range, set_points=points
        )
    physics = convert.with_set_points(points).physics
    pump = physics(bank, _calm(TABLE_POINTS)).inputs["critical"] / cdu.count
    carried = heat + pump
    rated_rate = cdu.rated_heat / cdu.technology_range
    rate = cdu.coolant_flow(carried * cdu.count, points) * rated_rate
    approach = cdu.technology_supply_temperature(
        bank, np.zeros(TABLE_POINTS), set_points=points, facility_flow=through
    )
    return CduTable(
        knots_per_mw=(TABLE_POINTS - 1) / most,
        pump_power=pump,
        capacity_rate=rate,
        heat_per_kelvin=1.0 / (approach / carried + 1.0 / rate),
        rack_capacity=rated_rate * cdu.count / racks * RACK_RESIDENCE_S / _HOUR,
        cdu_capacity=rated_rate * CDU_RESIDENCE_S / _HOUR,
    )


def _calm(count: int) -> Weather:
    """Return some air for machines that stand indoors."""
    still = np.zeros(count)
    return Weather(
        air_temperature=still,
        wet_bulb_temperature=still,
        humidity_ratio=still,
        air_pressure=still + 100.0,
    )
