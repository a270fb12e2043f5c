r"""Demand charge: the price of the greatest import of billing periods, above a contract or a band.

======================  ======  ====  ==============================================================
Name                    Unit    Axes  Meaning
======================  ======  ====  ==============================================================
**Variables**
peak_excess             MW      p     greatest import of a period above its free import; >= 0
excess                  MW      t     import above the limit; 0 <= excess <= excess_high
square                  MW      t     e^2 / r, see below; >= 0
root                    MW      p     r of a period; >= 0
square_before           MW      p     e^2 / r of the time before the horizon; >= 0
**Parameters**
in_period, root_member  1       t, p  1 if the interval counts in the period (as peak, as root)
free_import             MW      t     import that raises no peak
price                   EUR/MW  p     price of the period
slope, tangent_offset   1       k     2 a and a^2 of a tangent
half_price              EUR/MW  p     half of the price of a root
square_cost             EUR/MW  t     half of the price, times the quarter-hours of the interval
before                  MW      p     excess before the horizon
paid                    EUR           cost before the horizon
**Constraints**
below_<name>            MW      t     import_power - sum_p in_period * peak_excess - excess <=
                                      free_import
tangent_cut             MW      t, k  slope * excess - sum_p tangent_offset * root_member * root <=
                                      square
past_tangent_cut        MW      p, k  slope * before - tangent_offset * root <= square_before
**Cost**
<account>               EUR           sum_p price * peak_excess + sum_t square_cost * square + sum_p
                                      half_price * (root + square_before) - paid
======================  ======  ====  ==============================================================

Axes: t interval, p billing period, k tangent. There are always at least two periods, so that the
signature does not change when the horizon crosses the end of one. A period outside the horizon has
no price.

Some charges replace the greatest import by the root of the sum of squares. With the excess
:math:`e` in :math:`n` quarter-hours and any :math:`r > 0`,

.. math:: \sqrt{\textstyle\sum n e^2} \le \frac{r}{2} + \frac{1}{2} \sum n \frac{e^2}{r},
   \qquad \frac{e^2}{r} \ge 2 a e - a^2 r

for every :math:`a`; the minimum over :math:`r` is the root. Tangents at a few :math:`a` give a
lower bound: at least 0.94 of the root while all :math:`e / r` lie between the smallest and the
largest :math:`a`. If all quarter-hours of a week exceed by 1/50 of the greatest, it is 0.88.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_params, add_rows, add_var
from optimizer.model.model_data import ModelData
from optimizer.model.rows import BlockNumbers, RowSpec
from twin.errors import SolverError
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import NO_PEAK_INDEX, DemandCharge, DemandChargeTerms

CHARGE_LABELS: Final[Mapping[str, str]] = {
    "peak": "running peak of the billing period",
    "excess": "contracted power",
    "band": "peak that band load allows",
}
"""Name of a charge -> label of its limit."""

NEXT_PERIOD_LABEL: Final = "peak of the billing period after it"
"""Label of the peak of the next billing period."""


@dataclass(frozen=True, kw_only=True)
class DemandChargeSignature:
    """Everything about a demand charge that decides its rows and columns.

    ``name`` is ``peak``, ``excess`` or ``band``; ``billing_period_count`` is the number of billing
    periods, some of which may use the root of the sum of squares.
    """

    owner: str
    name: str
    account: str
    billing_period_count: int
    has_root_sum_square: bool


def signature(peak: DemandCharge, data: ModelData) -> DemandChargeSignature:
    """Return the signature of a demand charge."""
    count = len(_terms(peak, data).excess_price)
    return DemandChargeSignature(
        owner=peak.owner,
        name=peak.name,
        account=peak.account,
        billing_period_count=count,
        has_root_sum_square=peak.may_be_root_sum_square,
    )


def parameters(peak: DemandCharge, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of a demand charge: free import of each interval, and prices.

    The plant does not follow a plan exactly, so a margin is kept. A new period has no peak yet, but
    will reach at least its mean import, estimated by that of the last week; this part cannot be
    saved. Where the plan contains the end of the period, no estimate is needed. An interval outside
    all periods may use the whole connection.
    """
    terms, problem = _terms(peak, data), data.problem
    running_peak, usual = (float(problem.state[f"{name}_power"]) for name in ("peak", "usual"))
    counted, free = ~terms.is_root_sum_square, terms.uncharged_power.copy()
    if terms.mean_import_index != NO_PEAK_INDEX:
        free[terms.mean_import_index] = max(free[terms.mean_import_index], usual)
    if terms.running_peak_index != NO_PEAK_INDEX and counted[terms.running_peak_index]:
        free[terms.running_peak_index] = max(free[terms.running_peak_index], running_peak)
    limits = np.append(
        (1.0 - problem.margins.peak) * free, problem.site.grid_connection.import_limit
    )
    found = {
        "in_period": (terms.peak_index[:, None] == np.arange(len(free))) * counted * 1.0,
        "free_import": limits[terms.peak_index],
        "price": terms.excess_price * counted,
    }
    if peak.may_be_root_sum_square:
        found |= root_sum_square_parameters(terms, data.interval_hours, running_peak=running_peak)
    return found


def build(block: pyo.Block, signature: DemandChargeSignature, assembler: ModelAssembler) -> None:
    """Write a demand charge into its empty block, beside that of its exchange."""
    time = block.model().time
    flow = block.parent_block().component(signature.owner).import_power
    block.peaks = pyo.RangeSet(0, signature.billing_period_count - 1)
    add_params(block, "in_period", time, block.peaks)
    add_params(block, "free_import", time)
    add_params(block, "price", block.peaks)
    add_var(block, "peak_excess", block.peaks)

    if signature.has_root_sum_square:
        build_root_sum_square(block, signature.account, assembler)

    def below(b: pyo.Block, t: Any) -> Any:
        power = flow[t] - sum(b.in_period[t, p] * b.peak_excess[p] for p in b.peaks)
        excess = power - b.excess[t] if signature.has_root_sum_square else power
        return excess <= b.free_import[t]

    spec = RowSpec(
        label=CHARGE_LABELS[signature.name],
        owner=signature.owner,
        margin_name="peak",
        periods=lambda of: _periods(of, signature),
    )
    block.add_component(f"below_{signature.name}", add_rows(time, rule=below, spec=spec))
    assembler.add_fixed_cost(
        signature.account, lambda: sum(block.price[p] * block.peak_excess[p] for p in block.peaks)
    )


def _periods(of: BlockNumbers, signature: DemandChargeSignature) -> Iterator[tuple[str, BoolArray]]:
    """Yield the label of each billing period and its intervals, ``(time,)``."""
    counts = of("in_period") + (of("root_member") if signature.has_root_sum_square else 0.0)
    for period in np.flatnonzero(counts.any(axis=0)).tolist():
        is_later = signature.name == "peak" and period > 0
        label = NEXT_PERIOD_LABEL if is_later else CHARGE_LABELS[signature.name]
        yield label, counts[:, period] > 0.0


def _terms(peak: DemandCharge, data: ModelData) -> DemandChargeTerms:
    """Return the billing periods of the intervals of a horizon."""
    if peak.terms is None:
        raise SolverError(f"{peak.owner}: a demand charge without terms; use Site.demand_charges")
    return peak.terms(data.problem.outlook["instant"].to_numpy())


TANGENT_POINTS: Final = 0.5 ** np.arange(6)
"""Shares of the root at which squares have tangents; each quarter-hour of a constant week has
1/26. [1]
"""

QUARTER_HOURS_PER_HOUR: Final = 4.0


def root_sum_square_parameters(
    terms: DemandChargeTerms, hours: FloatArray, *, running_peak: float
) -> Mapping[str, FloatArray]:
    """Return the parameter values of the roots, from lengths of intervals [h] and running peak
    [MW].
    """
    peaks = np.arange(len(terms.excess_price))
    member = (terms.peak_index[:, None] == peaks) & terms.is_root_sum_square
    price = np.where(terms.is_root_sum_square, terms.excess_price, 0.0)
    before = np.where(
        peaks == terms.running_peak_index,
        np.maximum(running_peak - terms.uncharged_power, 0.0),
        0.0,
    )
    # at least one quarter-hour reached the running peak
    before = np.where(terms.is_root_sum_square, before, 0.0)
    return {
        "excess_high": np.where(member.any(axis=1), np.inf, 0.0),
        "root_member": member.astype(float),
        "slope": 2.0 * TANGENT_POINTS,
        "tangent_offset": TANGENT_POINTS**2,
        "half_price": 0.5 * price,
        "square_cost": 0.5 * QUARTER_HOURS_PER_HOUR * hours * (member @ price),
        "before": before,
        "paid": np.array(float(price @ before)),
    }


def build_root_sum_square(block: pyo.Block, account: str, assembler: ModelAssembler) -> None:
    """Write the roots beside the peaks of a charge; the cost before the horizon is subtracted."""
    time = block.model().time
    block.tangents = pyo.RangeSet(0, len(TANGENT_POINTS) - 1)
    add_params(block, "excess_high square_cost", time)
    add_params(block, "root_member", time, block.peaks)
    add_params(block, "slope tangent_offset", block.tangents)
    add_params(block, "half_price before", block.peaks)
    add_params(block, "paid")
    add_var(block, "excess", time, high=block.excess_high)
    add_var(block, "square", time)
    add_var(block, "root", block.peaks)
    add_var(block, "square_before", block.peaks)
    block.tangent_cut = pyo.Constraint(
        time,
        block.tangents,
        rule=lambda b, t, k: (
            b.slope[k] * b.excess[t]
            - sum(b.tangent_offset[k] * b.root_member[t, p] * b.root[p] for p in b.peaks)
            - b.square[t]
            <= 0.0
        ),
    )
    block.past_tangent_cut = pyo.Constraint(
        block.peaks,
        block.tangents,
        rule=lambda b, p, k: (
            -1.0 * b.tangent_offset[k] * b.root[p] - b.square_before[p]
            <= -1.0 * b.slope[k] * b.before[p]
        ),
    )
    assembler.add_cost(account, lambda t: block.square_cost[t] * block.square[t])
    assembler.add_fixed_cost(
        account,
        lambda: sum(
            block.half_price[p] * (block.root[p] + block.square_before[p]) for p in block.peaks
        ),
    )
    assembler.add_fixed_cost(account, lambda: -1.0 * block.paid)
