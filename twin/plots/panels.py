"""What panels of figures over time have in common: lines, dates, grids and legends."""

from typing import Final, TypedDict, Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from twin.axes import edges_of
from twin.plots.colours import PALE

BESIDE: Final = (1.07, 1.04)  # where a panel's legend stands, in its widths and heights


class Style(TypedDict, total=False):
    """How a line looks and what it is called."""

    color: str
    linestyle: str | tuple[int, tuple[int, int]]
    linewidth: float
    label: str


def draw(axes: Axes, array: xr.DataArray, **style: Unpack[Style]) -> None:
    """Draw means as stairs and stocks as lines."""
    style = Style(linewidth=1.3) | style
    if "instant" in array.dims:
        axes.plot(array["instant"].to_numpy(), array.to_numpy(), **style)
    else:
        axes.stairs(array.to_numpy(), edges_of(array), baseline=None, **style)


def dates(axes: Axes, edges: np.ndarray, time_zone: str) -> None:
    """Give the lowest panel its local days and hours."""
    locator = AutoDateLocator(tz=time_zone)  # type: ignore[no-untyped-call]  # matplotlib's gap
    form = ConciseDateFormatter(locator, tz=time_zone, show_offset=False)  # type: ignore[no-untyped-call]  # the same
    form.formats[2], form.zero_formats[2:4] = "%a %d", ["%a %d %b"] * 2
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(form)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(f"{'local time, ' if time_zone != 'UTC' else ''}{time_zone}", fontsize=9)


def dress(axes: Axes, *, is_stacked: bool) -> None:
    """Give a panel its grid, and its legend outside at the right, in the order of a stack."""
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.yaxis.label.set_fontsize(9)
    axes.legend(
        loc="upper left", bbox_to_anchor=BESIDE, fontsize=8.5, frameon=False, reverse=is_stacked
    )
