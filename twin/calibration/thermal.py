"""Channels of heat: plants of the circuits, coolant, fans, heat pumps."""

from collections.abc import Callable, Iterator

import numpy as np

from twin.calibration.channel import METER, THERMOMETER, Channel, Offsets, drawn, machine_of
from twin.calibration.history import History
from twin.equipment import Accelerators, Cdu, CoolingPlant, Distribution, HallAir, HeatReuse
from twin.physics import FloatArray
from twin.site import Site


def thermal(site: Site, history: History) -> Iterator[Channel]:
    """Yield the channels of heat."""
    for plant in site.of(CoolingPlant):
        yield from _plant(plant, history)
    for bank in site.of(Cdu):
        yield _coolant(site, bank, history)
    for air in site.of(HallAir):
        yield _fans(air, history)
    for pump in site.of(HeatReuse):
        yield _pump(pump, history)


def _plant(plant: CoolingPlant, history: History) -> Iterator[Channel]:
    """Yield draw and supply temperature of a circuit's plant."""
    name = plant.name
    output = history.get("cooling_plant_output", name)
    observed = history.get("cooling_plant_draw", name)

    def draw(tuned: Site, _: Offsets) -> FloatArray:
        return drawn(
            machine_of(tuned, name, CoolingPlant), output, history, carrier="medium_voltage"
        )

    def supply(tuned: Site, offsets: Offsets) -> FloatArray:
        target = machine_of(tuned, name, CoolingPlant).supply_temperature
        offset = offsets.get(f"{name}.facility_supply_temperature.offset", 0.0)
        return np.full(history.count, target + offset)

    yield Channel(
        name=f"cooling_plant_draw.{name}",
        machines=(name,),
        observed=np.where(np.isfinite(output), observed, np.nan),
        error=METER * (observed + plant.pump_power),
        expect=draw,
    )
    yield Channel(
        name=f"facility_supply_temperature.{name}",
        machines=(name,),
        observed=history.get("facility_supply_temperature", name),
        error=np.full(history.count, THERMOMETER),
        expect=supply,
    )


def _coolant(site: Site, bank: Cdu, history: History) -> Channel:
    """Return the coolant at the racks: above the water by what the exchangers need."""
    warm = next(plant.name for plant in site.of(CoolingPlant) if plant.serves == "warm")
    water = history.get("facility_supply_temperature", warm)
    heat = sum(
        hall.liquid_share * history.get("hall_power", hall.name) for hall in site.of(Accelerators)
    )

    def expect(tuned: Site, offsets: Offsets) -> FloatArray:
        true = water - offsets.get(f"{warm}.facility_supply_temperature.offset", 0.0)
        machine = machine_of(tuned, bank.name, Cdu)
        read = machine.technology_supply_temperature(np.asarray(heat), true)
        return read + offsets.get(f"{bank.name}.technology_supply_temperature.offset", 0.0)

    return Channel(
        name=f"technology_supply_temperature.{bank.name}",
        machines=(bank.name, warm),
        observed=history.get("technology_supply_temperature", bank.name),
        error=np.full(history.count, THERMOMETER),
        expect=expect,
    )


def _fans(air: HallAir, history: History) -> Channel:
    """Return the fans of the halls."""
    halls = history.total("hall_power")
    observed = history.get("hall_air_draw", air.name)
    shares = _air_heat(history)

    def expect(tuned: Site, _: Offsets) -> FloatArray:
        heat = shares(tuned)
        return drawn(machine_of(tuned, air.name, HallAir), heat, history, carrier="critical")

    return Channel(
        name=f"hall_air_draw.{air.name}",
        machines=(air.name,),
        observed=np.where(np.isfinite(halls), observed, np.nan),
        error=METER * (observed + air.fan_power),
        expect=expect,
    )


def _air_heat(history: History) -> Callable[[Site], FloatArray]:
    """Return what gives the heat that racks and busways leave to the air of the halls. [MW]"""
    halls = history.total("hall_power")

    def heat(site: Site) -> FloatArray:
        parts = [
            (1.0 - hall.liquid_share) * history.get("hall_power", hall.name)
            for hall in site.of(Accelerators)
        ]
        lost = [drawn(machine, halls, history, carrier="air") for machine in site.of(Distribution)]
        return np.asarray(np.sum([*parts, *lost], axis=0))

    return heat


def _pump(pump: HeatReuse, history: History) -> Channel:
    """Return the draw of a heat pump."""
    heat = history.get("heat_reuse_power", pump.name)
    observed = history.get("heat_reuse_draw", pump.name)

    def expect(tuned: Site, _: Offsets) -> FloatArray:
        machine = machine_of(tuned, pump.name, HeatReuse)
        return machine.power(heat, history.weather.air_temperature)

    return Channel(
        name=f"heat_reuse_draw.{pump.name}",
        machines=(pump.name,),
        observed=np.where(np.isfinite(heat), observed, np.nan),
        error=METER * (observed + pump.rated_heat / pump.rated_cop),
        expect=expect,
    )
