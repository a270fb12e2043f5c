"""Figures of comparisons: policies, fleets, Pareto fronts, set points, calibrations, validation."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from matplotlib.transforms import Bbox

from twin.errors import IssueCode, StateError
from twin.physics import FloatArray
from twin.plots.style import (
    BLACK,
    BLUE,
    COLOUR_CYCLE,
    GREY,
    LIGHT_GREY,
    ORANGE,
    RED,
    SHOWN_UNITS,
    add_title,
    draw_series,
    format_date_axis,
    new_figure,
    style_panel,
)
from twin.reporting.setpoint_savings import (
    CHOSEN_FLOW_AND_TEMPERATURE,
    CONTROL_STRATEGIES,
    RATE_LIMITED,
    CoolingProfile,
)
from twin.time_axes import interval_edges

COMPARED_FIGURES: Final = (
    ("objective", "objective, thousand EUR", 1e3),
    ("carbon_equal_work_kg", "carbon, equal work, t", 1e3),
    ("energy_equal_work_mwh", "energy, equal work, MWh", 1.0),
    ("peak_mw", "peak of import, MW", 1.0),
)
"""Key of a summary, label with unit, and divisor of each panel of a comparison."""

_COMPARISON_ROW: Final = 0.35  # height of a policy [in]


def plot_comparison(
    table: Mapping[str, Mapping[str, float | None]],
    *,
    beside: str,
    title: str = "",
    half_widths: Mapping[str, float] | None = None,
) -> Figure:
    """Draw objective, carbon, energy and peak of policies as bars, with values and differences.

    A panel whose figure is unknown for a policy, or 0 for all, is left out.

    Parameters
    ----------
    table
        Policy -> figures of :data:`COMPARED_FIGURES`, as a back-test reports them.
    beside
        Policy that the differences refer to.
    title
        Title of the figure.
    half_widths
        Policy -> half of the width of the 95 % interval of its difference in objective from
        `beside`, drawn as an error bar. [EUR]
    """
    figures = [
        one
        for one in COMPARED_FIGURES
        if None not in (values := [row.get(one[0]) for row in table.values()]) and any(values)
    ]
    policies = list(table)[::-1]
    figure = new_figure(1.4 + _COMPARISON_ROW * len(table))
    row = figure.subplots(1, len(figures), sharey=True, squeeze=False)[0]
    for axes, (key, label, scale) in zip(row, figures, strict=True):
        sizes = [float(table[policy][key] or 0.0) / scale for policy in policies]
        reference = sizes[policies.index(beside)]
        colors = [GREY if policy == beside else BLUE for policy in policies]
        bars = axes.barh(policies, sizes, color=colors, height=0.6)
        widths = half_widths if half_widths and key == "objective" else {}
        if at := [place for place, policy in enumerate(policies) if policy in widths]:
            reach = [widths[policies[place]] / scale for place in at]
            centres = [sizes[place] for place in at]
            axes.errorbar(centres, at, xerr=reach, fmt="none", ecolor=BLACK, capsize=3)
            label = f"{label}\n(black: 95 % interval of the difference)"
        words = [f"{size:,.0f}" + _difference(size, reference) for size in sizes]
        axes.bar_label(bars, labels=words, padding=10 if at else 4, fontsize=8.5)
        axes.set_xlabel(label, fontsize=9)
        axes.tick_params(labelsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.axvline(0.0, color=BLACK, linewidth=0.8)
        axes.margins(x=0.55)  # space for the labels
        axes.set_xlim(left=min(0.0, 1.5 * min(sizes)))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0.0)
    if title:
        add_title(figure, title)
    return figure


def _difference(value: float, reference: float) -> str:
    is_different = reference and value != reference
    return f" ({100.0 * (value - reference) / abs(reference):+.1f} %)" if is_different else ""


_HEIGHTS: Final = (1.7, 1.5)  # in, of the panels of all and of each site's
_AROUND: Final = 1.1  # in, of title and dates


def plot_fleet(
    alone: Mapping[str, xr.Dataset],
    shared: Mapping[str, xr.Dataset],
    sent: Mapping[str, FloatArray],
    *,
    title: str,
) -> Figure:
    """Draw prices, moved work, and the work of each site of a fleet, in UTC.

    - ``alone``, ``shared``: Site -> its run on its own, and with the others, over the same
      intervals: with ``work_power`` on ``time`` and ``kind``, and ``electricity_price``.
    - ``sent``: Site -> work sent less work received, ``(time,)``. [MW]
    - ``title``: Title of the figure.
    """
    both, each = _HEIGHTS
    heights = (both, both, *(each for _ in alone))
    figure = new_figure(sum(heights) + _AROUND)
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    prices, moved, *of_sites = panels
    for number, (name, run) in enumerate(shared.items()):
        colour = COLOUR_CYCLE[number % len(COLOUR_CYCLE)]
        draw_series(prices, run["electricity_price"], color=colour, label=name)
        power = xr.DataArray(sent[name], coords={"time": run["time"]}, dims="time")
        draw_series(moved, power.assign_coords(duration=run["duration"]), color=colour, label=name)
        own = of_sites[number]
        draw_series(own, alone[name]["work_power"].sum("kind"), color=GREY, label=f"{name} alone")
        draw_series(own, run["work_power"].sum("kind"), color=colour, label=f"{name} shared")
        own.set_ylim(bottom=0.0)
        own.set_ylabel("movable work\n[MW]")
    prices.set_ylabel("price\n[EUR/MWh]")
    moved.axhline(0.0, color=BLACK, linewidth=0.8)
    moved.set_ylabel("work sent, less\ntaken in [MW]")
    for panel in panels:
        style_panel(panel, is_stacked=False)
    format_date_axis(panels[-1], interval_edges(run), "UTC")
    figure.align_ylabels()
    day = str(run["time"].to_numpy()[0])[:10]
    add_title(figure, f"{title}, from {day}")
    return figure


_FRONT_HEIGHT: Final = 5.5  # in
_KG_PER_TONNE: Final = 1000.0
_LABEL_DISTANCE_PT: Final = 6.0
_LABEL_ROW_PT: Final = 14.0
_POINT_RADIUS_PX: Final = 5.0


def plot_pareto_front(front: xr.Dataset, *, title: str) -> Figure:
    """Draw cost over carbon, each plan with its carbon price.

    - ``front``: ``cost`` [EUR] and ``carbon`` [kg] on ``carbon_price`` [EUR kg-1].
    - ``title``: Title of the figure.
    """
    figure = new_figure(_FRONT_HEIGHT)
    panel = figure.subplots()
    carbon = front["carbon"].to_numpy() / _KG_PER_TONNE
    cost = front["cost"].to_numpy()
    panel.plot(carbon, cost, marker="o", color=COLOUR_CYCLE[0], linewidth=1.5)
    panel.margins(x=0.15, y=0.15)
    panel.set_xlabel("carbon of the import, what is left to do included [t]")
    panel.set_ylabel("cost of all but carbon [EUR]")
    panel.yaxis.set_major_formatter("{x:,.0f}")
    panel.grid(visible=True, alpha=0.3)
    panel.set_title(title, loc="left", fontsize=12, fontweight="bold")
    prices = front["carbon_price"].to_numpy()
    points = zip(carbon.tolist(), cost.tolist(), strict=True)
    figure.draw_without_rendering()  # before it, no place has its pixels
    _label(panel, {f"{price:g} EUR/kg": at for price, at in zip(prices, points, strict=True)})
    return figure


def _label(panel: Axes, points: dict[str, tuple[float, float]]) -> None:
    """Label each point without overlaps.

    The curve falls and is convex, so there is space above it to the right and below it to the left.
    A label without space near its point moves away, with a line to it.
    """
    whole = panel.get_window_extent()
    dots = panel.transData.transform(list(points.values()))
    taken = [Bbox([dot - _POINT_RADIUS_PX, dot + _POINT_RADIUS_PX]) for dot in dots]
    for text, point in points.items():
        for away, side in product(range(len(points)), (1.0, -1.0)):
            label = _write(
                panel, text, point=point, offset=side * (_LABEL_DISTANCE_PT + _LABEL_ROW_PT * away)
            )
            box = label.get_window_extent()
            is_inside = all(whole.contains(*corner) for corner in box.corners())
            if is_inside and not box.count_overlaps(taken):
                break
            label.remove()
        else:  # no space for the label
            away, label = 0, _write(panel, text, point=point, offset=_LABEL_DISTANCE_PT)
        taken.append(label.get_window_extent())
        if away:
            line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4}
            panel.annotate("", point, label.xyann, textcoords="offset points", arrowprops=line)


def _write(panel: Axes, text: str, *, point: tuple[float, float], offset: float) -> Annotation:
    """Write a label above a point to its right, or at a negative offset below to its left. [pt]"""
    is_above = offset > 0.0
    return panel.annotate(
        text,
        point,
        xytext=(_LABEL_DISTANCE_PT if is_above else -_LABEL_DISTANCE_PT, offset),
        textcoords="offset points",
        horizontalalignment="left" if is_above else "right",
        verticalalignment="bottom" if is_above else "top",
    )


_SIZING_HEIGHT: Final = 4.5  # in


def plot_sizing_curve(
    sizes: Sequence[float],
    values: Sequence[float],
    *,
    low: Sequence[float],
    high: Sequence[float],
    unit: str,
    title: str,
) -> Figure:
    """Draw what each size of a machine saves beside the present one, with its interval.

    Parameters
    ----------
    sizes, values
        Sizes, and what each saves beside the present one. [unit; EUR a-1]
    low, high
        Ends of the 95 % interval of each value. [EUR a-1]
    unit
        Unit of the sizes, such as ``m3``.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Values as points with bars, 1200 pixels wide.

    Raises
    ------
    StateError
        If the four sequences differ in length, or are empty.
    """
    lengths = {len(sizes), len(values), len(low), len(high)}
    if len(lengths) > 1 or not sizes:
        raise StateError.single(
            "sizing curve",
            IssueCode.OUT_OF_RANGE,
            "sizes, values, low, high",
            found=", ".join(str(len(one)) for one in (sizes, values, low, high)),
            expected="four sequences of one length, with an element at least",
            remedy="give a value and both ends of its interval for each size",
        )
    figure = new_figure(_SIZING_HEIGHT)
    axes = figure.subplots()
    order = np.argsort(np.asarray(sizes, dtype=np.float64))
    x, y, bottom, top = (
        np.asarray(one, dtype=np.float64)[order] for one in (sizes, values, low, high)
    )
    axes.errorbar(
        x,
        y,
        yerr=[y - bottom, top - y],
        fmt="o-",
        color=BLUE,
        ecolor=BLACK,
        capsize=4,
        linewidth=1.2,
    )
    axes.axhline(0.0, color=BLACK, linewidth=0.8)
    axes.set_xticks(x)
    axes.set_xlabel(f"size [{SHOWN_UNITS.get(unit, unit)}]")
    axes.set_ylabel("saving beside the present size\n[EUR/a] (black: 95 % interval)")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    style_panel(axes, has_legend=False)
    add_title(figure, title)
    return figure


_SAVINGS_HEIGHT: Final = 9.0  # in
_BARS: Final = 0.8  # of the distance of two months


def plot_savings(profiles: Mapping[str, CoolingProfile], grid: xr.Dataset, *, title: str) -> Figure:
    """Draw the cooling energy of each month by control strategy, and the set points.

    - ``profiles``: See :func:`twin.reporting.setpoint_savings.compare_control_strategies`.
    - ``grid``: Their ``time`` and ``duration``.
    - ``title``: Title of the figure.
    """
    figure = new_figure(_SAVINGS_HEIGHT)
    bars, supply, flow = figure.subplots(3, 1, height_ratios=(2.0, 1.0, 1.0))
    width = _BARS / len(CONTROL_STRATEGIES)
    for i, strategy in enumerate(CONTROL_STRATEGIES):
        power = xr.DataArray(profiles[strategy].cooling_power, coords={"time": grid["time"]})
        energy = (power * grid["duration"]).resample(time="MS").sum()
        shift = (i - 0.5 * (len(CONTROL_STRATEGIES) - 1)) * width
        places = np.arange(energy.size) + shift
        bars.bar(places, energy.to_numpy(), width=width, color=COLOUR_CYCLE[i], label=strategy)
    bars.set_xticks(np.arange(energy.size), energy["time"].dt.strftime("%Y-%m").to_numpy())
    bars.set_ylabel("cooling energy [MWh]")
    bars.legend(
        ncols=len(CONTROL_STRATEGIES), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False
    )
    bars.set_title(title, loc="left", pad=28, fontsize=12, fontweight="bold")
    for strategy in (CONTROL_STRATEGIES[0], CHOSEN_FLOW_AND_TEMPERATURE, RATE_LIMITED):
        colour = COLOUR_CYCLE[CONTROL_STRATEGIES.index(strategy)]
        _daily(supply, profiles[strategy].supply_temperature, grid, label=strategy, colour=colour)
        _daily(flow, profiles[strategy].flow_share, grid, label=strategy, colour=colour)
    supply.set_ylabel("warm supply water\n[degC]")
    supply.sharex(flow)
    flow.set_ylabel("flow, share of rated\n[1]")
    flow.set_ylim(bottom=0.0)
    flow.legend(loc="lower right", fontsize=8.5, frameon=False, ncols=3, title="means of days")
    for axes in (bars, supply, flow):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=LIGHT_GREY, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


def _daily(axes: Axes, values: FloatArray, grid: xr.Dataset, *, label: str, colour: str) -> None:
    """Draw daily means."""
    days = xr.DataArray(values, coords={"time": grid["time"]}).resample(time="1D").mean()
    axes.plot(days["time"].to_numpy(), days.to_numpy(), color=colour, label=label, linewidth=1.1)


IDENTIFIABILITY_COLOURS: Final = {"identified": BLUE, "weak": ORANGE, "unknown": GREY}

ERROR_BAR_SIGMAS: Final = 1.96
"""Standard errors of the bars: 95 %. [1]"""

_CALIBRATION_ROW: Final = 0.3  # height of a parameter [in]


def plot_calibration(report: xr.Dataset, *, title: str) -> Figure:
    """Draw estimated parameters relative to the site file, with 95 % bars.

    Parameters in per cent, sensor offsets in kelvin.

    - ``report``: From :meth:`twin.calibration.calibrate.CalibrationResult.report`.
    - ``title``: Title of the figure.
    """
    is_offset = report["unit"].to_numpy() == "K"
    parts = [part for part in (~is_offset, is_offset) if part.any()]
    counts = [int(part.sum()) for part in parts]
    figure = new_figure(1.6 + _CALIBRATION_ROW * sum(counts) + 0.5 * len(parts))
    rows = figure.subplots(len(parts), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axes, part in zip(rows, parts, strict=True):
        _draw(axes, report.isel(parameter=part))
    rows[0].set_title(title, loc="left", fontsize=12, fontweight="bold")
    for grade, colour in IDENTIFIABILITY_COLOURS.items():
        rows[0].plot([], [], "o", color=colour, label=grade)
    rows[0].plot([], [], "|", color=BLACK, label="bound")
    rows[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    return figure


def _draw(axes: Axes, report: xr.Dataset) -> None:
    values, prior = report["value"].to_numpy(), report["prior"].to_numpy()
    is_offset = bool((report["unit"] == "K").all())
    scale = np.ones(len(prior)) if is_offset else np.abs(prior) / 100.0
    moved, error = (
        (values - prior) / scale,
        ERROR_BAR_SIGMAS * report["standard_error"].to_numpy() / scale,
    )
    places = np.arange(len(values))[::-1]
    for grade, colour in IDENTIFIABILITY_COLOURS.items():
        which = report["grade"].to_numpy() == grade
        if which.any():
            axes.errorbar(
                moved[which],
                places[which],
                xerr=error[which],
                fmt="o",
                color=colour,
                capsize=3,
                markersize=5,
            )
    reach = 1.15 * float(np.max(np.abs(moved) + error))
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-0.7, len(values) - 0.3)
    for name in ("low", "high"):
        bound = (report[name].to_numpy() - prior) / scale
        axes.plot(bound, places, "|", color=BLACK, markersize=9)
    axes.axvline(0.0, color=BLACK, linewidth=0.8)
    axes.set_yticks(places, [str(name) for name in report["parameter"].to_numpy()], fontsize=9)
    words = "sensor beside the truth, K" if is_offset else "beside the site file, %"
    axes.set_xlabel(words)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)


MIN_SHOWN_ERROR: Final = 1e-4
"""Share of the tolerance at which the scale ends; smaller errors are drawn there. [1]"""

_ERRORS_ROW: Final = 0.28  # height of a case [in]
_SPREAD: Final = 0.5  # of a row, over which its points are spread


def plot_validation_errors(error_shares: Mapping[str, FloatArray], *, title: str) -> Figure:
    """Draw errors as shares of their tolerance on a logarithmic scale, one row a case.

    Parameters
    ----------
    error_shares
        Title of a case -> errors of its points over its tolerance; above 1 a case fails. [1]
    title
        Title of the figure.
    """
    figure = new_figure(1.3 + _ERRORS_ROW * len(error_shares))
    axes = figure.subplots()
    for row, errors in enumerate(error_shares.values()):
        size = np.maximum(np.abs(np.asarray(errors, dtype=np.float64)), MIN_SHOWN_ERROR)
        places = row + _SPREAD * (np.linspace(-0.5, 0.5, len(size)) if len(size) > 1 else 0.0)
        colours = np.where(size <= 1.0, BLUE, RED)
        axes.scatter(size, np.broadcast_to(places, size.shape), s=14, c=colours, zorder=3)
    axes.axvline(1.0, color=BLACK, linewidth=1.2)
    axes.text(1.05, -0.9, "tolerance", fontsize=9, va="center")
    axes.set_xscale("log")
    axes.set_xlim(0.7 * MIN_SHOWN_ERROR, 4.0)
    axes.set_ylim(len(error_shares) - 0.4, -1.4)
    axes.set_yticks(range(len(error_shares)), list(error_shares), fontsize=9)
    axes.set_xlabel(f"error, share of the tolerance; at the left all below {MIN_SHOWN_ERROR:g}")
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure
