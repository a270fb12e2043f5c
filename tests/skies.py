"""Weather in minutes for trials: the synthetic June that ships, with its sun and wind."""

from functools import cache

import sites
from optimizer.service.plant import setting_of


@cache
def minutes(name, *, days):
    """Return the surroundings of a declared site for some days."""
    return setting_of(sites.load_site(name), steps=96 * days).surroundings
