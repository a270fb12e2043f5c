"""The benches of the solver."""

from tests.benchmarks import solve_commitment, solve_cycle

BENCHES = (*solve_cycle.BENCHES, *solve_commitment.BENCHES)
