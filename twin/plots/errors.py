"""The figure of errors: every point of every case beside what is allowed."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from twin.physics import FloatArray
from twin.plots.colours import BLACK, BLUE, PALE, RED, WIDTH

LEAST: Final = 1e-4
"""Share of the tolerance at which the scale ends; smaller errors are drawn there. [1]"""

_ROW: Final = 0.28  # height of a case [in]
_SPREAD: Final = 0.5  # of a row, over which its points are spread


def plot_errors(spent: Mapping[str, FloatArray], *, title: str) -> Figure:
    """Draw errors as shares of what is allowed, one row a case.

    Parameters
    ----------
    spent
        Title of a case -> errors of its points over its tolerance; above 1 a case fails. [1]
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Points on a logarithmic scale, 1200 pixels wide.
    """
    figure = Figure(figsize=(WIDTH, 1.3 + _ROW * len(spent)), dpi=100, layout="constrained")
    axes = figure.subplots()
    for row, errors in enumerate(spent.values()):
        size = np.maximum(np.abs(np.asarray(errors, dtype=np.float64)), LEAST)
        places = row + _SPREAD * (np.linspace(-0.5, 0.5, len(size)) if len(size) > 1 else 0.0)
        colours = np.where(size <= 1.0, BLUE, RED)
        axes.scatter(size, np.broadcast_to(places, size.shape), s=14, c=colours, zorder=3)
    axes.axvline(1.0, color=BLACK, linewidth=1.2)
    axes.text(1.05, -0.9, "tolerance", fontsize=9, va="center")
    axes.set_xscale("log")
    axes.set_xlim(0.7 * LEAST, 4.0)
    axes.set_ylim(len(spent) - 0.4, -1.4)
    axes.set_yticks(range(len(spent)), list(spent), fontsize=9)
    axes.set_xlabel(f"error, share of the tolerance; at the left all below {LEAST:g}")
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure
