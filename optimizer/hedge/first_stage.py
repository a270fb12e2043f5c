"""What is decided now and what may still change: the first stage of a plan."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from optimizer.compile.arrays import Arrays
from optimizer.forms.scenarios import FirstStage
from optimizer.problem import Problem
from twin.physics import FloatArray
from twin.workload.flexibility import EXPECTED_COHORT_SUFFIX

NOW: Final = 1.0
"""How long what is decided now stays decided: until the next plan. [h]"""

ROUNDING: Final = 1e-9
"""Hours that count as none. [h]"""


def decided_now(problem: Problem, now: float, *, scenarios: tuple[str, ...] = ("",)) -> FirstStage:
    """Return what of a problem is decided now.

    Parameters
    ----------
    problem
        The question.
    now
        How long what is decided now stays decided. [h]
    scenarios
        Blocks that it binds.
    """
    labels = problem.outlook["cohort"].to_numpy().tolist()
    return FirstStage(
        scenarios=scenarios,
        steps=int((np.cumsum(problem.hours) <= now + ROUNDING).sum()),
        stores=tuple(store.owner for store in problem.site.stores),
        cohorts=tuple(
            i for i, label in enumerate(labels) if not label.endswith(f"/{EXPECTED_COHORT_SUFFIX}")
        ),
    )


def first_stage(values: Mapping[str, FloatArray], bound: FirstStage) -> dict[str, FloatArray]:
    """Return what a plan decides now.

    Parameters
    ----------
    values
        ``<owner>.<variable>`` -> values.
    bound
        What is decided now.
    """
    found = {
        f"{store}.level": values[f"{store}.level"][: bound.steps + 1] for store in bound.stores
    }
    racks = values["work.racks"][: bound.steps].copy()
    racks[:, np.setdiff1d(np.arange(racks.shape[1]), bound.cohorts)] = np.nan
    return found | {"work.racks": racks}


def kept(
    arrays: Arrays, first: Mapping[str, FloatArray], *, blocks: Sequence[str] = ("",)
) -> Arrays:
    """Return a model in which what was decided now is kept.

    Parameters
    ----------
    arrays
        The model.
    first
        As :attr:`optimizer.hedge.scenarios.Hedge.first`.
    blocks
        Blocks of the scenarios; an empty one is the model of one site itself.
    """
    if not first:
        return arrays
    low, high = arrays.column_low.copy(), arrays.column_high.copy()
    for name, values in first.items():
        for block in blocks:
            places = arrays.columns[f"{block}.{name}" if block else name][: len(values)]
            is_kept = np.isfinite(values)
            at = places[is_kept]
            low[at] = high[at] = np.clip(values[is_kept], low[at], high[at])
    return replace(arrays, column_low=low, column_high=high)


def freed(costs: FloatArray, before: Arrays, after: Arrays) -> FloatArray:
    """Return reduced costs without those of columns that were kept: no limit binds there.

    Parameters
    ----------
    costs
        Of every column.
    before, after
        The model, and the one in which something is kept.
    """
    is_same = (before.column_low == after.column_low) & (before.column_high == after.column_high)
    return np.where(is_same, costs, 0.0)
