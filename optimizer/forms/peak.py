"""A charge on the greatest import: of each billing period, beyond a contract, beyond band load.

There are always two periods at the least, so that a horizon which comes to cross the end of one
keeps the rows and columns it had; one that the horizon does not reach costs nothing and binds
nothing. Some charges take the root of the sum of the squares in place of the greatest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimizer.forms import squares
from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from twin.errors import SolverError
from twin.physics import FloatArray
from twin.relations import NO_PEAK, DemandCharge, DemandChargeTerms


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a charge decides which rows and columns there are.

    Attributes
    ----------
    owner
        Whose import it is about.
    name
        What is charged: ``peak``, ``excess`` or ``band``.
    account
        Account that pays.
    peaks
        Number of peaks.
    squares
        Whether some may be roots of sums of squares.
    """

    owner: str
    name: str
    account: str
    peaks: int
    squares: bool


def shape(peak: DemandCharge, inputs: Inputs) -> Shape:
    """Return the shape of a charge."""
    count = len(_terms(peak, inputs).price)
    return Shape(
        owner=peak.owner,
        name=peak.name,
        account=peak.account,
        peaks=count,
        squares=peak.adds_squares,
    )


def numbers(peak: DemandCharge, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of a charge: what raises nothing in each interval, and prices.

    The plant will not follow a plan to the megawatt, so a margin is kept. A period that has just
    begun has no peak yet, but it will have one: its mean import at the least. As far as the mean of
    about the last week tells, that much is not the plan's to save; where the plan sees the end of
    the period it need not guess. What counts in no peak may be all that the connection gives.
    """
    terms, problem = _terms(peak, inputs), inputs.problem
    so_far, usual = (float(problem.state[f"{name}_power"]) for name in ("peak", "usual"))
    counted, free = ~terms.squares, terms.free.copy()
    if terms.usual != NO_PEAK:
        free[terms.usual] = max(free[terms.usual], usual)
    if terms.running != NO_PEAK and counted[terms.running]:
        free[terms.running] = max(free[terms.running], so_far)
    kept = np.append((1.0 - problem.margins.peak) * free, problem.site.grid.import_limit)
    found = {
        "member": (terms.slot[:, None] == np.arange(len(free))) * counted * 1.0,
        "peak": kept[terms.slot],
        "price": terms.price * counted,
    }
    if peak.adds_squares:
        found |= squares.numbers(terms, inputs.hours, so_far=so_far)
    return found


def build(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
    """Price what the greatest import of each peak will exceed its free part by.

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
    block.peaks = pyo.RangeSet(0, shape.peaks - 1)
    block.member, block.peak = table(time, block.peaks), table(time)
    block.price = table(block.peaks)
    columns(block, "peak_excess", block.peaks)

    def beyond(b: pyo.Block, t: Any) -> Any:
        return flow[t] - sum(b.member[t, p] * b.peak_excess[p] for p in b.peaks)

    if shape.squares:
        squares.build(block, shape.account, ledger)
        below = pyo.Constraint(time, rule=lambda b, t: beyond(b, t) - b.over[t] <= b.peak[t])
    else:
        below = pyo.Constraint(time, rule=lambda b, t: beyond(b, t) <= b.peak[t])
    block.add_component(f"below_{shape.name}", below)
    ledger.pay_once(
        shape.account, lambda: sum(block.price[p] * block.peak_excess[p] for p in block.peaks)
    )


def _terms(peak: DemandCharge, inputs: Inputs) -> DemandChargeTerms:
    """Return the peaks in which the intervals of a horizon count."""
    if peak.terms is None:
        message = f"{peak.owner}: ask the site for the charges on its peaks"
        raise SolverError(message)
    return peak.terms(inputs.problem.outlook["instant"].to_numpy())
