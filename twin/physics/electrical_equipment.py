"""Losses of the electrical chain from grid transformer to chip converter, and overload times."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from twin.physics.numerics import FloatArray, Numeric, interpolate_extrapolate

type EfficiencyPoints = Sequence[tuple[float, float]]
"""Published points of an efficiency curve: (load share, efficiency), load share rising."""

UPS_ECO_MODE_EFFICIENCY: Final[EfficiencyPoints] = (
    (0.25, 0.984),
    (0.50, 0.990),
    (0.75, 0.992),
    (1.0, 0.992),
)
"""Eco mode of a UPS of the megawatt class; Eaton 9395XR data sheet (secondary source)."""

PSU_TITANIUM_EFFICIENCY: Final[EfficiencyPoints] = (
    (0.10, 0.90),
    (0.20, 0.94),
    (0.50, 0.96),
    (1.0, 0.91),
)
"""80 PLUS Titanium, 230 V redundant: minimum efficiency of the label."""

_MIN_QUADRATIC: Final = 1e-12  # UpsBank refuses polynomials that always fall

PSU_RUBY_EFFICIENCY: Final[EfficiencyPoints] = (
    (0.05, 0.90), (0.10, 0.91), (0.20, 0.95), (0.50, 0.965), (1.0, 0.92),
)  # fmt: skip
"""80 PLUS Ruby, 230 V redundant: minimum efficiency of the label."""


def transformer_loss(
    load: Numeric,
    rating: Numeric,
    *,
    no_load_loss: Numeric,
    load_loss: Numeric,
    power_factor: Numeric = 1.0,
) -> Numeric:
    r"""Return the loss of an energised transformer.

    Parameters
    ----------
    load
        Active power delivered. [MW]
    rating
        Rated apparent power. [MVA]
    no_load_loss
        Loss of the core, present at every load. [MW]
    load_loss
        Loss of the windings at rated apparent power. [MW]
    power_factor
        Active over apparent power of the load. [1]

    Returns
    -------
    Numeric
        Loss. [MW]

    Notes
    -----
    :math:`P_0 + P_k (S / S_r)^2` with :math:`S = P / \cos\varphi`. Valid at rated voltage and
    winding temperature, to about 1.5 times the rating.

    References
    ----------
    .. [1] IEC 60076-1:2011, "Power transformers - Part 1: General."

    Examples
    --------
    >>> round(float(transformer_loss(63.0, 63.0, no_load_loss=0.040, load_loss=0.200)), 3)
    0.24
    """
    return no_load_loss + load_loss * (load / (power_factor * rating)) ** 2


def ups_loss(
    load: Numeric,
    rating: Numeric,
    *,
    constant: Numeric = 0.00600,
    linear: Numeric = -0.00077,
    quadratic: Numeric = 0.0320,
) -> Numeric:
    r"""Return the loss of a running UPS in double conversion.

    Parameters
    ----------
    load
        Power delivered at the output. [MW]
    rating
        Rated output. [MW]
    constant, linear, quadratic
        Coefficients of the loss over the load share, as shares of the rating. [1]

    Returns
    -------
    Numeric
        Loss. [MW]

    Notes
    -----
    :math:`P_r (a + b x + c x^2)` with :math:`x = P / P_r`, from 0 to 1.1. The default coefficients
    are our fit to the published efficiencies of an Eaton 9395XR, 97.0, 97.3, 97.0 and 96.4 % at 25,
    50, 75 and 100 % load; below 25 % they extrapolate. The loss never falls with load: below the
    minimum of the polynomial, here at 1.2 % of load, it is constant.
    """
    falls = np.maximum(-np.asarray(linear), 0.0)
    lowest = np.where(
        falls > 0.0, falls / np.maximum(2.0 * np.asarray(quadratic), _MIN_QUADRATIC), 0.0
    )
    share = np.maximum(load / rating, lowest)
    return rating * (constant + share * (linear + share * quadratic))


def loss_from_efficiency(load_share: Numeric, points: EfficiencyPoints) -> Numeric:
    r"""Return the loss of a converter from published points of its efficiency.

    Parameters
    ----------
    load_share
        Output over rated output. [1]
    points
        Published points, load share rising: (load share, efficiency). [1]

    Returns
    -------
    Numeric
        Loss over rated output, never negative. [1]

    Notes
    -----
    At each point :math:`l = x (1/\eta - 1)`; the loss is linear between points, which is never
    below a convex curve through them. The end lines are extrapolated, so that the loss of an idle
    converter is finite.
    """
    share, efficiency = np.array(points, dtype=np.float64).T
    loss = share * (1.0 / efficiency - 1.0)
    return np.maximum(interpolate_extrapolate(load_share, share, loss), 0.0)


def conversion_power(output: Numeric, efficiency: Numeric, *, offset: Numeric = 0.0) -> Numeric:
    r"""Return the input power of a converter with a constant offset.

    Parameters
    ----------
    output
        Power delivered. [any unit of power]
    efficiency
        Output and offset over input. [1]
    offset
        Power that the converter itself uses at every load. [unit of ``output``]

    Returns
    -------
    Numeric
        Power drawn. [unit of ``output``]

    Notes
    -----
    :math:`P_{in} = (P + P_o) / \eta`. The node converters (13 W, 0.98) and rectifiers (17 W, 0.96)
    of the Frontier machine are published in this form.

    References
    ----------
    .. [1] W. Brewer et al., "A digital twin framework for liquid-cooled supercomputers as
       demonstrated at exascale," in *Proc. SC24*, pp. 324-341, 2024.
       doi:10.48550/arXiv.2410.05133
    """
    return (output + offset) / efficiency


def resistive_loss(load: Numeric, rated_load: Numeric, *, rated_loss: Numeric) -> Numeric:
    r"""Return the loss of a busway, cable or PDU.

    Parameters
    ----------
    load
        Power delivered. [MW]
    rated_load
        Rated power. [MW]
    rated_loss
        Loss at rated power. [MW]

    Returns
    -------
    Numeric
        Loss. [MW]

    Notes
    -----
    :math:`P_l = P_{l,r} (P / P_r)^2`, from :math:`I^2 R` at constant voltage and power factor.
    """
    return rated_loss * (load / rated_load) ** 2


# Medium power transformers, ONAF (IEC 60076-7:2018, thermal characteristics and limits of emergency
# loading; read from memory of the standard: to be checked against the text).
_TOP_OIL_RISE: Final = 52.0  # K at rating
_HOT_SPOT_RISE: Final = 26.0  # K over top oil at rating: hot-spot factor 1.3 times gradient 20 K
_OIL_EXPONENT: Final = 0.8
_WINDING_EXPONENT: Final = 1.3
_OIL_TIME_CONSTANT: Final = 0.5 * 150.0  # min: factor k11 times the time constant of the oil
_TOP_OIL_LIMIT: Final = 115.0  # degC
_HOT_SPOT_LIMIT: Final = 140.0  # degC
_MAX_LOAD: Final = 1.5  # of the rated current

# Usual data sheets of double-conversion UPS: maximum load share, and minutes. (assumption)
_UPS_LOADS: Final = np.array([1.0, 1.1, 1.25, 1.5])
_UPS_MINUTES: Final = np.array([np.inf, 10.0, 1.0, 1.0 / 6.0, 0.0])


def transformer_overload_time(
    load: Numeric, initial_load: Numeric, *, air_temperature: Numeric, loss_ratio: float
) -> FloatArray:
    """Return the time for which an oil-immersed transformer tolerates a load.

    Parameters
    ----------
    load, initial_load
        Apparent power over the rating from now on, and in the long time before. [1]
    air_temperature
        Outdoor air. [degC]
    loss_ratio
        Load loss at rating over no-load loss. [1]

    Returns
    -------
    numpy.ndarray
        Time until the oil or the hot spot reaches its emergency limit; infinite if never. [min]

    Notes
    -----
    The final top-oil rise over air is :math:`52 [(1 + R K^2) / (1 + R)]^{0.8}` K, reached with a
    time constant of 75 min. The hot spot is :math:`26 K^{1.3}` K above it, assumed immediate, which
    is conservative. Limits are 115 degC, 140 degC and 1.5 times the rated current.

    References
    ----------
    .. [1] *Power transformers - Part 7: Loading guide for mineral-oil-immersed power
       transformers*, IEC 60076-7:2018.

    Examples
    --------
    >>> float(transformer_overload_time(1.0, 0.8, air_temperature=20.0, loss_ratio=5.0))
    inf
    """
    load = np.abs(np.asarray(load, dtype=np.float64))

    def oil(share: Numeric) -> FloatArray:
        losses = (1.0 + loss_ratio * np.asarray(share) ** 2) / (1.0 + loss_ratio)
        return np.asarray(_TOP_OIL_RISE * losses**_OIL_EXPONENT)

    spot = _HOT_SPOT_RISE * load**_WINDING_EXPONENT
    max_oil_rise = np.minimum(_TOP_OIL_LIMIT, _HOT_SPOT_LIMIT - spot) - air_temperature
    initial, final = oil(initial_load), oil(load)
    span = np.where(final > initial, final - initial, 1.0)
    share = np.clip((max_oil_rise - initial) / span, 0.0, None)
    is_reached = (share < 1.0) & (final > max_oil_rise)
    time = -_OIL_TIME_CONSTANT * np.log1p(-np.where(is_reached, share, 0.0))
    return np.where(load > _MAX_LOAD, 0.0, np.where(is_reached, time, np.inf))


def ups_overload_time(load: Numeric) -> FloatArray:
    """Return the time for which a UPS tolerates a load before it transfers to bypass.

    Parameters
    ----------
    load
        Output over the rating of the remaining blocks. [1]

    Returns
    -------
    numpy.ndarray
        Time, infinite up to the rating: 10 min to 110 %, 1 min to 125 %, 10 s to 150 %. [min]
    """
    return np.asarray(_UPS_MINUTES[np.searchsorted(_UPS_LOADS, np.asarray(load), side="left")])
