"""The standard atmosphere."""

from typing import Final

from twin.physics.numeric import Numeric

STANDARD_PRESSURE: Final = 101.325
"""Air pressure at sea level in the standard atmosphere. [kPa]"""


def standard_pressure(elevation: Numeric) -> Numeric:
    r"""Return the air pressure of the standard atmosphere.

    Parameters
    ----------
    elevation
        Height above sea level. [m]

    Returns
    -------
    Numeric
        Air pressure. [kPa]

    Notes
    -----
    :math:`p = 101.325 (1 - 2.25577 \cdot 10^{-5} z)^{5.25588}` [1]_, from -5 to 11 km.

    References
    ----------
    .. [1] ISO 2533:1975, "Standard atmosphere."

    Examples
    --------
    >>> round(standard_pressure(1000.0), 2)
    89.87
    """
    return STANDARD_PRESSURE * (1.0 - 2.25577e-5 * elevation) ** 5.25588
