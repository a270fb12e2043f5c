"""Kinds of equipment, one file each."""

from twin.equipment.accelerators import Accelerators
from twin.equipment.battery import Battery
from twin.equipment.budgets import CarbonBudget, WaterBudget
from twin.equipment.cdu import Cdu
from twin.equipment.contracts import DayAhead, HourlyMatching, LoadTargetContract
from twin.equipment.cooling_plant import CoolingPlant
from twin.equipment.declaration import Declared, Equipment
from twin.equipment.distribution import Distribution
from twin.equipment.genset import Genset
from twin.equipment.grid import Grid
from twin.equipment.hall_air import HallAir
from twin.equipment.heat_reuse import HeatReuse
from twin.equipment.renewables import Photovoltaic, Renewable
from twin.equipment.switchgear import Switchgear
from twin.equipment.tank import Tank
from twin.equipment.transformer import Transformer
from twin.equipment.ups import Ups
from twin.equipment.wind import Wind

__all__ = [
    "Accelerators",
    "Battery",
    "CarbonBudget",
    "Cdu",
    "CoolingPlant",
    "DayAhead",
    "Declared",
    "Distribution",
    "Equipment",
    "Genset",
    "Grid",
    "HallAir",
    "HeatReuse",
    "HourlyMatching",
    "LoadTargetContract",
    "Photovoltaic",
    "Renewable",
    "Switchgear",
    "Tank",
    "Transformer",
    "Ups",
    "WaterBudget",
    "Wind",
]
