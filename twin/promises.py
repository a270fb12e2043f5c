"""Promises about sums of flows: what is promised, over which windows, what a deviation costs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import xarray as xr

from twin.physics import FloatArray

type Quantity = Literal["net_import", "import", "carbon", "water"]
"""What is summed: energy across the connection [MWh], net or of import alone, carbon of what is
imported [kg], water drawn [m3]."""

UNITS: Final = {"net_import": "MWh", "import": "MWh", "carbon": "kg", "water": "m3"}
"""Unit of each sum."""

HARD: Final = {"net_import": 3e4, "import": 3e4, "carbon": 100.0, "water": 3e4}
"""Price that stands for an infinite one: all that can give way gives way before, and yet no plan
fails for it. [EUR per unit]"""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """A promise in the numbers of one outlook, ``(window,)``; a window may be a single interval.

    Attributes
    ----------
    target
        Sum promised; infinite where nothing is. [MWh; kg; m3]
    up_price, down_price
        Cost of a unit above and below, in the unit of the account; below zero where it is paid for.
    window
        Window of each interval, ``(time,)``. [1]
    """

    target: FloatArray
    up_price: FloatArray
    down_price: FloatArray
    window: FloatArray

    @property
    def is_held(self) -> np.ndarray:
        """Where something is promised, ``(window,)``."""
        return np.isfinite(self.target)


@dataclass(frozen=True, kw_only=True)
class Trades:
    """Energy that may still be bought or sold so that a promise fits, ``(time,)``.

    Attributes
    ----------
    limit
        Most of either. [MW]
    buy_price, sell_price
        Cost of a MWh bought, and of one sold: below zero where it is paid for. [EUR MWh-1]
    """

    limit: FloatArray
    buy_price: FloatArray
    sell_price: FloatArray


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """Promise a sum of a flow over each of some windows, and pay for the deviation.

    Attributes
    ----------
    owner
        Id of the contract.
    quantity
        What is summed.
    account
        Account of the optimiser that pays.
    needs
        Words of the outlook without which there is no promise.
    terms
        Outlook -> the promise in numbers.
    windows
        Least number of windows; 0 where each interval is one.
    trades
        Outlook -> what may still be traded; None if nothing.
    """

    owner: str
    quantity: Quantity
    account: str
    needs: tuple[str, ...]
    terms: Callable[[xr.Dataset], Terms]
    windows: int = 0
    trades: Callable[[xr.Dataset], Trades] | None = None
