"""`gigatwin validate`: compare the twin with published values, and write the page of results."""

import math
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import JsonFile, figure_option
from optimizer.cli.output import console, table, write_json
from sites.validation.report import (
    describe_passed,
    format_error,
    format_tolerance,
    skipped_cases,
    validation_page,
    validation_results,
)

app = typer.Typer(add_completion=False, help="Compare the twin with published values.")


@app.command()
def validate(
    markdown: Annotated[Path | None, typer.Option(help="Markdown file for the page.")] = None,
    picture: Annotated[Path | None, figure_option("PNG, SVG or PDF figure of all errors.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Compute all validation cases; exit 1 if one fails, but not if one is skipped."""
    screen = console(json_file)
    found, skipped = validation_results(), skipped_cases()
    shown = table("Cases", "no.", "case", "points", "greatest error", "tolerance", "")
    for outcome in found:
        case = outcome.case
        shown.add_row(
            str(case.number or ""),
            case.title,
            str(len(case.points)),
            format_error(outcome, outcome.max_error),
            format_tolerance(outcome),
            "pass" if outcome.passes else "FAIL",
        )
    for one in skipped:
        shown.add_row(str(one.number or ""), one.title, "", "", "", "skipped")
    screen.print(shown)
    failed = [outcome.case.title for outcome in found if not outcome.passes]
    screen.print(describe_passed(found, skipped))
    for one in skipped:
        screen.print(f"- skipped: {one.title}, {one.reason}", soft_wrap=True)
    if markdown is not None:
        markdown.write_text(validation_page(found, skipped), encoding="utf-8")
        screen.print(f"wrote {markdown}")
    if picture is not None:
        plots = import_module("twin.plots")  # matplotlib is slow to import
        error_shares = {o.case.title: o.errors / o.case.tolerance for o in found}
        plots.plot_validation_errors(error_shares, title="Errors of the twin").savefig(picture)
        screen.print(f"wrote {picture}")
    cases = [
        {
            "number": outcome.case.number,
            "title": outcome.case.title,
            "unit": outcome.case.unit,
            "source": outcome.case.source,
            "points": list(outcome.case.points),
            "expected": list(outcome.case.expected),
            "found": [_number(value) for value in outcome.computed.tolist()],
            "worst": _number(outcome.max_error),
            "tolerance": outcome.case.tolerance,
            "is_relative": outcome.case.is_relative,
            "passes": outcome.passes,
        }
        for outcome in found
    ]
    write_json(
        {"cases": cases, "failed": failed, "skipped": [one.as_json() for one in skipped]}, json_file
    )
    if failed:
        raise typer.Exit(1)


def _number(value: float) -> float | None:
    """Return a value that JSON can hold, or None."""
    return value if math.isfinite(value) else None
