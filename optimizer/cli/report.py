"""`gigatwin report`: what the European Union asks of a data centre, from what it did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

import sites
from optimizer.cli.show import JsonFile, console, markdown_table, output_option, table, write_json
from optimizer.service.reported import ends, joined
from telemetry.durable import write_whole
from twin.axes import to_minute
from twin.reporting import Figure, figures, year_of
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
        typer.Argument(help="NetCDF that simulate --out or backtest --out wrote, or of meters."),
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
    first, last = run["time"].to_numpy()[0], ends(run)[-1]
    covered = float(run["duration"].sum())
    title = f"{loaded.name}, {to_minute(first)} to {to_minute(last)}"
    year = year_of(run, loaded.time_zone)
    notes = [f"{covered:,.0f} h of a year's {year:,.0f}: {covered / year:.1%}", *holes, NOTE]
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


def _cells(one: Figure) -> tuple[str, ...]:
    form = "{:,.0f}" if one.unit in WHOLE else "{:,.3f}"
    value = "" if one.value is None else form.format(one.value)
    return one.key, one.meaning, value, written(one.unit), one.basis


def _page(title: str, told: Sequence[Figure], notes: Sequence[str]) -> str:
    """Return the report as Markdown."""
    figures_told = markdown_table(COLUMNS, map(_cells, told), numbers=["value"])
    return f"# {title}\n\n{figures_told}\n" + "".join(f"- {note}\n" for note in notes)
