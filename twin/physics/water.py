"""Liquids of the cooling loops: water and water with 25 % propylene glycol by mass (PG25)."""

from dataclasses import dataclass
from typing import Final

from twin.physics.machines import KILOWATTS
from twin.physics.numeric import Numeric


@dataclass(frozen=True, kw_only=True)
class Liquid:
    """Density and heat capacity of a liquid as polynomials of its temperature in degC.

    Attributes
    ----------
    name
        Name of the liquid.
    density
        Coefficients of the density, constant term first. [kg m-3]
    heat_capacity
        Coefficients of the specific heat capacity, constant term first. [kJ kg-1 K-1]
    freezing_point
        Where ice begins to form. [degC]
    """

    name: str
    density: tuple[float, float, float]
    heat_capacity: tuple[float, float, float]
    freezing_point: float


# Both are our fits from 5 to 70 degC to CoolProp 8.0: pure water (IAPWS-95), and "INCOMP::MPG" at
# 25 % (Melinder, Thermophysical Properties of Liquid Secondary Refrigerants, IIR, 2010); greatest
# error of the fits 0.03 % in density, 0.09 % in heat capacity.
WATER: Final = Liquid(
    name="water",
    density=(1000.653, -0.0455396, -0.00404371),
    heat_capacity=(4.207164, -0.001410263, 1.701192e-5),
    freezing_point=0.0,
)
PG25: Final = Liquid(
    name="pg25",
    density=(1026.179, -0.294595, -0.00278753),
    heat_capacity=(3.871625, 0.002474658, -1.249595e-6),
    freezing_point=-9.8,  # the same source, by CoolProp
)


def density(temperature: Numeric, liquid: Liquid = WATER) -> Numeric:
    """Return the density of a liquid.

    Parameters
    ----------
    temperature
        Temperature, 5 to 70 degC. [degC]
    liquid
        The liquid.

    Returns
    -------
    Numeric
        Density. [kg m-3]
    """
    return _polynomial(liquid.density, temperature)


def heat_capacity(temperature: Numeric, liquid: Liquid = WATER) -> Numeric:
    """Return the specific heat capacity of a liquid.

    Parameters
    ----------
    temperature
        Temperature, 5 to 70 degC. [degC]
    liquid
        The liquid.

    Returns
    -------
    Numeric
        Specific heat capacity. [kJ kg-1 K-1]
    """
    return _polynomial(liquid.heat_capacity, temperature)


def capacity_rate(flow: Numeric, liquid: Liquid = WATER, *, temperature: Numeric = 30.0) -> Numeric:
    r"""Return the heat that a flow carries per kelvin.

    Parameters
    ----------
    flow
        Mass flow. [kg s-1]
    liquid
        The liquid.
    temperature
        Mean temperature of the liquid. [degC]

    Returns
    -------
    Numeric
        Capacity rate. [MW K-1]

    Notes
    -----
    :math:`C = \dot m\, c_p(T)`.

    Examples
    --------
    >>> round(float(capacity_rate(3900.0) * 10.0), 1)
    163.0
    """
    return flow * heat_capacity(temperature, liquid) / KILOWATTS


def flow_for(
    heat: Numeric, temperature_rise: Numeric, *, liquid: Liquid = WATER, temperature: Numeric = 30.0
) -> Numeric:
    """Return the mass flow that carries a heat at a temperature rise.

    Parameters
    ----------
    heat
        Heat carried. [MW]
    temperature_rise
        Temperature rise of the liquid. [K]
    liquid
        The liquid.
    temperature
        Mean temperature of the liquid. [degC]

    Returns
    -------
    Numeric
        Mass flow. [kg s-1]
    """
    return heat / (temperature_rise * capacity_rate(1.0, liquid, temperature=temperature))


def _polynomial(coefficients: tuple[float, float, float], temperature: Numeric) -> Numeric:
    constant, linear, quadratic = coefficients
    return constant + temperature * (linear + temperature * quadratic)
