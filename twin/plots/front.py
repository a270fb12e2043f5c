"""The figure of what less carbon costs."""

from itertools import product
from typing import Final

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from twin.plots.colours import CYCLE, GREY, WIDTH

_HEIGHT: Final = 5.5  # in
_KG: Final = 1000.0  # kg in a tonne
_NEAR: Final = 6.0  # pt from a point to a label beside it
_ROW: Final = 14.0  # pt from a label to the next one off
_DOT: Final = 5.0  # pixels around a point that no label covers


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
    """Write beside each point what it is, where no other label and no point is.

    The curve falls and bends upwards, so there is room above it to the right and below it to the
    left. What finds none beside its point goes farther off, with a line to it.
    """
    whole = panel.get_window_extent()
    dots = panel.transData.transform(list(points.values()))
    taken = [Bbox([dot - _DOT, dot + _DOT]) for dot in dots]
    for text, point in points.items():
        for away, side in product(range(len(points)), (1.0, -1.0)):
            label = _write(panel, text, point=point, offset=side * (_NEAR + _ROW * away))
            box = label.get_window_extent()
            is_inside = all(whole.contains(*corner) for corner in box.corners())
            if is_inside and not box.count_overlaps(taken):
                break
            label.remove()
        else:  # more points than there is room for
            away, label = 0, _write(panel, text, point=point, offset=_NEAR)
        taken.append(label.get_window_extent())
        if away:
            line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4}
            panel.annotate("", point, label.xyann, textcoords="offset points", arrowprops=line)


def _write(panel: Axes, text: str, *, point: tuple[float, float], offset: float) -> Annotation:
    """Write a label so far above a point to its right, or below 0 to its left. [pt]"""
    is_above = offset > 0.0
    return panel.annotate(
        text,
        point,
        xytext=(_NEAR if is_above else -_NEAR, offset),
        textcoords="offset points",
        horizontalalignment="left" if is_above else "right",
        verticalalignment="bottom" if is_above else "top",
    )
