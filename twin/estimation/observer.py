"""Estimate the state of a site from noisy, missing, drifting and stuck telemetry.

The twin says where every stock should be by now, the sensors say where it is, and each is believed
by what it has been worth so far: see :mod:`twin.estimation.kalman_bank`. What no sensor shows any
more is carried on by the twin with a spread that grows; a sensor that is stuck is left out, one
that drifts widens the bounds; all of it is told in words.

Where the twin takes every stock in an operation, and how much of an error of it lives on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment import CoolingPlant
from twin.errors import StateError, ValidationIssue
from twin.estimation.kalman_bank import BOUND_STANDARD_ERRORS, NOISE_PRIORS, KalmanFilterBank
from twin.estimation.measurement import PredictedStock, StockFilter, diagnostics, update_stock
from twin.markets.tariffs import running_mean_import
from twin.relations import Store
from twin.simulation import simulate
from twin.simulation import state as states
from twin.simulation.engine import VariableKey, simulate_arrays
from twin.simulation.integration import CoolingCapacity
from twin.site import Site
from twin.time_axes import HOUR, QUARTER_HOUR
from twin.weather import Weather

MAX_PREDICTION_H: Final = 1.0
"""Longest stretch over which the model carries a state on, and longest silence of the meter. [h]"""

BLIND_SPREAD_FACTOR: Final = 10.0
"""Factor by which a spread grows faster while the model does not carry the state on. [1]"""

MAX_UNSEEN_H: Final = 9.0
"""Longest time that a model is believed without any reading: the plant may have a fault. [h]"""

NEVER_MEASURED: Final = "no sensor has shown it yet"
"""How the remedy of a fault begins that is about something which has never been measured."""

DRIVING_VARIABLES: Final = {"facility_supply_temperature": "cooling_plant_output"}
"""What a stock is moved by, where that is not itself: held water strays when its load changes."""

ONE_SECOND: Final = np.timedelta64(1, "s")

CONNECTION_VARIABLES: Final = ("grid_import_power", "grid_export_power", "peak_power")
"""What only the meter of the connection can say."""


@dataclass(frozen=True, kw_only=True)
class StateEstimate:
    """The state, and how far it is to be believed.

    Attributes
    ----------
    state
        As :func:`twin.simulation.state.initial_state` describes.
    standard_error
        (name, machine) -> half of the way between the 95 % bounds, as standard errors, in the
        unit of the name.
    messages
        What is stale or doubtful, in words.
    is_unusable
        Whether a spread is too wide for a plan, or the meter has been silent too long.
    meter_silence
        How long the meter has not been heard. [h]
    filters
        (name, machine) -> what has been learned of the stock and its sensor.
    """

    state: xr.Dataset
    standard_error: Mapping[VariableKey, float]
    messages: tuple[str, ...]
    is_unusable: bool
    meter_silence: float = 0.0
    filters: Mapping[VariableKey, StockFilter] = field(default_factory=dict)

    def bounds(self, name: str, owner: str) -> tuple[float, float]:
        """Return between what a stock lies with a probability of 95 %. [unit of the stock]"""
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

    Parameters
    ----------
    site
        The site.
    measurements
        Newest good values under the names of the state, NaN where there is none, with the scalar
        coordinate ``instant``, which is now.
    last
        The estimate before; one of a later time, when a clock was set back, is not believed.
    operation
        What was done since, on ``time`` from the instant of ``last`` to now; see
        :func:`twin.simulation.simulate.simulate`.

    Returns
    -------
    StateEstimate
        Where model and sensors meet.

    Raises
    ------
    StateError
        If something has neither been measured nor estimated before.
    """
    now = np.datetime64(str(measurements["instant"].to_numpy()), "us")
    if last is not None and last.state["instant"].to_numpy() > now:
        last = None
    state, sizes = states.initial_state(site, now), state_scales(site)
    told = _carried(site, now, last=last, operation=operation)
    memory, said, issues = _met(measurements, told, sizes=sizes, now=now)
    for (name, owner), found in memory.items():
        state[name].loc[{str(state[name].dims[0]): owner}] = found.filter_bank.mean
    silent = _exchange(state, measurements, last)
    _enter_peak(site, state, measurements, last=last, is_silent="peak_power" in silent)
    if last is None:
        issues += [_unknown(name, "") for name in silent]
    if issues:
        source = f"state of {site.name}"
        raise StateError(source, issues)
    silence = _silence(silent, now, last)
    spread = {key: found.filter_bank.spread for key, found in memory.items()}
    said += [f"{name} is not measured: the last one counts" for name in silent]
    lost = list(_lost(memory, sizes, silence))
    return StateEstimate(
        state=state,
        standard_error=spread,
        messages=(*said, *lost),
        is_unusable=bool(lost),
        meter_silence=silence,
        filters=memory,
    )


def _met(
    observed: xr.Dataset,
    told: Mapping[VariableKey, PredictedStock],
    *,
    sizes: Mapping[VariableKey, float],
    now: np.datetime64,
) -> tuple[dict[VariableKey, StockFilter], list[str], list[ValidationIssue]]:
    """Return where model and sensor of every stock meet, doubts, and what nobody knows."""
    memory: dict[VariableKey, StockFilter] = {}
    said: list[str] = []
    issues: list[ValidationIssue] = []
    for (name, owner), size in sizes.items():
        seen = float(observed[name].sel({str(observed[name].dims[0]): owner}))
        carried = told.get((name, owner))
        unit = variables.variable_definition(name).unit
        most = np.inf if unit == "degC" else size
        found = update_stock(
            carried, seen, now=now, noise_prior=NOISE_PRIORS[name].scaled(size), max_value=most
        )
        if found is None:
            issues.append(_unknown(name, owner))
            continue
        memory[name, owner] = found
        said += diagnostics(
            f"{name} of {owner}", carried, found, measurement=seen, unit=unit, max_value=most
        )
    return memory, said, issues


def _lost(
    memory: Mapping[VariableKey, StockFilter], sizes: Mapping[VariableKey, float], silence: float
) -> Iterator[str]:
    """Yield what nothing may be planned on any more; the meter is silent for some time [h]."""
    for (name, owner), found in memory.items():
        useless = NOISE_PRIORS[name].unusable_std * sizes[name, owner]
        if found.filter_bank.spread > useless or found.unseen_time > MAX_UNSEEN_H:
            yield f"{name} of {owner} has been unknown for too long"
    if silence > MAX_PREDICTION_H:
        yield f"the meter of the connection has been silent for {silence:.3g} h"


def state_scales(site: Site) -> dict[VariableKey, float]:
    """Return every stock of a site, and what its shares are shares of. [unit of the stock]"""
    sizes = {key: store.max_level for key, store in _levels(site).items()}
    for plant in site.machines_of(CoolingPlant):
        sizes["facility_supply_temperature", plant.name] = 1.0
        sizes["cooling_plant_output", plant.name] = plant.rated_cooling
    return sizes


def _carried(
    site: Site, now: np.datetime64, *, last: StateEstimate | None, operation: xr.Dataset | None
) -> dict[VariableKey, PredictedStock]:
    """Return where the model carries every stock, and how far that is to be believed."""
    if last is None:
        return {}
    hours, sizes = _since(last, now), state_scales(site)
    haste, speeds = (
        BLIND_SPREAD_FACTOR,
        {key: _speed(store) for key, store in _levels(site).items()},
    )
    states: Mapping[VariableKey, float] = simulate.state_values(last.state)
    slopes: Mapping[VariableKey, float] = dict.fromkeys(sizes, 1.0)
    if 0.0 < hours <= MAX_PREDICTION_H and operation is not None:
        states, slopes = propagate_with_sensitivity(
            site, last.state, operation, spread=last.standard_error
        )
        haste, speeds = 1.0, {}
    begin = simulate.state_values(last.state)
    told = {}
    for (name, owner), size in sizes.items():
        memory = _remembered(last, (name, owner), size)
        mover = DRIVING_VARIABLES.get(name, name), owner
        moved = states[mover] - begin[mover]
        carried = memory.predicted(
            states[name, owner],
            slopes[name, owner],
            excitation=moved / (NOISE_PRIORS[mover[0]].measurement_std * sizes[mover]),
            noise_prior=NOISE_PRIORS[name].scaled(size).with_process_factor(haste),
            elapsed=hours,
        )
        bank = carried.filter_bank.inflated(speeds.get((name, owner), 0.0) * hours)
        told[name, owner] = replace(carried, filter_bank=bank)
    return told


def _levels(site: Site) -> dict[VariableKey, Store]:
    return {(f"{site.equipment[s.owner].kind}_level", s.owner): s for s in site.stores}


def _speed(store: Store) -> float:
    """Return how fast a level may move, which nobody follows while the model is blind."""
    charged = store.charge_limit * store.charge_efficiency
    return max(charged, store.discharge_limit / store.discharge_efficiency)


def _remembered(last: StateEstimate, key: VariableKey, size: float) -> StockFilter:
    """Return what is known of a stock, at the least where it stands and how far that is so."""
    if key in last.filters:
        return last.filters[key]
    name, owner = key
    value = float(last.state[name].sel({str(last.state[name].dims[0]): owner}))
    noise_prior = NOISE_PRIORS[name].scaled(size)
    return StockFilter(
        filter_bank=KalmanFilterBank.start_at(value, last.standard_error[key], noise_prior)
    )


def _since(last: StateEstimate, now: np.datetime64) -> float:
    """Return the time since an estimate. [h]"""
    return float((now - last.state["instant"].to_numpy()) / HOUR)


def _exchange(state: xr.Dataset, observed: xr.Dataset, last: StateEstimate | None) -> list[str]:
    """Enter what the meter says, or said last; return what it does not say."""
    silent = []
    for name in CONNECTION_VARIABLES:
        seen = float(observed[name])
        if np.isnan(seen):
            silent.append(name)
            seen = float(last.state[name]) if last else 0.0
        state[name].values = np.array(max(seen, 0.0))
    return silent


def _enter_peak(
    site: Site,
    state: xr.Dataset,
    observed: xr.Dataset,
    *,
    last: StateEstimate | None,
    is_silent: bool,
) -> None:
    """Enter the peak of the billing period so far, and the usual import.

    What the meter said before the period began is about the one before.
    """
    now = np.datetime64(str(state["instant"].to_numpy()), "us")
    begin = site.billing_rules.start(now)
    age = float(observed["peak_power_age"]) if "peak_power_age" in observed else 0.0
    taken = float(state["grid_import_power"])
    if is_silent or (now - begin) / ONE_SECOND < age:
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
    """Return how long the power at the connection has not been heard; its peak follows it. [h]"""
    if last is None or set(silent) <= {"peak_power"}:
        return 0.0
    return last.meter_silence + _since(last, now)


def _unknown(name: str, owner: str) -> ValidationIssue:
    remedy = f"{NEVER_MEASURED}; see the points that the plant publishes"
    return ValidationIssue(
        location=f"{name} of {owner}" if owner else name, found="", remedy=remedy
    )


MIN_PERTURBATION: Final = 1e-6
"""Least change of a stock by which its course is tried. [unit of the stock]"""

PERTURBED_GROUPS: Final = (
    {"battery_level", "tank_level", "facility_supply_temperature"},
    {"cooling_plant_output"},
)
"""Stocks that are changed together: those of one machine that act upon each other are not."""


def propagate_with_sensitivity(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, spread: Mapping[VariableKey, float]
) -> tuple[dict[VariableKey, float], dict[VariableKey, float]]:
    """Return the stocks at the end of an operation, and by how much a change of each matters then.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the first edge.
    operation
        What was done; see :func:`twin.simulation.simulate.simulate`.
    spread
        How far each stock may be changed to try it. [unit of the stock]

    Returns
    -------
    tuple of dict
        (name, machine) -> value at the end [unit of the stock], and slope [1].
    """
    states.check_state(site, state)
    dispatch = simulate.dispatch_arrays(site, operation)
    weather, hours = Weather.from_dataset(operation), operation["duration"].to_numpy()
    ceilings = {
        plant.name: CoolingCapacity.from_plant(plant, weather)
        for plant in site.machines_of(CoolingPlant)
    }

    def end(begin: Mapping[VariableKey, float]) -> dict[VariableKey, float]:
        done = simulate_arrays(
            site, begin, dispatch, weather=weather, durations=hours, capacities=ceilings
        )
        return {key: float(done.states[key][-1]) for key in begin}

    begin = simulate.state_values(state)
    there = end(begin)
    steps = {key: _step(site, key, value, spread[key]) for key, value in begin.items()}
    slopes: dict[VariableKey, float] = {}
    for names in PERTURBED_GROUPS:
        moved = {k: value + steps[k] if k[0] in names else value for k, value in begin.items()}
        away = end(moved)
        for key in begin:
            if key[0] in names:
                slope = (away[key] - there[key]) / steps[key]
                slopes[key] = float(np.clip(slope, 0.0, 1.0))
    return there, slopes


def _step(site: Site, key: VariableKey, value: float, size: float) -> float:
    """Return a change of a stock that stays within its window. [unit of the stock]"""
    middles = {store.owner: 0.5 * (store.min_level + store.max_level) for store in site.stores}
    away = 1.0 if value <= middles.get(key[1], np.inf) else -1.0
    return away * max(size, MIN_PERTURBATION)
