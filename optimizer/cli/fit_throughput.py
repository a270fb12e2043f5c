"""`gigatwin fit throughput`: fit throughput of racks over their power to measured runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from optimizer.cli.options import JsonFile
from optimizer.cli.output import console, table, write_json
from twin.errors import IssueCode, SeriesError
from twin.site_settings import Throughput
from twin.workload.throughput import fit_throughput

fit_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Fit curves to measurements."
)

MeasuredFile = Annotated[
    Path,
    typer.Argument(
        help="CSV of runs: power_limit, time_per_epoch, average_power, and columns that name a job."
    ),
]


@fit_app.callback()
def fit() -> None:
    """Fit curves to measurements."""


@fit_app.command("throughput")
def fit_throughput_to_runs(
    file: MeasuredFile,
    only: Annotated[list[str] | None, typer.Option(help="Rows, such as network=resnet50.")] = None,
    board_share: Annotated[
        float, typer.Option(min=0.05, max=1.0, help="Share of a rack's power that its boards draw.")
    ] = 1.0,
    name: Annotated[str, typer.Option(help="Name of the new entry.")] = "measured",
    json_file: JsonFile = None,
) -> None:
    """Fit throughput over power to runs under power limits; print it as a standard entry."""
    found = fit_throughput(_selected_rows(_read_runs(file), only or []), board_share=board_share)
    screen = console(json_file)
    numbers = ("limit", "work", "power", "energy per work", "jobs")
    shown = table("Medians beside the uncapped job", *numbers, numbers=numbers)
    for limit, row in found.medians.iterrows():
        values = [f"{row[key]:.3f}" for key in ("work", "power", "energy")]
        shown.add_row(f"{limit:g}", *values, f"{row['jobs']:.0f}")
    screen.print(shown)
    screen.print(
        f"mean distance of the jobs from the curve {found.mean_distance:.3f}, "
        f"root mean square {found.root_mean_square:.3f}"
    )
    screen.print(_entry(name, file, found.throughput), soft_wrap=True)
    content = {
        "name": name,
        **found.throughput.model_dump(),
        "error": found.mean_distance,
        "root_mean_square": found.root_mean_square,
        "medians": found.medians.reset_index().to_dict(orient="records"),
    }
    write_json(content, json_file)


def _read_runs(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        expected = f"CSV, but the file cannot be read as CSV: {error}"
        remedy = "give a CSV file of runs"
        raise SeriesError.single(
            str(file), IssueCode.FILE_ERROR, "file", expected=expected, remedy=remedy
        ) from error


def _selected_rows(measured: pd.DataFrame, only: Sequence[str]) -> pd.DataFrame:
    for choice in only:
        column, _, value = choice.partition("=")
        if column not in measured:
            expected = f"a column of the file: {', '.join(map(str, measured.columns))}"
            raise _selection_error(column, "", expected)
        values = measured[column].astype(str)
        if not (values == value).any():
            expected = f"a value of the selected rows: {', '.join(sorted(set(values)))}"
            raise _selection_error(column, value, expected)
        measured = measured[values == value]
    return measured


def _selection_error(column: str, value: str, expected: str) -> SeriesError:
    remedy = "choose one of them"
    return SeriesError.single(
        "--only", IssueCode.UNKNOWN_NAME, column, found=value, expected=expected, remedy=remedy
    )


def _entry(name: str, file: Path, curve: Throughput) -> str:
    """Return a curve as a table of `sites/standard/throughput.toml` or of a site file."""
    return "\n".join(
        [
            f"[{name}]",
            f'source = "Measured: {file.name}"',
            f"power_points = {list(curve.power_points)}",
            f"work_points = {list(curve.work_points)}",
        ]
    )
