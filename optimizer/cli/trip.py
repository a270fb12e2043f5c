"""What `gigatwin simulate --trip` shows: how long a site endures a failure, and what follows."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from rich.console import Console

from optimizer.cli.show import table
from twin.contingency.contingencies import Contingency, find_contingency, single_contingencies
from twin.contingency.ride_through_time import (
    RIDE_THROUGH_HORIZON_H,
    contingency_trajectory,
    temperature_limits,
    time_to_limit,
)
from twin.errors import ProblemError, ValidationIssue
from twin.site import Site
from twin.units import format_minute

ALL: Final = "all"
"""Asks for every single failure of the site."""

ROWS: Final = 16
"""Most rows of a path that are shown, about. [1]"""

STEPS: Final = (1, 2, 5, 10, 15, 30, 60)
"""Minutes between two rows. [min]"""

CALM: Final = 60
"""Minutes that are shown where no limit is reached. [min]"""

BEYOND: Final = 1.25
"""Minutes that are shown over those to the limit. [1]"""

COLUMNS: Final = {
    "chip_temperature": "chips of",
    "technology_supply_temperature": "coolant of",
    "facility_supply_temperature": "water of",
    "rack_inlet_temperature": "air of",
    "cooling_plant_output": "heat to",
    "tank_discharge": "heat to",
    "tank_level": "left in",
}
"""What is shown of a path, and how people call it. [degC; MW; MWh]"""

MOVED: Final = 0.05
"""What moves less is not shown. [K; MW; MWh]"""

LEGEND: Final = (
    "X/power: the supply of X fails and comes back. A plant's own name: all of it stands still."
)
"""What two kinds of names mean."""


@dataclass(frozen=True, kw_only=True)
class Day:
    """A site that was simulated.

    Attributes
    ----------
    site
        The site.
    start
        Its state at the first edge.
    operation, result
        What it was told, and what it did.
    """

    site: Site
    start: xr.Dataset
    operation: xr.Dataset
    result: xr.Dataset


def asked_trips(site: Site, name: str | None, *, picture: Path | None) -> tuple[Contingency, ...]:
    """Return the failures that somebody wants to see, looked at before the work is done.

    Parameters
    ----------
    site
        The site.
    name
        The failure as people call it; "all" for every one, None for none.
    picture
        File for the figure of one failure.

    Raises
    ------
    ProblemError
        If there is no such failure, or a picture of all is wanted.
    """
    if name in {ALL, None} and picture is not None:
        mend = "name one failure for a picture, as --trip chiller_1"
        raise ProblemError(
            "command", [ValidationIssue(place="--picture", value=str(picture), mend=mend)]
        )
    if name is None:
        return ()
    return single_contingencies(site) if name == ALL else (find_contingency(site, name),)


def show_trips(
    day: Day, name: str | None, *, picture: Path | None, screen: Console
) -> dict[str, object]:
    """Show how long a site endures one failure, or each; return it for scripts.

    Parameters
    ----------
    day
        What was simulated; the failure happens at its worst moment.
    name
        The failure as people call it; "all" for every one, None for none.
    picture
        File for the figure of one failure.
    screen
        Where tables go.

    Returns
    -------
    dict
        For every failure ``trip, title, alike, time_to_limit_min``, null if no limit is reached,
        ``limit`` and ``time``; for one also its ``path``; empty for none. [min; degC; MW; MWh]

    Raises
    ------
    ProblemError
        If there is no such failure, or a picture of all is wanted.
    """
    every = asked_trips(day.site, name, picture=picture)
    if not every:
        return {}
    found = time_to_limit(day.site, day.start, day.operation, failures=every, result=day.result)
    if name == ALL:
        return _all(day, every, found, screen=screen)
    return _one(day, every[0], found.isel(trip=0), picture=picture, screen=screen)


def _all(
    day: Day, every: tuple[Contingency, ...], found: xr.Dataset, *, screen: Console
) -> dict[str, object]:
    rows = [_row(trip, found.isel(trip=place)) for place, trip in enumerate(every)]
    rows.sort(key=lambda row: _order(row["time_to_limit_min"]))
    title = f"{day.site.name}: minutes from a failure to the first limit, at the worst moment"
    shown = table(title, "min", "failure", "first limit", "worst at", numbers=["min"])
    for row in rows:
        reached = row["time_to_limit_min"]
        words = [str(row[name] or "-") for name in ("trip", "limit", "time")]
        shown.add_row(f"{reached:.1f}" if isinstance(reached, float) else "none", *words)
    screen.print(shown)
    screen.print(LEGEND, markup=False)
    return {"site": day.site.name, "trips": rows}


def _order(minutes: object) -> float:
    return minutes if isinstance(minutes, float) else np.inf


def _row(trip: Contingency, found: xr.Dataset) -> dict[str, object]:
    """Return the worst moment of one failure as plain values."""
    times = found["time_to_limit"].to_numpy()
    place = int(times.argmin())
    minutes = float(times[place])
    stamp = format_minute(found["time"].to_numpy()[place])
    return {
        "trip": trip.name,
        "title": trip.title,
        "alike": trip.alike,
        "time_to_limit_min": minutes if np.isfinite(minutes) else None,
        "limit": str(found["limit"].to_numpy()[place]),
        "time": stamp if np.isfinite(minutes) else None,
    }


def _one(
    day: Day, trip: Contingency, found: xr.Dataset, *, picture: Path | None, screen: Console
) -> dict[str, object]:
    row = _row(trip, found)
    reached = _order(row["time_to_limit_min"])
    times = found["time_to_limit"].to_numpy()
    load = day.result["cooling_load"].sum("circuit").to_numpy()
    place = int(times.argmin() if np.isfinite(reached) else load.argmax())
    minutes = CALM if np.isinf(reached) else int(np.ceil(BEYOND * reached)) + 2
    path = contingency_trajectory(
        day.site,
        day.start,
        day.operation,
        trip=trip,
        minutes=min(minutes, round(60 * RIDE_THROUGH_HORIZON_H)),
        at=place,
        result=day.result,
    )
    ceilings = temperature_limits(day.site)
    words = f"{row['limit']} after {reached:.1f} min" if np.isfinite(reached) else "no limit"
    when = format_minute(found["time"].to_numpy()[place])
    title = f"{day.site.name}, {trip.name} fails at {when}: {words}"
    _show_path(path, ceilings, title=title, screen=screen)
    if np.isinf(reached):
        screen.print(
            f"no limit is reached in {RIDE_THROUGH_HORIZON_H:g} h, at any moment of the run"
        )
    if picture is not None:
        plots = import_module("twin.plots")  # matplotlib is slow to import
        plots.plot_contingency(path, ceilings, title=title).savefig(picture)
        screen.print(f"wrote {picture}", markup=False)
    limits: dict[str, dict[str, float]] = {}
    for (name, owner), high in ceilings.items():
        limits.setdefault(name, {})[owner] = high
    return {"site": day.site.name, **row, "path": _plain(path), "path_limits": limits}


def _show_path(
    path: xr.Dataset, ceilings: dict[tuple[str, str], float], *, title: str, screen: Console
) -> None:
    """Print some minutes of what moves; limits stand in the headings."""
    moving: dict[bytes, tuple[str, np.ndarray, float | None]] = {}
    for name, word in COLUMNS.items():
        for owner, values in _columns(path, name):
            if np.ptp(values) >= MOVED:
                ceiling = ceilings.get((name, owner))
                head = f"{word} {owner}" + ("" if ceiling is None else f" (<{ceiling:g})")
                moving.setdefault(values.tobytes(), (head, values, ceiling))
    if not moving:
        screen.print(f"{title}\nnothing moves by {MOVED:g}, neither temperatures nor heat")
        return
    heads = [head for head, *_ in moving.values()]
    shown = table(title, "min", *heads, numbers=["min", *heads])
    last = path.sizes["instant"] - 1
    step = next((step for step in STEPS if last <= step * ROWS), STEPS[-1])
    for minute in sorted({*range(0, last + 1, step), last}):
        cells = [_cell(float(values[minute]), high) for _, values, high in moving.values()]
        shown.add_row(f"{minute}", *cells)
    screen.print(shown)


def _cell(value: float, ceiling: float | None) -> str:
    is_over = ceiling is not None and value >= ceiling
    return f"[bold red]{value:.1f} ![/]" if is_over else f"{value:.1f}"


def _columns(path: xr.Dataset, name: str) -> list[tuple[str, np.ndarray]]:
    if name not in path:
        return []
    dim = next(str(dim) for dim in path[name].dims if dim != "instant")
    return [(o, path[name].sel({dim: o}).to_numpy()) for o in path[dim].to_numpy().tolist()]


def _plain(path: xr.Dataset) -> dict[str, object]:
    """Return a path as plain lists, by name and owner, one value a minute."""
    return {
        "minute": list(range(path.sizes["instant"])),
        **{
            str(name): {
                owner: values.round(4).tolist() for owner, values in _columns(path, str(name))
            }
            for name in path.data_vars
        },
    }
