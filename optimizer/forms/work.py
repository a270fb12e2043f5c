"""Work that may move: racks by cohort, cap and interval; work done by the instants.

Racks run at a few caps, each an exact point of the throughput curve, so that power and work always
belong together and no price can make the model burn power without working.
"""

from collections.abc import Sequence

import numpy as np
import pyomo.environ as pyo

from optimizer.forms.table import table
from optimizer.inputs import CAPS, Inputs, caps
from optimizer.ledger import Ledger
from twin.relations import Work
from twin.workloads.queue import Pool


def build(block: pyo.Block, works: Sequence[Work], *, ledger: Ledger, inputs: Inputs) -> None:
    """Write the work of all halls, which share it, into one block.

    Parameters
    ----------
    block
        Empty block.
    works
        The halls.
    ledger
        Where power, heat, lateness and undone work are posted.
    inputs
        Hold the envelope of the work and the racks that the service needs.
    """
    model, problem, pool = block.model(), inputs.problem, Pool.of(inputs.problem.site)
    kinds = [problem.site.work[str(name)] for name in problem.outlook["kind"].to_numpy()]
    block.cohorts = pyo.RangeSet(0, len(kinds) - 1)
    block.caps = pyo.RangeSet(0, CAPS - 1)
    power = np.array([pool.power(caps(kind)) for kind in kinds])
    work = pool.rack_power * np.array([kind.throughput.work(caps(kind)) for kind in kinds])
    block.power = table(power, block.cohorts, block.caps)
    block.work = table(work, block.cohorts, block.caps)
    _plan(block, inputs)
    _use(block, works, ledger=ledger, inputs=inputs)
    block.hours = table(inputs.hours, model.time)
    ledger.pay(
        "lateness",
        lambda t: block.hours[t] * sum(block.late[t + 1, c] for c in block.cohorts),
    )
    value = _worth(works, inputs) * (power / work).min(axis=1)
    block.value = table(value, block.cohorts)
    end = model.instant.last()
    ledger.pay_once(
        "terminal",
        lambda: sum(
            block.value[c] * (block.most[end, c] - block.done[end, c]) for c in block.cohorts
        ),
    )


def _plan(block: pyo.Block, inputs: Inputs) -> None:
    """Write racks, work done and work late, and the rows that bind them."""
    model, problem = block.model(), inputs.problem
    racks_limit = problem.series("work_racks_limit")
    block.racks_limit = table(racks_limit, model.time, block.cohorts)
    block.racks_left = table(problem.site.racks - problem.service, model.time)
    block.least = table(problem.series("work_least"), model.instant, block.cohorts)
    block.most = table(problem.series("work_most"), model.instant, block.cohorts)
    block.racks = pyo.Var(
        model.time,
        block.cohorts,
        block.caps,
        bounds=lambda b, t, c, _: (0.0, b.racks_limit[t, c]),
        doc="1",
    )
    block.done = pyo.Var(
        model.instant, block.cohorts, bounds=lambda b, i, c: (0.0, b.most[i, c]), doc="MWh"
    )
    block.late = pyo.Var(
        model.instant, block.cohorts, bounds=lambda b, i, c: (0.0, b.least[i, c]), doc="MWh"
    )
    hours = inputs.hours
    block.step = table(hours, model.time)
    block.progress = pyo.Constraint(
        model.time,
        block.cohorts,
        rule=lambda b, t, c: (
            b.done[t + 1, c]
            == b.done[t, c] + b.step[t] * sum(b.work[c, u] * b.racks[t, c, u] for u in b.caps)
        ),
    )
    block.within_jobs = pyo.Constraint(
        model.time,
        block.cohorts,
        rule=lambda b, t, c: sum(b.racks[t, c, u] for u in b.caps) <= b.racks_limit[t, c],
    )
    block.within_site = pyo.Constraint(
        model.time,
        rule=lambda b, t: (
            sum(b.racks[t, c, u] for c in b.cohorts for u in b.caps) <= b.racks_left[t]
        ),
    )
    block.due = pyo.Constraint(
        model.instant,
        block.cohorts,
        rule=lambda b, i, c: b.done[i, c] + b.late[i, c] >= b.least[i, c],
    )


def _use(block: pyo.Block, works: Sequence[Work], *, ledger: Ledger, inputs: Inputs) -> None:
    """Post the power of all racks, and the cooling that carries it away."""
    problem, pool = inputs.problem, Pool.of(inputs.problem.site)
    always = pool.racks * pool.rack_idle_power + problem.service * pool.power(1.0)
    block.always = table(always, block.model().time)
    for carrier, share in _shares(works).items():
        _post(block, ledger, carrier=carrier, share=share)


def _post(block: pyo.Block, ledger: Ledger, *, carrier: str, share: float) -> None:
    ledger.use(
        carrier,
        lambda t: (
            share * block.always[t]
            + sum(
                share * block.power[c, u] * block.racks[t, c, u]
                for c in block.cohorts
                for u in block.caps
            )
        ),
    )


def _shares(works: Sequence[Work]) -> dict[str, float]:
    """Return what a MW of the halls' racks draws of each carrier, halls weighted by racks. [1]"""
    racks = sum(work.racks for work in works)
    shares: dict[str, float] = {}
    for work in works:
        for carrier, share in {work.carrier: 1.0, **work.heat}.items():
            shares[carrier] = shares.get(carrier, 0.0) + share * work.racks / racks
    return shares


def _worth(works: Sequence[Work], inputs: Inputs) -> float:
    """Return the cost of a MWh of the racks after the horizon, cooling included. [EUR MWh-1]"""
    return sum(inputs.worth.get(c, 0.0) * share for c, share in _shares(works).items())
