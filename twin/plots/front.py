"""The figure of what less carbon costs."""

from typing import Final

import xarray as xr
from matplotlib.figure import Figure

from twin.plots.colours import CYCLE, WIDTH

_HEIGHT: Final = 5.5  # in
_KG: Final = 1000.0  # kg in a tonne


def plot_front(front: xr.Dataset, *, title: str) -> Figure:
    """Draw money against carbon, each plan with the price of carbon that leads to it.

    Parameters
    ----------
    front
        ``cost`` [EUR] and ``carbon`` [kg] on ``carbon_price`` [EUR kg-1].
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        One panel, 1200 pixels wide.
    """
    figure = Figure(figsize=(WIDTH, _HEIGHT), dpi=100, layout="constrained")
    panel = figure.subplots()
    carbon = front["carbon"].to_numpy() / _KG
    cost = front["cost"].to_numpy()
    panel.plot(carbon, cost, marker="o", color=CYCLE[0], linewidth=1.5)
    for i, price in enumerate(front["carbon_price"].to_numpy()):
        is_outer = i % 2 == 0  # neighbours may lie close together; the first lies rightmost
        panel.annotate(
            f"{price:g} EUR/kg",
            (carbon[i], cost[i]),
            xytext=(8, 8) if is_outer else (-8, -14),
            textcoords="offset points",
            horizontalalignment="left" if is_outer else "right",
        )
    panel.margins(x=0.15, y=0.15)
    panel.set_xlabel("carbon of the import, what is left to do included [t]")
    panel.set_ylabel("cost of all but carbon [EUR]")
    panel.yaxis.set_major_formatter("{x:,.0f}")
    panel.grid(visible=True, alpha=0.3)
    panel.set_title(title, loc="left", fontsize=12, fontweight="bold")
    return figure
