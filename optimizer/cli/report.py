"""`gigatwin report`: what the European Union asks of a data centre, from what it did.

The limits of law that `gigatwin report` tells beside its figures, as advice.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
import xarray as xr
from rich.markup import escape

import sites
from optimizer.cli.options import JsonFile, output_option
from optimizer.cli.output import console, markdown_table, table, write_json
from optimizer.reporting.operating_data import interval_ends, join_files
from telemetry.files import write_atomic
from twin.errors import ProblemError, ValidationIssue
from twin.reporting.eu_report import report_items, year_length
from twin.reporting.indicators import ReportItem
from twin.reporting.national_limits import LimitAssessment, assess_limits
from twin.site import Site
from twin.units import format_minute, format_unit

app = typer.Typer(add_completion=False, help="Sum up a year for the regulator.")

LEGAL_NOTE: Final = (
    "after Delegated Regulation (EU) 2024/1364, by secondary sources: check the annex before filing"
)

FIGURE_COLUMNS: Final = ("figure", "", "value", "unit", "from")

INTEGER_UNITS: Final = {"kW", "kWh", "m3", "kg"}
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
    run, holes = join_files(files, site=loaded.name)
    told = report_items(loaded, run, carbon_intensity=run.get("carbon_intensity"))
    first, last = run["time"].to_numpy()[0], interval_ends(run)[-1]
    covered = float(run["duration"].sum())
    title = f"{loaded.name}, {format_minute(first)} to {format_minute(last)}"
    year = year_length(run, loaded.time_zone)
    verdicts, advice = assess_duties(loaded, run, opened)
    notes = [f"{covered:,.0f} h of a year's {year:,.0f}: {covered / year:.1%}", *holes, LEGAL_NOTE]
    notes += advice
    screen = console(json_file)
    shown = table(title, *FIGURE_COLUMNS, numbers=["value"])
    for one in told:
        shown.add_row(*(escape(cell) for cell in _cells(one)))
    screen.print(shown)
    if verdicts:
        limits = table("Limits of law: advice", *DUTY_COLUMNS)
        for cells in duty_rows(verdicts):
            limits.add_row(*(escape(cell) for cell in cells))
        screen.print(limits)
    for note in notes:
        screen.print(f"- {note}", markup=False)
    if markdown is not None:
        write_atomic(markdown, _page(title, told, verdicts, notes))
    result = {"site": loaded.name, "start": format_minute(first), "end": format_minute(last)}
    rows = {one.key: vars(one) for one in told}
    told_all = {"figures": rows, "duties": duties_as_json(verdicts)}
    write_json(result | {"hours": covered, "notes": notes} | told_all, json_file)


def _cells(one: ReportItem) -> tuple[str, ...]:
    form = "{:,.0f}" if one.unit in INTEGER_UNITS else "{:,.3f}"
    value = "" if one.value is None else form.format(one.value)
    return one.key, one.meaning, value, format_unit(one.unit), one.basis


def _page(
    title: str,
    told: Sequence[ReportItem],
    verdicts: Sequence[LimitAssessment],
    notes: Sequence[str],
) -> str:
    """Return the report as Markdown."""
    page = f"# {title}\n\n{markdown_table(FIGURE_COLUMNS, map(_cells, told), numbers=['value'])}\n"
    if verdicts:
        limits = markdown_table(DUTY_COLUMNS, duty_rows(verdicts), numbers=["value"])
        page += f"## Limits of law: advice\n\n{limits}\n"
    return page + "".join(f"- {note}\n" for note in notes)


DUTY_COLUMNS: Final = ("limit of", "figure", "value", "limit", "binds from", "kept")
"""Columns of the table."""

UNKNOWN_DUTY: Final = "unknown: contracts and guarantees of origin count too"


def assess_duties(
    site: Site, run: xr.Dataset, opened: str | None
) -> tuple[tuple[LimitAssessment, ...], list[str]]:
    """Return the duties of a site beside what it did, and what to know of them.

    Parameters
    ----------
    site
        The site.
    run
        What it did.
    opened
        First day of its operation, as ``2026-09-01``; without it no duty is judged.

    Raises
    ------
    ProblemError
        If that is no day, or one after the run.
    """
    known = sites.national_limits(site.time_zone)
    day = None if opened is None else _first_day(opened, run)
    if known is None:
        return (), [] if day is None else [f"no limits of law are known for {site.time_zone}"]
    if day is None:
        remedy = "add --opened DAY, the first day of the site's operation"
        return (), [f"limits of law are not looked at: {remedy}"]
    verdicts = assess_limits(site, run, known.duties.values(), opened=day)
    sources = sorted(
        {f"{one.national_limit.source}; {one.national_limit.status}" for one in verdicts}
    )
    about = "limits bind means of whole years, and PUE there is without what only lifts waste heat"
    return verdicts, [f"{about}: advice, check the law", known.note, *sources]


def duty_rows(verdicts: Sequence[LimitAssessment]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each duty, as :data:`DUTY_COLUMNS` heads them."""
    for one in verdicts:
        sign = "at most" if one.national_limit.at_most is not None else "at least"
        value = "unknown" if np.isnan(one.indicator_value) else f"{one.indicator_value:.3f}"
        day = f"{one.applies_from}" if one.applies else f"{one.applies_from}, not yet"
        limit = f"{sign} {one.national_limit.limit:g}"
        yield (
            one.national_limit.paragraph,
            one.national_limit.figure,
            value,
            limit,
            day,
            _compliance(one),
        )


def duties_as_json(verdicts: Sequence[LimitAssessment]) -> list[dict[str, object]]:
    """Return the duties as plain values for JSON."""
    return [
        one.national_limit.model_dump(mode="json")
        | {
            "value": None if np.isnan(one.indicator_value) else one.indicator_value,
            "limit": one.national_limit.limit,
            "binds_from": str(one.applies_from),
            "is_binding": one.applies,
            "is_kept": one.is_met,
        }
        for one in verdicts
    ]


def _compliance(one: LimitAssessment) -> str:
    if one.is_met is None:
        return "unknown" if np.isnan(one.indicator_value) else UNKNOWN_DUTY
    return "yes" if one.is_met else "NO"


def _first_day(text: str, run: xr.Dataset) -> date:
    last = run["time"].to_numpy()[-1]
    remedy = "write the first day of operation as 2026-09-01, no later than the last day of the run"
    remedy += f", {last.astype('datetime64[D]')}"
    fault = ValidationIssue(location="--opened", found=text, remedy=remedy)
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ProblemError("command", [fault]) from error
    if np.datetime64(day) > last:
        raise ProblemError("command", [fault])
    return day
