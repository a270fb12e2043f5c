"""How units of a bank ran: their starts and stops, and the least times that were not kept."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import xarray as xr

from twin.physics import FloatArray
from twin.relations import Units
from twin.site import Site
from twin.steering import UNITS

ROUNDING: Final = 1e-6
"""Time by which a least time may be missed for rounding. [h]"""


@dataclass(frozen=True, kw_only=True)
class Staging:
    """Starts and stops of units, each counted for itself.

    Attributes
    ----------
    starts, stops
        Units that started and that stopped. [1]
    short_runs, short_rests, early_starts
        Stops before ``minimum_up``, starts before ``minimum_down``, and starts before ``restart``
        since the last start. [1]
    """

    starts: int = 0
    stops: int = 0
    short_runs: int = 0
    short_rests: int = 0
    early_starts: int = 0

    @classmethod
    def of(cls, units: Units, on: FloatArray, hours: FloatArray) -> Self:
        """Count what the units of a bank did.

        Parameters
        ----------
        units
            The units with their least times.
        on
            How many ran in each interval, ``(time,)``. [1]
        hours
            Lengths of the intervals. [h]

        Returns
        -------
        Staging
            Before the first interval none ran, and any might have started.

        Notes
        -----
        Equal units take turns: the one that has run longest stops first, the one that has rested
        longest starts first. So the least times are broken by as few as can be, and by none where
        a plan keeps them (:mod:`optimizer.forms.units`).
        """
        change = np.diff(np.round(on), prepend=0.0).astype(int)
        moments = np.cumsum(hours) - hours
        started = np.repeat(moments, np.maximum(change, 0))
        stopped = np.repeat(moments, np.maximum(-change, 0))
        return cls(
            starts=len(started),
            stops=len(stopped),
            short_runs=_hasty(stopped, started, units.minimum_up),
            short_rests=_hasty(started[units.count :], stopped, units.minimum_down),
            early_starts=_hasty(started[units.count :], started, units.restart),
        )

    @classmethod
    def over(cls, banks: Iterable["Staging"]) -> Self:
        """Return the sums over some banks."""
        found = list(banks)
        return cls(**{f.name: sum(getattr(one, f.name) for one in found) for f in fields(cls)})


def staged(site: Site, record: xr.Dataset) -> list[tuple[Units, Staging]]:
    """Return how the units of a site ran that have to be committed, a bank each.

    Parameters
    ----------
    site
        The site.
    record
        A run of the twin or of a plant, with ``cooling_plant_units_on(time, circuit)``.
    """
    hours = record["duration"].to_numpy()
    return [
        (units, Staging.of(units, record[UNITS].sel(circuit=owner).to_numpy(), hours))
        for owner, units in site.committed.items()
    ]


def _hasty(later: FloatArray, earlier: FloatArray, least: float) -> int:
    """Return how many moments follow too soon on those of the same units, turn for turn. [1]"""
    since = later - earlier[: len(later)]
    return int((since < least - ROUNDING).sum())
