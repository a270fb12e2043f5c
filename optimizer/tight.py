"""Make a plan tight: solve again, with physics kept, where the linear model would waste.

What wastes is held to its piece and improved from there, which takes a few solves and proves
nothing. Where that loses more than a little and few intervals are concerned, the pieces are sought
in whole numbers.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from optimizer.compile.arrays import Arrays, IntArray
from optimizer.curves import MOST_SEGMENTS
from optimizer.inputs import Inputs
from optimizer.solve import Answer, Choice, Solver, chosen
from optimizer.tightening.hold import Held, hold, joined, stacked
from optimizer.tightening.netted import netted
from optimizer.tightening.waste import wasteful
from twin.errors import SolverError
from twin.physics import FloatArray

ROUNDS: Final = 10
"""Most times that a plan is solved again for its waste. [1]"""

GAIN: Final = 1e-6
"""Share of the objective that a round must bring to count. [1]"""

PATIENCE: Final = 2
"""Rounds in a row that may bring nothing: the ways of stores are turned in two phases. [1]"""

LOSS: Final = 1e-3
"""Share of the objective that physics may cost before the pieces are sought. [1]"""

MOST_WHOLE: Final = 120
"""Most whole numbers of such a search: those of a day of one battery, or of a few machines. [1]"""


def tight(
    solver: Solver, arrays: Arrays, *, inputs: Inputs, answer: Answer
) -> tuple[Answer, tuple[Held, ...]]:
    """Return a plan in which physics is kept where waste would pay, and what had to be held.

    Parameters
    ----------
    solver
        Of the model; what is held stays bounded in it.
    arrays
        The model.
    inputs
        What it was made from.
    answer
        Its optimum, in which waste is allowed.
    """
    found, held = _improved(solver, arrays, inputs, answer)
    scale = max(abs(found.objective), abs(answer.objective))
    if held and found.objective - answer.objective > LOSS * scale:
        found, held = _sought(solver, arrays, inputs, (found, held))
    return found, tuple(held)


def named(places: Mapping[str, IntArray], flat: FloatArray) -> dict[str, FloatArray]:
    """Return bare results under their names."""
    return {name: flat[at] for name, at in places.items()}


def _improved(
    solver: Solver, arrays: Arrays, inputs: Inputs, answer: Answer
) -> tuple[Answer, list[Held]]:
    """Return a plan that is held where it stands, and bettered piece by piece."""
    held: list[Held] = []
    idle, turn, is_loose = 0, 0, False
    while idle < PATIENCE and turn < ROUNDS:
        turn += 1
        answer = netted(arrays, inputs, answer)
        values = named(arrays.columns, answer.values)
        fresh = list(hold(inputs, values, where=wasteful(inputs, values)))
        fresh = [one for one in fresh if not (is_loose and one.is_chain)]
        if not (held or fresh):
            break
        tried = [replace(one, piece=one.moved(values, turn)) for one in held] + fresh
        found, again = _solve_held(solver, arrays, tried)
        if not again and held and not is_loose:
            break  # the plan before wastes nothing
        if not again:  # one that wastes but runs in no circle: the twin judges what it really draws
            is_loose, again = True, [one for one in tried if not one.is_chain]
        held = again
        is_better = answer.objective - found.objective > GAIN * abs(found.objective)
        idle = 0 if fresh or is_better else idle + 1
        answer = found
    return answer, held


def _sought(
    solver: Solver, arrays: Arrays, inputs: Inputs, known: tuple[Answer, list[Held]]
) -> tuple[Answer, list[Held]]:
    """Return a better plan than the known one, or that, by pieces sought in whole numbers.

    Where the search wastes anew, it is held there too and sought again.
    """
    answer, held = known
    begin, asked = answer, joined(held)
    for _ in range(ROUNDS):
        choices = [_choice(one, arrays) for one in asked]
        if sum(choice.count for choice in choices) > MOST_WHOLE:
            break
        try:
            pieces = chosen(solver.model(), choices, begin.values)
        except SolverError:  # a search that fails costs its time, and not the plan that is there
            break
        if pieces is None:
            break
        asked = [replace(one, piece=piece) for one, piece in zip(asked, pieces, strict=True)]
        begin, again = _solve_held(solver, arrays, asked)
        if not again or answer.objective - begin.objective <= GAIN * abs(answer.objective):
            break
        values = named(arrays.columns, begin.values)
        fresh = list(hold(inputs, values, where=wasteful(inputs, values)))
        if not fresh:
            return begin, asked
        asked = joined([*asked, *fresh])
    _free(solver, arrays, asked)
    return _solve_held(solver, arrays, held)


def _choice(held: Held, arrays: Arrays) -> Choice:
    """Return what is held as a choice among all its pieces."""
    number = np.arange(held.width.shape[1])
    each = [replace(held, piece=np.full(len(held.steps), one)).bounded(arrays) for one in number]
    places, low, high = (np.stack(parts) for parts in zip(*each, strict=True))
    return Choice(places=places[0], low=low, high=high, begin=held.piece)


def _solve_held(solver: Solver, arrays: Arrays, held: list[Held]) -> tuple[Answer, list[Held]]:
    """Return the best plan that is held, and what holds it.

    What one machine wasted others had to carry: without it their outputs may lie in pieces before
    those that they are held to, so these are opened until a plan is found, which tells the right
    ones. Where nothing can be held, the best plan that wastes.
    """
    slack = 0
    for _ in range(2 * MOST_SEGMENTS):
        for one in held:
            places, low, high = one.bounded(arrays, slack)
            solver.bound(places.ravel(), low.ravel(), high=high.ravel())
        found = solver.run()
        if found is None:
            slack += 1
            continue
        again = [one.at(named(arrays.columns, found.values)) for one in held]
        if not slack or all((a.piece == b.piece).all() for a, b in zip(again, held, strict=True)):
            return found, held
        held, slack = again, 0
    _free(solver, arrays, [one for one in held if one.is_chain])  # nothing runs in a circle still
    found = solver.run()
    if found is None:
        message = "the plan cannot be kept from waste"
        raise SolverError(message)
    return found, []


def _free(solver: Solver, arrays: Arrays, held: list[Held]) -> None:
    """Give what was held its own bounds again."""
    for one in held:
        places = stacked(one.names, arrays.columns)[one.steps].ravel()
        solver.bound(places, arrays.column_low[places], high=arrays.column_high[places])
