"""Policies: what decides a site's next quarter-hour. All see the same and steer the same plant."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import xarray as xr

from optimizer.policies import price_rules
from optimizer.policies.carbonscaler import order_carbonscaler as follow_carbon
from optimizer.problem.outlook import ExternalRequests, no_requests
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from twin import time_axes
from twin.forecast.history import published_until
from twin.forecast.outlook import outlook
from twin.site import Site
from twin.workload.queue import JobQueue


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a policy may see at a moment.

    Attributes
    ----------
    state
        The state as measured; its ``instant`` is now.
    queue
        The jobs that have arrived.
    requests
        What others ask of the site over a horizon.
    has_new_request
        Whether they began to ask it just now.
    """

    state: xr.Dataset
    queue: JobQueue
    requests: ExternalRequests = no_requests
    has_new_request: bool = False

    @property
    def now(self) -> np.datetime64:
        """The moment."""
        return self.queue.instant


class Policy(Protocol):
    """What decides."""

    def orders(self, observation: Observation) -> DispatchOrders:
        """Return what the plant shall do in the quarter-hour that begins now."""
        ...

    @property
    def interval_control(self) -> MeteringIntervalControl | None:
        """What watches the quarter-hour that runs, if anything does."""
        ...


class RulePolicy:
    """A rule that looks at the known prices only.

    Parameters
    ----------
    site
        The site.
    record
        Its series; what is unpublished is never looked at.
    rule
        One of :mod:`optimizer.policies.price_rules`.
    """

    def __init__(self, site: Site, record: xr.Dataset, rule: Callable[..., DispatchOrders]) -> None:
        self._site, self._record, self._rule = site, record, rule

    @property
    def interval_control(self) -> None:
        """Rules watch nothing."""

    def orders(self, observation: Observation) -> DispatchOrders:
        """Return the orders of the rule."""
        until = published_until(observation.now, self._site.market_zone)
        wide = time_axes.horizon_axes(
            observation.now, [((until - observation.now) / time_axes.HOUR, 15.0)]
        )
        known = outlook(self._site, self._record, observation.now, axes=wide)
        return self._rule(known, observation.state, queue=observation.queue, site=self._site)


def immediate_policy(site: Site, record: xr.Dataset) -> Policy:
    """Return the policy that never waits."""
    return RulePolicy(site, record, price_rules.order_immediate)


def threshold_capped_policy(site: Site, record: xr.Dataset) -> Policy:
    """Return the policy of the cheapest known hours."""
    return RulePolicy(site, record, price_rules.order_cheapest_hours)


def threshold_policy(site: Site, record: xr.Dataset) -> Policy:
    """Return the policy of the cheapest known hours, capped by no price but by limits alone."""
    return RulePolicy(site, record, partial(price_rules.order_cheapest_hours, caps_work=False))


def carbonscaler_policy(site: Site, record: xr.Dataset) -> Policy:
    """Return the published policy that follows the carbon of the grid."""
    return RulePolicy(site, record, follow_carbon)
