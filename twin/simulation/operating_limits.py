"""The hard limits of a site, and the violations of a simulated or measured run.

The same limits apply to plans and to plants. The module also reports freezing in dry coolers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import xarray as xr

from twin import time_axes, units
from twin.argument_checks import check_argument_types
from twin.equipment import (
    CduBank,
    CoolingPlant,
    CrahBank,
    ITHall,
    Switchgear,
    TransformerBank,
    UpsBank,
)
from twin.equipment.coolers_and_towers import DryCooler
from twin.errors import IssueCode, StateError
from twin.physics import FloatArray, fluid_flow
from twin.simulation.setpoints import warmest_ruled_coolant
from twin.site import Site
from twin.units import format_minute, format_unit
from twin.variables import machine_values, net_import, variable_definition
from twin.weather import Weather

LIMIT_TOLERANCE = 1e-3
"""Excess of a power, level or loading that is no violation, as a share of its limit. [1]"""

MIN_LIMIT_SPAN_MW = 1e-3
"""Span that a limit of zero is given for its tolerance. [MW]"""

TEMPERATURE_TOLERANCE_K = 0.05
"""Excess of a temperature that is no violation. [K]"""


RAMP_LIMIT_NAME: Final = "ramp of grid_import_power"
"""Name of the ramp limit of the grid connection."""

SET_POINT_TRANSITION_MIN: Final = 10.0
"""Time in which a plant moves to new set points; plans and the verifier assume it. [min]"""


@dataclass(frozen=True, kw_only=True)
class OperatingLimit:
    """One hard limit.

    - ``variable``: Name of the limited variable.
    - ``owner``: Name of the machine, or "" for the whole site.
    - ``dimension``: Axis of the owner, or "".
    - ``lower``, ``upper``: The limit, in the variable's unit.
    - ``margin_kind``: Margin of the site that a plan keeps: ``power``, ``temperature`` or
      ``level``.
    """

    variable: str
    owner: str = ""
    dimension: str = ""
    lower: float = -np.inf
    upper: float = np.inf
    margin_kind: Literal["power", "temperature", "level"]

    @property
    def name(self) -> str:
        """The variable and its machine, as text."""
        return f"{self.variable} of {self.owner}" if self.owner else self.variable

    def values(self, result: xr.Dataset) -> FloatArray:
        """Return the limited values of a run; states at the ends of the intervals."""
        array = result.variables[self.variable]
        values = (
            machine_values(result, self.variable, self.owner)
            if self.dimension
            else array.to_numpy()
        )
        return np.asarray(values[1:] if "instant" in array.dims else values)

    def excess_ratio(self, result: xr.Dataset, *, safety_margin: float = 0.0) -> FloatArray:
        """Return the excess of each interval in tolerances, ``(time,)``; above 1 violates. [1]

        - ``safety_margin``: Distance to keep from the limit: K for temperatures, otherwise a share
          of the limit.
        """
        values = self.values(result)
        is_kelvin = self.margin_kind == "temperature"
        margin = safety_margin if is_kelvin else safety_margin * self._span
        over = values - (self.upper - margin)
        under = (self.lower + margin) - values
        return np.asarray(np.maximum(over, under) / self.tolerance)

    @property
    def tolerance(self) -> float:
        """Excess that is no violation, in the variable's unit; of a temperature in K."""
        if self.margin_kind == "temperature":
            return TEMPERATURE_TOLERANCE_K
        return LIMIT_TOLERANCE * max(self._span, MIN_LIMIT_SPAN_MW)

    @property
    def unit(self) -> str:
        """Unit of the excess."""
        is_kelvin = self.margin_kind == "temperature"
        return "K" if is_kelvin else format_unit(variable_definition(self.variable).unit)

    @property
    def _span(self) -> float:
        """Largest of the bounds, as an absolute value."""
        return max(abs(bound) for bound in (self.lower, self.upper) if np.isfinite(bound))


def operating_limits(site: Site) -> tuple[OperatingLimit, ...]:
    """Return every hard limit of a site except the ramp; see :func:`count_violations`."""
    grid = site.grid_connection
    found = [
        OperatingLimit(variable="grid_import_power", upper=grid.import_limit, margin_kind="power"),
        OperatingLimit(variable="grid_export_power", upper=grid.export_limit, margin_kind="power"),
    ]
    for machine in (
        *site.machines_of(TransformerBank),
        *site.machines_of(Switchgear),
        *site.machines_of(UpsBank),
    ):
        kind = machine.kind
        one = _upper_limit(f"{kind}_loading", machine.name, kind, 1.0, "power")
        found.append(replace(one, lower=-1.0))  # export flows backwards
    for cooler in (*site.machines_of(CduBank), *site.machines_of(CrahBank)):
        kind = cooler.kind
        found.append(_upper_limit(f"{kind}_loading", cooler.name, kind, 1.0, "power"))
    for plant in site.machines_of(CoolingPlant):
        variable, high = "facility_supply_temperature", plant.supply_limit
        found.append(_upper_limit(variable, plant.name, "circuit", high, "temperature"))
    for hall in site.machines_of(ITHall):
        high = hall.chip_temperature_limit
        found.append(
            _upper_limit("full_load_chip_temperature", hall.name, "hall", high, "temperature")
        )
        found.append(_upper_limit("hall_power", hall.name, "hall", hall.full_power, "power"))
        for air in site.machines_of(CrahBank):
            high = hall.inlet_temperature_limit
            found.append(
                _upper_limit("rack_inlet_temperature", air.name, "hall_air", high, "temperature")
            )
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        found.append(
            OperatingLimit(
                variable=f"{kind}_level",
                owner=store.owner,
                dimension=kind,
                lower=store.min_level,
                upper=store.max_level,
                margin_kind="level",
            )
        )
    return tuple(dict.fromkeys(found))


def _upper_limit(
    variable: str,
    owner: str,
    dim: str,
    high: float,
    margin: Literal["power", "temperature", "level"],
) -> OperatingLimit:
    return OperatingLimit(
        variable=variable, owner=owner, dimension=dim, upper=high, margin_kind=margin
    )


def count_violations(
    site: Site, record: xr.Dataset, *, called_reserve_power: FloatArray | float = 0.0
) -> xr.DataArray:
    """Count the violations of a record: one for each limit and minute beyond its tolerance.

    Parameters
    ----------
    site
        The site with its limits.
    record
        Minutes of a plant.
    called_reserve_power
        Import that called reserves saved, ``(time,)``; negative where they added import. The ramp
        limit exempts it. [MW]

    Returns
    -------
    xarray.DataArray
        Number of violated minutes, ``(limit,)``; a value that is no number violates. [1]
        ``first(limit)`` is the time of the first violation, NaT without one.

    Raises
    ------
    StateError
        If an interval is not a minute: longer means hide peaks, and their steps are no ramps.
    """
    check_argument_types("count_violations", site=(site, Site), record=(record, xr.Dataset))
    steps = np.diff(time_axes.interval_edges(record))
    if (steps != time_axes.MINUTE).any():
        first = int(np.argmax(steps != time_axes.MINUTE))
        raise StateError.single(
            site.name,
            IssueCode.WRONG_AXES,
            f"record, {units.format_minute(record['time'].to_numpy()[first])}",
            found=f"{steps[first] / time_axes.MINUTE:g} min",
            expected="intervals of one minute",
            remedy="give the record of the plant by the minute",
        )
    found = {limit.name: ~(limit.excess_ratio(record) <= 1.0) for limit in operating_limits(site)}
    ramp = (
        np.abs(np.diff(net_import(record).to_numpy() + called_reserve_power))
        / site.grid_connection.ramp
    )
    found[RAMP_LIMIT_NAME] = np.append(False, ~(ramp <= 1.0 + LIMIT_TOLERANCE))
    time, never = record["time"].to_numpy(), np.datetime64("NaT", "us")
    since = [time[np.argmax(one)] if one.any() else never for one in found.values()]
    return xr.DataArray(
        [int(one.sum()) for one in found.values()],
        coords={"limit": list(found), "first": ("limit", np.array(since, "datetime64[us]"))},
        dims="limit",
        attrs={"units": "1"},
    )


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One limit that a schedule or a run violates.

    - ``limit``: The limit, as text.
    - ``time``: First interval of the violation.
    - ``violated_interval_count``, ``interval_count``: Intervals of the violation, and all
      intervals. [1]
    - ``excess``: Greatest excess, as a multiple of the allowed one. [1]
    - ``allowed_excess``: The allowed excess, in ``unit``; without a unit the text states the
      multiple. If nothing is allowed, ``excess`` is in ``unit``.
    - ``remedy``: What would help; begins with a verb.
    - ``limit_value``, ``farthest_value``: The limit, and the value farthest beyond it, in the
      variable's unit; NaN if unknown.
    """

    limit: str
    time: np.datetime64
    violated_interval_count: int
    excess: float
    allowed_excess: float = 1.0
    unit: str = ""
    remedy: str = ""
    limit_value: float = np.nan
    farthest_value: float = np.nan
    interval_count: int = 0

    def __str__(self) -> str:
        """Return the violation as a line of text."""
        count = self.violated_interval_count
        what = f"{count} interval{'s' * (count != 1)} from {format_minute(self.time)}"
        remedy = f"; {self.remedy}" if self.remedy else ""
        if not self.unit:
            return f"{self.limit}: {what}, worst {self.excess:.3g} times what is allowed{remedy}"
        allowed = f"{self.allowed_excess:.3g} {self.unit}" if self.allowed_excess else "none"
        worst = f"{self.excess * (self.allowed_excess or 1.0):.3g} {self.unit}"
        return f"{self.limit}: {what}, worst {worst} where {allowed} is allowed{remedy}"


def find_violation(
    name: str,
    excess: FloatArray,
    time: np.ndarray,
    *,
    allowed: float = 1.0,
    unit: str = "",
    remedy: str = "",
) -> list[Violation]:
    """Return the violation of one limit, or an empty list.

    ``excess`` is on ``time``, as a multiple of ``allowed``, which is in ``unit``; above 1, or no
    number, it violates [1]. If nothing is allowed, it is in ``unit``, and violates above 0.
    """
    if not (bad := ~(excess <= (1.0 if allowed else 0.0))).any():
        return []
    return [
        Violation(
            limit=name,
            time=np.datetime64(time[bad][0], "us"),
            violated_interval_count=int(bad.sum()),
            excess=float(excess.max()),
            allowed_excess=allowed,
            unit=unit,
            remedy=remedy,
            interval_count=len(excess),
        )
    ]


def limit_excess(site: Site, run: xr.Dataset) -> xr.DataArray:
    """Return how far each interval of a run lies beyond each limit of its site.

    Limits of variables that the run lacks are omitted. Coolant is also compared with the dew point
    of the halls.

    Returns: ``(time, limit)``, in the unit of each limit: positive above the upper bound, negative
    below the lower, 0 within the tolerance of :meth:`OperatingLimit.excess_ratio`.
    """
    limits = [limit for limit in _all_limits(site) if limit.variable in run]
    rows = [_signed_excess(limit, run) for limit in limits]
    return xr.DataArray(
        np.stack(rows, axis=-1) if rows else np.zeros((run.sizes["time"], 0)),
        coords={"time": run["time"], "limit": [limit.name for limit in limits]},
        dims=("time", "limit"),
    )


def limit_violations(site: Site, distance: xr.DataArray) -> Iterator[Violation]:
    """Yield the limits that are violated, one for each limit and side; see :func:`limit_excess`."""
    by_name = {limit.name: limit for limit in _all_limits(site)}
    time = distance["time"].to_numpy()
    for name in distance["limit"].to_numpy().tolist():
        limit, values = by_name[name], distance.sel(limit=name).to_numpy()
        unit = variable_definition(limit.variable).unit
        for bound, over in ((limit.upper, values), (limit.lower, -values)):
            reached = bound + float(values[np.argmax(over)])
            for one in find_violation(name, over, time, allowed=0.0, unit=unit):
                yield replace(one, limit_value=bound, farthest_value=reached)


def _all_limits(site: Site) -> tuple[OperatingLimit, ...]:
    """Return the hard limits of a site, and those of the coolant at the declared flow.

    It must be above the dew point of the halls, and so cool that the racks need no more flow. Plans
    cannot change coolant at declared set points, so this is no limit of plans.
    """
    rules = site.set_points
    min_coolant_temperature = rules.hall_dew_point + rules.dew_point_distance
    coolant = [
        OperatingLimit(
            variable="technology_supply_temperature",
            owner=cdu.name,
            dimension="cdu",
            lower=min_coolant_temperature,
            upper=warmest_ruled_coolant(site, cdu),
            margin_kind="temperature",
        )
        for cdu in site.machines_of(CduBank)
    ]
    return (*operating_limits(site), *coolant)


def _signed_excess(limit: OperatingLimit, run: xr.Dataset) -> np.ndarray:
    """Return the excess above a limit, negative below it, 0 within the tolerance."""
    values = limit.values(run)
    far = np.where(
        values > limit.upper, values - limit.upper, np.minimum(values - limit.lower, 0.0)
    )
    return np.where(limit.excess_ratio(run) > 1.0, far, 0.0)


FREEZE_VARIABLES = ("cooling_plant_rejected_heat", "cooling_plant_flow")
"""Variables of a run that give the heat and the water flow at the coolers."""


def freeze_risks(site: Site, run: xr.Dataset, weather: Weather) -> list[Violation]:
    """Return the circuits that need a bypass, dampers or more glycol in a run.

    The limit is named by the cooling plant; its bound is the freezing point of the water [degC].

    Circuits with chillers or towers are not considered: other water passes their coolers.

    - ``run``: A run with :data:`FREEZE_VARIABLES` on ``time``.
    - ``weather``: Outdoor air on the same ``time``.

    Fans turn no slower than ``minimum_speed``, so in frost a light load is cooled below the set
    point. A plant keeps the set point by a bypass or by stopping some coolers. The simulation
    assumes that it does; this function reports where it must.
    """
    found = []
    for plant in site.machines_of(CoolingPlant):
        if plant.chillers is not None or not isinstance(plant.rejection, DryCooler):
            continue
        leaving = _coldest_outlet(plant, run, weather)
        freezing_point = plant.loop.liquid.freezing_point
        excess = np.where(leaving < freezing_point, freezing_point - leaving, 0.0)
        time, reached = run["time"].to_numpy(), float(leaving.min())
        found += [
            replace(one, limit_value=freezing_point, farthest_value=reached)
            for one in find_violation(plant.name, excess, time, allowed=0.0, unit="K")
        ]
    return found


def _coldest_outlet(plant: CoolingPlant, run: xr.Dataset, weather: Weather) -> FloatArray:
    """Return the temperature at which water leaves coolers with the slowest fans. [degC]"""
    heat, flow = (run[name].sel(circuit=plant.name).to_numpy() for name in FREEZE_VARIABLES)
    per_flow = fluid_flow.capacity_rate(
        1.0, plant.loop.liquid, temperature=plant.supply_temperature
    )
    slowest = np.full(weather.shape, plant.rejection.minimum_speed)
    return plant.rejection.leaving_temperature(
        heat, capacity_rate=flow * per_flow, weather=weather, speed=slowest
    )


type Finding = tuple[str, FloatArray]
"""Description of a limit, and the excess of each interval; above 1 is a violation. [1]"""
