"""Style of all figures: colours with one meaning each, units of labels, lines, legends and axes.

The colours are those of Okabe and Ito and of Tol, which colour-blind readers distinguish. Lines of
one family (temperatures of the cooling chain) differ in lightness. A dashed line is a plan, a
dotted one a limit.

References
----------
Okabe, M. and Ito, K. (2008). Color universal design. https://jfly.uni-koeln.de/color/
Tol, P. (2021). Colour schemes. SRON/EPS/TN/09-002.
"""

from typing import Final, TypedDict, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from twin.errors import UnitError
from twin.time_axes import interval_edges
from twin.variables import variable_definition

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT_GREY = "#7A7A7A", "#D9D9D9"

COLOUR_CYCLE: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK)
"""Colours of categories without a meaning of their own: sites, strategies, machines."""

IMPORT_COLOUR: Final = BLACK
PRICE_COLOUR: Final = "#882255"
CARBON_COLOUR: Final = "#999933"
AIR_COLOUR: Final = GREY
RENEWABLE_COLOUR: Final = ORANGE
SERVICE_COLOUR: Final = SKY
IDLE_COLOUR: Final = LIGHT_GREY
COOLING_COLOUR: Final = BLUE
LOSS_COLOUR: Final = "#A8A8A8"
HEAT_COLOUR: Final = "#CC6677"
BREACH_COLOUR: Final = RED
WORK_KIND_COLOURS: Final = (GREEN, YELLOW, PURPLE)
STORE_COLOURS: Final = {"battery": "#332288", "tank": "#44AA99"}
TEMPERATURE_COLOURS: Final = ("#0B3C5D", "#2E86C1", "#7FB3D5", "#148F77", "#76D7C4")
"""From dark to light, for the temperatures of the cooling chain."""

FIGURE_WIDTH_IN: Final = 12.0  # 1200 pixels at 100 per inch

LEGEND_ANCHOR: Final = (1.07, 1.04)  # position of a panel's legend, in its widths and heights


class LineStyle(TypedDict, total=False):
    """Style and label of a line."""

    color: str
    linestyle: str | tuple[int, tuple[int, int]]
    linewidth: float
    label: str


PLAN_STYLE: Final[LineStyle] = {"linestyle": (0, (3, 2)), "linewidth": 1.2}
LIMIT_STYLE: Final[LineStyle] = {"color": BLACK, "linestyle": ":", "linewidth": 1.3}

SHOWN_UNITS: Final = {
    "1": "",
    "degC": "°C",
    "EUR MWh-1": "EUR/MWh",
    "EUR kg-1": "EUR/kg",
    "kg MWh-1": "kg/MWh",
    "m3 h-1": "m³/h",
    "m3": "m³",
    "W m-2": "W/m²",
    "kg s-1": "kg/s",
    "m s-1": "m/s",
}
"""Canonical unit -> how a label shows it; other units appear as they are."""


def unit_of(array: xr.DataArray) -> str:
    """Return the unit of a variable as labels show it, from its attribute or the table of names."""
    unit = array.attrs.get("units")
    if unit is None:
        try:
            unit = variable_definition(str(array.name)).unit
        except UnitError:
            unit = "1"
    return SHOWN_UNITS.get(unit, unit)


def label_of(array: xr.DataArray) -> str:
    """Return the name of a variable in words."""
    return "value" if array.name is None else str(array.name).replace("_", " ")


def new_figure(height: float) -> Figure:
    """Return an empty figure of the common width and a height. [in]"""
    return Figure(figsize=(FIGURE_WIDTH_IN, height), dpi=100, layout="constrained")


def add_title(figure: Figure, title: str) -> None:
    """Write the title of a figure at its upper left."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")


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


def style_panel(axes: Axes, *, is_stacked: bool = False, has_legend: bool = True) -> None:
    """Add the grid and a legend at the right, in the order of a stack."""
    axes.grid(color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.yaxis.label.set_fontsize(9)
    axes.xaxis.label.set_fontsize(9)
    if has_legend:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=LEGEND_ANCHOR,
            fontsize=8.5,
            frameon=False,
            reverse=is_stacked,
        )
