"""Contracts for a sum of a flow: load targets, a day-ahead position, matched hours and budgets.

Also when the prices of the day-ahead market are published, and the time zone of its day.
"""

from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import pandas as pd
import xarray as xr

from twin.equipment.machine import Equipment
from twin.physics import FloatArray
from twin.relations import IntradayTrades, Obligation, ObligationTerms, Relation
from twin.relations import ObligationQuantity as Sum
from twin.time_axes import local_midnight
from twin.units import MAX_CARBON_INTENSITY_KG_MWH, ParameterDescription, Quantity


class Contract(Equipment):
    """An obligation of the whole site; not a machine."""

    is_machine: ClassVar[bool] = False


class LoadTargetContract(Contract):
    """Limits of net import that a grid partner may set, and the cost of exceeding them.

    The inference service and all limits of machines and connection have priority over every target.
    The effect is ``priced``; ``hard``, with a greater penalty than any other soft limit; or
    ``curtailment``, a limit of a non-firm connection of which ``least`` is the firm part. A target
    below zero requests export.
    """

    kind: ClassVar[str] = "load_target"

    partner: Annotated[
        str,
        ParameterDescription(
            "partner that may set targets, as in topics; default: the contract's name"
        ),
    ] = ""
    up_price: Annotated[float, Quantity("EUR MWh-1", "price of energy above a target", above=0)]
    best_effort_price: (
        Annotated[
            float,
            Quantity("EUR MWh-1", "the same for a best-effort target", above=0),
        ]
        | None
    ) = None
    least: Annotated[
        float, Quantity("MW", "lower targets are raised to it; 0: none", at_least=0)
    ] = 0.0
    effect: Annotated[
        Literal["priced", "hard", "curtailment"],
        ParameterDescription(
            "above a target: pay `up_price`, import nothing more, or hit the connection's limit"
        ),
    ] = "priced"
    activates: Annotated[
        tuple[str, ...],
        ParameterDescription("reserve products that a target activates; not available meanwhile"),
    ] = ()

    max_age: Annotated[
        float,
        Quantity(
            "s", "age from which a target is refused, by its signed iat", at_least=30, at_most=3600
        ),
    ] = 300.0
    accept_unsigned_times: Annotated[
        bool,
        ParameterDescription(
            "accept targets without signed iat, jti and aud, if they have start and end; raises an "
            "alarm"
        ),
    ] = False

    @property
    def issuer(self) -> str:
        """Name of the partner in topics; by default the contract's own."""
        return self.partner or self.name

    def price_above_target(self, is_best_effort: np.ndarray) -> FloatArray:
        """Return the price of energy above a target; infinite for a hard one. [EUR MWh-1]"""
        firm = np.inf if self.effect == "hard" else self.up_price
        best = self.best_effort_price
        return np.where(is_best_effort, firm if best is None else best, firm)

    def relations(self) -> tuple[Relation, ...]:
        """Return the obligation of every interval; a curtailment is a limit instead."""
        variables = ("grid_import_target", "grid_import_target_price")
        if self.effect == "curtailment":
            return ()
        return (
            Obligation(
                owner=self.name,
                quantity="net_import",
                account="targets",
                required_variables=variables,
                terms=self._terms,
            ),
        )

    def _terms(self, outlook: xr.Dataset) -> ObligationTerms:
        power = _contract_values(outlook["grid_import_target"], self.name)
        price = _contract_values(outlook["grid_import_target_price"], self.name)
        hours = _hours(outlook)
        floor = self.least or -np.inf  # a target below zero requests export
        return ObligationTerms(
            contracted_sum=hours * np.maximum(power, floor),
            price_above=price,
            price_below=np.zeros_like(hours),
            window_index=np.arange(float(len(hours))),
        )


class DayAheadPosition(Contract):
    """A position bought day-ahead; deviations are traded intraday or settled as imbalance.

    Without a position in the outlook all energy costs the day-ahead price.
    """

    kind: ClassVar[str] = "day_ahead"

    imbalance_spread: Annotated[
        float,
        Quantity(
            "EUR MWh-1",
            "difference of imbalance and day-ahead price, if the former is unknown",
            at_least=0,
        ),
    ] = 30.0
    intraday_limit: Annotated[
        float, Quantity("MW", "maximum power bought or sold intraday", at_least=0)
    ] = 0.0
    intraday_spread: Annotated[
        float,
        Quantity("EUR MWh-1", "half the bid-ask spread", at_least=0),
    ] = 2.0
    gate_closure: Annotated[
        float, Quantity("h", "time from the last trade to delivery", at_least=0, at_most=24)
    ] = 1.0

    def relations(self) -> tuple[Relation, ...]:
        """Return the obligation of every interval that has a position."""
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
        """Return the position and the excess of imbalance prices over the day-ahead price."""
        hours, spot = _hours(outlook), outlook["electricity_price"].to_numpy()
        short = _variable_or(outlook, "imbalance_short_price", spot + self.imbalance_spread)
        long = _variable_or(outlook, "imbalance_long_price", spot - self.imbalance_spread)
        has_position = outlook["position_held"].to_numpy() > 0.0
        if self.intraday_limit > 0.0:  # trading caps the imbalance prices
            is_tradable, price = (
                self._trades(outlook).max_trade_power > 0.0,
                _variable_or(outlook, "intraday_price", spot),
            )
            long = np.where(is_tradable, np.minimum(long, price), long)
            short = np.where(is_tradable, np.maximum(short, price), short)
        return ObligationTerms(
            contracted_sum=np.where(
                has_position, hours * outlook["day_ahead_position"].to_numpy(), np.inf
            ),
            price_above=short - spot,
            price_below=spot - long,
            window_index=np.arange(float(len(hours))),
        )

    def _trades(self, outlook: xr.Dataset) -> IntradayTrades:
        """Return trades allowed before gate closure, at prices relative to day-ahead."""
        time, spot = outlook["time"].to_numpy(), outlook["electricity_price"].to_numpy()
        ahead = (time - time[0]) / np.timedelta64(1, "h")
        price = _variable_or(outlook, "intraday_price", spot)
        has_position = outlook["position_held"].to_numpy() > 0.0
        is_open = (ahead >= self.gate_closure) & has_position & ("intraday_price" in outlook)
        return IntradayTrades(
            max_trade_power=np.where(is_open, self.intraday_limit, 0.0),
            buy_price=price + self.intraday_spread - spot,
            sell_price=spot - (price - self.intraday_spread),
        )


class HourlyMatching(Contract):
    """Market-based carbon: import not covered by a contracted hour counts with the residual mix.

    It replaces the carbon of the grid's average mix. Matched energy is a constant band plus
    ``matched_power`` of the outlook.
    """

    kind: ClassVar[str] = "hourly_matching"

    band_power: Annotated[float, Quantity("MW", "contracted power in every hour", at_least=0)] = 0.0
    residual_intensity: Annotated[
        float,
        Quantity(
            "kg MWh-1",
            "carbon intensity of the residual mix",
            at_least=0,
            at_most=MAX_CARBON_INTENSITY_KG_MWH,
        ),
    ]

    def relations(self) -> tuple[Relation, ...]:
        """Return the obligation to import the matched energy; energy above it emits."""
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
        """Return the matched power on ``time``. [MW]"""
        nothing = np.zeros(outlook.sizes["time"])
        return self.band_power + _variable_or(outlook, "matched_power", nothing)

    def _terms(self, outlook: xr.Dataset) -> ObligationTerms:
        hours = _hours(outlook)
        return ObligationTerms(
            contracted_sum=hours * self.matched_power(outlook),
            price_above=np.full_like(hours, self.residual_intensity),
            price_below=np.zeros_like(hours),
            window_index=np.arange(float(len(hours))),
        )


def _hours(outlook: xr.Dataset) -> FloatArray:
    return outlook["duration"].to_numpy().astype(float)


def _contract_values(array: xr.DataArray, contract: str) -> FloatArray:
    return array.sel(contract=contract).to_numpy().astype(float)


def _variable_or(outlook: xr.Dataset, name: str, default: FloatArray) -> FloatArray:
    """Return a variable of the outlook, or a default."""
    return outlook[name].to_numpy().astype(float) if name in outlook else default


MAX_BUDGET_DAYS: Final = 8
"""UTC days that a plan of a week can touch. [1]"""


class AnnualBudget(Contract):
    """An amount per UTC year, spread evenly; a window of a plan may use its share."""

    window: Annotated[
        Literal["horizon", "day"],
        ParameterDescription("window that may use its share: the horizon, or each UTC day"),
    ] = "horizon"

    def _obligation(self, quantity: Sum, *, amount: float, price: float) -> tuple[Relation, ...]:
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
                contracted_sum=np.where(shares > 0.0, amount * shares, np.inf),
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
    """Return the length of the year of each moment. [h]"""
    year = time.astype("datetime64[Y]")
    begin, end = (edge.astype("datetime64[h]") for edge in (year, year + np.timedelta64(1, "Y")))
    return np.asarray((end - begin).astype(np.float64))


class CarbonBudget(AnnualBudget):
    """Yearly carbon budget of imported energy at the grid's average mix, matched or not."""

    kind: ClassVar[str] = "carbon_budget"

    amount: Annotated[float, Quantity("kg", "carbon per year", at_least=0)]
    price: Annotated[float, Quantity("EUR kg-1", "penalty of carbon above the budget", above=0)]

    def relations(self) -> tuple[Relation, ...]:
        """Return the obligation of each window."""
        return self._obligation("carbon", amount=self.amount, price=self.price)


class WaterBudget(AnnualBudget):
    """Yearly water budget."""

    kind: ClassVar[str] = "water_budget"

    amount: Annotated[float, Quantity("m3", "water per year", at_least=0)]
    price: Annotated[float, Quantity("EUR m-3", "penalty of water above the budget", above=0)]

    def relations(self) -> tuple[Relation, ...]:
        """Return the obligation of each window."""
        return self._obligation("water", amount=self.amount, price=self.price)


PRICE_PUBLICATION_TIMES: Final = (
    (pd.Timestamp("1970-01-01"), pd.Timedelta(hours=12, minutes=45)),
    (pd.Timestamp("2025-10-01"), pd.Timedelta(hours=12, minutes=55)),
)
"""First day of delivery -> local time at which its day-ahead prices are published, the day before.

The coupled market has quarter-hour products from 1 October 2025 on, and its results come later.
"""

PRICE_PUBLICATION_TOLERANCE: Final = np.timedelta64(2, "h")
"""Delay of published prices that is neither an alarm nor a degraded plan."""

COUPLED_MARKET_ZONE: Final = "Europe/Brussels"
"""Time zone of the coupled European day-ahead market: CET, in summer CEST."""

COUPLED_TIME_ZONES: Final = frozenset(
    [f"Atlantic/{island}" for island in ("Azores", "Canary", "Madeira")]  # priced as their mainland
    + [
        f"Europe/{city}"
        for city in [
            "Amsterdam",
            "Athens",
            "Berlin",
            "Bratislava",
            "Brussels",
            "Bucharest",
            "Budapest",
            "Busingen",
            "Copenhagen",
            "Dublin",
            "Helsinki",
            "Lisbon",
            "Ljubljana",
            "Luxembourg",
            "Madrid",
            "Mariehamn",
            "Oslo",
            "Paris",
            "Prague",
            "Riga",
            "Rome",
            "Sofia",
            "Stockholm",
            "Tallinn",
            "Vienna",
            "Vilnius",
            "Warsaw",
            "Zagreb",
        ]
    ]
)
"""IANA zones with prices of the coupled day-ahead market, under Regulation (EU) 2015/1222."""


def prices_published_until(now: np.datetime64, time_zone: str) -> np.datetime64:
    """Return the end of the day-ahead prices published at a time: local midnight, in UTC.

    It is the midnight after today, from the time of :data:`PRICE_PUBLICATION_TIMES` on the midnight
    after tomorrow, both in ``time_zone``.
    """
    clock = pd.Timestamp(now, tz="UTC").tz_convert(time_zone).tz_localize(None)
    today = clock.normalize()
    tomorrow = today + pd.DateOffset(days=1)
    published = [moment for first, moment in PRICE_PUBLICATION_TIMES if first <= tomorrow][-1]
    is_out = clock - today >= published
    return local_midnight(today + pd.DateOffset(days=2 if is_out else 1), time_zone)


def market_time_zone(time_zone: str) -> str:
    """Return the IANA zone that defines the day of a place's day-ahead market."""
    return COUPLED_MARKET_ZONE if time_zone in COUPLED_TIME_ZONES else time_zone
