"""Work that may move: racks by cohort, cap and interval; work done by the instants.

Racks run at a few caps, each an exact point of the throughput curve, so that power and work always
belong together and no price can make the model burn power without working. What is *met* is the
work done, and the work late, which is owed: it lies between what must and what can be done by then,
as a bound of a column; what has been done is met less late.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyomo.environ as pyo

from optimizer.forms.held import Held
from optimizer.forms.pausing import held_by_work, hold_by_work, work_numbers
from optimizer.forms.restarts import Tied, build_restarts, restart_numbers, tied
from optimizer.forms.table import columns, table
from optimizer.inputs import CAPS, Inputs, caps
from optimizer.ledger import Ledger
from optimizer.question.moves import moved
from twin.physics import FloatArray
from twin.relations import FlexibleLoad
from twin.workload.queue import RackPool

MET: Final = "work.met"
"""Name of the work met in a model of one site."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of the work decides which rows and columns there are.

    Attributes
    ----------
    cohorts
        Number of cohorts.
    carriers
        What racks draw: electricity, and the cooling that carries it away.
    held
        Reserves that work may hold.
    moved
        Cohorts that may leave the site; their progress is written by :mod:`optimizer.forms.moves`.
    tied
        Cohorts of the kinds that lose by a pause.
    """

    cohorts: int
    carriers: tuple[str, ...]
    held: Held
    moved: tuple[int, ...] = ()
    tied: Tied = ()


def shape(works: Sequence[FlexibleLoad], inputs: Inputs) -> Shape:
    """Return the shape of the work of all halls, which share it."""
    return Shape(
        cohorts=inputs.problem.outlook.sizes["cohort"],
        carriers=tuple(shares(works)),
        held=held_by_work(inputs),
        moved=moved(inputs.problem.moves, inputs.problem.outlook),
        tied=tied(inputs),
    )


def numbers(works: Sequence[FlexibleLoad], inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of the work: its envelope, caps, and what racks draw at each."""
    problem, pool = inputs.problem, RackPool.of(inputs.problem.site)
    kinds = [problem.site.work[str(name)] for name in problem.outlook["kind"].to_numpy()]
    power = np.array([pool.power(caps(kind)) for kind in kinds]).reshape(-1, CAPS)
    done = np.array([kind.throughput.work(caps(kind)) for kind in kinds]).reshape(-1, CAPS)
    work = pool.rack_power * done
    limit = problem.series("work_racks_limit")
    is_other = np.diff(power, axis=1, append=np.inf) > 0.0  # a kind that tolerates nothing has one
    always = pool.draw(problem.service)
    value = _worth(works, inputs) * (power / work).min(axis=1)
    found = {
        "work": work,
        "power": power,
        "hours": inputs.hours,
        "value": value,
        "racks_limit": limit,
        "racks_high": limit[:, :, None] * is_other,
        "racks_left": problem.site.racks - problem.service,
        "used_most": problem.most_work,
        "least": problem.series("work_least"),
        "most": problem.series("work_most"),
    }
    for carrier, share in shares(works).items():
        found[f"{carrier}_share"], found[f"{carrier}_always"] = np.array(share), share * always
    return found | dict(work_numbers(inputs)) | dict(restart_numbers(inputs, value))


def build(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
    """Write the work into one block.

    Parameters
    ----------
    block
        Empty block.
    shape
        Its shape.
    ledger
        Where power, heat, lateness and undone work are posted.
    """
    model = block.model()
    block.cohorts = pyo.RangeSet(0, shape.cohorts - 1)
    block.caps = pyo.RangeSet(0, CAPS - 1)
    _declare(block)
    _bind(block, shape)
    for carrier in shape.carriers:
        _post(block, carrier, ledger)
    ledger.pay(
        "lateness",
        lambda t: block.hours[t] * sum(block.late[t + 1, c] for c in block.cohorts),
    )
    end = model.instant.last()
    ledger.pay_once(
        "terminal",
        lambda: sum(
            block.value[c] * (block.most[end, c] - block.met[end, c] + block.late[end, c])
            for c in block.cohorts
        ),
    )
    hold_by_work(block, shape.held, ledger)
    build_restarts(block, shape.tied, ledger)


def _declare(block: pyo.Block) -> None:
    """Declare racks, what they draw, work met and work late."""
    time, instant = block.model().time, block.model().instant
    block.work, block.value = table(block.cohorts, block.caps), table(block.cohorts)
    block.power = table(block.cohorts, block.caps)
    block.hours, block.racks_left, block.used_most = table(time), table(time), table(time)
    block.racks_limit = table(time, block.cohorts)
    block.racks_high = table(time, block.cohorts, block.caps)
    block.least, block.most = table(instant, block.cohorts), table(instant, block.cohorts)
    columns(block, "racks", time, block.cohorts, block.caps, high=block.racks_high)
    columns(block, "used_power", time, high=block.used_most)
    columns(block, "met", instant, block.cohorts, low=block.least, high=block.most)
    columns(block, "late", instant, block.cohorts, high=block.least)


def _bind(block: pyo.Block, shape: Shape) -> None:
    """Write the rows that bind them."""
    model, at_home = block.model(), block.cohorts
    if shape.moved:
        others = [c for c in range(shape.cohorts) if c not in shape.moved]
        block.at_home = at_home = pyo.Set(initialize=others)
    if len(at_home):
        block.progress = pyo.Constraint(
            model.time,
            at_home,
            rule=lambda b, t, c: (
                b.met[t + 1, c] - b.late[t + 1, c] - b.met[t, c] + b.late[t, c]
                == b.hours[t] * sum(b.work[c, u] * b.racks[t, c, u] for u in b.caps)
            ),
        )
    block.uses = pyo.Constraint(
        model.time,
        rule=lambda b, t: (
            b.used_power[t]
            == sum(b.power[c, u] * b.racks[t, c, u] for c in b.cohorts for u in b.caps)
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


def _post(block: pyo.Block, carrier: str, ledger: Ledger) -> None:
    """Post what all racks draw of a carrier."""
    always, share = table(block.model().time), table()
    block.add_component(f"{carrier}_always", always)
    block.add_component(f"{carrier}_share", share)
    ledger.use(carrier, lambda t: always[t] + share * block.used_power[t])


def shares(works: Sequence[FlexibleLoad]) -> dict[str, float]:
    """Return what a MW of the halls' racks draws of each carrier, halls weighted by racks. [1]

    Parameters
    ----------
    works
        The halls.
    """
    racks = sum(work.racks for work in works)
    found: dict[str, float] = {}
    for work in works:
        for carrier, share in {work.carrier: 1.0, **work.heat}.items():
            found[carrier] = found.get(carrier, 0.0) + share * work.racks / racks
    return found


def _worth(works: Sequence[FlexibleLoad], inputs: Inputs) -> float:
    """Return the cost of a MWh of the racks after the horizon, cooling included. [EUR MWh-1]"""
    return sum(inputs.worth.get(c, 0.0) * share for c, share in shares(works).items())
