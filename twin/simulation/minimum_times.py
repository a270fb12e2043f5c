"""Starts and stops of switchable units, and breaches of their minimum run and down times."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import xarray as xr

from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import SwitchableUnits
from twin.simulation.setpoints import UNITS_ON_VARIABLE
from twin.site import Site

MIN_TIME_TOLERANCE_H: Final = 1e-6
"""Rounding tolerance of minimum times. [h]"""


@dataclass(frozen=True)
class StagingCounts:
    """Starts and stops of units.

    - ``starts``, ``stops``: Units that started, and units that stopped. [1]
    - ``min_up_violations``, ``min_down_violations``, ``restart_violations``: Stops before
      ``minimum_up``, starts before ``minimum_down``, and starts before the minimum restart time
      since the last start. [1]
    """

    starts: int = 0
    stops: int = 0
    min_up_violations: int = 0
    min_down_violations: int = 0
    restart_violations: int = 0

    @classmethod
    def count(cls, units: SwitchableUnits, units_on: FloatArray, durations: FloatArray) -> Self:
        """Count starts, stops and missed minimum times of a bank.

        Before the first interval no unit ran, and any may start. ``units_on`` is the number of
        running units on ``time`` [1]; durations are in hours [h].

        Equal units take turns: the one that has run longest stops first, the one that has rested
        longest starts first. So the count of missed minimum times is the smallest possible, and it
        is zero where a plan keeps them (:mod:`optimizer.model.components.unit_commitment`).
        """
        change = np.diff(np.round(units_on), prepend=0.0).astype(int)
        moments = np.cumsum(durations) - durations
        started = np.repeat(moments, np.maximum(change, 0))
        stopped = np.repeat(moments, np.maximum(-change, 0))
        return cls(len(started), len(stopped), *map(len, _early_events(units, started, stopped)))

    @classmethod
    def total(cls, banks: Iterable["StagingCounts"]) -> Self:
        """Return the sums over some banks."""
        found = list(banks)
        return cls(**{f.name: sum(getattr(one, f.name) for one in found) for f in fields(cls)})


def staging_by_bank(site: Site, record: xr.Dataset) -> list[tuple[SwitchableUnits, StagingCounts]]:
    """Return the staging of each bank with unit commitment, from a run or a plant record.

    The record needs ``cooling_plant_units_on(time, circuit)``.
    """
    hours = record["duration"].to_numpy()
    return [
        (
            units,
            StagingCounts.count(
                units, record[UNITS_ON_VARIABLE].sel(circuit=owner).to_numpy(), hours
            ),
        )
        for owner, units in site.switchable_units.items()
    ]


def unit_commitment_steps(durations: FloatArray, until: float) -> int:
    """Return the number of first intervals in which plans keep whole units and minimum times. [1]

    - ``durations``: Lengths of the intervals, ``(time,)``: equal, but the first may be shorter. [h]
    - ``until``: Latest end of these intervals; the first always counts. [h]
    """
    like = durations[1] if len(durations) > 1 and durations[0] < durations[1] else durations[0]
    is_like = np.append(True, durations[1:] == like)
    return max(int((is_like & (np.cumsum(durations) <= until + 1e-9)).cumprod().sum()), 1)


def breaks_minimum_times(
    units: SwitchableUnits, units_on: FloatArray, durations: FloatArray
) -> BoolArray:
    """Return in which intervals units would start or stop before a minimum time ends, ``(time,)``.

    Units that run in the first interval may have run for long, and units that rest may have rested
    for long. Units take turns, as in :class:`StagingCounts`.

    - ``units_on``: Commanded number of running units, at most all, ``(time,)``. [1]
    - ``durations``: Lengths of the intervals. [h]
    """
    count = np.round(units_on).astype(int)
    change, begins = np.diff(count, prepend=count[0]), np.cumsum(durations) - durations
    started = np.repeat(begins, np.maximum(change, 0))
    started = np.concatenate([np.full(count[0], -np.inf), started])
    stopped = np.repeat(begins, np.maximum(-change, 0))
    return np.isin(begins, np.concatenate(_early_events(units, started, stopped)))


def _early_events(
    units: SwitchableUnits, started: FloatArray, stopped: FloatArray
) -> list[FloatArray]:
    """Return stops before ``minimum_up``, starts before ``minimum_down`` and before a restart."""
    again = started[units.count :]
    return [
        stopped[_too_soon(stopped, started, units.min_up_time)],
        again[_too_soon(again, stopped, units.min_down_time)],
        again[_too_soon(again, started, units.minimum_restart_time)],
    ]


def _too_soon(later: FloatArray, earlier: FloatArray, min_time: float) -> BoolArray:
    """Return which events follow too soon after those of the same units, in turn."""
    return np.asarray(later - earlier[: len(later)] < min_time - MIN_TIME_TOLERANCE_H)
