"""Solve the same problem along another path, to reach another of several equal optima.

Which of several equal optima a solver returns depends on its random seed, on the side from which
the simplex method approaches, and on the processor's last bits. A result that is safe for one of
them only is a defect. A variant changes the path and nothing else, so that this can be tested.
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
"""Share by which a variant changes each cost at the most: far below what data are known to. [1]"""

LARGEST_SEED: Final = 2**31 - 1
"""Largest random seed that HiGHS accepts. [1]"""

STRATEGIES: Final = (
    int(highspy.simplex_constants.kSimplexStrategyDual),
    int(highspy.simplex_constants.kSimplexStrategyPrimal),
)
"""Serial simplex methods of HiGHS, by number."""


@dataclass(frozen=True, kw_only=True)
class SolverVariant:
    """A path that a solver takes.

    Attributes
    ----------
    random_seed
        Of HiGHS, and of the perturbation of costs.
    simplex_strategy
        One of :data:`STRATEGIES`, for a solve from nothing.
    """

    random_seed: int
    simplex_strategy: int

    @classmethod
    def drawn(cls, number: int) -> "SolverVariant":
        """Return the variant of a number; even ones approach from the dual side, odd ones not."""
        rng = np.random.default_rng([number, LARGEST_SEED])
        return cls(
            random_seed=int(rng.integers(LARGEST_SEED)),
            simplex_strategy=STRATEGIES[number % len(STRATEGIES)],
        )


_in_force: ContextVar[SolverVariant | None] = ContextVar("solver variant", default=None)


@contextmanager
def solving_as(variant: SolverVariant) -> Iterator[None]:
    """Let every solver that is used within take the path of a variant."""
    token = _in_force.set(variant)
    try:
        yield
    finally:
        _in_force.reset(token)


def varied_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a solver, with those of the variant in force.

    The strategy holds for the first solve, which names the solver. From a basis on the dual side
    stays: the primal one stalls for minutes there.
    """
    variant = _in_force.get()
    if variant is None:
        return dict(options)
    strategy = {"simplex_strategy": variant.simplex_strategy} if "solver" in options else {}
    return {**options, "random_seed": variant.random_seed, **strategy}


def varied_costs(costs: FloatArray) -> FloatArray:
    """Return the costs of all columns, perturbed by the variant in force."""
    variant = _in_force.get()
    if variant is None:
        return costs
    noise = np.random.default_rng(variant.random_seed).uniform(-1.0, 1.0, len(costs))
    return costs * (1.0 + COST_PERTURBATION * noise)
