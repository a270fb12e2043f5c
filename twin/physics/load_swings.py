"""Power that swings with every step of training: its lines of frequency, in closed form.

The same law as :mod:`twin.physics.load_swings`, for a square swing without end. Power is in MW,
time in s, energy in MJ.

Swings of 0.1 to 20 Hz: what power smoothing and rack stores leave of them, second by second.

Of one rack or of many alike. Power is in MW and time in s here, so that energy is in MJ.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics.numerics import FloatArray, Numeric

BURST: Final = 0.5
"""Longest burst above a cap; measured were 0.05 to 0.5 s (secondary source). [s]"""

OVERSHOOT: Final = 0.43
"""Most by which a burst exceeds its cap, measured at a cap of 500 W (secondary source). [1]"""

_SMOOTHING_ROUNDING: Final = 1e-9  # of the hysteresis, so that whole steps count as whole


@dataclass(frozen=True, kw_only=True)
class SmoothingModel:
    """What stands between the work of racks and the busway: accelerators' firmware and a store.

    Attributes
    ----------
    idle_power, full_power
        Power of the racks that wait, and at full work. [MW]
    power_floor
        Power held while work runs and for the hysteresis after it. [MW]
    ramp_up, ramp_down
        Fastest rise and fall of the power; infinite without smoothing. [MW s-1]
    hysteresis
        Time for which the floor is held after work has stopped. [s]
    storage_energy
        Energy between a full and an empty store of the power shelves. [MJ]
    """

    idle_power: float
    full_power: float
    power_floor: float = 0.0
    ramp_up: float = math.inf
    ramp_down: float = math.inf
    hysteresis: float = 0.0
    storage_energy: float = 0.0

    @property
    def time_constant(self) -> float:
        """Time constant of the store: its energy over the widest swing. [s]"""
        return self.storage_energy / (self.full_power - self.idle_power)


@dataclass(frozen=True, kw_only=True)
class SmoothedLoad:
    """What became of a course of load, means over its steps unless said.

    Attributes
    ----------
    accelerator_power
        Power that the accelerators draw, floor and ramps included. [MW]
    busway_power
        Power drawn from the busway, behind the store. [MW]
    level
        Energy in the store at the edges, one more than steps. [MJ]
    excess_energy
        Energy drawn above the load, which does no work. [MJ]
    deferred_energy
        Energy of the load that ramps did not let through; its work is late. [MJ]
    """

    accelerator_power: FloatArray
    busway_power: FloatArray
    level: FloatArray
    excess_energy: float
    deferred_energy: float


def smooth_load(load: FloatArray, smoother: SmoothingModel, *, step: float) -> SmoothedLoad:
    r"""Return what becomes of a course of load, exactly for a load that is constant in each step.

    Parameters
    ----------
    load
        Power that the work asks for, in equal steps. [MW]
    smoother
        Floor, ramps, hysteresis and store.
    step
        Length of a step, about 1 ms. [s]

    Returns
    -------
    SmoothedLoad
        Draw, power behind the store, level, energy burned and withheld. [MW, MJ]

    Notes
    -----
    While work runs (the load stands above idle), and for the hysteresis after it, the accelerators
    aim at :math:`\max(p, floor)`, else at the load; the draw follows at most at the ramps. The
    store's controller lets the power from the busway follow the draw with the lag
    :math:`\tau = E / (P_{full} - P_{idle})`:

    .. math:: \tau \dot g = q - g, \qquad e = E\, (P_{full} - g) / (P_{full} - P_{idle})

    so that what flows into the store is :math:`\dot e = g - q`, energy is conserved, and no load
    between idle and full ever empties or fills it. Both equations are linear within a step and
    solved there; only the mean of a step that ramps is taken as constant for the store.
    """
    target = _target(np.asarray(load, dtype=np.float64), smoother, step)
    draw = _follow(target, smoother, step)
    lag = smoother.time_constant
    level = np.zeros(len(draw) + 1)
    if lag == 0.0:
        connection = draw
    else:
        edges = _lagged(draw, decay=math.exp(-step / lag))
        connection = draw - np.diff(edges) * lag / step
        level = lag * (smoother.full_power - edges)
    above = draw - load
    return SmoothedLoad(
        accelerator_power=draw,
        busway_power=connection,
        level=level,
        excess_energy=float(np.maximum(above, 0.0).sum() * step),
        deferred_energy=float(np.maximum(-above, 0.0).sum() * step),
    )


def _target(load: FloatArray, smoother: SmoothingModel, step: float) -> FloatArray:
    """Return the power that the firmware aims at in each step. [MW]"""
    runs = load > smoother.idle_power
    last = np.maximum.accumulate(np.where(runs, np.arange(len(load)), -np.inf))
    since = (np.arange(len(load)) - last) * step
    is_held = since <= smoother.hysteresis * (1.0 + _SMOOTHING_ROUNDING)
    return np.where(is_held, np.maximum(load, smoother.power_floor), load)


def _follow(target: FloatArray, smoother: SmoothingModel, step: float) -> FloatArray:
    """Return the means of a power that follows its target at most at the ramps. [MW]"""
    if math.isinf(smoother.ramp_up) and math.isinf(smoother.ramp_down):
        return target
    means = np.empty_like(target)
    power = float(target[0])
    rise, fall = smoother.ramp_up * step, smoother.ramp_down * step
    for i, aim in enumerate(target.tolist()):
        change = max(min(aim - power, rise), -fall)
        most = rise if change > 0.0 else fall
        moving = abs(change) / most if change else 0.0  # share of the step
        means[i] = power + change * (1.0 - 0.5 * moving)
        power += change
    return means


def _lagged(draw: FloatArray, *, decay: float) -> FloatArray:
    """Return a first-order lag of a course at its edges, at rest on its mean before. [MW]"""
    edges = np.empty(len(draw) + 1)
    power = edges[0] = float(draw.mean())
    for i, drawn in enumerate(draw.tolist()):
        power = drawn + (power - drawn) * decay
        edges[i + 1] = power
    return edges


def peak_under_cap(
    cap: Numeric,
    uncapped: Numeric,
    *,
    synchronised: Numeric = 1.0,
    window: Numeric = BURST,
    lag: float = 0.0,
) -> Numeric:
    r"""Return the highest short-time mean of power that racks under a cap can draw.

    Parameters
    ----------
    cap
        Cap of all racks together. [MW]
    uncapped
        What they would draw without it. [MW]
    synchronised
        Share of the racks whose bursts coincide; the others keep the cap on average. [1]
    window
        Time over which the connection's peak is a mean. [s]
    lag
        Time constant of the racks' store, see :func:`smooth_load`. [s]

    Returns
    -------
    Numeric
        Highest mean; the cap itself where nothing would exceed it. [MW]

    Notes
    -----
    A cap is not instantaneous: bursts of up to 0.5 s overshoot it by up to 43 %, then it is kept.
    One burst a window gives at most :math:`P_{cap} + s\, \min(0.43 P_{cap}, P - P_{cap})\, m` with
    :math:`m = \min(1, 0.5 / W, 1 - e^{-0.5/\tau})`: behind a store with lag a burst cannot have
    grown to its height when it ends.
    """
    height = np.clip(np.asarray(uncapped) - cap, 0.0, OVERSHOOT * np.asarray(cap))
    grown = -math.expm1(-BURST / lag) if lag > 0.0 else 1.0
    share = np.minimum(np.minimum(BURST / np.asarray(window), 1.0), grown)
    drawn: FloatArray = np.minimum(cap, uncapped) + synchronised * height * share
    return drawn


_CYCLES_ROUNDING: Final = 1e-9  # of a frequency, so that a line on an edge does not fall below it
_BISECTIONS: Final = 80
_FINEST: Final = 1e-12  # s; shorter pieces have no area


@dataclass(frozen=True, kw_only=True)
class LoadSwing:
    """A square swing of load: computing, then waiting for the others.

    Attributes
    ----------
    period
        Length of a training step. [s]
    duty
        Share of it that computes. [1]
    low_power, high_power
        Power while it waits and while it computes. [MW]
    """

    period: float
    duty: float
    low_power: float
    high_power: float


@dataclass(frozen=True, kw_only=True)
class SwingSpectrum:
    """What a swing becomes, by line of frequency.

    Attributes
    ----------
    frequency
        Of the lines: one over the period, and its multiples. [Hz]
    load, accelerator_power, busway_power
        Amplitudes of what the work asks for, of what the accelerators draw, and of what comes from
        the busway behind the store. [MW]
    excess_power, deferred_power
        Means of what is drawn above the load and does no work, and of what ramps keep from it. [MW]
    """

    frequency: FloatArray
    load: FloatArray
    accelerator_power: FloatArray
    busway_power: FloatArray
    excess_power: float
    deferred_power: float


@dataclass(frozen=True)
class _Piece:
    """A straight piece of a cycle, and the load that goes with it."""

    begin: float
    end: float
    first: float
    last: float
    load: float


def swing_spectrum(swing: LoadSwing, smoother: SmoothingModel, *, highest: float) -> SwingSpectrum:
    r"""Return the lines of frequency of a swing before and after smoothing.

    Parameters
    ----------
    swing
        Load of the racks.
    smoother
        Floor, ramps, hysteresis and store of the same racks.
    highest
        Highest frequency asked for. [Hz]

    Returns
    -------
    Lines
        Amplitudes by frequency, and the mean power burned and withheld. [MW]

    Notes
    -----
    Under floor and ramps the cycle stays made of straight pieces. A piece from :math:`(a, v_a)` to
    :math:`(b, v_b)` of slope m adds to the line at :math:`\omega`

    .. math:: \frac{1}{T}\left[\frac{v_a e^{-j\omega a} - v_b e^{-j\omega b}}{j\omega}
              + \frac{m\,(e^{-j\omega a} - e^{-j\omega b})}{(j\omega)^2}\right]

    and the store passes :math:`1 / (1 + j \omega \tau)` of it. The power at which the cycle begins
    is the one at which it ends, found by bisection: the end never falls when the beginning rises.
    Where ramps let a cycle rise just as much as it falls there are many such powers; one is taken.
    """
    count = max(int(highest * swing.period * (1.0 + _CYCLES_ROUNDING)), 1)
    frequency = np.arange(1.0, count + 1.0) / swing.period
    aims = _aims(swing, smoother)
    bare = [_Piece(begin, end, load, load, load) for begin, end, _, load in aims]
    drawn = _followed(aims, _beginning(aims, smoother), smoother)
    draw = _amplitude(drawn, frequency, swing.period)
    passed = np.abs(1.0 / (1.0 + 2j * np.pi * frequency * smoother.time_constant))
    return SwingSpectrum(
        frequency=frequency,
        load=_amplitude(bare, frequency, swing.period),
        accelerator_power=draw,
        busway_power=draw * passed,
        excess_power=sum(_above(piece, 1.0) for piece in drawn) / swing.period,
        deferred_power=sum(_above(piece, -1.0) for piece in drawn) / swing.period,
    )


def _aims(swing: LoadSwing, smoother: SmoothingModel) -> list[tuple[float, float, float, float]]:
    """Return begin, end [s], power aimed at and load [MW] of the parts of a cycle."""
    computing = swing.duty * swing.period
    held = (
        swing.period if swing.low_power > smoother.idle_power else computing + smoother.hysteresis
    )
    held = min(held, swing.period)

    def aimed(load: float, is_held: bool) -> float:
        return max(load, smoother.power_floor) if is_held else load

    parts = [
        (
            0.0,
            computing,
            aimed(swing.high_power, swing.high_power > smoother.idle_power),
            swing.high_power,
        ),
        (computing, held, aimed(swing.low_power, True), swing.low_power),
        (held, swing.period, swing.low_power, swing.low_power),
    ]
    return [part for part in parts if part[1] - part[0] > _FINEST]


def _followed(
    aims: list[tuple[float, float, float, float]], power: float, smoother: SmoothingModel
) -> list[_Piece]:
    """Return the pieces of a cycle that begins at some power."""
    pieces = []
    for begin, end, aim, load in aims:
        change = aim - power
        rate = smoother.ramp_up if change > 0.0 else smoother.ramp_down
        reach = min(abs(change), rate * (end - begin))
        arrival = begin + reach / rate if reach > 0.0 else begin
        reached = power + math.copysign(reach, change)
        if arrival > begin:
            pieces.append(_Piece(begin, arrival, power, reached, load))
        pieces.append(_Piece(arrival, end, reached, reached, load))
        power = reached
    return pieces


def _beginning(aims: list[tuple[float, float, float, float]], smoother: SmoothingModel) -> float:
    """Return the power at which a cycle begins and ends. [MW]"""
    levels = [aim for _, _, aim, _ in aims]
    low, high = min(levels), max(levels)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if _followed(aims, middle, smoother)[-1].last > middle:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _amplitude(pieces: list[_Piece], frequency: FloatArray, period: float) -> FloatArray:
    omega = 2j * np.pi * frequency
    total = np.zeros(len(frequency), dtype=np.complex128)
    for piece in pieces:
        length = piece.end - piece.begin
        if length <= _FINEST:
            continue
        first, last = np.exp(-omega * piece.begin), np.exp(-omega * piece.end)
        slope = (piece.last - piece.first) / length
        total += (piece.first * first - piece.last * last) / omega
        total += slope * (first - last) / omega**2
    return np.asarray(2.0 * np.abs(total) / period)


def _above(piece: _Piece, sign: float) -> float:
    """Return the area between a piece and its load where the first lies above (or below). [MJ]"""
    first, last = sign * (piece.first - piece.load), sign * (piece.last - piece.load)
    length = piece.end - piece.begin
    if first >= 0.0 and last >= 0.0:
        return 0.5 * (first + last) * length
    top = max(first, last)
    if top <= 0.0:
        return 0.0
    return 0.5 * top * length * top / (top - min(first, last))


def amplitude_by_band(course: FloatArray, *, step: float, bands: FloatArray) -> FloatArray:
    r"""Return how strongly a course swings in bands of frequency.

    Parameters
    ----------
    course
        Power in equal steps, best over whole cycles. [MW]
    step
        Length of a step. [s]
    bands
        Edges of the bands, rising. [Hz]

    Returns
    -------
    numpy.ndarray
        Amplitude of the sine that carries as much as the band, one less than edges. [MW]

    Notes
    -----
    :math:`A = \sqrt{\sum_k a_k^2}` over the lines of the discrete Fourier transform in the band,
    :math:`a_k = 2 |X_k| / N`. A course that is cut within a cycle leaks into neighbouring bands.
    """
    lines = 2.0 * np.abs(np.fft.rfft(course - np.mean(course))) / len(course)
    return amplitudes_in_bands(np.fft.rfftfreq(len(course), step), lines, bands=bands)


def amplitudes_in_bands(
    frequency: FloatArray, amplitude: FloatArray, *, bands: FloatArray
) -> FloatArray:
    """Return the amplitudes of lines gathered in bands.

    Parameters
    ----------
    frequency
        Of the lines. [Hz]
    amplitude
        Of the lines. [MW]
    bands
        Edges of the bands, rising; a line on an edge belongs to the upper band. [Hz]

    Returns
    -------
    numpy.ndarray
        Root of the sum of squares in each band. [MW]
    """
    # a line on an edge must not fall below it by rounding
    places = (
        np.searchsorted(bands, np.asarray(frequency) * (1.0 + _CYCLES_ROUNDING), side="right") - 1
    )
    sums = np.zeros(len(bands) + 1)
    np.add.at(sums, places, np.square(amplitude))  # -1, below all bands, lands at the end
    return np.asarray(np.sqrt(sums[: len(bands) - 1]))


def least_swing(swing: Numeric, *, period: Numeric, duty: Numeric, storage: Numeric) -> Numeric:
    r"""Return the least swing that any controller of a store could leave of a square one.

    Parameters
    ----------
    swing
        Height of the square swing, peak to peak. [MW]
    period
        Length of a cycle. [s]
    duty
        Share of the cycle at the upper power. [1]
    storage
        Energy of the store. [MJ]

    Returns
    -------
    Numeric
        Swing left, peak to peak. [MW]

    Notes
    -----
    The store gives at most E during the upper part and takes it back during the lower one:
    :math:`A - E/(dT) - E/((1 - d)T)`, not below 0. The lag of
    :func:`twin.physics.load_swings.smooth_load` does less: it knows neither period nor height, but
    is never empty. Both are told, so that nobody counts on more.
    """
    relieved = storage / (duty * period) + storage / ((1.0 - duty) * period)
    return np.maximum(swing - relieved, 0.0)


def together(amplitude: Numeric, racks: Numeric, *, synchronised: Numeric) -> Numeric:
    r"""Return the amplitude of many racks of which a share swings in step.

    Parameters
    ----------
    amplitude
        Of one rack. [MW]
    racks
        Number of racks. [1]
    synchronised
        Share that swings in step; the phases of the others are random. [1]

    Returns
    -------
    Numeric
        Root of the mean square of the amplitude at the connection. [MW]

    Notes
    -----
    :math:`a \sqrt{(sN)^2 + (1 - s) N}`: phasors in step add, those of random phase add as squares.
    """
    return amplitude * np.sqrt((synchronised * racks) ** 2 + (1.0 - synchronised) * racks)
