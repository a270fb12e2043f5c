"""What pauses lose: work since the last checkpoint, done once more after the horizon.

Racks that a kind of work runs fewer than in the interval before were paused, less those whose jobs
have ended meanwhile: of racks of a cohort that have :math:`r` hours to run on average, :math:`h/r`
in :math:`h` hours. Which of a kind's jobs give way is for the dispatch. What is lost costs what
work left undone costs, so no price can make a plan pause for its own sake.
"""

from collections.abc import Mapping

import numpy as np
import pyomo.environ as pyo

from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from optimizer.question.sense import PAUSES
from twin.physics import FloatArray
from twin.workload.queue import RackPool

type Tied = tuple[tuple[int, ...], ...]
"""For each kind of work that loses by a pause the numbers of its cohorts."""


def tied(inputs: Inputs) -> Tied:
    """Return the cohorts of the kinds that lose by a pause, where the outlook tells of it."""
    outlook = inputs.problem.outlook
    if PAUSES[0] not in outlook:
        return ()
    names = outlook["kind"].to_numpy()
    kinds = [kind for kind in inputs.problem.site.work.values() if kind.pause_loss > 0.0]
    found = (np.flatnonzero(names == kind.name).tolist() for kind in kinds)
    return tuple(tuple(some) for some in found if some)


def restart_numbers(inputs: Inputs, value: FloatArray) -> Mapping[str, FloatArray]:
    """Return the numbers of pauses; none if nothing is lost by one.

    Parameters
    ----------
    inputs
        The numbers of the model.
    value
        Cost of work left undone, by cohort. [EUR MWh-1]
    """
    problem, groups = inputs.problem, tied(inputs)
    if not groups:
        return {}
    names = problem.outlook["kind"].to_numpy()
    loss = np.array([problem.site.work[str(names[some[0]])].pause_loss for some in groups])
    value = np.array([value[some[0]] for some in groups])
    running = problem.series("work_racks_running")
    ended = inputs.hours[:, None] / np.maximum(problem.series("work_rest"), 1e-9)
    return {
        "running": np.array([running[list(some)].sum() for some in groups]),
        "staying": 1.0 - np.minimum(ended, 1.0),
        "pause_cost": value * RackPool.of(problem.site).rack_power * loss,
    }


def build_restarts(block: pyo.Block, groups: Tied, ledger: Ledger) -> None:
    """Write pauses beside the racks of the work, and pay for what they lose.

    Parameters
    ----------
    block
        Block of the work, its racks declared.
    groups
        Cohorts of the kinds that lose by a pause; if none, nothing is written.
    ledger
        Where the work that is lost is paid.
    """
    if not groups:
        return
    time = block.model().time
    block.tied = pyo.RangeSet(0, len(groups) - 1)
    block.running, block.pause_cost = table(block.tied), table(block.tied)
    block.staying = table(time, block.cohorts)
    block.later = pyo.Set(initialize=[t for t in time if t > time.first()])
    columns(block, "paused_racks", time, block.tied)
    for number, some in enumerate(groups):
        _pause(block, number, some)
    ledger.pay(
        "terminal",
        lambda t: sum(block.pause_cost[k] * block.paused_racks[t, k] for k in block.tied),
    )


def _pause(block: pyo.Block, number: int, some: tuple[int, ...]) -> None:
    """Write the rows of one kind: racks that stop before their jobs have ended are paused."""
    cohorts, first = pyo.Set(initialize=some), block.model().time.first()
    block.add_component(f"cohorts_{number}", cohorts)
    block.add_component(
        f"pauses_first_{number}",
        pyo.Constraint(
            rule=lambda b: (
                -1.0 * sum(b.racks[first, c, u] for c in cohorts for u in b.caps)
                - b.paused_racks[first, number]
                <= -1.0 * b.running[number]
            )
        ),
    )
    if not len(block.later):
        return
    block.add_component(
        f"pauses_{number}",
        pyo.Constraint(
            block.later,
            rule=lambda b, t: (
                sum(b.staying[t - 1, c] * b.racks[t - 1, c, u] for c in cohorts for u in b.caps)
                - sum(b.racks[t, c, u] for c in cohorts for u in b.caps)
                - b.paused_racks[t, number]
                <= 0.0
            ),
        ),
    )
