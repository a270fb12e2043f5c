"""Where jobs stand: which racks work, how hard, and what they draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.equipment import Accelerators
from twin.physics import FloatArray
from twin.site import Site

IDLE: Final = -1
"""Tenant of a rack that waits."""

SERVICE: Final = -2
"""Tenant of a rack that serves inference."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A running job as its racks know it.

    Attributes
    ----------
    number
        The job.
    racks
        Racks that it uses. [1]
    cap
        Power of its racks as a share of the uncapped rack. [1]
    """

    number: int
    racks: float
    cap: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """What each rack does, hall after hall.

    Attributes
    ----------
    power
        Draw of the rack. [MW]
    cap
        Cap that it works under, 0 for a rack that waits. [1]
    is_service
        Whether it serves inference.
    """

    power: FloatArray
    cap: FloatArray
    is_service: NDArray[np.bool_]


class Placement:
    """A simple scheduler of places: a job keeps its racks until it stops.

    Parameters
    ----------
    site
        The site as it really is.

    Notes
    -----
    Free racks are given out alternately from all halls, so that the halls carry equal shares, as
    the plant takes them to. Widths are rounded to whole racks, one at least.
    """

    def __init__(self, site: Site) -> None:
        self._halls = site.of(Accelerators)
        counts = [hall.racks for hall in self._halls]
        self._hall = np.repeat(np.arange(len(counts)), counts)
        place = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
        self._fill = np.argsort(place, kind="stable")
        self.tenant = np.full(sum(counts), IDLE, dtype=np.int64)
        self._cap = np.zeros(sum(counts))

    def place(self, jobs: Sequence[Placed], service_racks: float) -> None:
        """Let jobs and service take their racks, and leave those they need no more.

        Parameters
        ----------
        jobs
            All that run.
        service_racks
            Racks busy with the service. [1]
        """
        wanted = {job.number: max(round(job.racks), 1) for job in jobs}
        wanted[SERVICE] = round(service_racks)
        gone = ~np.isin(self.tenant, list(wanted))
        self.tenant[gone] = IDLE
        for number, width in wanted.items():
            held = self._fill[self.tenant[self._fill] == number]
            self.tenant[held[width:]] = IDLE
        for number, width in wanted.items():
            free = self._fill[self.tenant[self._fill] == IDLE]
            self.tenant[free[: width - int((self.tenant == number).sum())]] = number
        caps = {job.number: job.cap for job in jobs} | {SERVICE: 1.0, IDLE: 0.0}
        self._cap = np.array([caps[number] for number in self.tenant.tolist()])

    def load(self, hall_power: Mapping[str, float]) -> Load:
        """Return what the racks do when their halls draw some power.

        Parameters
        ----------
        hall_power
            Hall -> true power of its racks; a hall that is not named is idle. [MW]

        Notes
        -----
        The racks of a hall share its power as their caps say. While a hall still comes down from
        jobs that have just ended, what working racks cannot draw is spread over all its racks.
        """
        power = np.empty(len(self.tenant))
        for place, hall in enumerate(self._halls):
            mine = self._hall == place
            span = hall.rack_power - hall.rack_idle_power
            busy = np.maximum(self._cap[mine] * hall.rack_power - hall.rack_idle_power, 0.0)
            busy[self._cap[mine] == 0.0] = 0.0
            above = hall_power.get(hall.name, hall.idle_power) - hall.idle_power
            shared = np.minimum(busy * max(above, 0.0) / max(float(busy.sum()), _LEAST), span)
            room = span - shared
            rest = (above - float(shared.sum())) / max(float(room.sum()), _LEAST)
            power[mine] = hall.rack_idle_power + shared + room * np.clip(rest, -1.0, 1.0)
        return Load(power=np.maximum(power, 0.0), cap=self._cap, is_service=self.tenant == SERVICE)


_LEAST: Final = 1e-12  # MW, so that shares of nothing are finite
