"""Losses of the electrical chain, from the grid's transformer to the chip's converter."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from twin.physics.numeric import Numeric, polyline

type EfficiencyPoints = Sequence[tuple[float, float]]
"""Published points of an efficiency curve: (load share, efficiency), load share rising."""

UPS_ECO_MODE: Final[EfficiencyPoints] = ((0.25, 0.984), (0.50, 0.990), (0.75, 0.992), (1.0, 0.992))
"""Eco mode of a UPS of the megawatt class; Eaton 9395XR data sheet (secondary source)."""

PSU_TITANIUM: Final[EfficiencyPoints] = ((0.10, 0.90), (0.20, 0.94), (0.50, 0.96), (1.0, 0.91))
"""80 PLUS Titanium, 230 V redundant: the least efficiency that the label asks for."""

_TINY: Final = 1e-12  # a polynomial that falls without end is refused where it is declared

PSU_RUBY: Final[EfficiencyPoints] = (
    (0.05, 0.90), (0.10, 0.91), (0.20, 0.95), (0.50, 0.965), (1.0, 0.92),
)  # fmt: skip
"""80 PLUS Ruby, 230 V redundant: the least efficiency that the label asks for."""


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
    50, 75 and 100 % load; from 0 load to 25 % they are an extrapolation. More load never loses
    less: below the least value of a polynomial that falls at first, 1.2 % of load here, it stays.
    """
    falls = np.maximum(-np.asarray(linear), 0.0)
    lowest = np.where(falls > 0.0, falls / np.maximum(2.0 * np.asarray(quadratic), _TINY), 0.0)
    share = np.maximum(load / rating, lowest)
    return rating * (constant + share * (linear + share * quadratic))


def loss_from_efficiency(load_share: Numeric, points: EfficiencyPoints) -> Numeric:
    r"""Return the loss of a converter of which only points of the efficiency are published.

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
    At each point :math:`l = x (1/\eta - 1)`; between the points the loss runs straight, which is
    never below a convex loss curve through them. Below the first and above the last point the
    nearest line goes on, so that an idle converter keeps a finite loss and no efficiency of zero
    load is ever asked for.
    """
    share, efficiency = np.array(points, dtype=np.float64).T
    loss = share * (1.0 / efficiency - 1.0)
    return np.maximum(polyline(load_share, share, loss), 0.0)


def efficiency_from_loss(load_share: Numeric, loss: Numeric) -> Numeric:
    """Return output over input, 0 at zero load.

    Parameters
    ----------
    load_share
        Output over rated output. [1]
    loss
        Loss over rated output. [1]

    Returns
    -------
    Numeric
        Efficiency. [1]
    """
    whole = np.asarray(load_share + loss, dtype=np.float64)
    return load_share / np.where(whole > 0.0, whole, np.inf)


def conversion_power(output: Numeric, efficiency: Numeric, *, offset: Numeric = 0.0) -> Numeric:
    r"""Return the power that a converter with a constant offset draws.

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
