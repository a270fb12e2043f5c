"""The benches of the twin."""

from benchmarks import chip_hour, load_flow_year, site_year

BENCHES = (site_year.BENCH, chip_hour.BENCH, load_flow_year.BENCH)
