"""The benches of the twin."""

from tests.benchmarks import chip_hour, frontier_day, load_flow_year, site_year

BENCHES = (frontier_day.BENCH, site_year.BENCH, chip_hour.BENCH, load_flow_year.BENCH)
