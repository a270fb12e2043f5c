"""Every rack and coolant unit of a window of a run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import xarray as xr

from twin import axes, vocabulary
from twin.compiled import compiled
from twin.errors import Fault, StateError
from twin.physics import FloatArray
from twin.physics.rack_kernel import PARTS, Coolant, Drive, Found, follow_racks
from twin.relations import SetPoints
from twin.scale.courses import SPELL, deviations
from twin.scale.layout import Layout
from twin.simulation import ARRIVING
from twin.steering import WORDS, gathered, read

WARM_UP: Final = np.timedelta64(1, "h")
"""Time after which coolant has forgotten where it began, to a billionth of a kelvin."""

_PIECE: Final = 300
"""Steps of a warm-up that are followed at once, to keep them small. [1]"""

_ALIKE: Final = 0.01  # K: of the same coolant in a run and behind it

_ENDLESS: Final = 1e9  # h: one implicit step of this length is the steady state
_RACK_VARIABLES: Final = 3
_UNIT_VARIABLES: Final = 5


@dataclass(frozen=True, kw_only=True)
class Window:
    """A piece of the finer axis behind a run.

    Attributes
    ----------
    start
        Its first edge. [datetime64, us]
    count
        Number of steps.
    step
        Their length. [timedelta64]
    """

    start: np.datetime64
    count: int
    step: np.timedelta64

    @classmethod
    def of(cls, result: xr.Dataset, time: slice, step: np.timedelta64) -> Self:
        """Return the window of a run that a slice of moments asks for, as wide as whole steps.

        Raises
        ------
        StateError
            If the window lies outside the run, or a step is not a part of every interval.
        """
        edges = axes.edges_of(result)
        start, stop, faults = part_of(edges, time)
        zero = np.timedelta64(0, "us")
        if step <= zero or (np.diff(edges) % step != zero).any():
            mend = "choose a step that divides every interval of the run"
            faults.append(Fault(place="step", value=str(step), mend=mend))
        if faults:
            raise StateError("view", faults)
        start = edges[0] + (start - edges[0]) // step * step
        return cls(start=start, count=int(-((start - stop) // step)), step=step)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the steps, ``(count + 1,)``. [datetime64, us]"""
        return np.asarray(self.start + np.arange(self.count + 1) * self.step, "datetime64[us]")

    @property
    def hours(self) -> float:
        """Length of a step. [h]"""
        return float(self.step / axes.HOUR)

    def take(self, first: int, count: int) -> "Window":
        """Return some of the steps."""
        return Window(start=self.start + first * self.step, count=count, step=self.step)

    @property
    def end(self) -> np.datetime64:
        """Its last edge. [datetime64, us]"""
        return self.start + self.count * self.step

    def before(self, edge: np.datetime64, time: np.timedelta64) -> "Window":
        """Return the steps of some time before it, as far as there are any after an edge."""
        back = int(min(-(-time // self.step), (self.start - edge) // self.step))
        return self.take(-back, back)


def part_of(edges: np.ndarray, time: slice) -> tuple[np.datetime64, np.datetime64, list[Fault]]:
    """Return where a slice of moments begins and ends, and the fault of one outside the edges."""
    start = edges[0] if time.start is None else axes.utc(str(time.start))
    stop = edges[-1] if time.stop is None else axes.utc(str(time.stop))
    if edges[0] <= start < stop <= edges[-1]:
        return start, stop, []
    mend = f"choose a window inside {edges[0]} to {edges[-1]}"
    return start, stop, [Fault(place="time", value=f"{start} to {stop}", mend=mend)]


def follow(
    layout: Layout, result: xr.Dataset, window: Window, *, seed: int, state: Coolant | None = None
) -> tuple[Found, Coolant]:
    """Follow all racks and units through a window.

    Parameters
    ----------
    layout
        The racks of the site.
    result
        The run behind them, as :func:`twin.simulate` gives.
    window
        Where to look.
    seed
        Of the spread of work over the racks.
    state
        Coolant at the window's start; if not given it is found by a warm-up before. [degC]

    Returns
    -------
    tuple
        What they did, and the coolant at the window's end.
    """
    if state is None:
        lead = window.before(axes.edges_of(result)[0], WARM_UP)
        state = _rest(layout, result, lead if lead.count else window, seed=seed)
        for first in range(0, lead.count, _PIECE):
            piece = lead.take(first, min(_PIECE, lead.count - first))
            _, state = follow(layout, result, piece, seed=seed, state=state)
    coolant = Coolant(racks=state.racks.copy(), units=state.units.copy())
    found = _room(layout, window.count)
    first = 0
    for piece, points in _steady(layout, result, window):
        rows = slice(first, first + piece.count)
        part = Found._make(values[rows] for values in found)
        drive = _drive(layout, result, piece, seed=seed)
        compiled(follow_racks, *PARTS)(layout.table(points), drive, (coolant, part))
        first += piece.count
    return found, coolant


def dataset(layout: Layout, window: Window, found: Found) -> xr.Dataset:
    """Return what racks and units did with labels, units and meanings."""
    whole = axes.intervals(window.edges)
    labels = layout.unit_labels
    names = [hall.name for hall in layout.halls]
    variables = {
        "rack_power": (("time", "rack"), found.rack_power),
        "rack_return_temperature": (("time", "rack"), found.rack_return),
        "chip_temperature": (("time", "rack"), found.chip),
        "cdu_output": (("time", "unit"), found.unit_heat),
        "cdu_pump_power": (("time", "unit"), found.unit_pump),
        "cdu_passed_heat": (("time", "unit"), found.unit_passed),
        "cdu_kept_heat": (("time", "unit"), found.unit_kept),
        "technology_supply_temperature": (("time", "unit"), found.unit_supply),
        "closure": (("time",), found.closure),
    }
    coords = {
        "rack": layout.rack_labels,
        "unit": labels,
        "hall": ("rack", np.array(names)[layout.places.hall]),
        "serving": ("rack", labels[layout.unit_of_rack]),
    }
    return vocabulary.tag_all(xr.Dataset(variables, coords={**whole.coords, **coords}))


def width_of(layout: Layout) -> int:
    """Return how many numbers of four bytes a step has. [1]"""
    return _RACK_VARIABLES * layout.racks + 2 * _UNIT_VARIABLES * layout.units


def _room(layout: Layout, count: int) -> Found:
    racks, units = (count, layout.racks), (count, layout.units)
    return Found(
        rack_power=np.empty(racks, np.float32),
        rack_return=np.empty(racks, np.float32),
        chip=np.empty(racks, np.float32),
        unit_heat=np.empty(units),
        unit_pump=np.empty(units),
        unit_passed=np.empty(units),
        unit_kept=np.empty(units),
        unit_supply=np.empty(units),
        closure=np.empty(count),
    )


def _rest(layout: Layout, result: xr.Dataset, window: Window, *, seed: int) -> Coolant:
    """Return the coolant as it would stand after the window's first step had lasted for ever."""
    first = window.take(0, 1)
    state = Coolant(racks=np.zeros(layout.racks), units=np.zeros(layout.units))
    drive = _drive(layout, result, first, seed=seed)._replace(hours=_ENDLESS)
    ((_, points),) = _steady(layout, result, first)
    compiled(follow_racks, *PARTS)(layout.table(points), drive, (state, _room(layout, 1)))
    return state


def _steady(
    layout: Layout, result: xr.Dataset, window: Window
) -> Iterator[tuple[Window, SetPoints | None]]:
    """Yield the pieces of a window in which set points of the water stay as they are."""
    edges, fine = axes.edges_of(result), window.edges
    interval = np.searchsorted(edges, fine[:-1], side="right") - 1
    low, high = int(interval[0]), int(interval[-1]) + 1
    part = result.isel(time=slice(low, high), instant=slice(low, high + 1))
    points = _points(layout, part)
    _refuse_untold(layout, part, points)
    told: list[FloatArray] = []
    if points is not None:
        told = [*points.temperature_range.values(), *points.technology_range.values()]
    if points is None or not told:
        yield window, None
        return
    moves = np.any([np.diff(values[interval - low]) != 0.0 for values in told], axis=0)
    starts = [0, *(np.flatnonzero(moves) + 1).tolist()]
    for begin, end in zip(starts, [*starts[1:], window.count], strict=True):
        at = int(interval[begin]) - low
        yield window.take(begin, end - begin), _moment(points, at)


def _points(layout: Layout, result: xr.Dataset) -> SetPoints | None:
    """Return the set points that a run was told, if they stand beside it."""
    orders: dict[tuple[str, str], FloatArray] = {}
    for word, (_, dim) in WORDS.items():
        if word in result:  # machines that were told none have a gap beside those of the run
            orders |= read(layout.site, result[[word]].dropna(dim, how="all"))
    return gathered(layout.site, orders)


def _moment(points: SetPoints, at: int) -> SetPoints:
    """Return the ranges that hold in one interval."""
    wide, warm = (
        {name: values[at] for name, values in table.items()}
        for table in (points.temperature_range, points.technology_range)
    )
    return replace(points, temperature_range=wide, technology_range=warm)


def _refuse_untold(layout: Layout, result: xr.Dataset, points: SetPoints | None) -> None:
    """Refuse a run whose coolant the site does not give at the set points that are told."""
    cdu, word = layout.cdu, "technology_supply_temperature"
    if word not in result or "cdu_output" not in result:
        return
    heat = result["cdu_output"].sel(cdu=cdu.name).to_numpy()
    through = layout.warm.share(
        heat, rated_heat=cdu.rated, rated_range=cdu.facility_range, points=points
    )
    water = _water(layout, result)[1:]
    wanted = cdu.technology_supply_temperature(heat, water, points=points, facility_flow=through)
    off = np.abs(result[word].sel(cdu=cdu.name).to_numpy() - wanted).max()
    if off > _ALIKE:
        mend = (
            "view the run with the site it was made of, and assign to it the set points that it "
            "was told, facility_range_set_point and technology_range_set_point"
        )
        fault = Fault(place=f"{word} of {cdu.name}", value=f"{off:.3g} K off", mend=mend)
        raise StateError("view", [fault])


def _drive(layout: Layout, result: xr.Dataset, window: Window, *, seed: int) -> Drive:
    """Return work and facility water of each step: means held, temperatures straight between."""
    edges, fine = axes.edges_of(result), window.edges
    interval = np.searchsorted(edges, fine[:-1], side="right") - 1
    low, high = int(interval[0]), int(interval[-1]) + 1
    part = result.isel(time=slice(low, high), instant=slice(low, high + 1))
    edges = (edges[low : high + 1] - fine[0]) / axes.HOUR
    spells = (fine[:-1] - np.datetime64(0, "us")) // SPELL
    first = int(spells[0])
    return Drive(
        share=_shares(layout, part)[interval - low],
        deviation=deviations(layout.places, first, int(spells[-1]) - first + 1, seed=seed),
        spell=spells - first,
        water=np.interp((fine[1:] - fine[0]) / axes.HOUR, edges, _water(layout, part)),
        hours=window.hours,
    )


def _shares(layout: Layout, result: xr.Dataset) -> FloatArray:
    """Return the mean work of the racks of each hall, ``(time, hall)``. [1]"""
    power = result["hall_power"].sel(hall=[hall.name for hall in layout.halls]).to_numpy()
    if not np.isfinite(power).all():  # a kernel would look up no place in its tables
        mend = "view a run whose halls all have a power"
        raise StateError("view", [Fault(place="hall_power", value="nan", mend=mend)])
    idle = np.array([hall.idle_power for hall in layout.halls])
    full = np.array([hall.full_power for hall in layout.halls])
    return np.asarray((power - idle) / (full - idle))


def _water(layout: Layout, result: xr.Dataset) -> FloatArray:
    """Return the warm facility water at the run's edges, as it arrives at the halls. [degC]"""
    name = ARRIVING if ARRIVING in result else "facility_supply_temperature"
    supply = result[name].sel(circuit=layout.warm.name)
    return np.asarray(supply.to_numpy(), dtype=np.float64)
