"""What a schedule does to the connection that need not be, and what it does as nothing can be done.

Ramps, and what others leave of a connection, can be beyond a site: to refuse every schedule then
would leave a plant without any, at the import that it has. What no schedule avoids is told.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import xarray as xr

from twin import curtailment
from twin.breach import Breach, judged
from twin.haste import haste
from twin.limits import RAMP
from twin.physics import FloatArray
from twin.site import Site
from twin.unavoidable import least_import

LEFT: Final = "grid_import_power beyond what is left of the connection"
"""What the limit that others set for the connection is called."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Where the ramp of a connection, or what is left of it, is not kept.

    Attributes
    ----------
    refused
        Where it could be.
    forced
        Everywhere, whether it could be or not.
    """

    refused: tuple[Breach, ...]
    forced: tuple[Breach, ...]


def judge(
    site: Site,
    state: xr.Dataset,
    schedule: xr.Dataset,
    *,
    ran: xr.Dataset,
    floor: FloatArray,
    keep: float,
) -> Taken:
    """Judge what a schedule does to the connection.

    Parameters
    ----------
    site, state
        The site and its state at the start.
    schedule
        The schedule.
    ran
        What the twin did.
    floor
        Power of all halls while they serve inference and do no work, ``(time,)``. [MW]
    keep
        Share of what is left to be kept free. [1]

    Returns
    -------
    Taken
        What is to be refused, and all that is to be told.
    """
    time = schedule["time"].to_numpy()
    turned = haste(site, state, schedule, ran=ran, floor=floor)
    beyond = partial(curtailment.beyond, site, state, schedule, ran=ran, keep=keep)
    least = least_import(site, state, schedule)
    refused = *judged(RAMP, turned.needless, time), *judged(LEFT, beyond(least=least), time)
    forced = *judged(RAMP, turned.steepness, time), *judged(LEFT, beyond(), time)
    return Taken(refused=refused, forced=forced)
