"""Simulate a site: :func:`twin.run.run` with labels, units and checks at its doors."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import xarray as xr

from twin import axes, steering, vocabulary
from twin import state as states
from twin.equipment import Accelerators, CoolingPlant, Genset, HeatReuse, Renewable
from twin.errors import Fault, SiteError, StateError
from twin.given import check_given
from twin.labels import of_owner, values_of
from twin.paths import without_path
from twin.physics import FloatArray
from twin.places import below_nothing
from twin.run import Key, Run, run
from twin.site import Site
from twin.weather import POSSIBLE, Weather, impossible

DIMENSIONS: Final = {
    "accelerators": "hall",
    "cooling_plant": "circuit",
    "photovoltaic": "renewable",
    "wind": "renewable",
}
"""Kind of equipment -> its axis, where that is not the kind's own name."""


SLIP: Final = 10.0
"""Power of a hall or of sun and wind, over the full one, that is a slip of the unit. [1]"""

ARRIVING: Final = "facility_arriving_temperature"
"""Stock of loops that declare how much water is on its way; left out, it is that of the supply."""


def simulate(site: Site, state: xr.Dataset, operation: xr.Dataset) -> xr.Dataset:
    """Run a site through an operation and return everything it did.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the first edge, as :func:`twin.state.rest` gives.
    operation
        On ``time`` (with ``duration``) and ``instant``: ``air_temperature``,
        ``relative_humidity``, ``air_pressure``, ``hall_power(time, hall)``; where the site has
        them, ``battery_charge``, ``battery_discharge``, ``tank_charge``, ``tank_discharge``,
        ``renewable_used_power``, ``heat_reuse_power`` and ``genset_power``; left out, they are
        zero. Set points of the water and chillers that run as :func:`twin.steering.read` wants
        them; left out, the declared ones hold, and plants stage their chillers themselves.

    Returns
    -------
    xarray.Dataset
        Flows on ``time`` and stocks on ``instant``, all tagged; ``closure`` is the greatest
        relative error of any energy balance.

    Raises
    ------
    ProblemError
        If anything is of another kind.
    SiteError
        If something is asked for that no machine delivers, so that heat has no path.
    StateError
        If the state or the operation does not fit the site, or is not finite or possible.
    UnitError
        If a variable or a unit is missing.
    """
    given = {"state": (state, xr.Dataset), "operation": (operation, xr.Dataset)}
    check_given("simulate", site=(site, Site), **given)
    states.check(site, state)
    check(site, operation)
    orders = orders_of(site, operation)
    hours = operation["duration"].to_numpy()
    result = run(site, stocks_of(state), orders, weather=Weather.of(operation), hours=hours)
    return dataset(site, result, operation[["time", "duration", "instant"]])


def at_work(site: Site, operation: xr.Dataset) -> xr.Dataset:
    """Return the calm state in which an operation finds a site that has been at work before.

    Parameters
    ----------
    site, operation
        As for :func:`simulate`.

    Returns
    -------
    xarray.Dataset
        As :func:`twin.state.rest`, but plants already carry the load of the first interval: valves
        with a lag would open from nothing, and the water get hot meanwhile.
    """
    calm = states.rest(site, operation["time"].to_numpy()[0])
    first = simulate(site, calm, operation.isel(time=[0], instant=[0, 1]))
    for plant in site.of(CoolingPlant):
        carried = first["cooling_load"].sel(circuit=plant.name).item()
        calm["cooling_plant_output"].loc[{"circuit": plant.name}] = carried
    return calm


def check(site: Site, operation: xr.Dataset) -> None:
    """Refuse what no physics can answer: heat without a path, air that is none, time with holes.

    Parameters
    ----------
    site, operation
        As for :func:`simulate`.

    Raises
    ------
    SiteError, StateError, UnitError
        As :func:`simulate` does.
    """
    lost = [*without_path(site)]
    if lost:
        raise SiteError(site.name, lost)
    vocabulary.check(operation, *POSSIBLE)
    faults = [*impossible(operation), *axes.faults_of(operation), *_beyond(site, operation)]
    if faults:
        raise StateError(site.name, faults)


def _beyond(site: Site, operation: xr.Dataset) -> Iterator[Fault]:
    """Yield machines that would draw or give what they cannot: a slip of the unit, most likely."""
    used = [name for name in ("renewable_used_power",) if name in operation]
    vocabulary.check(operation, "hall_power", *used)
    halls = [("hall_power", "hall", h.name, h.full_power) for h in site.of(Accelerators)]
    sources = [("renewable_used_power", "renewable", r.name, r.power) for r in site.of(Renewable)]
    for name, dim, owner, most in (*halls, *sources):
        if name not in operation or owner not in operation.coords.get(dim, ()):
            continue  # told by what reads the orders
        power = of_owner(operation, name, owner)
        if np.isfinite(power).all() and (power > SLIP * most).any():
            mend = f"it is {most:g} MW at most; is the unit right?"
            place = f"operation, {name}, {owner}"
            yield Fault(place=place, value=f"{power.max():g} MW", mend=mend)


def stocks_of(state: xr.Dataset) -> dict[Key, float]:
    """Return a state as the bare numbers that :func:`run` wants."""
    stocks: dict[Key, float] = {}
    for name in (
        "battery_level",
        "tank_level",
        "facility_supply_temperature",
        "cooling_plant_output",
    ):
        stocks |= {(name, label): value for label, value in values_of(state, name).items()}
    if ARRIVING in state:
        vocabulary.check(state, ARRIVING)
        stocks |= {(ARRIVING, label): value for label, value in values_of(state, ARRIVING).items()}
    return stocks


def idle(site: Site, count: int) -> dict[Key, FloatArray]:
    """Return orders by which stores and sources rest and no heat is sold, as :func:`run` wants.

    Parameters
    ----------
    site
        The site.
    count
        Number of intervals. [1]
    """
    nothing = np.zeros(count)
    orders: dict[Key, FloatArray] = {}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        orders |= {(f"{kind}_{way}", store.owner): nothing for way in ("charge", "discharge")}
    for exchange in site.exchanges:
        if exchange.available:
            orders["renewable_used_power", exchange.owner] = nothing
        if exchange.carrier == "heat":
            orders["heat_reuse_power", exchange.owner] = nothing
    return orders


def orders_of(site: Site, operation: xr.Dataset) -> dict[Key, FloatArray]:
    """Return an operation as the bare arrays that :func:`run` wants, checked.

    Raises
    ------
    StateError
        If it names a machine that the site has not, or is no power.
    UnitError
        If a unit is missing.
    """
    vocabulary.check(operation, "hall_power")
    count = operation.sizes["time"]
    wanted = [("hall_power", work.owner, "hall") for work in site.works]
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        wanted += [(f"{kind}_{way}", store.owner, kind) for way in ("charge", "discharge")]
    for exchange in site.exchanges:
        if exchange.available:
            wanted.append(("renewable_used_power", exchange.owner, "renewable"))
    wanted += [("heat_reuse_power", pump.name, "heat_reuse") for pump in site.of(HeatReuse)]
    wanted += [("genset_power", genset.name, "genset") for genset in site.of(Genset)]
    vocabulary.check(operation, *{name for name, *_ in wanted if name in operation})
    orders, faults = {}, []
    for name, owner, dim in wanted:
        values = np.zeros(count)
        if name in operation:
            if dim not in operation.coords or owner not in operation[dim].to_numpy():
                mend = f"the operation has no {dim} of this name"
                faults.append(Fault(place=f"operation, {name}", value=owner, mend=mend))
                continue
            values = of_owner(operation, name, owner)
            given = operation[name].sel({dim: [owner]}).transpose(dim, "time")
            faults += below_nothing(given, of="operation")
        orders[name, owner] = values
    if faults:
        raise StateError(site.name, faults)
    return orders | steering.read(site, operation)


def dataset(site: Site, result: Run, grid: xr.Dataset) -> xr.Dataset:
    """Return a run with labels, units and meanings; NaN where a machine has no such thing."""
    tables = {"time": result.flows, "instant": result.stocks}
    dims = {name: DIMENSIONS.get(one.kind, one.kind) for name, one in site.equipment.items()}
    labels: dict[str, list[str]] = {}
    for owner in dict.fromkeys(owner for table in tables.values() for _, owner in table if owner):
        labels.setdefault(dims[owner], []).append(owner)
    found: dict[str, tuple[tuple[str, ...], FloatArray, dict[str, str]]] = {}
    for axis, table in tables.items():
        none = np.full(grid.sizes[axis], np.nan)
        for name, owner in table:
            if name in found:
                continue
            dim: tuple[str, ...] = ()
            values = table[name, owner]
            if owner:
                dim = (dims[owner],)
                owners = labels[dims[owner]]
                values = np.stack([table.get((name, one), none) for one in owners], axis=-1)
            found[name] = (axis, *dim), values, vocabulary.attributes(name)
    return xr.Dataset(found, coords={**grid.variables, **labels}, attrs=grid.attrs)
