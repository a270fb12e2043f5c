"""The simulated plant: a twin of other parameters and structure than the service believes.

It draws hidden efficiencies, fouling and biases from a seed, runs minute by minute with a slower
valve and restless loads, moves every set point at a limited rate, and is seen through noisy
sensors. What it really did is kept for the judge; the service gets :meth:`Plant.observe` only.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr

from telemetry.nature import Noise, disturbed, restlessness
from twin import axes, simulation
from twin import state as states
from twin.equipment import Accelerators, CoolingPlant
from twin.limits import TRANSITION
from twin.physics import FloatArray
from twin.run import Key, Run, run
from twin.site import Site
from twin.walk import Ceiling
from twin.weather import Weather

STEP: Final = 15
"""Minutes for which one set of orders holds."""

RAMP_SHARE: Final = 0.75
"""Share of the connection's ramp limit that the plant's own controllers use. [1]"""

SWINGS: Final = {
    "hall_power": 1.15,
    "battery_charge": 1.0,
    "battery_discharge": 1.0,
    "tank_charge": 0.2,
    "tank_discharge": 0.2,
    "renewable_used_power": 1.0,
}
"""Change of import for a change of a set point: losses and cooling follow the halls. [1]"""


def minutes(series: xr.Dataset, start: np.datetime64, count: int) -> xr.Dataset:
    """Return interval means as a smooth course in minutes.

    Parameters
    ----------
    series
        Weather and available power on ``time`` with ``duration``; the first axis of every
        variable is ``time``.
    start
        First minute.
    count
        Number of minutes.

    Returns
    -------
    xarray.Dataset
        The same variables on one-minute axes, linear between the middles of the intervals.
    """
    grid = axes.regular(start, count, axes.MINUTE)
    duration = (series["duration"].to_numpy() * 1.8e9).astype("timedelta64[us]")
    middle = (series["time"].to_numpy() + duration).astype(np.int64)
    wanted = (grid["time"].to_numpy() + np.timedelta64(30, "s")).astype(np.int64)
    for name, array in series.data_vars.items():
        values = array.transpose("time", ...).to_numpy()
        columns = values.reshape(len(middle), -1)
        smooth = np.stack([np.interp(wanted, middle, column) for column in columns.T], axis=-1)
        dims = ("time", *(d for d in array.dims if d != "time"))
        grid[name] = xr.DataArray(
            smooth.reshape(len(wanted), *values.shape[1:]), dims=dims, attrs=array.attrs
        )
        for dim in dims[1:]:
            grid[dim] = series[dim]
    return grid


class Plant:
    """A running plant with a hidden nature.

    Parameters
    ----------
    site
        What the service believes the plant to be.
    surroundings
        Weather and ``renewable_available_power`` in minutes, as :func:`minutes` gives.
    state
        True state at the first minute.
    seed
        Seed of the hidden nature and of all noise.
    noise
        How restless and how badly measured.
    """

    def __init__(
        self,
        site: Site,
        surroundings: xr.Dataset,
        state: xr.Dataset,
        *,
        seed: int,
        noise: Noise | None = None,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._believed = site
        self._noise = noise or Noise()
        self.site = disturbed(site, self._rng)
        self._axes = surroundings[["time", "duration", "instant"]]
        self._weather = Weather.of(surroundings)
        self._ceilings = {
            plant.name: Ceiling.of(plant, self._weather) for plant in self.site.of(CoolingPlant)
        }
        self._available = {
            str(name): surroundings["renewable_available_power"].sel(renewable=name).to_numpy()
            for name in surroundings["renewable"].to_numpy()
        }
        self._stocks = simulation.stocks_of(state)
        self._peak = float(state["peak_power"])
        self._net = float(state["grid_import_power"] - state["grid_export_power"])
        self._clock = 0
        self._restless = 0.0
        self._points: dict[Key, float] = {}
        self._runs: list[Run] = []
        self._course = restlessness(self._noise, len(self._weather), self._rng)

    @property
    def now(self) -> np.datetime64:
        """The instant up to which the plant has run."""
        return np.datetime64(self._axes["instant"].to_numpy()[self._clock], "us")

    def follow(self, set_points: Mapping[Key, float]) -> None:
        """Run one quarter-hour towards new set points.

        Parameters
        ----------
        set_points
            ``hall_power``, ``<store>_charge`` and ``<store>_discharge`` by machine [MW], and
            ``renewable_used_power`` as the most that may be taken [MW].
        """
        span = slice(self._clock, self._clock + STEP)
        orders = self._courses(set_points, span)
        hours = np.full(STEP, 1.0 / 60.0)
        ceilings = {name: ceiling.take(span) for name, ceiling in self._ceilings.items()}
        weather = self._weather.take(span)
        done = run(self.site, self._stocks, orders, weather=weather, hours=hours, ceilings=ceilings)
        self._stocks = {key: float(edges[-1]) for key, edges in done.stocks.items()}
        net = done.flows["grid_import_power", ""] - done.flows["grid_export_power", ""]
        self._net = float(net.mean())
        self._peak = max(self._peak, self._net)
        self._runs.append(done)
        self._clock += STEP

    def _courses(self, set_points: Mapping[Key, float], span: slice) -> dict[Key, FloatArray]:
        """Return the set points as the plant's controllers really drive them, minute by minute."""
        targets = {key: self._target(key, value, span) for key, value in set_points.items()}
        old = {key: self._points.get(key, float(goal[0])) for key, goal in targets.items()}
        swing = sum(
            abs(float(goal[-1]) - old[key]) * SWINGS[key[0]] for key, goal in targets.items()
        )
        over = max(TRANSITION, swing / (RAMP_SHARE * self.site.grid.ramp))
        way = np.clip(np.arange(1, STEP + 1) / over, 0.0, 1.0)
        orders = {}
        for key, goal in targets.items():
            name, owner = key
            course = old[key] + way * (goal - old[key])
            if name == "renewable_used_power":
                course = np.minimum(course, self._available[owner][span])
            self._points[key] = float(course[-1])
            orders[key] = self._drawn(owner, course, span) if name == "hall_power" else course
        return orders

    def _target(self, key: Key, value: float, span: slice) -> FloatArray:
        """Return where a set point leads in each minute: of sun and wind no more than there is."""
        if key[0] == "renewable_used_power":
            return np.asarray(np.minimum(value, self._available[key[1]][span]))
        return np.full(STEP, value)

    def _drawn(self, hall: str, course: FloatArray, span: slice) -> FloatArray:
        """Return what a hall draws when told to draw something."""
        machine = next(m for m in self.site.of(Accelerators) if m.name == hall)
        idle = machine.idle_power
        busy = (course - idle) * machine.power_factor_error * (1.0 + self._course[span])
        return np.asarray(np.clip(idle + busy, 0.0, machine.full_power))

    def observe(self) -> xr.Dataset:
        """Return the state as the sensors show it.

        Returns
        -------
        xarray.Dataset
            A state as :func:`twin.state.rest` describes, with measuring errors.
        """
        noise, rng = self._noise, self._rng
        net = self._net * (1.0 + rng.normal(0.0, noise.power))
        state = states.rest(self._believed, self.now, peak_power=self._peak)
        for (name, owner), value in self._stocks.items():
            if name == "facility_supply_temperature":
                seen = value + rng.normal(0.0, noise.temperature)
            elif name == "cooling_plant_output":
                seen = value * (1.0 + rng.normal(0.0, noise.power))
            else:
                seen = self._seen_level(owner, value)
            state[name].loc[{state[name].dims[0]: owner}] = seen
        state["grid_import_power"].values = np.array(max(net, 0.0))
        state["grid_export_power"].values = np.array(max(-net, 0.0))
        return state

    def _seen_level(self, owner: str, value: float) -> float:
        store = next(store for store in self._believed.stores if store.owner == owner)
        seen = value + self._rng.normal(0.0, self._noise.level) * store.high
        return float(np.clip(seen, 0.0, store.high))

    def record(self) -> xr.Dataset:
        """Return all that the plant really did so far, in minutes, with labels and units."""
        flows = {
            key: np.concatenate([run.flows[key] for run in self._runs])
            for key in self._runs[0].flows
        }
        stocks = {
            key: np.concatenate([*(run.stocks[key][:-1] for run in self._runs), last[-1:]])
            for key, last in self._runs[-1].stocks.items()
        }
        whole = self._axes.isel(time=slice(0, self._clock), instant=slice(0, self._clock + 1))
        return simulation.dataset(self.site, Run(flows=flows, stocks=stocks), whole)
