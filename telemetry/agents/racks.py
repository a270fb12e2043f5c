"""The node agents of a site's racks: one message a rack and interval, a value for every chip."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.agents.placement import Load
from telemetry.metadata.listing import rack_name
from telemetry.samples import CHIP_VARIABLES, RackBatch
from twin.equipment import Accelerators, CoolingPlant
from twin.physics import FloatArray
from twin.run import Key
from twin.site import Site

WATTS: Final = 1e6
"""W in a MW."""

CHIP_SPREAD: Final = np.array([0.02, 0.01, 0.01, 0.003, 0.01], dtype=np.float32)
"""Spread of the chips of a rack about their mean, a share of it, by row of a batch. [1]"""

FULL_CLOCK: Final = 1965.0
"""Clock of a chip at full work: the boost clock that the vendor states for this class. [MHz]"""

IDLE_CLOCK: Final = 345.0
"""Clock of a chip that waits. [MHz]"""

CLOCK_EXPONENT: Final = 0.5
"""Clock against power under a cap: voltage falls with it, so power falls faster. [1]"""

USE: Final = {"work": (0.97, 0.82), "service": (0.71, 0.90), "idle": (0.0, 0.02)}
"""Utilisation and memory used by what a rack does; assumed. [1]"""


class Racks:
    """All node agents of a site.

    Parameters
    ----------
    site
        The site as it really is.
    boot
        When the agents started, in epoch seconds: the boot epoch of their batches.
    rng
        Source of the scatter among chips.
    """

    def __init__(self, site: Site, *, boot: int, rng: np.random.Generator) -> None:
        self._site, self._boot, self._rng = site, boot, rng
        self._sequence = 0

    def batches(
        self,
        load: Load,
        truth: Mapping[Key, float],
        *,
        time: np.datetime64,
        interval: np.timedelta64,
        flow_share: float = 1.0,
    ) -> list[RackBatch]:
        """Return one batch a rack.

        Parameters
        ----------
        load
            What the racks do.
        truth
            How the plant really stands, for what cools the chips.
        time
            End of the interval. [datetime64, UTC]
        interval
            Its length.
        flow_share
            Flow of the coolant beside the rated one. [1]
        """
        self._sequence += 1
        halls = self._site.of(Accelerators)
        counts = np.cumsum([0, *(hall.racks for hall in halls)])
        found = []
        for hall, first, last in zip(halls, counts[:-1], counts[1:], strict=True):
            mine = slice(first, last)
            supply = cold(self._site, hall, truth)
            means = rack_means(hall, load, mine, supply=supply, flow_share=flow_share)
            values = self._chips(hall, means.astype(np.float32), supply=supply)
            for number, block in enumerate(values, 1):
                found.append(
                    RackBatch(
                        site=self._site.name,
                        hall=hall.name,
                        rack=rack_name(number),
                        boot=self._boot,
                        sequence=self._sequence,
                        time=time,
                        interval=interval,
                        values=block,
                    )
                )
        return found

    def _chips(
        self, hall: Accelerators, means: NDArray[np.float32], *, supply: float
    ) -> NDArray[np.float32]:
        """Return the values of all chips of a hall, ``(rack, variable, chip)``."""
        shape = (*means.shape, hall.chips_per_rack)
        values = self._rng.standard_normal(shape, dtype=np.float32)
        values *= CHIP_SPREAD[:, None]
        values += 1.0
        values *= means[:, :, None]
        warming = CHIP_VARIABLES.index("temperature")
        power = CHIP_VARIABLES.index("power")
        share = values[:, power] / np.maximum(means[:, power, None], _LEAST)
        rise = means[:, warming, None] - np.float32(supply)
        values[:, warming] = np.float32(supply) + rise * share
        for row in (CHIP_VARIABLES.index("utilisation"), CHIP_VARIABLES.index("memory")):
            np.clip(values[:, row], 0.0, 1.0, out=values[:, row])
        return values


def rack_means(
    hall: Accelerators, load: Load, mine: slice, *, supply: float, flow_share: float = 1.0
) -> FloatArray:
    """Return the mean of each row of a batch over the chips of each rack.

    Parameters
    ----------
    hall
        The hall.
    load
        What all racks do.
    mine
        Which of them are the hall's.
    supply
        What cools the chips, at the racks. [degC]
    flow_share
        Its flow beside the rated one. [1]

    Returns
    -------
    numpy.ndarray
        ``(rack, variable)`` in the units of :data:`telemetry.samples.CHIP_VARIABLES`.
    """
    power, cap = load.power[mine], load.cap[mine]
    board = hall.board_power(power * hall.racks) / hall.racks
    chip = board * hall.chip_share / hall.chips_per_rack * WATTS
    state = np.select([cap <= 0.0, load.is_service[mine]], [2, 1], default=0)
    use = np.array(list(USE.values()))[state]
    clock = np.where(cap > 0.0, FULL_CLOCK * cap**CLOCK_EXPONENT, IDLE_CLOCK)
    warm = hall.chip_temperature(power, np.asarray(supply), flow_share=flow_share)
    return np.stack([np.maximum(chip, 0.0), warm, use[:, 0], use[:, 1], clock], axis=-1)


def cold(site: Site, hall: Accelerators, truth: Mapping[Key, float]) -> float:
    """Return what cools the chips of a hall: coolant or air or, before they ran, water. [degC]"""
    word, circuit = "technology_supply_temperature", "warm"
    if hall.is_air_cooled:
        word, circuit = "rack_inlet_temperature", "chilled"
    found = [value for (name, _), value in truth.items() if name == word]
    plant = next(plant.name for plant in site.of(CoolingPlant) if plant.serves == circuit)
    return found[0] if found else truth["facility_supply_temperature", plant]


_LEAST: Final = np.float32(1e-6)  # W
