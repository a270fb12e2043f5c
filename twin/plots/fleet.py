"""The figure of a fleet: prices, what moved, and what each site did alone and with the others."""

from collections.abc import Mapping
from typing import Final

import xarray as xr
from matplotlib.figure import Figure

from twin.axes import edges_of
from twin.physics import FloatArray
from twin.plots.colours import BLACK, CYCLE, GREY, WIDTH
from twin.plots.panels import dates, draw, dress

_HEIGHTS: Final = (1.7, 1.5)  # in, of the panels of all and of each site's
_AROUND: Final = 1.1  # in, of title and dates


def plot_fleet(
    alone: Mapping[str, xr.Dataset],
    shared: Mapping[str, xr.Dataset],
    sent: Mapping[str, FloatArray],
    *,
    title: str,
) -> Figure:
    """Draw what sites of a fleet did.

    Parameters
    ----------
    alone, shared
        Site -> its run by itself, and with the others, over the same intervals: with
        ``work_power`` on ``time`` and ``kind``, and ``electricity_price``.
    sent
        Site -> work that left it less what came to it, ``(time,)``. [MW]
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Prices, what moved, and a panel for each site; 1200 pixels wide, times in UTC.
    """
    both, each = _HEIGHTS
    heights = (both, both, *(each for _ in alone))
    figure = Figure(figsize=(WIDTH, sum(heights) + _AROUND), dpi=100, layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    prices, moved, *of_sites = panels
    for number, (name, run) in enumerate(shared.items()):
        colour = CYCLE[number % len(CYCLE)]
        draw(prices, run["electricity_price"], color=colour, label=name)
        power = xr.DataArray(sent[name], coords={"time": run["time"]}, dims="time")
        draw(moved, power.assign_coords(duration=run["duration"]), color=colour, label=name)
        own = of_sites[number]
        draw(own, alone[name]["work_power"].sum("kind"), color=GREY, label=f"{name} alone")
        draw(own, run["work_power"].sum("kind"), color=colour, label=f"{name} shared")
        own.set_ylim(bottom=0.0)
        own.set_ylabel("movable work\n[MW]")
    prices.set_ylabel("price\n[EUR/MWh]")
    moved.axhline(0.0, color=BLACK, linewidth=0.8)
    moved.set_ylabel("work sent, less\ntaken in [MW]")
    for panel in panels:
        dress(panel, is_stacked=False)
    dates(panels[-1], edges_of(run), "UTC")
    figure.align_ylabels()
    day = str(run["time"].to_numpy()[0])[:10]
    figure.suptitle(f"{title}, from {day}", x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure
