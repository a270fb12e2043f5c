"""Contracts with round numbers, movable work, and outlooks with targets and positions."""

import numpy as np

from twin import variables
from twin.markets.contracts import DayAheadPosition, LoadTargetContract

MOVABLE = [("batch", [0.0, 4.0], [4.0, 4.0], 10.0)]
"""4 MWh that may be done in either of two hours."""
YEAR = 8760.0


def asked(**changes):
    given = {"name": "tso", "up_price": 50.0, **changes}
    return LoadTargetContract.model_construct(**given)


def with_target(ahead, target, *, price=50.0, contract="tso"):
    """Return an outlook with the load target of a partner."""
    words = {
        "grid_import_target": np.asarray(target, float)[:, None],
        "grid_import_target_price": np.full((len(target), 1), price),
    }
    found = {name: (("time", "contract"), values) for name, values in words.items()}
    return variables.tag_dataset(ahead.assign(found).assign_coords(contract=[contract]))


def with_words(ahead, **words):
    found = {
        name: ("time", np.broadcast_to(np.asarray(values, float), ahead.sizes["time"]))
        for name, values in words.items()
    }
    return variables.tag_dataset(ahead.assign(found))


def position(**changes):
    given = {"name": "market", "intraday_limit": 0.0, **changes}
    return DayAheadPosition.model_construct(**given)
