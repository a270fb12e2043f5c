"""Work that may start before a partner's target begins: what is started runs for its least time."""

import numpy as np
import xarray as xr

from twin.site import Site
from twin.time_axes import HOUR


def lasting(site: Site, plan: xr.Dataset, now: np.datetime64) -> dict[str, float]:
    """Return the racks that a plan leaves to a kind in targets before it may pause. [1]

    Parameters
    ----------
    site
        The site.
    plan
        The schedule in force.
    now
        Start of the coming interval. [datetime64, UTC]

    Returns
    -------
    dict
        Kind -> fewest racks planned while a target holds that begins after this interval and
        before a job that starts now has run for its minimum; nothing of kinds without any.
    """
    if "grid_import_target" not in plan:
        return {}
    time = plan["time"].to_numpy()
    is_asked = np.isfinite(plan["grid_import_target"].transpose("time", ...).to_numpy()).any(axis=1)
    racks = plan["work_racks"].sum("level").transpose("time", "cohort").to_numpy()
    found = {}
    for kind in site.work.values():
        ahead = is_asked & (time > now) & (time < now + kind.minimum_run * HOUR)
        if ahead.any():
            mine = plan["kind"].to_numpy() == kind.name
            found[kind.name] = float(racks[ahead][:, mine].sum(axis=1).min())
    return found
