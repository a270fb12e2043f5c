"""Random problems: what is decided is followed by a plant, and no limit may be broken there.

Each seed draws a site around a declared one, a moment, weather, prices and work; one decision is
made as the service makes it, the next an hour later, and a plant of another nature follows them.
Every third sells reserves, which the grid calls, of batteries and of work; what is called and not
given is a breach like any other. Every fourth may export nothing.

That no plan is found is an answer too, if words say why; it is counted as refused. So is a limit
that the same plant breaks with no work and resting stores: air that comes warmer than the water may
be is beyond any order. It is told apart, never left out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr

from optimizer.decision import Decision
from optimizer.dispatch import Orders
from optimizer.policies import Policy, View
from optimizer.realtime.guard import Guard
from optimizer.service.traces import jobs_of
from optimizer.service.trials.backtest import make_policy
from optimizer.service.trials.held import plant_of
from optimizer.service.trials.playing import played
from optimizer.service.trials.setting import Setting
from optimizer.service.world import HISTORY, World, carbon_of, read_outdoors
from telemetry.plants.activating import ActivatedPlant
from telemetry.sources import only, read_prices
from tests import small_days
from tests.random_promises import promising, sold
from tests.random_sites import random_site
from twin.axes import METERING
from twin.errors import NoScheduleError
from twin.forecast.record import record
from twin.limits import violations as found
from twin.site import Site

COUNT = 100
"""Problems of a run, unless told otherwise. [1]"""

HOURS = 2
"""Hours of a problem; a decision is in force for one. [h]"""

RUN_IN = 30
"""Minutes at the start that do not count: there the plant is put from rest under load at once, as
none is. [min]"""

NOT_GIVEN = 0.03
"""Share of the connection by which less may be given than was called: so far plants are from what
plans, which calls are held against, take them for. [1]"""

PROMISING = 3
"""Of so many sites one sells reserves. [1]"""

SHUT = 4
"""Of so many sites one may export nothing: the second of four. [1]"""

DAYS = (2, 27)
"""First and last day of the synthetic month on which a problem may begin. [1]"""


def run(count: int, *, seed: int, say: Callable[[str], None]) -> dict[str, object]:
    """Decide and follow some problems.

    Parameters
    ----------
    count
        Number of problems.
    seed
        Of the first; the others follow.
    say
        Told of every broken one, and of the way made.
    """
    begun = time.monotonic()
    broken: dict[int, str] = {}
    beyond: dict[int, str] = {}
    refused: list[int] = []
    for number in range(seed, seed + count):
        try:
            breaches, fated = violations(number)
        except NoScheduleError:
            refused.append(number)
        except Exception as error:  # whatever goes wrong, the others are tried
            broken[number] = f"{type(error).__name__}: {error}"
        else:
            if breaches:
                broken[number] = breaches
            if fated:
                beyond[number] = fated
                say(f"seed {number}, beyond any order: {fated}")
        if number in broken:
            say(f"seed {number}: {broken[number]}")
        if (done := number - seed + 1) % 25 == 0:
            say(f"{done} of {count}: {len(broken)} broken, {len(refused)} refused")
    return {
        "count": count,
        "broken": len(broken),
        "seeds_of_broken": list(broken),
        "seconds": round(time.monotonic() - begun, 1),
        "refused": refused,
        "beyond_any_order": beyond,
    }


@dataclass(frozen=True)
class Resting:
    """What a policy orders, but that no work runs and no store is charged or gives.

    Attributes
    ----------
    policy
        The policy; heat that is sold, and set points of water, are its own.
    """

    policy: Policy

    @property
    def guard(self) -> Guard | None:
        """Nothing within a quarter-hour."""
        return None

    def orders(self, view: View) -> Orders:
        """Return its orders without work and stores."""
        return replace(
            self.policy.orders(view),
            jobs={},
            battery_charge={},
            battery_discharge={},
            tank_charge={},
            tank_discharge={},
        )


def violations(seed: int) -> tuple[str, str]:
    """Return the limits that a plant breaks in the hour after a random decision, in words.

    Parameters
    ----------
    seed
        Of everything.

    Returns
    -------
    tuple
        Those that orders broke, and those that break without work and with resting stores too.

    Raises
    ------
    NoScheduleError
        If there is no plan.
    """
    here = setting(seed)
    broken = _broken(here, seed, lambda policy: policy)
    if broken.empty:
        return "", ""
    fated = broken.index.isin(_broken(here, seed, Resting).index)
    return _words(broken[~fated]), _words(broken[fated])


def _broken(here: Setting, seed: int, ordering: Callable[[Policy], Policy]) -> pd.Series:
    """Return the minutes in which a plant breaks its limits, for those that it breaks. [1]"""
    decisions: list[Decision] = []
    policy = ordering(make_policy(here, "optimal", decisions.append))
    plant = plant_of(here, seed=seed)
    for _ in played(here, policy, plant, decisions=decisions):
        pass
    ran = plant.record()
    ran = ran.isel(time=slice(RUN_IN, None), instant=slice(RUN_IN, None))
    is_called = isinstance(plant, ActivatedPlant)
    spared = plant.spared()[RUN_IN:] if is_called else 0.0
    counted = found(here.site, ran, called=spared).to_series()
    missed = _missed(plant) if is_called else pd.Series(dtype=int)
    return pd.concat([counted[counted > 0], missed[missed > 0]])


def _missed(plant: ActivatedPlant) -> pd.Series:
    """Return the minutes in which what was called was not given, by product or batteries. [1]"""
    least = NOT_GIVEN * plant.site.grid.import_limit
    told = plant.called()["reserve_missed"]
    ordered = METERING * (told.to_numpy() > least).sum(axis=0)
    words = [f"call of {name}" for name in told["product"].to_numpy()]
    batteries = pd.Series({"call of batteries": int((plant.missed() > least).sum())})
    return pd.concat([pd.Series(ordered, index=words), batteries])


def _words(broken: pd.Series) -> str:
    return ", ".join(f"{limit}: {count}" for limit, count in broken.items())


def setting(seed: int) -> Setting:
    """Return a random site in a random world."""
    rng = np.random.default_rng([seed, 7])
    site, more = random_site(seed), np.random.default_rng([seed, 8])
    if seed % PROMISING == 0:
        site = promising(site, more)
    if seed % SHUT == 1:
        site = site.replace(site.grid.name, export_limit=0.0)
    hours = 24 * int(rng.integers(*DAYS)) + int(rng.integers(24))
    start = np.datetime64("2026-06-01", "us") + np.timedelta64(hours, "h")
    end = start + np.timedelta64(HOURS, "h")
    world = World(
        record=sold(site, record(site, *_world(site, start, end, rng=rng)), more),
        jobs=jobs_of(small_days.files().jobs, start=start - HISTORY, end=end),
        start=start,
        end=end,
        gaps=(),
        notes=(),
    )
    return Setting.of(site, world, load_scale=float(rng.uniform(0.1, 0.9)))


def _world(
    site: Site, start: np.datetime64, end: np.datetime64, *, rng: np.random.Generator
) -> list[xr.Dataset]:
    """Return prices, carbon and weather: those of the month, dearer or cheaper, warmer or colder.

    A price is scaled and moved, so that some are below zero throughout; air from -20 to 40 degC and
    wind from none to a storm are among the others.
    """
    files = small_days.files()
    prices = read_prices(files.prices)
    carbon = carbon_of(prices, files)
    weather = read_outdoors(site, files.weather, start=start - HISTORY, end=end)
    price = prices["electricity_price"]
    dearer = rng.uniform(0.0, 5.0) * price + rng.normal(0.0, 60.0)
    air = np.clip(weather["air_temperature"] + rng.uniform(-30.0, 12.0), -20.0, 40.0)
    wind = weather["wind_speed"] * rng.uniform(0.0, 2.5)
    prices = prices.assign(electricity_price=dearer.assign_attrs(price.attrs))
    weather = weather.assign(
        air_temperature=air.assign_attrs(weather["air_temperature"].attrs),
        wind_speed=wind.assign_attrs(weather["wind_speed"].attrs),
    )
    return [only(prices, "electricity_price"), carbon, weather]
