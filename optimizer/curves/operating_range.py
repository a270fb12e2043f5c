"""Operating range of each machine: the outputs that can occur, sampled physics, and set points.

Demand is propagated from the racks to the grid connection. Where storage or renewables influence
the demand, curves cover everything that the machine can bear. Then a larger battery or a larger
export limit changes no curve and can never raise the cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.problem.problem import Problem
from twin.physics import FloatArray
from twin.relations import BIDIRECTIONAL_CARRIERS, CARRIER_ENERGY_SIGN, Conversion, SetPoints
from twin.simulation.setpoint_search import HeatLoadRange, SetPointOptions, cheapest_set_points
from twin.simulation.setpoints import (
    SUPPLY_SET_POINT_VARIABLE,
    limit_supply_ramps,
    set_point_variables,
)
from twin.site import Site
from twin.weather import Weather
from twin.workload.queue import RackPool

RANGE_PADDING_SHARE: Final = 0.02
"""Share of a range by which it is widened at both ends. [1]"""

EXPORT_CAPACITY_MARGIN_SHARE: Final = 0.01
"""Share by which a machine can bear more than the export limit. [1]"""

SAMPLE_POINTS: Final = np.array([0.0, 0.02, *np.linspace(0.0, 1.0, 13)[1:-1], 0.98, 1.0])
"""Positions on the range of outputs at which physics is sampled, denser at the ends. [1]"""

_PROBE_POINTS: Final = np.linspace(0.0, 1.0, 5)
"""Positions on the range of outputs that give the range of draws. [1]"""


@dataclass(frozen=True, kw_only=True)
class CurveSamples:
    """Physics at :data:`SAMPLE_POINTS` of a range of outputs.

    ``outputs`` [MW] and, for each carrier, ``draw_by_carrier`` [MW; m3 h-1 for water] are
    ``(sample, time)``.
    """

    outputs: FloatArray
    draw_by_carrier: Mapping[str, FloatArray]

    @classmethod
    def sample(
        cls,
        convert: Conversion,
        weather: Weather,
        ends: tuple[FloatArray, FloatArray],
        *,
        setpoints: SetPoints | None = None,
    ) -> Self:
        """Sample a conversion between two outputs, ``(time,)``. [MW]"""
        first, inverse = (
            _unique_intervals(*ends, weather) if setpoints is None else (slice(None),) * 2
        )
        outputs = _between(SAMPLE_POINTS, *(end[first] for end in ends))
        draws = _draws(convert.with_set_points(setpoints), outputs, weather.select(first))
        every = {carrier: draw[:, inverse] for carrier, draw in draws.items()}
        return cls(outputs=outputs[:, inverse], draw_by_carrier=every)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Concatenate samples of one conversion in time."""
        return cls(
            outputs=np.concatenate([part.outputs for part in parts], axis=1),
            draw_by_carrier={
                carrier: np.concatenate([part.draw_by_carrier[carrier] for part in parts], axis=1)
                for carrier in parts[0].draw_by_carrier
            },
        )


@dataclass(frozen=True, kw_only=True)
class OperatingRange:
    """Smallest and largest output of a machine, ``(time,)`` [MW], with samples there and beyond."""

    min_output: FloatArray
    max_output: FloatArray
    samples: tuple[CurveSamples, ...]

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Concatenate ranges of one conversion in time."""
        return cls(
            min_output=np.concatenate([part.min_output for part in parts]),
            max_output=np.concatenate([part.max_output for part in parts]),
            samples=tuple(
                CurveSamples.concatenate(each)
                for each in zip(*(p.samples for p in parts), strict=True)
            ),
        )


def _unique_intervals(
    low: FloatArray, high: FloatArray, weather: Weather
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the distinct intervals, and for each interval the position of its equal."""
    rows = np.stack([low, high, *(getattr(weather, field.name) for field in fields(weather))])
    _, first, inverse = np.unique(rows, axis=1, return_index=True, return_inverse=True)
    return first, inverse.ravel()


def _between(shares: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    return np.asarray(low + shares[:, None] * (high - low))


def _draws(convert: Conversion, outputs: FloatArray, weather: Weather) -> dict[str, FloatArray]:
    """Return the draws at outputs: carrier -> ``(sample, time)``."""
    draws = convert.flows_at_output(outputs, weather).inputs
    return {
        carrier: np.broadcast_to(draws[carrier], outputs.shape)
        for carrier in convert.input_carriers
    }


def operating_ranges(
    problem: Problem, weather: Weather, setpoints: SetPoints | None = None
) -> Mapping[str, OperatingRange]:
    """Return the operating range of every conversion, within the machine's limit less the margin.

    The demand spans from idle to busy racks, widened by the power of storage and sources. A machine
    that shares its carrier with others may stand still. Set points are the declared ones if not
    given.
    """
    site = problem.site
    demand = _demand_of_work(problem)
    for store in site.stores:
        demand[store.carrier] += np.array([[-store.discharge_limit], [store.charge_limit]])
    for exchange in site.exchanges:
        if exchange.carrier != "grid":
            given = np.full_like(problem.interval_hours, exchange.export_limit)
            demand[exchange.carrier] += np.stack([-problem.available_import(exchange), given])
    varied = {store.carrier for store in site.stores}
    varied |= {one.carrier for one in site.exchanges if one.carrier != "grid"}
    found: dict[str, OperatingRange] = {}
    for convert in site.conversions:
        limit = np.broadcast_to(convert.max_output(weather), problem.interval_hours.shape)
        most = (1.0 - problem.margins.power) * limit
        back = np.minimum(_export_capacity(site, convert, weather), most)
        low, high = _range(site, convert, demand[convert.output_carrier], bears=(-back, most))
        is_varied = convert.output_carrier in varied
        spans = _sampled_ranges(convert, most) if is_varied else [(low, high)]
        samples = tuple(
            CurveSamples.sample(convert, weather, span, setpoints=setpoints) for span in spans
        )
        found[convert.owner] = OperatingRange(min_output=low, max_output=high, samples=samples)
        draws = samples[0].draw_by_carrier
        if is_varied:
            varied |= set(convert.input_carriers)
            draws = _draws(
                convert.with_set_points(setpoints), _between(_PROBE_POINTS, low, high), weather
            )
        for carrier, draw in draws.items():
            demand[carrier] += np.stack([draw.min(axis=0), draw.max(axis=0)])
    return found


def _demand_of_work(problem: Problem) -> dict[str, FloatArray]:
    """Return the smallest and largest demand of the halls by carrier, ``(2, time)``. [MW]"""
    pool = RackPool.from_site(problem.site)
    busy = np.stack([problem.service_racks, np.full_like(problem.service_racks, pool.racks)])
    racks = pool.total_power(busy)
    demand = {carrier: np.zeros_like(racks) for carrier in CARRIER_ENERGY_SIGN}
    for work in problem.site.flexible_loads:
        part = racks * (work.racks / pool.racks)
        demand[work.carrier] += part
        for carrier, share in work.heat_shares.items():
            demand[carrier] += share * part
    return demand


def _range(
    site: Site, convert: Conversion, demand: FloatArray, *, bears: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return the smallest and largest output that can occur within the limits of a machine. [MW]"""
    (low, high), (floor, most) = demand, bears
    is_alone = (
        sum(other.output_carrier == convert.output_carrier for other in site.conversions) == 1
    )
    pad = RANGE_PADDING_SHARE * (high - low)
    low = np.clip(low - pad if is_alone else floor, floor, most)
    return low, np.clip(high + pad, low, most)


def _sampled_ranges(convert: Conversion, most: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Return the ranges that a machine can bear; grid machines have a backward range. [MW]"""
    nothing = np.zeros_like(most)
    back = [(-most, nothing)] if convert.output_carrier in BIDIRECTIONAL_CARRIERS else []
    return [*back, (nothing, most)]


def _export_capacity(site: Site, convert: Conversion, weather: Weather) -> FloatArray:
    """Return the backward power through a machine for export, ``(time,)``. [MW]

    This is the export of all machines on the way to the connection with their losses, slightly
    increased: the export limit shall bind at the connection and at no machine before it.
    """
    given = np.zeros(len(weather))
    if convert.output_carrier not in BIDIRECTIONAL_CARRIERS:
        return given
    given += sum(e.export_limit for e in site.exchanges if e.carrier == convert.primary_input)
    for other in site.conversions:
        if other.output_carrier == convert.primary_input:
            given += _export_capacity(site, other, weather)
    losses = convert.flows_at_output(-given, weather).inputs[convert.primary_input] + given
    return np.asarray((1.0 + EXPORT_CAPACITY_MARGIN_SHARE) * (given + losses))


def choose_setpoints(
    problem: Problem, weather: Weather, ranges: Mapping[str, OperatingRange]
) -> SetPoints | None:
    """Return the cheapest set points that are safe at all outputs that can occur.

    They lie on ``time``, within the ramp of supply temperatures, and are cheapest in the middle of
    the ranges. Return None if the site uses the declared set points.
    """
    rules = problem.site.set_points
    if rules.choice == "declared":
        return None
    heat = HeatLoadRange(
        expected={
            owner: 0.5 * (reach.min_output + reach.max_output) for owner, reach in ranges.items()
        },
        minimum={owner: reach.min_output for owner, reach in ranges.items()},
        maximum={owner: reach.max_output for owner, reach in ranges.items()},
    )
    options = SetPointOptions(may_choose_flow=rules.choice == "cheapest")
    found = cheapest_set_points(problem.site, heat, weather, options=options)
    return limit_supply_ramps(
        problem.site, found, problem.interval_hours, current_supply=_present_supply(problem)
    )


def start_setpoints_at_present_temperature(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
    """Return a previous plan whose supply set points start from the present water temperature.

    Supply temperatures are nowhere warmer than planned, and within their ramp. A plan without
    supply set points is returned unchanged.
    """
    if SUPPLY_SET_POINT_VARIABLE not in plan:
        return plan
    planned = plan[SUPPLY_SET_POINT_VARIABLE]
    names = [str(name) for name in planned["circuit"].to_numpy()]
    setpoints = SetPoints(supply_temperature={n: planned.sel(circuit=n).to_numpy() for n in names})
    hours = plan["duration"].to_numpy()
    return plan.assign(
        set_point_variables(
            limit_supply_ramps(
                problem.site, setpoints, hours, current_supply=_present_supply(problem)
            )
        )
    )


def _present_supply(problem: Problem) -> dict[str, float]:
    """Return the present supply temperature of every circuit. [degC]"""
    water = problem.state["facility_supply_temperature"]
    return {str(name): float(water.sel(circuit=name)) for name in water["circuit"].to_numpy()}
