"""Simulated facility: a twin with other parameters than the service assumes.

Hidden efficiencies, fouling and biases are drawn from a seed. The facility runs minute by minute,
with slow valves and fluctuating loads, and moves set points at a limited rate. The service gets
noisy readings only; back-tests use the true record.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from telemetry.simulator.deviations import FacilityNoise, load_fluctuation, worn_facility
from twin import time_axes
from twin.equipment import CoolingPlant, ITHall
from twin.markets.planned_billing import BillingRules
from twin.markets.tariffs import running_mean_import
from twin.physics import FloatArray
from twin.simulation import setpoints, simulate
from twin.simulation import state as states
from twin.simulation.engine import SimulationArrays, VariableKey, simulate_arrays
from twin.simulation.operating_limits import SET_POINT_TRANSITION_MIN
from twin.simulation.state_integration import CoolingCapacity
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN, QUARTER_HOUR
from twin.units import MINUTES_PER_HOUR
from twin.variables import net_import, set_machine_value
from twin.weather import Weather

type Trajectories = dict[VariableKey, FloatArray]
"""(name, machine) -> values minute by minute. [MW; degC]"""


def interpolate_to_minutes(series: xr.Dataset, start: np.datetime64, count: int) -> xr.Dataset:
    """Return interval means of weather and available power as smooth one-minute series.

    The first axis of every variable is ``time``. Values are linear between the middles of the
    intervals. ``count`` is the number of minutes from ``start``.
    """
    grid = time_axes.regular_axes(start, count, time_axes.MINUTE)
    duration = (series["duration"].to_numpy() * 1.8e9).astype("timedelta64[us]")
    middle = (series["time"].to_numpy() + duration).astype(np.int64)
    wanted = (grid["time"].to_numpy() + np.timedelta64(30, "s")).astype(np.int64)
    for name, array in series.data_vars.items():
        values = array.transpose("time", ...).to_numpy()
        columns = values.reshape(len(middle), -1)
        smooth = np.empty((len(wanted), columns.shape[1]))  # a site may have neither sun nor wind
        for i, column in enumerate(columns.T):
            smooth[:, i] = np.interp(wanted, middle, column)
        dims = ("time", *(d for d in array.dims if d != "time"))
        grid[name] = xr.DataArray(
            smooth.reshape(len(wanted), *values.shape[1:]), dims=dims, attrs=array.attrs
        )
        for dim in dims[1:]:
            grid[dim] = series[dim]
    return grid


@dataclass(frozen=True, kw_only=True)
class PrecomputedRun:
    """The coming minutes of a facility, valid until a new order.

    - `first_minute`, `end_minute`: the first minute, and the one after the last.
    - `set_point_trajectories`: set points in these minutes.
    """

    first_minute: int
    end_minute: int
    set_point_trajectories: Trajectories
    simulation_results: SimulationArrays

    def set_points_at(self, minute: int) -> dict[VariableKey, float]:
        """Return the set points at the start of a minute after the first."""
        last = minute - self.first_minute - 1
        return {key: float(course[last]) for key, course in self.set_point_trajectories.items()}


class SimulatedFacility:
    """A running facility with hidden parameters.

    Parameters
    ----------
    site
        The site as the service assumes it.
    boundary_conditions
        Weather and ``renewable_available_power`` in minutes, as
        :func:`telemetry.simulator.plant.interpolate_to_minutes` gives.
    state
        True state at the first minute.
    seed
        Seed of the hidden parameters and of all noise.
    noise
        Load fluctuations and measurement errors.
    hidden
        The facility as it really is; by default drawn from the seed.

    Attributes
    ----------
    meter
        The meter of the connection, which has no error.
    """

    def __init__(
        self,
        site: Site,
        boundary_conditions: xr.Dataset,
        state: xr.Dataset,
        *,
        seed: int,
        noise: FacilityNoise | None = None,
        hidden: Site | None = None,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._declared_site, self._initial_state = site, states.initial_state(site)
        self._noise = noise or FacilityNoise()
        self.site = hidden or worn_facility(site, self._rng)
        self._axes = boundary_conditions[["time", "duration", "instant"]]
        self._weather = Weather.from_dataset(boundary_conditions)
        self._humidity = boundary_conditions["relative_humidity"].to_numpy()
        plants, available = (
            self.site.machines_of(CoolingPlant),
            boundary_conditions["renewable_available_power"],
        )
        self._ceilings = {
            plant.name: CoolingCapacity.from_plant(plant, self._weather) for plant in plants
        }
        self._chiller_counts = {
            plant.name: plant.chillers.count for plant in plants if plant.chillers is not None
        }
        names = available["renewable"].to_numpy()
        self._available = {str(name): available.sel(renewable=name).to_numpy() for name in names}
        self._stocks = simulate.state_values(state)
        self.meter = ConnectionMeter(state, site.billing_rules)
        self._clock = 0
        self._move = SetPointMove(
            start_set_points={}, goal_set_points={}, duration_minutes=SET_POINT_TRANSITION_MIN
        )
        self._points: dict[VariableKey, float] = {}
        self._caps: dict[str, float] = {}
        self._runs: list[SimulationArrays] = []
        self._coming_run: PrecomputedRun | None = None
        self._fluctuation = load_fluctuation(self._noise, len(self._weather), self._rng)

    @property
    def now(self) -> np.datetime64:
        """Time up to which the facility has run."""
        return np.datetime64(self._axes["instant"].to_numpy()[self._clock], "us")

    @property
    def current_set_points(self) -> Mapping[VariableKey, float]:
        """Set points of the last order."""
        return self._move.goal_set_points

    def completed_share(self, minutes: int) -> FloatArray:
        """Return the completed share of the current move at the end of each of the last minutes.
        [1]
        """
        return replace(
            self._move, elapsed_minutes=self._move.elapsed_minutes - minutes
        ).completed_share(minutes)

    def run_with(
        self, set_points: Mapping[VariableKey, float], minutes: int = METERING_PERIOD_MIN
    ) -> None:
        """Move to new set points, as :meth:`begin_move` takes them, and run for some minutes."""
        self.begin_move(set_points)
        self.advance(minutes)

    def begin_move(self, set_points: Mapping[VariableKey, float]) -> None:
        """Start a move from the current set points to new ones.

        Parameters
        ----------
        set_points
            ``hall_power``, ``<store>_charge`` and ``<store>_discharge`` by machine [MW],
            ``renewable_used_power`` as an upper limit [MW], and set points of water.
        """
        last = min(self._clock + METERING_PERIOD_MIN, len(self._weather)) - 1
        now = {key: self._goal(key, value, self._clock) for key, value in set_points.items()}
        soon = {key: self._goal(key, value, last) for key, value in set_points.items()}
        begin = now | {
            k: v
            for k, v in self._points.items()
            if k in now and k[0] != setpoints.UNITS_ON_VARIABLE
        }
        over = move_duration(begin, soon, ramp=self.site.grid_connection.ramp)
        self._move = SetPointMove(
            start_set_points=begin, goal_set_points=dict(set_points), duration_minutes=over
        )
        self._coming_run = None

    def advance(self, minutes: int) -> None:
        """Run for some minutes towards the set points of the last order."""
        begin, end = self._clock, self._clock + minutes
        if self._coming_run is None or end > self._coming_run.end_minute:
            self._coming_run = self._precomputed(end)
        done = self._coming_run.simulation_results.select(
            slice(begin - self._coming_run.first_minute, end - self._coming_run.first_minute)
        )
        self._stocks = {key: float(edges[-1]) for key, edges in done.states.items()}
        self._points |= self._coming_run.set_points_at(end)
        self.meter.count_minutes(
            done.flows["grid_import_power", ""] - done.flows["grid_export_power", ""]
        )
        self._runs.append(done)
        self._move.elapsed_minutes += minutes
        self._clock = end

    def _precomputed(self, end: int) -> PrecomputedRun:
        """Return the operation until the quarter-hour of ``end`` is over, if no order changes."""
        begin, quarter = self._clock, -(-end // METERING_PERIOD_MIN) * METERING_PERIOD_MIN
        span = slice(begin, max(end, min(quarter, len(self._weather))))
        hours = np.full(span.stop - begin, 1.0 / MINUTES_PER_HOUR)
        ceilings = {name: ceiling.select(span) for name, ceiling in self._ceilings.items()}
        weather, trajectories = self._weather.select(span), self._trajectories(span)
        driven = self._driven(trajectories, span)
        halls = {key: course for key, course in driven.items() if key[0] == "hall_power"}
        orders = driven | {key: self._drawn(key[1], halls[key], span) for key in halls}
        done = simulate_arrays(
            self.site, self._stocks, orders, weather=weather, durations=hours, capacities=ceilings
        )
        return PrecomputedRun(
            first_minute=begin,
            end_minute=span.stop,
            set_point_trajectories=trajectories,
            simulation_results=done,
        )

    def set_hall_caps(self, caps: Mapping[str, float]) -> None:
        """Limit the power of halls, once it has come down to the caps; other halls have no cap.
        [MW]
        """
        self._caps, self._coming_run = dict(caps), None

    def set_supply_temperature(self, circuit: str, temperature: float) -> None:
        """Change the supply set point of a circuit, named by its cooling plant. [degC]"""
        self._change_plant(circuit, {"supply_temperature": temperature})

    def stop_one_chiller(self, plants: Collection[str]) -> None:
        """Stop one chiller of each cooling plant named, and start all of the others."""
        for plant in self.site.machines_of(CoolingPlant):
            if plant.chillers is not None:
                count = self._chiller_counts[plant.name] - (plant.name in plants)
                chillers = plant.chillers.model_copy(update={"count": count})
                self._change_plant(plant.name, {"chillers": chillers})

    def _change_plant(self, name: str, changes: Mapping[str, object]) -> None:
        """Change a cooling plant and what follows from it."""
        machines = dict(self.site.equipment)
        machines[name] = machines[name].model_copy(update=changes)
        self.site, self._coming_run = self.site.with_equipment(machines), None
        changed = next(plant for plant in self.site.machines_of(CoolingPlant) if plant.name == name)
        self._ceilings[name] = CoolingCapacity.from_plant(changed, self._weather)

    def true_values(self, minutes: int = METERING_PERIOD_MIN) -> dict[VariableKey, float]:
        """Return the exact state of the facility, by (name, machine).

        Flows and weather are means of the last ``minutes`` that have run, stocks are current
        values. Before the first minute the only flow is the exchange with the grid.
        """
        span = slice(max(self._clock - minutes, 0), max(self._clock, 1))
        values: dict[VariableKey, float] = {
            ("grid_import_power", ""): max(self.meter.net, 0.0),
            ("grid_export_power", ""): max(-self.meter.net, 0.0),
            ("air_temperature", ""): float(self._weather.air_temperature[span].mean()),
            ("relative_humidity", ""): float(self._humidity[span].mean()),
        }
        for name, course in self._available.items():
            values["renewable_available_power", name] = float(course[span].mean())
        latest: list[SimulationArrays] = []
        count = 0
        for done in reversed(self._runs):
            if count >= minutes:
                break
            latest.insert(0, done)
            count += len(done.flows["grid_import_power", ""])
        for key in latest[0].flows if latest else ():
            whole = np.concatenate([done.flows[key] for done in latest])
            values[key] = float(whole[-minutes:].mean())
        return values | self._stocks | {("peak_power", ""): self.meter.peak}

    def _trajectories(self, span: slice) -> Trajectories:
        """Return the set points during the move, minute by minute."""
        share = self._move.completed_share(span.stop - span.start)
        trajectories: Trajectories = {}
        for key, value in self._move.goal_set_points.items():
            limit = self._available[key[1]][span] if key[0] == "renewable_used_power" else np.inf
            begin = self._move.start_set_points[key]
            trajectories[key] = np.minimum(
                begin + share * (np.minimum(value, limit) - begin), limit
            )
        for charge, discharge in self._storage_directions(trajectories):
            # a store has one converter: its net power moves, and never flows both ways
            net = trajectories[discharge] - trajectories[charge]
            trajectories[discharge], trajectories[charge] = (
                np.maximum(net, 0.0),
                np.maximum(-net, 0),
            )
        return trajectories

    def _storage_directions(
        self, trajectories: Trajectories
    ) -> Iterator[tuple[VariableKey, VariableKey]]:
        """Yield the set points of both directions of each store that has both."""
        for store in self.site.stores:
            kind = self.site.equipment[store.owner].kind
            directions = (f"{kind}_charge", store.owner), (f"{kind}_discharge", store.owner)
            if all(direction in trajectories for direction in directions):
                yield directions

    def _driven(self, trajectories: Trajectories, span: slice) -> Trajectories:
        """Return the set points as controllers of single machines change them, minute by minute."""
        return trajectories

    def _goal(self, key: VariableKey, value: float, minute: int) -> float:
        """Return the goal of a set point at a minute, limited by available sun and wind."""
        if key[0] == "renewable_used_power":
            return float(min(value, self._available[key[1]][minute]))
        return value

    def _drawn(self, hall: str, course: FloatArray, span: slice) -> FloatArray:
        """Return the true power of a hall for its ordered power."""
        machine = next(m for m in self.site.machines_of(ITHall) if m.name == hall)
        idle = machine.idle_power
        busy = (course - idle) * machine.power_factor_error * (1.0 + self._fluctuation[span])
        cap = np.maximum(course, self._caps.get(hall, machine.full_power))
        return np.asarray(np.clip(idle + busy, 0.0, np.minimum(cap, machine.full_power)))

    def observe(self) -> xr.Dataset:
        """Return the state with measurement errors, as :func:`twin.simulation.state.initial_state`
        describes.
        """
        noise, rng, meter = self._noise, self._rng, self.meter
        net = meter.net * (1.0 + rng.normal(0.0, noise.power_meter_error))
        state = self._initial_state.copy(deep=True).assign_coords(instant=self.now)
        for (name, owner), value in self._stocks.items():
            if name not in state:  # water in the pipes has no sensor
                continue
            if name == "facility_supply_temperature":
                seen = value + rng.normal(0.0, noise.temperature_sensor_error)
            elif name == "cooling_plant_output":
                seen = value * (1.0 + rng.normal(0.0, noise.power_meter_error))
            else:
                seen = self._seen_level(owner, value)
            set_machine_value(state, name, owner, value=seen)
        shown = {"grid_import_power": max(net, 0.0), "grid_export_power": max(-net, 0.0)}
        for name, power in {
            **shown,
            "peak_power": meter.peak,
            "usual_power": meter.mean_weekly_import,
        }.items():
            state[name].values = np.array(power)
        return state

    def supply_temperatures(self) -> dict[str, float]:
        """Return the supply water temperature of each circuit, without error. [degC]"""
        return {name: self._stocks["facility_supply_temperature", name] for name in self._ceilings}

    def _seen_level(self, owner: str, value: float) -> float:
        store = next(store for store in self._declared_site.stores if store.owner == owner)
        seen = value + self._rng.normal(0.0, self._noise.level_sensor_error) * store.max_level
        return float(np.clip(seen, 0.0, store.max_level))

    def record(self) -> xr.Dataset:
        """Return the true operation so far, in minutes, with labels and units."""
        known = self._runs[0].flows
        flows = {key: np.concatenate([run.flows[key] for run in self._runs]) for key in known}
        stocks = {
            key: np.concatenate([*(run.states[key][:-1] for run in self._runs), last[-1:]])
            for key, last in self._runs[-1].states.items()
        }
        whole = self._axes.isel(time=slice(0, self._clock), instant=slice(0, self._clock + 1))
        return simulate.result_dataset(
            self.site, SimulationArrays(flows=flows, states=stocks), whole
        )


CONTROLLER_RAMP_SHARE: Final = 0.75
"""Share of the connection's ramp limit that the facility's controllers use. [1]"""

IMPORT_CHANGE_FACTORS: Final = {
    "hall_power": 1.15,
    "battery_charge": 1.0,
    "battery_discharge": 1.0,
    "tank_charge": 0.2,
    "tank_discharge": 0.2,
    "renewable_used_power": 1.0,
    "heat_reuse_power": 0.15,
    **dict.fromkeys(setpoints.COMMAND_VARIABLES, 0.0),
}
"""Change of import per change of a set point: losses and cooling follow the halls. [1]"""


@dataclass(kw_only=True)
class SetPointMove:
    """A simultaneous move of all set points.

    - `start_set_points`, `goal_set_points`: (name, machine) -> set point at the start and at the
      end. [MW]
    - `duration_minutes`: duration of the move. [min]
    - `elapsed_minutes`: time since its start. [min]
    """

    start_set_points: Mapping[VariableKey, float]
    goal_set_points: Mapping[VariableKey, float]
    duration_minutes: float
    elapsed_minutes: int = 0

    def completed_share(self, minutes: int) -> FloatArray:
        """Return the completed share at the end of each coming minute. [1]"""
        minute = np.arange(self.elapsed_minutes + 1, self.elapsed_minutes + minutes + 1)
        return np.asarray(np.clip(minute / self.duration_minutes, 0.0, 1.0))


def move_duration(
    begin: Mapping[VariableKey, float], end: Mapping[VariableKey, float], *, ramp: float
) -> float:
    """Return the duration of a move between set points [MW] under a ramp limit [MW min-1]. [min]"""
    swing = sum(abs(end[key] - begin[key]) * IMPORT_CHANGE_FACTORS[key[0]] for key in end)
    return max(SET_POINT_TRANSITION_MIN, swing / (CONTROLLER_RAMP_SHARE * ramp))


class ConnectionMeter:
    """Meter of the grid connection: means of quarter-hours, and the largest one.

    - `net`: mean import less export of the last quarter-hour. [MW]
    - `peak`: largest mean import of the billing period so far, among counted quarter-hours. [MW]
    - `mean_weekly_import`: mean import of about the last week. [MW]
    """

    def __init__(self, state: xr.Dataset, billing: BillingRules) -> None:
        self.net = float(net_import(state))
        self.peak, self.mean_weekly_import = float(state["peak_power"]), float(state["usual_power"])
        self._now = np.datetime64(str(state["instant"].to_numpy()), "us")
        self._billing, self._turn = billing, billing.period_end(self._now)
        self._last: list[float] = []
        self._count = 0

    def count_minutes(self, net: FloatArray) -> None:
        """Count some minutes of import less export. [MW]"""
        for value in net.tolist():
            self._last = [*self._last[1 - METERING_PERIOD_MIN :], value]
            self._count += 1
            if self._count % METERING_PERIOD_MIN == 0:
                self._close(float(np.mean(self._last)))
        self.net = float(np.mean(self._last))

    def mean_net_import(self, minutes: int) -> float:
        """Return the mean of the last minutes, within the current quarter-hour window. [MW]"""
        return float(np.mean(self._last[-minutes:]))

    def _close(self, mean: float) -> None:
        """Count a complete quarter-hour; the last one of a billing period resets the peak."""
        if self._billing.counts_in_peak(np.array([self._now]))[0]:
            self.peak = max(self.peak, mean)
        self.mean_weekly_import = running_mean_import(
            self.mean_weekly_import, max(mean, 0.0), METERING_PERIOD_MIN / MINUTES_PER_HOUR
        )
        self._now = self._now + QUARTER_HOUR
        if self._now >= self._turn:
            self.peak = 0.0
            self._turn = self._billing.period_end(self._now)
