"""Channels: one meter each, and the reading that the twin predicts for it.

Every channel takes its inputs as measured, so that each machine is compared with its own meter
and not with the errors of those before it. Electrical channels: racks, busbars, the bus and its
feeds, batteries. Thermal channels: cooling plants, coolant, fans, heat pumps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.calibration.applied_setpoints import AppliedSetPoints
from twin.calibration.telemetry_history import TelemetryHistory, rack_liquid_heat
from twin.equipment import (
    Battery,
    Busway,
    CduBank,
    CoolingPlant,
    CrahBank,
    Equipment,
    Genset,
    HeatReuse,
    ITHall,
    Renewable,
    Switchgear,
    TransformerBank,
    UpsBank,
)
from twin.physics import FloatArray
from twin.relations import BIDIRECTIONAL_CARRIERS, Conversion, SetPoints
from twin.site import Site
from twin.units import QUARTER_HOUR_H, QUARTER_HOURS_PER_DAY

POWER_METER_ERROR: Final = 0.003
"""First guess of the standard error of a quarter-hour's mean power, a share. [1]"""

TEMPERATURE_SENSOR_ERROR_K: Final = 0.05
"""First guess of the standard error of temperatures. [K]"""

type SensorOffsets = Mapping[str, float]
"""Name of a sensor's offset -> its value. [K]"""


@dataclass(frozen=True, kw_only=True)
class CalibrationChannel:
    """One meter, and its predicted reading.

    - ``name``: Variable and machine.
    - ``machines``: Machines whose parameters and offsets change the prediction.
    - ``observed``: Readings, ``(time,)``; NaN where missing.
    - ``initial_standard_error``: First guess of the standard error, including those of measured
      inputs.
    - ``predict``: (site, offsets) -> prediction.
    """

    name: str
    machines: tuple[str, ...]
    observed: FloatArray
    initial_standard_error: FloatArray
    predict: Callable[[Site, SensorOffsets], FloatArray]


def machine_draw(
    machine: Equipment,
    output: FloatArray,
    history: TelemetryHistory,
    *,
    carrier: str,
    set_points: SetPoints | None = None,
) -> FloatArray:
    """Return the draw of a machine for a measured output; NaN where the output is unknown. [MW]

    - ``output``: Output, ``(time,)``; NaN where unknown. [MW]
    - ``carrier``: The carrier that is drawn.
    - ``set_points``: Set points of the water; by default the declared ones.
    """
    convert = next(r for r in machine.relations() if isinstance(r, Conversion))
    is_known = np.isfinite(output)
    known_output = np.where(is_known, output, 0.0)
    if convert.output_carrier not in BIDIRECTIONAL_CARRIERS:  # export flows backwards
        known_output = np.maximum(known_output, 0.0)
    draws = (
        convert.with_set_points(set_points).flows_at_output(known_output, history.weather).inputs
    )
    return np.where(is_known, draws[carrier], np.nan)


def find_machine[T: Equipment](site: Site, name: str, kind: type[T]) -> T:
    """Return a machine of a kind by its name."""
    return next(machine for machine in site.machines_of(kind) if machine.name == name)


LEVEL_SENSOR_ERROR: Final = 0.003
"""First guess of the standard error of a battery's level, a share of its capacity. [1]"""

LOSS_ITERATIONS: Final = 3
"""Iterations from the input of a feed to its output: its loss is below 1 %. [1]"""


def electrical_channels(
    site: Site, history: TelemetryHistory, applied: AppliedSetPoints
) -> Iterator[CalibrationChannel]:
    """Yield the channels of the electrical chain, at the applied set points."""
    for hall in site.machines_of(ITHall):
        yield _hall(hall, history)
    yield _busbar(site, history)
    yield _critical(site, history, applied)
    for battery in site.machines_of(Battery):
        yield _battery(battery, history)


def _hall(hall: ITHall, history: TelemetryHistory) -> CalibrationChannel:
    """Return the channel of a hall's power, predicted from its utilisation."""
    name = hall.name
    use = history.get("accelerator_utilisation", name)
    declared = use * (hall.full_power - hall.idle_power)
    observed = history.get("hall_power", name)

    def expect(tuned: Site, _: SensorOffsets) -> FloatArray:
        machine = find_machine(tuned, name, ITHall)
        return machine.idle_power + machine.power_factor_error * declared

    return CalibrationChannel(
        name=f"hall_power.{name}",
        machines=(name,),
        observed=np.where(np.isfinite(use), observed, np.nan),
        initial_standard_error=POWER_METER_ERROR * (observed + hall.idle_power),
        predict=expect,
    )


def _busbar(site: Site, history: TelemetryHistory) -> CalibrationChannel:
    """Return the channel of the medium-voltage bus: its unmeasured part is the loss of the UPS."""
    banks = site.machines_of(UpsBank)
    outputs = {bank.name: history.get("ups_output", bank.name) for bank in banks}
    into = history.total("cooling_plant_draw", site.machines_of(CoolingPlant))
    into = into + history.total("heat_reuse_draw", site.machines_of(HeatReuse))
    into = into + history.total("battery_charge", site.machines_of(Battery))
    out = history.total("battery_discharge", site.machines_of(Battery))
    out = out + history.total("renewable_used_power", site.machines_of(Renewable))
    genset_variable = "genset_output" if history.owners("genset_output") else "genset_power"
    metered = history.owners(genset_variable)  # unmetered gensets are assumed off
    out = out + history.total(
        genset_variable, (g for g in site.machines_of(Genset) if g.name in metered)
    )
    given = sum(outputs.values(), np.zeros(history.count))
    observed = _behind_feeds(site, history)

    def expect(tuned: Site, _: SensorOffsets) -> FloatArray:
        losses = [
            machine_draw(
                find_machine(tuned, name, UpsBank), output, history, carrier="medium_voltage"
            )
            for name, output in outputs.items()
        ]
        return np.asarray(np.sum(losses, axis=0) + into - out)

    squares = observed**2 + given**2 + into**2 + out**2
    return CalibrationChannel(
        name="medium_voltage",
        machines=tuple(outputs),
        observed=observed,
        initial_standard_error=POWER_METER_ERROR * np.sqrt(squares),
        predict=expect,
    )


def _behind_feeds(site: Site, history: TelemetryHistory) -> FloatArray:
    """Return the power that reaches the bus, by the meters nearest to it or the connection's."""
    feeds: list[Equipment] = []
    for name, machines in (
        ("switchgear_output", site.machines_of(Switchgear)),
        ("transformer_output", site.machines_of(TransformerBank)),
    ):
        measured = history.total(name, machines)
        if machines and np.isfinite(measured).any():
            return _behind(feeds, measured, history)
        feeds = [*machines, *feeds]
    exported = history.get("grid_export_power")
    net = history.get("grid_import_power") - (exported if np.isfinite(exported).any() else 0.0)
    return _behind(feeds, net, history)


def _behind(feeds: Sequence[Equipment], given: FloatArray, history: TelemetryHistory) -> FloatArray:
    """Return the output of feeds in series for an input. [MW]"""
    for machine in feeds:
        (convert,) = (r for r in machine.relations() if isinstance(r, Conversion))
        output = given
        for _ in range(LOSS_ITERATIONS):
            output = given - (
                machine_draw(machine, output, history, carrier=convert.primary_input) - output
            )
        given = output
    return given


def _critical(
    site: Site, history: TelemetryHistory, applied: AppliedSetPoints
) -> CalibrationChannel:
    """Return the channel of the critical bus; CDU pumps draw what the racks do not."""
    observed = history.total("ups_output", site.machines_of(UpsBank))
    halls = history.total("hall_power", site.machines_of(ITHall))
    fans = history.total("hall_air_draw", site.machines_of(CrahBank))
    liquid = rack_liquid_heat(site, history)

    def expect(tuned: Site, _: SensorOffsets) -> FloatArray:
        power = halls
        for machine in tuned.machines_of(Busway):
            power = machine_draw(machine, power, history, carrier="critical")
        pumps = [
            machine_draw(bank, liquid, history, carrier="critical", set_points=applied.set_points)
            for bank in tuned.machines_of(CduBank)
        ]
        return np.asarray(power + fans + sum(pumps, np.zeros(history.count)))

    banks = tuple(bank.name for bank in site.machines_of(CduBank))
    return CalibrationChannel(
        name="critical",
        machines=banks,
        observed=applied.mask_unknown(observed, banks),
        initial_standard_error=POWER_METER_ERROR * np.hypot(observed, halls),
        predict=expect,
    )


def _battery(battery: Battery, history: TelemetryHistory) -> CalibrationChannel:
    """Return the channel of a battery's level, anchored each day."""
    name = battery.name
    charge, discharge = (history.get(f"battery_{way}", name) for way in ("charge", "discharge"))
    level = history.get("battery_level", name)
    days = np.arange(history.count) // QUARTER_HOURS_PER_DAY

    def expect(tuned: Site, _: SensorOffsets) -> FloatArray:
        machine = find_machine(tuned, name, Battery)
        gain = machine.charge_efficiency * charge - discharge / machine.discharge_efficiency
        gain = QUARTER_HOUR_H * (gain - machine.standing_loss * np.nan_to_num(level))
        return _anchored(gain, level, days)

    return CalibrationChannel(
        name=f"battery_level.{name}",
        machines=(name,),
        observed=level,
        initial_standard_error=np.full(history.count, LEVEL_SENSOR_ERROR * battery.capacity),
        predict=expect,
    )


def _anchored(gain: FloatArray, level: FloatArray, days: NDArray[np.int64]) -> FloatArray:
    """Return the levels from gains [MWh], on each day from their best-fitting start.

    A gap in the gains starts a new stretch, as midnight does.
    """
    is_gap = np.isnan(gain)
    stretch = np.cumsum(is_gap | (np.diff(days, prepend=days[0]) > 0))
    known = np.nan_to_num(gain)
    cumulative = np.cumsum(known) - 0.5 * known  # in the middle of the quarter-hour, as means are
    off = np.where(is_gap, np.nan, level - cumulative)
    is_read = np.isfinite(off)
    sums = np.bincount(stretch[is_read], off[is_read], minlength=stretch[-1] + 1)
    counts = np.bincount(stretch[is_read], minlength=stretch[-1] + 1)
    start = sums / np.maximum(counts, 1)
    return np.where(is_gap, np.nan, cumulative + start[stretch])


def thermal_channels(
    site: Site, history: TelemetryHistory, applied: AppliedSetPoints
) -> Iterator[CalibrationChannel]:
    """Yield the channels of heat, at the applied set points."""
    for plant in site.machines_of(CoolingPlant):
        yield from _plant(plant, history, applied)
    for bank in site.machines_of(CduBank):
        yield _coolant(site, bank, history, applied=applied)
    for air in site.machines_of(CrahBank):
        yield _fans(site, air, history)
    for pump in site.machines_of(HeatReuse):
        yield _pump(pump, history)


def _plant(
    plant: CoolingPlant, history: TelemetryHistory, applied: AppliedSetPoints
) -> Iterator[CalibrationChannel]:
    """Yield the channels of a plant's draw and supply temperature."""
    name = plant.name
    output = history.get("cooling_plant_output", name)
    observed = history.get("cooling_plant_draw", name)
    supply_set_points = applied.set_points.supply_temperature if applied.set_points else {}

    def draw(tuned: Site, _: SensorOffsets) -> FloatArray:
        machine = find_machine(tuned, name, CoolingPlant)
        return machine_draw(
            machine, output, history, carrier="medium_voltage", set_points=applied.set_points
        )

    def supply(tuned: Site, offsets: SensorOffsets) -> FloatArray:
        declared = find_machine(tuned, name, CoolingPlant).supply_temperature
        target = supply_set_points.get(name, np.full(history.count, declared))
        return target + offsets.get(f"{name}.facility_supply_temperature.offset", 0.0)

    yield CalibrationChannel(
        name=f"cooling_plant_draw.{name}",
        machines=(name,),
        observed=applied.mask_unknown(
            np.where(np.isfinite(output) & history.has_weather, observed, np.nan), [name]
        ),
        initial_standard_error=POWER_METER_ERROR * (observed + plant.pump_power),
        predict=draw,
    )
    yield CalibrationChannel(
        name=f"facility_supply_temperature.{name}",
        machines=(name,),
        observed=applied.mask_unknown(history.get("facility_supply_temperature", name), [name]),
        initial_standard_error=np.full(history.count, TEMPERATURE_SENSOR_ERROR_K),
        predict=supply,
    )


def _coolant(
    site: Site, bank: CduBank, history: TelemetryHistory, *, applied: AppliedSetPoints
) -> CalibrationChannel:
    """Return the channel of the coolant temperature at the racks."""
    plant = next(plant for plant in site.machines_of(CoolingPlant) if plant.serves == "warm")
    warm = plant.name
    water = history.get("facility_supply_temperature", warm)
    heat = rack_liquid_heat(site, history)
    through = plant.consumer_flow(
        heat,
        rated_heat=bank.rated_heat_total,
        rated_range=bank.facility_range,
        set_points=applied.set_points,
    )

    def expect(tuned: Site, offsets: SensorOffsets) -> FloatArray:
        true = water - offsets.get(f"{warm}.facility_supply_temperature.offset", 0.0)
        machine = find_machine(tuned, bank.name, CduBank)
        read = machine.technology_supply_temperature(
            heat, true, set_points=applied.set_points, facility_flow=through
        )
        return read + offsets.get(f"{bank.name}.technology_supply_temperature.offset", 0.0)

    return CalibrationChannel(
        name=f"technology_supply_temperature.{bank.name}",
        machines=(bank.name, warm),
        observed=applied.mask_unknown(
            history.get("technology_supply_temperature", bank.name), [bank.name, warm]
        ),
        initial_standard_error=np.full(history.count, TEMPERATURE_SENSOR_ERROR_K),
        predict=expect,
    )


def _fans(site: Site, air: CrahBank, history: TelemetryHistory) -> CalibrationChannel:
    """Return the channel of the halls' fans."""
    halls = history.total("hall_power", site.machines_of(ITHall))
    observed = history.get("hall_air_draw", air.name)

    def expect(tuned: Site, _: SensorOffsets) -> FloatArray:
        heat = _air_heat(tuned, history)
        return machine_draw(
            find_machine(tuned, air.name, CrahBank), heat, history, carrier="critical"
        )

    return CalibrationChannel(
        name=f"hall_air_draw.{air.name}",
        machines=(air.name,),
        observed=np.where(np.isfinite(halls), observed, np.nan),
        initial_standard_error=POWER_METER_ERROR * (observed + air.fan_power),
        predict=expect,
    )


def _air_heat(site: Site, history: TelemetryHistory) -> FloatArray:
    """Return the heat of racks and busways in the air of the halls. [MW]"""
    halls = history.total("hall_power", site.machines_of(ITHall))
    parts = [
        (1.0 - hall.liquid_share) * history.get("hall_power", hall.name)
        for hall in site.machines_of(ITHall)
    ]
    lost = [
        machine_draw(machine, halls, history, carrier="air") for machine in site.machines_of(Busway)
    ]
    return np.asarray(np.sum([*parts, *lost], axis=0))


def _pump(pump: HeatReuse, history: TelemetryHistory) -> CalibrationChannel:
    """Return the channel of a heat pump's draw."""
    heat = history.get("heat_reuse_power", pump.name)
    observed = history.get("heat_reuse_draw", pump.name)

    def expect(tuned: Site, _: SensorOffsets) -> FloatArray:
        machine = find_machine(tuned, pump.name, HeatReuse)
        return machine.power(heat, history.weather.air_temperature)

    return CalibrationChannel(
        name=f"heat_reuse_draw.{pump.name}",
        machines=(pump.name,),
        observed=np.where(np.isfinite(heat) & history.has_weather, observed, np.nan),
        initial_standard_error=POWER_METER_ERROR * (observed + pump.rated_heat / pump.rated_cop),
        predict=expect,
    )
