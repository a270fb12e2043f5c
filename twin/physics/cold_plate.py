"""Cold plates: from the heat of one chip to its case temperature.

These functions speak of a single chip, so heat is in W and flow in l/min.
"""

from typing import Final

import numpy as np

from twin.physics.numeric import Numeric, polyline
from twin.physics.water import PG25, Liquid, density, heat_capacity

# Resistance of a cold plate for a 1 kW accelerator module with PG25 (Open Compute Project, OAM;
# secondary source): l/min, K/W.
_FLOW: Final = np.array([0.4, 0.6, 0.8, 1.0, 1.4, 2.0, 2.4])
_RESISTANCE: Final = np.array([0.0389, 0.0300, 0.0265, 0.0245, 0.0220, 0.0204, 0.0197])

_LEAST_FLOW: Final = 0.05  # l/min; below it the plate boils and the table says nothing
_PRESSURE_EXPONENT: Final = 1.85
_WATTS_PER_FLOW: Final = 60.0  # kJ m-3 K-1 times l/min over W K-1


def cold_plate_resistance(flow: Numeric) -> Numeric:
    """Return the thermal resistance from the chip's case to the coolant's inlet.

    Parameters
    ----------
    flow
        Flow through the plate. [l min-1]

    Returns
    -------
    Numeric
        Thermal resistance. [K W-1]

    Notes
    -----
    The published table, straight in the logarithms of flow and resistance; its end pieces go on to
    either side, below 0.05 l/min constant. Valid from 0.4 to 2.4 l/min.
    """
    position = np.log(np.maximum(flow, _LEAST_FLOW))
    return np.exp(polyline(position, np.log(_FLOW), np.log(_RESISTANCE)))


def cold_plate_case_temperature(
    heat: Numeric, inlet_temperature: Numeric, *, flow: Numeric
) -> Numeric:
    r"""Return the case temperature of a chip under a cold plate.

    Parameters
    ----------
    heat
        Heat of the chip. [W]
    inlet_temperature
        Temperature of the coolant at the plate's inlet. [degC]
    flow
        Flow through the plate. [l min-1]

    Returns
    -------
    Numeric
        Case temperature. [degC]

    Notes
    -----
    :math:`T_{case} = T_{in} + R(V)\, Q`.

    Examples
    --------
    >>> round(float(cold_plate_case_temperature(1000.0, 40.0, flow=1.0)), 1)
    64.5
    """
    return inlet_temperature + cold_plate_resistance(flow) * heat


def cold_plate_outlet_temperature(
    heat: Numeric, inlet_temperature: Numeric, *, flow: Numeric, liquid: Liquid = PG25
) -> Numeric:
    r"""Return the temperature of the coolant behind a cold plate.

    Parameters
    ----------
    heat
        Heat of the chip. [W]
    inlet_temperature
        Temperature of the coolant at the plate's inlet. [degC]
    flow
        Flow through the plate. [l min-1]
    liquid
        The coolant.

    Returns
    -------
    Numeric
        Outlet temperature. [degC]

    Notes
    -----
    :math:`T_{out} = T_{in} + Q / (\rho V c_p)` with the properties at the inlet.
    """
    volumetric = density(inlet_temperature, liquid) * heat_capacity(inlet_temperature, liquid)
    return inlet_temperature + _WATTS_PER_FLOW * heat / (np.maximum(flow, _LEAST_FLOW) * volumetric)


def cold_plate_pressure_drop(flow: Numeric, rated_flow: Numeric, *, rated_drop: Numeric) -> Numeric:
    """Return the pressure drop of a plate, rising with the flow to the power of 1.85.

    Parameters
    ----------
    flow, rated_flow
        Flow and rated flow through the plate. [l min-1]
    rated_drop
        Pressure drop at rated flow. [kPa]

    Returns
    -------
    Numeric
        Pressure drop. [kPa]
    """
    return rated_drop * (flow / rated_flow) ** _PRESSURE_EXPONENT
