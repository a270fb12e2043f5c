"""`gigatwin backtest`: policies in closed loop on a plant, over real series."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import batched
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import sites
from optimizer.cli.bars import Bars
from optimizer.cli.load_scale import LoadScale
from optimizer.cli.show import (
    JsonFile,
    console,
    counted,
    markdown_table,
    name_synthetic,
    output_option,
    table,
    tell,
    write_json,
)
from optimizer.cli.zone import Zone
from optimizer.service.trials.archive import open_folder, write_results, write_trial
from optimizer.service.trials.backtest import LEAST_SEEDS, POLICIES, backtest, policies_of
from optimizer.service.trials.identity import identity_of
from optimizer.service.trials.results import COMPARED, Results, Summary
from optimizer.service.trials.setting import Setting
from optimizer.service.trials.trial import Trial
from optimizer.service.world import Files, World, read_world, zone_of
from telemetry.files import write_atomic
from twin.site import Site

app = typer.Typer(add_completion=False, help="Compare policies in closed loop on a plant.")

USUAL: Final = ",".join(POLICIES)

COLUMNS: Final = (
    ("objective", "objective [EUR]", "{:,.0f}"),
    ("cost_eur", "cost [EUR]", "{:,.0f}"),
    ("carbon_kg", "carbon [t]", "{:,.0f}"),
    ("energy_mwh", "energy [MWh]", "{:,.0f}"),
    ("water_m3", "water [m3]", "{:,.0f}"),
    ("peak_mw", "peak [MW]", "{:.1f}"),
    ("lateness_h", "late [h]", "{:.1f}"),
    ("pue", "PUE", "{:.3f}"),
    ("violations", "violations", "{:d}"),
)
"""Columns of the table: key of the summary, heading, form."""

STAGED: Final = (
    ("starts", "starts", "{:,.0f}"),
    ("short_runs", "short runs", "{:,.0f}"),
    ("short_rests", "short rests", "{:,.0f}"),
    ("early_starts", "early starts", "{:,.0f}"),
)
"""The same of units that have to be committed, shown where one of them ever started."""

LABELS: Final = 28
"""Width of the column of names in a table. [letters]"""

EARNS: Final = (
    "the mean price of the run is below 0, at which work left over is billed: "
    "who leaves more earns more; run more days"
)
"""What is told where the comparison says little."""

PriceFile = Annotated[Path, typer.Option(help="Day-ahead prices, any known format.")]
WeatherFile = Annotated[Path, typer.Option(help="Open-Meteo or PVGIS JSON, EPW, or .mos.")]
JobFile = Annotated[
    Path | None,
    typer.Option(help="Jobs: arrival_time and length in hours, cpus; synthetic if left out."),
]
CarbonFile = Annotated[Path | None, typer.Option(help="Carbon intensity, unless in the prices.")]

PositionFile = Annotated[
    Path | None, typer.Option(help="What was bought day-ahead, and the prices of imbalance.")
]

ReserveFile = Annotated[
    Path | None, typer.Option(help="What reserve products pay, and what of them is sold.")
]


@app.command()
def run(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a file.")],
    prices: PriceFile,
    weather: WeatherFile,
    start: Annotated[str, typer.Option(help="First day, or moment; a date is 00:00 UTC.")],
    jobs: JobFile = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="Days to run.")] = 7,
    carbon: CarbonFile = None,
    carbon_kind: Annotated[Literal["direct", "lca"], typer.Option()] = "direct",
    position: PositionFile = None,
    reserves: ReserveFile = None,
    load_scale: LoadScale = 0.6,
    zone: Zone = None,
    policies: Annotated[str, typer.Option(help="Also cvar, scaling, optimal+prices.")] = USUAL,
    seeds: Annotated[
        int, typer.Option(min=LEAST_SEEDS, help="Plants of different hidden nature.")
    ] = 1,
    export_mps: Annotated[
        Path | None,
        output_option(
            "--export-mps", "Folder for the linear model of every decision.", is_folder=True
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for courses, pictures, reasons.")] = None,
    markdown: Annotated[
        Path | None,
        output_option("--markdown", "File for the table as Markdown, as in the README."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Run policies in closed loop on a plant that differs from what they believe, and compare."""
    named = [name.strip() for name in policies.split(",") if name.strip()]
    names = policies_of(named, place="--policies")
    screen = console(json_file)
    loaded = sites.load_site(site)
    files = Files(
        prices=prices,
        weather=weather,
        jobs=jobs or sites.series_file("jobs"),
        carbon=carbon,
        zone=zone or zone_of(loaded),
        carbon_kind=carbon_kind,
        position=position,
        reserves=reserves,
    )
    name_synthetic(screen, {"jobs": jobs})
    world = _read(screen, loaded, files, start=start, days=days)
    setting = Setting.of(loaded, world, load_scale=load_scale)
    if out is not None:
        open_folder(out, identity_of(loaded, world, load_scale=load_scale, seeds=seeds))
    results = _run(screen, setting, names, seeds=seeds, out=out, export=export_mps)
    _show(screen, results)
    write_json(results.as_json(), json_file)
    if out is not None:
        _tell_earlier(screen, results, write_results(out, results))
        screen.print(f"courses, pictures and reasons are in {out}", markup=False)
    if markdown is not None:
        write_atomic(markdown, _markdown(results))


def _show(screen: Console, results: Results) -> None:
    for part in batched(results.policies, _fitting(screen, results)):
        screen.print(_table(results, part))
    for name, rows in results.broken.items():
        for row in rows:
            words = f"{name}, plant {row['plant']}: {row['limit']}, {row['minutes']} min"
            screen.print(f"{words}, first at {row['first']}", style="red", markup=False)
    if any(money.get("backlog", 0.0) < 0.0 for money in results.accounts.values()):
        screen.print(EARNS, style="yellow")
    _show_capture(screen, results)
    screen.print(f"{results.cpu_s:.0f} s of processor time")


def _show_capture(screen: Console, results: Results) -> None:
    if results.capture is not None:
        screen.print(
            f"capture {results.capture:.1%}: what optimal saves over threshold, "
            "as a share of what perfect foresight saves"
        )
    elif set(COMPARED) <= set(results.policies):
        screen.print("no capture: perfect foresight saves nothing over threshold", style="yellow")
    for words in results.later:
        screen.print(f"not quite alike: {words}", style="yellow", markup=False)


def _tell_earlier(screen: Console, results: Results, whole: Results) -> None:
    """Say which policies the folder has from before, and what is captured now."""
    if earlier := [name for name in whole.policies if name not in results.policies]:
        screen.print(f"the summary there keeps {', '.join(earlier)} of before", markup=False)
        if results.capture is None:
            _show_capture(screen, whole)


def _read(screen: Console, site: Site, files: Files, *, start: str, days: int) -> World:
    """Return the world, and tell what was filled and modelled."""
    screen.print(f"reading the series of {site.name} from {start} for {counted(days, 'day')}")
    world = read_world(site, files, start=start, days=days)
    tell(screen, world)
    return world


def _run(
    screen: Console,
    setting: Setting,
    names: Sequence[str],
    *,
    seeds: int,
    out: Path | None,
    export: Path | None,
) -> Results:
    """Run the back-test under a progress bar for each policy and plant."""

    def keep(trial: Trial) -> None:
        if out is not None:
            write_trial(out, setting.site, trial)

    with Bars(screen) as bars:
        return backtest(
            setting,
            policies=names,
            seeds=seeds,
            listen=lambda policy, seed, *steps: bars.move(f"{policy}, plant {seed}", *steps),
            keep=keep,
            export=export,
        )


def _fitting(screen: Console, results: Results) -> int:
    """Return how many policies stand beside each other: four in eighty characters."""
    most = max(len(name) for name in (*results.policies, "12,345,678"))
    return max((screen.width - LABELS) // (most + len("│  ")), 1)


def _table(results: Results, names: Sequence[str]) -> Table:
    """Return the comparison of some policies, each a column."""
    days, plants = counted(results.days, "day"), counted(results.seeds, "plant")
    title = f"{results.site}, {days} from {results.start}, {plants}"
    shown = table(title, "", *names, numbers=names)
    columns = _columns(results)
    rows = [_row(results.policies[name], columns) for name in names]
    accounts, weighed = ([of[name] for name in names] for of in (results.accounts, results.weighed))
    for (key, heading, _), cells in zip(columns, zip(*rows, strict=True), strict=True):
        shown.add_row(escape(heading), *cells)
        if key == "cost_eur":
            for account, money in _told(accounts):
                shown.add_row(f"  {account}", *money)
            for what, money in _told(weighed):
                shown.add_row(escape(f"weight of {what} [EUR]"), *money)
    return shown


def _columns(results: Results) -> Sequence[tuple[str, str, str]]:
    """Return the columns that have something to tell: carbon is 0 where no file tells it."""
    is_staged = any(summary.starts for summary in results.policies.values())
    has_carbon = any(summary.carbon_kg for summary in results.policies.values())
    columns = (*COLUMNS, *STAGED) if is_staged else COLUMNS
    return [one for one in columns if has_carbon or one[0] != "carbon_kg"]


def _told(policies: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, list[str]]]:
    """Yield accounts and their money as texts, a policy each, if it is a euro in any. [EUR]"""
    for name in dict.fromkeys(name for money in policies for name in money):
        money = [one.get(name, 0.0) for one in policies]
        if max(map(abs, money)) >= 1.0:
            yield name, [f"{round(one) + 0:,}" for one in money]


def _markdown(results: Results) -> str:
    columns = _columns(results)
    numbers = [heading for _, heading, _ in columns]
    rows = ([name, *_row(summary, columns)] for name, summary in results.policies.items())
    return markdown_table(["policy", *numbers], rows, numbers=numbers)


def _row(summary: Summary, columns: Sequence[tuple[str, str, str]]) -> list[str]:
    cells = []
    for key, _, form in columns:
        value = getattr(summary, key)
        cells.append(form.format(value / 1000.0 if key == "carbon_kg" else value))
    return cells
