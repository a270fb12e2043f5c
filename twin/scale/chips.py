"""Every accelerator of a window of a run."""

import math
from typing import Final

import numpy as np
import xarray as xr

from twin import axes, vocabulary
from twin.compiled import compiled
from twin.errors import Fault, StateError
from twin.physics.chip_kernel import ChipDrive, ChipTable, ChipTrack, follow_chips
from twin.physics.rack_kernel import Coolant, Found, SmallArray
from twin.scale.layout import Layout
from twin.scale.racks import Window, follow

PLATE_LAG: Final = 2.0
"""Time constant of a chip on its cold plate; assumed, first order. [s]"""

CHIP_SPREAD: Final = 0.02
"""Standard deviation of the power of the chips of a rack beside their mean; assumed. [1]"""

_WARM_UP: Final = np.timedelta64(1, "m")  # thirty time constants
_SECONDS: Final = 3600.0  # in an hour

type Chips = tuple[SmallArray, SmallArray]
"""Powers [MW] and case temperatures [degC] of chips, ``(time, rack, chip)``."""

type State = tuple[Coolant, SmallArray]
"""The coolant, and the case temperature of each chip, ``(rack, chip)``. [degC]"""


def table_of(layout: Layout, *, hours: float, seed: int) -> ChipTable:
    """Return what the chips of a site do.

    Parameters
    ----------
    layout
        The racks of the site.
    hours
        Length of a step. [h]
    seed
        Of the differences among chips, which do not change with time.

    Raises
    ------
    StateError
        If the racks of its halls have different numbers of chips.
    """
    counts = {hall.chips_per_rack for hall in layout.halls}
    if len(counts) != 1:
        mend = "chips are viewed where all racks have equally many"
        fault = Fault(place="chips_per_rack", value=str(sorted(counts)), mend=mend)
        raise StateError(layout.site.name, [fault])
    draw = np.random.default_rng(seed).standard_normal((layout.racks, counts.pop()))
    factor = 1.0 + CHIP_SPREAD * (draw - draw.mean(axis=1, keepdims=True))
    return ChipTable(
        hall=layout.places.hall,
        unit=layout.unit_of_rack,
        knots=layout.hall_table.knots,
        power=layout.chip_power,
        factor=factor.astype(np.float32),
        kept=math.exp(-hours * _SECONDS / PLATE_LAG),
    )


def follow_all(
    layout: Layout,
    result: xr.Dataset,
    window: Window,
    *,
    table: ChipTable,
    seed: int,
    state: State | None = None,
) -> tuple[Chips, State]:
    """Follow all chips through a window.

    Parameters
    ----------
    layout
        The racks of the site.
    result
        The run behind them, as :func:`twin.simulate` gives.
    window
        Where to look.
    table
        What the chips do in a step of the window, as :func:`table_of` gives.
    seed
        Of the spread of work over racks.
    state
        Coolant and chips at the window's start; if not given they are found by a warm-up. [degC]

    Returns
    -------
    tuple
        What they did, and how they stand at the window's end.
    """
    lead = window.before(axes.edges_of(result)[0], _WARM_UP)
    if state is not None:
        coolant, chips = state
    elif lead.count:
        found, coolant = follow(layout, result, lead, seed=seed)
        chips = _rest(table, found)
        _step(table, found, chips)
    found, after = follow(
        layout, result, window, seed=seed, state=coolant if state or lead.count else None
    )
    chips = chips.copy() if state or lead.count else _rest(table, found)
    return _step(table, found, chips), (after, chips)


def dataset(layout: Layout, window: Window, chips: Chips) -> xr.Dataset:
    """Return what chips did with labels, units and meanings."""
    power, temperature = chips
    dims = ("time", "rack", "chip")
    coords = {"rack": layout.rack_labels, "chip": np.arange(power.shape[-1])}
    whole = axes.intervals(window.edges)
    return vocabulary.tag_all(
        xr.Dataset(
            {"chip_power": (dims, power), "chip_temperature": (dims, temperature)},
            coords={**whole.coords, **coords},
        )
    )


def width_of(layout: Layout) -> int:
    """Return how many numbers of four bytes a step has. [1]"""
    return 2 * sum(hall.racks * hall.chips_per_rack for hall in layout.halls)


def _step(table: ChipTable, found: Found, chips: SmallArray) -> Chips:
    """Let the chips follow their racks; ``chips`` are then where they end. [degC]"""
    shape = (len(found.rack_power), *chips.shape)
    track = ChipTrack(chips, np.empty(shape, np.float32), np.empty(shape, np.float32))
    compiled(follow_chips)(table, ChipDrive(found.rack_power, found.chip, found.unit_supply), track)
    return track.power, track.temperature


def _rest(table: ChipTable, found: Found) -> SmallArray:
    """Return the chips as they would stand after the first step had lasted for ever. [degC]"""
    chips = np.zeros(table.factor.shape, np.float32)
    first = found._replace(
        rack_power=found.rack_power[:1], chip=found.chip[:1], unit_supply=found.unit_supply[:1]
    )
    _step(table._replace(kept=0.0), first, chips)
    return chips
