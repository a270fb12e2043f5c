"""Figures of a run, and of policies side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twin.axes import edges_of
from twin.equipment import Accelerators
from twin.limits import limits
from twin.physics import FloatArray
from twin.plots.colours import (
    BLACK,
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    RED,
    SKY,
    WIDTH,
    YELLOW,
)
from twin.plots.panels import Style, dates, draw, dress
from twin.site import Site

KINDS: Final = (GREEN, YELLOW, PURPLE)
"""Colours of the kinds of movable work."""

PLAN: Final[Style] = {"linestyle": (0, (3, 2)), "linewidth": 1.2}
LIMIT: Final[Style] = {"color": BLACK, "linestyle": ":", "linewidth": 1.3}


def plot_run(run: xr.Dataset, site: Site, *, title: str) -> Figure:
    """Draw what a site did: prices, power, temperatures, stores and work over time.

    Parameters
    ----------
    run
        Means on ``time`` (with ``duration``) and stocks on ``instant``. Drawn is what is there:
        ``electricity_price``, ``carbon_intensity``; ``facility_power``, ``grid_import_power``,
        ``grid_export_power``, ``hall_power``, ``service_racks``, ``work_power``,
        ``cooling_plant_draw``, ``renewable_used_power``; the limited temperatures and
        ``air_temperature``; ``battery_level``, ``tank_level``; ``work_backlog``, ``work_late``.
        Import, temperatures and levels named after ``plan_`` are drawn dashed.
    site
        The site, for its limits, windows and local time.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Panels under one another on one axis of local time, 1200 pixels wide.
    """
    panels = [panel for panel in _PANELS if any(name in run for name in panel.needs)]
    heights = [panel.height for panel in panels]
    figure = Figure(figsize=(WIDTH, 0.9 + sum(heights)), dpi=100, layout="constrained")
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, panel in zip(column[:, 0], panels, strict=True):
        panel.draw(axes, run, site)
        dress(axes, is_stacked=panel.is_stacked)
    dates(column[-1, 0], edges_of(run), site.time_zone)
    figure.align_ylabels()
    day = pd.Timestamp(run["time"].to_numpy()[0], tz="UTC").tz_convert(site.time_zone).date()
    figure.suptitle(f"{title}, from {day}", x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def plot_comparison(table: Mapping[str, Mapping[str, float]], *, beside: str) -> Figure:
    """Draw cost, carbon and peak of several policies as bars.

    Parameters
    ----------
    table
        Policy -> ``cost_eur``, ``carbon_kg``, ``peak_mw``, as a backtest reports them.
    beside
        Policy whose figures the differences refer to.

    Returns
    -------
    matplotlib.figure.Figure
        One group of bars a quantity, each labelled with its value and its difference.
    """
    cost, carbon = ("cost_eur", "cost, thousand EUR", 1e3), ("carbon_kg", "carbon, t", 1e3)
    shown = (cost, carbon, ("peak_mw", "peak of import, MW", 1.0))
    policies = list(table)[::-1]
    figure = Figure(figsize=(WIDTH, 1.0 + 0.35 * len(table)), dpi=100, layout="constrained")
    row = figure.subplots(1, len(shown), sharey=True)
    for axes, (key, label, scale) in zip(row, shown, strict=True):
        values = [table[policy][key] / scale for policy in policies]
        reference = table[beside][key] / scale
        colors = [GREY if policy == beside else BLUE for policy in policies]
        bars = axes.barh(policies, values, color=colors, height=0.6)
        words = [f"{value:,.0f}" + _difference(value, reference) for value in values]
        axes.bar_label(bars, labels=words, padding=4, fontsize=9)
        axes.set_xlabel(label)
        axes.axvline(0.0, color=BLACK, linewidth=0.8)
        axes.margins(x=0.35)  # room for the labels
        axes.set_xlim(left=min(0.0, 1.5 * min(values)))
        axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _difference(value: float, reference: float) -> str:
    is_told = reference and value != reference
    return f" ({100.0 * (value - reference) / abs(reference):+.1f} %)" if is_told else ""


def _prices(axes: Axes, run: xr.Dataset, _site: Site) -> None:
    """Draw the price, its negative hours filled, and the carbon intensity on its own scale."""
    if "electricity_price" in run:
        draw(axes, run["electricity_price"], color=BLUE, label="price")
        below = np.minimum(run["electricity_price"].to_numpy(), 0.0)
        if below.any():
            axes.stairs(below, edges_of(run), fill=True, color=ORANGE, label="price below 0")
        axes.axhline(0.0, color=BLACK, linewidth=0.8)
        axes.set_ylabel("price\n[EUR/MWh]")
    if "carbon_intensity" in run:
        _draw_beside(axes, run["carbon_intensity"], "carbon", "kg/MWh")


def _power(axes: Axes, run: xr.Dataset, site: Site) -> None:
    """Draw who uses the power, stacked, and what comes over the fence beside plan and limit."""
    base = np.zeros(run.sizes["time"])
    for label, values, color in _users(run, site):
        bottom, base = base, base + values
        axes.stairs(base, edges_of(run), baseline=bottom, fill=True, color=color, label=label)
    if "renewable_used_power" in run:
        own = run["renewable_used_power"].sum("renewable")
        draw(axes, own, color=ORANGE, label="sun and wind")
    drawn, planned = Style(color=BLACK, label="import"), Style(color=RED, label="import, planned")
    for prefix, style in (("", drawn), ("plan_", PLAN | planned)):
        if f"{prefix}grid_import_power" in run:
            net = run[f"{prefix}grid_import_power"]
            if f"{prefix}grid_export_power" in run:
                net = net - run[f"{prefix}grid_export_power"]
            draw(axes, net, **style)
    axes.axhline(site.grid.import_limit, label="connection", **LIMIT)
    axes.set_ylabel("power\n[MW]")


def _users(run: xr.Dataset, site: Site) -> list[tuple[str, FloatArray, str]]:
    """Return label, power and colour of all users, from the service up to losses. [MW]"""
    users: list[tuple[str, FloatArray, str]] = []

    def rest_of(power: FloatArray) -> FloatArray:
        return np.maximum(power - sum(values for _, values, _ in users), 0.0)

    if "service_racks" in run:
        hall = site.of(Accelerators)[0]
        busy = run["service_racks"].to_numpy() * (hall.rack_power - hall.rack_idle_power)
        users.append(("service", busy, SKY))
    if "work_power" in run:
        kinds = _by_kind(run["work_power"])
        users += [(*kind, color) for kind, color in zip(kinds.items(), KINDS * 3, strict=False)]
    if "hall_power" in run:
        rest = rest_of(run["hall_power"].sum("hall").to_numpy())
        users.append(("racks, idle draw" if users else "racks", rest, PALE))
    if "cooling_plant_draw" in run:
        users.append(("cooling plants", run["cooling_plant_draw"].sum("circuit").to_numpy(), BLUE))
    if users and "facility_power" in run:
        users.append(("fans, pumps, losses", rest_of(run["facility_power"].to_numpy()), GREY))
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
    """Draw how far every limited temperature stands from its limit, and the outdoor air."""
    alike: dict[tuple[str, str, float], list[str]] = {}
    for limit in limits(site):
        if limit.margin == "temperature" and limit.variable in run:
            alike.setdefault((limit.variable, limit.dim, limit.high), []).append(limit.owner)
    for ((variable, dim, high), owners), color in zip(alike.items(), CYCLE * 9, strict=False):
        word = variable.removesuffix("_temperature").removeprefix("facility_").replace("_", " ")
        label = f"{word}, {owners[0] if len(owners) == 1 else 'hottest'} (limit {high:g} °C)"
        hottest = run[variable].sel({dim: owners}).max(dim) - high
        draw(axes, hottest, color=color, label=label)
        if f"plan_{variable}" in run:
            planned = run[f"plan_{variable}"].sel({dim: owners}).max(dim) - high
            draw(axes, planned, **(PLAN | Style(color=color)))
    axes.axhline(0.0, label="limit", **LIMIT)
    axes.set_ylabel("distance\nfrom limit [K]")
    if "air_temperature" in run:
        _draw_beside(axes, run["air_temperature"], "outdoor air", "°C")


def _stores(axes: Axes, run: xr.Dataset, site: Site) -> None:
    """Draw the levels of all stores as shares of the full store, and the floor of their windows."""
    for store, color in zip(site.stores, CYCLE * 9, strict=False):
        kind = site.equipment[store.owner].kind
        drawn = Style(label=f"{store.owner} (full: {store.high:.3g} MWh)")
        for name, style in ((f"{kind}_level", drawn), (f"plan_{kind}_level", PLAN)):
            if name in run:
                level = run[name].sel({kind: store.owner})
                draw(axes, 100.0 * level / store.high, **(style | Style(color=color)))
        if store.low > 0.0:
            axes.axhline(100.0 * store.low / store.high, **(LIMIT | Style(color=color)))
    axes.set_ylim(-3.0, 103.0)
    axes.set_ylabel("level\n[%]")


def _work(axes: Axes, run: xr.Dataset, _site: Site) -> None:
    """Draw the work that waits, stacked by kind, and what of it is late."""
    if "work_backlog" in run:
        waiting = _by_kind(run["work_backlog"])
        axes.stackplot(run["instant"].to_numpy(), *waiting.values(), labels=waiting, colors=KINDS)
    if "work_late" in run:
        draw(axes, run["work_late"].sum("cohort"), color=BLACK, label="late")
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("work waiting\n[MWh]")


def _draw_beside(axes: Axes, array: xr.DataArray, word: str, unit: str) -> None:
    """Draw means thinly on a scale of their own at the right."""
    right = axes.twinx()
    draw(right, array, color=GREY, linewidth=0.9)
    axes.plot([], [], color=GREY, linewidth=0.9, label=f"{word} (right)")
    right.set_ylabel(f"[{unit}]", color=GREY, fontsize=9)
    right.tick_params(colors=GREY, labelsize=9)
    right.spines[["top", "left"]].set_visible(False)


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """A panel: its height [in], the variables of which one must be there, how it is drawn."""

    height: float
    needs: tuple[str, ...]
    draw: Callable[[Axes, xr.Dataset, Site], None]
    is_stacked: bool = False


_PANELS: Final = (
    _Panel(height=1.5, needs=("electricity_price", "carbon_intensity"), draw=_prices),
    _Panel(height=2.8, needs=("grid_import_power", "hall_power"), draw=_power, is_stacked=True),
    _Panel(height=1.7, needs=("facility_supply_temperature",), draw=_temperatures),
    _Panel(height=1.4, needs=("battery_level", "tank_level"), draw=_stores),
    _Panel(height=1.4, needs=("work_backlog", "work_late"), draw=_work, is_stacked=True),
)
