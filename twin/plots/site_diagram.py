"""Drawing of a site: its machines, from the grid at the left to outdoor air at the right."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from twin.plots.style import (
    BLACK,
    COOLING_COLOUR,
    GREY,
    HEAT_COLOUR,
    IMPORT_COLOUR,
    LOSS_COLOUR,
    RENEWABLE_COLOUR,
    SERVICE_COLOUR,
    STORE_COLOURS,
    add_title,
    new_figure,
)
from twin.site import Site

KIND_COLUMNS: Final = {
    "grid": 0,
    "photovoltaic": 0,
    "wind": 0,
    "switchgear": 1,
    "transformer": 1,
    "battery": 1,
    "genset": 1,
    "cable": 1,
    "ups": 2,
    "distribution": 3,
    "accelerators": 4,
    "cdu": 5,
    "hall_air": 5,
    "cooling_plant": 6,
    "tank": 6,
    "heat_reuse": 6,
}
"""Kind of equipment -> column of the drawing; other kinds are in the column of transformers."""

KIND_COLOURS: Final = {
    "grid": IMPORT_COLOUR,
    "photovoltaic": RENEWABLE_COLOUR,
    "wind": RENEWABLE_COLOUR,
    "accelerators": SERVICE_COLOUR,
    "cdu": COOLING_COLOUR,
    "hall_air": COOLING_COLOUR,
    "cooling_plant": COOLING_COLOUR,
    "heat_reuse": HEAT_COLOUR,
    **STORE_COLOURS,
}

_OUTDOORS: Final = "outdoor air"
_COLUMN_TITLES: Final = (
    "supply",
    "connection\nand stores",
    "protected\nsupply",
    "distribution",
    "halls",
    "heat transfer",
    "cooling",
    "environment",
)
_BOX: Final = (0.78, 0.62)  # width and height, of the distances of columns and rows
_ROW_IN: Final = 0.8  # distance of rows [in]
_AROUND_IN: Final = 1.6  # height of title and column titles [in]
_SIZES: Final = (
    ("import_limit", "{:,.3g} MW"),
    ("racks", "{:,d} racks"),
    ("volume", "{:,.4g} m³"),
    ("capacity", "{:,.3g} MWh"),
    ("rated_cooling", "{:,.3g} MW"),
    ("rated_heat", "{:,.3g} MW"),
    ("rating", "{:,.3g} MW"),
    ("power", "{:,.3g} MW"),
)
"""Parameter -> text with its unit; a box shows the first one that its machine has."""


def plot_site(site: Site, *, title: str = "") -> Figure:
    """Draw the machines of a site and what they pass on.

    Black lines carry electricity, the others heat in the opposite direction of cooling.

    Parameters
    ----------
    site
        The site.
    title
        Title of the figure; by default the site's own.

    Returns
    -------
    matplotlib.figure.Figure
        Machines in columns from the grid to outdoor air, with names and sizes, 1200 pixels wide.
    """
    columns: list[list[str]] = [[] for _ in _COLUMN_TITLES]
    for name, machine in site.equipment.items():
        columns[KIND_COLUMNS.get(machine.kind, 1)].append(name)
    columns[-1] = [_OUTDOORS]
    rows = max(len(column) for column in columns)
    place = {
        name: (float(x), 0.5 * (len(column) - 1) - y)
        for x, column in enumerate(columns)
        for y, name in enumerate(column)
    }
    figure = new_figure(_AROUND_IN + _ROW_IN * (rows + 1))
    axes = figure.subplots()
    _draw_lines(axes, _power_lines(site), place, color=BLACK)
    _draw_lines(axes, _heat_lines(site), place, color=HEAT_COLOUR)
    for name, point in place.items():
        _draw_box(axes, site, name, point)
    for x, text in enumerate(_COLUMN_TITLES):
        axes.text(x, 0.5 * rows + 0.15, text, ha="center", va="bottom", fontsize=9, color=GREY)
    axes.set_xlim(-0.55, len(columns) - 0.45)
    axes.set_ylim(-0.5 * rows - 0.4, 0.5 * rows + 0.7)
    axes.plot([], [], color=BLACK, label="electricity")
    axes.plot([], [], color=HEAT_COLOUR, label="heat")
    axes.legend(loc="lower center", ncols=2, frameon=False, fontsize=9, bbox_to_anchor=(0.5, -0.04))
    axes.set_axis_off()
    add_title(figure, title or site.title)
    return figure


def _producers(site: Site) -> dict[str, list[str]]:
    """Return the machines that deliver each carrier: conversions, imports and stores."""
    found: dict[str, list[str]] = {}
    for conversion in site.conversions:
        found.setdefault(conversion.output_carrier, []).append(conversion.owner)
    for exchange in site.exchanges:
        if exchange.import_limit > 0.0:
            found.setdefault(exchange.carrier, []).append(exchange.owner)
    return found


def _is_cooling(site: Site, carrier: str) -> bool:
    """Return whether a carrier takes heat: water of a circuit, coolant, or air of a hall."""
    cooling = {one for load in site.flexible_loads for one in load.heat_shares}
    served = {one.output_carrier for one in site.conversions if one.owner in _plants(site)}
    return carrier in cooling | served


def _plants(site: Site) -> set[str]:
    return {name for name, one in site.equipment.items() if one.kind == "cooling_plant"}


def _power_lines(site: Site) -> list[tuple[str, str]]:
    """Return the pairs of machines between which electricity flows."""
    producers = _producers(site)
    users = [(one.owner, one.primary_input) for one in site.conversions]
    users += [(load.owner, load.carrier) for load in site.flexible_loads]
    users += [(store.owner, store.carrier) for store in site.electricity_stores]
    pairs = [
        (source, owner)
        for owner, carrier in users
        if not _is_cooling(site, carrier)
        for source in producers.get(carrier, [])[:1]
    ]
    imports = [one for one in site.exchanges if one.import_limit > 0.0]
    pairs += [
        (one.owner, hub)
        for one in imports
        for hub in producers.get(one.carrier, [])[:1]
        if hub != one.owner
    ]
    return list(dict.fromkeys(pairs))


def _heat_lines(site: Site) -> list[tuple[str, str]]:
    """Return the pairs of machines between which heat flows, and each plant with outdoor air."""
    producers = _producers(site)
    users = [
        (conversion.owner, carrier)
        for conversion in site.conversions
        for carrier in conversion.input_carriers
    ] + [(load.owner, carrier) for load in site.flexible_loads for carrier in load.heat_shares]
    pairs = [
        (owner, sink)
        for owner, carrier in users
        if _is_cooling(site, carrier)
        for sink in producers.get(carrier, [])
    ]
    pairs += [
        (store.owner, plant)
        for store in site.stores
        if _is_cooling(site, store.carrier)
        for plant in producers.get(store.carrier, [])
    ]
    return list(dict.fromkeys([*pairs, *((plant, _OUTDOORS) for plant in sorted(_plants(site)))]))


def _draw_lines(
    axes: Axes,
    pairs: Sequence[tuple[str, str]],
    place: dict[str, tuple[float, float]],
    *,
    color: str,
) -> None:
    """Draw a line between the boxes of each pair, fainter across several columns."""
    half = 0.5 * _BOX[0]
    for start, end in pairs:
        (x, y), (to_x, to_y) = place[start], place[end]
        is_far = abs(to_x - x) > 1.0
        if x == to_x:
            points = [(x, y), (to_x, to_y)]
        else:
            side = half if to_x > x else -half
            points = [
                (x + side, y),
                (x + side + 0.04, y),
                (to_x - side - 0.04, to_y),
                (to_x - side, to_y),
            ]
        axes.plot(
            [point[0] for point in points],
            [point[1] for point in points],
            color=color,
            linewidth=0.8 if is_far else 1.4,
            alpha=0.4 if is_far else 0.9,
            zorder=1,
        )


def _draw_box(axes: Axes, site: Site, name: str, point: tuple[float, float]) -> None:
    """Draw a machine: its name, and its size."""
    machine = site.equipment.get(name)
    color = KIND_COLOURS.get(machine.kind, LOSS_COLOUR) if machine else HEAT_COLOUR
    width, height = _BOX
    x, y = point
    axes.add_patch(
        FancyBboxPatch(
            (x - 0.5 * width, y - 0.5 * height),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor="white",
            edgecolor=color,
            linewidth=2.0,
            zorder=2,
        )
    )
    size = _size(machine)
    axes.text(x, y, f"{name}\n{size}" if size else name, ha="center", va="center", fontsize=8.5)


def _size(machine: object) -> str:
    """Return the main size of a machine with its unit, or nothing."""
    for parameter, text in _SIZES:
        value = getattr(machine, parameter, None)
        if isinstance(value, int | float):
            count = getattr(machine, "count", 1)
            shown = text.format(value)
            return f"{count} x {shown}" if isinstance(count, int) and count > 1 else shown
    return ""
