"""The figure of a calibration: what each parameter has become, with its error."""

from typing import Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twin.plots.colours import BLACK, BLUE, GREY, ORANGE, PALE, WIDTH

COLOURS: Final = {"identified": BLUE, "weak": ORANGE, "unknown": GREY}
"""By grade."""

SIGMAS: Final = 1.96
"""Standard errors of the bars: 95 %. [1]"""

_ROW: Final = 0.3  # height of a parameter [in]


def plot_calibration(report: xr.Dataset, *, title: str) -> Figure:
    """Draw what each parameter has become beside what the site file says.

    Parameters
    ----------
    report
        What :meth:`twin.calibrate.Calibration.report` returns.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Parameters in per cent, sensors in kelvin, with 95 % bars, 1200 pixels wide.
    """
    is_offset = report["unit"].to_numpy() == "K"
    parts = [part for part in (~is_offset, is_offset) if part.any()]
    counts = [int(part.sum()) for part in parts]
    figure = Figure(
        figsize=(WIDTH, 1.6 + _ROW * sum(counts) + 0.5 * len(parts)), dpi=100, layout="constrained"
    )
    rows = figure.subplots(len(parts), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axes, part in zip(rows, parts, strict=True):
        _draw(axes, report.isel(parameter=part))
    rows[0].set_title(title, loc="left", fontsize=12, fontweight="bold")
    for grade, colour in COLOURS.items():
        rows[0].plot([], [], "o", color=colour, label=grade)
    rows[0].plot([], [], "|", color=BLACK, label="bound")
    rows[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    return figure


def _draw(axes: Axes, report: xr.Dataset) -> None:
    values, prior = report["value"].to_numpy(), report["prior"].to_numpy()
    is_offset = bool((report["unit"] == "K").all())
    scale = np.ones(len(prior)) if is_offset else np.abs(prior) / 100.0
    moved, error = (values - prior) / scale, SIGMAS * report["standard_error"].to_numpy() / scale
    places = np.arange(len(values))[::-1]
    for grade, colour in COLOURS.items():
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
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
