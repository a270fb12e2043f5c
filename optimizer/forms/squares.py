r"""The root of the sum of squares of what exceeds a limit, from below, by tangents.

With what exceeds, :math:`e`, in :math:`n` quarter-hours, and any :math:`r > 0`,

.. math:: \sqrt{\textstyle\sum n e^2} \le \frac{r}{2} + \frac{1}{2} \sum n \frac{e^2}{r},
   \qquad \frac{e^2}{r} \ge 2 a e - a^2 r

for every :math:`a`, and the least over :math:`r` is the root itself. With tangents at a few
:math:`a` in place of the squares it is never above the root, and 0.94 of it at the least while all
:math:`e / r` lie between the least and the greatest of them. Smaller ones count less: of a week in
which all quarter-hours exceed by a fiftieth of the greatest, 0.88 is left. All of it is linear, and
which interval counts in which root is a number.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyomo.environ as pyo

from optimizer.forms.table import columns, table
from optimizer.ledger import Ledger
from twin.physics import FloatArray
from twin.relations import DemandChargeTerms

TANGENTS: Final = 0.5 ** np.arange(6)
"""Shares of the root at which squares have tangents; all of a week's quarter-hours are 1/26. [1]"""

QUARTERS: Final = 4.0
"""Quarter-hours of an hour. [1]"""


def numbers(
    terms: DemandChargeTerms, hours: FloatArray, *, so_far: float
) -> Mapping[str, FloatArray]:
    """Return the numbers of the roots.

    Parameters
    ----------
    terms
        The peaks of a charge, some of them roots.
    hours
        Lengths of the intervals. [h]
    so_far
        Running peak of the state. [MW]
    """
    peaks = np.arange(len(terms.price))
    member = (terms.slot[:, None] == peaks) & terms.squares
    price = np.where(terms.squares, terms.price, 0.0)
    before = np.where(peaks == terms.running, np.maximum(so_far - terms.free, 0.0), 0.0)
    before = np.where(terms.squares, before, 0.0)  # one quarter-hour at the least reached it
    return {
        "over_high": np.where(member.any(axis=1), np.inf, 0.0),
        "root_member": member.astype(float),
        "slope": 2.0 * TANGENTS,
        "steep": TANGENTS**2,
        "half": 0.5 * price,
        "half_of": 0.5 * QUARTERS * hours * (member @ price),
        "before": before,
        "paid": np.array(float(price @ before)),
    }


def build(block: pyo.Block, account: str, ledger: Ledger) -> None:
    """Write the roots beside the peaks of a charge, and pay for them.

    Parameters
    ----------
    block
        Block of the charge, with the set ``peaks``; gets the column ``over``, what exceeds. [MW]
    account
        Account that pays.
    ledger
        Where the price is paid, less what was paid for before the plan.
    """
    time = block.model().time
    block.tangents = pyo.RangeSet(0, len(TANGENTS) - 1)
    block.over_high, block.half_of = table(time), table(time)
    block.root_member = table(time, block.peaks)
    block.slope, block.steep = table(block.tangents), table(block.tangents)
    block.half, block.before, block.paid = table(block.peaks), table(block.peaks), table()
    columns(block, "over", time, high=block.over_high)
    columns(block, "square", time)
    columns(block, "root", block.peaks)
    columns(block, "square_before", block.peaks)
    block.touches = pyo.Constraint(
        time,
        block.tangents,
        rule=lambda b, t, k: (
            b.slope[k] * b.over[t]
            - sum(b.steep[k] * b.root_member[t, p] * b.root[p] for p in b.peaks)
            - b.square[t]
            <= 0.0
        ),
    )
    block.touched = pyo.Constraint(
        block.peaks,
        block.tangents,
        rule=lambda b, p, k: (
            -1.0 * b.steep[k] * b.root[p] - b.square_before[p] <= -1.0 * b.slope[k] * b.before[p]
        ),
    )
    ledger.pay(account, lambda t: block.half_of[t] * block.square[t])
    ledger.pay_once(
        account,
        lambda: sum(block.half[p] * (block.root[p] + block.square_before[p]) for p in block.peaks),
    )
    ledger.pay_once(account, lambda: -1.0 * block.paid)
