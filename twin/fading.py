"""Batteries whose power, as it fades near an end of their window, outruns the connection's ramp.

At full power into an end of the window a battery's controller takes back a share of the power each
minute (:data:`twin.walk.TAPER`). For most sites that is slow; beside a connection that may change
slowly, a large battery must be led to its end more gently than that.
"""

from typing import Final

from twin.axes import HOUR, MINUTE
from twin.relations import Store
from twin.site import Site
from twin.walk import TAPER

SLOW: Final = 0.75
"""Share of the ramp that a fading battery may take; the rest is for what moves beside it. [1]"""


def is_abrupt(store: Store, site: Site) -> bool:
    """Return whether a store's power may fade faster than the import of its site may change.

    Parameters
    ----------
    store
        The store.
    site
        Its site.
    """
    greatest = max(store.charge_limit, store.discharge_limit)
    is_near = store.carrier == "medium_voltage"
    return is_near and greatest / (TAPER * float(HOUR / MINUTE)) > SLOW * site.grid.ramp
