"""Walk the states of a site through time: stores, and the water of a loop."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twin.equipment.cooling_plant import CoolingPlant
from twin.physics import FloatArray
from twin.relations import Store
from twin.weather import Weather

PROBE = 2.0
"""Distance over which the rise of a plant's capacity with its temperature is measured. [K]"""

TAPER = 0.2
"""Time constant with which a store's controller lets power fade near an end of its window. [h]"""

CALM = 4.0
"""Recovery time of a temperature controller, in lags of its valve: critically damped. [1]"""


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """What a plant can give at most, as a line over the temperature of its supply water.

    Attributes
    ----------
    base
        Capacity at the set point, ``(time,)``. [MW]
    rise
        What each kelvin above it adds, ``(time,)``. [MW K-1]
    """

    base: FloatArray
    rise: FloatArray

    @classmethod
    def of(cls, plant: CoolingPlant, weather: Weather) -> Self:
        """Return the ceiling of a plant in some weather."""
        target = plant.supply_temperature
        base = plant.capacity(weather, target)
        higher = plant.capacity(weather, target + PROBE)
        return cls(base=base, rise=np.maximum(higher - base, 0.0) / PROBE)

    def take(self, span: slice | NDArray[np.int64]) -> "Ceiling":
        """Return the ceiling of some of the intervals."""
        return Ceiling(base=self.base[span], rise=self.rise[span])


def walk_store(
    store: Store, level: float, charge: FloatArray, *, discharge: FloatArray, hours: FloatArray
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
    The store's own controller stops at rated power and at both ends of its window; a plan that
    counts on more is refused by the verdict, since it would not be obeyed.
    """
    put, got = np.empty(len(hours)), np.empty(len(hours))
    levels = np.empty(len(hours) + 1)
    levels[0] = level
    for i, h in enumerate(hours.tolist()):
        kept = level * (1.0 - store.standing_loss) ** h
        fading = max(h, TAPER)
        room = max(store.high - kept, 0.0) / (store.charge_efficiency * fading)
        stock = (kept - store.low) * store.discharge_efficiency / fading
        put[i] = min(float(charge[i]), store.charge_limit, room)
        got[i] = min(float(discharge[i]), store.discharge_limit, max(stock, 0.0))
        gain = store.charge_efficiency * put[i] - got[i] / store.discharge_efficiency
        level = kept + h * gain
        levels[i + 1] = level
    return put, got, levels


def walk_loop(
    plant: CoolingPlant,
    load: FloatArray,
    ceiling: Ceiling,
    *,
    hours: FloatArray,
    temperature: float,
    output: float,
    target: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return the output of a plant that holds its loop at the set point, and the temperatures.

    Parameters
    ----------
    plant
        The plant with its loop.
    load
        Heat that enters the loop, ``(time,)``. [MW]
    ceiling
        What the plant can give at most, on ``time``.
    hours
        Lengths of the intervals. [h]
    temperature, output
        Supply temperature [degC] and output [MW] at the first edge.
    target
        Set point of the supply water, ``(time,)``; by default the declared one. [degC]

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
    declared = plant.supply_temperature
    targets = np.full(len(hours), declared) if target is None else target
    lag = plant.loop.valve_lag / 3600.0
    outputs = np.empty(len(hours))
    temperatures = np.empty(len(hours) + 1)
    temperatures[0] = temperature
    columns = (hours, load, ceiling.base, ceiling.rise, targets)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for i, (h, q, base, rise, aim) in enumerate(rows):
        wanted = q + capacity * (temperature - aim) / max(h, CALM * lag)
        if lag:
            wanted = output + (wanted - output) * -math.expm1(-h / lag)
        reached = temperature + h / capacity * q - declared
        most = (base + rise * reached) / (1.0 + rise * h / capacity)
        output = max(min(wanted, most), 0.0)
        temperature += h / capacity * (q - output)
        outputs[i] = output
        temperatures[i + 1] = temperature
    return outputs, temperatures
