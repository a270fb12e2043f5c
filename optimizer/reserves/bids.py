"""From capacity that a plan could hold to bids that a market takes: whole steps, and no circles."""

from contextlib import suppress
from dataclasses import replace

from optimizer.compile.arrays import Arrays
from optimizer.inputs import Inputs
from optimizer.reserves.lasting import Lasting
from optimizer.reserves.lots import Lot, lots
from optimizer.reserves.seek import Offer, Search
from optimizer.reserves.ways import opened, runs_in_circle, shut
from optimizer.solve import Answer, Solver
from optimizer.tight import tight
from twin.errors import SolverError


def in_bids(solver: Solver, arrays: Arrays, *, inputs: Inputs, answer: Answer) -> Answer:
    """Return a plan near the best that offers nothing but whole bids.

    Parameters
    ----------
    solver
        Holds the model; keeps the bids as bounds, so that later runs have them too.
    arrays
        The model.
    inputs
        What it was made from.
    answer
        The best plan with any capacity.

    Returns
    -------
    Answer
        Of a site without products the same.

    Raises
    ------
    SolverError
        If there is none; but less capacity can always be held.
    """
    problem = inputs.problem
    if not problem.site.reserves:
        return answer
    products = tuple(lots(arrays, problem))
    search = Search(solver, products, lasting=Lasting(arrays, problem))
    offer = None if runs_in_circle(problem, arrays, answer) else search.from_any(answer)
    if offer is None or runs_in_circle(problem, arrays, offer.answer):
        offer = _without_circles(solver, arrays, inputs=inputs, search=search)
    shut(solver, arrays, problem=problem, answer=offer.answer)  # bids are fixed: no more circles
    return _exactly(offer, products)


def _without_circles(solver: Solver, arrays: Arrays, *, inputs: Inputs, search: Search) -> Offer:
    """Return a plan with whole bids that stands on no circle.

    Ways of stores are found for any capacity, bids for these ways, and better ways for these bids,
    where a plan for any ways at all leads to some.
    """
    problem = inputs.problem
    opened(solver, arrays)
    answer, _ = tight(solver, arrays, inputs=inputs, answer=search.freed())
    offer = search.from_any(answer)
    if runs_in_circle(problem, arrays, offer.answer):
        shut(solver, arrays, problem=problem, answer=offer.answer)
        offer = search.from_any(search.freed())
    opened(solver, arrays)
    with suppress(SolverError):  # bids that other ways cannot hold: those at hand do
        answer, _ = tight(solver, arrays, inputs=inputs, answer=search.kept(offer))
        better = replace(offer, answer=answer)
        offer = better if better.beats(offer) else offer
    opened(solver, arrays)
    search.keep(offer.whole)
    return offer


def _exactly(offer: Offer, products: tuple[Lot, ...]) -> Answer:
    """Return the answer with whole bids to the last digit."""
    values = offer.answer.values.copy()
    for one, whole in zip(products, offer.whole, strict=True):
        values[one.columns] = whole
    return replace(offer.answer, values=values)
