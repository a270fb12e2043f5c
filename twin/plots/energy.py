"""Figures of energy: flows from the grid to outdoor air, load duration, and a year by hours."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from twin.errors import IssueCode, StateError
from twin.physics import FloatArray
from twin.plots.style import (
    BLACK,
    COLOUR_CYCLE,
    COOLING_COLOUR,
    GREY,
    HEAT_COLOUR,
    IMPORT_COLOUR,
    LOSS_COLOUR,
    RENEWABLE_COLOUR,
    SERVICE_COLOUR,
    STORE_COLOURS,
    add_title,
    label_of,
    new_figure,
    style_panel,
    unit_of,
)
from twin.units import HOURS_PER_DAY

MIN_SHOWN_SHARE: Final = 1e-3
"""Smallest flow that is drawn, as a share of the largest node. [1]"""

_FLOWS_HEIGHT: Final = 6.0  # in
_NODE_WIDTH: Final = 0.03  # of the distance of two columns
_GAP: Final = 0.08  # between nodes of a column, as a share of the largest column
_ALPHA: Final = 0.45  # of the bands between nodes


class EnergyFlow(NamedTuple):
    """Energy that passes from one node of the diagram to another. [MWh]"""

    source: str
    target: str
    energy: float


NODE_COLOURS: Final = {
    "grid": IMPORT_COLOUR,
    "sun and wind": RENEWABLE_COLOUR,
    "from batteries": STORE_COLOURS["battery"],
    "gensets": GREY,
    "site": GREY,
    "racks": SERVICE_COLOUR,
    "cooling": COOLING_COLOUR,
    "fans, pumps, losses": LOSS_COLOUR,
    "export": IMPORT_COLOUR,
    "into batteries": STORE_COLOURS["battery"],
    "rooms": LOSS_COLOUR,
    "heat sold": HEAT_COLOUR,
    "outdoor air": HEAT_COLOUR,
}
"""Node -> colour; circuits, which are not named here, have that of cooling."""


def energy_flows(run: xr.Dataset) -> list[EnergyFlow]:
    """Return the energy flows of a run, from its sources to outdoor air. [MWh]

    Electricity: sources = racks + cooling plants + the rest. Heat: each circuit takes what its
    plant delivers, from the racks first, and the plant's draw; heat sold leaves warm circuits;
    heat of no circuit leaves through the rooms.

    - ``run``: Result of :func:`twin.simulate`, with ``hall_power`` on ``time`` and ``hall``.

    Raises StateError if a needed variable is missing.
    """
    needed = ("grid_import_power", "facility_power", "hall_power", "cooling_plant_draw")
    for name in (*needed, "cooling_plant_output"):
        if name not in run:
            raise StateError.single(
                "energy flows of a run",
                IssueCode.MISSING,
                name,
                found="no such variable in the run",
                expected="the result of twin.simulate merged with its schedule",
                remedy="merge the schedule into the result: run.merge(schedule)",
            )

    def total(name: str) -> float:
        if name not in run:
            return 0.0
        return float((run[name] * run["duration"]).sum())

    racks, facility = total("hall_power"), total("facility_power")
    cooling = total("cooling_plant_draw")
    rest = facility - racks - cooling
    found = [
        EnergyFlow("grid", "site", total("grid_import_power")),
        EnergyFlow("sun and wind", "site", total("renewable_used_power")),
        EnergyFlow("from batteries", "site", total("battery_discharge")),
        EnergyFlow("gensets", "site", total("genset_output")),
        EnergyFlow("site", "racks", racks),
        EnergyFlow("site", "cooling", cooling),
        EnergyFlow("site", "fans, pumps, losses", rest),
        EnergyFlow("site", "into batteries", total("battery_charge")),
        EnergyFlow("site", "export", total("grid_export_power")),
    ]
    return found + _heat_flows(run, racks=racks, rest=rest, sold=total("heat_reuse_power"))


def _heat_flows(run: xr.Dataset, *, racks: float, rest: float, sold: float) -> list[EnergyFlow]:
    """Return the flows of heat from consumers through circuits to outdoor air. [MWh]"""
    by_circuit = {
        str(circuit): [
            float((run[name].sel(circuit=circuit) * run["duration"]).sum())
            for name in ("cooling_plant_output", "cooling_plant_draw")
        ]
        for circuit in run["circuit"].to_numpy()
    }
    taken = sum(output for output, _ in by_circuit.values())
    from_racks = min(racks, taken)
    share = from_racks / taken if taken else 0.0
    found: list[EnergyFlow] = []
    for circuit, (output, drawn) in by_circuit.items():
        found.append(EnergyFlow("racks", circuit, share * output))
        found.append(EnergyFlow("fans, pumps, losses", circuit, (1.0 - share) * output))
        found.append(EnergyFlow("cooling", circuit, drawn))
    found.append(EnergyFlow("racks", "rooms", racks - from_racks))
    found.append(EnergyFlow("fans, pumps, losses", "rooms", rest - (taken - from_racks)))
    largest = max(by_circuit, key=lambda circuit: by_circuit[circuit][0], default="rooms")
    for circuit, values in by_circuit.items():
        reused = min(sold, sum(values)) if circuit == largest else 0.0
        found.append(EnergyFlow(circuit, "heat sold", reused))
        found.append(EnergyFlow(circuit, "outdoor air", sum(values) - reused))
    rooms = racks + rest - taken
    found.append(EnergyFlow("rooms", "outdoor air", rooms))
    return found


def plot_energy_flows(run: xr.Dataset, *, title: str) -> Figure:
    """Draw the energy of a run as a Sankey diagram: grid, site, consumers, circuits, outdoor air.

    Parameters
    ----------
    run
        Result of :func:`twin.simulate`, with ``hall_power``; see :func:`energy_flows`.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Bands as wide as the energy that they carry, in MWh, 1200 pixels wide.

    Raises
    ------
    StateError
        If a needed variable is missing.
    """
    flows = energy_flows(run)
    least = MIN_SHOWN_SHARE * sum(flow.energy for flow in flows if flow.target == "site")
    shown = [flow for flow in flows if flow.energy > max(least, 0.0)]
    figure = new_figure(_FLOWS_HEIGHT)
    axes = figure.subplots()
    _draw_flows(axes, shown, _columns(shown))
    axes.set_axis_off()
    add_title(figure, title)
    return figure


def _columns(flows: Sequence[EnergyFlow]) -> list[list[str]]:
    """Return the nodes of each column, in the order in which flows name them."""
    names = list(dict.fromkeys(name for flow in flows for name in (flow.source, flow.target)))
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for flow in flows:
            depth[flow.target] = max(depth[flow.target], depth[flow.source] + 1)
    return [[name for name in names if depth[name] == i] for i in range(max(depth.values()) + 1)]


def _draw_flows(axes: Axes, flows: Sequence[EnergyFlow], columns: list[list[str]]) -> None:
    """Draw nodes as bars and flows as bands; the first node of a column is at the top."""
    size = {name: _throughput(flows, name) for column in columns for name in column}
    tallest = max(sum(size[name] for name in column) for column in columns)
    gap = _GAP * tallest
    place: dict[str, tuple[float, float]] = {}
    for x, column in enumerate(columns):
        top = 0.5 * (sum(size[name] for name in column) + gap * (len(column) - 1))
        for name in column:
            place[name] = (float(x), top)
            color = NODE_COLOURS.get(name, COOLING_COLOUR)
            bar = Rectangle((x, top - size[name]), _NODE_WIDTH, size[name], color=color)
            axes.add_patch(bar)
            axes.annotate(
                f"{name.replace('_', ' ')}\n{size[name]:,.3g} MWh",
                (x + _NODE_WIDTH if x else x, top - 0.5 * size[name]),
                xytext=(5.0 if x else -5.0, 0.0),
                textcoords="offset points",
                ha="left" if x else "right",
                va="center",
                fontsize=9,
            )
            top -= size[name] + gap
    out, into = ({name: top for name, (_, top) in place.items()} for _ in range(2))
    for flow in sorted(flows, key=lambda flow: -place[flow.target][1]):
        starts = out[flow.source], into[flow.target]
        out[flow.source] -= flow.energy
        into[flow.target] -= flow.energy
        ends = place[flow.source][0] + _NODE_WIDTH, place[flow.target][0]
        color = NODE_COLOURS.get(flow.source, COOLING_COLOUR)
        axes.add_patch(_band(ends, starts, width=flow.energy, color=color))
    axes.set_xlim(-0.45, len(columns) - 1 + 0.7)
    axes.set_ylim(-0.62 * (tallest + 3.0 * gap), 0.62 * (tallest + 3.0 * gap))


def _throughput(flows: Sequence[EnergyFlow], name: str) -> float:
    """Return the energy that enters or leaves a node, whichever is larger. [MWh]"""
    leaves = sum(flow.energy for flow in flows if flow.source == name)
    return max(leaves, sum(flow.energy for flow in flows if flow.target == name))


def _band(
    ends: tuple[float, float], tops: tuple[float, float], *, width: float, color: str
) -> PathPatch:
    """Return a curved band of constant width between two columns."""
    (left, right), (a, b) = ends, tops
    middle = 0.5 * (left + right)
    points = [
        (left, a),
        (middle, a),
        (middle, b),
        (right, b),
        (right, b - width),
        (middle, b - width),
        (middle, a - width),
        (left, a - width),
        (left, a),
    ]
    curve = [Path.CURVE4] * 3
    codes = [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY]
    return PathPatch(Path(points, codes), facecolor=color, alpha=_ALPHA, edgecolor="none")


_DURATION_HEIGHT: Final = 4.5  # in


def plot_duration_curve(
    runs: Mapping[str, xr.DataArray], *, limit: float | None = None, title: str
) -> Figure:
    """Draw the load duration curves of runs: the power exceeded for a share of the time.

    Parameters
    ----------
    runs
        Label -> power on ``time`` with the coordinate ``duration`` [h]. [MW]
    limit
        Limit of the power, drawn dotted; None if there is none. [MW]
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        One curve a label over the share of time in per cent.
    """
    figure = new_figure(_DURATION_HEIGHT)
    axes = figure.subplots()
    for (label, power), color in zip(runs.items(), COLOUR_CYCLE * len(runs), strict=False):
        order = np.argsort(-power.to_numpy())
        hours = power["duration"].to_numpy()[order]
        share = 100.0 * np.concatenate([[0.0], np.cumsum(hours)]) / hours.sum()
        axes.stairs(
            power.to_numpy()[order], share, baseline=None, color=color, label=label, linewidth=1.5
        )
        name = label_of(power)
        axes.set_ylabel(f"{name}\n[{unit_of(power) or 'MW'}]")
    if limit is not None:
        axes.axhline(limit, color=BLACK, linestyle=":", linewidth=1.3, label="limit")
    axes.set_xlim(0.0, 100.0)
    axes.set_ylim(bottom=min(0.0, *(float(power.min()) for power in runs.values())))
    axes.set_xlabel("share of the time with at least this power [%]")
    style_panel(axes)
    add_title(figure, title)
    return figure


_HEAT_MAP_HEIGHT: Final = 4.0  # in


def plot_heat_map(series: xr.DataArray, *, time_zone: str, title: str) -> Figure:
    """Draw a series as a heat map: days from left to right, local hours from bottom to top.

    Hours without a value are white. Of the two hours that the clock repeats in autumn the mean is
    drawn.

    Parameters
    ----------
    series
        Values on ``time`` in UTC; the unit comes from the attribute ``units``.
    time_zone
        Time zone of the hours, such as ``Europe/Berlin``.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        A panel with a scale at the right.
    """
    local = pd.DatetimeIndex(series["time"].to_numpy()).tz_localize("UTC").tz_convert(time_zone)
    frame = pd.DataFrame({"day": local.date, "hour": local.hour, "value": series.to_numpy()})
    table = frame.pivot_table(index="hour", columns="day", values="value", aggfunc="mean")
    days = pd.date_range(local[0].date(), local[-1].date(), freq="D")
    table = table.reindex(index=range(HOURS_PER_DAY), columns=days.date)
    figure = new_figure(_HEAT_MAP_HEIGHT)
    axes = figure.subplots()
    edges = days.append(pd.DatetimeIndex([days[-1] + pd.Timedelta(days=1)])).to_numpy()
    image = axes.pcolormesh(
        edges, np.arange(HOURS_PER_DAY + 1), _masked(table.to_numpy(np.float64)), cmap="cividis"
    )
    bar = figure.colorbar(image, ax=axes, pad=0.01)
    name = label_of(series)
    bar.set_label(f"{name} [{unit_of(series)}]" if unit_of(series) else name, fontsize=9)
    axes.set_yticks(range(0, HOURS_PER_DAY + 1, 6))
    axes.set_ylabel(f"hour of the day\n({time_zone})")
    style_panel(axes, has_legend=False)
    axes.grid(visible=False)
    add_title(figure, title)
    return figure


def _masked(values: FloatArray) -> np.ma.MaskedArray:
    return np.ma.masked_invalid(values)
