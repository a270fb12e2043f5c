"""Figures over time: a run, and the temperatures after a failure; and the style of all figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict, Unpack

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from twin.equipment import ITHall
from twin.physics import FloatArray
from twin.simulation.operating_limits import operating_limits
from twin.site import Site
from twin.time_axes import interval_edges

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT_GREY = "#7A7A7A", "#D9D9D9"

COLOUR_CYCLE: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK)
"""Okabe and Ito's colours, which colour-blind readers distinguish."""

FIGURE_WIDTH_IN: Final = 12.0  # 1200 pixels at 100 per inch

LEGEND_ANCHOR: Final = (1.07, 1.04)  # position of a panel's legend, in its widths and heights


class LineStyle(TypedDict, total=False):
    """Style and label of a line."""

    color: str
    linestyle: str | tuple[int, tuple[int, int]]
    linewidth: float
    label: str


WORK_KIND_COLOURS: Final = (GREEN, YELLOW, PURPLE)

PLAN_STYLE: Final[LineStyle] = {"linestyle": (0, (3, 2)), "linewidth": 1.2}
LIMIT_STYLE: Final[LineStyle] = {"color": BLACK, "linestyle": ":", "linewidth": 1.3}


def plot_run(run: xr.Dataset, site: Site, *, title: str) -> Figure:
    """Draw a run: prices, power, temperatures, storage and work over time.

    Parameters
    ----------
    run
        Means on ``time`` (with ``duration``) and states on ``instant``. All of these are optional:
        ``electricity_price``, ``carbon_intensity``; ``facility_power``, ``grid_import_power``,
        ``grid_export_power``, ``hall_power``, ``service_racks``, ``work_power``,
        ``cooling_plant_draw``, ``renewable_used_power``; the limited temperatures and
        ``air_temperature``; ``battery_level``, ``tank_level``; ``work_backlog``, ``work_late``.
        Import, temperatures and levels with the prefix ``plan_`` are dashed.
    site
        The site, for its limits, windows and local time.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Panels below each other on one axis of local time, 1200 pixels wide.
    """
    panels = [panel for panel in _RUNS_PANELS if any(name in run for name in panel.needs)]
    heights = [panel.height for panel in panels]
    figure = Figure(figsize=(FIGURE_WIDTH_IN, 0.9 + sum(heights)), dpi=100, layout="constrained")
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, panel in zip(column[:, 0], panels, strict=True):
        panel.draw(axes, run, site)
        style_panel(axes, is_stacked=panel.is_stacked)
    format_date_axis(column[-1, 0], interval_edges(run), site.time_zone)
    figure.align_ylabels()
    day = pd.Timestamp(run["time"].to_numpy()[0], tz="UTC").tz_convert(site.time_zone).date()
    figure.suptitle(f"{title}, from {day}", x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def _prices(axes: Axes, run: xr.Dataset, _site: Site) -> None:
    """Draw the price, its negative hours filled, and the carbon intensity on its own scale.

    Without a price the carbon intensity has the scale at the left.
    """
    if "electricity_price" in run:
        draw_series(axes, run["electricity_price"], color=BLUE, label="price")
        below = np.minimum(run["electricity_price"].to_numpy(), 0.0)
        if below.any():
            axes.stairs(below, interval_edges(run), fill=True, color=ORANGE, label="price below 0")
        axes.axhline(0.0, color=BLACK, linewidth=0.8)
        axes.set_ylabel("price\n[EUR/MWh]")
    if "carbon_intensity" in run and "electricity_price" in run:
        _draw_beside(axes, run["carbon_intensity"], "carbon", "kg/MWh")
    elif "carbon_intensity" in run:
        draw_series(axes, run["carbon_intensity"], color=GREY, label="carbon")
        axes.set_ylabel("carbon\n[kg/MWh]")
        axes.set_ylim(bottom=0.0)


def _power(axes: Axes, run: xr.Dataset, site: Site) -> None:
    """Draw the consumers of power, stacked, and the net import with plan and limit."""
    base = np.zeros(run.sizes["time"])
    for label, values, color in _users(run, site):
        bottom, base = base, base + values
        axes.stairs(base, interval_edges(run), baseline=bottom, fill=True, color=color, label=label)
    if "renewable_used_power" in run:
        own = run["renewable_used_power"].sum("renewable")
        draw_series(axes, own, color=ORANGE, label="sun and wind")
    drawn, planned = (
        LineStyle(color=BLACK, label="import"),
        LineStyle(color=RED, label="import, planned"),
    )
    for prefix, style in (("", drawn), ("plan_", PLAN_STYLE | planned)):
        if f"{prefix}grid_import_power" in run:
            net = run[f"{prefix}grid_import_power"]
            if f"{prefix}grid_export_power" in run:
                net = net - run[f"{prefix}grid_export_power"]
            draw_series(axes, net, **style)
    axes.axhline(site.grid_connection.import_limit, label="connection", **LIMIT_STYLE)
    axes.set_ylabel("power\n[MW]")


def _users(run: xr.Dataset, site: Site) -> list[tuple[str, FloatArray, str]]:
    """Return label, power and colour of all consumers, from the service up to losses. [MW]"""
    users: list[tuple[str, FloatArray, str]] = []

    def remaining(power: FloatArray) -> FloatArray:
        return np.maximum(power - sum(values for _, values, _ in users), 0.0)

    if "service_racks" in run:
        hall = site.machines_of(ITHall)[0]
        busy = run["service_racks"].to_numpy() * (hall.rack_power - hall.rack_idle_power)
        users.append(("service", busy, SKY))
    if "work_power" in run:
        kinds = _by_kind(run["work_power"])
        users += [
            (*kind, color)
            for kind, color in zip(kinds.items(), WORK_KIND_COLOURS * 3, strict=False)
        ]
    if "hall_power" in run:
        rest = remaining(run["hall_power"].sum("hall").to_numpy())
        users.append(("racks, idle draw" if users else "racks", rest, LIGHT_GREY))
    if "cooling_plant_draw" in run:
        users.append(("cooling plants", run["cooling_plant_draw"].sum("circuit").to_numpy(), BLUE))
    if users and "facility_power" in run:
        users.append(("fans, pumps, losses", remaining(run["facility_power"].to_numpy()), GREY))
    return users


def _by_kind(array: xr.DataArray) -> dict[str, FloatArray]:
    """Return values summed over the cohorts of each kind of work; "batch/0" is of kind batch."""
    if array.ndim == 1:
        return {"waiting": array.to_numpy()}
    (dim,) = (str(dim) for dim in array.dims if dim not in {"time", "instant"})
    kinds = np.array([str(label).split("/")[0] for label in array[dim].to_numpy()])
    values = array.transpose(dim, ...).to_numpy()
    return {str(kind): values[kinds == kind].sum(axis=0) for kind in dict.fromkeys(kinds)}


def _temperatures(axes: Axes, run: xr.Dataset, site: Site) -> None:
    """Draw the distance of every limited temperature from its limit, and the outdoor air."""
    owners_by_limit: dict[tuple[str, str, float], list[str]] = {}
    for limit in operating_limits(site):
        if limit.margin_kind == "temperature" and limit.variable in run:
            owners_by_limit.setdefault((limit.variable, limit.dimension, limit.upper), []).append(
                limit.owner
            )
    for ((variable, dim, high), owners), color in zip(
        owners_by_limit.items(), COLOUR_CYCLE * 9, strict=False
    ):
        label_text = (
            variable.removesuffix("_temperature").removeprefix("facility_").replace("_", " ")
        )
        label = f"{label_text}, {owners[0] if len(owners) == 1 else 'hottest'} (limit {high:g} °C)"
        hottest = run[variable].sel({dim: owners}).max(dim) - high
        draw_series(axes, hottest, color=color, label=label)
        if f"plan_{variable}" in run:
            planned = run[f"plan_{variable}"].sel({dim: owners}).max(dim) - high
            draw_series(axes, planned, **(PLAN_STYLE | LineStyle(color=color)))
    axes.axhline(0.0, label="limit", **LIMIT_STYLE)
    axes.set_ylabel("distance\nfrom limit [K]")
    if "air_temperature" in run:
        _draw_beside(axes, run["air_temperature"], "outdoor air", "°C")


def _stores(axes: Axes, run: xr.Dataset, site: Site) -> None:
    """Draw the levels of all stores as shares of the full store, and their minimum."""
    for store, color in zip(site.stores, COLOUR_CYCLE * 9, strict=False):
        kind = site.equipment[store.owner].kind
        drawn = LineStyle(label=f"{store.owner} (full: {store.max_level:.3g} MWh)")
        for name, style in ((f"{kind}_level", drawn), (f"plan_{kind}_level", PLAN_STYLE)):
            if name in run:
                level = run[name].sel({kind: store.owner})
                draw_series(
                    axes, 100.0 * level / store.max_level, **(style | LineStyle(color=color))
                )
        if store.min_level > 0.0:
            axes.axhline(
                100.0 * store.min_level / store.max_level, **(LIMIT_STYLE | LineStyle(color=color))
            )
    axes.set_ylim(-3.0, 103.0)
    axes.set_ylabel("level\n[%]")


def _work(axes: Axes, run: xr.Dataset, _site: Site) -> None:
    """Draw the waiting work, stacked by kind, and the late work."""
    if "work_backlog" in run:
        waiting = _by_kind(run["work_backlog"])
        axes.stackplot(
            run["instant"].to_numpy(), *waiting.values(), labels=waiting, colors=WORK_KIND_COLOURS
        )
    if "work_late" in run:
        draw_series(axes, run["work_late"].sum("cohort"), color=BLACK, label="late")
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("work waiting\n[MWh]")


def _draw_beside(axes: Axes, array: xr.DataArray, label_text: str, unit: str) -> None:
    """Draw means as a thin line with its own scale at the right."""
    right = axes.twinx()
    draw_series(right, array, color=GREY, linewidth=0.9)
    axes.plot([], [], color=GREY, linewidth=0.9, label=f"{label_text} (right)")
    right.set_ylabel(f"[{unit}]", color=GREY, fontsize=9)
    right.tick_params(colors=GREY, labelsize=9)
    right.spines[["top", "left"]].set_visible(False)


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """A panel: height [in], variables of which one must be present, drawing function."""

    height: float
    needs: tuple[str, ...]
    draw: Callable[[Axes, xr.Dataset, Site], None]
    is_stacked: bool = False


_RUNS_PANELS: Final = (
    _Panel(height=1.5, needs=("electricity_price", "carbon_intensity"), draw=_prices),
    _Panel(height=2.8, needs=("grid_import_power", "hall_power"), draw=_power, is_stacked=True),
    _Panel(height=1.7, needs=("facility_supply_temperature",), draw=_temperatures),
    _Panel(height=1.4, needs=("battery_level", "tank_level"), draw=_stores),
    _Panel(height=1.4, needs=("work_backlog", "work_late"), draw=_work, is_stacked=True),
)

_HEIGHT: Final = 8.0  # in

TRAJECTORY_LABELS: Final = {
    "full_load_chip_temperature": "chip at full load of {}",
    "technology_supply_temperature": "coolant of {}",
    "facility_supply_temperature": "water of {}",
    "rack_inlet_temperature": "air of {}",
    "cooling_plant_output": "taken by {}",
    "tank_discharge": "given by {}",
}
"""Label of each variable in the figure."""

_FAILURES_PANELS: Final = (
    ("technology_supply_temperature", "facility_supply_temperature", "rack_inlet_temperature"),
    ("full_load_chip_temperature",),
    ("cooling_plant_output", "tank_discharge"),
)
_HEAT_WORDS: Final = ("taken by", "given by")

MIN_SHOWN_CHANGE: Final = 0.05
"""Smallest change of a drawn line, unless none changes more. [K; MW]"""


def plot_contingency(
    trajectory: xr.Dataset, limits: Mapping[tuple[str, str], float], *, title: str
) -> Figure:
    """Draw the trajectory of a site after a failure: coolant, water and air; chips; heat.

    - ``path``: See :func:`twin.contingency.ride_through_time.contingency_trajectory`.
    - ``limits``: Variable and machine -> temperature limit. [degC]
    """
    groups = [
        row for row in (_rows(trajectory, names, limits) for names in _FAILURES_PANELS) if row
    ]
    moving = [[line for line in rows if np.ptp(line[1]) >= MIN_SHOWN_CHANGE] for rows in groups]
    groups = [rows for rows in moving if rows] or groups
    figure = Figure(figsize=(FIGURE_WIDTH_IN, _HEIGHT), dpi=100, layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    reached = float(trajectory.attrs["time_to_limit"])
    for axes, rows in zip(panels, groups, strict=True):
        for place, (label, values, limit) in enumerate(rows):
            colour = COLOUR_CYCLE[place % len(COLOUR_CYCLE)]
            axes.plot(_minutes(trajectory), values, color=colour, label=label, linewidth=1.4)
            if limit is not None:
                axes.axhline(limit, color=colour, linewidth=1.0, linestyle=":")
        is_heat = rows[0][0].startswith(_HEAT_WORDS)
        axes.set_ylabel("heat [MW]" if is_heat else "temperature [degC]\n(dotted: limit)")
        if is_heat:
            axes.set_ylim(bottom=0.0)
        if np.isfinite(reached):
            axes.axvline(reached, color=RED, linewidth=1.2)
        _finish(axes)
    if np.isfinite(reached):
        panels[0].annotate(
            f"{reached:.1f} min: {trajectory.attrs['limit']}",
            (reached, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, 6),
            textcoords="offset points",
            color=RED,
        )
    panels[-1].set_xlabel("minutes after the failure")
    panels[0].set_title(title, loc="left", fontsize=12, fontweight="bold", color=BLACK)
    return figure


def _minutes(trajectory: xr.Dataset) -> np.ndarray:
    instant = trajectory["instant"].to_numpy()
    return np.asarray((instant - instant[0]) / np.timedelta64(1, "m"))


def _rows(
    trajectory: xr.Dataset, names: Sequence[str], limits: Mapping[tuple[str, str], float]
) -> list[tuple[str, np.ndarray, float | None]]:
    """Return label, values and limit of each line; identical lines are drawn once."""
    found: dict[bytes, tuple[str, np.ndarray, float | None]] = {}
    for name in names:
        if name not in trajectory:
            continue
        dim = next(str(dim) for dim in trajectory[name].dims if dim != "instant")
        for owner in trajectory[dim].to_numpy().tolist():
            values = trajectory[name].sel({dim: owner}).to_numpy()
            row = TRAJECTORY_LABELS[name].format(owner), values, limits.get((name, owner))
            found.setdefault(values.tobytes(), row)
    return list(found.values())


def _finish(axes: Axes) -> None:
    axes.margins(x=0.0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=LIGHT_GREY, linewidth=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)


def draw_series(axes: Axes, array: xr.DataArray, **style: Unpack[LineStyle]) -> None:
    """Draw means as stairs and states as lines."""
    style = LineStyle(linewidth=1.3) | style
    if "instant" in array.dims:
        axes.plot(array["instant"].to_numpy(), array.to_numpy(), **style)
    else:
        axes.stairs(array.to_numpy(), interval_edges(array), baseline=None, **style)


def format_date_axis(axes: Axes, edges: np.ndarray, time_zone: str) -> None:
    """Label the lowest panel with local days and hours."""
    locator = AutoDateLocator(tz=time_zone)  # type: ignore[no-untyped-call]  # matplotlib's gap
    form = ConciseDateFormatter(locator, tz=time_zone, show_offset=False)  # type: ignore[no-untyped-call]  # the same
    form.formats[2], form.zero_formats[2:4] = "%a %d", ["%a %d %b"] * 2
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(form)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(f"{'local time, ' if time_zone != 'UTC' else ''}{time_zone}", fontsize=9)


def style_panel(axes: Axes, *, is_stacked: bool) -> None:
    """Add the grid and a legend at the right, in the order of a stack."""
    axes.grid(color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.yaxis.label.set_fontsize(9)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=LEGEND_ANCHOR,
        fontsize=8.5,
        frameon=False,
        reverse=is_stacked,
    )
