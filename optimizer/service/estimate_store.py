"""The last estimate of the state, stored for a restart."""

from pathlib import Path
from typing import Final, cast

import numpy as np

from optimizer.service.state_folder import read_state_file
from telemetry.files import json_with_checksum, write_atomic
from twin.errors import GigatwinError
from twin.estimation.kalman_bank import NOISE_PRIORS
from twin.estimation.measurement import StockFilter, restore_filter, serialise_filter
from twin.estimation.observer import StateEstimate, state_scales
from twin.simulation import state as states
from twin.site import Site

OPTIONAL_VARIABLES: Final = frozenset({"usual_power"})
"""Variables that files of older versions lack; they default to 0."""


def store_estimate(path: Path, estimate: StateEstimate) -> None:
    """Write an estimate, whole or not at all."""
    state = estimate.state
    content = {
        "instant": str(state["instant"].to_numpy()),
        "state": {name: state[name].to_numpy().tolist() for name in states.STATE_VARIABLES},
        "spread": [[*key, value] for key, value in estimate.standard_error.items()],
        "silence": estimate.meter_silence,
        "learned": [[*key, serialise_filter(known)] for key, known in estimate.filters.items()],
    }
    write_atomic(path, json_with_checksum(content))


def read_estimate(path: Path, site: Site) -> StateEstimate | None:
    """Return the estimate of a file; None if there is none that fits the site."""
    match read_state_file(path):
        case {
            "instant": str(instant),
            "state": dict(values),
            "spread": list(rows),
            "silence": float(silence),
            **rest,
        }:
            learned = rest.get("learned", [])
        case _:
            return None
    try:
        state = states.initial_state(site, np.datetime64(instant, "us"))
        for name in states.STATE_VARIABLES:
            kept = values.get(name, 0.0) if name in OPTIONAL_VARIABLES else values[name]
            state[name].values = np.array(kept, dtype=float).reshape(state[name].shape)
        spread = {(str(name), str(owner)): float(value) for name, owner, value in rows}
        states.check_state(site, state)
    except (GigatwinError, KeyError, TypeError, ValueError):
        return None
    if set(spread) != set(_stocks(site)):
        return None
    return StateEstimate(
        state=state,
        standard_error=spread,
        messages=(),
        is_unusable=False,
        meter_silence=silence,
        filters=_read_priors(learned, site),
    )


def _read_priors(rows: object, site: Site) -> dict[tuple[str, str], StockFilter]:
    """Return the filter of each stock; none if they are of another version or site."""
    sizes = state_scales(site)
    found = {}
    try:
        for name, owner, content in cast("list[tuple[str, str, object]]", rows):
            trust = NOISE_PRIORS[name].scaled(sizes[name, owner])
            found[name, owner] = restore_filter(content, trust)
    except (KeyError, TypeError, ValueError):
        return {}
    return found


def _stocks(site: Site) -> list[tuple[str, str]]:
    state = states.initial_state(site)
    return [
        (name, str(label))
        for name in states.STATE_VARIABLES
        if state[name].dims
        for label in state[name][state[name].dims[0]].to_numpy()
    ]
