"""Dynamic model of a UPS-fed load, as seen by the grid while its voltage is disturbed.

A UPS always supplies its load; the grid sees the input power of its rectifier. The rectifier
disconnects if the voltage is outside a tolerance for too long, or disturbed too often. It returns
after a delay on a ramp or, if locked out, only by hand.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.physics.numerics import FloatArray

type VoltageTolerances = tuple[tuple[float, float], ...]
"""(voltage as a share of nominal, tolerated time beyond it [s])."""

ITIC_UNDERVOLTAGE: Final[VoltageTolerances] = ((0.70, 0.02), (0.80, 0.5), (0.90, 10.0))
"""Tolerated times below these voltages; [1]_ of :func:`simulate_voltage_ride_through`."""

ITIC_OVERVOLTAGE: Final[VoltageTolerances] = ((1.10, 0.5), (1.20, 0.003))
"""Tolerated times above these voltages; [1]_ of :func:`simulate_voltage_ride_through`."""

TIME_TOLERANCE_S: Final = 1e-9
"""Tolerance of comparisons of times. [s]"""


class UpsMode(IntEnum):
    """Mode of a UPS."""

    MAINS = 0
    BATTERY = 1
    RETURN = 2
    LOCKED = 3


@dataclass(frozen=True, kw_only=True)
class UpsRideThroughSettings:
    """Settings of a UPS for disturbances of its input.

    - `undervoltage`, `overvoltage`: tolerances below and above nominal voltage.
    - `normal_band`: voltages of an undisturbed input. [1]
    - `max_disturbances`: disturbances within ``counting_window`` that lock the input out; 0
      disables the lock-out. [1]
    - `counting_window`: time window of the count. [s]
    - `return_delay`: undisturbed time before the load returns. [s]
    - `walk_in`: duration of the linear ramp of the returning load. [s]
    - `current_limit`: maximum input current over that at nominal voltage and this load; the battery
      supplies the rest at low voltage. [1]
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
    """Response of a load to a disturbance.

    - `grid_power_share`: grid power as a share of the load, per sample. [1]
    - `transfers`: number of transfers to battery. [1]
    - `locked_after`: time from the start to the lock-out, or None. [s]
    - `battery_time`: battery energy, as time at full load. [s]
    """

    grid_power_share: FloatArray
    mode: NDArray[np.int8]
    transfers: int
    locked_after: float | None
    battery_time: float


def simulate_voltage_ride_through(
    voltage: FloatArray, step: float, settings: UpsRideThroughSettings | None = None
) -> VoltageRideThrough:
    r"""Return the response of a UPS-fed load to a voltage profile.

    Parameters
    ----------
    voltage
        Voltage at the input, share of nominal, equal steps. [1]
    step
        Time between samples; tolerances are exact to one step. [s]
    settings
        Settings of the UPS; by default those of :class:`UpsRideThroughSettings`.

    Returns
    -------
    VoltageRideThrough
        Grid power share [1] and times of events [s].

    Notes
    -----
    For each tolerance :math:`(u_i, t_i)` a timer runs while the voltage is beyond :math:`u_i`; the
    load disconnects when it exceeds :math:`t_i`. Each period outside the band counts as one
    disturbance at its start; the :math:`n`-th within the window locks the input out until it is
    closed by hand. Otherwise, after the delay within the band, the load returns as :math:`t /
    t_{walk}`; a new disturbance returns it to battery. On mains the share is :math:`\min(1, i_{max}
    u)`.

    The tolerances follow the ITI curve [1]_. Three disturbances within a minute and a return by
    hand caused the loss of 1,500 MW of data centres [2]_ (both from secondary sources). Delay,
    walk-in and current limit are usual data sheet values, to be confirmed by the manufacturer.
    Loads without a UPS, such as contactors of pumps, need other settings of the same model.

    References
    ----------
    .. [1] Information Technology Industry Council, "ITI (CBEMA) curve application note," 2000.
    .. [2] NERC, "Incident review: considering simultaneous voltage-sensitive load reductions,"
       Jan. 2025.
    """
    ups_input = _UpsInput(settings or UpsRideThroughSettings(), step)
    samples = np.asarray(voltage, dtype=np.float64).tolist()
    steps = [ups_input.step_to(u) for u in samples]
    shares, modes = zip(*steps, strict=True) if steps else ((), ())
    share = np.array(shares, dtype=np.float64)
    return VoltageRideThrough(
        grid_power_share=share,
        mode=np.array(modes, dtype=np.int8),
        transfers=ups_input.transfers,
        locked_after=ups_input.locked_after,
        battery_time=float(np.sum(1.0 - share) * step),
    )


class _UpsInput:
    """The input of a UPS with its timers, counter and mode."""

    def __init__(self, settings: UpsRideThroughSettings, step: float) -> None:
        self.settings, self.step = settings, step
        self.mode = UpsMode.MAINS
        self.clocks = [0.0] * (len(settings.undervoltage) + len(settings.overvoltage))
        self.starts: list[float] = []
        self.now = 0.0
        self.undisturbed_time = np.inf
        self.transfers = 0
        self.locked_after: float | None = None

    def step_to(self, voltage: float) -> tuple[float, UpsMode]:
        """Return share and mode in the step that begins with this voltage."""
        low, high = self.settings.normal_band
        is_undisturbed = low <= voltage <= high
        if not is_undisturbed and self.undisturbed_time > 0.0:
            self._count()
        self.undisturbed_time = self.undisturbed_time + self.step if is_undisturbed else 0.0
        exceeds = self._exceeds_tolerance(voltage)
        is_interrupted = self.mode is UpsMode.RETURN and not is_undisturbed
        if is_interrupted or (self.mode is UpsMode.MAINS and exceeds):
            self._transfer(UpsMode.BATTERY)
        share = self._share(voltage)
        self.now += self.step
        return share, self.mode

    def _exceeds_tolerance(self, voltage: float) -> bool:
        """Advance the clock of each tolerance; return whether one has run out."""
        rules = self.settings
        outside = [voltage < u for u, _ in rules.undervoltage] + [
            voltage > u for u, _ in rules.overvoltage
        ]
        times = [t for _, t in (*rules.undervoltage, *rules.overvoltage)]
        has_expired = any(
            clock + TIME_TOLERANCE_S >= time and is_outside
            for clock, time, is_outside in zip(self.clocks, times, outside, strict=True)
        )
        self.clocks = [
            clock + self.step if is_outside else 0.0
            for clock, is_outside in zip(self.clocks, outside, strict=True)
        ]
        return has_expired

    def _count(self) -> None:
        """Count a disturbance, and lock the input out after too many."""
        since = self.now - self.settings.counting_window
        self.starts = [start for start in self.starts if start > since - TIME_TOLERANCE_S] + [
            self.now
        ]
        limit = self.settings.max_disturbances
        if limit and len(self.starts) >= limit and self.mode is not UpsMode.LOCKED:
            self.locked_after = self.now
            self._transfer(UpsMode.LOCKED)

    def _transfer(self, mode: UpsMode) -> None:
        self.transfers += self.mode in {UpsMode.MAINS, UpsMode.RETURN}
        self.mode = mode

    def _share(self, voltage: float) -> float:
        """Return the share of the load in this step, and let an undisturbed input return."""
        rules = self.settings
        # time since the end of the delay, at the start of this step
        return_time = self.undisturbed_time - self.step - rules.return_delay
        if self.mode is UpsMode.BATTERY and return_time > -TIME_TOLERANCE_S:
            self.mode = UpsMode.RETURN
        if self.mode is UpsMode.RETURN:
            if return_time + TIME_TOLERANCE_S < rules.walk_in:
                return max(return_time, 0.0) / rules.walk_in
            self.mode = UpsMode.MAINS
        return min(1.0, rules.current_limit * voltage) if self.mode is UpsMode.MAINS else 0.0
