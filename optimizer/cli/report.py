"""`gigatwin report`: annual figures for the European Union, and legal limits as advice."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
import xarray as xr

import sites
from optimizer.cli.options import JsonFile, output_option
from optimizer.cli.output import console, markdown_table, option_error, table, write_json
from optimizer.reporting.operating_data import join_files
from telemetry.durable_files import write_atomic
from twin.errors import IssueCode
from twin.reporting.eu_report import report_items, year_length
from twin.reporting.indicators import ReportItem
from twin.reporting.national_limits import LimitAssessment, assess_limits
from twin.site import Site
from twin.time_axes import interval_ends
from twin.units import format_minute, format_unit

app = typer.Typer(add_completion=False, help="Write the annual report for the regulator.")

LEGAL_NOTE: Final = (
    "after Delegated Regulation (EU) 2024/1364, by secondary sources: check the annex before filing"
)

FIGURE_COLUMNS: Final = ("figure", "", "value", "unit", "from")

INTEGER_UNITS: Final = {"kW", "kWh", "m3", "kg"}
"""Units whose figures are shown as integers."""

NATIONAL_LIMIT_COLUMNS: Final = ("limit of", "figure", "value", "limit", "binds from", "kept")
"""Columns of the table of limits."""

UNKNOWN_LIMIT_TEXT: Final = "unknown: contracts and guarantees of origin count too"


@app.command()
def report(
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    files: Annotated[list[Path], typer.Argument(help="NetCDF files of runs or meters.")],
    markdown: Annotated[Path | None, output_option("--markdown", "Markdown file.")] = None,
    opened: Annotated[
        str | None,
        typer.Option(help="First day of the site's operation, on which legal limits depend."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Show energy, water, heat and renewables of a year, with PUE, WUE, ERF and REF."""
    loaded = sites.load_site(site)
    run, gap_notes = join_files(files, site=loaded.name)
    items = report_items(loaded, run, carbon_intensity=run.get("carbon_intensity"))
    first, last = run["time"].to_numpy()[0], interval_ends(run)[-1]
    covered = float(run["duration"].sum())
    title = f"{loaded.name}, {format_minute(first)} to {format_minute(last)}"
    year = year_length(run, loaded.time_zone)
    assessments, advice = assess_duties(loaded, run, opened)
    notes = [
        f"{covered:,.0f} h of a year's {year:,.0f}: {covered / year:.1%}",
        *gap_notes,
        LEGAL_NOTE,
    ]
    notes += advice
    screen = console(json_file)
    shown = table(title, *FIGURE_COLUMNS, numbers=["value"])
    for one in items:
        shown.add_row(*(cell for cell in _cells(one)))
    screen.print(shown)
    if assessments:
        limits = table("Legal limits: advice", *NATIONAL_LIMIT_COLUMNS)
        for cells in duty_rows(assessments):
            limits.add_row(*(cell for cell in cells))
        screen.print(limits)
    for note in notes:
        screen.print(f"- {note}")
    if markdown is not None:
        write_atomic(markdown, _page(title, items, assessments, notes))
    result = {"site": loaded.name, "start": format_minute(first), "end": format_minute(last)}
    rows = {one.key: vars(one) for one in items}
    details = {"figures": rows, "duties": duties_as_json(assessments)}
    write_json(result | {"hours": covered, "notes": notes} | details, json_file)


def _cells(one: ReportItem) -> tuple[str, ...]:
    form = "{:,.0f}" if one.unit in INTEGER_UNITS else "{:,.3f}"
    value = "" if one.value is None else form.format(one.value)
    return one.key, one.meaning, value, format_unit(one.unit), one.basis


def _page(
    title: str,
    items: Sequence[ReportItem],
    assessments: Sequence[LimitAssessment],
    notes: Sequence[str],
) -> str:
    """Return the report as Markdown."""
    page = f"# {title}\n\n{markdown_table(FIGURE_COLUMNS, map(_cells, items), numbers=['value'])}\n"
    if assessments:
        limits = markdown_table(NATIONAL_LIMIT_COLUMNS, duty_rows(assessments), numbers=["value"])
        page += f"## Legal limits: advice\n\n{limits}\n"
    return page + "".join(f"- {note}\n" for note in notes)


def assess_duties(
    site: Site, run: xr.Dataset, opened: str | None
) -> tuple[tuple[LimitAssessment, ...], list[str]]:
    """Return the legal limits of a site with their assessment, and notes.

    `opened` is the first day of operation, such as ``2026-09-01``; without it nothing is assessed.

    Raises ProblemError if that is no day, or one after the run.
    """
    known = sites.national_limits(site.time_zone)
    day = None if opened is None else _first_day(opened, run)
    if known is None:
        return (), [] if day is None else [f"no legal limits are known for {site.time_zone}"]
    if day is None:
        note = "add --opened DAY, the first day of the site's operation"
        return (), [f"legal limits are not assessed: {note}"]
    assessments = assess_limits(site, run, known.duties.values(), opened=day)
    sources = sorted(
        {f"{one.national_limit.source}; {one.national_limit.status}" for one in assessments}
    )
    about = "limits apply to annual means, and their PUE excludes power that only lifts waste heat"
    return assessments, [f"{about}: advice only, check the law", known.note, *sources]


def duty_rows(assessments: Sequence[LimitAssessment]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each legal limit, in the order of :data:`NATIONAL_LIMIT_COLUMNS`."""
    for one in assessments:
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


def duties_as_json(assessments: Sequence[LimitAssessment]) -> list[dict[str, object]]:
    """Return the legal limits for the JSON output."""
    return [
        one.national_limit.model_dump(mode="json")
        | {
            "value": None if np.isnan(one.indicator_value) else one.indicator_value,
            "limit": one.national_limit.limit,
            "binds_from": str(one.applies_from),
            "is_binding": one.applies,
            "is_kept": one.is_met,
        }
        for one in assessments
    ]


def _compliance(one: LimitAssessment) -> str:
    if one.is_met is None:
        return "unknown" if np.isnan(one.indicator_value) else UNKNOWN_LIMIT_TEXT
    return "yes" if one.is_met else "NO"


def _first_day(text: str, run: xr.Dataset) -> date:
    last = run["time"].to_numpy()[-1]
    expected = f"a day no later than the last day of the run, {last.astype('datetime64[D]')}"
    remedy = "write the first day of operation as 2026-09-01"
    invalid = option_error(
        "--opened", text, expected=expected, remedy=remedy, code=IssueCode.OUT_OF_RANGE
    )
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise invalid from error
    if np.datetime64(day) > last:
        raise invalid
    return day
