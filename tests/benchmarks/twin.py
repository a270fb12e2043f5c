"""The benches of the twin."""

from tests.benchmarks import frontier_day

BENCHES = (frontier_day.BENCH,)
