r"""A charge on the greatest import: of each billing period, beyond a contract, beyond band load.

There are always two periods at the least, so that a horizon which comes to cross the end of one
keeps the rows and columns it had; one that the horizon does not reach costs nothing and binds
nothing. Some charges take the root of the sum of the squares in place of the greatest.

The root of the sum of squares of what exceeds a limit, from below, by tangents.

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
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_var
from optimizer.model.model_data import ModelData
from twin.errors import SolverError
from twin.physics import FloatArray
from twin.relations import NO_PEAK, DemandCharge, DemandChargeTerms


@dataclass(frozen=True, kw_only=True)
class DemandChargeSignature:
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
    has_root_sum_square
        Whether some may be roots of sums of squares.
    """

    owner: str
    name: str
    account: str
    peaks: int
    has_root_sum_square: bool


def signature(peak: DemandCharge, data: ModelData) -> DemandChargeSignature:
    """Return the shape of a charge."""
    count = len(_terms(peak, data).price)
    return DemandChargeSignature(
        owner=peak.owner,
        name=peak.name,
        account=peak.account,
        peaks=count,
        has_root_sum_square=peak.may_be_root_sum_square,
    )


def parameters(peak: DemandCharge, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of a charge: what raises nothing in each interval, and prices.

    The plant will not follow a plan to the megawatt, so a margin is kept. A period that has just
    begun has no peak yet, but it will have one: its mean import at the least. As far as the mean of
    about the last week tells, that much is not the plan's to save; where the plan sees the end of
    the period it need not guess. What counts in no peak may be all that the connection gives.
    """
    terms, problem = _terms(peak, data), data.problem
    so_far, usual = (float(problem.state[f"{name}_power"]) for name in ("peak", "usual"))
    counted, free = ~terms.is_root_sum_square, terms.free_power.copy()
    if terms.mean_import_index != NO_PEAK:
        free[terms.mean_import_index] = max(free[terms.mean_import_index], usual)
    if terms.running_peak_index != NO_PEAK and counted[terms.running_peak_index]:
        free[terms.running_peak_index] = max(free[terms.running_peak_index], so_far)
    kept = np.append((1.0 - problem.margins.peak) * free, problem.site.grid.import_limit)
    found = {
        "member": (terms.peak_index[:, None] == np.arange(len(free))) * counted * 1.0,
        "peak": kept[terms.peak_index],
        "price": terms.price * counted,
    }
    if peak.may_be_root_sum_square:
        found |= root_sum_square_parameters(terms, data.hours, so_far=so_far)
    return found


def build(block: pyo.Block, shape: DemandChargeSignature, assembler: ModelAssembler) -> None:
    """Price what the greatest import of each peak will exceed its free part by.

    Parameters
    ----------
    block
        Empty block of the charge; the exchange it is about stands beside it.
    shape
        Its shape.
    assembler
        Where the price is paid.
    """
    time = block.model().time
    flow = block.parent_block().component(shape.owner).import_power
    block.peaks = pyo.RangeSet(0, shape.peaks - 1)
    block.member, block.peak = add_param(time, block.peaks), add_param(time)
    block.price = add_param(block.peaks)
    add_var(block, "peak_excess", block.peaks)

    def beyond(b: pyo.Block, t: Any) -> Any:
        return flow[t] - sum(b.member[t, p] * b.peak_excess[p] for p in b.peaks)

    if shape.has_root_sum_square:
        build_root_sum_square(block, shape.account, assembler)
        below = pyo.Constraint(time, rule=lambda b, t: beyond(b, t) - b.over[t] <= b.peak[t])
    else:
        below = pyo.Constraint(time, rule=lambda b, t: beyond(b, t) <= b.peak[t])
    block.add_component(f"below_{shape.name}", below)
    assembler.add_fixed_cost(
        shape.account, lambda: sum(block.price[p] * block.peak_excess[p] for p in block.peaks)
    )


def _terms(peak: DemandCharge, data: ModelData) -> DemandChargeTerms:
    """Return the peaks in which the intervals of a horizon count."""
    if peak.terms is None:
        message = f"{peak.owner}: ask the site for the charges on its peaks"
        raise SolverError(message)
    return peak.terms(data.problem.outlook["instant"].to_numpy())


TANGENT_POINTS: Final = 0.5 ** np.arange(6)
"""Shares of the root at which squares have tangents; all of a week's quarter-hours are 1/26. [1]"""

QUARTER_HOURS_PER_HOUR: Final = 4.0
"""Quarter-hours of an hour. [1]"""


def root_sum_square_parameters(
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
    member = (terms.peak_index[:, None] == peaks) & terms.is_root_sum_square
    price = np.where(terms.is_root_sum_square, terms.price, 0.0)
    before = np.where(
        peaks == terms.running_peak_index, np.maximum(so_far - terms.free_power, 0.0), 0.0
    )
    before = np.where(
        terms.is_root_sum_square, before, 0.0
    )  # one quarter-hour at the least reached it
    return {
        "over_high": np.where(member.any(axis=1), np.inf, 0.0),
        "root_member": member.astype(float),
        "slope": 2.0 * TANGENT_POINTS,
        "steep": TANGENT_POINTS**2,
        "half": 0.5 * price,
        "half_of": 0.5 * QUARTER_HOURS_PER_HOUR * hours * (member @ price),
        "before": before,
        "paid": np.array(float(price @ before)),
    }


def build_root_sum_square(block: pyo.Block, account: str, assembler: ModelAssembler) -> None:
    """Write the roots beside the peaks of a charge, and pay for them.

    Parameters
    ----------
    block
        Block of the charge, with the set ``peaks``; gets the column ``over``, what exceeds. [MW]
    account
        Account that pays.
    assembler
        Where the price is paid, less what was paid for before the plan.
    """
    time = block.model().time
    block.tangents = pyo.RangeSet(0, len(TANGENT_POINTS) - 1)
    block.over_high, block.half_of = add_param(time), add_param(time)
    block.root_member = add_param(time, block.peaks)
    block.slope, block.steep = add_param(block.tangents), add_param(block.tangents)
    block.half, block.before, block.paid = (
        add_param(block.peaks),
        add_param(block.peaks),
        add_param(),
    )
    add_var(block, "over", time, high=block.over_high)
    add_var(block, "square", time)
    add_var(block, "root", block.peaks)
    add_var(block, "square_before", block.peaks)
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
    assembler.add_cost(account, lambda t: block.half_of[t] * block.square[t])
    assembler.add_fixed_cost(
        account,
        lambda: sum(block.half[p] * (block.root[p] + block.square_before[p]) for p in block.peaks),
    )
    assembler.add_fixed_cost(account, lambda: -1.0 * block.paid)
