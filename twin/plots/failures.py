"""The figure of a failure: temperatures on their way to their limits, and what is left to cool."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twin.plots.colours import BLACK, CYCLE, PALE, RED, WIDTH

_HEIGHT: Final = 8.0  # in

WORDS: Final = {
    "chip_temperature": "hottest chip of {}",
    "technology_supply_temperature": "coolant of {}",
    "facility_supply_temperature": "water of {}",
    "rack_inlet_temperature": "air of {}",
    "cooling_plant_output": "taken by {}",
    "tank_discharge": "given by {}",
}
"""What is drawn, as people call it."""

_PANELS: Final = (
    ("technology_supply_temperature", "facility_supply_temperature", "rack_inlet_temperature"),
    ("chip_temperature",),
    ("cooling_plant_output", "tank_discharge"),
)
_HEAT_WORDS: Final = ("taken by", "given by")

MOVED: Final = 0.05
"""What moves less is left out, unless nothing moves. [K; MW]"""


def plot_trip(path: xr.Dataset, ceilings: Mapping[tuple[str, str], float], *, title: str) -> Figure:
    """Draw the way of a site after a failure.

    Parameters
    ----------
    path
        As :func:`twin.failures.path.follow_trip` gives it.
    ceilings
        Name and owner -> temperature that must not be reached. [degC]
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Up to three panels, 1200 pixels wide: coolant, water and air; chips; heat.
    """
    groups = [row for row in (_rows(path, names, ceilings) for names in _PANELS) if row]
    moving = [[line for line in rows if np.ptp(line[1]) >= MOVED] for rows in groups]
    groups = [rows for rows in moving if rows] or groups
    figure = Figure(figsize=(WIDTH, _HEIGHT), dpi=100, layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    reached = float(path.attrs["time_to_limit"])
    for axes, rows in zip(panels, groups, strict=True):
        for place, (label, values, ceiling) in enumerate(rows):
            colour = CYCLE[place % len(CYCLE)]
            axes.plot(_minutes(path), values, color=colour, label=label, linewidth=1.4)
            if ceiling is not None:
                axes.axhline(ceiling, color=colour, linewidth=1.0, linestyle=":")
        is_heat = rows[0][0].startswith(_HEAT_WORDS)
        axes.set_ylabel("heat [MW]" if is_heat else "temperature [degC]\n(dotted: limit)")
        if is_heat:
            axes.set_ylim(bottom=0.0)
        if np.isfinite(reached):
            axes.axvline(reached, color=RED, linewidth=1.2)
        _finish(axes)
    if np.isfinite(reached):
        panels[0].annotate(
            f"{reached:.1f} min: {path.attrs['limit']}",
            (reached, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, 6),
            textcoords="offset points",
            color=RED,
        )
    panels[-1].set_xlabel("minutes after the failure")
    panels[0].set_title(title, loc="left", fontsize=12, fontweight="bold", color=BLACK)
    return figure


def _minutes(path: xr.Dataset) -> np.ndarray:
    instant = path["instant"].to_numpy()
    return np.asarray((instant - instant[0]) / np.timedelta64(1, "m"))


def _rows(
    path: xr.Dataset, names: Sequence[str], ceilings: Mapping[tuple[str, str], float]
) -> list[tuple[str, np.ndarray, float | None]]:
    """Return label, values and ceiling of each line; what lies on another is drawn once."""
    found: dict[bytes, tuple[str, np.ndarray, float | None]] = {}
    for name in names:
        if name not in path:
            continue
        dim = next(str(dim) for dim in path[name].dims if dim != "instant")
        for owner in path[dim].to_numpy().tolist():
            values = path[name].sel({dim: owner}).to_numpy()
            row = WORDS[name].format(owner), values, ceilings.get((name, owner))
            found.setdefault(values.tobytes(), row)
    return list(found.values())


def _finish(axes: Axes) -> None:
    axes.margins(x=0.0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
