"""The benches of the solver."""

from benchmarks import (
    solve_commitment,
    solve_cycle,
    solve_growth,
    solve_hedged,
    solve_linopy,
    solve_miss,
    solve_ten,
)

BENCHES = (
    *solve_cycle.BENCHES,
    *solve_commitment.BENCHES,
    *solve_growth.BENCHES,
    *solve_hedged.BENCHES,
    *solve_linopy.BENCHES,
    *solve_miss.BENCHES,
    *solve_ten.BENCHES,
)
