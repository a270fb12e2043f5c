"""Whether a site endures its single failures all through an operation, and what stands out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.contingency.contingencies import Contingency, FailedPart, single_contingencies
from twin.contingency.ride_through_time import (
    NO_LIMIT_REACHED,
    SECONDS_PER_MINUTE,
    prefault_state,
    time_to_limit_arrays,
)
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.units import format_minute

REDUNDANT_PARTS: Final = {
    FailedPart.CDU,
    FailedPart.CDU_PUMP,
    FailedPart.PUMP,
    FailedPart.REJECTION,
    FailedPart.CHILLER,
    FailedPart.TRANSFORMER,
}
"""Units that others like them take over from, where there are others."""

BACKED_UP_PARTS: Final = {FailedPart.TANK, FailedPart.HEAT_PUMP}
"""Machines that the plant of their circuit takes over from."""

COARSE_STEP_GROWTH: Final = 6.0
"""Growth of steps at which minutes differ from those of fine steps by up to 5 %, 0.05 % in the
mean. [1]"""

_AT_ONCE: Final = 1.0 / 60.0  # min, at which a time counts as none


@dataclass(frozen=True, kw_only=True)
class ContingencyCoverage:
    """How long a site endures each single failure, all through an operation.

    Attributes
    ----------
    contingencies
        The failures.
    minutes
        Time from each to the first limit, on (failure, time); infinite if none is reached. [min]
    limits
        What is reached first, on the same axes.
    exposed
        Where a failure that must be endured is not, and with less work would be, on the same axes;
        chips that throttle protect themselves and do not count.
    time
        Starts of the intervals.
    required_minutes
        Time for which such failures must be endured. [min]
    """

    contingencies: tuple[Contingency, ...]
    minutes: FloatArray
    limits: np.ndarray
    exposed: BoolArray
    time: np.ndarray
    required_minutes: float

    def violations(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield what is exposed in words, and how far beyond what is allowed, on ``time``. [1]"""
        for place, trip in enumerate(self.contingencies):
            short = self.exposed[place]
            if short.any():
                name = f"{self.limits[place][short][0]} too soon after {trip.name} fails"
                quick = self.required_minutes / np.maximum(self.minutes[place], _AT_ONCE)
                yield name, np.where(short, quick, 0.0)

    @property
    def min_minutes(self) -> FloatArray:
        """Time to the first limit after the failure that is worst then, on ``time``. [min]"""
        return np.asarray(self.minutes.min(axis=0))

    @property
    def worst_contingencies(self) -> list[str]:
        """The failure that is worst then, on ``time``; "" where none reaches a limit."""
        worst = self.minutes.argmin(axis=0)
        return [
            self.contingencies[place].name
            if np.isfinite(self.minutes[place, now])
            else NO_LIMIT_REACHED
            for now, place in enumerate(worst.tolist())
        ]

    def rows(self) -> list[Mapping[str, object]]:
        """Return each failure as plain values, the soonest first; null where none is reached.

        Keys are ``failure``, ``title``, ``must`` (whether it must be endured), ``minutes`` and
        ``limit`` at the first interval, ``worst_minutes``, ``worst_limit`` and ``worst_time``.
        """
        found = []
        for place, trip in enumerate(self.contingencies):
            worst = int(self.minutes[place].argmin())
            found.append(
                {
                    "failure": trip.name,
                    "title": trip.title,
                    "must": is_required(trip),
                    "minutes": _plain(self.minutes[place, 0]),
                    "limit": str(self.limits[place, 0]),
                    "worst_minutes": _plain(self.minutes[place, worst]),
                    "worst_limit": str(self.limits[place, worst]),
                    "worst_time": format_minute(self.time[worst]),
                }
            )
        soonest = np.argsort(self.minutes.min(axis=1), kind="stable")
        return [found[place] for place in soonest.tolist()]

    def limiting_rows(self) -> list[Mapping[str, object]]:
        """Return those of :meth:`rows` that lead to a limit somewhere."""
        return [row for row in self.rows() if row["worst_minutes"] is not None]


def is_required(trip: Contingency) -> bool:
    """Return whether a schedule has to be such that a failure is endured.

    That of one of several units alike, and of a tank or a heat pump behind which a plant stands.
    No schedule short of idling saves a site that loses a whole plant; that is only told.
    """
    return (
        trip.failed_part in REDUNDANT_PARTS and trip.equivalent_units > 1
    ) or trip.failed_part in BACKED_UP_PARTS


def contingency_coverage(
    site: Site,
    state: xr.Dataset,
    operation: xr.Dataset,
    *,
    result: xr.Dataset,
    floor: FloatArray,
) -> ContingencyCoverage:
    """Return how long a site endures each failure, and where less work would make it endure.

    Parameters
    ----------
    site
        The site; its ``contingency.least_time`` says what it means to endure.
    state
        Its state at the first edge.
    operation
        As :func:`twin.simulate` wants it.
    result
        What the twin did with it.
    floor
        Power of all halls without any work that may move, on ``time``. [MW]

    Returns
    -------
    ContingencyCoverage
        All failures in all intervals.
    """
    every = single_contingencies(site)
    now = prefault_state(site, state, operation, result=result)
    minutes, limits = time_to_limit_arrays(
        now, every, is_throttling_told=True, growth=COARSE_STEP_GROWTH
    )
    least = site.contingency.least_time / SECONDS_PER_MINUTE
    short = minutes < least
    short[[not is_required(trip) for trip in every]] = False
    rows = np.flatnonzero(short.any(axis=1))
    if rows.size:
        calm = _calm(site, operation, floor)
        tight = [every[row] for row in rows.tolist()]
        hard = partial(
            time_to_limit_arrays,
            contingencies=tight,
            is_throttling_told=False,
            growth=COARSE_STEP_GROWTH,
        )
        short[rows] &= hard(now)[0] < least
        short[rows] &= hard(prefault_state(site, state, calm))[0] >= least
    return ContingencyCoverage(
        contingencies=every,
        minutes=minutes,
        limits=limits,
        exposed=short,
        time=operation["time"].to_numpy(),
        required_minutes=least,
    )


def _calm(site: Site, operation: xr.Dataset, floor: FloatArray) -> xr.Dataset:
    """Return an operation without work that may move, its stores at rest."""
    idle = sum(work.racks * work.idle_power for work in site.flexible_loads)
    least = np.maximum(floor, idle)
    shares = {work.owner: work.racks / site.racks for work in site.flexible_loads}
    rows = np.stack([least * shares[str(name)] for name in operation["hall"].to_numpy()], axis=-1)
    halls = xr.DataArray(rows, dims=("time", "hall"), coords={"hall": operation["hall"]})
    flows = ("tank_charge", "tank_discharge", "battery_charge", "battery_discharge")
    bare = operation.drop_vars([*flows, "heat_reuse_power"], errors="ignore")
    return bare.assign(hall_power=variables.tag_variable(halls, "hall_power"))


def _plain(minutes: float) -> float | None:
    return round(float(minutes), 2) if np.isfinite(minutes) else None
