"""Estimate the state of a site from noisy, missing, drifting and stuck telemetry.

The twin says where every stock should be by now, the sensors say where it is, and each is believed
by what it has been worth so far: see :mod:`twin.observer.bank`. What no sensor shows any more is
carried on by the twin with a spread that grows; a sensor that is stuck is left out, one that drifts
widens the bounds; all of it is told in words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import xarray as xr

from twin import simulation, vocabulary
from twin import state as states
from twin.axes import HOUR, QUARTER
from twin.equipment import CoolingPlant
from twin.errors import Fault, StateError
from twin.observer.bank import SIGMAS, Bank
from twin.observer.course import course
from twin.observer.stock import Carried, Memory, doubts, met
from twin.observer.trust import TRUST
from twin.relations import Store
from twin.run import Key
from twin.site import Site
from twin.tariffs.periods import usual

LONGEST: Final = 1.0
"""Longest stretch over which the model carries a state on, and longest silence of the meter. [h]"""

BLIND: Final = 10.0
"""Factor by which a spread grows faster while the model does not carry the state on. [1]"""

UNSEEN: Final = 9.0
"""Longest time that a model is believed without any reading: the plant may have a fault. [h]"""

NEVER_SHOWN: Final = "no sensor has shown it yet"
"""How the mend of a fault begins that is about something which has never been measured."""

MOVERS: Final = {"facility_supply_temperature": "cooling_plant_output"}
"""What a stock is moved by, where that is not itself: held water strays when its load changes."""

SECOND: Final = np.timedelta64(1, "s")

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
        (name, machine) -> half of the way between the 95 % bounds, as standard errors, in the
        unit of the name.
    said
        What is stale or doubtful, in words.
    is_useless
        Whether a spread is too wide for a plan, or the meter has been silent too long.
    silence
        How long the meter has not been heard. [h]
    memory
        (name, machine) -> what has been learned of the stock and its sensor.
    """

    state: xr.Dataset
    spread: Mapping[Key, float]
    said: tuple[str, ...]
    is_useless: bool
    silence: float = 0.0
    memory: Mapping[Key, Memory] = field(default_factory=dict)

    def bounds(self, name: str, owner: str) -> tuple[float, float]:
        """Return between what a stock lies with a probability of 95 %. [unit of the stock]"""
        if (name, owner) in self.memory:
            return self.memory[name, owner].bank.bounds
        value = float(self.state[name].sel({str(self.state[name].dims[0]): owner}))
        reach = SIGMAS * self.spread[name, owner]
        return value - reach, value + reach


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
    state, sizes = states.rest(site, now), sizes_of(site)
    told = _carried(site, now, last=last, operation=operation)
    memory, said, faults = _met(observed, told, sizes=sizes, now=now)
    for (name, owner), found in memory.items():
        state[name].loc[{str(state[name].dims[0]): owner}] = found.bank.mean
    silent = _exchange(state, observed, last)
    _enter_peak(site, state, observed, last=last, is_silent="peak_power" in silent)
    if last is None:
        faults += [_unknown(name, "") for name in silent]
    if faults:
        source = f"state of {site.name}"
        raise StateError(source, faults)
    silence = _silence(silent, now, last)
    spread = {key: found.bank.spread for key, found in memory.items()}
    said += [f"{name} is not measured: the last one counts" for name in silent]
    lost = list(_lost(memory, sizes, silence))
    return Estimate(
        state=state,
        spread=spread,
        said=(*said, *lost),
        is_useless=bool(lost),
        silence=silence,
        memory=memory,
    )


def _met(
    observed: xr.Dataset,
    told: Mapping[Key, Carried],
    *,
    sizes: Mapping[Key, float],
    now: np.datetime64,
) -> tuple[dict[Key, Memory], list[str], list[Fault]]:
    """Return where model and sensor of every stock meet, doubts, and what nobody knows."""
    memory: dict[Key, Memory] = {}
    said: list[str] = []
    faults: list[Fault] = []
    for (name, owner), size in sizes.items():
        seen = float(observed[name].sel({str(observed[name].dims[0]): owner}))
        carried = told.get((name, owner))
        unit = vocabulary.term(name).unit
        most = np.inf if unit == "degC" else size
        found = met(carried, seen, now=now, trust=TRUST[name].scaled(size), size=most)
        if found is None:
            faults.append(_unknown(name, owner))
            continue
        memory[name, owner] = found
        said += doubts(f"{name} of {owner}", carried, found, seen=seen, unit=unit, size=most)
    return memory, said, faults


def _lost(
    memory: Mapping[Key, Memory], sizes: Mapping[Key, float], silence: float
) -> Iterator[str]:
    """Yield what nothing may be planned on any more; the meter is silent for some time [h]."""
    for (name, owner), found in memory.items():
        useless = TRUST[name].useless * sizes[name, owner]
        if found.bank.spread > useless or found.unseen > UNSEEN:
            yield f"{name} of {owner} has been unknown for too long"
    if silence > LONGEST:
        yield f"the meter of the connection has been silent for {silence:.3g} h"


def sizes_of(site: Site) -> dict[Key, float]:
    """Return every stock of a site, and what its shares are shares of. [unit of the stock]"""
    sizes = {key: store.high for key, store in _levels(site).items()}
    for plant in site.of(CoolingPlant):
        sizes["facility_supply_temperature", plant.name] = 1.0
        sizes["cooling_plant_output", plant.name] = plant.rated_cooling
    return sizes


def _carried(
    site: Site, now: np.datetime64, *, last: Estimate | None, operation: xr.Dataset | None
) -> dict[Key, Carried]:
    """Return where the model carries every stock, and how far that is to be believed."""
    if last is None:
        return {}
    hours, sizes = _since(last, now), sizes_of(site)
    haste, speeds = BLIND, {key: _speed(store) for key, store in _levels(site).items()}
    stocks: Mapping[Key, float] = simulation.stocks_of(last.state)
    slopes: Mapping[Key, float] = dict.fromkeys(sizes, 1.0)
    if 0.0 < hours <= LONGEST and operation is not None:
        stocks, slopes = course(site, last.state, operation, spread=last.spread)
        haste, speeds = 1.0, {}
    begin = simulation.stocks_of(last.state)
    told = {}
    for (name, owner), size in sizes.items():
        memory = _remembered(last, (name, owner), size)
        mover = MOVERS.get(name, name), owner
        moved = stocks[mover] - begin[mover]
        carried = memory.carried(
            stocks[name, owner],
            slopes[name, owner],
            stirred=moved / (TRUST[mover[0]].sensor * sizes[mover]),
            trust=TRUST[name].scaled(size).hastened(haste),
            hours=hours,
        )
        bank = carried.bank.strayed(speeds.get((name, owner), 0.0) * hours)
        told[name, owner] = replace(carried, bank=bank)
    return told


def _levels(site: Site) -> dict[Key, Store]:
    return {(f"{site.equipment[s.owner].kind}_level", s.owner): s for s in site.stores}


def _speed(store: Store) -> float:
    """Return how fast a level may move, which nobody follows while the model is blind."""
    charged = store.charge_limit * store.charge_efficiency
    return max(charged, store.discharge_limit / store.discharge_efficiency)


def _remembered(last: Estimate, key: Key, size: float) -> Memory:
    """Return what is known of a stock, at the least where it stands and how far that is so."""
    if key in last.memory:
        return last.memory[key]
    name, owner = key
    value = float(last.state[name].sel({str(last.state[name].dims[0]): owner}))
    trust = TRUST[name].scaled(size)
    return Memory(bank=Bank.at(value, last.spread[key], trust))


def _since(last: Estimate, now: np.datetime64) -> float:
    """Return the time since an estimate. [h]"""
    return float((now - last.state["instant"].to_numpy()) / HOUR)


def _exchange(state: xr.Dataset, observed: xr.Dataset, last: Estimate | None) -> list[str]:
    """Enter what the meter says, or said last; return what it does not say."""
    silent = []
    for name in EXCHANGE:
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
    last: Estimate | None,
    is_silent: bool,
) -> None:
    """Enter the peak of the billing period so far, and the usual import.

    What the meter said before the period began is about the one before.
    """
    now = np.datetime64(str(state["instant"].to_numpy()), "us")
    begin = site.billing.start(now)
    age = float(observed["peak_power_age"]) if "peak_power_age" in observed else 0.0
    taken = float(state["grid_import_power"])
    if is_silent or (now - begin) / SECOND < age:
        is_same = last is not None and last.state["instant"].to_numpy() >= begin
        before = float(last.state["peak_power"]) if last and is_same else 0.0
        is_new = now - begin >= QUARTER and site.billing.counts(np.array([now - QUARTER]))[0]
        net = taken if is_new else 0.0
        state["peak_power"].values = np.array(max(before, net))
    if last is not None:
        hours = min(_since(last, now), LONGEST)
        taken = usual(float(last.state["usual_power"]), taken, hours)
    state["usual_power"].values = np.array(taken)


def _silence(silent: list[str], now: np.datetime64, last: Estimate | None) -> float:
    """Return how long the power at the connection has not been heard; its peak follows it. [h]"""
    if last is None or set(silent) <= {"peak_power"}:
        return 0.0
    return last.silence + _since(last, now)


def _unknown(name: str, owner: str) -> Fault:
    mend = f"{NEVER_SHOWN}; see the points that the plant publishes"
    return Fault(place=f"{name} of {owner}" if owner else name, value="", mend=mend)
