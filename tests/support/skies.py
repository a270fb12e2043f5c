"""Minute weather for trials: the supplied synthetic June, with sun and wind."""

from functools import cache

import sites
from optimizer.backtesting.case import synthetic_case


@cache
def minutes(name, *, days):
    """Return the surroundings of a declared site for some days."""
    return synthetic_case(sites.load_site(name), steps=96 * days).boundary_conditions
