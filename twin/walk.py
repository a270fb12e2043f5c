"""Walk the states of a site through time: stores, and the water of a loop."""

import math

import numpy as np

from twin.equipment.cooling_plant import CoolingPlant
from twin.physics import FloatArray
from twin.relations import Store
from twin.weather import Weather

PROBE = 2.0
"""Distance over which the rise of a plant's capacity with its temperature is measured. [K]"""

CALM = 4.0
"""Recovery time of a temperature controller, in lags of its valve: critically damped. [1]"""


def walk_store(
    store: Store, level: float, charge: FloatArray, discharge: FloatArray, hours: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what a store really takes and gives, and its levels.

    Parameters
    ----------
    store
        The store.
    level
        Level at the first edge. [MWh]
    charge, discharge
        What is asked, ``(time,)``. [MW]
    hours
        Lengths of the intervals. [h]

    Returns
    -------
    tuple of numpy.ndarray
        Charge, discharge ``(time,)`` [MW] and levels ``(instant,)`` [MWh].

    Notes
    -----
    The store's own controller stops at rated power, at empty and at its ceiling; the floor of its
    window is not its concern but a limit of the site.
    """
    put, got = np.empty(len(hours)), np.empty(len(hours))
    levels = np.empty(len(hours) + 1)
    levels[0] = level
    for i, h in enumerate(hours.tolist()):
        kept = level * (1.0 - store.standing_loss) ** h
        room = max(store.high - kept, 0.0) / (store.charge_efficiency * h)
        stock = kept * store.discharge_efficiency / h
        put[i] = min(float(charge[i]), store.charge_limit, room)
        got[i] = min(float(discharge[i]), store.discharge_limit, max(stock, 0.0))
        gain = store.charge_efficiency * put[i] - got[i] / store.discharge_efficiency
        level = kept + h * gain
        levels[i + 1] = level
    return put, got, levels


def walk_loop(
    plant: CoolingPlant,
    load: FloatArray,
    weather: Weather,
    hours: FloatArray,
    *,
    temperature: float,
    output: float,
) -> tuple[FloatArray, FloatArray]:
    """Return the output of a plant that holds its loop at the set point, and the temperatures.

    Parameters
    ----------
    plant
        The plant with its loop.
    load
        Heat that enters the loop, ``(time,)``. [MW]
    weather
        Outdoor air on ``time``.
    hours
        Lengths of the intervals. [h]
    temperature, output
        Supply temperature [degC] and output [MW] at the first edge.

    Returns
    -------
    tuple of numpy.ndarray
        Output ``(time,)`` [MW] and supply temperatures ``(instant,)`` [degC].

    Notes
    -----
    The controller asks for the load plus what brings the water back to its set point; it gets at
    most the capacity at the temperature reached, which rises linearly with it. The implicit step
    solves for that temperature in closed form, so any length of step is stable. A valve with a lag
    follows the request as a first-order filter.
    """
    capacity = plant.loop.heat_capacity
    target = plant.supply_temperature
    base = plant.capacity(weather, target)
    rise = np.maximum(plant.capacity(weather, target + PROBE) - base, 0.0) / PROBE
    lag = plant.loop.valve_lag / 3600.0
    outputs = np.empty(len(hours))
    temperatures = np.empty(len(hours) + 1)
    temperatures[0] = temperature
    rows = zip(hours.tolist(), load.tolist(), base.tolist(), rise.tolist(), strict=True)
    for i, (h, q, c, s) in enumerate(rows):
        wanted = q + capacity * (temperature - target) / max(h, CALM * lag)
        if lag:
            wanted = output + (wanted - output) * -math.expm1(-h / lag)
        most = (c + s * (temperature + h / capacity * q - target)) / (1.0 + s * h / capacity)
        output = max(min(wanted, most), 0.0)
        temperature += h / capacity * (q - output)
        outputs[i] = output
        temperatures[i + 1] = temperature
    return outputs, temperatures
