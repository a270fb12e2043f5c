"""Pumps and fans: electric power from flow and speed."""

from typing import Final

import numpy as np

from twin.physics.numeric import Numeric

KILOWATTS: Final = 1000.0
"""Kilowatts in a megawatt. [kW MW-1]"""

SHUT_OFF_HEAD: Final = 1.25
"""Head of a pump at rated speed and no flow, over its rated head; radial ones 1.1 to 1.4. [1]"""

FAN_EXPONENT: Final = 2.62
"""Power over speed of a tower's fan: 4.2 % of the power at 29.8 % of the flow (EnergyPlus). [1]"""


def pump_speed(flow_share: Numeric, *, static_head_share: Numeric = 0.0) -> Numeric:
    r"""Return the speed at which a pump meets its network.

    Parameters
    ----------
    flow_share
        Flow over rated flow. [1]
    static_head_share
        Share of the rated head that the network asks for at no flow. [1]

    Returns
    -------
    Numeric
        Speed over rated speed. [1]

    Notes
    -----
    The network asks :math:`s + (1 - s) v^2`, the pump gives :math:`a n^2 - (a - 1) v^2`; they are
    equal at :math:`n = \sqrt{[s + (a - s) v^2] / a}`. Without static head :math:`n = v` and the
    affinity laws hold. The shut-off head :math:`a` is :data:`SHUT_OFF_HEAD`, an assumption.
    """
    head = static_head_share + (SHUT_OFF_HEAD - static_head_share) * np.square(flow_share)
    return np.sqrt(head / SHUT_OFF_HEAD)


def pump_power(
    flow: Numeric,
    rated_flow: Numeric,
    *,
    rated_power: Numeric,
    static_head_share: Numeric = 0.0,
    minimum_flow_share: Numeric = 0.0,
) -> Numeric:
    r"""Return the electric power of a running pump with a drive.

    Parameters
    ----------
    flow
        Flow delivered to the network. [kg s-1]
    rated_flow
        Flow at rated speed and head. [kg s-1]
    rated_power
        Electric power at rated flow. [MW]
    static_head_share
        Share of the rated head that the network asks for at no flow. [1]
    minimum_flow_share
        Lowest flow through the pump over rated flow; a bypass returns the rest. [1]

    Returns
    -------
    Numeric
        Electric power; a pump that is switched off is the caller's matter. [MW]

    Notes
    -----
    :math:`P = P_r\, v\, [a n^2 - (a - 1) v^2]` with :math:`v` held at its least value and
    :math:`n` from :func:`pump_speed`. The efficiency is that of the rated point; with
    much static head or throttling the true power is somewhat higher. Valid from 0 to 1.1 of the
    rated flow.
    """
    share = np.maximum(flow / rated_flow, minimum_flow_share)
    speed = pump_speed(share, static_head_share=static_head_share)
    head = SHUT_OFF_HEAD * speed**2 - (SHUT_OFF_HEAD - 1.0) * share**2
    return rated_power * share * head


def fan_power(
    speed_share: Numeric,
    rated_power: Numeric,
    *,
    exponent: Numeric = FAN_EXPONENT,
    minimum_speed_share: Numeric = 0.0,
) -> Numeric:
    r"""Return the electric power of a running fan with a drive.

    Parameters
    ----------
    speed_share
        Speed, or flow against an unchanged network, over the rated one. [1]
    rated_power
        Electric power at rated speed. [MW]
    exponent
        Exponent of the power over the speed; 3 without losses of drive and motor. [1]
    minimum_speed_share
        Lowest speed of the drive over rated speed. [1]

    Returns
    -------
    Numeric
        Electric power; a fan that is switched off is the caller's matter. [MW]

    Notes
    -----
    :math:`P = P_r\, n^k`, k from 2.6 to 3.
    """
    return rated_power * np.maximum(speed_share, minimum_speed_share) ** exponent
