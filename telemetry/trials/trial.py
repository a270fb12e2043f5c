"""A trial of calibration: a worn plant under a synthetic load, its telemetry, and what it becomes.

The load is made by us: a daily course, restless hours, batteries and tanks that cycle twice a day.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import xarray as xr

from telemetry.plants.nature import worn
from telemetry.plants.sensing import Sensing
from telemetry.testbed import Plant
from twin import axes, simulation, vocabulary
from twin import state as states
from twin.axes import MINUTE, QUARTER
from twin.equipment import Accelerators, HeatReuse
from twin.forecast.record import WEATHER
from twin.physics import FloatArray
from twin.run import Key
from twin.site import Site

HOUR: Final = 60
"""Minutes between two orders. [min]"""

STEP: Final = int(QUARTER / MINUTE)
"""Minutes of a quarter-hour. [1]"""

CHARGING: Final = {1, 2, 3, 12, 13}
DISCHARGING: Final = {7, 8, 18, 19, 20}
"""Hours of the day in which stores cycle, at half of their power."""

ORDERED: Final = (
    "battery_charge",
    "battery_discharge",
    "tank_charge",
    "tank_discharge",
    "renewable_used_power",
    "heat_reuse_power",
)
"""Flows that are orders and not the plant's own doing."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well a site foretells what a plant did.

    Attributes
    ----------
    cv_rmse
        Root mean square error of the facility power over its mean. [1]
    nmbe
        Mean error of the facility power over its mean. [1]
    temperature_rmse
        Root mean square error of the supply temperatures. [K]
    """

    cv_rmse: float
    nmbe: float
    temperature_rmse: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a worn plant did, and what was seen of it.

    Attributes
    ----------
    site
        What the plant is believed to be.
    hidden
        What it is.
    readings
        Telemetry in minutes.
    record
        What it did, in minutes, with the weather.
    declared
        Power that its racks were given to draw, ``(time, hall)``. [MW]
    """

    site: Site
    hidden: Site
    readings: xr.Dataset
    record: xr.Dataset
    declared: xr.DataArray

    @classmethod
    def run(
        cls,
        site: Site,
        surroundings: xr.Dataset,
        *,
        seed: int,
        sensing: Sensing | None = None,
        share: float = 0.15,
    ) -> Self:
        """Run a plant through its surroundings and look at it.

        Parameters
        ----------
        site
            What it is believed to be.
        surroundings
            Weather and available power, in whole hours of minutes.
        seed
            Of everything hidden.
        sensing
            How it is measured.
        share
            Greatest hidden deviation. [1]

        Returns
        -------
        Trial
            Truth and telemetry.
        """
        rng = np.random.default_rng(seed)
        hidden = worn(site, rng, share=share)
        begin = states.rest(site, surroundings["time"].to_numpy()[0])
        plant = Plant(site, surroundings, begin, seed=seed, hidden=hidden)
        halls = [hall.name for hall in site.of(Accelerators)]
        given: list[list[FloatArray]] = []
        before: Mapping[Key, float] = {}
        for orders in _orders(site, surroundings.sizes["time"] // HOUR, rng):
            plant.follow(orders, HOUR)
            given.append([_course(plant, before, hall) for hall in halls])
            before = orders
        weather = surroundings[[*WEATHER]].isel(time=slice(0, HOUR * len(given)))
        record = plant.record().merge(weather, compat="override")
        declared = xr.DataArray(
            np.concatenate(given, axis=1).T,
            dims=("time", "hall"),
            coords={"time": record["time"], "hall": halls},
        )
        readings = (sensing or Sensing()).read(site, record, declared=declared, rng=rng)
        return cls(site=site, hidden=hidden, readings=readings, record=record, declared=declared)

    def score(self, site: Site, start: int, end: int) -> Score:
        """Return how well a site foretells a part of the run from weather and declared load.

        Parameters
        ----------
        site
            The site as calibrated, or as its file says.
        start, end
            First minute, and the first no longer.

        Returns
        -------
        Score
            In quarter-hours.
        """
        operation = self._operation(site, start, end)
        got = simulation.simulate(site, self._state(start), operation)
        true = _quarters(self.record["facility_power"], start, end).to_numpy()
        wrong = got["facility_power"].to_numpy() - true
        edges = slice(start + STEP, end + 1, STEP)
        supply = self.record["facility_supply_temperature"].isel(instant=edges).to_numpy()
        warmer = got["facility_supply_temperature"].to_numpy()[1:] - supply
        return Score(
            cv_rmse=float(np.sqrt(np.mean(wrong**2)) / true.mean()),
            nmbe=float(wrong.mean() / true.mean()),
            temperature_rmse=float(np.sqrt(np.mean(warmer**2))),
        )

    def _operation(self, site: Site, start: int, end: int) -> xr.Dataset:
        """Return weather, orders and the draw of the racks that a site expects."""
        grid = axes.regular(self.record["time"].to_numpy()[start], (end - start) // STEP)
        halls = site.of(Accelerators)
        idle = np.array([hall.idle_power for hall in halls])
        factor = np.array([hall.power_factor_error for hall in halls])
        declared = _quarters(self.declared, start, end)
        operation = grid.assign(hall_power=idle + factor * (declared - idle))
        for name in (*WEATHER, *ORDERED):
            if name in self.record:
                operation[name] = _quarters(self.record[name], start, end)
        return vocabulary.tag_all(operation)

    def _state(self, minute: int) -> xr.Dataset:
        """Return the true state at the start of a minute."""
        state = states.rest(self.site, self.record["time"].to_numpy()[minute])
        for name in ("battery_level", "tank_level", "facility_supply_temperature"):
            if name in self.record:
                state[name].values = self.record[name].isel(instant=minute).to_numpy()
        output = self.record["cooling_plant_output"].isel(time=max(minute - 1, 0))
        state["cooling_plant_output"].values = output.to_numpy()
        return state


def _orders(site: Site, hours: int, rng: np.random.Generator) -> Iterator[Mapping[Key, float]]:
    """Yield the orders of each hour."""
    shocks = np.repeat(rng.normal(0.0, 0.15, hours // 3 + 1), 3)
    for hour in range(hours):
        day = np.sin(2.0 * np.pi * hour / 24.0 - 2.0)
        share = float(np.clip(0.55 + 0.25 * day + shocks[hour], 0.1, 1.0))
        orders: dict[Key, float] = {}
        for hall in site.of(Accelerators):
            busy = share * rng.uniform(0.9, 1.0)
            orders["hall_power", hall.name] = hall.idle_power + busy * (
                hall.full_power - hall.idle_power
            )
        for store in site.stores:
            kind, moment = site.equipment[store.owner].kind, hour % 24
            charge, discharge = 0.5 * store.charge_limit, 0.5 * store.discharge_limit
            orders[f"{kind}_charge", store.owner] = charge * (moment in CHARGING)
            orders[f"{kind}_discharge", store.owner] = discharge * (moment in DISCHARGING)
        for exchange in site.exchanges:
            if exchange.available:
                orders["renewable_used_power", exchange.owner] = exchange.import_limit
        for pump in site.of(HeatReuse):
            orders["heat_reuse_power", pump.name] = 0.5 * pump.rated_heat
        yield orders


def _course(plant: Plant, before: Mapping[Key, float], hall: str) -> FloatArray:
    """Return the power that the racks of a hall were given in the hour that has passed. [MW]"""
    goal = plant.ordered["hall_power", hall]
    begin = before.get(("hall_power", hall), goal)
    return begin + plant.way_made(HOUR) * (goal - begin)


def _quarters(values: xr.DataArray, start: int, end: int) -> xr.DataArray:
    """Return means of quarter-hours; the labels of time are left to others."""
    part = values.isel(time=slice(start, end)).drop_vars(["time", "instant"], errors="ignore")
    return part.coarsen(time=STEP).mean()
