"""Interface and names of policies, which decide the next quarter-hour, and rule-based policies."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import numpy as np
import xarray as xr

from optimizer.policies import price_rules
from optimizer.problem.planning_outlook import ExternalRequests, no_requests
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from optimizer.stochastic.scenarios import MIN_SCENARIOS
from twin import time_axes
from twin.forecast.outlook import outlook
from twin.markets.contracts import prices_published_until
from twin.site import Site
from twin.workload.queue import JobQueue

FORECAST_PLANNER: Final = "deterministic"
"""Planner for the forecast alone."""

DEFAULT_PLANNER: Final = "hedged"
"""Planner for several scenarios."""

PLANNERS: Final = (DEFAULT_PLANNER, FORECAST_PLANNER)
PLANNER_ALIAS: Final = "optimal"
"""Name that stands for the default planner; results store the name of the planner."""

REFERENCE_RULE: Final = "threshold_capped"
CAPTURE_RULES: Final = (REFERENCE_RULE, "threshold")
"""Rules over which capture is computed; the first is the harder one and gives the headline."""

PERFECT_FORESIGHT_POLICY: Final = "perfect"

JOB_FORESIGHT_KIND: Final = "jobs"

RULE_ORDERS: Final[Mapping[str, Callable[..., DispatchOrders]]] = {
    "immediate": price_rules.order_immediate,
    REFERENCE_RULE: price_rules.order_cheapest_hours,
    "threshold": partial(price_rules.order_cheapest_hours, caps_work=False),
    "carbonscaler": price_rules.order_carbonscaler,
}
"""Name of a rule -> function that returns its orders."""

FORESIGHT_VARIABLES: Final = {
    "prices": ("electricity_price", "terminal_price", "carbon_intensity"),
    "weather": (
        *("air_temperature", "relative_humidity", "air_pressure", "wind_speed"),
        *("global_irradiance", "renewable_available_power"),
    ),
    JOB_FORESIGHT_KIND: (),
}
"""Kind of foresight -> variables of the outlook that take their true values."""

FORESIGHT_POLICIES: Final = {f"{FORECAST_PLANNER}+{name}": name for name in FORESIGHT_VARIABLES}
"""Policy name -> kind of foresight."""

DEFAULT_POLICIES: Final = (
    "immediate",
    "threshold",
    REFERENCE_RULE,
    PLANNER_ALIAS,
    PERFECT_FORESIGHT_POLICY,
)
"""Policies that are run by default, in order."""

KNOWN_POLICIES: Final = (
    "immediate",
    *CAPTURE_RULES,
    "carbonscaler",
    FORECAST_PLANNER,
    DEFAULT_PLANNER,
    *FORESIGHT_POLICIES,
    PERFECT_FORESIGHT_POLICY,
)
"""All policies: ``threshold`` runs work in the cheapest known hours, ``threshold_capped`` also caps
it, and ``carbonscaler`` is a published rule that follows the carbon intensity of the grid.
``hedged`` plans for several scenarios, and those of
:data:`optimizer.policies.policy.FORESIGHT_POLICIES` with perfect foresight of one series."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a policy may observe at one instant.

    - `state`: measured state; its ``instant`` is now.
    - `has_new_request`: whether a request began just now.
    """

    state: xr.Dataset
    queue: JobQueue
    requests: ExternalRequests = no_requests
    has_new_request: bool = False

    @property
    def now(self) -> np.datetime64:
        """Current time."""
        return self.queue.instant


class Policy(Protocol):
    """A policy that orders the plant and may control it within the quarter-hour."""

    def orders(self, observation: Observation) -> DispatchOrders:
        """Return the orders for the quarter-hour that begins now."""
        ...

    @property
    def interval_control(self) -> MeteringIntervalControl | None:
        """Controller of the current quarter-hour, if there is one."""
        ...


class RulePolicy:
    """A price or carbon rule that uses published prices only."""

    def __init__(self, site: Site, record: xr.Dataset, rule: Callable[..., DispatchOrders]) -> None:
        self._site, self._record, self._rule = site, record, rule

    @property
    def interval_control(self) -> None:
        """None: rules do not act within the quarter-hour."""

    def orders(self, observation: Observation) -> DispatchOrders:
        """Return the orders of the rule."""
        until = prices_published_until(observation.now, self._site.resolved_market_time_zone)
        wide = time_axes.horizon_axes(
            observation.now, [((until - observation.now) / time_axes.HOUR, 15.0)]
        )
        known = outlook(self._site, self._record, observation.now, axes=wide)
        return self._rule(known, observation.state, queue=observation.queue, site=self._site)


def site_planner(site: Site) -> str:
    """Return the name of the planner of a site's service."""
    return DEFAULT_PLANNER if site.scenarios.count >= MIN_SCENARIOS else FORECAST_PLANNER


def resolve_policy(name: str, stored: Container[str] = PLANNERS) -> str:
    """Return the stored name of a policy.

    ``optimal`` is an alias of the default planner, or of the planner for the forecast if only its
    results are ``stored``, as those of earlier versions are. With foresight of a series it stands
    for the latter, as there is no other such planner.
    """
    head, plus, series = name.partition("+")
    if head != PLANNER_ALIAS:
        return name
    planner = next((one for one in PLANNERS if one in stored), DEFAULT_PLANNER)
    return (FORECAST_PLANNER if plus else planner) + plus + series
