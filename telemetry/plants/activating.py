"""A simulated plant whose batteries answer the grid by themselves, for what they hold in reserve.

The local controller adds its power to the battery's set point at once, minute by minute; nobody is
asked. While it holds capacity it keeps the room for it: a set point that still turns from the last
one goes there at once. What it could not give is kept for the judge. What waits for an order it
does not answer: whoever gives the order notes it, and the meter tells what of it was given.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from telemetry.plants.ramps import STEP
from telemetry.testbed import Plant
from twin import axes, vocabulary
from twin.exchange import net_import
from twin.physics import FloatArray
from twin.reserved.activation import powers
from twin.reserves import Reserve
from twin.run import Key

MINUTES: Final = 60.0
"""Minutes in an hour. [1]"""


def calls(
    products: Mapping[str, Reserve], minutes: int, *, seed: int, share: float | None = None
) -> dict[str, FloatArray]:
    """Return how the grid calls each product: full activations at random moments.

    Parameters
    ----------
    products
        Products by name.
    minutes
        Length of the course. [min]
    seed
        Seed of the moments and directions.
    share
        Mean share of the time that a product is called each way; by default the energy that it
        declares. [1]

    Returns
    -------
    dict
        Product -> -1 (all downwards) to 1 (all upwards), ``(minute,)``. After each call as long as
        the product asks for, none comes for the time that it leaves for recovery.
    """
    found = {}
    for number, (name, product) in enumerate(products.items()):
        rng = np.random.default_rng([seed, number])
        up, down = product.activation_up, product.activation_down
        if share is not None:
            up, down = share * product.goes_up, share * product.goes_down
        lasts = max(round(product.duration * MINUTES), 1)
        pause = round(product.recovery * MINUTES)
        course = np.zeros(minutes)
        # of a cycle of waiting, call and recovery, the call must be the share that is wanted
        wait = lasts / max(up + down, 1e-9) - lasts - pause
        minute = int(rng.exponential(max(wait, 1.0))) if up + down > 0.0 else minutes
        while minute < minutes:
            way = 1.0 if rng.uniform() * (up + down) < up else -1.0
            course[minute : minute + lasts] = way
            minute += lasts + pause + int(rng.exponential(max(wait, 1.0)))
        found[name] = course
    return found


@dataclass(frozen=True, kw_only=True)
class Order:
    """A call of what waits for one.

    Attributes
    ----------
    product
        What is called.
    first
        Number of the quarter-hour in which it begins.
    baseline
        Net import by the plan until then, in each quarter-hour of it. [MW]
    power
        By how much net import is to be lower. [MW]
    """

    product: str
    first: int
    baseline: FloatArray
    power: float

    def given(self, net: FloatArray) -> FloatArray:
        """Return by how much a course of net import was lower, as far as it was asked. [MW]"""
        metered = net[self.first : self.first + len(self.baseline)]
        return np.clip(self.baseline[: len(metered)] - metered, 0.0, self.power)

    def due(self, full_activation: float) -> FloatArray:
        """Return what must be given in each quarter-hour, a time in minutes after the order. [MW]

        What is given before all of it must be there counts for nothing.
        """
        ends = STEP * np.arange(1, len(self.baseline) + 1)
        return np.asarray(self.power * np.clip((ends - full_activation) / STEP, 0.0, 1.0))


class ActivatedPlant(Plant):
    """A plant with controllers at its batteries; see :class:`telemetry.testbed.Plant`."""

    _signal: Mapping[str, FloatArray]
    _held: Mapping[Key, float]

    def listen(self, signal: Mapping[str, FloatArray], *, by_order: Collection[str] = ()) -> None:
        """Take the grid's calls.

        Parameters
        ----------
        signal
            Product -> -1 to 1 for every minute from the first on, as :func:`calls` gives.
        by_order
            Products that wait for an order: controllers do not answer their calls.
        """
        self._signal = {name: one * (name not in by_order) for name, one in signal.items()}
        self.waiting = {name: signal[name] for name in by_order}
        self.orders: list[Order] = []
        self._held = {}
        self._called: list[dict[str, FloatArray]] = []
        self._ordered: list[dict[str, FloatArray]] = []

    def hold(self, held: Mapping[Key, float]) -> None:
        """Hold capacity from now on.

        Parameters
        ----------
        held
            (product, battery) -> capacity. [MW]
        """
        self._held = dict(held)

    def _courses(self, span: slice) -> dict[Key, FloatArray]:
        """Return the courses of the plant's controllers, with what the grid calls for."""
        orders = super()._courses(span)
        count = span.stop - span.start
        called = {name: np.zeros(count) for name in self._signal}
        ordered = {}
        for store in self.site.stores:
            battery = store.owner
            charge, discharge = ("battery_charge", battery), ("battery_discharge", battery)
            if charge not in orders:
                continue
            held = {n: np.asarray(self._held.get((n, battery), 0.0)) for n in self._signal}
            power = np.zeros(count)
            for name, signal in self._signal.items():
                mine = held[name] * signal[span]
                called[name] += mine
                power += mine
            if any(held.values()):
                up, down = powers(self.site.reserves, held)
                goal = self.ordered[charge] - self.ordered[discharge]
                # what is held on top of a planned charge counts on it, beyond the rated power
                least = np.minimum(up - store.discharge_limit, max(goal, 0.0))
                most = np.maximum(store.charge_limit - down, min(goal, 0.0))
                net = np.clip(orders[charge] - orders[discharge], least, most) - power
                orders[charge], orders[discharge] = np.maximum(net, 0.0), np.maximum(-net, 0.0)
            ordered[battery] = orders[charge] - orders[discharge]
        self._called.append(called)
        self._ordered.append(ordered)
        return orders

    def called(self) -> xr.Dataset:
        """Return what was called of each product, in quarter-hours.

        Returns
        -------
        xarray.Dataset
            ``reserve_used_up``, ``reserve_used_down`` and ``reserve_missed``, what was ordered and
            not given, on ``time`` and ``product``. [MW]
        """
        names = list(self._signal)
        rows = [np.concatenate([part[name] for part in self._called]) for name in names]
        power = np.stack(rows, axis=-1).reshape(-1, STEP, len(names))
        grid = axes.regular(self._axes["time"].to_numpy()[0], len(power))
        dims = ("time", "product")
        up, missed = np.maximum(power, 0.0).mean(axis=1), np.zeros((len(power), len(names)))
        net = net_import(self.record()).to_numpy().reshape(-1, STEP).mean(axis=1)
        for order in self.orders:
            given = order.given(net)
            place = slice(order.first, order.first + len(given)), names.index(order.product)
            up[place] += given
            due = order.due(self.site.reserves[order.product].full_activation)
            missed[place] += np.maximum(due[: len(given)] - given, 0.0)
        found = {
            "reserve_used_up": (dims, up),
            "reserve_used_down": (dims, np.maximum(-power, 0.0).mean(axis=1)),
            "reserve_missed": (dims, missed),
        }
        return vocabulary.tag_all(grid.assign(found).assign_coords(product=names))

    def spared(self) -> FloatArray:
        """Return what all products together were called for in each minute, upwards. [MW]"""
        parts = [np.sum(list(part.values()), axis=0) for part in self._called]
        return np.concatenate(parts)

    def missed(self) -> FloatArray:
        """Return by how much batteries missed what they were told, while they were called. [MW]"""
        record, worst = self.record(), np.zeros(self._clock)
        is_called = sum(
            np.concatenate([p[name] for p in self._called]) != 0.0 for name in self._signal
        )
        for battery in self._ordered[0]:
            told = np.concatenate([part[battery] for part in self._ordered])
            did = record["battery_charge"] - record["battery_discharge"]
            miss = np.abs(told - did.sel(battery=battery).to_numpy())
            worst = np.maximum(worst, miss * (np.asarray(is_called) > 0))
        return worst
