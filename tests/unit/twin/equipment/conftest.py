"""Machines and weather that the tests of cooling share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from twin.equipment.chiller_plant import ChillerBank
from twin.equipment.coolers_and_towers import CoolingTower, DryCooler
from twin.equipment.cooling_plant import CoolingPlant
from twin.physics import psychrometrics
from twin.physics.refrigeration import CARRIER_19XR_869
from twin.weather import Weather

CANONICAL = {"canonical": True}


@pytest.fixture(scope="session")
def outdoors() -> Callable[..., Weather]:
    """Return a maker of weather from dry and wet bulb at sea level."""

    def make(dry: Any, wet: Any) -> Weather:
        dry, wet = np.broadcast_arrays(np.atleast_1d(dry).astype(float), wet)
        pressure = np.full(dry.shape, 101.325)
        moisture = psychrometrics.humidity_ratio_from_wet_bulb(dry, wet, pressure=pressure)
        return Weather(
            air_temperature=dry,
            wet_bulb_temperature=wet.astype(float),
            humidity_ratio=np.asarray(moisture),
            air_pressure=pressure,
        )

    return make


@pytest.fixture(scope="session")
def dry_cooler() -> DryCooler:
    """Return plain dry coolers for about 165 MW at 38 degC."""
    declared = {
        "count": 250,
        "air_flow": 90.0,
        "conductance": 0.17,
        "fan_power": 0.015,
        "minimum_speed": 0.15,
    }
    return DryCooler.model_validate(declared, context=CANONICAL)


@pytest.fixture(scope="session")
def tower() -> CoolingTower:
    """Return cells for about 45 MW."""
    declared = {
        "count": 16,
        "water_flow": 130.0,
        "air_flow": 100.0,
        "fan_power": 0.03,
        "minimum_speed": 0.34,
    }
    return CoolingTower.model_validate(declared, context=CANONICAL)


@pytest.fixture(scope="session")
def chillers() -> ChillerBank:
    """Return eight units of 5 MW with the curves of a Carrier 19XR of 869 kW."""
    declared = {
        "count": 8,
        "rated_cooling": 5.0,
        "rated_cop": CARRIER_19XR_869.rated_cop,
        "capacity_curve": CARRIER_19XR_869.capacity_coefficients,
        "eir_temperature_curve": CARRIER_19XR_869.energy_input_coefficients,
        "eir_part_load_curve": CARRIER_19XR_869.part_load_coefficients,
        "chilled_low": 7.22,
        "chilled_high": 12.78,
        "condenser_low": 22.63,
        "condenser_high": 36.94,
        "condenser_minimum": 22.0,
        "minimum_part_load": 0.4,
        "condenser_range": 5.5,
        "condenser_pump_power": 0.05,
        "condenser_minimum_flow": 0.5,
    }
    return ChillerBank.model_validate(declared, context=CANONICAL)


@pytest.fixture(scope="session")
def warm_plant(dry_cooler: DryCooler) -> CoolingPlant:
    """Return a plant of dry coolers that holds 38 degC."""
    declared = {
        "name": "warm",
        "serves": "warm",
        "rated_cooling": 190.0,
        "supply_temperature": 38.0,
        "supply_limit": 42.0,
        "temperature_range": 10.0,
        "pump_power": 2.1,
        "minimum_flow": 0.3,
        "static_head_share": 0.1,
        "loop": {"volume": 600.0},
        "rejection": dry_cooler.model_dump(),
    }
    return CoolingPlant.model_validate(declared, context=CANONICAL)


@pytest.fixture(scope="session")
def chilled_plant(tower: CoolingTower, chillers: ChillerBank) -> CoolingPlant:
    """Return a plant of chillers, towers and economiser that holds 18 degC."""
    declared = {
        "name": "chilled",
        "serves": "chilled",
        "rated_cooling": 38.0,
        "supply_temperature": 18.0,
        "supply_limit": 21.0,
        "temperature_range": 8.0,
        "pump_power": 0.4,
        "minimum_flow": 0.3,
        "loop": {"volume": 300.0},
        "rejection": tower.model_dump(),
        "chillers": chillers.model_dump(),
        "economiser_approach": 2.0,
    }
    return CoolingPlant.model_validate(declared, context=CANONICAL)
