"""Estimate the state of a site from noisy, missing, drifting and stuck telemetry.

The simulation predicts every stock and the sensors measure it. The filters of
:mod:`twin.estimation.kalman_bank` weight both by their past errors. A stock without readings
follows the simulation with a growing spread. A stuck sensor is excluded, and a drifting one widens
the bounds. The estimate reports each of these in a message.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment import CoolingPlant
from twin.errors import IssueCode, StateError, ValidationIssue
from twin.estimation.kalman_bank import BOUND_STANDARD_ERRORS, NOISE_PRIORS, KalmanFilterBank
from twin.estimation.measurement_update import (
    PredictedStateVariable,
    SensorCondition,
    SensorWarning,
    StateVariableFilter,
    sensor_warnings,
    update_state_variable,
)
from twin.markets.tariffs import running_mean_import
from twin.relations import Store
from twin.simulation import simulate
from twin.simulation import state as states
from twin.simulation.engine import VariableKey, simulate_arrays
from twin.simulation.state_integration import CoolingCapacity
from twin.site import Site
from twin.time_axes import HOUR, QUARTER_HOUR, SECOND
from twin.weather import Weather

MAX_PREDICTION_H: Final = 1.0
"""Longest prediction by the model, and longest silence of the meter. [h]"""

BLIND_SPREAD_FACTOR: Final = 10.0
"""Factor on the growth of a spread without a prediction. [1]"""

MAX_UNSEEN_H: Final = 9.0
"""Longest time without a reading for which an estimate is usable: the plant may have failed. [h]"""

DRIVING_VARIABLES: Final = {"facility_supply_temperature": "cooling_plant_output"}
"""Variable whose movement excites a stock, if another: controlled water deviates with its load."""

METERED_CONNECTION_VARIABLES: Final = ("grid_import_power", "grid_export_power", "peak_power")
"""Variables that only the meter of the connection measures."""


@dataclass(frozen=True, kw_only=True)
class StateEstimate:
    """The state, with its uncertainty.

    - ``state``: See :func:`twin.initial_state`.
    - ``standard_error``: (variable, machine) -> half the distance between the 95 % bounds, as
      standard errors, in the unit of the variable.
    - ``warnings``: Stale or doubtful measurements.
    - ``is_unusable``: Whether a spread is too wide for a plan, or the meter has been silent too
      long.
    - ``meter_silence``: Time since the last reading of the meter. [h]
    - ``filters``: (variable, machine) -> filter of the stock.
    """

    state: xr.Dataset
    standard_error: Mapping[VariableKey, float]
    warnings: tuple[SensorWarning, ...]
    is_unusable: bool
    meter_silence: float = 0.0
    filters: Mapping[VariableKey, StateVariableFilter] = field(default_factory=dict)

    @property
    def messages(self) -> tuple[str, ...]:
        """Stale or doubtful measurements, as text."""
        return tuple(warning.text for warning in self.warnings)

    def bounds(self, name: str, owner: str) -> tuple[float, float]:
        """Return the range of a stock with a probability of 95 %. [unit of the stock]"""
        if (name, owner) in self.filters:
            return self.filters[name, owner].filter_bank.bounds
        value = float(self.state[name].sel({str(self.state[name].dims[0]): owner}))
        reach = BOUND_STANDARD_ERRORS * self.standard_error[name, owner]
        return value - reach, value + reach


def estimate_state(
    site: Site,
    measurements: xr.Dataset,
    *,
    last: StateEstimate | None = None,
    operation: xr.Dataset | None = None,
) -> StateEstimate:
    """Return the state of a site now.

    - ``measurements``: Newest valid readings under the names of the state, NaN without one, with
      the scalar coordinate ``instant``, the present time.
    - ``last``: The last estimate; one in the future, after a clock was set back, is ignored.
    - ``operation``: Operation since then, on ``time`` from the instant of ``last`` to now; see
      :func:`twin.simulation.simulate.simulate`.

    Raises ``StateError`` if a variable has neither been measured nor estimated before.
    """
    now = np.datetime64(str(measurements["instant"].to_numpy()), "us")
    if last is not None and last.state["instant"].to_numpy() > now:
        last = None
    state, sizes = states.initial_state(site, now), state_scales(site)
    predictions = _predict_stocks(site, now, last=last, operation=operation)
    filters, warnings, issues = _update_stocks(measurements, predictions, sizes=sizes, now=now)
    for (name, owner), found in filters.items():
        state[name].loc[{str(state[name].dims[0]): owner}] = found.filter_bank.mean
    silent = _set_connection(state, measurements, last)
    _set_peak(site, state, measurements, last=last, is_silent="peak_power" in silent)
    if last is None:
        issues += [_unknown(name, "") for name in silent]
    StateError.raise_if_any(f"state of {site.name}", issues)
    silence = _silence(silent, now, last)
    spread = {key: found.filter_bank.equivalent_standard_error for key, found in filters.items()}
    warnings += [
        SensorWarning(
            condition=SensorCondition.SILENT,
            subject=name,
            text=f"{name} is not measured: the last one counts",
        )
        for name in silent
    ]
    unusable = list(_unusable_warnings(filters, sizes, silence))
    return StateEstimate(
        state=state,
        standard_error=spread,
        warnings=(*warnings, *unusable),
        is_unusable=bool(unusable),
        meter_silence=silence,
        filters=filters,
    )


def _update_stocks(
    observed: xr.Dataset,
    predictions: Mapping[VariableKey, PredictedStateVariable],
    *,
    sizes: Mapping[VariableKey, float],
    now: np.datetime64,
) -> tuple[dict[VariableKey, StateVariableFilter], list[SensorWarning], list[ValidationIssue]]:
    """Return the updated filters of all stocks, warnings, and issues of unknown stocks."""
    filters: dict[VariableKey, StateVariableFilter] = {}
    warnings: list[SensorWarning] = []
    issues: list[ValidationIssue] = []
    for (name, owner), size in sizes.items():
        measurement = float(observed[name].sel({str(observed[name].dims[0]): owner}))
        prediction = predictions.get((name, owner))
        unit = variables.variable_definition(name).unit
        max_value = np.inf if unit == "degC" else size
        found = update_state_variable(
            prediction,
            measurement,
            now=now,
            noise_prior=NOISE_PRIORS[name].scaled(size),
            max_value=max_value,
        )
        if found is None:
            issues.append(_unknown(name, owner))
            continue
        filters[name, owner] = found
        warnings += sensor_warnings(
            f"{name} of {owner}",
            prediction,
            found,
            measurement=measurement,
            unit=unit,
            noise_prior=NOISE_PRIORS[name].scaled(size),
            max_value=max_value,
        )
    return filters, warnings, issues


def _unusable_warnings(
    filters: Mapping[VariableKey, StateVariableFilter],
    sizes: Mapping[VariableKey, float],
    silence: float,
) -> Iterator[SensorWarning]:
    """Yield a warning for each stock that no plan may use, and for a silent meter. [h]"""
    for (name, owner), found in filters.items():
        max_spread = NOISE_PRIORS[name].unusable_std * sizes[name, owner]
        if (
            found.filter_bank.equivalent_standard_error > max_spread
            or found.unseen_time > MAX_UNSEEN_H
        ):
            yield SensorWarning(
                condition=SensorCondition.UNKNOWN,
                subject=f"{name} of {owner}",
                text=f"{name} of {owner} has been unknown for too long",
                values={
                    "spread": found.filter_bank.equivalent_standard_error,
                    "unseen_h": found.unseen_time,
                },
            )
    if silence > MAX_PREDICTION_H:
        yield SensorWarning(
            condition=SensorCondition.UNKNOWN,
            subject="grid_import_power",
            text=f"the meter of the connection has been silent for {silence:.3g} h",
            values={"silence_h": silence},
        )


def state_scales(site: Site) -> dict[VariableKey, float]:
    """Return the size of each stock, of which its noise is a share. [unit of the stock]"""
    sizes = {key: store.max_level for key, store in _levels(site).items()}
    for plant in site.machines_of(CoolingPlant):
        sizes["facility_supply_temperature", plant.name] = 1.0
        sizes["cooling_plant_output", plant.name] = plant.rated_cooling
    return sizes


def _predict_stocks(
    site: Site, now: np.datetime64, *, last: StateEstimate | None, operation: xr.Dataset | None
) -> dict[VariableKey, PredictedStateVariable]:
    """Return the model's prediction of every stock."""
    if last is None:
        return {}
    hours, sizes = _since(last, now), state_scales(site)
    process_factor, speeds = (
        BLIND_SPREAD_FACTOR,
        {key: _speed(store) for key, store in _levels(site).items()},
    )
    states: Mapping[VariableKey, float] = simulate.state_values(last.state)
    slopes: Mapping[VariableKey, float] = dict.fromkeys(sizes, 1.0)
    if 0.0 < hours <= MAX_PREDICTION_H and operation is not None:
        states, slopes = propagate_with_sensitivity(
            site, last.state, operation, spread=last.standard_error
        )
        process_factor, speeds = 1.0, {}
    begin = simulate.state_values(last.state)
    predictions = {}
    for (name, owner), size in sizes.items():
        stock_filter = _last_filter(last, (name, owner), size)
        driver = DRIVING_VARIABLES.get(name, name), owner
        change = states[driver] - begin[driver]
        prediction = stock_filter.predicted(
            states[name, owner],
            slopes[name, owner],
            excitation=change / (NOISE_PRIORS[driver[0]].measurement_std * sizes[driver]),
            noise_prior=NOISE_PRIORS[name].scaled(size).with_process_factor(process_factor),
            elapsed=hours,
        )
        bank = prediction.filter_bank.inflated(speeds.get((name, owner), 0.0) * hours)
        predictions[name, owner] = replace(prediction, filter_bank=bank)
    return predictions


def _levels(site: Site) -> dict[VariableKey, Store]:
    return {(f"{site.equipment[s.owner].kind}_level", s.owner): s for s in site.stores}


def _speed(store: Store) -> float:
    """Return the largest rate of change of a level. [MW]"""
    charged, discharged = (
        store.level_rate(store.charge_limit, 0.0),
        store.level_rate(0.0, store.discharge_limit),
    )
    return float(max(charged, -discharged))


def _last_filter(last: StateEstimate, key: VariableKey, size: float) -> StateVariableFilter:
    """Return the last filter of a stock, or a new one at its last estimate."""
    if key in last.filters:
        return last.filters[key]
    name, owner = key
    value = float(last.state[name].sel({str(last.state[name].dims[0]): owner}))
    noise_prior = NOISE_PRIORS[name].scaled(size)
    return StateVariableFilter(
        filter_bank=KalmanFilterBank.start_at(value, last.standard_error[key], noise_prior)
    )


def _since(last: StateEstimate, now: np.datetime64) -> float:
    """Return the time since an estimate. [h]"""
    return float((now - last.state["instant"].to_numpy()) / HOUR)


def _set_connection(
    state: xr.Dataset, observed: xr.Dataset, last: StateEstimate | None
) -> list[str]:
    """Set the connection's variables by the meter; return those without a reading."""
    silent = []
    for name in METERED_CONNECTION_VARIABLES:
        measurement = float(observed[name])
        if np.isnan(measurement):
            silent.append(name)
            measurement = float(last.state[name]) if last else 0.0
        state[name].values = np.array(max(measurement, 0.0))
    return silent


def _set_peak(
    site: Site,
    state: xr.Dataset,
    observed: xr.Dataset,
    *,
    last: StateEstimate | None,
    is_silent: bool,
) -> None:
    """Set the peak of the billing period so far, and the mean import.

    A peak that was measured before the period began belongs to the last period.
    """
    now = np.datetime64(str(state["instant"].to_numpy()), "us")
    begin = site.billing_rules.period_start(now)
    age = float(observed["peak_power_age"]) if "peak_power_age" in observed else 0.0
    taken = float(state["grid_import_power"])
    if is_silent or (now - begin) / SECOND < age:
        is_same = last is not None and last.state["instant"].to_numpy() >= begin
        before = float(last.state["peak_power"]) if last and is_same else 0.0
        is_new = (
            now - begin >= QUARTER_HOUR
            and site.billing_rules.counts_in_peak(np.array([now - QUARTER_HOUR]))[0]
        )
        net = taken if is_new else 0.0
        state["peak_power"].values = np.array(max(before, net))
    if last is not None:
        hours = min(_since(last, now), MAX_PREDICTION_H)
        taken = running_mean_import(float(last.state["usual_power"]), taken, hours)
    state["usual_power"].values = np.array(taken)


def _silence(silent: list[str], now: np.datetime64, last: StateEstimate | None) -> float:
    """Return the time since the last reading of the connection's power. [h]"""
    if last is None or set(silent) <= {"peak_power"}:
        return 0.0
    return last.meter_silence + _since(last, now)


def _unknown(name: str, owner: str) -> ValidationIssue:
    return IssueCode.MISSING.issue(
        f"{name} of {owner}" if owner else name,
        expected="a measurement or an earlier estimate",
        remedy="no sensor has shown it yet; see the points that the plant publishes",
    )


MIN_PERTURBATION: Final = 1e-6
"""Smallest perturbation of a stock. [unit of the stock]"""

PERTURBED_GROUPS: Final = (
    {"battery_level", "tank_level", "facility_supply_temperature"},
    {"cooling_plant_output"},
)
"""Stocks that are perturbed together; interacting stocks of one machine are separate."""


def propagate_with_sensitivity(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, spread: Mapping[VariableKey, float]
) -> tuple[dict[VariableKey, float], dict[VariableKey, float]]:
    """Return the stocks at the end of an operation [unit of the stock], and their sensitivities.
    [1]

    - ``operation``: See :func:`twin.simulation.simulate.simulate`.
    - ``spread``: Size of the perturbation of each stock. [unit of the stock]
    """
    states.check_state(site, state)
    dispatch = simulate.dispatch_arrays(site, operation)
    weather, hours = Weather.from_dataset(operation), operation["duration"].to_numpy()
    capacities = CoolingCapacity.by_plant(site, weather)

    def end(begin: Mapping[VariableKey, float]) -> dict[VariableKey, float]:
        result = simulate_arrays(
            site, begin, dispatch, weather=weather, durations=hours, capacities=capacities
        )
        return {key: float(result.states[key][-1]) for key in begin}

    begin = simulate.state_values(state)
    final = end(begin)
    steps = {key: _step(site, key, value, spread[key]) for key, value in begin.items()}
    slopes: dict[VariableKey, float] = {}
    for names in PERTURBED_GROUPS:
        perturbed_start = {
            k: value + steps[k] if k[0] in names else value for k, value in begin.items()
        }
        perturbed = end(perturbed_start)
        for key in begin:
            if key[0] in names:
                slope = (perturbed[key] - final[key]) / steps[key]
                slopes[key] = float(np.clip(slope, 0.0, 1.0))
    return final, slopes


def _step(site: Site, key: VariableKey, value: float, size: float) -> float:
    """Return a change of a stock that stays within its window. [unit of the stock]"""
    middles = {store.owner: 0.5 * (store.min_level + store.max_level) for store in site.stores}
    sign = 1.0 if value <= middles.get(key[1], np.inf) else -1.0
    return sign * max(size, MIN_PERTURBATION)
