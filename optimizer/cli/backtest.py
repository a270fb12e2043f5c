"""`gigatwin backtest`: compare policies in closed loop on a simulated plant, over real series."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import batched
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.table import Table

import sites
from optimizer.backtesting.case import (
    MAX_LOAD_SCALE,
    MIN_LOAD_SCALE,
    SYNTHETIC_START,
    BacktestCase,
    with_forecast_history,
)
from optimizer.backtesting.results import MIN_CAPTURE_DAYS, BacktestResults, PolicySummary
from optimizer.backtesting.run_folder import (
    COMPARISON_FIGURE,
    build_identity,
    open_run_folder,
    save_comparison,
    write_policy_run,
    write_results,
)
from optimizer.backtesting.runner import MIN_SEEDS, PolicyRun, backtest, validate_policies
from optimizer.cli.conditions import ZoneOption
from optimizer.cli.options import JsonFile, figure_option, output_option
from optimizer.cli.output import (
    ProgressBars,
    console,
    markdown_table,
    option_error,
    pluralise,
    print_implausible_values,
    print_series_notes,
    print_synthetic_series,
    table,
    write_json,
)
from optimizer.inputs.series_files import RunInputs, SeriesFiles, read_run_inputs
from optimizer.model.objective import RiskPreference
from optimizer.policies.policy import DEFAULT_POLICIES, PERFECT_FORESIGHT_POLICY
from telemetry.durable_files import write_atomic
from twin.errors import IssueCode
from twin.site import Site

app = typer.Typer(
    add_completion=False, help="Compare policies in closed loop on a simulated plant."
)

DEFAULT_POLICY_OPTION: Final = ",".join(DEFAULT_POLICIES)

CARBON_COLUMN: Final = "carbon_equal_work_kg"

SUMMARY_COLUMNS: Final = (
    ("objective", "objective [EUR]", "{:,.0f}"),
    ("cost_eur", "cost [EUR]", "{:,.0f}"),
    (CARBON_COLUMN, "carbon, equal work [t]", "{:,.0f}"),
    ("energy_equal_work_mwh", "energy, equal work [MWh]", "{:,.0f}"),
    ("water_m3", "water [m3]", "{:,.0f}"),
    ("peak_mw", "peak [MW]", "{:.1f}"),
    ("lateness_h", "late [h]", "{:.1f}"),
    ("pue", "PUE1", "{:.3f}"),
    ("violations", "violations [min]", "{:d}"),
)
"""Columns of the table: key of the summary, heading, format."""

UNIT_COMMITMENT_COLUMNS: Final = (
    ("starts", "starts", "{:,.0f}"),
    ("short_runs", "short runs", "{:,.0f}"),
    ("short_rests", "short rests", "{:,.0f}"),
    ("early_starts", "early starts", "{:,.0f}"),
)
"""Columns of committed units, shown if one of them ever started."""

FALLBACK_COLUMNS: Final = (("fallbacks", "fallbacks", "{:d}"),)
"""Column of plans that are not the optimum, shown if there was one."""

TABLE_WORD_MEANINGS: Final = {
    "objective": "cost, and the weights of carbon, lateness and budgets; planners minimise it",
    "stocks": "value of what battery and tank lost over the run, at its mean price",
    "backlog": "value of the energy that the work left at the end will take, at the mean price",
    "equal work": "as metered, and what the work left at the end will take",
    "late": "hours by which jobs ended after their deadlines, summed over the jobs",
    "PUE1": "energy of the site over that at the UPS outputs; an interim value under twelve months",
    "fallbacks": "plans that are not the optimum of the whole horizon, because none was safe",
}
"""Words of the table -> what they mean."""

LABEL_WIDTH: Final = 28
"""Width of the column of names in a table. [characters]"""

NEGATIVE_PRICE_WARNING: Final = (
    "the mean price of the run is below 0, and remaining work is billed at it: "
    "leaving work undone earns money; run more days"
)
"""Warning that the comparison of costs is misleading."""

SYNTHETIC_YEAR_START: Final = "2026-01-01"
"""Default start of a run that needs more than the rest of the synthetic year."""

LONG_RUN_DAYS: Final = 180
"""Longest run that begins at the default start in June. [d]"""

PriceFile = Annotated[
    Path | None,
    typer.Option(help="Day-ahead prices in any known format; default: a synthetic year."),
]
WeatherFile = Annotated[
    Path | None,
    typer.Option(help="Weather: Open-Meteo or PVGIS JSON, EPW or .mos; default: a synthetic year."),
]
StartOption = Annotated[
    str | None,
    typer.Option(help="First instant; a date is 00:00 UTC. Default: in the synthetic year."),
]
JobFile = Annotated[
    Path | None,
    typer.Option(help="Jobs: arrival_time and length in hours, cpus; default: synthetic."),
]
AnnouncedFile = Annotated[
    Path | None,
    typer.Option(
        help="Announcements of jobs: announced_at, id, expected_start, length, cpus, withdrawn_at."
    ),
]
CarbonFile = Annotated[
    Path | None, typer.Option(help="Carbon intensity; default: that of the price file.")
]

PositionFile = Annotated[Path | None, typer.Option(help="Day-ahead position and imbalance prices.")]

ReserveFile = Annotated[Path | None, typer.Option(help="Prices and sales of reserve products.")]

LoadScaleOption = Annotated[
    float,
    typer.Option(
        "--load-scale",
        min=MIN_LOAD_SCALE,
        max=MAX_LOAD_SCALE,
        help="Mean movable work as a share of all racks at full power.",
    ),
]
"""Mean movable work as a share of all racks at full power. [1]"""


@app.command()
def run(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a file.")],
    prices: PriceFile = None,
    weather: WeatherFile = None,
    start: StartOption = None,
    jobs: JobFile = None,
    announced: AnnouncedFile = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="Days to run.")] = 7,
    carbon: CarbonFile = None,
    carbon_kind: Annotated[
        Literal["direct", "lca"],
        typer.Option(help="Column of --carbon: direct at the plants, or lca over the life cycle."),
    ] = "direct",
    position: PositionFile = None,
    reserves: ReserveFile = None,
    load_scale: LoadScaleOption = 0.6,
    zone: ZoneOption = None,
    policies: Annotated[
        str, typer.Option(help="Also deterministic, carbonscaler, deterministic+prices.")
    ] = DEFAULT_POLICY_OPTION,
    seeds: Annotated[int, typer.Option(min=MIN_SEEDS, help="Simulated plants.")] = 1,
    export_mps: Annotated[
        Path | None, output_option("--export-mps", "Folder for linear models.", is_folder=True)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for trajectories and figures.")] = None,
    markdown: Annotated[Path | None, output_option("--markdown", "Markdown file.")] = None,
    picture: Annotated[
        Path | None, figure_option("PNG, SVG or PDF figure that compares the policies.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Run policies in closed loop on a plant with parameters unknown to them, and compare."""
    named = [name.strip() for name in policies.split(",") if name.strip()]
    names = validate_policies(named, place="--policies")
    screen = console(json_file)
    loaded = sites.load_site(site)
    main_files = {"prices": prices, "weather": weather, "jobs": jobs}
    chosen = with_synthetic(main_files)
    start = _check_start(main_files, start, days=days)
    files = SeriesFiles(
        **chosen,
        announced=announced,
        carbon=carbon,
        zone=zone,
        carbon_kind=carbon_kind,
        position=position,
        reserves=reserves,
    )
    print_synthetic_series(screen, main_files)
    inputs = _read(screen, loaded, files, start=start, days=days)
    if prices is None:  # the synthetic year has no history before 1 January
        inputs = with_forecast_history(inputs)
    inputs = replace(inputs, notes=(*inputs.notes, *synthetic_notes(main_files)))
    case = BacktestCase.of(loaded, inputs, load_scale=load_scale)
    print_implausible_values(screen, case.plausibility_issues())
    for note in case.announcement_notes():
        screen.print(note)
    if out is not None:
        open_run_folder(out, build_identity(loaded, inputs, load_scale=load_scale, seeds=seeds))
    results = _run(screen, case, names, seeds=seeds, out=out, export=export_mps)
    _show(screen, results)
    write_json(results.as_json(), json_file)
    if out is not None:
        whole = write_results(out, results)
        save_comparison(whole, out / COMPARISON_FIGURE)
        _print_earlier(screen, results, whole)
        screen.print(f"trajectories, figures and decisions are in {out}")
    if markdown is not None:
        write_atomic(markdown, _markdown(results))
    if picture is not None:
        save_comparison(results, picture)
        screen.print(f"wrote {picture}")


def _check_start(files: Mapping[str, Path | None], start: str | None, *, days: int) -> str:
    """Return the start of the run, which series from files do not have by default."""
    if start is None and files["prices"] is not None:
        remedy = "give --start with a day that both files cover"
        raise option_error("--start", "", expected="a date", remedy=remedy, code=IssueCode.MISSING)
    return start or (SYNTHETIC_START if days <= LONG_RUN_DAYS else SYNTHETIC_YEAR_START)


def with_synthetic(files: Mapping[str, Path | None]) -> dict[str, Path]:
    """Return the files, with synthetic ones for those that are None.

    Prices and weather are both of files or both synthetic. Jobs of the synthetic month are repeated
    in any year; the synthetic year has its own.
    """
    given = [name for name in ("prices", "weather") if files[name] is not None]
    if len(given) == 1:
        (other,) = {"prices", "weather"} - set(given)
        raise option_error(
            f"--{other}",
            "",
            expected=f"a file, as --{given[0]} names one",
            remedy=f"give --{other} FILE, or neither for the synthetic year",
            code=IssueCode.MISSING,
        )
    prefix = "year_" if files["prices"] is None else ""
    return {name: file or sites.series_file(f"{prefix}{name}") for name, file in files.items()}


def synthetic_notes(files: Mapping[str, Path | None]) -> list[str]:
    """Return a note on series without a file, by their option."""
    synthetic = [name for name, file in files.items() if file is None]
    return [f"synthetic, nothing is measured: {', '.join(synthetic)}"] if synthetic else []


def _show(screen: Console, results: BacktestResults) -> None:
    for part in batched(results.policies, _policies_per_table(screen, results)):
        screen.print(_table(results, part))
    headings = [heading for _, heading, _ in _columns(results)]
    accounts = [name for money in results.accounts.values() for name in money]
    for word, meaning in TABLE_WORD_MEANINGS.items():
        if any(word in heading for heading in (*headings, *accounts)):
            screen.print(f"{word}: {meaning}", style="dim")
    for name, risk in results.risk.items():
        screen.print(f"{name}: {RiskPreference(**risk).describe()}", style="dim")
    _show_fallbacks(screen, results)
    for name, rows in results.broken.items():
        for row in rows:
            words = f"{name}, plant {row['plant']}: {row['limit']}, {row['minutes']} min"
            screen.print(f"{words}, first at {row['first']}", style="red")
    if any(money.get("backlog", 0.0) < 0.0 for money in results.accounts.values()):
        screen.print(NEGATIVE_PRICE_WARNING, style="yellow")
    _show_differences(screen, results)
    _show_capture(screen, results)
    screen.print(f"{results.cpu_s:.0f} s of processor time")


def _show_fallbacks(screen: Console, results: BacktestResults) -> None:
    for name, rows in results.fallbacks.items():
        if rows:
            first = rows[0]
            words = f"{pluralise(len(rows), 'plan')} of {name} by fallback, the first on plant"
            screen.print(
                f"{words} {first['plant']} at {first['time']}: {first['reason']}", style="yellow"
            )


def _show_differences(screen: Console, results: BacktestResults) -> None:
    """Print the difference of each objective from the reference, with its interval."""
    if results.seeds == 1:
        if results.differences:
            text = "differences of one plant have no 95 % interval: name more plants with --seeds"
            screen.print(text, style="yellow")
        return
    for name, one in results.differences.items():
        limits = one.as_json()
        screen.print(
            f"objective of {name} less that of {results.reference_policy}: {one.mean:+,.0f} EUR, "
            f"95 % interval {limits['low_eur']:+,.0f} to {limits['high_eur']:+,.0f} EUR "
            f"over {one.pair_count} plants: {one.verdict}"
        )


def _show_capture(screen: Console, results: BacktestResults) -> None:
    for rule, capture in results.captures.items():
        if capture is not None:
            screen.print(
                f"capture {capture:.1%} over {rule}: the saving of {results.planner}, "
                "as a share of the saving of perfect foresight"
            )
        elif {rule, results.planner, PERFECT_FORESIGHT_POLICY} <= set(results.policies):
            reason = f"perfect foresight saves nothing over {rule}"
            if results.days < MIN_CAPTURE_DAYS:
                reason = f"it needs a run of {MIN_CAPTURE_DAYS} days or more"
            screen.print(f"no capture over {rule}: {reason}", style="yellow")
    for sentence in results.lateness_warnings:
        screen.print(f"not comparable: {sentence}", style="yellow")


def _print_earlier(screen: Console, results: BacktestResults, whole: BacktestResults) -> None:
    """Print which policies of earlier runs the folder holds, and the capture with them."""
    if earlier := [name for name in whole.policies if name not in results.policies]:
        screen.print(f"the summary there keeps earlier runs of {', '.join(earlier)}")
        if results.capture is None:
            _show_capture(screen, whole)


def _read(screen: Console, site: Site, files: SeriesFiles, *, start: str, days: int) -> RunInputs:
    """Return the inputs, and print what was filled or modelled."""
    screen.print(f"reading the series of {site.name} from {start} for {pluralise(days, 'day')}")
    inputs = read_run_inputs(site, files, start=start, days=days)
    print_series_notes(screen, inputs)
    return inputs


def _run(
    screen: Console,
    case: BacktestCase,
    names: Sequence[str],
    *,
    seeds: int,
    out: Path | None,
    export: Path | None,
) -> BacktestResults:
    """Run the back-test with a progress bar for each policy and plant."""

    def write(policy_run: PolicyRun) -> None:
        if out is not None:
            write_policy_run(out, case.site, policy_run)

    with ProgressBars(screen) as bars:
        return backtest(
            case,
            policies=names,
            seeds=seeds,
            on_progress=lambda policy, seed, *steps: bars.update(f"{policy}, plant {seed}", *steps),
            on_run=write,
            export_folder=export,
        )


def _policies_per_table(screen: Console, results: BacktestResults) -> int:
    """Return how many policies fit side by side in the terminal."""
    width = max(len(name) for name in (*results.policies, "12,345,678"))
    return max((screen.width - LABEL_WIDTH) // (width + len("│  ")), 1)


def _table(results: BacktestResults, names: Sequence[str]) -> Table:
    """Return the comparison of some policies, with one column each."""
    days, plants = pluralise(results.days, "day"), pluralise(results.seeds, "plant")
    title = f"{results.site}, {days} from {results.start}, {plants}"
    shown = table(title, "", *names, numbers=names)
    columns = _columns(results)
    rows = [_row(results.policies[name], columns) for name in names]
    accounts, weighed = ([of[name] for name in names] for of in (results.accounts, results.weighed))
    for (key, heading, _), cells in zip(columns, zip(*rows, strict=True), strict=True):
        shown.add_row(heading, *cells)
        if key == "cost_eur":
            for account, money in _account_rows(accounts):
                shown.add_row(f"  {account}", *money)
            for what, money in _account_rows(weighed):
                shown.add_row(f"weight of {what} [EUR]", *money)
    return shown


def _columns(results: BacktestResults) -> Sequence[tuple[str, str, str]]:
    """Return the columns with values; carbon is 0 where its intensity is unknown."""
    is_staged = any(summary.starts for summary in results.policies.values())
    has_carbon = any(summary.carbon_kg for summary in results.policies.values())
    columns = (*SUMMARY_COLUMNS, *(UNIT_COMMITMENT_COLUMNS if is_staged else ()))
    if any(summary.fallbacks for summary in results.policies.values()):
        columns += FALLBACK_COLUMNS
    return [one for one in columns if has_carbon or one[0] != CARBON_COLUMN]


def _account_rows(policies: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each account with its money for every policy, if any is at least 1 EUR. [EUR]"""
    for name in dict.fromkeys(name for money in policies for name in money):
        money = [one.get(name, 0.0) for one in policies]
        if max(map(abs, money)) >= 1.0:
            yield name, [f"{round(one) + 0:,}" for one in money]


def _markdown(results: BacktestResults) -> str:
    columns = _columns(results)
    numbers = [heading for _, heading, _ in columns]
    rows = ([name, *_row(summary, columns)] for name, summary in results.policies.items())
    return markdown_table(["policy", *numbers], rows, numbers=numbers)


def _row(summary: PolicySummary, columns: Sequence[tuple[str, str, str]]) -> list[str]:
    cells = []
    for key, _, form in columns:
        value = getattr(summary, key)
        if value is None:
            cells.append("unknown")
        else:
            cells.append(form.format(value / 1000.0 if key == CARBON_COLUMN else value))
    return cells
