"""A trial of the observer: what it believes of a worn plant with failing sensors, beside the truth.

Every quarter-hour it gets what the service gets: the newest readings of the stocks, and the means
of what was done in the quarter-hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.plants.sensing import Failing
from telemetry.trials.trial import ORDERED, STEP, Trial
from twin import axes, vocabulary
from twin import state as states
from twin.equipment import CoolingPlant
from twin.estimate import Estimate, estimate
from twin.forecast.record import WEATHER
from twin.observer.trust import TRUST
from twin.physics import FloatArray
from twin.site import Site

NEWEST: Final = 3
"""Minutes after which a reading is no more the newest. [min]"""

DRIFTS: Final = (0.5, 4.0)
"""Least and greatest drift of a sensor in an hour, in its standard errors. [h-1]"""

DRIFTING: Final = (12, 48)
STUCK: Final = (4, 24)
"""Least and greatest length of a fault. [h]"""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was believed, beside the truth.

    Attributes
    ----------
    truth, value, low, high
        Of every stock, and its 95 % bounds, ``(stock, time)``, in its own unit.
    stocks
        Names of stock and machine.
    said
        What was said at each time.
    time
        When.
    """

    truth: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray
    stocks: tuple[tuple[str, str], ...]
    said: tuple[tuple[str, ...], ...]
    time: np.ndarray

    def within(self, every: int = 4) -> np.ndarray:
        """Return whether the 95 % bounds hold the truth, ``(stock, time)``.

        Parameters
        ----------
        every
            Quarter-hours between two samples. [1]
        """
        inside = (self.low <= self.truth) & (self.truth <= self.high)
        return np.asarray(inside[:, every - 1 :: every])


def failures(site: Site, days: int, rng: np.random.Generator) -> tuple[Failing, ...]:
    """Return one sensor of the state that drifts and another that is stuck, at random times.

    Parameters
    ----------
    site
        The site.
    days
        Length of the trial. [d]
    rng
        Which, when, how long and how fast.
    """
    sensors = list(_sensors(site))
    drifting, stuck = rng.permutation(len(sensors))[:2].tolist()
    found = []
    for which, (least, most) in ((drifting, DRIFTING), (stuck, STUCK)):
        length = int(rng.uniform(least, most) * 60)
        begin = int(rng.integers(STEP, days * 1440 - length))
        name, owner, size = sensors[which]
        drift = rng.choice([-1.0, 1.0]) * rng.uniform(*DRIFTS) * TRUST[name].sensor * size
        found.append(
            Failing(
                variable=name,
                machine=owner,
                begin=begin,
                end=begin + length,
                drift=float(drift) if which == drifting else 0.0,
            )
        )
    return tuple(found)


def _sensors(site: Site) -> Iterator[tuple[str, str, float]]:
    """Yield variable, machine and what its shares are shares of."""
    for store in site.stores:
        yield f"{site.equipment[store.owner].kind}_level", store.owner, store.high
    for plant in site.of(CoolingPlant):
        yield "facility_supply_temperature", plant.name, 1.0
        yield "cooling_plant_output", plant.name, plant.rated_cooling


def observe(trial: Trial, site: Site) -> Observed:
    """Return what the observer of a site believes of a plant, quarter-hour after quarter-hour.

    Parameters
    ----------
    trial
        What the plant did, and its telemetry.
    site
        The site as it is believed to be.
    """
    count = trial.readings.sizes["time"] // STEP
    operation = _operation(trial, count)
    last: Estimate | None = None
    believed = []
    for step in range(count):
        done = operation.isel(time=[step], instant=[step, step + 1])
        last = estimate(
            site,
            _newest(trial, site, (step + 1) * STEP),
            last=last,
            operation=done,
        )
        believed.append(last)
    stocks = tuple((name, owner) for name, owner, _ in _sensors(site))
    return Observed(
        truth=np.array([_truth(trial, *stock, count=count) for stock in stocks]),
        value=np.array([[_value(one, *stock) for one in believed] for stock in stocks]),
        low=np.array([[one.bounds(*stock)[0] for one in believed] for stock in stocks]),
        high=np.array([[one.bounds(*stock)[1] for one in believed] for stock in stocks]),
        stocks=stocks,
        said=tuple(one.said for one in believed),
        time=operation["instant"].to_numpy()[1:],
    )


def _operation(trial: Trial, count: int) -> xr.Dataset:
    """Return what was done in each quarter-hour as measured; where nothing was, as just before."""
    grid = axes.regular(trial.record["time"].to_numpy()[0], count)
    for name in ("hall_power", *ORDERED, *WEATHER):
        source = trial.readings if name in trial.readings else trial.record
        if name in source:
            part = source[name].isel(time=slice(0, count * STEP))
            part = part.drop_vars(["time", "instant"], errors="ignore")
            mean = part.coarsen(time=STEP).mean()
            known = mean.copy(data=_held(mean.to_numpy()))
            grid[name] = known if name in WEATHER else known.clip(min=0.0)
    return vocabulary.tag_all(grid)


def _newest(trial: Trial, site: Site, minute: int) -> xr.Dataset:
    """Return the newest readings at the end of a minute, as a window tells them."""
    readings = trial.readings
    moment = readings["time"].to_numpy()[minute - 1] + axes.MINUTE
    seen = states.rest(site, moment)
    for name in states.NAMES:
        if name in readings:
            values = readings[name].isel(time=slice(minute - NEWEST, minute))
            seen[name].values = _held(values.to_numpy())[-1]
    return seen


def _held(values: FloatArray) -> FloatArray:
    """Return readings on ``(time, ...)``; where there is none, the one before."""
    return np.asarray(pd.DataFrame(values.reshape(len(values), -1)).ffill()).reshape(values.shape)


def _truth(trial: Trial, name: str, owner: str, *, count: int) -> FloatArray:
    values = trial.record[name].sel({str(trial.record[name].dims[1]): owner})
    if "instant" in values.dims:
        return np.asarray(values.to_numpy()[STEP : count * STEP + 1 : STEP])
    return np.asarray(values.to_numpy()[STEP - 1 : count * STEP : STEP])


def _value(believed: Estimate, name: str, owner: str) -> float:
    state = believed.state[name]
    return float(state.sel({str(state.dims[0]): owner}))
