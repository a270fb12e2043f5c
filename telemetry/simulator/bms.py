"""Building-management system of a simulated facility: it publishes points and receives requests.

``machine_readings`` and ``rack_readings`` compute the true values of all points; ``SimulatedBms``
adds sensor errors and publishes what changed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.messages import encode, topics
from telemetry.messages.samples import PointValue
from telemetry.points.point_meanings import (
    BMS_OBJECT_ID,
    INTEGRATION_NAME,
    RACK_OBJECT_TYPE,
    RENEWABLE_KINDS,
    SYSTEM_OBJECT_TYPE,
    UNIT_CONVERSIONS,
)
from telemetry.points.site_points import SitePoint, list_points, rack_ids
from telemetry.simulator.cluster import RackLoad, chip_coolant_temperature
from telemetry.simulator.deviations import FacilityNoise
from telemetry.simulator.faults import PlantFault, SensorFaults
from telemetry.simulator.setpoint_requests import SetPointRequests, WaterSetPoints
from twin import variables
from twin.equipment import Busway, CduBank, CoolingPlant, CrahBank, ITHall, Renewable
from twin.physics import FloatArray
from twin.physics import fluid_flow as liquids
from twin.relations import SetPoints
from twin.simulation.engine import VariableKey
from twin.site import Site

PUBLISH_DEADBANDS: Final[dict[str, tuple[float, float]]] = {
    "kW": (0.5, 0.001),
    "C": (0.15, 0.0),
    "%": (0.1, 0.0),
    "kg/s": (0.1, 0.005),
    "LPM": (0.5, 0.01),
}
"""Unit in messages -> smallest change that is published: absolute in this unit, and share of the
value.
"""

RACK_PUBLISH_DEADBANDS: Final[dict[str, tuple[float, float]]] = {"kW": (1.0, 0.01), "C": (0.3, 0.0)}
"""The same for racks and units of banks, of which there are many."""

FLOW_ERROR_SHARE: Final = 0.005
"""Relative standard error of flow meters. [1]"""

HUMIDITY_ERROR_PERCENT: Final = 1.0
"""Standard error of the hygrometer. [%]"""

ERROR_FREE_VARIABLES: Final = ("peak_power",)
"""Readings that are counted, not measured."""

_MILLISECOND: Final = np.timedelta64(1, "ms")

_START_OF_RUN: Final = np.timedelta64(0, "us")

type TopicPayload = tuple[str, bytes]
"""A topic and its payload."""


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Constant properties of the points, one array each."""

    factor: FloatArray
    offset: FloatArray
    error: FloatArray
    error_share: FloatArray
    band: FloatArray
    band_share: FloatArray


class SimulatedBms:
    """The building-management system.

    - `requests`: checks and stores requests.
    - `rng`: source of sensor errors.
    - `noise`: standard errors of the sensors.
    - `repeat`: readings within which every point is published again, changed or not. [1]
    - `faults`: faults of the sensors.
    """

    def __init__(
        self,
        site: Site,
        requests: SetPointRequests,
        *,
        rng: np.random.Generator,
        noise: FacilityNoise,
        repeat: int,
        faults: Sequence[PlantFault] = (),
    ) -> None:
        self._rng, self._requests, self._repeat = rng, requests, repeat
        self._listed = list(list_points(site))
        self._columns = columns = _columns(site, self._listed, noise)
        is_measured = (columns.error > 0.0) | (columns.error_share > 0.0)
        self._faults = SensorFaults(faults, self._listed, is_measured)
        self._machines: dict[VariableKey, tuple[list[int], str]] = {}
        self._racks: dict[str, tuple[list[int], list[int]]] = {}
        self._topics: list[str] = []
        self._ours: dict[str, tuple[VariableKey, int]] = {}
        self._index(site)
        self._last = np.full(len(self._listed), np.nan)
        self._turn = 0
        self._echo: float | None = None

    def _index(self, site: Site) -> None:
        """Store the positions of the values of each machine and rack."""
        racks = [rack for hall in site.machines_of(ITHall) for rack in rack_ids(hall)]
        numbers = {rack: number for number, rack in enumerate(racks)}
        for place, listed in enumerate(self._listed):
            meaning, point = listed.meaning, listed.metadata.point
            self._topics.append(topics.value_topic(point))
            if meaning.is_writable:
                owner = listed.label if listed.machine else meaning.site_object_id
                self._ours[point] = (meaning.variable, owner), place
            elif meaning.object_type == RACK_OBJECT_TYPE:
                places, which = self._racks.setdefault(meaning.variable, ([], []))
                places.append(place)
                which.append(numbers[listed.label])
            elif meaning.object_type != SYSTEM_OBJECT_TYPE:
                key = meaning.variable, listed.machine
                self._machines.setdefault(key, ([], meaning.reverse_variable))[0].append(place)

    def metadata_messages(self, *, share: int = 1) -> list[TopicPayload]:
        """Return retained metadata of every ``share``-th point, others with each reading. [1]"""
        return [encode(listed.metadata) for listed in self._listed[self._turn % share :: share]]

    def changed_messages(
        self,
        machines: Mapping[VariableKey, float],
        racks: Mapping[str, FloatArray],
        *,
        time: np.datetime64,
        elapsed: np.timedelta64 = _START_OF_RUN,
        is_whole: bool = False,
    ) -> list[TopicPayload]:
        """Return messages of points that changed or are due for repetition; with ``is_whole`` of
        all.

        True values are by (variable, machine), and by variable for all racks, in canonical units.
        ``elapsed`` is the time since the start of the run.
        """
        measured = self._measured(machines, racks, elapsed)
        columns = self._columns
        band = np.maximum(columns.band, columns.band_share * np.abs(self._last))
        is_due = ~(np.abs(measured - self._last) <= band)  # also before the first value
        is_due |= np.arange(len(measured)) % self._repeat == self._turn % self._repeat
        published = np.flatnonzero((is_due | is_whole) & np.isfinite(measured))
        self._last[published] = measured[published]
        self._last[np.isnan(measured)] = np.nan  # a silent sensor is not repeated either
        self._turn += 1
        return self._messages(published, time)

    def last_messages(self, time: np.datetime64) -> list[TopicPayload]:
        """Return the last values of all points, for a receiver that may have missed them."""
        return self._messages(np.flatnonzero(np.isfinite(self._last)), time)

    def _messages(self, places: NDArray[np.int64], time: np.datetime64) -> list[TopicPayload]:
        """Return messages of the last published values."""
        end = f',"timestamp":{_stamp(time)},"quality":1}}'
        return [
            (self._topics[place], f'{{"value":{value:.7g}{end}'.encode())
            for place, value in zip(places.tolist(), self._last[places].tolist(), strict=True)
        ]

    def _measured(
        self,
        machines: Mapping[VariableKey, float],
        racks: Mapping[str, FloatArray],
        elapsed: np.timedelta64,
    ) -> FloatArray:
        """Return all points with sensor errors and faults, in the units of the messages."""
        true = np.full(len(self._listed), np.nan)
        for key, (places, negative) in self._machines.items():
            true[places] = machines.get(key, np.nan) - machines.get((negative, key[1]), 0.0)
        for variable, (places, which) in self._racks.items():
            true[places] = racks[variable][which]
        columns = self._columns
        wire = (true - columns.offset) / columns.factor
        scatter = self._rng.standard_normal(len(wire))
        errors = columns.error + columns.error_share * np.abs(wire)
        read = wire + scatter * errors
        return self._faults.readings(read, last=self._last, errors=errors, elapsed=elapsed)

    def write_point(self, value: PointValue, *, now: np.datetime64) -> str:
        """Accept a value that an integration wrote; return the reason of a refusal, or ""."""
        ours = self._ours.get(value.point)
        if ours is None or value.sender != INTEGRATION_NAME:
            self._requests.refused += 1
            return f"{value.sender} may not write {value.point}: it is not its point"
        key, place = ours
        if key[0].startswith("service_heartbeat"):
            self._requests.record_heartbeat(now)
            if key[0] == "service_heartbeat":
                self._echo = value.value
            return ""
        request = value.value
        if request is not None:
            request = float(request * self._columns.factor[place] + self._columns.offset[place])
        return self._requests.accept(key, request, now=now)

    def heartbeat_messages(self, time: np.datetime64) -> list[TopicPayload]:
        """Return the clock of the system, and the echo of the integration's last heartbeat."""
        clocks = {BMS_OBJECT_ID: _stamp(time), INTEGRATION_NAME: self._echo}
        found = []
        for listed in self._listed:
            meaning = listed.meaning
            if meaning.object_type == SYSTEM_OBJECT_TYPE and not meaning.is_writable:
                value = clocks[meaning.site_object_id]
                if value is not None:
                    point = listed.metadata.point
                    found.append(encode(PointValue(point=point, time=time, value=value)))
        return found


def _stamp(time: np.datetime64) -> int:
    return int((time - np.datetime64(0, "us")) // _MILLISECOND)


def _columns(site: Site, listed: list[SitePoint], noise: FacilityNoise) -> _Columns:
    rows: list[tuple[float, ...]] = []
    for point in listed:
        meaning, unit = point.meaning, point.meaning.unit
        share = 1.0
        canonical = variables.variable_definition(meaning.variable).unit if unit else "ms"
        if meaning.share_of_parameter:
            share, canonical = (
                getattr(site.equipment[point.machine], meaning.share_of_parameter),
                "1",
            )
        factor, offset = UNIT_CONVERSIONS[unit, canonical]
        bands = (
            PUBLISH_DEADBANDS
            if point.label == point.machine
            else PUBLISH_DEADBANDS | RACK_PUBLISH_DEADBANDS
        )
        band = (0.0, 0.0) if meaning.is_setpoint else bands.get(unit, (0.0, 0.0))
        rows.append((factor * share, offset, *_errors(point, noise), *band))
    columns: NDArray[np.float64] = np.array(rows).T
    names = ("factor", "offset", "error", "error_share", "band", "band_share")
    return _Columns(**dict(zip(names, columns, strict=True)))


def _errors(point: SitePoint, noise: FacilityNoise) -> tuple[float, float]:
    """Return the standard error of a sensor in its unit, and as a share of its reading."""
    meaning = point.meaning
    if meaning.is_setpoint or not meaning.unit or meaning.variable in ERROR_FREE_VARIABLES:
        return 0.0, 0.0
    if meaning.share_of_parameter:
        return noise.level_sensor_error / UNIT_CONVERSIONS["%", "1"][0], 0.0
    return {
        "kW": (0.0, noise.power_meter_error),
        "C": (noise.temperature_sensor_error, 0.0),
        "%": (HUMIDITY_ERROR_PERCENT, 0.0),
    }.get(meaning.unit, (0.0, FLOW_ERROR_SHARE))


MIN_RUNNING_POWER_MW: Final = 1e-3
"""Power below which a store or a renewable source does not operate. [MW]"""


def machine_readings(
    site: Site,
    truth: Mapping[VariableKey, float],
    applied: Mapping[VariableKey, float],
    *,
    water: WaterSetPoints,
    absent: Collection[str] = (),
) -> dict[VariableKey, float]:
    """Return the true values of all points of machines, by (variable, machine or bank).

    ``truth`` are the true values of
    :meth:`telemetry.simulator.plant.SimulatedFacility.true_values`, ``applied`` the active
    requests, ``absent`` the machines out of service. Unknown values are left out.
    """
    values = dict(truth)
    grid = site.grid_connection.name
    for name in ("grid_import_power", "grid_export_power", "peak_power"):
        values[name, grid] = truth[name, ""]
    halls = [truth.get(("hall_power", hall.name)) for hall in site.machines_of(ITHall)]
    for machine in site.machines_of(Busway):
        values["distribution_output", machine.name] = sum(p for p in halls if p is not None)
    for bank_of_air in site.machines_of(CrahBank):
        if ("hall_air_fan_power", bank_of_air.name) in truth:
            values["hall_air_draw", bank_of_air.name] = truth[
                "hall_air_fan_power", bank_of_air.name
            ]
    for plant in site.machines_of(CoolingPlant):
        values.update(_circuit(plant, truth, water))
    for bank in site.machines_of(CduBank):
        values.update(_coolant(site, bank, truth, water=water))
    values.update(_applied(site, applied))
    values.update(_states(site, truth, absent))
    return values


def coolant_approach(site: Site, heat: float, points: SetPoints | None = None) -> float:
    """Return how much warmer the coolant at the racks is than the supply water, 0 without CDUs. [K]

    ``heat`` is the heat of the racks to the coolant [MW]; set points are by default the declared
    ones.
    """
    banks, load = site.machines_of(CduBank), np.asarray(heat)
    if not banks:
        return 0.0
    bank = banks[0]
    through = _warm(site).consumer_flow(
        load, rated_heat=bank.rated_heat_total, rated_range=bank.facility_range, set_points=points
    )
    above = bank.technology_supply_temperature(
        load, np.asarray(0.0), set_points=points, facility_flow=through
    )
    return float(above)


def coolant_flow_share(
    site: Site, truth: Mapping[VariableKey, float], points: SetPoints | None
) -> float:
    """Return the coolant flow in the racks as a share of the declared one. [1]

    It is 1 if the units have not run yet, and where air cools all racks.
    """
    banks = site.machines_of(CduBank)
    if not banks:
        return 1.0
    heat = np.asarray(truth.get(("cdu_output", banks[0].name), banks[0].rated_heat_total))
    return float(banks[0].cold_plate_flow(heat, points))


def rack_readings(
    site: Site, truth: Mapping[VariableKey, float], load: RackLoad, *, flow_share: float = 1.0
) -> dict[str, FloatArray]:
    """Return variable -> true value of each rack, hall by hall; NaN for the liquid of air-cooled
    racks.

    ``flow_share`` is the coolant flow as a share of the rated one. [1]
    """
    halls = site.machines_of(ITHall)
    racks = [hall.racks for hall in halls]
    liquid = [
        np.nan if hall.is_air_cooled else chip_coolant_temperature(site, hall, truth)
        for hall in halls
    ]
    supply = np.repeat(liquid, racks)
    shares = np.repeat([hall.liquid_share for hall in halls], racks)
    litres = [flow_share * hall.chips_per_rack * hall.chip_flow / 3.6 for hall in halls]
    banks = site.machines_of(CduBank)
    coolant = banks[0].liquid if banks else liquids.PG25  # air alone has no flow
    flow = np.repeat(litres, racks) * liquids.density(supply, coolant) / 1000.0
    rate = np.asarray(liquids.capacity_rate(flow, coolant, temperature=supply))
    rise = np.divide(shares * load.power, rate, out=np.zeros(len(flow)), where=rate > 0.0)
    return {
        "rack_power": load.power,
        "rack_supply_temperature": supply,
        "rack_return_temperature": supply + rise,
        "rack_flow": flow,
    }


def _warm(site: Site) -> CoolingPlant:
    return next(plant for plant in site.machines_of(CoolingPlant) if plant.serves == "warm")


def _circuit(
    plant: CoolingPlant, truth: Mapping[VariableKey, float], water: WaterSetPoints
) -> dict[VariableKey, float]:
    """Return the set points of a circuit and, once it has run, its flow and return temperature."""
    word = "facility_range_set_point", plant.name
    aims = {
        ("facility_supply_applied", plant.name): water.supply_set_points[plant.name],
        ("facility_range_applied", plant.name): water.temperature_ranges.get(
            word, plant.temperature_range
        ),
        ("facility_enabled", plant.name): float(not water.is_local_control),
    }
    if ("cooling_plant_flow", plant.name) not in truth:
        return aims
    flow = truth["cooling_plant_flow", plant.name]
    supply = truth["facility_supply_temperature", plant.name]
    rate = liquids.capacity_rate(flow, plant.loop.liquid, temperature=supply)
    warmer = truth["cooling_load", plant.name] / float(rate)
    return aims | {
        ("cooling_plant_units_applied", plant.name): truth["cooling_plant_units_on", plant.name],
        ("facility_flow", plant.name): flow,
        ("facility_return_temperature", plant.name): supply + warmer,
    }


def _coolant(
    site: Site, bank: CduBank, truth: Mapping[VariableKey, float], *, water: WaterSetPoints
) -> dict[VariableKey, float]:
    """Return the return temperature of the coolant of a bank, and its set points."""
    heat = truth.get(("cdu_output", bank.name), 0.0)
    points = water.set_points(site)
    aim = water.supply_set_points[_warm(site).name] + coolant_approach(site, heat, points)
    word = "technology_range_set_point", bank.name
    values = {
        ("technology_supply_set_point", bank.name): aim,
        ("technology_range_applied", bank.name): water.temperature_ranges.get(
            word, bank.technology_range
        ),
    }
    if ("cdu_output", bank.name) in truth:
        share = heat / (bank.count * bank.rated_heat)
        warmer = bank.technology_range * share / float(bank.coolant_flow(np.asarray(heat), points))
        leaving = truth["technology_supply_temperature", bank.name]
        values["technology_return_temperature", bank.name] = leaving + warmer
    return values


def _applied(site: Site, applied: Mapping[VariableKey, float]) -> dict[VariableKey, float]:
    """Return the powers that the facility applies; without a limit the rated power."""
    rated = {machine.name: machine.power for machine in site.machines_of(Renewable)}
    return {
        (f"{name.removesuffix('_request')}_applied", owner): min(value, rated.get(owner, np.inf))
        for (name, owner), value in applied.items()
        if name.removesuffix("_request") in ("battery", "tank", "renewable", "heat_reuse")
    }


def _states(
    site: Site, truth: Mapping[VariableKey, float], absent: Collection[str]
) -> dict[VariableKey, float]:
    """Return which machines are available, and which operate."""
    values: dict[VariableKey, float] = {}
    machines = {name: one for name, one in site.equipment.items() if one.is_machine}
    for name, machine in machines.items():
        powers = _POWERS.get(machine.kind, ())
        runs = not powers or any(
            truth.get((word, name), 0.0) > MIN_RUNNING_POWER_MW for word in powers
        )
        word = "renewable" if machine.kind in RENEWABLE_KINDS else machine.kind
        values[f"{word}_available", name] = float(name not in absent)
        values[f"{word}_status", name] = float(runs)
    return values


_POWERS: Final[dict[str, tuple[str, ...]]] = {
    "battery": ("battery_charge", "battery_discharge"),
    "tank": ("tank_charge", "tank_discharge"),
    "photovoltaic": ("renewable_used_power",),
    "wind": ("renewable_used_power",),
    "heat_reuse": ("heat_reuse_power",),
}
"""Kind of equipment -> powers that are zero when it does not operate."""
