"""The limits of a site, and what of a run lies beyond them: one judge for plans and for plants.

By how much a run lies beyond the limits of its site, in the units that people read.

Where the water of a circuit would freeze inside its dry coolers, were all of it to pass them.

What of a schedule lies beyond a limit: from when on, how often, how far.

How units of a bank run: their starts and stops, and the least times that are not kept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Final, Literal, Self

import numpy as np
import xarray as xr

from twin import time_axes, units, variables
from twin.equipment import (
    CduBank,
    CoolingPlant,
    CrahBank,
    ITHall,
    Switchgear,
    TransformerBank,
    UpsBank,
)
from twin.equipment.heat_rejection import DryCooler
from twin.errors import StateError, ValidationIssue
from twin.physics import FloatArray, fluid_flow
from twin.physics.numerics import BoolArray
from twin.relations import SwitchableUnits
from twin.simulation.setpoints import UNITS_ON
from twin.site import Site
from twin.units import format_minute
from twin.validation import check_argument_types
from twin.variables import machine_values, net_import
from twin.weather import Weather

LIMIT_TOLERANCE = 1e-3
"""A power, level or loading beyond its limit by less than this share of it is no violation. [1]"""

MIN_LIMIT_SPAN_MW = 1e-3
"""A limit of zero is judged as if it were this far from it: what is less is rounding. [MW]"""

TEMPERATURE_TOLERANCE_K = 0.05
"""A temperature beyond its limit by less than this is no violation. [K]"""


RAMP_LIMIT_NAME: Final = "ramp of grid_import_power"
"""What the ramp of the connection is called among limits."""

SET_POINT_TRANSITION_MIN: Final = 10.0
"""Time in which a plant goes over to new set points; plans and verdicts count on it. [min]"""


@dataclass(frozen=True, kw_only=True)
class OperatingLimit:
    """One hard limit.

    Attributes
    ----------
    variable
        Word of the vocabulary that is limited.
    owner
        Label of the machine, or "" for the site as a whole.
    dimension
        Axis of the owner, or "".
    lower, upper
        The limit, in the variable's unit.
    margin_kind
        What a plan keeps free: ``power``, ``temperature`` or ``level`` of the site's margins.
    """

    variable: str
    owner: str = ""
    dimension: str = ""
    lower: float = -np.inf
    upper: float = np.inf
    margin_kind: Literal["power", "temperature", "level"]

    @property
    def name(self) -> str:
        """Name for people: the variable and its machine."""
        return f"{self.variable} of {self.owner}" if self.owner else self.variable

    def values(self, result: xr.Dataset) -> FloatArray:
        """Return the limited values of a run, stocks at the ends of the intervals."""
        array = result.variables[self.variable]
        values = (
            machine_values(result, self.variable, self.owner)
            if self.dimension
            else array.to_numpy()
        )
        return np.asarray(values[1:] if "instant" in array.dims else values)

    def excess_ratio(self, result: xr.Dataset, *, safety_margin: float = 0.0) -> FloatArray:
        """Return by how much each interval lies beyond the limit, in tolerances; 1 is a violation.

        Parameters
        ----------
        result
            A run of the twin or of a plant.
        safety_margin
            Distance to keep from the limit: K for temperatures, else a share of the limit.

        Returns
        -------
        numpy.ndarray
            Excess over the tolerance, ``(time,)``; at most 1 where the limit is kept. [1]
        """
        values = self.values(result)
        span = max(abs(bound) for bound in (self.lower, self.upper) if np.isfinite(bound))
        is_kelvin = self.margin_kind == "temperature"
        tolerance = (
            TEMPERATURE_TOLERANCE_K if is_kelvin else LIMIT_TOLERANCE * max(span, MIN_LIMIT_SPAN_MW)
        )
        held = safety_margin if is_kelvin else safety_margin * span
        over = values - (self.upper - held)
        under = (self.lower + held) - values
        return np.asarray(np.maximum(over, under) / tolerance)


def operating_limits(site: Site) -> tuple[OperatingLimit, ...]:
    """Return every hard limit of a site but the ramp; see :func:`count_violations`."""
    grid = site.grid
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
        one = _of(f"{kind}_loading", machine.name, kind, 1.0, "power")
        found.append(replace(one, lower=-1.0))  # what a site exports runs backwards
    for plant in site.machines_of(CoolingPlant):
        variable, high = "facility_supply_temperature", plant.supply_limit
        found.append(_of(variable, plant.name, "circuit", high, "temperature"))
    for hall in site.machines_of(ITHall):
        high = hall.chip_temperature_limit
        found.append(_of("chip_temperature", hall.name, "hall", high, "temperature"))
        found.append(_of("hall_power", hall.name, "hall", hall.full_power, "power"))
        for air in site.machines_of(CrahBank):
            high = hall.inlet_temperature_limit
            found.append(_of("rack_inlet_temperature", air.name, "hall_air", high, "temperature"))
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


def _of(
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
        What a plant did, in minutes.
    called_reserve_power
        Import that reserves spared because the grid called them, below 0 what they took more:
        operators exempt it from the ramp limit, ``(time,)``. [MW]

    Returns
    -------
    xarray.DataArray
        Number of violated minutes, ``(limit,)``; what is no number violates. [1]
        ``first(limit)`` is when the first begins, NaT where none does.

    Raises
    ------
    StateError
        If an interval is no minute: means of longer ones hide peaks, and their steps are no ramps.
    """
    check_argument_types("violations", site=(site, Site), record=(record, xr.Dataset))
    steps = np.diff(time_axes.interval_edges(record))
    if (steps != time_axes.MINUTE).any():
        first = int(np.argmax(steps != time_axes.MINUTE))
        place = f"record, {units.format_minute(record['time'].to_numpy()[first])}"
        remedy = "violations are counted by the minute; give a record of minutes, as plants keep"
        issue = ValidationIssue(
            location=place, found=f"{steps[first] / time_axes.MINUTE:g} min", remedy=remedy
        )
        raise StateError(site.name, [issue])
    found = {limit.name: ~(limit.excess_ratio(record) <= 1.0) for limit in operating_limits(site)}
    ramp = np.abs(np.diff(net_import(record).to_numpy() + called_reserve_power)) / site.grid.ramp
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
class LimitExceedance:
    """One limit that a run does not keep.

    Attributes
    ----------
    limit
        What is limited, and of which machine.
    unit
        Unit of the two numbers that follow.
    bound, reached
        The limit, and the value farthest beyond it.
    count, interval_count
        Intervals beyond it, and all intervals. [1]
    first
        Start of the first of them. [datetime64, UTC]
    """

    limit: str
    unit: str
    bound: float
    reached: float
    count: int
    interval_count: int
    first: np.datetime64


def limit_excess(site: Site, run: xr.Dataset) -> xr.DataArray:
    """Return how far each interval of a run lies beyond each limit of its site.

    Parameters
    ----------
    site
        The site with its limits.
    run
        What it did, as :func:`twin.simulation.simulate.simulate` gives it; limits of what it does
        not hold are left out. Coolant is held against the dew point of the halls, too.

    Returns
    -------
    xarray.DataArray
        ``(time, limit)``, each in the limit's own unit: above 0 over its upper bound, below 0 under
        its lower, and 0 where it is kept within the tolerance of :meth:`Limit.beyond`.
    """
    held = [limit for limit in _every(site) if limit.variable in run]
    rows = [_signed(limit, run) for limit in held]
    return xr.DataArray(
        np.stack(rows, axis=-1) if rows else np.zeros((run.sizes["time"], 0)),
        coords={"time": run["time"], "limit": [limit.name for limit in held]},
        dims=("time", "limit"),
    )


def run_violations(site: Site, distance: xr.DataArray) -> Iterator[LimitExceedance]:
    """Yield the limits that are not kept.

    Parameters
    ----------
    site
        The site with its limits.
    distance
        As :func:`beyond` gives it.

    Yields
    ------
    LimitExceedance
        One for each limit and side.
    """
    by_name = {limit.name: limit for limit in _every(site)}
    for name in distance["limit"].to_numpy().tolist():
        limit, values = by_name[name], distance.sel(limit=name).to_numpy()
        for bound, over in ((limit.upper, values), (limit.lower, -values)):
            if (is_over := over > 0.0).any():
                far = float(values[np.argmax(over)])
                yield LimitExceedance(
                    limit=name,
                    unit=variables.variable_definition(limit.variable).unit,
                    bound=bound,
                    reached=bound + far,
                    count=int(is_over.sum()),
                    interval_count=len(values),
                    first=distance["time"].to_numpy()[np.argmax(is_over)],
                )


def _every(site: Site) -> tuple[OperatingLimit, ...]:
    """Return the hard limits of a site, and the coldest coolant on which no halls' air condenses.

    Plans cannot change coolant at declared set points, so that it is no limit of theirs.
    """
    rules = site.set_points
    least = rules.hall_dew_point + rules.dew_point_distance
    coolant = [
        OperatingLimit(
            variable="technology_supply_temperature",
            owner=cdu.name,
            dimension="cdu",
            lower=least,
            margin_kind="temperature",
        )
        for cdu in site.machines_of(CduBank)
    ]
    return (*operating_limits(site), *coolant)


def _signed(limit: OperatingLimit, run: xr.Dataset) -> np.ndarray:
    """Return how far values lie above a limit, or below it with the other sign; else 0."""
    values = limit.values(run)
    far = np.where(
        values > limit.upper, values - limit.upper, np.minimum(values - limit.lower, 0.0)
    )
    return np.where(limit.excess_ratio(run) > 1.0, far, 0.0)


FREEZE_VARIABLES = ("cooling_plant_rejected_heat", "cooling_plant_flow")
"""Words of a run that tell how much water takes how much heat to the coolers."""


@dataclass(frozen=True, kw_only=True)
class FreezeRisk:
    """A circuit whose water leaves its coolers colder than it stays liquid.

    Attributes
    ----------
    plant
        Whose circuit.
    reached, freezing_point
        The coldest water that leaves, and where its liquid begins to freeze. [degC]
    count, interval_count
        Intervals in which it is colder, and all intervals. [1]
    first
        Start of the first of them. [datetime64, UTC]
    """

    plant: str
    reached: float
    freezing_point: float
    count: int
    interval_count: int
    first: np.datetime64


def freeze_risks(site: Site, run: xr.Dataset, weather: Weather) -> tuple[FreezeRisk, ...]:
    """Return the circuits of which a run asks what only a bypass, dampers or more glycol give.

    Parameters
    ----------
    site
        The site.
    run
        What it did: :data:`WORDS` on ``time``.
    weather
        Outdoor air on the same ``time``.

    Returns
    -------
    tuple of FreezeRisk
        One a circuit; none of circuits with chillers or towers, whose water is another.

    Notes
    -----
    Fans turn no slower than ``minimum_speed``, so in frost a light load is cooled below the set
    point. A plant holds it by turning water past the coolers or by stopping some; the twin takes
    that as done, and this says where it must be.
    """
    found = []
    for plant in site.machines_of(CoolingPlant):
        if plant.chillers is not None or not isinstance(plant.rejection, DryCooler):
            continue
        leaving, least = _coldest(plant, run, weather), plant.loop.liquid.freezing_point
        if (is_frozen := leaving < least).any():
            found.append(
                FreezeRisk(
                    plant=plant.name,
                    reached=float(leaving.min()),
                    freezing_point=least,
                    count=int(is_frozen.sum()),
                    interval_count=len(is_frozen),
                    first=run["time"].to_numpy()[int(np.argmax(is_frozen))],
                )
            )
    return tuple(found)


def _coldest(plant: CoolingPlant, run: xr.Dataset, weather: Weather) -> FloatArray:
    """Return the temperature at which water leaves coolers whose fans turn slowest. [degC]"""
    heat, flow = (run[name].sel(circuit=plant.name).to_numpy() for name in FREEZE_VARIABLES)
    per_flow = fluid_flow.capacity_rate(
        1.0, plant.loop.liquid, temperature=plant.supply_temperature
    )
    slowest = np.full(len(weather), plant.rejection.minimum_speed)
    return plant.rejection.leaving_temperature(
        heat, capacity_rate=flow * per_flow, weather=weather, speed=slowest
    )


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One limit that a schedule would break.

    Attributes
    ----------
    limit
        What is broken, in words.
    time
        First interval that breaks it.
    count
        Number of intervals that do.
    excess
        Greatest distance beyond the limit, as a share of what is borne. [1]
    """

    limit: str
    time: np.datetime64
    count: int
    excess: float

    def __str__(self) -> str:
        """Return the breach as a line of text."""
        what = f"{self.count} interval{'s' * (self.count != 1)} from {format_minute(self.time)}"
        return f"{self.limit}: {what}, worst {self.excess:.3g} where 1 is borne"


def find_violation(
    name: str, excess: FloatArray, time: np.ndarray, *, allowed: float = 1.0
) -> list[Violation]:
    """Return the breach of one limit, if there is any.

    Parameters
    ----------
    name
        What is broken, in words.
    excess
        Distance beyond the limit, ``(time,)``; what is no number breaks it. [1]
    time
        Starts of the intervals. [datetime64, UTC]
    allowed
        Distance up to which nothing is broken. [1]
    """
    if not (bad := ~(excess <= allowed)).any():
        return []
    first = np.datetime64(time[bad][0], "us")
    return [Violation(limit=name, time=first, count=int(bad.sum()), excess=float(excess.max()))]


MIN_TIME_TOLERANCE_H: Final = 1e-6
"""Time by which a least time may be missed for rounding. [h]"""


@dataclass(frozen=True, kw_only=True)
class StagingCounts:
    """Starts and stops of units, each counted for itself.

    Attributes
    ----------
    starts, stops
        Units that started and that stopped. [1]
    min_up_violations, min_down_violations, restart_violations
        Stops before ``minimum_up``, starts before ``minimum_down``, and starts before ``restart``
        since the last start. [1]
    """

    starts: int = 0
    stops: int = 0
    min_up_violations: int = 0
    min_down_violations: int = 0
    restart_violations: int = 0

    @classmethod
    def count(cls, units: SwitchableUnits, units_on: FloatArray, durations: FloatArray) -> Self:
        """Count what the units of a bank did.

        Parameters
        ----------
        units
            The units with their least times.
        units_on
            How many ran in each interval, ``(time,)``. [1]
        durations
            Lengths of the intervals. [h]

        Returns
        -------
        StagingCounts
            Before the first interval none ran, and any might have started.

        Notes
        -----
        Equal units take turns: the one that has run longest stops first, the one that has rested
        longest starts first. So the least times are broken by as few as can be, and by none where
        a plan keeps them (:mod:`optimizer.model.components.unit_commitment`).
        """
        change = np.diff(np.round(units_on), prepend=0.0).astype(int)
        moments = np.cumsum(durations) - durations
        started = np.repeat(moments, np.maximum(change, 0))
        stopped = np.repeat(moments, np.maximum(-change, 0))
        return cls(
            starts=len(started),
            stops=len(stopped),
            min_up_violations=int(_too_soon(stopped, started, units.minimum_up).sum()),
            min_down_violations=int(
                _too_soon(started[units.count :], stopped, units.minimum_down).sum()
            ),
            restart_violations=int(
                _too_soon(started[units.count :], started, units.minimum_restart_time).sum()
            ),
        )

    @classmethod
    def total(cls, banks: Iterable["StagingCounts"]) -> Self:
        """Return the sums over some banks."""
        found = list(banks)
        return cls(**{f.name: sum(getattr(one, f.name) for one in found) for f in fields(cls)})


def staging_by_bank(site: Site, record: xr.Dataset) -> list[tuple[SwitchableUnits, StagingCounts]]:
    """Return how the units of a site ran that have to be committed, a bank each.

    Parameters
    ----------
    site
        The site.
    record
        A run of the twin or of a plant, with ``cooling_plant_units_on(time, circuit)``.
    """
    hours = record["duration"].to_numpy()
    return [
        (units, StagingCounts.count(units, record[UNITS_ON].sel(circuit=owner).to_numpy(), hours))
        for owner, units in site.switchable_units.items()
    ]


def unit_commitment_steps(durations: FloatArray, until: float) -> int:
    """Return the number of first intervals in which plans keep whole units and least times. [1]

    Parameters
    ----------
    durations
        Lengths of the intervals, ``(time,)``: those are equal, but the first may be cut short. [h]
    until
        How far ahead they end at the latest; the first counts in any case. [h]
    """
    like = durations[1] if len(durations) > 1 and durations[0] < durations[1] else durations[0]
    is_like = np.append(True, durations[1:] == like)
    return max(int((is_like & (np.cumsum(durations) <= until + 1e-9)).cumprod().sum()), 1)


def breaks_minimum_times(
    units: SwitchableUnits, units_on: FloatArray, durations: FloatArray
) -> BoolArray:
    """Return in which intervals units are told to start or stop before a least time is over.

    Parameters
    ----------
    units
        The units with their least times.
    units_on
        How many shall run in each interval, no more than there are, ``(time,)``. [1]
    durations
        Lengths of the intervals. [h]

    Returns
    -------
    numpy.ndarray
        ``(time,)``. What runs in the first interval may have run for long, and what rests rested:
        that is not known here. Units take turns, as in :class:`StagingCounts`.
    """
    count = np.round(units_on).astype(int)
    change, begins = np.diff(count, prepend=count[0]), np.cumsum(durations) - durations
    started = np.repeat(begins, np.maximum(change, 0))
    started = np.concatenate([np.full(count[0], -np.inf), started])
    stopped = np.repeat(begins, np.maximum(-change, 0))
    again = started[units.count :]
    found = [
        stopped[_too_soon(stopped, started, units.minimum_up)],
        again[_too_soon(again, stopped, units.minimum_down)],
        again[_too_soon(again, started, units.minimum_restart_time)],
    ]
    return np.isin(begins, np.concatenate(found))


def _too_soon(later: FloatArray, earlier: FloatArray, least: float) -> BoolArray:
    """Return which moments follow too soon on those of the same units, turn for turn."""
    return np.asarray(later - earlier[: len(later)] < least - MIN_TIME_TOLERANCE_H)


type Finding = tuple[str, FloatArray]
"""What is wrong, in words, and by how much each interval is beyond it; above 1 it is broken."""
