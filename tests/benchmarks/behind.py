"""What stands behind both ways of a view: tables, drive and state, as bare arrays."""

import numpy as np
import xarray as xr

from twin.scale import racks
from twin.scale.layout import Layout
from twin.scale.racks import Window

SPELL = np.timedelta64(15, "m")


def table_of(layout: Layout, hours: float) -> tuple:
    """Return places, racks and units for the bare kernel."""
    hall, halls, unit = layout.places.hall, layout.hall_table, layout.unit_table
    return (
        layout.places.first,
        hall,
        *(column[hall] for column in (halls.idle, halls.span, halls.liquid_share)),
        unit.knots,
        unit.pump_power,
        unit.rate,
        unit.passing,
        unit.rack_capacity / hours,
        unit.unit_capacity / hours,
    )


def outside_of(layout: Layout, result: xr.Dataset, window: Window, seed: int = 0) -> tuple:
    """Return work, water and quarter-hour of each step, and the seed."""
    drive = racks._drive(layout, result, window, seed=seed)
    spell = (window.edges[:-1] - np.datetime64(0, "us")) // SPELL
    return drive.share, drive.water, spell, seed
