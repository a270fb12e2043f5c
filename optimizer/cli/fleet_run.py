"""`gigatwin fleet --days N`: what sharing work is worth in closed loop, hour after hour."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from optimizer.cli.show import counted, table, whole
from optimizer.service.trials.archive import write_trial
from optimizer.service.trials.setting import Setting
from optimizer.service.trials.sharing import Shared, run_shared
from telemetry.durable import write_json
from twin.physics import FloatArray
from twin.plots import plot_fleet
from twin.routes import Route

DAY: Final = 96
"""Quarter-hours after which a file is told how far a run is. [1]"""

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
    routes: Mapping[str, Route],
    *,
    cluster: str | None,
    out: Path | None,
) -> Shared:
    """Run sites alone and with one another, show what it was worth, and return it.

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
    """
    found = _run(screen, settings, routes, cluster=cluster)
    days = round((settings[0].world.end - settings[0].world.start) / np.timedelta64(1, "D"))
    screen.print(_table(found, f"fleet in closed loop, {counted(days, 'day')}"))
    broken = [(name, row) for name, trial in found.shared.items() for row in trial.broken]
    for name, row in broken:
        words = f"{name}: {row['limit']}, {row['minutes']} min, first at {row['first']}"
        screen.print(words, style="red", markup=False)
    if not broken:
        screen.print("no limit of a plant was broken")
    for moment in found.undecided:
        screen.print(f"no common plan at {moment}: each site decided alone", style="red")
    moved, count = sum(parcel.energy for parcel in found.parcels), len(found.parcels)
    screen.print(
        f"{whole(moved)} MWh moved in {counted(count, 'parcel')} for {whole(found.move_cost)} EUR; "
        f"sharing {'saved' if found.saved >= 0.0 else 'cost'} {whole(abs(found.saved))} EUR"
    )
    if out is not None:
        _write(out, settings, found)
        screen.print(f"courses, pictures and reasons are in {out}", markup=False)
    return found


def _run(
    screen: Console,
    settings: Sequence[Setting],
    routes: Mapping[str, Route],
    *,
    cluster: str | None,
) -> Shared:
    """Run them under a progress bar for each site alone, and one for all."""
    bars: dict[tuple[str, str], TaskID] = {}
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} quarter-hours"),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,  # in a file they would show at the end only
    )

    def listen(policy: str, of: str, done: int, total: int) -> None:
        words = f"{of}, {policy}"
        if (policy, of) not in bars:
            bars[policy, of] = progress.add_task(words, total=total)
        progress.update(bars[policy, of], completed=done)
        if not screen.is_terminal and done % DAY == 0:
            screen.print(f"{words}: {done} of {total} quarter-hours", markup=False)

    with progress:
        return run_shared(settings, routes, cluster=cluster, listen=listen)


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
    """Write results, picture, and for each site the courses of both of its trials."""
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
    write_json(folder / RESULTS, found.as_json())


def _sent(found: Shared, name: str) -> FloatArray:
    """Return the work that left a site less what came to it, in the hour of each parcel. [MW]"""
    starts = found.shared[name].course["time"].to_numpy()
    power = np.zeros(len(starts))
    for parcel in found.parcels:
        way = (parcel.origin == name) - float(parcel.host == name)
        is_then = (starts >= parcel.leaves) & (starts < parcel.leaves + np.timedelta64(1, "h"))
        power[is_then] += way * parcel.energy
    return power
