"""What each machine may be asked for: the range of outputs that can occur, and what it draws there.

From what a machine draws follows what those behind it may be asked for, and
:mod:`optimizer.curves.piecewise_linear` lays its lines over the same numbers. Where stores, sun or
wind have a say in what is asked, the lines lie on all that the machine bears: a larger battery, or
more that may be sold, then bends none of them, and can cost nothing.

The set points of the water that a plan counts on, if the site lets them be chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.problem.problem import Problem
from twin.physics import FloatArray
from twin.relations import BIDIRECTIONAL_CARRIERS, CARRIER_ENERGY_SIGN, Convert, SetPoints
from twin.simulation.setpoints import (
    SUPPLY_SET_POINT,
    HeatLoadRange,
    SetPointOptions,
    cheapest_set_points,
    rate_limited,
    set_point_variables,
)
from twin.site import Site
from twin.weather import Weather
from twin.workload.queue import RackPool

RANGE_PADDING_SHARE: Final = 0.02
"""Share of a range by which it is widened at both ends. [1]"""

EXPORT_PATH_SHARE: Final = 0.01
"""Share by which a machine bears more than may be sold through it. [1]"""

SAMPLE_POINTS: Final = np.array([0.0, 0.02, *np.linspace(0.0, 1.0, 13)[1:-1], 0.98, 1.0])
"""Where on the range of outputs the physics is asked, closer at the ends. [1]"""

_PROBE_POINTS: Final = np.linspace(0.0, 1.0, 5)
"""Where on the range of outputs what is drawn tells the range of draws. [1]"""


@dataclass(frozen=True, kw_only=True)
class CurveSamples:
    """What the physics says at :data:`SAMPLE_POINTS` of a range of outputs.

    Attributes
    ----------
    outputs
        Outputs, ``(sample, time)``. [MW]
    draws
        Carrier -> draw at each, ``(sample, time)``. [MW; m3 h-1 for water]
    """

    outputs: FloatArray
    draws: Mapping[str, FloatArray]

    @classmethod
    def sample(
        cls,
        convert: Convert,
        weather: Weather,
        ends: tuple[FloatArray, FloatArray],
        *,
        setpoints: SetPoints | None = None,
    ) -> Self:
        """Ask a conversion in its air between two outputs, ``(time,)``. [MW]"""
        first, again = (
            _unique_intervals(*ends, weather) if setpoints is None else (slice(None),) * 2
        )
        outputs = _between(SAMPLE_POINTS, *(end[first] for end in ends))
        draws = _drawn(convert.with_set_points(setpoints), outputs, weather.select(first))
        every = {carrier: drawn[:, again] for carrier, drawn in draws.items()}
        return cls(outputs=outputs[:, again], draws=every)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return what was asked of one conversion one after the other in time."""
        return cls(
            outputs=np.concatenate([part.outputs for part in parts], axis=1),
            draws={
                carrier: np.concatenate([part.draws[carrier] for part in parts], axis=1)
                for carrier in parts[0].draws
            },
        )


@dataclass(frozen=True, kw_only=True)
class OperatingRange:
    """What a machine may be asked for.

    Attributes
    ----------
    low, high
        Least and greatest output in every interval, ``(time,)``. [MW]
    samples
        What the physics says of outputs there and beyond, from the left.
    """

    low: FloatArray
    high: FloatArray
    samples: tuple[CurveSamples, ...]

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return ranges of one conversion one after the other in time."""
        return cls(
            low=np.concatenate([part.low for part in parts]),
            high=np.concatenate([part.high for part in parts]),
            samples=tuple(
                CurveSamples.concatenate(each)
                for each in zip(*(p.samples for p in parts), strict=True)
            ),
        )


def _unique_intervals(
    low: FloatArray, high: FloatArray, weather: Weather
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return intervals that differ, and which of them each interval is like."""
    rows = np.stack([low, high, *(getattr(weather, field.name) for field in fields(weather))])
    _, first, again = np.unique(rows, axis=1, return_index=True, return_inverse=True)
    return first, again.ravel()


def _between(shares: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    return np.asarray(low + shares[:, None] * (high - low))


def _drawn(convert: Convert, outputs: FloatArray, weather: Weather) -> dict[str, FloatArray]:
    """Return what is drawn at outputs, carrier -> ``(sample, time)``."""
    draws = convert.physics(outputs, weather).inputs
    return {carrier: np.broadcast_to(draws[carrier], outputs.shape) for carrier in convert.inputs}


def operating_ranges(
    problem: Problem, weather: Weather, setpoints: SetPoints | None = None
) -> Mapping[str, OperatingRange]:
    """Return the range of outputs of every conversion of a problem.

    Parameters
    ----------
    problem
        The question.
    weather
        Its outdoor air.
    setpoints
        Set points of the water; by default the declared ones.

    Returns
    -------
    Mapping
        Owner -> range, inside the machine's limit less the margin.

    Notes
    -----
    Demand is followed from the racks to the fence. From all racks waiting to all racks at work,
    widened by what stores and sources may add or take; a machine that is not alone on its carrier
    may stand still.
    """
    site = problem.site
    demand = _demand_of_work(problem)
    for store in site.stores:
        demand[store.carrier] += np.array([[-store.discharge_limit], [store.charge_limit]])
    for exchange in site.exchanges:
        if exchange.carrier != "grid":
            given = np.full_like(problem.hours, exchange.export_limit)
            demand[exchange.carrier] += np.stack([-problem.available_import(exchange), given])
    varied = {store.carrier for store in site.stores}
    varied |= {one.carrier for one in site.exchanges if one.carrier != "grid"}
    found: dict[str, OperatingRange] = {}
    for convert in site.conversions:
        limit = np.broadcast_to(convert.max_output(weather), problem.hours.shape)
        most = (1.0 - problem.margins.power) * limit
        back = np.minimum(_export_capacity(site, convert, weather), most)
        low, high = _range(site, convert, demand[convert.output], bears=(-back, most))
        is_varied = convert.output in varied
        spans = _sampled_ranges(convert, most) if is_varied else [(low, high)]
        asked = tuple(
            CurveSamples.sample(convert, weather, span, setpoints=setpoints) for span in spans
        )
        found[convert.owner] = OperatingRange(low=low, high=high, samples=asked)
        draws = asked[0].draws
        if is_varied:
            varied |= set(convert.inputs)
            draws = _drawn(
                convert.with_set_points(setpoints), _between(_PROBE_POINTS, low, high), weather
            )
        for carrier, drawn in draws.items():
            demand[carrier] += np.stack([drawn.min(axis=0), drawn.max(axis=0)])
    return found


def _demand_of_work(problem: Problem) -> dict[str, FloatArray]:
    """Return least and greatest demand by carrier, ``(2, time)``, as the halls make it. [MW]"""
    pool = RackPool.from_site(problem.site)
    busy = np.stack([problem.service_racks, np.full_like(problem.service_racks, pool.racks)])
    racks = pool.total_power(busy)
    demand = {carrier: np.zeros_like(racks) for carrier in CARRIER_ENERGY_SIGN}
    for work in problem.site.flexible_loads:
        part = racks * (work.racks / pool.racks)
        demand[work.carrier] += part
        for carrier, share in work.heat.items():
            demand[carrier] += share * part
    return demand


def _range(
    site: Site, convert: Convert, demand: FloatArray, *, bears: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return least and greatest output that can occur within what a machine bears. [MW]"""
    (low, high), (floor, most) = demand, bears
    is_alone = sum(other.output == convert.output for other in site.conversions) == 1
    pad = RANGE_PADDING_SHARE * (high - low)
    low = np.clip(low - pad if is_alone else floor, floor, most)
    return low, np.clip(high + pad, low, most)


def _sampled_ranges(convert: Convert, most: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Return the outputs that a machine bears, backwards apart where the grid is that way. [MW]"""
    nothing = np.zeros_like(most)
    back = [(-most, nothing)] if convert.output in BIDIRECTIONAL_CARRIERS else []
    return [*back, (nothing, most)]


def _export_capacity(site: Site, convert: Convert, weather: Weather) -> FloatArray:
    """Return the power that may flow backwards through a machine, to be sold, ``(time,)``. [MW]

    That of all machines on the way to the connection and of their losses, which what stands behind
    them bears, and a little more: what may be sold shall bind there, and at no machine before.
    """
    given = np.zeros(len(weather))
    if convert.output not in BIDIRECTIONAL_CARRIERS:
        return given
    given += sum(e.export_limit for e in site.exchanges if e.carrier == convert.primary_input)
    for other in site.conversions:
        if other.output == convert.primary_input:
            given += _export_capacity(site, other, weather)
    lost = convert.physics(-given, weather).inputs[convert.primary_input] + given
    return np.asarray((1.0 + EXPORT_PATH_SHARE) * (given + lost))


def choose_setpoints(
    problem: Problem, weather: Weather, ranges: Mapping[str, OperatingRange]
) -> SetPoints | None:
    """Return the cheapest set points that are safe at all outputs that can occur.

    Parameters
    ----------
    problem
        The question.
    weather
        Its outdoor air.
    ranges
        Owner of a conversion -> outputs that can occur.

    Returns
    -------
    SetPoints or None
        On ``time``, within the ramp of supply temperatures, cheapest in the middle of the ranges;
        None if the site keeps to the declared ones.
    """
    rules = problem.site.set_points
    if rules.choice == "declared":
        return None
    heat = HeatLoadRange(
        expected={owner: 0.5 * (reach.low + reach.high) for owner, reach in ranges.items()},
        minimum={owner: reach.low for owner, reach in ranges.items()},
        maximum={owner: reach.high for owner, reach in ranges.items()},
    )
    freedom = SetPointOptions(flow=rules.choice == "cheapest")
    found = cheapest_set_points(problem.site, heat, weather, options=freedom)
    return rate_limited(problem.site, found, problem.hours, current_supply=_present(problem))


def restart_setpoints(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
    """Return a plan whose set points of the supply water begin from the water as it is.

    Parameters
    ----------
    problem
        The question.
    plan
        What was planned before, from the present moment on.

    Returns
    -------
    xarray.Dataset
        With supply temperatures that are nowhere warmer than planned, within their ramp; the same
        plan if it tells none.
    """
    if SUPPLY_SET_POINT not in plan:
        return plan
    told = plan[SUPPLY_SET_POINT]
    names = [str(name) for name in told["circuit"].to_numpy()]
    setpoints = SetPoints(supply_temperature={n: told.sel(circuit=n).to_numpy() for n in names})
    hours = plan["duration"].to_numpy()
    return plan.assign(
        set_point_variables(
            rate_limited(problem.site, setpoints, hours, current_supply=_present(problem))
        )
    )


def _present(problem: Problem) -> dict[str, float]:
    """Return the supply water of every circuit as it is. [degC]"""
    water = problem.state["facility_supply_temperature"]
    return {str(name): float(water.sel(circuit=name)) for name in water["circuit"].to_numpy()}
