"""Simulated facility whose batteries deliver reserves automatically.

The local controller adds reserve power to the set point of the battery at once, minute by minute.
While it reserves capacity it keeps power available for it: a set point still moving goes there at
once. The record of what was not delivered is for evaluation. The caller records orders of products
that wait for one, and the meter shows their delivery.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from telemetry.simulator.plant import SimulatedFacility, Trajectories
from twin import time_axes, variables
from twin.equipment import Battery
from twin.feasibility.reserve_activation import reserved_power
from twin.physics import FloatArray
from twin.simulation.engine import VariableKey
from twin.simulation.operating_limits import SET_POINT_TRANSITION_MIN
from twin.time_axes import METERING_PERIOD_MIN
from twin.variables import net_import


@dataclass(frozen=True, kw_only=True)
class ReserveOrder:
    """An order to activate a product.

    - `first_quarter_hour`: number of the first quarter-hour.
    - `baseline`: planned net import in each quarter-hour of the call. [MW]
    - `previous_net_import`: the same in the quarter-hour before. [MW]
    - `ordered_power`: ordered reduction of net import. [MW]
    """

    product: str
    first_quarter_hour: int
    baseline: FloatArray
    previous_net_import: float
    ordered_power: float

    def delivered_power(self, net: FloatArray) -> FloatArray:
        """Return the reduction of net import in each quarter-hour, up to the order. [MW]

        Without a call, net import would have moved between quarter-hours as set points do.
        """
        metered = net[self.first_quarter_hour : self.first_quarter_hour + len(self.baseline)]
        turned = (
            0.5
            * SET_POINT_TRANSITION_MIN
            / METERING_PERIOD_MIN
            * np.diff(self.baseline, prepend=self.previous_net_import)
        )
        usual = self.baseline - turned
        return np.clip(usual[: len(metered)] - metered, 0.0, self.ordered_power)

    def required_power(self, full_activation: float) -> FloatArray:
        """Return the power due in each quarter-hour, for a full activation time. [min; MW]

        Power before the full activation is due does not count.
        """
        ends = METERING_PERIOD_MIN * np.arange(1, len(self.baseline) + 1)
        return np.asarray(
            self.ordered_power * np.clip((ends - full_activation) / METERING_PERIOD_MIN, 0.0, 1.0)
        )


class ReserveFacility(SimulatedFacility):
    """A facility with reserve controllers at its batteries; see
    :class:`telemetry.simulator.plant.SimulatedFacility`.
    """

    _signal: Mapping[str, FloatArray]
    _capacity: Mapping[VariableKey, float]

    def set_calls(
        self, signal: Mapping[str, FloatArray], *, by_order: Collection[str] = ()
    ) -> None:
        """Set the grid's calls: product -> -1 to 1 for every minute, as :func:`draw_reserve_calls`
        returns.

        Controllers ignore the calls of products in ``by_order``, which wait for an order.
        """
        self._signal = {name: one * (name not in by_order) for name, one in signal.items()}
        self.waiting = {name: signal[name] for name in by_order}
        self.orders: list[ReserveOrder] = []
        self._reserved: Mapping[VariableKey, float] = {}
        minutes, batteries = (
            len(self._weather),
            [one.name for one in self.site.machines_of(Battery)],
        )
        self._called = {name: np.zeros(minutes) for name in signal}
        self._ordered = {name: np.full(minutes, np.nan) for name in batteries}
        self._reserve_power = {name: np.zeros(minutes) for name in batteries}

    def set_reserved_capacity(self, capacity: Mapping[VariableKey, float]) -> None:
        """Reserve capacity from now on, by (product, battery). [MW]"""
        self._reserved = dict(capacity)

    def _driven(self, trajectories: Trajectories, span: slice) -> Trajectories:
        """Return the set points with the reserve power of the batteries.

        Coming minutes are computed, and recorded, again after each new order.
        """
        driven = dict(trajectories)
        for called in self._called.values():
            called[span] = 0.0
        for battery in self._ordered:
            charge, discharge = ("battery_charge", battery), ("battery_discharge", battery)
            if charge not in trajectories:
                continue
            net = self._with_headroom(battery, trajectories[charge] - trajectories[discharge])
            reserve = np.zeros(len(net))
            for name, signal in self._signal.items():
                mine = self._reserved.get((name, battery), 0.0) * signal[span]
                self._called[name][span] += mine
                reserve, net = reserve + mine, net - mine
            driven[charge], driven[discharge] = np.maximum(net, 0.0), np.maximum(-net, 0.0)
            self._ordered[battery][span], self._reserve_power[battery][span] = net, reserve
        return driven

    def _with_headroom(self, battery: str, net: FloatArray) -> FloatArray:
        """Return charge less discharge that leaves power for fast products.

        Reserves on top of a planned charge count on that charge, beyond the rated power.
        """
        products = self.site.reserves
        reserved = {
            name: np.asarray(self._reserved.get((name, battery), 0.0))
            for name in self._signal
            if products[name].full_activation < SET_POINT_TRANSITION_MIN
        }
        if not any(reserved.values()):
            return net
        store = next(one for one in self.site.stores if one.owner == battery)
        up, down = reserved_power(products, reserved)
        goal = (
            self.current_set_points["battery_charge", battery]
            - self.current_set_points["battery_discharge", battery]
        )
        lowest = np.minimum(up - store.discharge_limit, max(goal, 0.0))
        highest = np.maximum(store.charge_limit - down, min(goal, 0.0))
        return np.asarray(np.clip(net, lowest, highest))

    def called_and_missed_power(self) -> xr.Dataset:
        """Return what was called of each product, in quarter-hours.

        Returns
        -------
        xarray.Dataset
            ``reserve_used_up``, ``reserve_used_down`` and ``reserve_missed`` (ordered and not
            delivered), on ``time`` and ``product``. [MW]
        """
        names = list(self._signal)
        rows = [self._called[name][: self._clock] for name in names]
        power = np.stack(rows, axis=-1).reshape(-1, METERING_PERIOD_MIN, len(names))
        grid = time_axes.regular_axes(self._axes["time"].to_numpy()[0], len(power))
        dims = ("time", "product")
        up, missed = np.maximum(power, 0.0).mean(axis=1), np.zeros((len(power), len(names)))
        net = net_import(self.record()).to_numpy().reshape(-1, METERING_PERIOD_MIN).mean(axis=1)
        for order in self.orders:
            given = order.delivered_power(net)
            place = (
                slice(order.first_quarter_hour, order.first_quarter_hour + len(given)),
                names.index(order.product),
            )
            up[place] += given
            due = order.required_power(self.site.reserves[order.product].full_activation)
            missed[place] += np.maximum(due[: len(given)] - given, 0.0)
        found = {
            "reserve_used_up": (dims, up),
            "reserve_used_down": (dims, np.maximum(-power, 0.0).mean(axis=1)),
            "reserve_missed": (dims, missed),
        }
        return variables.tag_dataset(grid.assign(found).assign_coords(product=names))

    def called_power(self) -> FloatArray:
        """Return the upward power of all calls together in each minute. [MW]"""
        return np.asarray(sum(self._called.values()))[: self._clock]

    def missed_power(self) -> FloatArray:
        """Return by how much batteries delivered less than their set points during calls. [MW]

        A battery that stops by itself, such as a full one, delivers more and misses nothing.
        """
        record, worst = self.record(), np.zeros(self._clock)
        for battery, ordered in self._ordered.items():
            did = (record["battery_charge"] - record["battery_discharge"]).sel(battery=battery)
            direction = np.sign(self._reserve_power[battery][: self._clock])
            worst = np.maximum(worst, direction * (did.to_numpy() - ordered[: self._clock]))
        return worst
