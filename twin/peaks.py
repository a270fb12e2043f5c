"""A charge on the greatest value of a flow, and the peaks in which a plan counts it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.physics import FloatArray
from twin.physics.numeric import BoolArray

NO_PEAK: Final = -1
"""Number of a peak that there is not. [1]"""


@dataclass(frozen=True, kw_only=True)
class PeakTerms:
    """Peaks in which the intervals of a plan count.

    Attributes
    ----------
    slot
        Interval -> the peak in which it counts, ``(time,)``; or :data:`NO_PEAK`.
    free
        Peak -> value up to which nothing is charged, ``(slot,)``. [MW]
    price
        Peak -> price beyond, ``(slot,)``. [EUR MW-1]
    squares
        Peak -> whether it is the root of the sum of the squares of all quarter-hours beyond what is
        free, and not the greatest of them, ``(slot,)``.
    running
        The peak that the running peak of the state belongs to, which is paid already; or
        :data:`NO_PEAK`.
    usual
        The peak in which the usual import is free too; or :data:`NO_PEAK`.
    """

    slot: NDArray[np.int64]
    free: FloatArray
    price: FloatArray
    squares: BoolArray
    running: int
    usual: int


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
    adds_squares
        Whether any of its peaks may be a root of a sum of squares.
    terms
        Instants that bound the intervals -> the peaks; the site sets it.
    """

    owner: str
    quantity: str
    price: float
    name: str = "peak"
    account: str = "peak"
    adds_squares: bool = False
    terms: Callable[[NDArray[np.datetime64]], PeakTerms] | None = None
