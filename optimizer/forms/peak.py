"""A charge on the greatest import of each billing period.

There are always two periods, so that a horizon which comes to cross the end of a month keeps the
rows and columns it had; one that the horizon does not reach costs nothing and binds nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyomo.environ as pyo

from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from twin.physics import FloatArray
from twin.relations import Peak
from twin.tariffs.periods import months

LEAST: Final = 2
"""Billing periods that every model has. [1]"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a peak decides which rows and columns there are.

    Attributes
    ----------
    owner
        Whose import it is about.
    periods
        Number of billing periods.
    """

    owner: str
    periods: int


def shape(peak: Peak, inputs: Inputs) -> Shape:
    """Return the shape of a charge on a peak."""
    return Shape(owner=peak.owner, periods=_member(inputs).shape[1])


def numbers(peak: Peak, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of a charge on a peak: what raises nothing in each interval, and prices.

    The plant will not follow a plan to the megawatt, so a margin is kept. A month that has just
    begun has no peak yet, but it will have one: its mean import at the least. As far as the mean of
    about the last week tells, that much is not the plan's to save; where the plan sees the end of
    the month it need not guess.
    """
    member = _member(inputs)
    state, keep = inputs.problem.state, 1.0 - inputs.problem.margins.peak
    expected = np.zeros(member.shape[1])
    expected[member[-1].argmax()] = float(state["usual_power"])
    expected[0] = max(expected[0], float(state["peak_power"]))
    return {
        "member": member,
        "peak": np.asarray(member @ (keep * expected)),
        "price": np.asarray(peak.price * member.any(axis=0), dtype=float),
    }


def build(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
    """Price what the greatest import of each period will exceed the running peak by.

    Parameters
    ----------
    block
        Empty block of the charge; the exchange it is about stands beside it.
    shape
        Its shape.
    ledger
        Where the price is paid.
    """
    time = block.model().time
    flow = block.parent_block().component(shape.owner).import_power
    block.periods = pyo.RangeSet(0, shape.periods - 1)
    block.member, block.peak = table(time, block.periods), table(time)
    block.price = table(block.periods)
    columns(block, "peak_excess", block.periods)
    block.below_peak = pyo.Constraint(
        time,
        rule=lambda b, t: (
            flow[t] - sum(b.member[t, p] * b.peak_excess[p] for p in b.periods) <= b.peak[t]
        ),
    )
    ledger.pay_once(
        "peak", lambda: sum(block.price[p] * block.peak_excess[p] for p in block.periods)
    )


def _member(inputs: Inputs) -> FloatArray:
    """Return 1 where an interval lies in a billing period and else 0, ``(time, period)``."""
    month = months(inputs.problem.outlook["time"].to_numpy(), inputs.problem.site.time_zone)
    period = month - month[0]
    belongs = period[:, None] == np.arange(max(LEAST, period[-1] + 1))
    return np.asarray(belongs, dtype=float)
