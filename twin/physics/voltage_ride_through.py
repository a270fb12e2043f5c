"""What a grid sees of a UPS-fed load while its voltage is disturbed: a dynamic load model.

A UPS holds its load in any case; what the grid loses is the power that its rectifier takes. That
leaves when the voltage stays outside a tolerance for too long, or is disturbed too often, and
returns after a delay, on a ramp; or, locked out, not before somebody lets it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.physics.numerics import FloatArray

type VoltageTolerances = tuple[tuple[float, float], ...]
"""(voltage as a share of nominal, how long beyond it is borne [s])."""

ITIC_UNDERVOLTAGE: Final[VoltageTolerances] = ((0.70, 0.02), (0.80, 0.5), (0.90, 10.0))
"""Below these voltages equipment must hold so long; [1]_ of :func:`simulate_voltage_ride_through`.
"""

ITIC_OVERVOLTAGE: Final[VoltageTolerances] = ((1.10, 0.5), (1.20, 0.003))
"""Above these voltages equipment must hold so long; [1]_ of :func:`simulate_voltage_ride_through`.
"""

TIME_TOLERANCE_S: Final = 1e-9
"""Times differ by more than this. [s]"""


class UpsMode(IntEnum):
    """What a UPS does."""

    MAINS = 0
    BATTERY = 1
    RETURN = 2
    LOCKED = 3


@dataclass(frozen=True, kw_only=True)
class UpsRideThroughSettings:
    """Settings of a UPS against disturbances of its input.

    Attributes
    ----------
    undervoltage, overvoltage
        Tolerances below and above nominal voltage.
    normal_band
        Voltages between which the input counts as undisturbed. [1]
    max_disturbances
        So many within ``counting_window`` lock the input out; 0 never does. [1]
    counting_window
        Time in which disturbances are counted. [s]
    return_delay
        How long the input must be undisturbed before the load returns. [s]
    walk_in
        Time in which the load returns, on a straight ramp. [s]
    current_limit
        Greatest input current, share of that at nominal voltage and this load; what it leaves
        uncovered while the voltage is low the battery gives. [1]
    """

    undervoltage: VoltageTolerances = ITIC_UNDERVOLTAGE
    overvoltage: VoltageTolerances = ITIC_OVERVOLTAGE
    normal_band: tuple[float, float] = (0.90, 1.10)
    max_disturbances: int = 3
    counting_window: float = 60.0
    return_delay: float = 10.0
    walk_in: float = 15.0
    current_limit: float = 1.25


@dataclass(frozen=True, kw_only=True)
class VoltageRideThrough:
    """How a load came through a disturbance.

    Attributes
    ----------
    grid_power_share
        Power taken from the grid, share of the load, a value a sample. [1]
    mode
        :class:`UpsMode` a sample.
    transfers
        How often it went over to the battery. [1]
    locked_after
        Time from the start to the lock-out, or None. [s]
    battery_time
        What the battery gave, as time at full load. [s]
    """

    grid_power_share: FloatArray
    mode: NDArray[np.int8]
    transfers: int
    locked_after: float | None
    battery_time: float


def simulate_voltage_ride_through(
    voltage: FloatArray, step: float, settings: UpsRideThroughSettings | None = None
) -> VoltageRideThrough:
    r"""Return what the grid sees of a load behind a UPS over a course of the voltage.

    Parameters
    ----------
    voltage
        Voltage at the input, share of nominal, equal steps. [1]
    step
        Time between samples; a tolerance is kept to within one step. [s]
    settings
        Settings of the UPS; by default those of :class:`UpsRideThroughSettings`.

    Returns
    -------
    VoltageRideThrough
        Share of the load at the grid [1], and what happened when. [s]

    Notes
    -----
    For each tolerance :math:`(u_i, t_i)` a clock runs while the voltage lies beyond :math:`u_i`;
    the load leaves when it passes :math:`t_i`. Each stretch outside the band counts as one
    disturbance at its begin; the :math:`n`-th within the window locks the input out at once, and it
    stays so, since it takes somebody to close it again. Otherwise, after the delay inside the band,
    the load returns as :math:`t / t_{walk}`; a new disturbance on the way sends it back to the
    battery. On mains the share is :math:`\min(1, i_{max} u)`.

    The tolerances follow the curve of the equipment's makers [1]_. Three disturbances within a
    minute and a return by hand were found behind the loss of 1,500 MW of data centres [2]_ (both
    read from secondary sources). Delay, walk-in and current limit are usual data sheet values and
    assumptions: ask the maker. Loads that do not stand behind a UPS, such as contactors of pumps,
    are other settings of the same model.

    References
    ----------
    .. [1] Information Technology Industry Council, "ITI (CBEMA) curve application note," 2000.
    .. [2] NERC, "Incident review: considering simultaneous voltage-sensitive load reductions,"
       Jan. 2025.
    """
    unit = _Input(settings or UpsRideThroughSettings(), step)
    course = np.asarray(voltage, dtype=np.float64).tolist()
    shares, modes = zip(*(unit.follow(u) for u in course), strict=True) if course else ((), ())
    share = np.array(shares, dtype=np.float64)
    return VoltageRideThrough(
        grid_power_share=share,
        mode=np.array(modes, dtype=np.int8),
        transfers=unit.transfers,
        locked_after=unit.locked_after,
        battery_time=float(np.sum(1.0 - share) * step),
    )


def ride_through_of(
    voltage: FloatArray, step: float, blocks: Sequence[tuple[float, UpsRideThroughSettings]]
) -> FloatArray:
    """Return what the grid sees of several loads with settings of their own.

    Parameters
    ----------
    voltage
        Voltage at all inputs, share of nominal, equal steps. [1]
    step
        Time between samples. [s]
    blocks
        (load, settings of its UPS). [MW]

    Returns
    -------
    numpy.ndarray
        Power taken from the grid, a value a sample. [MW]
    """
    taken = np.zeros(len(voltage))
    for load, settings in blocks:
        taken += load * simulate_voltage_ride_through(voltage, step, settings).grid_power_share
    return taken


class _Input:
    """The input of a UPS: its clocks, its counter, and where it stands."""

    def __init__(self, settings: UpsRideThroughSettings, step: float) -> None:
        self.settings, self.step = settings, step
        self.mode = UpsMode.MAINS
        self.clocks = [0.0] * (len(settings.undervoltage) + len(settings.overvoltage))
        self.starts: list[float] = []
        self.now = 0.0
        self.calm = np.inf
        self.transfers = 0
        self.locked_after: float | None = None

    def follow(self, voltage: float) -> tuple[float, UpsMode]:
        """Return share and mode in the step that begins now with this voltage."""
        low, high = self.settings.normal_band
        is_calm = low <= voltage <= high
        if not is_calm and self.calm > 0.0:
            self._count()
        self.calm = self.calm + self.step if is_calm else 0.0
        is_beyond = self._is_beyond(voltage)
        bears_none = self.mode is UpsMode.RETURN and not is_calm
        if bears_none or (self.mode is UpsMode.MAINS and is_beyond):
            self._transfer(UpsMode.BATTERY)
        share = self._share(voltage)
        self.now += self.step
        return share, self.mode

    def _is_beyond(self, voltage: float) -> bool:
        """Advance the clock of each tolerance; return whether one has run out."""
        rules = self.settings
        outside = [voltage < u for u, _ in rules.undervoltage] + [
            voltage > u for u, _ in rules.overvoltage
        ]
        times = [t for _, t in (*rules.undervoltage, *rules.overvoltage)]
        is_out = any(
            clock + TIME_TOLERANCE_S >= time and is_outside
            for clock, time, is_outside in zip(self.clocks, times, outside, strict=True)
        )
        self.clocks = [
            clock + self.step if is_outside else 0.0
            for clock, is_outside in zip(self.clocks, outside, strict=True)
        ]
        return is_out

    def _count(self) -> None:
        """Count a disturbance that begins, and lock the input out after too many."""
        since = self.now - self.settings.counting_window
        self.starts = [start for start in self.starts if start > since - TIME_TOLERANCE_S] + [
            self.now
        ]
        most = self.settings.max_disturbances
        if most and len(self.starts) >= most and self.mode is not UpsMode.LOCKED:
            self.locked_after = self.now
            self._transfer(UpsMode.LOCKED)

    def _transfer(self, mode: UpsMode) -> None:
        self.transfers += self.mode in {UpsMode.MAINS, UpsMode.RETURN}
        self.mode = mode

    def _share(self, voltage: float) -> float:
        """Return the share of the load in this step, and let a calm input return."""
        rules = self.settings
        back = (
            self.calm - self.step - rules.return_delay
        )  # of the begin of this step, since the delay
        if self.mode is UpsMode.BATTERY and back > -TIME_TOLERANCE_S:
            self.mode = UpsMode.RETURN
        if self.mode is UpsMode.RETURN:
            if back + TIME_TOLERANCE_S < rules.walk_in:
                return max(back, 0.0) / rules.walk_in
            self.mode = UpsMode.MAINS
        return min(1.0, rules.current_limit * voltage) if self.mode is UpsMode.MAINS else 0.0
