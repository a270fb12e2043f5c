"""Estimate the state of a site from noisy, late and missing telemetry.

A small observer: the twin says where every stock should be by now, the sensors say where it is,
and each is believed by its variance (a scalar Kalman filter a stock). What no sensor shows any
more is carried on by the twin with a spread that grows, and told in words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import simulation
from twin import state as states
from twin.axes import HOUR
from twin.equipment import CoolingPlant
from twin.errors import Fault, StateError
from twin.run import Key
from twin.site import Site

LONGEST: Final = 1.0
"""Longest stretch over which the model carries a state on, and longest silence of the meter. [h]"""

BLIND: Final = 10.0
"""Factor by which a spread grows faster while the model does not carry the state on. [1]"""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How far a stock is believed; shares are of the window of a store or the rating of a plant.

    Attributes
    ----------
    sensor
        Standard error of the sensor. [1 or K]
    drift
        Standard error that the model gathers in an hour; it grows with the root of time.
        [h-1/2 or K h-1/2]
    useless
        Spread beyond which nothing may be planned on the stock. [1 or K]
    """

    sensor: float
    drift: float
    useless: float


TRUST: Final[Mapping[str, Trust]] = {
    "battery_level": Trust(sensor=0.005, drift=0.01, useless=0.03),
    "tank_level": Trust(sensor=0.005, drift=0.02, useless=0.06),
    "facility_supply_temperature": Trust(sensor=0.15, drift=0.5, useless=1.5),
    "cooling_plant_output": Trust(sensor=0.01, drift=0.05, useless=0.15),
}
"""By variable of the state; standard errors of sensors are those of good plant instruments, the
others are ours: after nine hours without a sensor the model is no longer believed."""

FAR: Final = 5.0
"""Standard errors from which sensor and model contradict each other. [1]"""

EXCHANGE: Final = ("grid_import_power", "grid_export_power", "peak_power")
"""What only the meter of the connection can say."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The state, and how far it is to be believed.

    Attributes
    ----------
    state
        As :func:`twin.state.rest` describes.
    spread
        (name, machine) -> standard deviation, in the unit of the name.
    said
        What is stale or doubtful, in words.
    is_useless
        Whether a spread is too wide for a plan, or the meter has been silent too long.
    silence
        How long the meter has not been heard. [h]
    """

    state: xr.Dataset
    spread: Mapping[Key, float]
    said: tuple[str, ...]
    is_useless: bool
    silence: float = 0.0


def estimate(
    site: Site,
    observed: xr.Dataset,
    *,
    last: Estimate | None = None,
    operation: xr.Dataset | None = None,
) -> Estimate:
    """Return the state of a site now.

    Parameters
    ----------
    site
        The site.
    observed
        Newest good values under the names of the state, NaN where there is none, with the scalar
        coordinate ``instant``, which is now.
    last
        The estimate before; one of a later time, when a clock was set back, is not believed.
    operation
        What was done since, on ``time`` from the instant of ``last`` to now; see
        :func:`twin.simulation.simulate`.

    Returns
    -------
    Estimate
        Where model and sensors meet.

    Raises
    ------
    StateError
        If something has neither been measured nor estimated before.
    """
    now = np.datetime64(str(observed["instant"].to_numpy()), "us")
    if last is not None and last.state["instant"].to_numpy() > now:
        last = None
    state, sizes = states.rest(site, now), _sizes(site)
    told = _carried(site, now, last=last, operation=operation)
    spread, said, faults = _fuse(state, observed, told, sizes=sizes)
    silent = _exchange(state, observed, last)
    if last is None:
        faults += [_unknown(name, "") for name in silent]
    if faults:
        source = f"state of {site.name}"
        raise StateError(source, faults)
    silence = _silence(silent, now, last)
    said += [f"{name} is not measured: the last one counts" for name in silent]
    lost = list(_lost(spread, sizes, silence))
    return Estimate(
        state=state,
        spread=spread,
        said=(*said, *lost),
        is_useless=bool(lost),
        silence=silence,
    )


def _fuse(
    state: xr.Dataset,
    observed: xr.Dataset,
    told: Mapping[Key, tuple[float, float]],
    *,
    sizes: Mapping[Key, float],
) -> tuple[dict[Key, float], list[str], list[Fault]]:
    """Enter every stock where model and sensor meet; return spreads, doubts, and what nobody knows.

    Spreads are in the unit of the stock.
    """
    spread: dict[Key, float] = {}
    said: list[str] = []
    faults: list[Fault] = []
    for (name, owner), size in sizes.items():
        label = {str(state[name].dims[0]): owner}
        seen, sensor = float(observed[name].sel(label)), TRUST[name].sensor * size
        prior = told.get((name, owner))
        if prior is None and np.isnan(seen):
            faults.append(_unknown(name, owner))
            continue
        state[name].loc[label], spread[name, owner] = _meet(prior, seen, sensor)
        said += _doubts(f"{name} of {owner}", prior, seen=seen, sensor=sensor)
    return spread, said, faults


def _lost(spread: Mapping[Key, float], sizes: Mapping[Key, float], silence: float) -> Iterator[str]:
    """Yield what nothing may be planned on any more; the meter is silent for some time [h]."""
    for (name, owner), wide in spread.items():
        if wide > TRUST[name].useless * sizes[name, owner]:
            yield f"{name} of {owner} has been unknown for too long"
    if silence > LONGEST:
        yield f"the meter of the connection has been silent for {silence:.3g} h"


def _sizes(site: Site) -> dict[Key, float]:
    """Return every stock of a site with what its shares are shares of."""
    sizes = {(f"{site.equipment[s.owner].kind}_level", s.owner): s.high for s in site.stores}
    for plant in site.of(CoolingPlant):
        sizes["facility_supply_temperature", plant.name] = 1.0
        sizes["cooling_plant_output", plant.name] = plant.rated_cooling
    return sizes


def _carried(
    site: Site, now: np.datetime64, *, last: Estimate | None, operation: xr.Dataset | None
) -> dict[Key, tuple[float, float]]:
    """Return where the model carries every stock, and how far that is to be believed."""
    if last is None:
        return {}
    hours = _since(last, now)
    stocks, haste = simulation.stocks_of(last.state), BLIND
    if 0.0 < hours <= LONGEST and operation is not None:
        run = simulation.simulate(site, last.state, operation)
        stocks, haste = simulation.stocks_of(run.isel(time=-1, instant=-1)), 1.0
    return {
        (name, owner): (
            stocks[name, owner],
            float(np.hypot(last.spread[name, owner], haste * drift * size * np.sqrt(hours))),
        )
        for (name, owner), size in _sizes(site).items()
        for drift in (TRUST[name].drift,)
    }


def _since(last: Estimate, now: np.datetime64) -> float:
    """Return the time since an estimate. [h]"""
    return float((now - last.state["instant"].to_numpy()) / HOUR)


def _meet(prior: tuple[float, float] | None, seen: float, sensor: float) -> tuple[float, float]:
    """Return where model and sensor meet, and the spread of it."""
    if prior is None:
        return seen, sensor
    value, spread = prior
    if np.isnan(seen):
        return value, spread
    gain = spread**2 / (spread**2 + sensor**2)
    return value + gain * (seen - value), float(np.sqrt(1.0 - gain) * spread)


def _doubts(
    what: str, prior: tuple[float, float] | None, *, seen: float, sensor: float
) -> Iterator[str]:
    """Yield what is to be said of a stock that is not seen, or seen far from where it should be."""
    if prior is None:
        return
    value, spread = prior
    if np.isnan(seen):
        yield f"{what} is not measured: {value:.4g} by the model, give or take {spread:.2g}"
    elif abs(seen - value) > FAR * np.hypot(spread, sensor):
        yield f"{what} is {seen:.4g}, but {value:.4g} by the model: one of them is wrong"


def _exchange(state: xr.Dataset, observed: xr.Dataset, last: Estimate | None) -> list[str]:
    """Enter what the meter says, or said last; return what it does not say."""
    silent = []
    for name in EXCHANGE:
        seen = float(observed[name])
        if np.isnan(seen):
            silent.append(name)
            seen = float(last.state[name]) if last else 0.0
        state[name].values = np.array(max(seen, 0.0))
    if last is not None and "peak_power" in silent:
        net = float(state["grid_import_power"])
        state["peak_power"].values = np.array(max(float(last.state["peak_power"]), net))
    return silent


def _silence(silent: list[str], now: np.datetime64, last: Estimate | None) -> float:
    """Return how long the power at the connection has not been heard; its peak follows it. [h]"""
    if last is None or set(silent) <= {"peak_power"}:
        return 0.0
    return last.silence + _since(last, now)


def _unknown(name: str, owner: str) -> Fault:
    mend = "no sensor has shown it yet; see the points that the plant publishes"
    return Fault(place=f"{name} of {owner}" if owner else name, value="", mend=mend)
