"""Contracts that promise a sum of a flow: load targets, a position, matched hours.

Budgets: how much of a year's carbon or water a plan may use, and what lies beyond weighs.
"""

from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import xarray as xr

from twin.equipment.machine import Equipment
from twin.physics import FloatArray
from twin.relations import IntradayTrades, Obligation, ObligationTerms, Relation
from twin.relations import ObligationQuantity as Sum
from twin.units import MAX_CARBON_INTENSITY_KG_MWH, ParameterDescription, Quantity


class Contract(Equipment):
    """A promise about the site as a whole; no machine."""

    is_machine: ClassVar[bool] = False


class LoadTargetContract(Contract):
    """Limits of net import that a grid partner may set, and what it costs to be above one.

    A target gives way only to what is dearer: the inference service and all limits of machines and
    connection hold in any case, so no target asks for more than is safe. Its effect is ``priced``;
    ``hard``, dearer than anything that can give way; or ``curtailment``, a limit of a connection
    that is not firm, of which ``least`` is the firm part. A target below zero asks for export.
    """

    kind: ClassVar[str] = "load_target"

    partner: Annotated[
        str, ParameterDescription("who may set targets, as in topics; its own name if left out")
    ] = ""
    up_price: Annotated[float, Quantity("EUR MWh-1", "for each MWh above a target", above=0)]
    best_effort_price: (
        Annotated[
            float,
            Quantity("EUR MWh-1", "the same where best effort is asked", above=0),
        ]
        | None
    ) = None
    least: Annotated[
        float, Quantity("MW", "least that is kept to, whatever is asked; 0 for none", at_least=0)
    ] = 0.0
    effect: Annotated[
        Literal["priced", "hard", "curtailment"],
        ParameterDescription(
            "above a target `up_price` is paid, or nothing may be taken, or the connection ends"
        ),
    ] = "priced"
    activates: Annotated[
        tuple[str, ...],
        ParameterDescription("reserve products that a target calls; they are not held meanwhile"),
    ] = ()

    @property
    def issuer(self) -> str:
        """Name of the partner in topics: the contract's own, if none is given."""
        return self.partner or self.name

    def price(self, is_best_effort: np.ndarray) -> FloatArray:
        """Return what a MWh above a target costs; infinite where it is hard. [EUR MWh-1]"""
        firm = np.inf if self.effect == "hard" else self.up_price
        best = self.best_effort_price
        return np.where(is_best_effort, firm if best is None else best, firm)

    def relations(self) -> tuple[Relation, ...]:
        """Return the promise of every interval; a curtailment is a limit, and no promise."""
        words = ("grid_import_target", "grid_import_target_price")
        if self.effect == "curtailment":
            return ()
        return (
            Obligation(
                owner=self.name,
                quantity="net_import",
                account="targets",
                required_variables=words,
                terms=self._terms,
            ),
        )

    def _terms(self, outlook: xr.Dataset) -> ObligationTerms:
        power = _of(outlook["grid_import_target"], self.name)
        price = _of(outlook["grid_import_target_price"], self.name)
        hours = _hours(outlook)
        least = self.least or -np.inf  # a target below zero asks for export
        return ObligationTerms(
            target=hours * np.maximum(power, least),
            price_above=price,
            price_below=np.zeros_like(hours),
            window_index=np.arange(float(len(hours))),
        )


class DayAheadPosition(Contract):
    """A position bought day-ahead: what is taken beside it is traded intraday, or is imbalance.

    Without a position in the outlook all energy costs the day-ahead price, as if it had been bought
    as it is used.
    """

    kind: ClassVar[str] = "day_ahead"

    imbalance_spread: Annotated[
        float,
        Quantity(
            "EUR MWh-1",
            "how much worse than day-ahead imbalance is, where its prices are unknown",
            at_least=0,
        ),
    ] = 30.0
    intraday_limit: Annotated[
        float, Quantity("MW", "most that may be bought or sold intraday", at_least=0)
    ] = 0.0
    intraday_spread: Annotated[
        float,
        Quantity("EUR MWh-1", "half the distance of bid and ask", at_least=0),
    ] = 2.0
    gate_closure: Annotated[
        float, Quantity("h", "from the last trade to the delivery", at_least=0, at_most=24)
    ] = 1.0

    def relations(self) -> tuple[Relation, ...]:
        """Return the promise of every interval in which there is a position."""
        return (
            Obligation(
                owner=self.name,
                quantity="net_import",
                account="imbalance",
                required_variables=("day_ahead_position", "position_held"),
                terms=self._terms,
                trades=self._trades if self.intraday_limit > 0.0 else None,
            ),
        )

    def _terms(self, outlook: xr.Dataset) -> ObligationTerms:
        """Return the position, and by how much imbalance is worse than the day-ahead price."""
        hours, spot = _hours(outlook), outlook["electricity_price"].to_numpy()
        short = _given(outlook, "imbalance_short_price", spot + self.imbalance_spread)
        long = _given(outlook, "imbalance_long_price", spot - self.imbalance_spread)
        held = outlook["position_held"].to_numpy() > 0.0
        if self.intraday_limit > 0.0:  # nobody buys to be long, nor sells to be short
            may, price = self._trades(outlook).limit > 0.0, _given(outlook, "intraday_price", spot)
            long = np.where(may, np.minimum(long, price), long)
            short = np.where(may, np.maximum(short, price), short)
        return ObligationTerms(
            target=np.where(held, hours * outlook["day_ahead_position"].to_numpy(), np.inf),
            price_above=short - spot,
            price_below=spot - long,
            window_index=np.arange(float(len(hours))),
        )

    def _trades(self, outlook: xr.Dataset) -> IntradayTrades:
        """Return what may be traded before its gate closes, beside the day-ahead price."""
        time, spot = outlook["time"].to_numpy(), outlook["electricity_price"].to_numpy()
        ahead = (time - time[0]) / np.timedelta64(1, "h")
        price = _given(outlook, "intraday_price", spot)
        held = outlook["position_held"].to_numpy() > 0.0
        is_open = (ahead >= self.gate_closure) & held & ("intraday_price" in outlook)
        return IntradayTrades(
            limit=np.where(is_open, self.intraday_limit, 0.0),
            buy_price=price + self.intraday_spread - spot,
            sell_price=spot - (price - self.intraday_spread),
        )


class HourlyMatching(Contract):
    """Carbon by the market: what no contracted hour covers counts with the residual mix.

    It takes the place of the carbon of the grid's average mix. What is matched comes from the
    outlook's ``matched_power`` beside a band.
    """

    kind: ClassVar[str] = "hourly_matching"

    band_power: Annotated[
        float, Quantity("MW", "contracted power that is there in every hour", at_least=0)
    ] = 0.0
    residual_intensity: Annotated[
        float,
        Quantity(
            "kg MWh-1",
            "carbon of the residual mix",
            at_least=0,
            at_most=MAX_CARBON_INTENSITY_KG_MWH,
        ),
    ]

    def relations(self) -> tuple[Relation, ...]:
        """Return the promise to import what is matched: what is above it emits."""
        return (
            Obligation(
                owner=self.name,
                quantity="import",
                account="carbon",
                required_variables=(),
                terms=self._terms,
            ),
        )

    def matched_power(self, outlook: xr.Dataset) -> FloatArray:
        """Return the power that is matched, on ``time``. [MW]"""
        nothing = np.zeros(outlook.sizes["time"])
        return self.band_power + _given(outlook, "matched_power", nothing)

    def _terms(self, outlook: xr.Dataset) -> ObligationTerms:
        hours = _hours(outlook)
        return ObligationTerms(
            target=hours * self.matched_power(outlook),
            price_above=np.full_like(hours, self.residual_intensity),
            price_below=np.zeros_like(hours),
            window_index=np.arange(float(len(hours))),
        )


def _hours(outlook: xr.Dataset) -> FloatArray:
    return outlook["duration"].to_numpy().astype(float)


def _of(array: xr.DataArray, contract: str) -> FloatArray:
    return array.sel(contract=contract).to_numpy().astype(float)


def _given(outlook: xr.Dataset, name: str, otherwise: FloatArray) -> FloatArray:
    """Return a word of the outlook, or what stands in for it."""
    return outlook[name].to_numpy().astype(float) if name in outlook else otherwise


MAX_BUDGET_DAYS: Final = 8
"""Days of UTC that there is room for: those a plan of a week touches, at midnight one fewer. [1]"""


class AnnualBudget(Contract):
    """An amount a year of UTC, spread evenly; a window of a plan may use its share of it."""

    window: Annotated[
        Literal["horizon", "day"],
        ParameterDescription("each plan may use its share of its horizon, or of each day of UTC"),
    ] = "horizon"

    def _promise(self, quantity: Sum, *, amount: float, price: float) -> tuple[Relation, ...]:
        is_whole = self.window == "horizon"

        def terms(outlook: xr.Dataset) -> ObligationTerms:
            hours, time = outlook["duration"].to_numpy(), outlook["time"].to_numpy()
            days = (time.astype("datetime64[D]") - time[0].astype("datetime64[D]")).astype(float)
            window = 0.0 * days if is_whole else days
            count = 1 if is_whole else max(MAX_BUDGET_DAYS, int(days[-1]) + 1)
            shares = np.bincount(
                window.astype(int), weights=hours / _hours_of_year(time), minlength=count
            )
            return ObligationTerms(
                target=np.where(shares > 0.0, amount * shares, np.inf),
                price_above=np.full(count, price),
                price_below=np.zeros(count),
                window_index=window,
            )

        return (
            Obligation(
                owner=self.name,
                quantity=quantity,
                account="budgets",
                required_variables=(),
                terms=terms,
                min_windows=1 if is_whole else MAX_BUDGET_DAYS,
            ),
        )


def _hours_of_year(time: np.ndarray) -> FloatArray:
    """Return how long the year is in which each moment lies. [h]"""
    year = time.astype("datetime64[Y]")
    begin, end = (edge.astype("datetime64[h]") for edge in (year, year + np.timedelta64(1, "Y")))
    return np.asarray((end - begin).astype(np.float64))


class CarbonBudget(AnnualBudget):
    """Carbon of imported energy that may be emitted in a year, by the mean mix, matched or not."""

    kind: ClassVar[str] = "carbon_budget"

    amount: Annotated[float, Quantity("kg", "carbon of a year", at_least=0)]
    price: Annotated[float, Quantity("EUR kg-1", "what a kg beyond the budget weighs", above=0)]

    def relations(self) -> tuple[Relation, ...]:
        """Return the promise of each window."""
        return self._promise("carbon", amount=self.amount, price=self.price)


class WaterBudget(AnnualBudget):
    """Water that may be drawn in a year."""

    kind: ClassVar[str] = "water_budget"

    amount: Annotated[float, Quantity("m3", "water of a year", at_least=0)]
    price: Annotated[float, Quantity("EUR m-3", "what a m3 beyond the budget weighs", above=0)]

    def relations(self) -> tuple[Relation, ...]:
        """Return the promise of each window."""
        return self._promise("water", amount=self.amount, price=self.price)
