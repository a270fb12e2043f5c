"""Say in words why no plan keeps every limit."""

from collections.abc import Iterable, Mapping

import numpy as np

from optimizer.compile.arrays import Arrays, IntArray
from optimizer.problem import Problem
from twin.errors import NoScheduleError


def refusal(
    problem: Problem, arrays: Arrays, *, rows: Iterable[int], columns: Iterable[int]
) -> NoScheduleError:
    """Return the error that names what is in conflict, when, and what may be done.

    Parameters
    ----------
    problem
        The question that has no answer.
    arrays
        Its model.
    rows, columns
        Positions that cannot all be kept.

    Returns
    -------
    NoScheduleError
        To be raised.
    """
    short, held = _steps(arrays.rows, set(rows)), _steps(arrays.columns, set(columns))
    carriers = {n.removeprefix("balance."): s for n, s in short.items() if n.startswith("balance.")}
    others = [n for n in short if not n.startswith("balance.")]
    lines = [f"{carrier} {_stretch(problem, steps)}" for carrier, steps in carriers.items()]
    limits = [name.replace(".", ", ") for name in (*held, *others)]
    start = _stamp(problem.outlook["instant"].to_numpy()[0])
    message = (
        f"{problem.site.name}, {start}, {problem.hours.sum():g} h: no schedule keeps every limit\n"
        f"  cannot be balanced: {'; '.join(lines) or 'nothing in particular'}\n"
        f"  at their limits then: {'; '.join(limits) or 'nothing in particular'}\n"
        "  mend: lower the service in these hours, or widen one of these limits"
    )
    return NoScheduleError(message)


def _steps(places: Mapping[str, IntArray], wanted: set[int]) -> dict[str, list[int]]:
    """Return the names that have wanted positions, with the intervals they stand at."""
    found = {}
    for name, at in places.items():
        hits = np.argwhere(np.isin(at, list(wanted)))
        if len(hits):
            found[name] = [int(hit[0]) if len(hit) else 0 for hit in hits]
    return found


def _stretch(problem: Problem, steps: list[int]) -> str:
    instants = problem.outlook["instant"].to_numpy()
    return f"from {_stamp(instants[min(steps)])} to {_stamp(instants[max(steps) + 1])}"


def _stamp(moment: np.datetime64) -> str:
    return f"{np.datetime_as_string(moment, unit='m')}Z"
