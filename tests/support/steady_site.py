"""A site with constant load: its figures can be worked out by hand."""

import numpy as np

from twin import time_axes, variables


def steady_run(start, hours, **words):
    """Return hours in which a site draws 10 MW, its IT 8, and takes 2 m3 of water an hour."""
    grid = time_axes.regular_axes(time_axes.to_utc(start), hours, time_axes.HOUR)
    flat = {
        "facility_power": 10.0,
        "it_power": 8.0,
        "grid_import_power": 9.0,
        "grid_export_power": 0.0,
        "water_use": 2.0,
    }
    operation = grid.assign({name: ("time", np.full(hours, value)) for name, value in flat.items()})
    return variables.tag_dataset(operation.assign(words))
