"""`gigatwin front`: what less carbon costs a site, and what its limits are worth."""

from pathlib import Path
from typing import Annotated

import typer
import xarray as xr
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

import sites
from optimizer.backtesting.case import BacktestCase
from optimizer.cli.backtest import LoadScaleOption
from optimizer.cli.conditions import ZoneOption
from optimizer.cli.options import JsonFile, figure_option
from optimizer.cli.output import (
    console,
    option_error,
    print_implausible_values,
    print_series_notes,
    print_synthetic_series,
    table,
    write_json,
)
from optimizer.diagnostics.sensitivity import LimitSensitivity, limit_values
from optimizer.inputs.series_files import (
    MIN_COVERED_DAYS,
    SeriesFiles,
    read_run_inputs,
)
from optimizer.planner.pareto import CARBON_PRICES_EUR_PER_KG, pareto_front
from optimizer.planner.planner import solve_problem
from optimizer.planner.schedule import build_schedule
from twin.errors import IssueCode
from twin.plots import plot_pareto_front

app = typer.Typer(add_completion=False, help="Trade costs for carbon, and value the limits.")

FRONT_COLUMNS = ("carbon price [EUR/kg]", "cost [EUR]", "carbon [t]", "import [MWh]", "peak [MW]")


@app.command()
def front(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    prices: Annotated[Path | None, typer.Option(help="Price file; default: synthetic.")] = None,
    weather: Annotated[Path | None, typer.Option(help="Weather file; default: synthetic.")] = None,
    jobs: Annotated[Path | None, typer.Option(help="Job file; default: synthetic.")] = None,
    carbon: Annotated[Path | None, typer.Option(help="Carbon file; default: prices.")] = None,
    zone: ZoneOption = None,
    start: Annotated[str, typer.Option(help="First instant of the plans; a date is 00:00 UTC.")] = (
        "2026-06-16"
    ),
    load_scale: LoadScaleOption = 0.6,
    carbon_prices: Annotated[
        str, typer.Option(help="Carbon prices, separated by commas [EUR/kg].")
    ] = ",".join(f"{price:g}" for price in CARBON_PRICES_EUR_PER_KG),
    out: Annotated[Path | None, figure_option("PNG, SVG or PDF figure of the front.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Plan the next week at several carbon prices, and value each limit at the site's own price."""
    carbon_prices_eur_kg = _numbers(carbon_prices)
    screen = console(json_file)
    loaded = sites.load_site(site)
    files = SeriesFiles(
        prices=prices or sites.series_file("prices"),
        weather=weather or sites.series_file("weather"),
        jobs=jobs or sites.series_file("jobs"),
        carbon=carbon,
        zone=zone,
    )
    print_synthetic_series(screen, {"prices": prices, "weather": weather, "jobs": jobs})
    inputs = read_run_inputs(loaded, files, start=start, days=MIN_COVERED_DAYS)
    print_series_notes(screen, inputs)
    case = BacktestCase.of(loaded, inputs, load_scale=load_scale)
    print_implausible_values(screen, case.plausibility_issues())
    problem = case.build_problem()
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*bar, console=screen) as progress:
        plans = progress.add_task("plans", total=len(carbon_prices_eur_kg))
        found = pareto_front(
            problem,
            carbon_prices_eur_kg,
            on_progress=lambda done, _: progress.update(plans, completed=done),
        )
        limits = progress.add_task("limits", total=None)
        solution = solve_problem(problem)
        sensitivities = limit_values(
            solution,
            build_schedule(solution),
            on_progress=lambda done, total: progress.update(limits, completed=done, total=total),
        )
    title = f"{problem.site.name}, a week from {start} by what is known then"
    screen.print(_table(found, title))
    screen.print(_sensitivity_table(sensitivities))
    if out is not None:
        plot_pareto_front(found, title=title).savefig(out)
        screen.print(f"wrote {out}")
    write_json(
        {
            "site": problem.site.name,
            "start": start,
            "front": found.to_dataframe().reset_index().to_dict("records"),
            "sensitivities": [one.as_json() for one in sensitivities],
            "gaps": list(inputs.gaps),
            "notes": list(inputs.notes),
        },
        json_file,
    )


def _numbers(text: str) -> list[float]:
    """Return the carbon prices of the option, rising."""
    try:
        found = sorted({float(word) for word in text.split(",")})
    except ValueError as error:
        expected, remedy = "numbers", "write them as 0,0.05,0.2"
        raise option_error(
            "--carbon-prices", text, expected=expected, remedy=remedy, code=IssueCode.INVALID_FORMAT
        ) from error
    return found


def _table(found: xr.Dataset, title: str) -> Table:
    is_beyond = bool((found["beyond_budgets"] >= 1.0).any())
    columns = (*FRONT_COLUMNS, "penalty beyond budgets [EUR]") if is_beyond else FRONT_COLUMNS
    shown = table(title, *columns, "safe", numbers=columns)
    for row in found.reset_coords().to_dataframe().reset_index().to_dict("records"):
        cells = [
            f"{row['carbon_price']:g}",
            f"{row['cost']:,.0f}",
            f"{row['carbon'] / 1e3:,.1f}",
            f"{row['energy']:,.1f}",
            f"{row['peak']:.1f}",
        ]
        beyond = [f"{row['beyond_budgets']:,.0f}"] if is_beyond else []
        shown.add_row(*cells, *beyond, "yes" if row["is_safe"] else "no")
    return shown


def _sensitivity_table(sensitivities: tuple[LimitSensitivity, ...]) -> Table:
    heads = ("value of one more [EUR]", "holds for", "binds [h]")
    shown = table("limits over this week", "limit", "unit", *heads, numbers=heads)
    for one in sensitivities:
        value, holds = f"{one.marginal_value:,.2f}", f"{one.valid_for:,.3g}"
        shown.add_row(one.limit, one.unit, value, holds, f"{one.binding_hours:.1f}")
    return shown
