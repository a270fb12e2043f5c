"""The yearly figures that the European Union asks of data centres, from what a site did.

After the annexes of Delegated Regulation (EU) 2024/1364, by secondary sources: check them, and what
came after them, before you file. Figures that no run can know are left to whoever files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin.axes import HOUR
from twin.effectiveness import indicators, own_renewables
from twin.equipment import Accelerators, Battery, HeatReuse
from twin.site import Site

YEAR: Final = 8760.0
"""Hours of a year that reports are for. [h]"""

KILO: Final = 1e3
"""Kilowatts of a megawatt. [1]"""

COOLING: Final = (
    *("cooling_plant_compressor_power", "cooling_plant_fan_power", "cooling_plant_pump_power"),
    *("cdu_pump_power", "hall_air_fan_power"),
)
"""What cooling draws, in words of a run."""

HOT: Final = 24.0
"""Mean of a day from which on it has cooling degrees, and by Eurostat all above :data:`COOL`."""

COOL: Final = 21.0
"""Temperature from which cooling degrees are counted. [degC]"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a report.

    Attributes
    ----------
    key
        Its sign in the regulation, or our word where it has none.
    meaning, unit
        What it is.
    value
        Its value; None where whoever files has to know it.
    basis
        Where the value comes from, or who knows it.
    """

    key: str
    meaning: str
    unit: str
    value: float | None
    basis: str


def figures(
    site: Site, run: xr.Dataset, *, carbon_intensity: xr.DataArray | None = None
) -> tuple[Figure, ...]:
    """Return the figures of a report on what a site did.

    Parameters
    ----------
    site
        The site.
    run
        What it did, as :func:`twin.effectiveness.indicators` wants it; where it also holds the air
        temperature, cooling degree days are counted.
    carbon_intensity
        Carbon intensity of the grid on the same ``time``. [kg MWh-1]

    Returns
    -------
    tuple of Figure
        In the order of the annexes: what is installed, what was used, indicators.

    Raises
    ------
    UnitError
        If a word or its unit is missing.
    """
    told = indicators(run, carbon_intensity=carbon_intensity)
    return (*_installed(site), *_used(site, run), *_renewable(run), *_indicators(told))


def _installed(site: Site) -> Iterator[Figure]:
    power = sum(hall.full_power for hall in site.of(Accelerators))
    yield _told("P_IT", "installed power demand of the IT", "kW", KILO * power, "site file")
    batteries = [b.capacity for b in site.of(Battery) if b.local_controller]
    meaning = "battery capacity that may serve the grid"
    yield _told("C_BtG", meaning, "kWh", KILO * sum(batteries, 0.0), "site file")


def _used(site: Site, run: xr.Dataset) -> Iterator[Figure]:
    energy = "energy of the whole site, own generation included"
    yield _told("E_DC", energy, "kWh", KILO * _sum(run, "facility_power"), "run")
    inner = KILO * _sum(run, "it_power")
    yield _told("E_IT", "energy of the IT, at the outputs of the UPS", "kWh", inner, "run")
    backup = "energy of backup generators"
    yield _told("E_DC-BG", backup, "kWh", KILO * _sum(run, "genset_output"), "run")
    cooling = KILO * sum(_sum(run, name) for name in COOLING)
    plants = "energy of cooling plants, CDU pumps and hall fans"
    yield _told("cooling", plants, "kWh", cooling, "run")
    yield _told("W_IN", "water taken in", "m3", _sum(run, "water_use"), "run")
    yield _unknown("W_IN-POT", "of it potable", "m3", "the water contract")
    reused = _sum(run, "heat_reuse_power")
    yield _told("E_REUSE", "heat reused", "kWh", KILO * reused, "run")
    if reused > 0.0:
        warmth = _temperature_of_heat(site, run)
        yield _told("T_WH", "mean temperature of that heat", "degC", warmth, "site file, by heat")
    if "rack_inlet_temperature" in run:
        inlet = float(run["rack_inlet_temperature"].weighted(run["duration"]).mean())
        yield _told("T_IN", "mean temperature of the air into racks", "degC", inlet, "run")
    if "air_temperature" in run:
        degrees = _cooling_degree_days(run)
        yield _told("CDD", "cooling degree days, by Eurostat", "degC d", degrees, "run")


def _renewable(run: xr.Dataset) -> Iterator[Figure]:
    own = KILO * float(own_renewables(run) @ run["duration"])
    yield _told("E_RES-OOS", "renewable energy made on site and used there", "kWh", own, "run")
    yield _unknown("E_RES-PPA", "renewable energy by purchase agreements", "kWh", "the contracts")
    yield _unknown("E_RES-GOO", "renewable energy by guarantees of origin", "kWh", "the registry")


def _indicators(told: xr.Dataset) -> Iterator[Figure]:
    own = "run; without purchase agreements and guarantees of origin"
    words = {
        "pue": ("PUE", "energy of the site over that of the IT", "run"),
        "wue": ("WUE", "water over the energy of the IT", "run"),
        "erf": ("ERF", "heat reused over the energy of the site", "run"),
        "ref": ("REF", "renewable energy over that of the site", own),
        "cue": ("CUE", "carbon of the import over the energy of the IT", "run; location-based"),
    }
    for name, (key, meaning, basis) in words.items():
        if name in told:
            value, unit = float(told[name]), str(told[name].attrs["units"])
            yield _told(key, meaning, unit, value, basis)


def _told(key: str, meaning: str, unit: str, value: float, basis: str) -> Figure:
    return Figure(key=key, meaning=meaning, unit=unit, value=value, basis=basis)


def _unknown(key: str, meaning: str, unit: str, basis: str) -> Figure:
    return Figure(key=key, meaning=meaning, unit=unit, value=None, basis=f"known by {basis}")


def _sum(run: xr.Dataset, name: str) -> float:
    """Return what a rate sums to over the run and all its owners; 0 where there is none."""
    return float((run[name] * run["duration"]).sum()) if name in run else 0.0


def _temperature_of_heat(site: Site, run: xr.Dataset) -> float:
    """Return the mean temperature at which heat was handed over, weighted by heat. [degC]"""
    air = run["air_temperature"].to_numpy() if "air_temperature" in run else None
    heat = warmth = 0.0
    for pump in site.of(HeatReuse):
        given = (run["heat_reuse_power"].sel(heat_reuse=pump.name) * run["duration"]).to_numpy()
        supply = pump.supply_temperature if air is None else pump.supply_to(air)
        heat += float(given.sum())
        warmth += float((given * supply).sum())
    return warmth / heat


def _cooling_degree_days(run: xr.Dataset) -> float:
    """Return the cooling degree days: of days of 24 degC and more, what lies above 21 degC."""
    time = run["time"].to_numpy()
    hours = (time - time[0]) / HOUR
    _, day = np.unique(hours // 24.0, return_inverse=True)  # of days that are told at all
    length = run["duration"].to_numpy()
    whole = np.bincount(day, weights=length)
    mean = np.bincount(day, weights=length * run["air_temperature"].to_numpy()) / whole
    return float(np.where(mean >= HOT, (mean - COOL) * whole / 24.0, 0.0).sum())
