"""`gigatwin report`: what the European Union asks of a data centre, from what it did."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import typer
import xarray as xr
from rich.markup import escape

import sites
from optimizer.cli.show import JsonFile, console, markdown_table, output_option, table, write_json
from optimizer.service.trials.results import SITE
from telemetry.durable import write_whole
from twin.axes import HOUR, edges_of, to_minute
from twin.errors import Fault, ProblemError
from twin.reporting import YEAR, Figure, figures
from twin.units import written

app = typer.Typer(add_completion=False, help="Sum up a year for the regulator.")

NOTE: Final = (
    "after Delegated Regulation (EU) 2024/1364, by secondary sources: check the annex before filing"
)

COLUMNS: Final = ("figure", "", "value", "unit", "from")

WHOLE: Final = {"kW", "kWh", "m3"}
"""Units in which nobody asks for less than one."""


@app.command()
def report(
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a file.")],
    files: Annotated[
        list[Path],
        typer.Argument(help="NetCDF that simulate --out or backtest --out wrote."),
    ],
    markdown: Annotated[
        Path | None, output_option("--markdown", "Write the report as a page here.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Tell energy, water, heat and renewables of a year, and PUE, WUE, ERF and REF."""
    loaded = sites.load(site)
    run, holes = joined(files, site=loaded.name)
    told = figures(loaded, run, carbon_intensity=run.get("carbon_intensity"))
    first, last = edges_of(run)[[0, -1]]
    covered = float(run["duration"].sum())
    title = f"{loaded.name}, {to_minute(first)} to {to_minute(last)}"
    notes = [f"{covered:,.0f} h of a year's {YEAR:,.0f}: {covered / YEAR:.1%}", *holes, NOTE]
    screen = console(json_file)
    shown = table(title, *COLUMNS, numbers=["value"])
    for one in told:
        shown.add_row(*(escape(cell) for cell in _cells(one)))
    screen.print(shown)
    for note in notes:
        screen.print(f"- {note}", markup=False)
    if markdown is not None:
        write_whole(markdown, _page(title, told, notes))
    result = {"site": loaded.name, "start": to_minute(first), "end": to_minute(last)}
    rows = {one.key: vars(one) for one in told}
    write_json(result | {"hours": covered, "notes": notes, "figures": rows}, json_file)


def joined(files: Sequence[Path], *, site: str) -> tuple[xr.Dataset, list[str]]:
    """Return several runs of a site as one, and in words what they leave open.

    Parameters
    ----------
    files
        NetCDF files, in any order.
    site
        The site whose runs they must be.

    Returns
    -------
    tuple
        What all of them tell on ``time``, in order; and in words what is missing, and which of
        them do not tell their site.

    Raises
    ------
    ProblemError
        If a file cannot be read, has no ``time`` with ``duration``, is a run of another site, or
        two tell the same time.
    """
    read = [(_read(path), path) for path in files]
    holes = _of_site(read, site)
    parts = sorted(read, key=lambda one: one[0]["time"][0])
    for (before, path), (after, other) in pairwise(parts):
        end, begin = edges_of(before)[-1], edges_of(after)[0]
        if begin < end:
            mend = f"begins before {path} ends, at {to_minute(end)}; give each time once"
            fault = Fault(place=str(other), value=to_minute(begin), mend=mend)
            raise ProblemError("report", [fault])
        if begin > end:
            hours = (begin - end) / HOUR
            holes.append(f"nothing is known from {to_minute(end)} for {hours:,.1f} h")
    words = [set(map(str, part.data_vars)) for part, _ in parts]
    known = set.intersection(*words)
    if lost := set.union(*words) - known:
        holes.append(f"left out, since not all files tell it: {', '.join(sorted(lost))}")
    told = [part[sorted(known)] for part, _ in parts]
    return xr.concat(told, "time", join="exact", combine_attrs="override"), holes


def _read(path: Path) -> xr.Dataset:
    """Return what a file tells on ``time``."""
    mend = "give NetCDF files that simulate --out or backtest --out wrote"
    try:
        with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as opened:
            found = opened.load()
    except (OSError, ValueError) as error:
        fault = Fault(place=str(path), value="cannot be read", mend=mend)
        raise ProblemError("report", [fault]) from error
    if "duration" not in found.coords or not found.sizes.get("time"):
        fault = Fault(place=str(path), value="has no time with duration", mend=mend)
        raise ProblemError("report", [fault])
    return found.drop_dims("instant", errors="ignore")


def _of_site(read: Sequence[tuple[xr.Dataset, Path]], site: str) -> list[str]:
    """Return which files do not tell their site, as meters do not; refuse those of another."""
    faults, notes = [], []
    for part, path in read:
        told = part.attrs.get(SITE, "")
        if not told:
            notes.append(f"{path} does not tell its site, and is taken as of {site}")
        elif told != site:
            mend = f"give runs of {site} only, or report on {told}"
            faults.append(Fault(place=str(path), value=f"a run of {told}", mend=mend))
    if faults:
        raise ProblemError("report", faults)
    return notes


def _cells(one: Figure) -> tuple[str, ...]:
    form = "{:,.0f}" if one.unit in WHOLE else "{:,.3f}"
    value = "" if one.value is None else form.format(one.value)
    return one.key, one.meaning, value, written(one.unit), one.basis


def _page(title: str, told: Sequence[Figure], notes: Sequence[str]) -> str:
    """Return the report as Markdown."""
    figures_told = markdown_table(COLUMNS, map(_cells, told), numbers=["value"])
    return f"# {title}\n\n{figures_told}\n" + "".join(f"- {note}\n" for note in notes)
