"""How units of a bank run: their starts and stops, and the least times that are not kept."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import xarray as xr

from twin.physics import FloatArray
from twin.physics.numeric import BoolArray
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
            short_runs=int(_too_soon(stopped, started, units.minimum_up).sum()),
            short_rests=int(_too_soon(started[units.count :], stopped, units.minimum_down).sum()),
            early_starts=int(_too_soon(started[units.count :], started, units.restart).sum()),
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


def whole_steps(hours: FloatArray, until: float) -> int:
    """Return the number of first intervals in which plans keep whole units and least times. [1]

    Parameters
    ----------
    hours
        Lengths of the intervals, ``(time,)``: those are equal, but the first may be cut short. [h]
    until
        How far ahead they end at the latest; the first counts in any case. [h]
    """
    like = hours[1] if len(hours) > 1 and hours[0] < hours[1] else hours[0]
    is_like = np.append(True, hours[1:] == like)
    return max(int((is_like & (np.cumsum(hours) <= until + 1e-9)).cumprod().sum()), 1)


def hasty(units: Units, on: FloatArray, hours: FloatArray) -> BoolArray:
    """Return in which intervals units are told to start or stop before a least time is over.

    Parameters
    ----------
    units
        The units with their least times.
    on
        How many shall run in each interval, no more than there are, ``(time,)``. [1]
    hours
        Lengths of the intervals. [h]

    Returns
    -------
    numpy.ndarray
        ``(time,)``. What runs in the first interval may have run for long, and what rests rested:
        that is not known here. Units take turns, as in :class:`Staging`.
    """
    count = np.round(on).astype(int)
    change, begins = np.diff(count, prepend=count[0]), np.cumsum(hours) - hours
    started = np.repeat(begins, np.maximum(change, 0))
    started = np.concatenate([np.full(count[0], -np.inf), started])
    stopped = np.repeat(begins, np.maximum(-change, 0))
    again = started[units.count :]
    found = [
        stopped[_too_soon(stopped, started, units.minimum_up)],
        again[_too_soon(again, stopped, units.minimum_down)],
        again[_too_soon(again, started, units.restart)],
    ]
    return np.isin(begins, np.concatenate(found))


def _too_soon(later: FloatArray, earlier: FloatArray, least: float) -> BoolArray:
    """Return which moments follow too soon on those of the same units, turn for turn."""
    return np.asarray(later - earlier[: len(later)] < least - ROUNDING)
