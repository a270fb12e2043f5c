"""Variants of the solution path, to reach other ones of several equal optima.

Which of several equal optima a solver returns depends on its random seed, the simplex side and the
last bits of the processor. A result that is safe for one of them only is a defect. A variant
changes nothing but the path, so that tests can find such defects.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np

from twin.physics import FloatArray

COST_PERTURBATION: Final = 1e-7
"""Largest relative change of a cost by a variant, far below the precision of data. [1]"""

LARGEST_SEED: Final = 2**31 - 1
"""Largest random seed that HiGHS accepts. [1]"""

STRATEGIES: Final = (
    int(highspy.simplex_constants.kSimplexStrategyDual),
    int(highspy.simplex_constants.kSimplexStrategyPrimal),
)
"""Serial simplex methods of HiGHS, by number."""


@dataclass(frozen=True, kw_only=True)
class SolverVariant:
    """A solution path.

    Attributes
    ----------
    random_seed
        Seed of HiGHS and of the perturbation of costs.
    simplex_strategy
        One of :data:`STRATEGIES`, for a cold start.
    """

    random_seed: int
    simplex_strategy: int

    @classmethod
    def drawn(cls, number: int) -> "SolverVariant":
        """Return the variant of a number; even numbers use dual simplex, odd ones primal."""
        rng = np.random.default_rng([number, LARGEST_SEED])
        return cls(
            random_seed=int(rng.integers(LARGEST_SEED)),
            simplex_strategy=STRATEGIES[number % len(STRATEGIES)],
        )


_active: ContextVar[SolverVariant | None] = ContextVar("solver variant", default=None)


@contextmanager
def solving_as(variant: SolverVariant) -> Iterator[None]:
    """Apply a variant to every solver that is used within."""
    token = _active.set(variant)
    try:
        yield
    finally:
        _active.reset(token)


def varied_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a solver with those of the active variant.

    The strategy applies to the first solve, whose options name the solver. Warm starts stay with
    dual simplex, because primal simplex stalls for minutes there.
    """
    variant = _active.get()
    if variant is None:
        return dict(options)
    strategy = {"simplex_strategy": variant.simplex_strategy} if "solver" in options else {}
    return {**options, "random_seed": variant.random_seed, **strategy}


def varied_costs(costs: FloatArray) -> FloatArray:
    """Return the costs of all columns, perturbed by the active variant."""
    variant = _active.get()
    if variant is None:
        return costs
    noise = np.random.default_rng(variant.random_seed).uniform(-1.0, 1.0, len(costs))
    return costs * (1.0 + COST_PERTURBATION * noise)
