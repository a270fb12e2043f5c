"""`gigatwin fleet --days N`: what sharing work is worth in closed loop, hour after hour."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from optimizer.cli.bars import Bars
from optimizer.cli.show import counted, table, whole
from optimizer.policies import REPLAN
from optimizer.service.trials.archive import write_trial
from optimizer.service.trials.setting import Setting
from optimizer.service.trials.sharing import Shared, run_shared
from telemetry.files import write_json_atomic
from twin.declarations import FleetRoute
from twin.physics import FloatArray
from twin.plots import plot_fleet
from twin.time_axes import HOUR

RESULTS: Final = "fleet.json"
PICTURE: Final = "fleet.png"
"""What a folder holds of all sites; each site has a folder in it."""

COLUMNS: Final = (
    "alone [EUR]",
    "shared [EUR]",
    "sends [MWh]",
    "takes in [MWh]",
    "late alone [h]",
    "late shared [h]",
)


def run(
    screen: Console,
    settings: Sequence[Setting],
    routes: Mapping[str, FleetRoute],
    *,
    cluster: str | None,
    out: Path | None,
    said: Mapping[str, object],
) -> dict[str, object]:
    """Run sites alone and with one another, show what it was worth, and return it as plain values.

    Parameters
    ----------
    screen
        For people.
    settings
        Worlds and work of the sites.
    routes
        Which work may move from where to where.
    cluster
        Dask scheduler, if there is one.
    out
        Folder for results, a picture, and the courses of every site; nothing is written without.
    said
        What was said of the files, which stands beside what was found.
    """
    with Bars(screen) as bars:
        found = run_shared(
            settings,
            routes,
            cluster=cluster,
            listen=lambda policy, of, *steps: bars.move(f"{of}, {policy}", *steps),
        )
    days = round((settings[0].world.end - settings[0].world.start) / np.timedelta64(1, "D"))
    screen.print(_table(found, f"fleet in closed loop, {counted(days, 'day')}"))
    broken = [(name, row) for name, trial in found.shared.items() for row in trial.broken]
    for name, row in broken:
        words = f"{name}: {row['limit']}, {row['minutes']} min, first at {row['first']}"
        screen.print(words, style="red", markup=False)
    if not broken:
        screen.print("no limit of a plant was broken")
    for moment, because in found.undecided.items():
        words = f"no common plan at {moment}, each site decided alone: {because}"
        screen.print(words, style="red", markup=False)
    moved, count = sum(parcel.energy for parcel in found.parcels), len(found.parcels)
    screen.print(
        f"{whole(moved)} MWh moved in {counted(count, 'parcel')} for {whole(found.move_cost)} EUR; "
        f"sharing {'saved' if found.saved >= 0.0 else 'cost'} {whole(abs(found.saved))} EUR"
    )
    result = {**found.as_json(), **said}
    if out is not None:
        _write(out, settings, found)
        write_json_atomic(out / RESULTS, result)
        screen.print(f"courses, pictures and reasons are in {out}", markup=False)
    return result


def _table(found: Shared, title: str) -> Table:
    """Return what each site paid and moved."""
    shown = table(title, "site", *COLUMNS, numbers=COLUMNS)
    rows = []
    for name, shared in found.shared.items():
        alone = found.alone[name].summary
        rows.append(
            (
                alone.objective,
                shared.summary.objective,
                found.sent(name),
                found.taken(name),
                alone.lateness_h,
                shared.summary.lateness_h,
            )
        )
        shown.add_row(name, *map(whole, rows[-1]))
    shown.add_row("all", *(whole(sum(cells)) for cells in zip(*rows, strict=True)))
    return shown


def _write(folder: Path, settings: Sequence[Setting], found: Shared) -> None:
    """Write the picture, and for each site the courses of both of its trials."""
    for setting in settings:
        own = folder / setting.site.name
        own.mkdir(parents=True, exist_ok=True)
        for trials in (found.alone, found.shared):
            write_trial(own, setting.site, trials[setting.site.name])
    figure = plot_fleet(
        {name: trial.course for name, trial in found.alone.items()},
        {name: trial.course for name, trial in found.shared.items()},
        {name: _sent(found, name) for name in found.shared},
        title=f"{', '.join(found.shared)}: what moves",
    )
    figure.savefig(folder / PICTURE)


def _sent(found: Shared, name: str) -> FloatArray:
    """Return the work that left a site less what came to it, until sites settle anew. [MW]"""
    starts = found.shared[name].course["time"].to_numpy()
    power = np.zeros(len(starts))
    for parcel in found.parcels:
        way = (parcel.origin == name) - float(parcel.host == name)
        is_then = (starts >= parcel.leaves) & (starts < parcel.leaves + REPLAN)
        power[is_then] += way * parcel.energy / (REPLAN / HOUR)
    return power
