"""The water of a plant over the wire: what is asked, whether it may be, and what was made of it."""

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import xarray as xr

from optimizer.dispatch import Orders
from telemetry.points.site_points import unit_ids
from twin.equipment import CduBank, CoolingPlant
from twin.simulation import setpoints
from twin.simulation.engine import VariableKey
from twin.site import Site

REQUESTS: Final = {
    "facility_supply_set_point": "facility_supply_request",
    "facility_range_set_point": "facility_range_request",
    "technology_range_set_point": "technology_range_request",
}
"""Word of a plan -> word of the request."""

APPLIED: Final = {
    word: request.replace("_request", "_applied") for word, request in REQUESTS.items()
}
"""Word of a plan -> word of what the plant says that it aims at."""


def water_requests(site: Site, orders: Orders) -> dict[VariableKey, float]:
    """Return the set points of the water that a plan has chosen, as requests; none if declared.

    Parameters
    ----------
    site
        The site.
    orders
        What was decided.

    Returns
    -------
    dict
        (word, circuit or unit of CDUs) -> supply temperature [degC] or temperature range [K].
    """
    found: dict[VariableKey, float] = {}
    for word, request in REQUESTS.items():
        for owner, value in getattr(orders, word).items():
            found |= {(request, label): value for label in _objects(site, owner)}
    return found


def refusal(site: Site, points: Collection[VariableKey], observed: xr.Dataset) -> str:
    """Return why the set points of the water cannot be chosen, or "" if they can.

    Parameters
    ----------
    site
        The site.
    points
        (word, object) of the points that are ours to write.
    observed
        Newest good readings; ``facility_enabled(circuit)`` among them.

    Returns
    -------
    str
        What the plant lacks, in words; "" also where the site keeps to the declared ones.
    """
    choice = site.set_points.choice
    if choice == "declared":
        return ""
    words = setpoints.SET_POINT_VARIABLES if choice == "cheapest" else (setpoints.SUPPLY_SET_POINT,)
    owners = [(w, m.name) for w in words for m in site.of(_kind(w))]
    for word, owner in owners:
        lacking = [
            label for label in _objects(site, owner) if (REQUESTS[word], label) not in points
        ]
        if lacking:
            return f"no point takes a {REQUESTS[word]} of {lacking[0]}"
    for plant in site.of(CoolingPlant):
        if _value(observed, "facility_enabled", plant.name) != 1.0:
            return f"{plant.name} does not say that it follows requests"
    return ""


def declared(site: Site) -> Site:
    """Return a site that keeps to its declared set points."""
    rules = site.set_points.model_copy(update={"choice": "declared"})
    return site.model_copy(update={"set_points": rules})


def show_water(
    site: Site, observed: xr.Dataset, asked: Mapping[VariableKey, float]
) -> list[dict[str, object]]:
    """Return what is asked of each circuit and bank, and what the plant aims at.

    Parameters
    ----------
    site
        The site.
    observed
        Newest good readings.
    asked
        What was asked last, by word and object.

    Returns
    -------
    list of dict
        ``machine``, ``what``, ``unit``, ``asked`` and ``applied``; None where there is no value.
    """
    found: list[dict[str, object]] = []
    for word in setpoints.SET_POINT_VARIABLES:
        is_supply = word == setpoints.SUPPLY_SET_POINT
        for machine in site.of(_kind(word)):
            wanted = asked.get((REQUESTS[word], _objects(site, machine.name)[0]))
            applied = _value(observed, APPLIED[word], machine.name)
            found.append(
                {
                    "machine": machine.name,
                    "what": "supply temperature" if is_supply else "differential temperature",
                    "unit": "degC" if is_supply else "K",
                    "asked": wanted,
                    "applied": applied if np.isfinite(applied) else None,
                }
            )
    return found


def _kind(word: str) -> type[CoolingPlant] | type[CduBank]:
    return CduBank if setpoints.SET_POINT_VARIABLES[word][1] == "cdu" else CoolingPlant


def _objects(site: Site, owner: str) -> list[str]:
    """Return the objects that have the points of a machine: itself, or each unit of a bank."""
    machine = site.equipment[owner]
    return unit_ids(machine) if isinstance(machine, CduBank) else [owner]


def _value(observed: xr.Dataset, name: str, owner: str) -> float:
    """Return a reading of a machine; NaN if there is none."""
    if name not in observed:
        return float("nan")
    array = observed[name]
    dim = str(array.dims[0])
    return float(array.sel({dim: owner})) if owner in array[dim].to_numpy() else float("nan")
