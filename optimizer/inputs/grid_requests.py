"""Current and next requests of grid partners, as outlook variables and as texts for the status."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem.contracts import RESERVE_CALLED, required_capacity, sold_capacity
from telemetry.feed.flex_agent import is_within_target
from twin import variables
from twin.markets.contracts import LoadTargetContract
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.time_axes import interval_edges
from twin.units import format_minute
from twin.variables import machine_values, net_import

REQUESTED_SUFFIX: Final = "_requested"
"""End of the name of a limit as partners requested it."""

GRID_REQUEST_TOLERANCE_MW: Final = 1e-3
"""Power difference that is treated as zero. [MW]"""


def next_requests(site: Site, outlook: xr.Dataset, schedule: xr.Dataset) -> list[dict[str, object]]:
    """Return the next target of each partner for the status page; empty without any.

    `outlook` is that of :func:`request_outlook`, `schedule` the one in force. Each row has
    ``partner``, ``power`` requested and largest ``planned`` net import meanwhile [MW], ``begin``
    and ``end`` (ISO 8601), ``is_kept``, and all of it as a text in ``words``.
    """
    net = net_import(schedule).reindex(time=outlook["time"], method="pad").to_numpy()
    edges = interval_edges(outlook)
    found = []
    for partner, limit in _limits(site, outlook):
        is_requested = limit < site.grid_connection.import_limit - GRID_REQUEST_TOLERANCE_MW
        if not is_requested.any():
            continue
        first = int(np.argmax(is_requested))
        differs = np.abs(limit[first:] - limit[first]) > GRID_REQUEST_TOLERANCE_MW
        last = first + int(np.argmax(differs)) if differs.any() else len(limit)
        power, planned = float(limit[first]), float(net[first:last].max())
        is_kept = is_within_target(planned, power)
        begin, end = format_minute(edges[first]), format_minute(edges[last])
        when = f"until {end}" if first == 0 else f"from {begin} to {end}"
        verdict = "kept" if is_kept else "not kept"
        called = _activated_products(site, outlook.isel(time=slice(first, last)), partner)
        text = f"at most {power:.2f} MW {when}{called}; "
        text += f"planned {planned:.2f} MW: {verdict}"
        found.append(
            {
                "partner": partner,
                "power": power,
                "planned": planned,
                "begin": begin,
                "end": end,
                "is_kept": is_kept,
                "words": text,
            }
        )
    return found


def request_outlook(
    axes: xr.Dataset,
    *,
    targets: Mapping[str, tuple[FloatArray, FloatArray]],
    activated: Mapping[str, BoolArray],
    requested: Mapping[str, FloatArray] | None = None,
) -> xr.Dataset:
    """Return the requests over a horizon as variables of an outlook.

    - `targets`: contract -> largest net import requested [MW], and its price [EUR MWh-1].
    - `activated`: reserve product -> intervals in which it is activated, or recovers from it.
    - `requested`: contract -> net import requested, where targets turn earlier. [MW]
    """
    found = xr.Dataset(coords={"time": axes["time"].to_numpy()})
    if requested:
        found = found.assign_coords(contract=list(requested))
        rows = np.stack(list(requested.values()), axis=-1)
        found[f"grid_import_target{REQUESTED_SUFFIX}"] = ("time", "contract"), rows
    if targets:
        power, price = (np.stack(rows, axis=-1) for rows in zip(*targets.values(), strict=True))
        found = found.assign_coords(contract=list(targets))
        found["grid_import_target"] = ("time", "contract"), power
        found["grid_import_target_price"] = ("time", "contract"), price
    if activated:
        found = found.assign_coords(product=list(activated))
        recovering = np.stack(list(activated.values()), axis=-1)
        found[RESERVE_CALLED] = ("time", "product"), recovering.astype(float)
    return variables.tag_dataset(found)


def _activated_products(site: Site, outlook: xr.Dataset, partner: str) -> str:
    """Return as text which reserves of a partner are activated meanwhile; empty if none.

    An outlook does not distinguish an activation from the recovery after it.
    """
    contracts = [one for one in site.machines_of(LoadTargetContract) if one.issuer == partner]
    products = [site.reserves[name] for one in contracts for name in one.activates]
    unavailable = [
        (one.name, sold_capacity(outlook, one) - required_capacity(outlook, one))
        for one in products
    ]
    names = ", ".join(
        name for name, power in unavailable if (power > GRID_REQUEST_TOLERANCE_MW).any()
    )
    return f", {names} called or recovering" if names else ""


def _limits(site: Site, outlook: xr.Dataset) -> Iterator[tuple[str, FloatArray]]:
    """Yield each partner that may send requests, and the limit in each interval. [MW]"""
    contracts = site.machines_of(LoadTargetContract)
    if "grid_import_target" in outlook:
        for contract in contracts:
            if contract.name in outlook["contract"].to_numpy():
                name = _as_requested(outlook, "grid_import_target")
                yield contract.issuer, machine_values(outlook, name, contract.name)
    if "grid_import_limit" in outlook:
        name = _as_requested(outlook, "grid_import_limit")
        names = [c.issuer for c in contracts if c.effect == "curtailment"]
        yield ", ".join(names) or "the connection", outlook[name].to_numpy()


def _as_requested(outlook: xr.Dataset, name: str) -> str:
    """Return the variable of a limit without the earlier turn that it needs, if there is one."""
    requested = f"{name}{REQUESTED_SUFFIX}"
    return requested if requested in outlook else name
