"""`gigatwin report`: what the European Union asks of a data centre, from what it did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

import sites
from optimizer.cli.duties import LIMITS, judged_duties, rows_of, told_duties
from optimizer.cli.show import JsonFile, console, markdown_table, output_option, table, write_json
from optimizer.service.reported import ends, joined
from telemetry.files import write_atomic
from twin.reporting.eu_report import report_items, year_length
from twin.reporting.indicators import ReportItem
from twin.reporting.national_limits import LimitAssessment
from twin.units import format_minute, format_unit

app = typer.Typer(add_completion=False, help="Sum up a year for the regulator.")

NOTE: Final = (
    "after Delegated Regulation (EU) 2024/1364, by secondary sources: check the annex before filing"
)

COLUMNS: Final = ("figure", "", "value", "unit", "from")

WHOLE: Final = {"kW", "kWh", "m3", "kg"}
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
    opened: Annotated[
        str | None,
        typer.Option(help="First day of the site's operation, by which laws set their limits."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Tell energy, water, heat and renewables of a year, and PUE, WUE, ERF and REF."""
    loaded = sites.load_site(site)
    run, holes = joined(files, site=loaded.name)
    told = report_items(loaded, run, carbon_intensity=run.get("carbon_intensity"))
    first, last = run["time"].to_numpy()[0], ends(run)[-1]
    covered = float(run["duration"].sum())
    title = f"{loaded.name}, {format_minute(first)} to {format_minute(last)}"
    year = year_length(run, loaded.time_zone)
    verdicts, advice = judged_duties(loaded, run, opened)
    notes = [f"{covered:,.0f} h of a year's {year:,.0f}: {covered / year:.1%}", *holes, NOTE]
    notes += advice
    screen = console(json_file)
    shown = table(title, *COLUMNS, numbers=["value"])
    for one in told:
        shown.add_row(*(escape(cell) for cell in _cells(one)))
    screen.print(shown)
    if verdicts:
        limits = table("Limits of law: advice", *LIMITS)
        for cells in rows_of(verdicts):
            limits.add_row(*(escape(cell) for cell in cells))
        screen.print(limits)
    for note in notes:
        screen.print(f"- {note}", markup=False)
    if markdown is not None:
        write_atomic(markdown, _page(title, told, verdicts, notes))
    result = {"site": loaded.name, "start": format_minute(first), "end": format_minute(last)}
    rows = {one.key: vars(one) for one in told}
    told_all = {"figures": rows, "duties": told_duties(verdicts)}
    write_json(result | {"hours": covered, "notes": notes} | told_all, json_file)


def _cells(one: ReportItem) -> tuple[str, ...]:
    form = "{:,.0f}" if one.unit in WHOLE else "{:,.3f}"
    value = "" if one.value is None else form.format(one.value)
    return one.key, one.meaning, value, format_unit(one.unit), one.basis


def _page(
    title: str,
    told: Sequence[ReportItem],
    verdicts: Sequence[LimitAssessment],
    notes: Sequence[str],
) -> str:
    """Return the report as Markdown."""
    page = f"# {title}\n\n{markdown_table(COLUMNS, map(_cells, told), numbers=['value'])}\n"
    if verdicts:
        limits = markdown_table(LIMITS, rows_of(verdicts), numbers=["value"])
        page += f"## Limits of law: advice\n\n{limits}\n"
    return page + "".join(f"- {note}\n" for note in notes)
