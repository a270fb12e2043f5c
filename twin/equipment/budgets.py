"""Budgets: how much of a year's carbon or water a plan may use, and what lies beyond weighs."""

from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import xarray as xr

from twin.equipment.contracts import Contract
from twin.physics import FloatArray
from twin.promises import Commitment, Terms
from twin.promises import Quantity as Sum
from twin.relations import Relation
from twin.units import Meaning, Quantity

DAYS: Final = 8
"""Days of UTC that there is room for: those a plan of a week touches, at midnight one fewer. [1]"""


class Budget(Contract):
    """An amount a year of UTC, spread evenly; a window of a plan may use its share of it."""

    window: Annotated[
        Literal["horizon", "day"],
        Meaning("each plan may use its share of its horizon, or of each day of UTC"),
    ] = "horizon"

    def _promise(self, quantity: Sum, *, amount: float, price: float) -> tuple[Relation, ...]:
        is_whole = self.window == "horizon"

        def terms(outlook: xr.Dataset) -> Terms:
            hours, time = outlook["duration"].to_numpy(), outlook["time"].to_numpy()
            days = (time.astype("datetime64[D]") - time[0].astype("datetime64[D]")).astype(float)
            window = 0.0 * days if is_whole else days
            count = 1 if is_whole else max(DAYS, int(days[-1]) + 1)
            shares = np.bincount(
                window.astype(int), weights=hours / _hours_of_year(time), minlength=count
            )
            return Terms(
                target=np.where(shares > 0.0, amount * shares, np.inf),
                up_price=np.full(count, price),
                down_price=np.zeros(count),
                window=window,
            )

        return (
            Commitment(
                owner=self.name,
                quantity=quantity,
                account="budgets",
                needs=(),
                terms=terms,
                windows=1 if is_whole else DAYS,
            ),
        )


class CarbonBudget(Budget):
    """Carbon of imported energy that may be emitted in a year, by the mean mix, matched or not."""

    kind: ClassVar[str] = "carbon_budget"

    amount: Annotated[float, Quantity("kg", "carbon of a year", at_least=0)]
    price: Annotated[float, Quantity("EUR kg-1", "what a kg beyond the budget weighs", above=0)]

    def relations(self) -> tuple[Relation, ...]:
        """Return the promise of each window."""
        return self._promise("carbon", amount=self.amount, price=self.price)


class WaterBudget(Budget):
    """Water that may be drawn in a year."""

    kind: ClassVar[str] = "water_budget"

    amount: Annotated[float, Quantity("m3", "water of a year", at_least=0)]
    price: Annotated[float, Quantity("EUR m-3", "what a m3 beyond the budget weighs", above=0)]

    def relations(self) -> tuple[Relation, ...]:
        """Return the promise of each window."""
        return self._promise("water", amount=self.amount, price=self.price)


def _hours_of_year(time: np.ndarray) -> FloatArray:
    """Return how long the year is in which each moment lies. [h]"""
    year = time.astype("datetime64[Y]")
    begin, end = (edge.astype("datetime64[h]") for edge in (year, year + np.timedelta64(1, "Y")))
    return np.asarray((end - begin).astype(np.float64))
