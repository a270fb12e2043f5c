"""How far a heat exchanger with two variable flows stays above its cold inlet."""

import numpy as np

from twin.physics import FloatArray, heat_exchange


def part_load_approach(
    heat: FloatArray,
    *,
    rated_heat: float,
    rated_approach: float,
    ranges: tuple[float, float],
    minimum_flow: float,
    fouling: float = 1.0,
    shares: tuple[FloatArray, FloatArray] | None = None,
) -> FloatArray:
    r"""Return the hot outlet's temperature above the cold inlet's, away from the rating.

    Parameters
    ----------
    heat
        Heat exchanged. [MW]
    rated_heat
        Heat at rating. [MW]
    rated_approach
        Hot outlet less cold inlet at rating. [K]
    ranges
        Temperature change of the hot and of the cold stream at rating. [K]
    minimum_flow
        Share of the rated flows below which neither falls. [1]
    fouling
        Conductance left, beside that of the clean exchanger. [1]
    shares
        Flow of the hot and of the cold stream over the rated one, where they do not both follow
        the heat. [1]

    Returns
    -------
    numpy.ndarray
        Approach, zero without heat. [K]

    Notes
    -----
    Counterflow. Both flows follow the heat, so their capacity rates are :math:`v C_h` and
    :math:`v C_c` with :math:`v = \max(Q / Q_r, v_{min})`, and the conductance is
    :math:`UA_r f v^{0.8}`; the approach is :math:`Q / (\varepsilon C_{min}) - Q / (v C_h)`. With
    ``shares`` each stream has its own :math:`v`.
    """
    heat = np.asarray(heat, dtype=np.float64)
    if shares is None:
        share = np.maximum(heat / rated_heat, minimum_flow)
        shares = share, share
    hot_share, cold_share = shares
    hot_rate = hot_share * rated_heat / ranges[0]
    heat_per_kelvin = heat_exchange.heat_exchanged(
        1.0,
        heat_exchange.conductance(
            hot_share,
            cold_share,
            rated_conductance=fouling * _rated_conductance(rated_heat, rated_approach, ranges),
        ),
        hot_capacity_rate=hot_rate,
        cold_capacity_rate=cold_share * rated_heat / ranges[1],
    )
    return np.asarray(heat / heat_per_kelvin - heat / hot_rate)


def _rated_conductance(heat: float, approach: float, ranges: tuple[float, float]) -> float:
    """Return the conductance of the clean exchanger at rating. [MW K-1]"""
    hot_range, cold_range = ranges
    conductance = heat_exchange.conductance_from_temperatures(
        heat,
        approach + hot_range,
        hot_outlet=approach,
        cold_inlet=0.0,
        cold_outlet=cold_range,
    )
    return float(conductance)
