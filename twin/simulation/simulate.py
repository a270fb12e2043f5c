"""Simulate a site with labels, units and checks; see :func:`.engine.simulate_arrays`.

An ensemble is one call: its samples are leading axes of any variable. Long runs are simulated in
chunks, so that a year by the minute needs the memory of days.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import xarray as xr

from twin import time_axes, units, variables
from twin.argument_checks import check_argument_types, negative_value_issues
from twin.equipment import Genset, HeatReuse, ITHall, Renewable
from twin.errors import IssueCode, SiteError, StateError, ValidationIssue
from twin.physics import FloatArray
from twin.physics.psychrometrics import standard_pressure
from twin.simulation import setpoints
from twin.simulation import state as states
from twin.simulation.engine import SimulationArrays, VariableKey, simulate_arrays
from twin.simulation.setpoints import SET_POINT_VARIABLES
from twin.simulation.state_integration import CoolingCapacity
from twin.site import Site, unsupplied_carriers
from twin.variables import LEADING_AXES, machine_labels, machine_values
from twin.weather import PLAUSIBLE_AIR, Weather, implausible_air_issues

EQUIPMENT_DIMENSIONS: Final = {
    "accelerators": "hall",
    "cooling_plant": "circuit",
    "photovoltaic": "renewable",
    "wind": "renewable",
}
"""Kind of equipment -> its axis, where that is not the kind's own name."""


MAX_POWER_RATIO: Final = 3.0
"""Greatest power over full power of a simulation; more is impossible or a wrong unit. [1]"""

TIME_SHARE_TOLERANCE: Final = 0.05
"""Allowed excess of the time shares of charge and discharge, for noise of meters. [1]"""

_STEADY_HOUR: Final = np.datetime64("2000-01-01", "us")  # the result does not depend on it

ARRIVING_TEMPERATURE_VARIABLE: Final = "facility_arriving_temperature"
"""State of loops that declare their water on its way; by default the supply temperature."""


def simulate(site: Site, state: xr.Dataset, operation: xr.Dataset) -> xr.Dataset:
    """Simulate a site through an operation and return all flows and states.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the first edge, see :func:`twin.initial_state`.
    operation
        On ``time`` (with ``duration``) and ``instant``: ``air_temperature``,
        ``relative_humidity``, ``air_pressure`` and ``hall_power(time, hall)``. Optional and zero by
        default: ``battery_charge``, ``battery_discharge``, ``tank_charge``, ``tank_discharge``,
        ``renewable_used_power``, ``heat_reuse_power`` and ``genset_power``. Set points and chiller
        counts (:func:`twin.simulation.setpoints.read_set_points`) are as declared by default, and
        plants then stage their chillers themselves.

        Variables of state and operation may have any of the axes ``site``, ``scenario`` and
        ``sample`` (:data:`twin.variables.LEADING_AXES`), which broadcast.

    Returns
    -------
    xarray.Dataset
        Flows on ``time`` and states on ``instant``, tagged, with all leading axes of the arguments
        before them; ``closure`` is the greatest relative error of any energy balance. With Dask
        arrays that have chunks along leading axes it is lazy, and chunks run in parallel.

    Raises
    ------
    ProblemError
        If an argument has the wrong type.
    SiteError
        If no machine delivers a needed carrier, so that heat has no path.
    StateError
        If state or operation do not fit the site or each other, or are not finite or not possible.
        Of Dask arrays only the first sample is checked at once, the others when they are computed.
    UnitError
        If a variable or a unit is missing.
    """
    given = {"state": (state, xr.Dataset), "operation": (operation, xr.Dataset)}
    check_argument_types("simulate", site=(site, Site), **given)
    state, operation = _with_common_samples(site, state, operation)
    if state.chunks or operation.chunks:
        return _simulate_chunks_of_samples(site, state, operation)
    states.check_state(site, state, leading_axes=LEADING_AXES)
    check_operation(site, operation)
    result = simulate_arrays(
        site,
        state_arrays(state),
        dispatch_arrays(site, operation),
        weather=Weather.from_dataset(operation),
        durations=operation["duration"].to_numpy(),
    )
    return result_dataset(site, result, _grid(operation))


def _grid(operation: xr.Dataset) -> xr.Dataset:
    """Return the axes of an operation that its result has too."""
    leading = [dim for dim in LEADING_AXES if dim in operation.coords]
    return operation[["time", "duration", "instant", *leading]]


def _with_common_samples(
    site: Site, state: xr.Dataset, operation: xr.Dataset
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return state and operation with the same labels on leading axes.

    A variable with one of these axes has all of them, in order and before its others.

    Raises ``StateError`` if the labels differ.
    """
    parts = {"state": state, "operation": operation}
    found = [
        (name, dim, part[dim].variable)
        for dim in LEADING_AXES
        for name, part in parts.items()
        if dim in part.dims
    ]
    if not found:
        return state, operation
    labels = {dim: values for _, dim, values in found}
    issues = [
        IssueCode.WRONG_AXES.issue(
            f"{name}, {dim}",
            found=f"{values.size} labels from {values.to_numpy()[0]}",
            expected=f"the {labels[dim].size} labels of the operation",
            remedy="give state and operation the same labels on this axis",
        )
        for name, dim, values in found
        if not np.array_equal(values, labels[dim])
    ]
    StateError.raise_if_any(site.name, issues)
    return _with_leading_axes(state, labels), _with_leading_axes(operation, labels)


def _with_leading_axes(part: xr.Dataset, labels: Mapping[str, xr.Variable]) -> xr.Dataset:
    """Return a dataset whose variables have none or all of the leading axes, first and in order."""
    varied = {
        name: array.expand_dims(
            {dim: values.to_numpy() for dim, values in labels.items() if dim not in array.dims}
        ).transpose(*labels, ...)
        for name, array in part.data_vars.items()
        if labels.keys() & array.dims
    }
    return part.assign(varied).assign_coords(labels)


def _simulate_chunks_of_samples(site: Site, state: xr.Dataset, operation: xr.Dataset) -> xr.Dataset:
    """Return the lazy result of Dask arrays: the first sample shows its variables and axes."""
    dims = [dim for dim in LEADING_AXES if dim in operation.coords]
    sizes = {**state.chunksizes, **operation.chunksizes}
    chunks = {dim: sizes.get(dim, -1) for dim in dims}
    state, operation = (
        part.chunk({dim: chunks.get(str(dim), -1) for dim in part.dims})
        for part in (state, operation)
    )
    first = dict.fromkeys(dims, slice(1))
    one = simulate(site, *(part.isel(first).compute() for part in (state, operation)))
    template = one.isel(dict.fromkeys(dims, 0), drop=True).expand_dims(
        {dim: operation[dim].to_numpy() for dim in dims}
    )
    return xr.map_blocks(
        _simulate_block, operation, [state], {"site": site}, template.chunk(chunks)
    )


def _simulate_block(operation: xr.Dataset, state: xr.Dataset, *, site: Site) -> xr.Dataset:
    """Return the result of some samples, in a worker of Dask."""
    return simulate(site, state, operation)


def steady(site: Site, *, air: float, humidity: float = 0.5, load: float = 1.0) -> xr.Dataset:
    """Simulate an hour of constant load and weather from the settled state.

    Parameters
    ----------
    site
        The site.
    air
        Outdoor air temperature. [degC]
    humidity
        Relative humidity of the outdoor air. [1]
    load
        Power of all halls over their full power, 0 to 1. [1]

    Returns
    -------
    xarray.Dataset
        All flows and states, as from :func:`simulate`; one interval on ``time``. Stores rest, and
        the air pressure is that of the site's elevation.

    Raises
    ------
    StateError
        If the load is not from 0 to 1, or the air is implausible.
    ProblemError
        If the argument is not a site.

    Examples
    --------
    >>> import sites
    >>> run = steady(sites.load_site("small"), air=20.0, humidity=0.5, load=0.9)
    >>> round(float(run["hall_power"].sum()), 2)
    3.33
    """
    check_argument_types("steady", site=(site, Site))
    if not 0.0 <= load <= 1.0:
        raise StateError.single(
            site.name,
            IssueCode.OUT_OF_RANGE,
            "load",
            found=f"{load:g}",
            expected="a share from 0 to 1 of the full power of all halls",
            remedy="correct the load",
        )
    halls = site.machines_of(ITHall)
    operation = time_axes.regular_axes(_STEADY_HOUR, 1, time_axes.HOUR)
    operation = operation.assign_coords(hall=[hall.name for hall in halls]).assign(
        hall_power=(("time", "hall"), [[load * hall.full_power for hall in halls]]),
        air_temperature=("time", [float(air)]),
        relative_humidity=("time", [float(humidity)]),
        air_pressure=("time", [float(standard_pressure(site.elevation))]),
    )
    operation = variables.tag_dataset(operation)
    return simulate(site, settled_state(site, operation), operation)


def settled_state(site: Site, operation: xr.Dataset) -> xr.Dataset:
    """Return the initial state of a site whose plants already carry the load of the first interval.

    Otherwise valves with a lag would open from zero, and the water would heat up meanwhile.
    """
    initial = states.initial_state(site, operation["time"].to_numpy()[0])
    first = simulate(site, initial, operation.isel(time=[0], instant=[0, 1]))
    carried = first["cooling_load"].isel(time=0, drop=True).sel(circuit=initial["circuit"])
    return variables.tag_dataset(initial.assign(cooling_plant_output=carried))


def check_operation(site: Site, operation: xr.Dataset) -> None:
    """Check what the physics needs: paths for heat, possible air and time without gaps.

    Raises ``SiteError``, ``StateError``, ``UnitError`` as :func:`simulate` does.
    """
    unsupplied = [*unsupplied_carriers(site)]
    SiteError.raise_if_any(site.name, unsupplied)
    variables.check_variables(operation, *PLAUSIBLE_AIR)
    issues = [
        *implausible_air_issues(operation),
        *time_axes.time_axis_issues(operation),
        *_unit_error_issues(site, operation),
    ]
    StateError.raise_if_any(site.name, issues)


def _unit_error_issues(site: Site, operation: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield machines with impossible power, often because of a wrong unit."""
    used = [name for name in ("renewable_used_power",) if name in operation]
    variables.check_variables(operation, "hall_power", *used)
    halls = [("hall_power", "hall", h.name, h.full_power) for h in site.machines_of(ITHall)]
    sources = [
        ("renewable_used_power", "renewable", r.name, r.power) for r in site.machines_of(Renewable)
    ]
    for name, dim, owner, full_power in (*halls, *sources):
        if name not in operation or owner not in operation.coords.get(dim, ()):
            continue  # dispatch_arrays reports it
        power = machine_values(operation, name, owner)
        if np.isfinite(power).all() and (power > MAX_POWER_RATIO * full_power).any():
            yield IssueCode.OUT_OF_RANGE.issue(
                f"operation, {name}, {owner}",
                found=f"{power.max():g} MW",
                expected=f"at most {MAX_POWER_RATIO:g} times its full power of {full_power:g} MW",
                remedy="check the unit of the power",
            )


def state_arrays(state: xr.Dataset) -> dict[VariableKey, FloatArray]:
    """Return a state as :func:`.engine.simulate_arrays` needs it, on its leading axes."""
    names = ["battery_level", "tank_level", "facility_supply_temperature", "cooling_plant_output"]
    if ARRIVING_TEMPERATURE_VARIABLE in state:
        variables.check_variables(state, ARRIVING_TEMPERATURE_VARIABLE)
        names.append(ARRIVING_TEMPERATURE_VARIABLE)
    return {
        (name, owner): machine_values(state, name, owner)
        for name in names
        for owner in machine_labels(state, name)
    }


def state_values(state: xr.Dataset) -> dict[VariableKey, float]:
    """Return the numbers of a state without leading axes, by variable and machine."""
    return {key: float(value) for key, value in state_arrays(state).items()}


def idle_dispatch(site: Site, count: int) -> dict[VariableKey, FloatArray]:
    """Return the dispatch without storage, own generation and sold heat, for some intervals."""
    nothing = np.zeros(count)
    dispatch: dict[VariableKey, FloatArray] = {}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        dispatch |= {(f"{kind}_{way}", store.owner): nothing for way in ("charge", "discharge")}
    for exchange in site.exchanges:
        if exchange.availability_variable:
            dispatch["renewable_used_power", exchange.owner] = nothing
        if exchange.carrier == "heat":
            dispatch["heat_reuse_power", exchange.owner] = nothing
    return dispatch


def dispatch_arrays(site: Site, operation: xr.Dataset) -> dict[VariableKey, FloatArray]:
    """Return an operation as checked arrays for :func:`.engine.simulate_arrays`.

    Raises ``StateError`` if it names an unknown machine, a power is negative or not finite, or a
    battery charges and discharges at once.
    Raises ``UnitError`` if a unit is missing.
    """
    variables.check_variables(operation, "hall_power")
    count = operation.sizes["time"]
    wanted = [("hall_power", work.owner, "hall") for work in site.flexible_loads]
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        wanted += [(f"{kind}_{way}", store.owner, kind) for way in ("charge", "discharge")]
    for exchange in site.exchanges:
        if exchange.availability_variable:
            wanted.append(("renewable_used_power", exchange.owner, "renewable"))
    wanted += [
        ("heat_reuse_power", pump.name, "heat_reuse") for pump in site.machines_of(HeatReuse)
    ]
    wanted += [("genset_power", genset.name, "genset") for genset in site.machines_of(Genset)]
    variables.check_variables(operation, *{name for name, *_ in wanted if name in operation})
    dispatch, issues = {}, []
    for name, owner, dim in wanted:
        values = np.zeros(count)
        if name in operation:
            if dim not in operation.coords or owner not in operation[dim].to_numpy():
                issues.append(
                    IssueCode.MISSING.issue(
                        f"operation, {name}",
                        found=owner,
                        expected=f"a value for each {dim} of the site",
                        remedy=f"add this {dim}",
                    )
                )
                continue
            values = machine_values(operation, name, owner)
            if not ((values >= 0.0) & (values < np.inf)).all():
                given = operation[name].sel({dim: [owner]}).transpose(dim, ...)
                issues += negative_value_issues(given, of="operation")
        dispatch[name, owner] = values
    issues += _simultaneous_power_issues(site, dispatch, operation["time"].to_numpy())
    StateError.raise_if_any(site.name, issues)
    return dispatch | setpoints.read_set_points(site, operation)


def _simultaneous_power_issues(
    site: Site, dispatch: Mapping[VariableKey, FloatArray], time: np.ndarray
) -> Iterator[ValidationIssue]:
    """Yield batteries that charge and discharge more than one after the other would allow.

    Within an interval a converter may do both in turn: the shares of its time sum to 1 at most.
    """
    for store in site.stores:
        ways = ("battery_charge", store.owner), ("battery_discharge", store.owner)
        if not {*ways} <= dispatch.keys():
            continue
        charge, discharge = (dispatch[way] for way in ways)
        time_share = charge / store.charge_limit + discharge / store.discharge_limit
        is_both = (charge > 0.0) & (discharge > 0.0) & (time_share > 1.0 + TIME_SHARE_TOLERANCE)
        if is_both.any():
            first = tuple(np.argwhere(is_both)[0])
            yield IssueCode.INCONSISTENT.issue(
                f"operation, {store.owner}, {units.format_minute(time[first[-1]])}",
                found=f"charge of {charge[first]:g} MW and discharge of {discharge[first]:g} MW",
                expected="one of the two, or both in turn within the interval",
                remedy="give the difference as charge or as discharge",
            )


def result_dataset(site: Site, result: SimulationArrays, grid: xr.Dataset) -> xr.Dataset:
    """Return a result with labels and units; NaN where a machine lacks a variable.

    ``grid`` has the axes of the result as coordinates: leading ones, ``time`` and ``instant``.
    """
    leading = {dim: grid.sizes[dim] for dim in LEADING_AXES if dim in grid.dims}
    tables = {"time": result.flows, "instant": result.states}
    dims = {
        name: EQUIPMENT_DIMENSIONS.get(one.kind, one.kind) for name, one in site.equipment.items()
    }
    labels: dict[str, list[str]] = {}
    for owner in dict.fromkeys(owner for table in tables.values() for _, owner in table if owner):
        labels.setdefault(dims[owner], []).append(owner)
    columns: dict[str, tuple[tuple[str, ...], FloatArray, dict[str, str]]] = {}
    for axis, table in tables.items():
        shape = (*leading.values(), grid.sizes[axis])
        none = np.full(shape, np.nan)
        for name, owner in table:
            if name in columns:
                continue
            owners = labels[dims[owner]] if owner else [owner]
            rows = [table.get((name, one), none) for one in owners]
            if leading:
                rows = [np.broadcast_to(values, shape) for values in rows]
            dim = (dims[owner],) if owner else ()
            values = np.stack(rows, axis=-1) if owner else rows[0]
            columns[name] = (*leading, axis, *dim), values, variables.variable_attributes(name)
    return xr.Dataset(columns, coords={**grid.variables, **labels}, attrs=grid.attrs)


def simulate_in_chunks(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, chunk_size: int
) -> Iterator[xr.Dataset]:
    """Simulate a site chunk by chunk, each from the final state of the one before.

    Parameters
    ----------
    site, state, operation
        As for :func:`twin.simulate`; the chunks together are its result.
    chunk_size
        Intervals of a chunk; the last one may have fewer. [1]

    Yields
    ------
    xarray.Dataset
        Result of a chunk, with the commanded set points of the water.

    Raises
    ------
    SiteError, StateError, UnitError
        As :func:`twin.simulate` does, before the first chunk.
    """
    state, operation = _with_common_samples(site, state, operation)
    states.check_state(site, state, leading_axes=LEADING_AXES)
    check_operation(site, operation)
    grid = _grid(operation)
    set_points = {word: operation[word] for word in SET_POINT_VARIABLES if word in operation}
    for part, result in simulate_arrays_in_chunks(site, state, operation, span=chunk_size):
        whole = slice(part.start, part.stop + 1)
        labelled = result_dataset(site, result, grid.isel(time=part, instant=whole))
        yield labelled.assign({word: values.isel(time=part) for word, values in set_points.items()})


def simulate_arrays_in_chunks(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, span: int
) -> Iterator[tuple[slice, SimulationArrays]]:
    """Yield the intervals and the bare result of each chunk; see :func:`simulate_in_chunks`."""
    states, dispatch = state_arrays(state), dispatch_arrays(site, operation)
    weather = Weather.from_dataset(operation)
    hours = operation["duration"].to_numpy()
    for first in range(0, len(hours), span):
        part = slice(first, min(first + span, len(hours)))
        air = weather.select(part)
        result = simulate_arrays(
            site,
            states,
            {key: values[..., part] for key, values in dispatch.items()},
            weather=air,
            durations=hours[part],
            capacities=cooling_capacities(site, air),
        )
        states = {key: values[..., -1] for key, values in result.states.items()}
        yield part, result


def cooling_capacities(site: Site, weather: Weather) -> dict[str, CoolingCapacity]:
    """Return the capacity of each plant, computed once for each stretch of constant air."""
    rows = np.stack([weather.air_temperature, weather.humidity_ratio, weather.air_pressure])
    changes = (np.diff(rows) != 0.0).any(axis=tuple(range(rows.ndim - 1)))
    is_new = np.append(True, changes)
    first_rows, stretch = np.flatnonzero(is_new), np.cumsum(is_new) - 1
    found = CoolingCapacity.by_plant(site, weather.select(first_rows))
    return {name: capacity.select(stretch) for name, capacity in found.items()}
