"""What panels of figures over time have in common: lines, dates, grids and legends.

Colours and sizes that all figures share.
"""

from typing import Final, TypedDict, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

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
