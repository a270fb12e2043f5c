"""Kinds of equipment, one file each."""

from twin.equipment.cooling_plant import CoolingPlant
from twin.equipment.genset import Genset
from twin.equipment.hall_cooling import CduBank, CrahBank
from twin.equipment.heat_reuse import HeatReuse
from twin.equipment.it_hall import ITHall
from twin.equipment.machine import Equipment
from twin.equipment.power_distribution import (
    Busway,
    GridConnection,
    Switchgear,
    TransformerBank,
    UpsBank,
)
from twin.equipment.renewables import Photovoltaic, Renewable, WindFarm
from twin.equipment.storage import Battery, ChilledWaterTank

__all__ = [
    "Battery",
    "Busway",
    "CduBank",
    "ChilledWaterTank",
    "CoolingPlant",
    "CrahBank",
    "Equipment",
    "Genset",
    "GridConnection",
    "HeatReuse",
    "ITHall",
    "Photovoltaic",
    "Renewable",
    "Switchgear",
    "TransformerBank",
    "UpsBank",
    "WindFarm",
]
