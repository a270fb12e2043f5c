"""Channels of heat: plants of the circuits, coolant, fans, heat pumps."""

from collections.abc import Iterator

import numpy as np

from twin.calibration.channel import (
    METER,
    THERMOMETER,
    Channel,
    Offsets,
    drawn,
    liquid_heat,
    machine_of,
)
from twin.calibration.history import History
from twin.calibration.water import Water
from twin.equipment import Accelerators, Cdu, CoolingPlant, Distribution, HallAir, HeatReuse
from twin.physics import FloatArray
from twin.site import Site


def thermal(site: Site, history: History, held: Water) -> Iterator[Channel]:
    """Yield the channels of heat, at what the water was held at."""
    for plant in site.of(CoolingPlant):
        yield from _plant(plant, history, held)
    for bank in site.of(Cdu):
        yield _coolant(site, bank, history, held=held)
    for air in site.of(HallAir):
        yield _fans(site, air, history)
    for pump in site.of(HeatReuse):
        yield _pump(pump, history)


def _plant(plant: CoolingPlant, history: History, held: Water) -> Iterator[Channel]:
    """Yield draw and supply temperature of a circuit's plant."""
    name = plant.name
    output = history.get("cooling_plant_output", name)
    observed = history.get("cooling_plant_draw", name)
    told = held.points.supply_temperature if held.points else {}

    def draw(tuned: Site, _: Offsets) -> FloatArray:
        machine = machine_of(tuned, name, CoolingPlant)
        return drawn(machine, output, history, carrier="medium_voltage", points=held.points)

    def supply(tuned: Site, offsets: Offsets) -> FloatArray:
        declared = machine_of(tuned, name, CoolingPlant).supply_temperature
        target = told.get(name, np.full(history.count, declared))
        return target + offsets.get(f"{name}.facility_supply_temperature.offset", 0.0)

    yield Channel(
        name=f"cooling_plant_draw.{name}",
        machines=(name,),
        observed=held.known(
            np.where(np.isfinite(output) & history.is_aired, observed, np.nan), [name]
        ),
        error=METER * (observed + plant.pump_power),
        expect=draw,
    )
    yield Channel(
        name=f"facility_supply_temperature.{name}",
        machines=(name,),
        observed=held.known(history.get("facility_supply_temperature", name), [name]),
        error=np.full(history.count, THERMOMETER),
        expect=supply,
    )


def _coolant(site: Site, bank: Cdu, history: History, *, held: Water) -> Channel:
    """Return the coolant at the racks: above the water by what the exchangers need."""
    plant = next(plant for plant in site.of(CoolingPlant) if plant.serves == "warm")
    warm = plant.name
    water = history.get("facility_supply_temperature", warm)
    heat = liquid_heat(site, history)
    through = plant.share(
        heat, rated_heat=bank.rated, rated_range=bank.facility_range, points=held.points
    )

    def expect(tuned: Site, offsets: Offsets) -> FloatArray:
        true = water - offsets.get(f"{warm}.facility_supply_temperature.offset", 0.0)
        machine = machine_of(tuned, bank.name, Cdu)
        read = machine.technology_supply_temperature(
            heat, true, points=held.points, facility_flow=through
        )
        return read + offsets.get(f"{bank.name}.technology_supply_temperature.offset", 0.0)

    return Channel(
        name=f"technology_supply_temperature.{bank.name}",
        machines=(bank.name, warm),
        observed=held.known(
            history.get("technology_supply_temperature", bank.name), [bank.name, warm]
        ),
        error=np.full(history.count, THERMOMETER),
        expect=expect,
    )


def _fans(site: Site, air: HallAir, history: History) -> Channel:
    """Return the fans of the halls."""
    halls = history.total("hall_power", site.of(Accelerators))
    observed = history.get("hall_air_draw", air.name)

    def expect(tuned: Site, _: Offsets) -> FloatArray:
        heat = _air_heat(tuned, history)
        return drawn(machine_of(tuned, air.name, HallAir), heat, history, carrier="critical")

    return Channel(
        name=f"hall_air_draw.{air.name}",
        machines=(air.name,),
        observed=np.where(np.isfinite(halls), observed, np.nan),
        error=METER * (observed + air.fan_power),
        expect=expect,
    )


def _air_heat(site: Site, history: History) -> FloatArray:
    """Return the heat that racks and busways leave to the air of the halls. [MW]"""
    halls = history.total("hall_power", site.of(Accelerators))
    parts = [
        (1.0 - hall.liquid_share) * history.get("hall_power", hall.name)
        for hall in site.of(Accelerators)
    ]
    lost = [drawn(machine, halls, history, carrier="air") for machine in site.of(Distribution)]
    return np.asarray(np.sum([*parts, *lost], axis=0))


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
        observed=np.where(np.isfinite(heat) & history.is_aired, observed, np.nan),
        error=METER * (observed + pump.rated_heat / pump.rated_cop),
        expect=expect,
    )
