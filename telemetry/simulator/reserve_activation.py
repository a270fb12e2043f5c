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

from telemetry.simulator.plant import QUARTER_MINUTES, SimulatedFacility, Trajectories
from twin import time_axes, variables
from twin.equipment import Battery
from twin.feasibility.reserve_activation import activation_power
from twin.markets.reserve_products import ReserveProduct
from twin.physics import FloatArray
from twin.simulation.engine import VariableKey
from twin.simulation.limits import SET_POINT_TRANSITION_MIN
from twin.variables import net_import

MINUTES_PER_HOUR: Final = 60.0
"""Minutes in an hour. [1]"""


def reserve_calls(
    products: Mapping[str, ReserveProduct], minutes: int, *, seed: int, share: float | None = None
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
            up, down = share * product.is_upward, share * product.is_downward
        lasts = max(round(product.duration * MINUTES_PER_HOUR), 1)
        pause = round(product.recovery * MINUTES_PER_HOUR)
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
class ReserveOrder:
    """A call of what waits for one.

    Attributes
    ----------
    product
        What is called.
    first
        Number of the quarter-hour in which it begins.
    baseline
        Net import by the plan until then, in each quarter-hour of it. [MW]
    before
        The same in the quarter-hour before. [MW]
    power
        By how much net import is to be lower. [MW]
    """

    product: str
    first: int
    baseline: FloatArray
    before: float
    power: float

    def delivered(self, net: FloatArray) -> FloatArray:
        """Return by how much a course of net import was lower, as far as it was asked. [MW]

        Uncalled, it would have turned from quarter-hour to quarter-hour as set points do.
        """
        metered = net[self.first : self.first + len(self.baseline)]
        turned = (
            0.5
            * SET_POINT_TRANSITION_MIN
            / QUARTER_MINUTES
            * np.diff(self.baseline, prepend=self.before)
        )
        usual = self.baseline - turned
        return np.clip(usual[: len(metered)] - metered, 0.0, self.power)

    def required(self, full_activation: float) -> FloatArray:
        """Return what must be given in each quarter-hour, a time in minutes after the order. [MW]

        What is given before all of it must be there counts for nothing.
        """
        ends = QUARTER_MINUTES * np.arange(1, len(self.baseline) + 1)
        return np.asarray(
            self.power * np.clip((ends - full_activation) / QUARTER_MINUTES, 0.0, 1.0)
        )


class ReserveFacility(SimulatedFacility):
    """A plant with controllers at its batteries; see
    :class:`telemetry.simulator.plant.SimulatedFacility`.
    """

    _signal: Mapping[str, FloatArray]
    _held: Mapping[VariableKey, float]

    def set_calls(
        self, signal: Mapping[str, FloatArray], *, by_order: Collection[str] = ()
    ) -> None:
        """Take the grid's calls.

        Parameters
        ----------
        signal
            Product -> -1 to 1 for every minute from the first on, as :func:`reserve_calls` gives.
        by_order
            Products that wait for an order: controllers do not answer their calls.
        """
        self._signal = {name: one * (name not in by_order) for name, one in signal.items()}
        self.waiting = {name: signal[name] for name in by_order}
        self.orders: list[ReserveOrder] = []
        self._held = {}
        minutes, batteries = (
            len(self._weather),
            [one.name for one in self.site.machines_of(Battery)],
        )
        self._called = {name: np.zeros(minutes) for name in signal}
        self._ordered = {name: np.full(minutes, np.nan) for name in batteries}
        self._asked = {name: np.zeros(minutes) for name in batteries}

    def set_reserved_capacity(self, held: Mapping[VariableKey, float]) -> None:
        """Hold capacity from now on.

        Parameters
        ----------
        held
            (product, battery) -> capacity. [MW]
        """
        self._held = dict(held)

    def _driven(self, courses: Trajectories, span: slice) -> Trajectories:
        """Return what the controllers of the batteries make of set points, as the grid calls.

        Minutes that are still to come are foreseen anew after each new order, and noted anew.
        """
        driven = dict(courses)
        for called in self._called.values():
            called[span] = 0.0
        for battery in self._ordered:
            charge, discharge = ("battery_charge", battery), ("battery_discharge", battery)
            if charge not in courses:
                continue
            net = self._with_room(battery, courses[charge] - courses[discharge])
            asked = np.zeros(len(net))
            for name, signal in self._signal.items():
                mine = self._held.get((name, battery), 0.0) * signal[span]
                self._called[name][span] += mine
                asked, net = asked + mine, net - mine
            driven[charge], driven[discharge] = np.maximum(net, 0.0), np.maximum(-net, 0.0)
            self._ordered[battery][span], self._asked[battery][span] = net, asked
        return driven

    def _with_room(self, battery: str, net: FloatArray) -> FloatArray:
        """Return a course of charge less discharge that leaves the room for what must be fast.

        What is held on top of a planned charge counts on it, beyond the rated power.
        """
        products = self.site.reserves
        held = {
            name: np.asarray(self._held.get((name, battery), 0.0))
            for name in self._signal
            if products[name].full_activation < SET_POINT_TRANSITION_MIN
        }
        if not any(held.values()):
            return net
        store = next(one for one in self.site.stores if one.owner == battery)
        up, down = activation_power(products, held)
        goal = (
            self.current_set_points["battery_charge", battery]
            - self.current_set_points["battery_discharge", battery]
        )
        least = np.minimum(up - store.discharge_limit, max(goal, 0.0))
        most = np.maximum(store.charge_limit - down, min(goal, 0.0))
        return np.asarray(np.clip(net, least, most))

    def activation(self) -> xr.Dataset:
        """Return what was called of each product, in quarter-hours.

        Returns
        -------
        xarray.Dataset
            ``reserve_used_up``, ``reserve_used_down`` and ``reserve_missed``, what was ordered and
            not given, on ``time`` and ``product``. [MW]
        """
        names = list(self._signal)
        rows = [self._called[name][: self._clock] for name in names]
        power = np.stack(rows, axis=-1).reshape(-1, QUARTER_MINUTES, len(names))
        grid = time_axes.regular_axes(self._axes["time"].to_numpy()[0], len(power))
        dims = ("time", "product")
        up, missed = np.maximum(power, 0.0).mean(axis=1), np.zeros((len(power), len(names)))
        net = net_import(self.record()).to_numpy().reshape(-1, QUARTER_MINUTES).mean(axis=1)
        for order in self.orders:
            given = order.delivered(net)
            place = slice(order.first, order.first + len(given)), names.index(order.product)
            up[place] += given
            due = order.required(self.site.reserves[order.product].full_activation)
            missed[place] += np.maximum(due[: len(given)] - given, 0.0)
        found = {
            "reserve_used_up": (dims, up),
            "reserve_used_down": (dims, np.maximum(-power, 0.0).mean(axis=1)),
            "reserve_missed": (dims, missed),
        }
        return variables.tag_dataset(grid.assign(found).assign_coords(product=names))

    def called_power(self) -> FloatArray:
        """Return what all products together were called for in each minute, upwards. [MW]"""
        return np.asarray(sum(self._called.values()))[: self._clock]

    def missed_power(self) -> FloatArray:
        """Return by how much batteries gave less than they were told, while they were called. [MW]

        What stops by itself, as a battery that is full, gives more: nobody misses that.
        """
        record, worst = self.record(), np.zeros(self._clock)
        for battery, told in self._ordered.items():
            did = (record["battery_charge"] - record["battery_discharge"]).sel(battery=battery)
            way = np.sign(self._asked[battery][: self._clock])
            worst = np.maximum(worst, way * (did.to_numpy() - told[: self._clock]))
        return worst
