"""Simulation of every rack, coolant unit and chip in a window of a run.

The distribution of a hall's work over its racks is not measured, so it is drawn at random.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin import time_axes, variables
from twin.errors import IssueCode, StateError, ValidationIssue
from twin.physics import FloatArray
from twin.physics.numerics import Float32Array
from twin.racks.kernels import (
    ChipInputs,
    ChipOutputs,
    ChipTable,
    CoolantState,
    RackInputs,
    RackOutputs,
    RackPlacement,
    chip_kernel,
    fastest_rack_kernel,
)
from twin.racks.layout import RackLayout
from twin.relations import SetPoints
from twin.simulation.setpoints import SET_POINT_VARIABLES, collect_set_points, read_set_points
from twin.simulation.simulate import ARRIVING_TEMPERATURE_VARIABLE
from twin.units import SECONDS_PER_HOUR

COOLANT_WARM_UP: Final = np.timedelta64(1, "h")
"""Time after which the initial coolant matters by a billionth of a kelvin."""

_WARM_UP_CHUNK_STEPS: Final = 300
"""Steps of a warm-up that are simulated at once, to limit memory. [1]"""

_COOLANT_TOLERANCE_K: Final = 0.01  # between the run and its site's physics

_STEADY_STEP_H: Final = 1e9  # one implicit step of this length is the steady state
_RACK_VARIABLES: Final = 3
_UNIT_VARIABLES: Final = 5


@dataclass(frozen=True, kw_only=True)
class ViewWindow:
    """A part of the finer time axis of a run.

    - ``start``: First edge. [datetime64, us]
    - ``step_count``: Number of steps.
    - ``step``: Their length. [timedelta64]
    """

    start: np.datetime64
    step_count: int
    step: np.timedelta64

    @classmethod
    def from_run(cls, result: xr.Dataset, time: slice, step: np.timedelta64) -> Self:
        """Return the window of a run for a slice of times, extended to whole steps.

        Raises ``StateError`` if the window lies outside the run, or a step does not divide every
        interval.
        """
        edges = time_axes.interval_edges(result)
        start, stop, issues = window_bounds(edges, time)
        zero = np.timedelta64(0, "us")
        if step <= zero or (np.diff(edges) % step != zero).any():
            issues.append(
                IssueCode.OUT_OF_RANGE.issue(
                    "step",
                    found=str(step),
                    expected="a step that divides every interval of the run",
                    remedy="choose another step",
                )
            )
        StateError.raise_if_any("view", issues)
        start = edges[0] + (start - edges[0]) // step * step
        return cls(start=start, step_count=int(-((start - stop) // step)), step=step)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the steps, ``(count + 1,)``. [datetime64, us]"""
        return np.asarray(self.start + np.arange(self.step_count + 1) * self.step, "datetime64[us]")

    @property
    def step_hours(self) -> float:
        """Length of a step. [h]"""
        return float(self.step / time_axes.HOUR)

    def select(self, first: int, count: int) -> "ViewWindow":
        """Return some of the steps."""
        return ViewWindow(start=self.start + first * self.step, step_count=count, step=self.step)

    @property
    def end(self) -> np.datetime64:
        """Its last edge. [datetime64, us]"""
        return self.start + self.step_count * self.step

    def preceding(self, edge: np.datetime64, time: np.timedelta64) -> "ViewWindow":
        """Return the steps of some time before the window, as far as they lie after an edge."""
        back = int(min(-(-time // self.step), (self.start - edge) // self.step))
        return self.select(-back, back)


def window_bounds(
    edges: np.ndarray, time: slice
) -> tuple[np.datetime64, np.datetime64, list[ValidationIssue]]:
    """Return the ends of a slice of times, and an issue if it lies outside the edges."""
    start = edges[0] if time.start is None else time_axes.to_utc(str(time.start))
    stop = edges[-1] if time.stop is None else time_axes.to_utc(str(time.stop))
    if edges[0] <= start < stop <= edges[-1]:
        return start, stop, []
    issue = IssueCode.OUT_OF_RANGE.issue(
        "time",
        found=f"{start} to {stop}",
        expected=f"within {edges[0]} to {edges[-1]}",
        remedy="choose a window inside the run",
    )
    return start, stop, [issue]


def simulate_racks(
    layout: RackLayout,
    result: xr.Dataset,
    window: ViewWindow,
    *,
    seed: int,
    state: CoolantState | None = None,
) -> tuple[RackOutputs, CoolantState]:
    """Simulate all racks and units in a window; return their outputs and the final coolant.

    - ``result``: The run, see :func:`twin.simulate`.
    - ``seed``: Seed of the distribution of work over the racks.
    - ``state``: Initial coolant; by default from a warm-up before the window. [degC]
    """
    if state is None:
        lead = window.preceding(time_axes.interval_edges(result)[0], COOLANT_WARM_UP)
        state = _steady_coolant(layout, result, lead if lead.step_count else window, seed=seed)
        for first in range(0, lead.step_count, _WARM_UP_CHUNK_STEPS):
            piece = lead.select(first, min(_WARM_UP_CHUNK_STEPS, lead.step_count - first))
            _, state = simulate_racks(layout, result, piece, seed=seed, state=state)
    coolant = CoolantState(racks=state.racks.copy(), cdus=state.cdus.copy())
    found = _empty_outputs(layout, window.step_count)
    first = 0
    for piece, points in _constant_set_point_pieces(layout, result, window):
        rows = slice(first, first + piece.step_count)
        part = RackOutputs._make(values[rows] for values in found)
        drive = _rack_inputs(layout, result, piece, seed=seed)
        fastest_rack_kernel()(layout.rack_table(points), drive, (coolant, part))
        first += piece.step_count
    return found, coolant


def rack_dataset(layout: RackLayout, window: ViewWindow, found: RackOutputs) -> xr.Dataset:
    """Return outputs of racks and units with labels and units."""
    whole = time_axes.interval_axes(window.edges)
    labels = layout.cdu_labels
    names = [hall.name for hall in layout.halls]
    variables_ = {
        "rack_power": (("time", "rack"), found.rack_power),
        "rack_return_temperature": (("time", "rack"), found.rack_return),
        "chip_temperature": (("time", "rack"), found.chip),
        "cdu_output": (("time", "unit"), found.cdu_heat),
        "cdu_pump_power": (("time", "unit"), found.cdu_pump_power),
        "cdu_passed_heat": (("time", "unit"), found.cdu_transferred_heat),
        "cdu_kept_heat": (("time", "unit"), found.cdu_stored_heat),
        "technology_supply_temperature": (("time", "unit"), found.cdu_supply_temperature),
        "closure": (("time",), found.balance_error),
    }
    coords = {
        "rack": layout.rack_labels,
        "unit": labels,
        "hall": ("rack", np.array(names)[layout.places.hall_of_rack]),
        "serving": ("rack", labels[layout.cdu_of_rack]),
    }
    return variables.tag_dataset(xr.Dataset(variables_, coords={**whole.coords, **coords}))


def rack_values_per_step(layout: RackLayout) -> int:
    """Return the number of 4-byte values per step. [1]"""
    return _RACK_VARIABLES * layout.rack_count + 2 * _UNIT_VARIABLES * layout.cdu_count


def _empty_outputs(layout: RackLayout, count: int) -> RackOutputs:
    racks, units = (count, layout.rack_count), (count, layout.cdu_count)
    return RackOutputs(
        rack_power=np.empty(racks, np.float32),
        rack_return=np.empty(racks, np.float32),
        chip=np.empty(racks, np.float32),
        cdu_heat=np.empty(units),
        cdu_pump_power=np.empty(units),
        cdu_transferred_heat=np.empty(units),
        cdu_stored_heat=np.empty(units),
        cdu_supply_temperature=np.empty(units),
        balance_error=np.empty(count),
    )


def _steady_coolant(
    layout: RackLayout, result: xr.Dataset, window: ViewWindow, *, seed: int
) -> CoolantState:
    """Return the steady coolant of the window's first step."""
    first = window.select(0, 1)
    state = CoolantState(racks=np.zeros(layout.rack_count), cdus=np.zeros(layout.cdu_count))
    drive = _rack_inputs(layout, result, first, seed=seed)._replace(step_hours=_STEADY_STEP_H)
    ((_, points),) = _constant_set_point_pieces(layout, result, first)
    outputs = _empty_outputs(layout, 1)
    fastest_rack_kernel()(layout.rack_table(points), drive, (state, outputs))
    return state


def _constant_set_point_pieces(
    layout: RackLayout, result: xr.Dataset, window: ViewWindow
) -> Iterator[tuple[ViewWindow, SetPoints | None]]:
    """Yield the pieces of a window with constant set points of the water."""
    edges, fine = time_axes.interval_edges(result), window.edges
    interval = np.searchsorted(edges, fine[:-1], side="right") - 1
    low, high = int(interval[0]), int(interval[-1]) + 1
    part = result.isel(time=slice(low, high), instant=slice(low, high + 1))
    points = _run_set_points(layout, part)
    _check_coolant(layout, part, points)
    ranges: list[FloatArray] = []
    if points is not None:
        ranges = [*points.temperature_range.values(), *points.technology_range.values()]
    if points is None or not ranges:
        yield window, None
        return
    moves = np.any([np.diff(values[interval - low]) != 0.0 for values in ranges], axis=0)
    starts = [0, *(np.flatnonzero(moves) + 1).tolist()]
    for begin, end in zip(starts, [*starts[1:], window.step_count], strict=True):
        at = int(interval[begin]) - low
        yield window.select(begin, end - begin), _set_points_at(points, at)


def _run_set_points(layout: RackLayout, result: xr.Dataset) -> SetPoints | None:
    """Return the set points that a run contains."""
    dispatch: dict[tuple[str, str], FloatArray] = {}
    for variable, (_, dim) in SET_POINT_VARIABLES.items():
        if variable in result:  # machines without a commanded set point have NaN
            dispatch |= read_set_points(layout.site, result[[variable]].dropna(dim, how="all"))
    return collect_set_points(layout.site, dispatch)


def _set_points_at(points: SetPoints, at: int) -> SetPoints:
    """Return the ranges of one interval."""
    wide, warm = (
        {name: values[at] for name, values in table.items()}
        for table in (points.temperature_range, points.technology_range)
    )
    return replace(points, temperature_range=wide, technology_range=warm)


def _check_coolant(layout: RackLayout, result: xr.Dataset, points: SetPoints | None) -> None:
    """Check that the site's physics gives the coolant of the run at its set points."""
    cdu, variable = layout.cdu, "technology_supply_temperature"
    if variable not in result or "cdu_output" not in result:
        return
    heat = result["cdu_output"].sel(cdu=cdu.name).to_numpy()
    through = layout.facility_plant.consumer_flow(
        heat, rated_heat=cdu.rated_heat_total, rated_range=cdu.facility_range, set_points=points
    )
    water = _water(layout, result)[1:]
    wanted = cdu.technology_supply_temperature(
        heat, water, set_points=points, facility_flow=through
    )
    off = np.abs(result[variable].sel(cdu=cdu.name).to_numpy() - wanted).max()
    if off > _COOLANT_TOLERANCE_K:
        raise StateError.single(
            "view",
            IssueCode.INCONSISTENT,
            f"{variable} of {cdu.name}",
            found=f"{off:.3g} K off",
            expected="the coolant temperature that the site gives at the set points of the run",
            remedy="view the run with its own site, and add its facility_range_set_point and "
            "technology_range_set_point",
        )


def _rack_inputs(
    layout: RackLayout, result: xr.Dataset, window: ViewWindow, *, seed: int
) -> RackInputs:
    """Return work and facility water of each step: constant means, interpolated temperatures."""
    edges, fine = time_axes.interval_edges(result), window.edges
    interval = np.searchsorted(edges, fine[:-1], side="right") - 1
    low, high = int(interval[0]), int(interval[-1]) + 1
    part = result.isel(time=slice(low, high), instant=slice(low, high + 1))
    edges = (edges[low : high + 1] - fine[0]) / time_axes.HOUR
    intervals = (fine[:-1] - np.datetime64(0, "us")) // WORK_INTERVAL
    first = int(intervals[0])
    return RackInputs(
        work_share=_shares(layout, part)[interval - low],
        deviation=work_deviations(layout.places, first, int(intervals[-1]) - first + 1, seed=seed),
        work_interval=intervals - first,
        facility_water=np.interp(
            (fine[1:] - fine[0]) / time_axes.HOUR, edges, _water(layout, part)
        ),
        step_hours=window.step_hours,
    )


def _shares(layout: RackLayout, result: xr.Dataset) -> FloatArray:
    """Return the mean work of the racks of each hall, ``(time, hall)``. [1]"""
    power = result["hall_power"].sel(hall=[hall.name for hall in layout.halls]).to_numpy()
    if not np.isfinite(power).all():  # a kernel would index its tables by NaN
        raise StateError.single(
            "view",
            IssueCode.NOT_FINITE,
            "hall_power",
            found="nan",
            expected="a power of every hall",
            remedy="view a run without gaps",
        )
    idle = np.array([hall.idle_power for hall in layout.halls])
    full = np.array([hall.full_power for hall in layout.halls])
    return np.asarray((power - idle) / (full - idle))


def _water(layout: RackLayout, result: xr.Dataset) -> FloatArray:
    """Return the warm facility water at the run's edges, on arrival at the halls. [degC]"""
    name = (
        ARRIVING_TEMPERATURE_VARIABLE
        if ARRIVING_TEMPERATURE_VARIABLE in result
        else "facility_supply_temperature"
    )
    supply = result[name].sel(circuit=layout.facility_plant.name)
    return np.asarray(supply.to_numpy(), dtype=np.float64)


WORK_INTERVAL: Final = np.timedelta64(15, "m")
"""Time for which the deviation of a rack's work is constant."""

MIN_JOB_INTERVALS, MAX_JOB_INTERVALS = 8, 96
"""Bounds of the time that a job keeps a rack equally busy: 2 h and 24 h; an assumption. [1]"""

MAX_WORK_DEVIATION: Final = 0.8
"""Largest deviation of a rack's work within its bounds; an assumption. [1]"""

_LENGTH, _PHASE, _WORK = np.uint64(1), np.uint64(2), np.uint64(3)  # random variables


def work_deviations(placement: RackPlacement, first: int, count: int, *, seed: int) -> Float32Array:
    """Return the deviation of each rack's work from its hall's, ``(interval, rack)``. [1]

    Values are from -1 to 1 with mean zero over every hall.

    - ``first``: First interval, counted from 1970. [1]
    - ``count``: Number of intervals. [1]
    - ``seed``: Seed of the random jobs.

    Each rack has jobs of one length, uniformly drawn from -1 to 1, with its own phase. The value
    depends only on seed, rack and interval, so any window of a year can be viewed on its own.
    """
    rack = np.arange(len(placement.hall_of_rack), dtype=np.uint64)
    root = np.uint64(seed)
    length = MIN_JOB_INTERVALS + (
        _draw(root, _LENGTH, rack) * (MAX_JOB_INTERVALS - MIN_JOB_INTERVALS + 1)
    ).astype(np.int64)
    phase = (_draw(root, _PHASE, rack) * length).astype(np.int64)
    intervals = first + np.arange(count, dtype=np.int64)[:, None]
    job = ((intervals + phase) // length).astype(np.uint64)
    work = 2.0 * _draw(root, _WORK, rack, job) - 1.0
    for hall in range(int(placement.hall_of_rack[-1]) + 1):
        mine = placement.hall_of_rack == hall
        work[:, mine] -= work[:, mine].mean(axis=1, keepdims=True)
    return (0.5 * MAX_WORK_DEVIATION * work).astype(np.float32)


def _draw(*keys: np.uint64 | NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers from 0 to 1 that depend only on their keys (the finaliser of splitmix64)."""
    state = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = (state ^ key) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


PLATE_TIME_CONSTANT_S: Final = 2.0
"""Time constant of a chip on its cold plate, first order; an assumption. [s]"""

CHIP_POWER_STD: Final = 0.02
"""Standard deviation of chip power within a rack, over its mean; an assumption. [1]"""

_WARM_UP: Final = np.timedelta64(1, "m")  # thirty time constants

type ChipArrays = tuple[Float32Array, Float32Array]
"""Powers [MW] and case temperatures [degC] of chips, ``(time, rack, chip)``."""

type RackAndChipState = tuple[CoolantState, Float32Array]
"""The coolant, and the case temperature of each chip, ``(rack, chip)``. [degC]"""


def chip_table(layout: RackLayout, *, hours: float, seed: int) -> ChipTable:
    """Return the table of the chips of a site, for steps of some hours [h].

    ``seed`` selects the constant differences among chips.

    Raises ``StateError`` if the racks of its halls have different numbers of chips.
    """
    counts = {hall.chips_per_rack for hall in layout.halls}
    if len(counts) != 1:
        raise StateError.single(
            layout.site.name,
            IssueCode.UNSUPPORTED,
            "chips_per_rack",
            found=str(sorted(counts)),
            expected="one number for all halls",
            remedy="view the level rack",
        )
    draw = np.random.default_rng(seed).standard_normal((layout.rack_count, counts.pop()))
    factor = 1.0 + CHIP_POWER_STD * (draw - draw.mean(axis=1, keepdims=True))
    return ChipTable(
        hall=layout.places.hall_of_rack,
        unit=layout.cdu_of_rack,
        knots_per_mw=layout.hall_table.knots_per_mw,
        power=layout.tabulated_chip_power,
        chip_power_factor=factor.astype(np.float32),
        remaining_step_share=math.exp(-hours * SECONDS_PER_HOUR / PLATE_TIME_CONSTANT_S),
    )


def simulate_chips(
    layout: RackLayout,
    result: xr.Dataset,
    window: ViewWindow,
    *,
    table: ChipTable,
    seed: int,
    state: RackAndChipState | None = None,
) -> tuple[ChipArrays, RackAndChipState]:
    """Simulate all chips in a window; return their outputs and the final state.

    - ``result``: The run, see :func:`twin.simulate`.
    - ``table``: See :func:`chip_table`.
    - ``seed``: Seed of the distribution of work over racks.
    - ``state``: Initial coolant and chips; by default from a warm-up before the window. [degC]
    """
    lead = window.preceding(time_axes.interval_edges(result)[0], _WARM_UP)
    if state is not None:
        coolant, chips = state
    elif lead.step_count:
        found, coolant = simulate_racks(layout, result, lead, seed=seed)
        chips = _steady_chips(table, found)
        _simulate_step(table, found, chips)
    found, after = simulate_racks(
        layout, result, window, seed=seed, state=coolant if state or lead.step_count else None
    )
    chips = chips.copy() if state or lead.step_count else _steady_chips(table, found)
    return _simulate_step(table, found, chips), (after, chips)


def chip_dataset(layout: RackLayout, window: ViewWindow, chips: ChipArrays) -> xr.Dataset:
    """Return outputs of chips with labels and units."""
    power, temperature = chips
    dims = ("time", "rack", "chip")
    coords = {"rack": layout.rack_labels, "chip": np.arange(power.shape[-1])}
    whole = time_axes.interval_axes(window.edges)
    return variables.tag_dataset(
        xr.Dataset(
            {"chip_power": (dims, power), "chip_temperature": (dims, temperature)},
            coords={**whole.coords, **coords},
        )
    )


def chip_values_per_step(layout: RackLayout) -> int:
    """Return the number of 4-byte values per step. [1]"""
    return 2 * sum(hall.racks * hall.chips_per_rack for hall in layout.halls)


def _simulate_step(table: ChipTable, found: RackOutputs, chips: Float32Array) -> ChipArrays:
    """Simulate the chips of some racks; ``chips`` becomes their final temperatures. [degC]"""
    shape = (len(found.rack_power), *chips.shape)
    track = ChipOutputs(chips, np.empty(shape, np.float32), np.empty(shape, np.float32))
    chip_kernel(
        table, ChipInputs(found.rack_power, found.chip, found.cdu_supply_temperature), track
    )
    return track.power, track.temperature


def _steady_chips(table: ChipTable, found: RackOutputs) -> Float32Array:
    """Return the steady chip temperatures of the first step. [degC]"""
    chips = np.zeros(table.chip_power_factor.shape, np.float32)
    first = found._replace(
        rack_power=found.rack_power[:1],
        chip=found.chip[:1],
        cdu_supply_temperature=found.cdu_supply_temperature[:1],
    )
    _simulate_step(table._replace(remaining_step_share=0.0), first, chips)
    return chips
