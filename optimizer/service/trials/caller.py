"""The grid of a back-test calls what waits for an order: by a load target, as a partner does.

Batteries with a controller answer it by themselves, see
:mod:`telemetry.simulator.reserve_activation`. Work, and all else that waits for an order, is
planned anew against what the plan until then had promised.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from optimizer.reserves.capacity import LEAST
from optimizer.service.partners.asked import in_words
from telemetry.simulator.plant import SimulatedFacility
from telemetry.simulator.reserve_activation import ReserveFacility, ReserveOrder
from twin.markets.contracts import LoadTargetContract
from twin.markets.reserve_products import is_recovering
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN, QUARTER_HOUR, interval_edges
from twin.variables import net_import


def called_by(site: Site) -> Mapping[str, LoadTargetContract]:
    """Return products that are called by orders -> the contract by which."""
    return {name: one for one in site.of(LoadTargetContract) for name in one.activates}


class Caller:
    """Calls what a site holds for orders.

    Parameters
    ----------
    site
        The site; what no contract of it activates is not called.
    plant
        Hears when the grid calls, and keeps the orders for the bill.
    """

    def __init__(self, site: Site, plant: SimulatedFacility) -> None:
        self._site, self._by, self._start = site, called_by(site), plant.now
        self._due: dict[str, BoolArray] = {}
        self._orders: list[ReserveOrder] = []
        if isinstance(plant, ReserveFacility):
            self._orders = plant.orders
            self._due = {
                name: one[::METERING_PERIOD_MIN] > 0.0 for name, one in plant.waiting.items()
            }

    def look(self, now: np.datetime64, plan: xr.Dataset | None) -> bool:
        """Call what is due, and return whether anything begins now.

        Parameters
        ----------
        now
            Start of a quarter-hour. [datetime64, UTC]
        plan
            The schedule in force; None where nothing is planned, and so nothing held.
        """
        count, called = len(self._orders), 0.0
        first = round((now - self._start) / QUARTER_HOUR)
        for name, due in self._due.items():
            if plan is None or not due[first] or (first > 0 and due[first - 1]):
                continue
            lasts = int(np.argmin(np.append(due[first:], False)))
            order = _order(name, first, plan, times=now + np.arange(-1, lasts) * QUARTER_HOUR)
            if order.power > LEAST:
                self._orders.append(replace(order, baseline=order.baseline - called))
                called += order.power
        return len(self._orders) > count

    def promised(self, axes: xr.Dataset) -> xr.Dataset:
        """Return what is called over a horizon, in words of an outlook; nothing if none can be."""
        if not self._by:
            return xr.Dataset()
        edges, grid = interval_edges(axes), self._site.grid
        most, never = np.full(len(edges) - 1, grid.import_limit), np.zeros(len(edges) - 1, bool)
        targets = {one.name: (most.copy(), one.price(never)) for one in self._by.values()}
        called = {name: never.copy() for name in self._site.reserves}
        for order in self._orders:
            asked = np.maximum(self._asked(order, edges), -grid.export_limit)
            called[order.product] |= np.isfinite(asked)
            power, _ = targets[self._by[order.product].name]
            np.minimum(power, asked, out=power)
        calls = {name: self._recovers(name, is_called, edges) for name, is_called in called.items()}
        return in_words(axes, targets=targets, called=calls)

    def _asked(self, order: ReserveOrder, edges: np.ndarray) -> FloatArray:
        """Return the least that an order asks in each interval; infinite where nothing. [MW]"""
        found = np.full(len(edges) - 1, np.inf)
        for number, baseline in enumerate(order.baseline, order.first):
            start = self._start + number * QUARTER_HOUR
            touches = (edges[:-1] < start + QUARTER_HOUR) & (edges[1:] > start)
            found[touches] = np.minimum(found[touches], baseline - order.power)
        return found

    def _recovers(self, product: str, called: BoolArray, edges: np.ndarray) -> BoolArray:
        """Return in which intervals a product is called or recovers from a call."""
        ends = [
            self._start + (order.first + len(order.baseline)) * QUARTER_HOUR
            for order in self._orders
            if order.product == product
        ]
        ended = max((end for end in ends if end <= edges[0]), default=None)
        return is_recovering(self._site.reserves[product], called, edges, ended=ended)


def _order(product: str, first: int, plan: xr.Dataset, *, times: np.ndarray) -> ReserveOrder:
    """Return a call of all that a plan holds of a product; times from a quarter-hour before on."""
    steps = plan.sel(time=np.maximum(times, plan["time"].to_numpy()[0]), method="pad")
    held, net = steps["reserve_capacity"].sel(product=product), net_import(steps).to_numpy()
    power = float(held[1:].min())
    return ReserveOrder(product=product, first=first, baseline=net[1:], before=net[0], power=power)
