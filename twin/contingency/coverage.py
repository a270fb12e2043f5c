"""Whether a site rides through each single failure, at any time of an operation."""

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
"""Units whose load other units of the bank take over."""

BACKED_UP_PARTS: Final = {FailedPart.TANK, FailedPart.HEAT_PUMP}
"""Machines whose load the cooling plant of their circuit takes over."""

COARSE_STEP_GROWTH: Final = 6.0
"""Growth of steps in the search; times deviate by at most 5 % from fine steps. [1]"""

_MIN_RIDE_THROUGH_MIN: Final = 1.0 / 60.0  # keeps ratios finite


@dataclass(frozen=True, kw_only=True)
class ContingencyCoverage:
    """How long a site rides through each single failure; arrays on (failure, time).

    - ``ride_through_minutes``: Time from the failure to the first limit; infinite if none is
      reached. [min]
    - ``first_limits``: Name of the limit that is reached first.
    - ``is_uncovered``: Where a required failure is not covered but would be with less work. Chips
      that throttle protect themselves and do not count.
    - ``time``: Starts of the intervals.
    - ``required_minutes``: Time that the site must ride through. [min]
    """

    contingencies: tuple[Contingency, ...]
    ride_through_minutes: FloatArray
    first_limits: np.ndarray
    is_uncovered: BoolArray
    time: np.ndarray
    required_minutes: float

    def violations(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield each exposed limit, as text, and required over available time on ``time``. [1]"""
        for place, trip in enumerate(self.contingencies):
            short = self.is_uncovered[place]
            if short.any():
                name = f"{self.first_limits[place][short][0]} too soon after {trip.name} fails"
                quick = self.required_minutes / np.maximum(
                    self.ride_through_minutes[place], _MIN_RIDE_THROUGH_MIN
                )
                yield name, np.where(short, quick, 0.0)

    @property
    def min_minutes(self) -> FloatArray:
        """Time to the first limit after the worst failure, on ``time``. [min]"""
        return np.asarray(self.ride_through_minutes.min(axis=0))

    @property
    def worst_contingencies(self) -> list[str]:
        """The worst failure on ``time``; "" where none reaches a limit."""
        worst = self.ride_through_minutes.argmin(axis=0)
        return [
            self.contingencies[place].name
            if np.isfinite(self.ride_through_minutes[place, now])
            else NO_LIMIT_REACHED
            for now, place in enumerate(worst.tolist())
        ]

    def rows(self) -> list[Mapping[str, object]]:
        """Return each failure as plain values, the soonest first; null where no limit is reached.

        Keys are ``failure``, ``title``, ``must`` (whether it must be covered), ``minutes`` and
        ``limit`` at the first interval, ``worst_minutes``, ``worst_limit`` and ``worst_time``.
        """
        found = []
        for place, trip in enumerate(self.contingencies):
            worst = int(self.ride_through_minutes[place].argmin())
            found.append(
                {
                    "failure": trip.name,
                    "title": trip.title,
                    "must": must_be_covered(trip),
                    "minutes": _plain(self.ride_through_minutes[place, 0]),
                    "limit": str(self.first_limits[place, 0]),
                    "worst_minutes": _plain(self.ride_through_minutes[place, worst]),
                    "worst_limit": str(self.first_limits[place, worst]),
                    "worst_time": format_minute(self.time[worst]),
                }
            )
        soonest = np.argsort(self.ride_through_minutes.min(axis=1), kind="stable")
        return [found[place] for place in soonest.tolist()]

    def limiting_rows(self) -> list[Mapping[str, object]]:
        """Return those of :meth:`rows` that reach a limit at some time."""
        return [row for row in self.rows() if row["worst_minutes"] is not None]


def must_be_covered(trip: Contingency) -> bool:
    """Return whether a schedule must cover a failure.

    It must for one of several equal units, and for a tank or heat pump that a plant backs up. No
    schedule short of idling saves a site that loses a whole plant; such failures are only reported.
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
    """Return how long a site rides through each failure, and where less work would cover it.

    - ``result``: Simulation of ``state`` and ``operation``.
    - ``floor``: Power of all halls without movable work, on ``time``. [MW]
    """
    contingencies = single_contingencies(site)
    now = prefault_state(site, state, operation, result=result)
    minutes, limits = time_to_limit_arrays(
        now, contingencies, counts_throttling=True, growth=COARSE_STEP_GROWTH
    )
    required_minutes = site.contingency.least_time / SECONDS_PER_MINUTE
    is_short = minutes < required_minutes
    is_short[[not must_be_covered(trip) for trip in contingencies]] = False
    rows = np.flatnonzero(is_short.any(axis=1))
    if rows.size:
        minimum_operation = _without_movable_work(site, operation, floor)
        exposed = [contingencies[row] for row in rows.tolist()]
        time_to_hard_limit = partial(
            time_to_limit_arrays,
            contingencies=exposed,
            counts_throttling=False,
            growth=COARSE_STEP_GROWTH,
        )
        is_short[rows] &= time_to_hard_limit(now)[0] < required_minutes
        is_short[rows] &= (
            time_to_hard_limit(prefault_state(site, state, minimum_operation))[0]
            >= required_minutes
        )
    return ContingencyCoverage(
        contingencies=contingencies,
        ride_through_minutes=minutes,
        first_limits=limits,
        is_uncovered=is_short,
        time=operation["time"].to_numpy(),
        required_minutes=required_minutes,
    )


def _without_movable_work(site: Site, operation: xr.Dataset, floor: FloatArray) -> xr.Dataset:
    """Return an operation without movable work, with idle storage."""
    idle = sum(work.racks * work.idle_power for work in site.flexible_loads)
    power = np.maximum(floor, idle)
    shares = {work.owner: work.racks / site.rack_count for work in site.flexible_loads}
    rows = np.stack([power * shares[str(name)] for name in operation["hall"].to_numpy()], axis=-1)
    halls = xr.DataArray(rows, dims=("time", "hall"), coords={"hall": operation["hall"]})
    flows = ("tank_charge", "tank_discharge", "battery_charge", "battery_discharge")
    bare = operation.drop_vars([*flows, "heat_reuse_power"], errors="ignore")
    return bare.assign(hall_power=variables.tag_variable(halls, "hall_power"))


def _plain(minutes: float) -> float | None:
    return round(float(minutes), 2) if np.isfinite(minutes) else None
