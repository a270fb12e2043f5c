"""Limits that a plant violates under a policy, and those that it violates under any."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.closed_loop import run_policy
from optimizer.backtesting.reserve_calls import build_plant
from optimizer.backtesting.runner import build_policy
from optimizer.planner.decision import Decision
from optimizer.policies.policy import Observation, Policy
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from telemetry.simulator.reserve_facility import ReserveFacility
from twin.errors import NoScheduleError
from twin.simulation.operating_limits import count_violations as found
from twin.time_axes import METERING_PERIOD_MIN

RUN_IN = 30
"""Minutes at the start that do not count: there the plant is put from rest under load at once, as
none is. [min]"""

NOT_GIVEN = 0.03
"""Share of the connection by which less may be given than was called: so far plants are from what
plans, which calls are held against, take them for. [1]"""


def counted(
    count: int,
    violations: Callable[[int], tuple[str, str]],
    *,
    seed: int,
    say: Callable[[str], None],
) -> dict[str, object]:
    """Return the figures of some problems, each with what it broke.

    Parameters
    ----------
    count
        Number of problems.
    violations
        Seed -> what orders broke, and what breaks under any, in words.
    seed
        Of the first; the others follow.
    say
        Called with a line for each broken problem, and with lines of progress.
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
    def interval_control(self) -> MeteringIntervalControl | None:
        """None: nothing acts within the quarter-hour."""
        return None

    def orders(self, observation: Observation) -> DispatchOrders:
        """Return its orders without work and stores."""
        return replace(
            self.policy.orders(observation),
            jobs={},
            battery_charge={},
            battery_discharge={},
            tank_charge={},
            tank_discharge={},
        )


def violations(
    here: BacktestCase, *, seed: int, made: list[Decision] | None = None
) -> tuple[str, str]:
    """Return the limits that a plant breaks under plans, in words.

    Parameters
    ----------
    here
        Site, world and work.
    seed
        Of the plant.
    made
        Filled with the decisions, if given.

    Returns
    -------
    tuple
        Those that orders broke, and those that break without work and with resting stores too.

    Raises
    ------
    NoScheduleError
        If there is no plan.
    """
    decisions: list[Decision] = [] if made is None else made
    broken = _broken(here, lambda policy: policy, seed=seed, decisions=decisions)
    if broken.empty:
        return "", ""
    fated = broken.index.isin(_broken(here, Resting, seed=seed, decisions=[]).index)
    return _words(broken[~fated]), _words(broken[fated])


def _broken(
    here: BacktestCase,
    ordering: Callable[[Policy], Policy],
    *,
    seed: int,
    decisions: list[Decision],
) -> pd.Series:
    """Return the minutes in which a plant breaks its limits, for those that it breaks. [1]"""
    policy = ordering(build_policy(here, "deterministic", decisions.append))
    plant = build_plant(here, seed=seed)
    for _ in run_policy(here, policy, plant, decisions=decisions):
        pass
    ran = plant.record()
    ran = ran.isel(time=slice(RUN_IN, None), instant=slice(RUN_IN, None))
    is_called = isinstance(plant, ReserveFacility)
    called = plant.called_power()[RUN_IN:] if is_called else 0.0
    minutes = found(here.site, ran, called_reserve_power=called).to_series()
    missed = _missed(plant) if is_called else pd.Series(dtype=int)
    return pd.concat([minutes[minutes > 0], missed[missed > 0]])


def _missed(plant: ReserveFacility) -> pd.Series:
    """Return the minutes in which what was called was not given, by product or batteries. [1]"""
    least = NOT_GIVEN * plant.site.grid_connection.import_limit
    missed = plant.called_and_missed_power()["reserve_missed"]
    ordered = METERING_PERIOD_MIN * (missed.to_numpy() > least).sum(axis=0)
    words = [f"call of {name}" for name in missed["product"].to_numpy()]
    batteries = pd.Series({"call of batteries": int((plant.missed_power() > least).sum())})
    return pd.concat([pd.Series(ordered, index=words), batteries])


def _words(broken: pd.Series) -> str:
    return ", ".join(f"{limit}: {count}" for limit, count in broken.items())
