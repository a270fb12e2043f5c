"""Interface of policies, which decide a site's next quarter-hour, and the rule-based policies."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import xarray as xr

from optimizer.policies import price_rules
from optimizer.problem.planning_outlook import ExternalRequests, no_requests
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from twin import time_axes
from twin.forecast.history import published_until
from twin.forecast.outlook import outlook
from twin.site import Site
from twin.workload.queue import JobQueue


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
        until = published_until(observation.now, self._site.resolved_market_time_zone)
        wide = time_axes.horizon_axes(
            observation.now, [((until - observation.now) / time_axes.HOUR, 15.0)]
        )
        known = outlook(self._site, self._record, observation.now, axes=wide)
        return self._rule(known, observation.state, queue=observation.queue, site=self._site)


def immediate_policy(site: Site, record: xr.Dataset) -> Policy:
    """Return the policy that starts every job at once."""
    return RulePolicy(site, record, price_rules.order_immediate)


def threshold_capped_policy(site: Site, record: xr.Dataset) -> Policy:
    """Return the policy of the cheapest published hours, with capped jobs."""
    return RulePolicy(site, record, price_rules.order_cheapest_hours)


def threshold_policy(site: Site, record: xr.Dataset) -> Policy:
    """Return the policy of the cheapest published hours, with uncapped jobs."""
    return RulePolicy(site, record, partial(price_rules.order_cheapest_hours, caps_work=False))


def carbonscaler_policy(site: Site, record: xr.Dataset) -> Policy:
    """Return the CarbonScaler policy, which follows the carbon intensity of the grid."""
    return RulePolicy(site, record, price_rules.order_carbonscaler)
