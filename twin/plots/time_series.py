"""Figures over time: a run, and the temperatures after a failure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twin.equipment import ITHall
from twin.physics import FloatArray
from twin.plots.style import (
    AIR_COLOUR,
    BLACK,
    BREACH_COLOUR,
    CARBON_COLOUR,
    COLOUR_CYCLE,
    COOLING_COLOUR,
    IDLE_COLOUR,
    IMPORT_COLOUR,
    LIGHT_GREY,
    LIMIT_STYLE,
    LOSS_COLOUR,
    PLAN_STYLE,
    PRICE_COLOUR,
    RENEWABLE_COLOUR,
    SERVICE_COLOUR,
    STORE_COLOURS,
    TEMPERATURE_COLOURS,
    WORK_KIND_COLOURS,
    LineStyle,
    add_title,
    draw_series,
    format_date_axis,
    label_of,
    new_figure,
    style_panel,
    unit_of,
)
from twin.relations import Store
from twin.simulation.operating_limits import operating_limits
from twin.site import Site
from twin.time_axes import interval_edges


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
    figure = new_figure(0.9 + sum(heights))
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, panel in zip(column[:, 0], panels, strict=True):
        panel.draw(axes, run, site)
        style_panel(axes, is_stacked=panel.is_stacked)
    format_date_axis(column[-1, 0], interval_edges(run), site.time_zone)
    figure.align_ylabels()
    day = pd.Timestamp(run["time"].to_numpy()[0], tz="UTC").tz_convert(site.time_zone).date()
    add_title(figure, f"{title}, from {day}")
    return figure


def _prices(axes: Axes, run: xr.Dataset, _site: Site) -> None:
    """Draw the price, its negative hours filled, and the carbon intensity on its own scale.

    Without a price the carbon intensity has the scale at the left.
    """
    if "electricity_price" in run:
        draw_series(axes, run["electricity_price"], color=PRICE_COLOUR, label="price")
        below = np.minimum(run["electricity_price"].to_numpy(), 0.0)
        if below.any():
            axes.stairs(
                below,
                interval_edges(run),
                fill=True,
                color=PRICE_COLOUR,
                alpha=0.35,
                label="price below 0",
            )
        axes.axhline(0.0, color=BLACK, linewidth=0.8)
        axes.set_ylabel("price\n[EUR/MWh]")
    if "carbon_intensity" in run and "electricity_price" in run:
        _draw_beside(axes, run["carbon_intensity"], "carbon", "kg/MWh", color=CARBON_COLOUR)
    elif "carbon_intensity" in run:
        draw_series(axes, run["carbon_intensity"], color=CARBON_COLOUR, label="carbon")
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
        draw_series(axes, own, color=RENEWABLE_COLOUR, label="sun and wind")
    drawn, planned = (
        LineStyle(color=IMPORT_COLOUR, label="import"),
        LineStyle(color=IMPORT_COLOUR, label="import, planned"),
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
        users.append(("service", busy, SERVICE_COLOUR))
    if "work_power" in run:
        kinds = _by_kind(run["work_power"])
        users += [
            (*kind, color)
            for kind, color in zip(kinds.items(), WORK_KIND_COLOURS * 3, strict=False)
        ]
    if "hall_power" in run:
        rest = remaining(run["hall_power"].sum("hall").to_numpy())
        users.append(("racks, idle draw" if users else "racks", rest, IDLE_COLOUR))
    if "cooling_plant_draw" in run:
        cooling = run["cooling_plant_draw"].sum("circuit").to_numpy()
        users.append(("cooling plants", cooling, COOLING_COLOUR))
    if users and "facility_power" in run:
        users.append(
            ("fans, pumps, losses", remaining(run["facility_power"].to_numpy()), LOSS_COLOUR)
        )
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
        owners_by_limit.items(), TEMPERATURE_COLOURS * 9, strict=False
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
        _draw_beside(axes, run["air_temperature"], "outdoor air", "°C", color=AIR_COLOUR)


def _stores(axes: Axes, run: xr.Dataset, site: Site) -> None:
    """Draw the levels of all stores as shares of the full store, and their minimum."""
    for store, color in _coloured_stores(site):
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


def _coloured_stores(site: Site) -> list[tuple[Store, str]]:
    """Return each store with the colour of its kind; further ones of a kind have a spare colour."""
    spare = iter(COLOUR_CYCLE * 9)
    first = {site.equipment[store.owner].kind: store for store in reversed(site.stores)}
    return [
        (store, STORE_COLOURS[kind] if first[kind] is store else next(spare))
        for store in site.stores
        for kind in (site.equipment[store.owner].kind,)
    ]


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


def _draw_beside(
    axes: Axes, array: xr.DataArray, label_text: str, unit: str, *, color: str
) -> None:
    """Draw means as a thin line with its own scale at the right."""
    right = axes.twinx()
    draw_series(right, array, color=color, linewidth=0.9)
    axes.plot([], [], color=color, linewidth=0.9, label=f"{label_text} (right)")
    right.set_ylabel(f"[{unit}]", color=color, fontsize=9)
    right.tick_params(colors=color, labelsize=9)
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
    figure = new_figure(_HEIGHT)
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
            axes.axvline(reached, color=BREACH_COLOUR, linewidth=1.2)
        _finish(axes)
    if np.isfinite(reached):
        panels[0].annotate(
            f"{reached:.1f} min: {trajectory.attrs['limit']}",
            (reached, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, 6),
            textcoords="offset points",
            color=BREACH_COLOUR,
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


_MARGIN_ROW: Final = 0.26  # height of a limit [in]


def plot_margins(run: xr.Dataset, site: Site, *, title: str) -> Figure:
    """Draw how close a run comes to each limit: temperatures of each circuit, and powers.

    A bar reaches from the least to the largest value, a point marks the closest approach; it is red
    beyond the limit.

    Parameters
    ----------
    run
        Result of :func:`twin.simulate`; limits of variables that are missing are left out.
    site
        The site, for its limits.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Distance of temperatures from their limits in kelvin, and powers in per cent of theirs.
    """
    limits = [limit for limit in operating_limits(site) if limit.variable in run]
    kelvin = [limit for limit in limits if limit.margin_kind == "temperature"]
    power = [limit for limit in limits if limit.margin_kind == "power"]
    parts = [part for part in (kelvin, power) if part]
    figure = new_figure(1.8 + _MARGIN_ROW * len(kelvin + power))
    column = figure.subplots(len(parts), 1, squeeze=False, height_ratios=[len(p) for p in parts])
    for axes, part in zip(column[:, 0], parts, strict=True):
        is_kelvin = part is kelvin
        for row, limit in enumerate(part):
            values = limit.values(run)
            used = values - limit.upper if is_kelvin else 100.0 * values / limit.upper
            end = 0.0 if is_kelvin else 100.0
            color = BREACH_COLOUR if float(limit.excess_ratio(run).max()) > 1.0 else COOLING_COLOUR
            axes.plot([used.min(), used.max()], [row, row], color=color, linewidth=5, alpha=0.35)
            axes.plot(used.max(), row, "o", color=color)
        names = [f"{one.owner} {one.variable}".strip().replace("_", " ") for one in part]
        axes.set_yticks(range(len(part)), names)
        axes.set_ylim(len(part) - 0.5, -0.5)
        axes.axvline(end, **LIMIT_STYLE)
        axes.set_xlabel(
            "distance from the limit [K]" if is_kelvin else "value, share of its limit [%]"
        )
        style_panel(axes, has_legend=False)
    add_title(figure, title)
    return figure


_FAN_HEIGHT: Final = 4.0  # in
_FAN_ALPHA: Final = 0.22  # of each band


def plot_forecast_fan(
    scenarios: xr.DataArray, site: Site, *, observed: xr.DataArray | None = None, title: str
) -> Figure:
    """Draw a forecast as a fan: median, and bands with half and nine tenths of the scenarios.

    Parameters
    ----------
    scenarios
        Equally likely values on ``scenario`` and ``time``, with the coordinate ``duration``; the
        unit comes from the attribute ``units`` or the table of names.
    site
        The site, for its local time.
    observed
        What came, on ``time``; drawn as a black line.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        A panel over local time, 1200 pixels wide.
    """
    figure = new_figure(_FAN_HEIGHT)
    axes = figure.subplots()
    edges = interval_edges(scenarios)
    quantiles = scenarios.quantile([0.05, 0.25, 0.5, 0.75, 0.95], dim="scenario").transpose()
    low, lower, median, upper, high = quantiles.transpose("quantile", ...).to_numpy()
    for bottom, top, label, alpha in (
        (low, high, "90 % of scenarios", _FAN_ALPHA),
        (lower, upper, "50 % of scenarios", 2.0 * _FAN_ALPHA),
    ):
        axes.stairs(
            top,
            edges,
            baseline=bottom,
            fill=True,
            color=COOLING_COLOUR,
            alpha=alpha,
            label=label,
        )
    axes.stairs(median, edges, baseline=None, color=COOLING_COLOUR, linewidth=1.4, label="median")
    if observed is not None:
        draw_series(axes, observed, color=BLACK, label="observed")
    axes.set_ylabel(f"{label_of(scenarios)}\n[{unit_of(scenarios)}]")
    style_panel(axes)
    format_date_axis(axes, edges, site.time_zone)
    add_title(figure, title)
    return figure
