"""A site that draws the same all the time: figures of it can be worked out by hand."""

import numpy as np

from twin import axes, vocabulary


def steady_run(start, hours, **words):
    """Return hours in which a site draws 10 MW, its IT 8, and takes 2 m3 of water an hour."""
    grid = axes.regular(axes.utc(start), hours, axes.HOUR)
    flat = {
        "facility_power": 10.0,
        "it_power": 8.0,
        "grid_import_power": 9.0,
        "grid_export_power": 0.0,
        "water_use": 2.0,
    }
    told = grid.assign({name: ("time", np.full(hours, value)) for name, value in flat.items()})
    return vocabulary.tag_all(told.assign(words))
