"""`gigatwin fit`: learn a planner's curves from measurements."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from optimizer.cli.options import JsonFile
from optimizer.cli.output import console, table, write_json
from twin.declarations import Throughput
from twin.errors import SeriesError, ValidationIssue
from twin.workload.throughput import fit_throughput

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Fit curves to measurements.")

MeasuredFile = Annotated[
    Path,
    typer.Argument(
        help="CSV of runs: power_limit, time_per_epoch, average_power, and what names a job."
    ),
]


@app.callback()
def fit() -> None:
    """Fit curves to measurements."""


@app.command()
def throughput(
    file: MeasuredFile,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Rows to take, as in network=resnet50; may be given again."),
    ] = None,
    board_share: Annotated[
        float, typer.Option(min=0.05, max=1.0, help="Share of a rack that the boards draw.")
    ] = 1.0,
    name: Annotated[str, typer.Option(help="Name of the entry.")] = "measured",
    json_file: JsonFile = None,
) -> None:
    """Fit throughput over power to runs under power limits, and write it as a standard entry."""
    found = fit_throughput(_chosen(_read(file), only or []), board_share=board_share)
    screen = console(json_file)
    numbers = ("limit", "work", "power", "energy per work", "jobs")
    shown = table("Medians beside the uncapped job", *numbers, numbers=numbers)
    for limit, row in found.medians.iterrows():
        values = [f"{row[key]:.3f}" for key in ("work", "power", "energy")]
        shown.add_row(f"{limit:g}", *values, f"{row['jobs']:.0f}")
    screen.print(shown)
    screen.print(
        f"mean distance of the jobs from the curve {found.error:.3f}, "
        f"root mean square {found.root_mean_square:.3f}"
    )
    screen.print(_entry(name, file, found.throughput), markup=False, soft_wrap=True)
    content = {
        "name": name,
        **found.throughput.model_dump(),
        "error": found.error,
        "root_mean_square": found.root_mean_square,
        "medians": found.medians.reset_index().to_dict(orient="records"),
    }
    write_json(content, json_file)


def _read(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        remedy = f"cannot be read as CSV: {error}"
        raise SeriesError(
            str(file), [ValidationIssue(location="file", found="", remedy=remedy)]
        ) from error


def _chosen(measured: pd.DataFrame, only: Sequence[str]) -> pd.DataFrame:
    for choice in only:
        column, _, value = choice.partition("=")
        if column not in measured:
            remedy = f"the file has {', '.join(map(str, measured.columns))}"
            raise SeriesError("--only", [ValidationIssue(location=column, found="", remedy=remedy)])
        values = measured[column].astype(str)
        if not (values == value).any():
            remedy = f"no row taken so far has it; there are {', '.join(sorted(set(values)))}"
            raise SeriesError(
                "--only", [ValidationIssue(location=column, found=value, remedy=remedy)]
            )
        measured = measured[values == value]
    return measured


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
