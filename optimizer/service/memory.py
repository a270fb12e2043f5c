"""The last estimate of the state, kept for a restart: a plant does not say everything again."""

from pathlib import Path
from typing import Final, cast

import numpy as np

from optimizer.service.folder import read_json
from telemetry.files import json_with_checksum, write_atomic
from twin import state as states
from twin.errors import GigatwinError
from twin.estimate import Estimate, sizes_of
from twin.observer.record import recalled, told
from twin.observer.stock import Memory
from twin.observer.trust import TRUST
from twin.site import Site

LATER: Final = frozenset({"usual_power"})
"""Words that files of older versions lack: they count as nothing."""


def keep(path: Path, estimate: Estimate) -> None:
    """Write an estimate, whole or not at all.

    Parameters
    ----------
    path
        The file.
    estimate
        What is believed of the state.
    """
    state = estimate.state
    content = {
        "instant": str(state["instant"].to_numpy()),
        "state": {name: state[name].to_numpy().tolist() for name in states.NAMES},
        "spread": [[*key, value] for key, value in estimate.spread.items()],
        "silence": estimate.silence,
        "learned": [[*key, told(known)] for key, known in estimate.memory.items()],
    }
    write_atomic(path, json_with_checksum(content))


def recall(path: Path, site: Site) -> Estimate | None:
    """Return the estimate of a file; None if there is none that fits the site.

    Parameters
    ----------
    path
        The file.
    site
        The site.
    """
    match read_json(path):
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
        state = states.rest(site, np.datetime64(instant, "us"))
        for name in states.NAMES:
            kept = values.get(name, 0.0) if name in LATER else values[name]
            state[name].values = np.array(kept, dtype=float).reshape(state[name].shape)
        spread = {(str(name), str(owner)): float(value) for name, owner, value in rows}
        states.check(site, state)
    except (GigatwinError, KeyError, TypeError, ValueError):
        return None
    if set(spread) != set(_stocks(site)):
        return None
    return Estimate(
        state=state,
        spread=spread,
        said=(),
        is_useless=False,
        silence=silence,
        memory=_learned(learned, site),
    )


def _learned(rows: object, site: Site) -> dict[tuple[str, str], Memory]:
    """Return what was learned of each stock; nothing if that is of another version or site."""
    sizes = sizes_of(site)
    found = {}
    try:
        for name, owner, content in cast("list[tuple[str, str, object]]", rows):
            trust = TRUST[name].scaled(sizes[name, owner])
            found[name, owner] = recalled(content, trust)
    except (KeyError, TypeError, ValueError):
        return {}
    return found


def _stocks(site: Site) -> list[tuple[str, str]]:
    state = states.rest(site)
    return [
        (name, str(label))
        for name in states.NAMES
        if state[name].dims
        for label in state[name][state[name].dims[0]].to_numpy()
    ]
