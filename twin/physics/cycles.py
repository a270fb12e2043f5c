"""Power that swings with every step of training: its lines of frequency, in closed form.

The same law as :mod:`twin.physics.smoothing`, for a square swing without end. Power is in MW, time
in s, energy in MJ.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics.numeric import FloatArray, Numeric
from twin.physics.smoothing import Smoother

_ROUNDING: Final = 1e-9  # of a frequency, so that a line on an edge does not fall below it
_BISECTIONS: Final = 80
_FINEST: Final = 1e-12  # s; shorter pieces have no area


@dataclass(frozen=True, kw_only=True)
class Swing:
    """A square swing of load: computing, then waiting for the others.

    Attributes
    ----------
    period
        Length of a training step. [s]
    duty
        Share of it that computes. [1]
    low, high
        Power while it waits and while it computes. [MW]
    """

    period: float
    duty: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What a swing becomes, by line of frequency.

    Attributes
    ----------
    frequency
        Of the lines: one over the period, and its multiples. [Hz]
    load, draw, connection
        Amplitudes of what the work asks for, of what the accelerators draw, and of what comes from
        the busway behind the store. [MW]
    burned_power, withheld_power
        Means of what is drawn above the load and does no work, and of what ramps keep from it. [MW]
    """

    frequency: FloatArray
    load: FloatArray
    draw: FloatArray
    connection: FloatArray
    burned_power: float
    withheld_power: float


@dataclass(frozen=True)
class _Piece:
    """A straight piece of a cycle, and the load that goes with it."""

    begin: float
    end: float
    first: float
    last: float
    load: float


def lines(swing: Swing, smoother: Smoother, *, highest: float) -> Lines:
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
    count = max(int(highest * swing.period * (1.0 + _ROUNDING)), 1)
    frequency = np.arange(1.0, count + 1.0) / swing.period
    aims = _aims(swing, smoother)
    bare = [_Piece(begin, end, load, load, load) for begin, end, _, load in aims]
    drawn = _followed(aims, _beginning(aims, smoother), smoother)
    draw = _amplitude(drawn, frequency, swing.period)
    passed = np.abs(1.0 / (1.0 + 2j * np.pi * frequency * smoother.lag))
    return Lines(
        frequency=frequency,
        load=_amplitude(bare, frequency, swing.period),
        draw=draw,
        connection=draw * passed,
        burned_power=sum(_above(piece, 1.0) for piece in drawn) / swing.period,
        withheld_power=sum(_above(piece, -1.0) for piece in drawn) / swing.period,
    )


def _aims(swing: Swing, smoother: Smoother) -> list[tuple[float, float, float, float]]:
    """Return begin, end [s], power aimed at and load [MW] of the parts of a cycle."""
    computing = swing.duty * swing.period
    held = swing.period if swing.low > smoother.idle else computing + smoother.hysteresis
    held = min(held, swing.period)

    def aimed(load: float, is_held: bool) -> float:
        return max(load, smoother.floor) if is_held else load

    parts = [
        (0.0, computing, aimed(swing.high, swing.high > smoother.idle), swing.high),
        (computing, held, aimed(swing.low, True), swing.low),
        (held, swing.period, swing.low, swing.low),
    ]
    return [part for part in parts if part[1] - part[0] > _FINEST]


def _followed(
    aims: list[tuple[float, float, float, float]], power: float, smoother: Smoother
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


def _beginning(aims: list[tuple[float, float, float, float]], smoother: Smoother) -> float:
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
    return gathered(np.fft.rfftfreq(len(course), step), lines, bands=bands)


def gathered(frequency: FloatArray, amplitude: FloatArray, *, bands: FloatArray) -> FloatArray:
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
    places = np.searchsorted(bands, np.asarray(frequency) * (1.0 + _ROUNDING), side="right") - 1
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
    :func:`twin.physics.smoothing.smooth` does less: it knows neither period nor height, but is
    never empty. Both are told, so that nobody counts on more.
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
