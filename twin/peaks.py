"""A charge on the greatest value of a flow, and the peaks in which a plan counts it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.physics import FloatArray
from twin.physics.numeric import BoolArray


@dataclass(frozen=True, kw_only=True)
class PeakTerms:
    """Peaks in which the intervals of a plan count.

    Attributes
    ----------
    slot
        Interval -> the peak in which it counts, ``(time,)``; -1 for none.
    free
        Peak -> value up to which nothing is charged, ``(slot,)``. [MW]
    price
        Peak -> price beyond, ``(slot,)``. [EUR MW-1]
    reached
        Peak -> whether any interval lies in its span, ``(slot,)``.
    runs
        Whether the running peak of the state is free in the first, and the usual import in the
        last that the plan reaches.
    """

    slot: NDArray[np.int64]
    free: FloatArray
    price: FloatArray
    reached: BoolArray
    runs: bool


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Pay for the greatest value of a flow in each billing period.

    Attributes
    ----------
    owner
        Id of the contract.
    quantity
        Word of the vocabulary whose greatest value is priced.
    price
        Cost of each MW of the greatest value of a billing period, if no tariff says more.
        [EUR MW-1]
    name
        ``peak``, or what else is charged: ``excess`` beyond a contract, ``band`` for band load.
    account
        Account of the optimiser that pays.
    terms
        (starts of intervals, their lengths [h]) -> the peaks; the site sets it.
    """

    owner: str
    quantity: str
    price: float
    name: str = "peak"
    account: str = "peak"
    terms: Callable[[NDArray[np.datetime64], FloatArray], PeakTerms] | None = None
