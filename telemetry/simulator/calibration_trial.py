"""Acceptance trials of calibration and observer on simulated facilities whose parameters are known.

For each seed a worn facility runs for two weeks under a synthetic load: a daily profile, random
hours, and batteries and tanks that cycle twice a day. Its telemetry of the first week calibrates
the site, which then predicts the second week. Another run has one drifting and one stuck sensor;
the observer estimates its state every quarter-hour from the newest readings and the mean operation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Self

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.simulator.deviations import SensorFault, SensorModel, worn_for_calibration
from telemetry.simulator.plant import SimulatedFacility
from twin import time_axes, variables
from twin.calibration.calibrate import CalibrationResult, Identifiability, calibrate
from twin.calibration.fit import parameter_value
from twin.equipment import CoolingPlant, HeatReuse, ITHall
from twin.estimation.kalman_bank import NOISE_PRIORS
from twin.estimation.observer import StateEstimate, estimate_state
from twin.physics import FloatArray
from twin.simulation import simulate
from twin.simulation import state as states
from twin.simulation.engine import VariableKey
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN
from twin.units import MINUTES_PER_DAY
from twin.weather import WEATHER_VARIABLES

TRIAL_PERIOD_DAYS: Final = 7
"""Length of the calibration, of the prediction, and of the observation. [d]"""

FAULT_SEED_OFFSET: Final = 1000
"""Offset from the seed of a facility to that of its failing sensors. [1]"""

MAX_ACCEPTED_ERRORS: Final = {
    "cv_rmse": 0.027,
    "nmbe": 0.01,
    "temperature_rmse": 0.5,
    "identified": 0.02,
}
"""Largest allowed errors: shares of the mean power, kelvin, shares of the parameters."""

BOUND_COVERAGE: Final = (0.92, 0.98)
"""Smallest and largest allowed share of hourly samples within the 95 % bounds. [1]"""


@dataclass(frozen=True, kw_only=True)
class PredictionScore:
    """Errors of a site's prediction of a facility.

    - `cv_rmse`: root mean square error of the facility power over its mean. [1]
    - `nmbe`: mean error of the facility power over its mean. [1]
    - `temperature_rmse`: root mean square error of the supply temperatures. [K]
    """

    cv_rmse: float
    nmbe: float
    temperature_rmse: float


@dataclass(frozen=True, kw_only=True)
class AcceptanceResult:
    """Result of one seed.

    - `calibrated_score`, `uncalibrated_score`: errors of the calibrated site in the second week,
      and of the site as declared.
    - `worst_identified_error`: largest relative error of a parameter that counts as identified. [1]
    - `identified_count`: parameters that count as identified. [1]
    - `samples_within_bounds`, `sample_count`: hourly samples whose bounds contain the true value,
      and all of them. [1]
    """

    seed: int
    calibrated_score: PredictionScore
    uncalibrated_score: PredictionScore
    worst_identified_error: float
    worst_parameter: str
    identified_count: int
    samples_within_bounds: int
    sample_count: int

    def as_json(self) -> dict[str, object]:
        """Return the row of the command's JSON output."""
        return {
            "seed": self.seed,
            "score": asdict(self.calibrated_score),
            "before": asdict(self.uncalibrated_score),
            "identified": self.worst_identified_error,
            "which": self.worst_parameter,
            "count": self.identified_count,
            "inside": self.samples_within_bounds,
            "samples": self.sample_count,
        }


def run_acceptance(site: Site, boundary_conditions: xr.Dataset, *, seed: int) -> AcceptanceResult:
    """Return the result of one worn facility under two weeks of one-minute weather and available
    power.
    """
    week = TRIAL_PERIOD_DAYS * MINUTES_PER_DAY
    plant = CalibrationTrial.run(site, boundary_conditions, seed=seed)
    calibration = calibrate(site, plant.readings.isel(time=slice(0, week)))
    worst, which, count = _worst(calibration, plant.worn_site)
    rng = np.random.default_rng(FAULT_SEED_OFFSET + seed)
    sensing = SensorModel(faults=random_sensor_faults(site, TRIAL_PERIOD_DAYS, rng))
    short = boundary_conditions.isel(time=slice(0, week), instant=slice(0, week + 1))
    seen = bounds_contain_truth(CalibrationTrial.run(site, short, seed=seed, sensing=sensing), site)
    return AcceptanceResult(
        seed=seed,
        calibrated_score=plant.score(calibration.site, week, 2 * week),
        uncalibrated_score=plant.score(site, week, 2 * week),
        worst_identified_error=worst,
        worst_parameter=which,
        identified_count=count,
        samples_within_bounds=int(seen.sum()),
        sample_count=int(seen.size),
    )


def _worst(calibration: CalibrationResult, hidden: Site) -> tuple[float, str, int]:
    """Return the largest error of an identified parameter, its name, and the number of identified
    ones.
    """
    errors = {}
    for identified in calibration.estimates:
        parameter = identified.parameter
        if identified.identifiability is Identifiability.IDENTIFIED and not parameter.is_offset:
            true = parameter_value(hidden.equipment[parameter.machine], parameter.path)
            errors[parameter.name] = abs(identified.value / true - 1.0)
    if not errors:
        return 0.0, "", 0
    which = max(errors, key=lambda name: errors[name])
    return errors[which], which, len(errors)


MAX_READING_AGE_MIN: Final = 3
"""Age up to which a reading counts as the newest. [min]"""

DRIFT_RANGE: Final = (0.5, 4.0)
"""Smallest and largest drift of a sensor, in its standard errors. [h-1]"""

DRIFT_HOURS: Final = (12, 48)
STUCK_HOURS: Final = (4, 24)
"""Shortest and longest fault. [h]"""


def random_sensor_faults(
    site: Site, days: int, rng: np.random.Generator
) -> tuple[SensorFault, ...]:
    """Return one drifting and one stuck sensor of the state, at random times in ``days``. [d]"""
    sensors = list(_sensors(site))
    drifting, stuck = rng.permutation(len(sensors))[:2].tolist()
    found = []
    for which, (shortest, longest) in ((drifting, DRIFT_HOURS), (stuck, STUCK_HOURS)):
        length = int(rng.uniform(shortest, longest) * 60)
        begin = int(rng.integers(METERING_PERIOD_MIN, days * 1440 - length))
        name, owner, size = sensors[which]
        drift = (
            rng.choice([-1.0, 1.0])
            * rng.uniform(*DRIFT_RANGE)
            * NOISE_PRIORS[name].measurement_std
            * size
        )
        found.append(
            SensorFault(
                variable=name,
                machine=owner,
                begin_minute=begin,
                end_minute=begin + length,
                drift=float(drift) if which == drifting else 0.0,
            )
        )
    return tuple(found)


def _sensors(site: Site) -> Iterator[tuple[str, str, float]]:
    """Yield variable, machine and full scale of each sensor of the state."""
    for store in site.stores:
        yield f"{site.equipment[store.owner].kind}_level", store.owner, store.max_level
    for plant in site.machines_of(CoolingPlant):
        yield "facility_supply_temperature", plant.name, 1.0
        yield "cooling_plant_output", plant.name, plant.rated_cooling


@dataclass(frozen=True, kw_only=True)
class CalibrationTrial:
    """Operation of a worn facility, and its telemetry.

    - `site`: the site as declared.
    - `worn_site`: the facility as it is.
    - `readings`: telemetry in minutes.
    - `true_record`: true operation in minutes, with the weather.
    - `declared_rack_power`: declared power of the racks, on (time, hall). [MW]
    """

    site: Site
    worn_site: Site
    readings: xr.Dataset
    true_record: xr.Dataset
    declared_rack_power: xr.DataArray

    @classmethod
    def run(
        cls,
        site: Site,
        boundary_conditions: xr.Dataset,
        *,
        seed: int,
        sensing: SensorModel | None = None,
        share: float = 0.15,
    ) -> Self:
        """Simulate a facility with hidden deviations up to ``share`` [1] and measure it.

        ``boundary_conditions`` are weather and available power in minutes, for whole hours.
        """
        rng = np.random.default_rng(seed)
        hidden = worn_for_calibration(site, rng, share=share)
        begin = states.initial_state(site, boundary_conditions["time"].to_numpy()[0])
        plant = SimulatedFacility(site, boundary_conditions, begin, seed=seed, hidden=hidden)
        halls = [hall.name for hall in site.machines_of(ITHall)]
        given: list[list[FloatArray]] = []
        before: Mapping[VariableKey, float] = {}
        for orders in _orders(site, boundary_conditions.sizes["time"] // SET_POINT_PERIOD_MIN, rng):
            plant.run_with(orders, SET_POINT_PERIOD_MIN)
            given.append([_ordered_power(plant, before, hall) for hall in halls])
            before = orders
        weather = boundary_conditions[[*WEATHER_VARIABLES]].isel(
            time=slice(0, SET_POINT_PERIOD_MIN * len(given))
        )
        record = plant.record().merge(weather, compat="override")
        declared = xr.DataArray(
            np.concatenate(given, axis=1).T,
            dims=("time", "hall"),
            coords={"time": record["time"], "hall": halls},
        )
        readings = (sensing or SensorModel()).read(site, record, declared=declared, rng=rng)
        return cls(
            site=site,
            worn_site=hidden,
            readings=readings,
            true_record=record,
            declared_rack_power=declared,
        )

    def score(self, site: Site, start: int, end: int) -> PredictionScore:
        """Return the errors of a site that predicts minutes ``start`` to ``end`` in quarter-hours.

        The prediction uses weather, orders and the declared load.
        """
        operation = self._operation(site, start, end)
        got = simulate.simulate(site, self._state(start), operation)
        true = _quarters(self.true_record["facility_power"], start, end).to_numpy()
        wrong = got["facility_power"].to_numpy() - true
        edges = slice(start + METERING_PERIOD_MIN, end + 1, METERING_PERIOD_MIN)
        supply = self.true_record["facility_supply_temperature"].isel(instant=edges).to_numpy()
        warmer = got["facility_supply_temperature"].to_numpy()[1:] - supply
        return PredictionScore(
            cv_rmse=float(np.sqrt(np.mean(wrong**2)) / true.mean()),
            nmbe=float(wrong.mean() / true.mean()),
            temperature_rmse=float(np.sqrt(np.mean(warmer**2))),
        )

    def _operation(self, site: Site, start: int, end: int) -> xr.Dataset:
        """Return weather, orders and the rack power that a site expects."""
        grid = time_axes.regular_axes(
            self.true_record["time"].to_numpy()[start], (end - start) // METERING_PERIOD_MIN
        )
        halls = site.machines_of(ITHall)
        idle = np.array([hall.idle_power for hall in halls])
        factor = np.array([hall.power_factor_error for hall in halls])
        declared = _quarters(self.declared_rack_power, start, end)
        operation = grid.assign(hall_power=idle + factor * (declared - idle))
        for name in (*WEATHER_VARIABLES, *ORDERED_FLOW_VARIABLES):
            if name in self.true_record:
                operation[name] = _quarters(self.true_record[name], start, end)
        return variables.tag_dataset(operation)

    def _state(self, minute: int) -> xr.Dataset:
        """Return the true state at the start of a minute."""
        state = states.initial_state(self.site, self.true_record["time"].to_numpy()[minute])
        for name in ("battery_level", "tank_level", "facility_supply_temperature"):
            if name in self.true_record:
                state[name].values = self.true_record[name].isel(instant=minute).to_numpy()
        output = self.true_record["cooling_plant_output"].isel(time=max(minute - 1, 0))
        state["cooling_plant_output"].values = output.to_numpy()
        return state


def bounds_contain_truth(trial: CalibrationTrial, site: Site) -> np.ndarray:
    """Return whether the observer's 95 % bounds contain the true values each hour.

    The observer of a site estimates quarter-hour by quarter-hour. Axes: (stock, time).
    """
    count = trial.readings.sizes["time"] // METERING_PERIOD_MIN
    operation = _operation(trial, count)
    last: StateEstimate | None = None
    estimates = []
    for step in range(count):
        done = operation.isel(time=[step], instant=[step, step + 1])
        last = estimate_state(
            site,
            _newest(trial, site, (step + 1) * METERING_PERIOD_MIN),
            last=last,
            operation=done,
        )
        estimates.append(last)
    stocks = tuple((name, owner) for name, owner, _ in _sensors(site))
    truth = np.array([_truth(trial, *stock, count=count) for stock in stocks])
    bounds = np.array([[one.bounds(*stock) for one in estimates] for stock in stocks])
    inside = (bounds[..., 0] <= truth) & (truth <= bounds[..., 1])
    return np.asarray(inside[:, 3::4])


def _operation(trial: CalibrationTrial, count: int) -> xr.Dataset:
    """Return the measured mean operation of each quarter-hour; without readings, that of the one
    before.
    """
    grid = time_axes.regular_axes(trial.true_record["time"].to_numpy()[0], count)
    for name in ("hall_power", *ORDERED_FLOW_VARIABLES, *WEATHER_VARIABLES):
        source = trial.readings if name in trial.readings else trial.true_record
        if name in source:
            part = source[name].isel(time=slice(0, count * METERING_PERIOD_MIN))
            part = part.drop_vars(["time", "instant"], errors="ignore")
            mean = part.coarsen(time=METERING_PERIOD_MIN).mean()
            known = mean.copy(data=_forward_filled(mean.to_numpy()))
            grid[name] = known if name in WEATHER_VARIABLES else known.clip(min=0.0)
    return variables.tag_dataset(grid)


def _newest(trial: CalibrationTrial, site: Site, minute: int) -> xr.Dataset:
    """Return the newest readings at the end of a minute."""
    readings = trial.readings
    moment = readings["time"].to_numpy()[minute - 1] + time_axes.MINUTE
    seen = states.initial_state(site, moment)
    for name in states.STATE_VARIABLES:
        if name in readings:
            values = readings[name].isel(time=slice(minute - MAX_READING_AGE_MIN, minute))
            seen[name].values = _forward_filled(values.to_numpy())[-1]
    return seen


def _forward_filled(values: FloatArray) -> FloatArray:
    """Return readings on (time, ...); a missing one repeats the one before."""
    return np.asarray(pd.DataFrame(values.reshape(len(values), -1)).ffill()).reshape(values.shape)


def _truth(trial: CalibrationTrial, name: str, owner: str, *, count: int) -> FloatArray:
    values = trial.true_record[name].sel({str(trial.true_record[name].dims[1]): owner})
    first = METERING_PERIOD_MIN - ("instant" not in values.dims)
    last = first + (count - 1) * METERING_PERIOD_MIN
    return np.asarray(values.to_numpy()[first : last + 1 : METERING_PERIOD_MIN])


SET_POINT_PERIOD_MIN: Final = 60
"""Time between two orders. [min]"""

CHARGING_HOURS: Final = {1, 2, 3, 12, 13}
DISCHARGING_HOURS: Final = {7, 8, 18, 19, 20}
"""Hours of the day in which stores cycle, at half of their power."""

ORDERED_FLOW_VARIABLES: Final = (
    "battery_charge",
    "battery_discharge",
    "tank_charge",
    "tank_discharge",
    "renewable_used_power",
    "heat_reuse_power",
)
"""Flows that are ordered."""


def _orders(
    site: Site, hours: int, rng: np.random.Generator
) -> Iterator[Mapping[VariableKey, float]]:
    """Yield the orders of each hour."""
    shocks = np.repeat(rng.normal(0.0, 0.15, hours // 3 + 1), 3)
    for hour in range(hours):
        day = np.sin(2.0 * np.pi * hour / 24.0 - 2.0)
        share = float(np.clip(0.55 + 0.25 * day + shocks[hour], 0.1, 1.0))
        orders: dict[VariableKey, float] = {}
        for hall in site.machines_of(ITHall):
            busy = share * rng.uniform(0.9, 1.0)
            orders["hall_power", hall.name] = hall.idle_power + busy * (
                hall.full_power - hall.idle_power
            )
        for store in site.stores:
            kind, moment = site.equipment[store.owner].kind, hour % 24
            charge, discharge = 0.5 * store.charge_limit, 0.5 * store.discharge_limit
            orders[f"{kind}_charge", store.owner] = charge * (moment in CHARGING_HOURS)
            orders[f"{kind}_discharge", store.owner] = discharge * (moment in DISCHARGING_HOURS)
        for exchange in site.exchanges:
            if exchange.availability_variable:
                orders["renewable_used_power", exchange.owner] = exchange.import_limit
        for pump in site.machines_of(HeatReuse):
            orders["heat_reuse_power", pump.name] = 0.5 * pump.rated_heat
        yield orders


def _ordered_power(
    plant: SimulatedFacility, before: Mapping[VariableKey, float], hall: str
) -> FloatArray:
    """Return the power that the racks of a hall were ordered to draw in the last hour. [MW]"""
    goal = plant.current_set_points["hall_power", hall]
    begin = before.get(("hall_power", hall), goal)
    return begin + plant.completed_share(SET_POINT_PERIOD_MIN) * (goal - begin)


def _quarters(values: xr.DataArray, start: int, end: int) -> xr.DataArray:
    """Return means of quarter-hours, without labels of time."""
    part = values.isel(time=slice(start, end)).drop_vars(["time", "instant"], errors="ignore")
    return part.coarsen(time=METERING_PERIOD_MIN).mean()
