"""Faults of a simulated facility, for operators' training and for tests of alarms.

A fault begins some time after the start of the run and may end. Faults of sensors change what the
facility reports, not what it does; a trip takes a machine out of service.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from telemetry.points.site_points import SitePoint
from twin.equipment import Battery, ChilledWaterTank, CoolingPlant, Equipment, HeatReuse, Renewable
from twin.errors import IssueCode, SiteError
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import HOUR

DRIFT_ERRORS_PER_HOUR: Final = 10.0
"""Drift of a faulty sensor, in standard errors of this sensor an hour. [h-1]

A temperature sensor of 0.1 K drifts by 1 K an hour.
"""

DEFAULT_FAULT_START_H: Final = 1.0
"""Time from the start of a run to its faults, so that normal operation is seen first. [h]"""


class FaultKind(StrEnum):
    """What goes wrong.

    - ``SILENT``: the building-management system sends nothing.
    - ``METER_LOST``: the meter of the grid connection sends nothing.
    - ``STUCK``: all sensors of a cooling plant repeat their last values.
    - ``DRIFT``: all sensors of a cooling plant drift upwards.
    - ``TRIP``: a store, a renewable source, a heat pump, or one chiller of a cooling plant stops,
      and the machine reports that it is not available.
    """

    SILENT = "silent"
    METER_LOST = "meter_lost"
    STUCK = "stuck"
    DRIFT = "drift"
    TRIP = "trip"


@dataclass(frozen=True, kw_only=True)
class PlantFault:
    """A fault of a simulated facility.

    - `machine`: its name; empty for faults of the whole facility.
    - `start_h`, `end_h`: times since the start of the run. [h]
    """

    kind: FaultKind
    machine: str = ""
    start_h: float = 0.0
    end_h: float = np.inf

    @classmethod
    def parse(cls, text: str, site: Site) -> Self:
        """Return the fault of a text ``KIND[:MACHINE][@START[-END]]`` with hours.

        Raises SiteError for an unknown kind, a machine that cannot have the fault, or other times.
        """
        what, _, when = text.partition("@")
        word, _, machine = what.partition(":")
        if word not in list(FaultKind):
            raise _error(site, text, found=word, expected=f"one of {', '.join(FaultKind)}")
        kind = FaultKind(word)
        names = _possible_machines(site, kind)
        if machine not in names:
            of_machines = f"{kind}:MACHINE, the machine one of {', '.join(names)}"
            expected = kind.value if names == [""] else of_machines
            raise _error(site, text, found=what, expected=expected)
        start, dash, end = (when or f"{DEFAULT_FAULT_START_H:g}").partition("-")
        try:
            times = float(start), float(end) if dash else np.inf
        except ValueError:
            times = np.nan, np.nan
        if not 0.0 <= times[0] < times[1]:
            expected = (
                "@START or @START-END, hours since the start of the run, such as @1 or @1-2.5"
            )
            raise _error(site, text, found=f"@{when}", expected=expected)
        return cls(kind=kind, machine=machine, start_h=times[0], end_h=times[1])

    def is_active(self, elapsed: np.timedelta64) -> bool:
        """Return whether the fault is there some time after the start of the run."""
        return self.start_h <= float(elapsed / HOUR) < self.end_h


def _error(site: Site, text: str, *, found: str, expected: str) -> SiteError:
    issue = IssueCode.INVALID_FORMAT.issue(
        f"fault {text!r}", found=found, expected=expected, remedy="correct the fault"
    )
    return SiteError(site.name, [issue])


def _possible_machines(site: Site, kind: FaultKind) -> Sequence[str]:
    """Return the machines that can have a fault; an empty name for the whole facility."""
    match kind:
        case FaultKind.SILENT | FaultKind.METER_LOST:
            return [""]
        case FaultKind.STUCK | FaultKind.DRIFT:
            return [plant.name for plant in site.machines_of(CoolingPlant)]
        case FaultKind.TRIP:
            return [name for name, machine in site.equipment.items() if _can_trip(machine)]


def _can_trip(machine: Equipment) -> bool:
    if isinstance(machine, CoolingPlant):
        return machine.chillers is not None and machine.chillers.count > 1
    return isinstance(machine, Battery | ChilledWaterTank | Renewable | HeatReuse)


def is_silent(faults: Iterable[PlantFault], elapsed: np.timedelta64) -> bool:
    """Return whether the facility sends nothing, some time after the start of the run."""
    return any(fault.kind is FaultKind.SILENT and fault.is_active(elapsed) for fault in faults)


def tripped_machines(faults: Iterable[PlantFault], elapsed: np.timedelta64) -> frozenset[str]:
    """Return the machines that have tripped, some time after the start of the run."""
    return frozenset(
        fault.machine
        for fault in faults
        if fault.kind is FaultKind.TRIP and fault.is_active(elapsed)
    )


class SensorFaults:
    """Faults of the sensors of a facility.

    Parameters
    ----------
    faults
        Faults of any kind.
    points
        All points of the facility.
    is_measured
        Which of them are measured; set points and states have no sensor.
    """

    def __init__(
        self,
        faults: Iterable[PlantFault],
        points: Sequence[SitePoint],
        is_measured: NDArray[np.bool],
    ) -> None:
        self._concerned = [
            (fault, np.array([_concerns(fault, point) for point in points]) & is_measured)
            for fault in faults
            if fault.kind in (FaultKind.METER_LOST, FaultKind.STUCK, FaultKind.DRIFT)
        ]

    def readings(
        self, true: FloatArray, *, last: FloatArray, errors: FloatArray, elapsed: np.timedelta64
    ) -> FloatArray:
        """Return what the sensors show, one a point in the unit of its messages; NaN for nothing.

        ``true`` are readings without faults, ``last`` those sent last, NaN before the first, and
        ``errors`` standard errors. ``elapsed`` is the time since the start of the run.
        """
        shown = true.copy()
        for fault, concerned in self._concerned:
            if not fault.is_active(elapsed):
                continue
            match fault.kind:
                case FaultKind.METER_LOST:
                    shown[concerned] = np.nan
                case FaultKind.STUCK:
                    shown[concerned] = np.where(np.isfinite(last), last, true)[concerned]
                case FaultKind.DRIFT:
                    hours = float(elapsed / HOUR) - fault.start_h
                    shown[concerned] += (DRIFT_ERRORS_PER_HOUR * hours * errors)[concerned]
        return shown


def _concerns(fault: PlantFault, point: SitePoint) -> bool:
    if fault.kind is FaultKind.METER_LOST:
        return point.meaning.variable == "grid_import_power"
    return point.machine == fault.machine
