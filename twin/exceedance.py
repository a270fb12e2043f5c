"""By how much a run lies beyond the limits of its site, in the units that people read."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.equipment import Cdu
from twin.limits import Limit, limits
from twin.site import Site


@dataclass(frozen=True, kw_only=True)
class Exceedance:
    """One limit that a run does not keep.

    Attributes
    ----------
    limit
        What is limited, and of which machine.
    unit
        Unit of the two numbers that follow.
    bound, reached
        The limit, and the value farthest beyond it.
    count, of
        Intervals beyond it, and all intervals. [1]
    first
        Start of the first of them. [datetime64, UTC]
    """

    limit: str
    unit: str
    bound: float
    reached: float
    count: int
    of: int
    first: np.datetime64


def beyond(site: Site, run: xr.Dataset) -> xr.DataArray:
    """Return how far each interval of a run lies beyond each limit of its site.

    Parameters
    ----------
    site
        The site with its limits.
    run
        What it did, as :func:`twin.simulation.simulate` gives it; limits of what it does not hold
        are left out. Coolant is held against the dew point of the halls, too.

    Returns
    -------
    xarray.DataArray
        ``(time, limit)``, each in the limit's own unit: above 0 over its upper bound, below 0 under
        its lower, and 0 where it is kept within the tolerance of :meth:`Limit.beyond`.
    """
    held = [limit for limit in _every(site) if limit.variable in run]
    rows = [_signed(limit, run) for limit in held]
    return xr.DataArray(
        np.stack(rows, axis=-1) if rows else np.zeros((run.sizes["time"], 0)),
        coords={"time": run["time"], "limit": [limit.name for limit in held]},
        dims=("time", "limit"),
    )


def exceedances(site: Site, distance: xr.DataArray) -> Iterator[Exceedance]:
    """Yield the limits that are not kept.

    Parameters
    ----------
    site
        The site with its limits.
    distance
        As :func:`beyond` gives it.

    Yields
    ------
    Exceedance
        One for each limit and side.
    """
    by_name = {limit.name: limit for limit in _every(site)}
    for name in distance["limit"].to_numpy().tolist():
        limit, values = by_name[name], distance.sel(limit=name).to_numpy()
        for bound, over in ((limit.high, values), (limit.low, -values)):
            if (is_over := over > 0.0).any():
                far = float(values[np.argmax(over)])
                yield Exceedance(
                    limit=name,
                    unit=vocabulary.term(limit.variable).unit,
                    bound=bound,
                    reached=bound + far,
                    count=int(is_over.sum()),
                    of=len(values),
                    first=distance["time"].to_numpy()[np.argmax(is_over)],
                )


def _every(site: Site) -> tuple[Limit, ...]:
    """Return the hard limits of a site, and the coldest coolant on which no halls' air condenses.

    Plans cannot change coolant at declared set points, so that it is no limit of theirs.
    """
    rules = site.set_points
    least = rules.hall_dew_point + rules.dew_point_distance
    coolant = [
        Limit(
            variable="technology_supply_temperature",
            owner=cdu.name,
            dim="cdu",
            low=least,
            margin="temperature",
        )
        for cdu in site.of(Cdu)
    ]
    return (*limits(site), *coolant)


def _signed(limit: Limit, run: xr.Dataset) -> np.ndarray:
    """Return how far values lie above a limit, or below it with the other sign; else 0."""
    values = limit.values(run)
    far = np.where(values > limit.high, values - limit.high, np.minimum(values - limit.low, 0.0))
    return np.where(limit.beyond(run) > 1.0, far, 0.0)
