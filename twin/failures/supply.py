"""How long the electrical supply of a site bears the loss of one of its units."""

from typing import Final

import numpy as np

from twin.equipment import Transformer, Ups
from twin.failures.situation import Situation
from twin.failures.trips import Trip
from twin.physics import FloatArray
from twin.physics.overload import transformer_overload_time, ups_overload_time

MINUTE: Final = 60.0
"""Seconds in a minute."""


def time_of_supply(situation: Situation, trip: Trip) -> tuple[FloatArray, str]:
    """Return how long the units left bear their load [min], and what is reached then.

    Parameters
    ----------
    situation
        The site at work.
    trip
        The loss of a block of the UPS, or of a transformer with its feeder.

    Returns
    -------
    tuple of numpy.ndarray and str
        On ``time``; where no unit is left, a UPS gives no time, and a transformer that of the UPS.
    """
    machine = situation.site.equipment[trip.owner]
    left = 1.0 - 1.0 / trip.alike
    name = f"overload of {trip.owner}"
    if isinstance(machine, Ups):
        if not left:
            return np.zeros(len(situation)), name
        return ups_overload_time(situation.flow("ups_loading", machine.name) / left), name
    if not isinstance(machine, Transformer) or not left:
        autonomy = situation.site.contingency.ups_autonomy / MINUTE
        return np.full(len(situation), autonomy), "autonomy of the UPS"
    before = situation.flow("transformer_loading", machine.name)
    minutes = transformer_overload_time(
        before / left,
        before,
        air_temperature=situation.weather.air_temperature,
        loss_ratio=machine.load_loss / max(machine.no_load_loss, _LEAST_LOSS),
    )
    return minutes, name


_LEAST_LOSS = 1e-6  # MW
