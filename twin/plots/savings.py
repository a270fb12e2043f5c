"""The figure of what better set points save: months side by side, and the days behind them."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twin.physics import FloatArray
from twin.plots.colours import CYCLE, PALE, WIDTH
from twin.savings import FREE, RAMPED, WAYS, Course

_HEIGHT: Final = 9.0  # in
_BARS: Final = 0.8  # of the distance of two months


def plot_savings(courses: Mapping[str, Course], grid: xr.Dataset, *, title: str) -> Figure:
    """Draw the cooling energy of each month by way, and the set points behind it.

    Parameters
    ----------
    courses
        Way -> course, as :func:`twin.savings.courses` gives them.
    grid
        Their ``time`` and ``duration``.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels, 1200 pixels wide.
    """
    figure = Figure(figsize=(WIDTH, _HEIGHT), dpi=100, layout="constrained")
    bars, supply, flow = figure.subplots(3, 1, height_ratios=(2.0, 1.0, 1.0))
    width = _BARS / len(WAYS)
    for i, way in enumerate(WAYS):
        power = xr.DataArray(courses[way].cooling_power, coords={"time": grid["time"]})
        energy = (power * grid["duration"]).resample(time="MS").sum()
        shift = (i - 0.5 * (len(WAYS) - 1)) * width
        places = np.arange(energy.size) + shift
        bars.bar(places, energy.to_numpy(), width=width, color=CYCLE[i], label=way)
    bars.set_xticks(np.arange(energy.size), energy["time"].dt.strftime("%Y-%m").to_numpy())
    bars.set_ylabel("cooling energy [MWh]")
    bars.legend(ncols=len(WAYS), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    bars.set_title(title, loc="left", pad=28, fontsize=12, fontweight="bold")
    for way in (WAYS[0], FREE, RAMPED):
        colour = CYCLE[WAYS.index(way)]
        _daily(supply, courses[way].supply_temperature, grid, label=way, colour=colour)
        _daily(flow, courses[way].flow, grid, label=way, colour=colour)
    supply.set_ylabel("warm supply water\n[degC]")
    supply.sharex(flow)
    flow.set_ylabel("flow, share of rated\n[1]")
    flow.set_ylim(bottom=0.0)
    flow.legend(loc="lower right", fontsize=8.5, frameon=False, ncols=3, title="means of days")
    for axes in (bars, supply, flow):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


def _daily(axes: Axes, values: FloatArray, grid: xr.Dataset, *, label: str, colour: str) -> None:
    """Draw the means of days."""
    days = xr.DataArray(values, coords={"time": grid["time"]}).resample(time="1D").mean()
    axes.plot(days["time"].to_numpy(), days.to_numpy(), color=colour, label=label, linewidth=1.1)
