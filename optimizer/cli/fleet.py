"""`gigatwin fleet`: sites that share work, settled by prices, decided and judged one by one.

`gigatwin fleet --days N`: what sharing work is worth in closed loop, hour after hour.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import sites
from optimizer.backtesting.case import MAX_LOAD_SCALE, MIN_LOAD_SCALE, BacktestCase
from optimizer.backtesting.fleet_run import FleetRunResult, run_fleet
from optimizer.backtesting.run_folder import write_policy_run
from optimizer.cli.options import JsonFile, output_option
from optimizer.cli.output import (
    ProgressBars,
    console,
    format_integer,
    pluralise,
    print_series_notes,
    print_synthetic,
    table,
    write_json,
)
from optimizer.fleet.planner import FleetDecision, decide_fleet
from optimizer.fleet.price_coordination import COORDINATION_GAP
from optimizer.fleet.problem import build_fleet_problems, check_fleet
from optimizer.inputs.series_files import (
    MIN_COVERED_DAYS,
    RunInputs,
    SeriesFiles,
    default_zone,
    read_run_inputs,
)
from optimizer.policies.mpc import REPLAN_INTERVAL
from telemetry.files import write_json_atomic
from twin.declarations import FleetRoute
from twin.errors import ProblemError, ValidationIssue
from twin.physics import FloatArray
from twin.plots import plot_fleet
from twin.site import Site
from twin.time_axes import HOUR
from twin.units import MAX_ENERGY_PRICE_EUR_MWH

app = typer.Typer(add_completion=False, help="Let sites share work, and decide for all of them.")

DEFAULT_LOAD_SCALE: Final = 0.6
"""Mean share of the racks that jobs use, unless told. [1]"""

PLAN_COLUMNS: Final = (
    "alone [EUR]",
    "together [EUR]",
    "sends [MWh]",
    "takes in [MWh]",
    "earns [EUR]",
)


@app.command()
def fleet(  # noqa: PLR0913  (one parameter an option of the command line)
    names: Annotated[list[str], typer.Argument(metavar="SITE...", help="Two sites at least.")],
    prices: Annotated[
        list[str], typer.Option(help="FILE for all, or SITE=FILE; synthetic if left out.")
    ] = [],  # noqa: B006  (typer copies it)
    weather: Annotated[list[str], typer.Option(help="As prices.")] = [],  # noqa: B006
    jobs: Annotated[list[str], typer.Option(help="As prices.")] = [],  # noqa: B006
    carbon: Annotated[list[str], typer.Option(help="As prices, unless in them.")] = [],  # noqa: B006
    start: Annotated[str, typer.Option(help="First moment; a date is 00:00 UTC.")] = "2026-06-16",
    load_scale: Annotated[
        list[str],
        typer.Option(
            help=f"NUMBER for all, or SITE=NUMBER; {DEFAULT_LOAD_SCALE:g} of the racks if left out."
        ),
    ] = [],  # noqa: B006
    routes: Annotated[
        Path | None, typer.Option(help="TOML file of routes; left out, --move may go anywhere.")
    ] = None,
    move: Annotated[str, typer.Option(help="Kind of work that may move.")] = "batch",
    transfer_cost: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=MAX_ENERGY_PRICE_EUR_MWH,
            help="Of moving a MWh of work with its data [EUR].",
        ),
    ] = 5.0,
    gap: Annotated[
        float, typer.Option(min=1e-6, help="Share of the cost to be missed.")
    ] = COORDINATION_GAP,
    days: Annotated[
        int,
        typer.Option(min=0, max=400, help="Run so many days in closed loop, alone and shared."),
    ] = 0,
    out: Annotated[
        Path | None, output_option("--out", "Folder for what --days runs.", is_folder=True)
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Dask scheduler, as tcp://10.0.0.1:8786.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Settle what work moves between sites over the next week, or run them with --days."""
    if out is not None and not days:
        fault = ValidationIssue(
            location="--out", found=str(out), remedy="say with --days how long to run"
        )
        raise ProblemError("command", [fault])
    screen = console(json_file)
    loaded = [sites.load_site(name) for name in names]
    ways = sites.load_routes(routes) if routes else _default_route(move, transfer_cost)
    check_fleet(loaded, ways)
    given = {"prices": prices, "weather": weather, "jobs": jobs, "carbon": carbon}
    files = {kind: _files(kind, told, loaded) for kind, told in given.items()}
    loads = _loads(load_scale, loaded)
    ours = {k: None if sites.series_file(k) in v else v for k, v in files.items() if k != "carbon"}
    print_synthetic(screen, ours)
    for name, route in ways.items():
        screen.print(f"{name}: {_describe_route(route)}", markup=False)
    worlds = _worlds(screen, loaded, files, start=start, days=days or MIN_COVERED_DAYS)
    settings = list(map(_setting, loaded, worlds, loads))
    _warn_unknown_carbon(screen, settings)
    if days:
        result = run_closed_loop(
            screen, settings, ways, cluster=cluster, out=out, notes=_series_notes(worlds)
        )
    else:
        found = _plan(screen, settings, ways, cluster=cluster, gap=gap)
        result = found.as_json() | _series_notes(worlds)
    write_json(result, json_file)


def _plan(
    screen: Console,
    cases: Sequence[BacktestCase],
    routes: Mapping[str, FleetRoute],
    *,
    cluster: str | None,
    gap: float,
) -> FleetDecision:
    """Decide for all sites from what is known at the start, show it, and return it."""
    grid = max((one.horizon() for one in cases), key=lambda axes: axes.sizes["time"])
    problems = build_fleet_problems([one.build_problem(grid) for one in cases], routes)

    def listen(number: int, left: float) -> None:
        screen.print(f"round {number}: {max(left, 0.0):.3%} may be missed")

    found = decide_fleet(problems, cluster=cluster, gap=gap, on_progress=listen)
    screen.print(_plan_table(found))
    for transfer in found.transfers:
        screen.print(str(transfer), markup=False)
    settled, cost = found.coordination, sum(found.costs.values())
    screen.print(
        f"sharing saves {format_integer(found.saved)} EUR; no more than "
        f"{format_integer(max(cost - settled.bound, 0.0))} EUR could still be saved "
        f"({max(found.gap, 0.0):.3%}, {pluralise(settled.rounds, 'round')})"
    )
    return found


def _files(kind: str, told: Sequence[str], loaded: Sequence[Site]) -> list[Path | None]:
    """Return the file of each site: its own, or that for all; synthetic if none is named."""
    usual = None if kind == "carbon" else sites.series_file(kind)
    found = _per_site(kind, told, loaded, what="FILE")
    return [usual if word is None else Path(word) for word in found]


def _loads(told: Sequence[str], loaded: Sequence[Site]) -> list[float]:
    """Return the load of each site, as a share of its racks. [1]"""
    words = _per_site("load-scale", told, loaded, what="NUMBER")
    try:
        return [DEFAULT_LOAD_SCALE if word is None else float(word) for word in words]
    except ValueError as error:
        remedy = (
            f"mean share of the racks that jobs use: {MIN_LOAD_SCALE:g} to {MAX_LOAD_SCALE:g} of 1"
        )
        fault = ValidationIssue(location="--load-scale", found=", ".join(told), remedy=remedy)
        raise ProblemError("command", [fault]) from error


def _per_site(
    option: str, told: Sequence[str], loaded: Sequence[Site], *, what: str
) -> list[str | None]:
    """Return what an option tells of each site: of it alone, or of all; None if neither."""
    pairs = [word.split("=", 1) for word in told if "=" in word]
    names, own = [name for name, _ in pairs], dict(pairs)
    general = [word for word in told if "=" not in word]
    wrong = set(names) - {site.name for site in loaded}
    wrong |= {name for name, file in pairs if names.count(name) > 1 or not file}
    if wrong or len(general) > 1:
        value = ", ".join(sorted(wrong) or general)
        known = ", ".join(site.name for site in loaded)
        remedy = f"give one {what} for all, or SITE={what} for {known}, each once"
        raise ProblemError(
            "command", [ValidationIssue(location=f"--{option}", found=value, remedy=remedy)]
        )
    usual = general[0] if general else None
    return [own.get(site.name, usual) for site in loaded]


def _default_route(kind: str, cost: float) -> dict[str, FleetRoute]:
    """Return a route by which a kind of work may go from every site to every other."""
    return {"anywhere": FleetRoute.model_validate({"kind": kind, "cost": f"{cost} EUR/MWh"})}


def _worlds(
    screen: Console,
    loaded: Sequence[Site],
    files: Mapping[str, Sequence[Path | None]],
    *,
    start: str,
    days: int,
) -> list[RunInputs]:
    """Return what each site's files tell from the first moment on, and say what is modelled."""
    found = []
    for n, site in enumerate(loaded):
        own = {kind: paths[n] for kind, paths in files.items()}
        prices, weather = (own[kind] or sites.series_file(kind) for kind in ("prices", "weather"))
        given = SeriesFiles(
            prices=prices,
            weather=weather,
            jobs=own["jobs"],
            carbon=own["carbon"],
            zone=default_zone(site),
        )
        found.append(read_run_inputs(site, given, start=start, days=days))
        print_series_notes(screen, found[-1])
    return found


def _setting(site: Site, inputs: RunInputs, load: float) -> BacktestCase:
    return BacktestCase.of(site, inputs, load_scale=load)


def _knows_carbon(one: BacktestCase) -> bool:
    """Return whether carbon counts: contracts that match hours tell of what they leave over."""
    return one.inputs.has_carbon or one.site.grid.carbon == "matched"


def _warn_unknown_carbon(screen: Console, cases: Sequence[BacktestCase]) -> None:
    """Tell which sites look clean only because their carbon is not known."""
    known = [one.site for one in cases if _knows_carbon(one)]
    unknown = [one.site for one in cases if not _knows_carbon(one)]
    if unknown and any(site.weights.carbon for site in known):
        told, untold = (", ".join(site.name for site in some) for some in (known, unknown))
        words = f"carbon counts at {told}, and not at {untold}, where none is known"
        screen.print(
            f"{words}: work goes there for it (--carbon SITE=FILE)", style="red", markup=False
        )


def _series_notes(inputs_by_site: Sequence[RunInputs]) -> dict[str, list[str]]:
    """Return what was said of the files of all sites, each text once: a file may be of several."""
    return {
        "gaps": [*dict.fromkeys(gap for world in inputs_by_site for gap in world.gaps)],
        "notes": [*dict.fromkeys(note for world in inputs_by_site for note in world.notes)],
    }


def _describe_route(route: FleetRoute) -> str:
    """Return a route in words."""
    origins, hosts = (", ".join(given or ("every site",)) for given in (route.origins, route.hosts))
    return (
        f"{route.kind} may go from {origins} to {hosts} in {route.transfer_time:g} h at "
        f"{route.transfer_cost:g} EUR/MWh, done within {route.window:g} h"
    )


def _plan_table(found: FleetDecision) -> Table:
    """Return what each site costs and what it moves."""
    shown = table("fleet over a week", "site", *PLAN_COLUMNS, numbers=PLAN_COLUMNS)
    settled, totals = found.coordination, [0.0] * len(PLAN_COLUMNS)
    for number, (name, cost) in enumerate(found.costs.items()):
        net = settled.net_sent[number]
        cells = (
            found.isolated_costs[name],
            cost,
            float(net.clip(min=0.0).sum()),
            float((-net).clip(min=0.0).sum()),
            found.migration_income(number),
        )
        totals = [total + cell for total, cell in zip(totals, cells, strict=True)]
        shown.add_row(name, *map(format_integer, cells))
    shown.add_row("all", *map(format_integer, totals))
    return shown


RESULTS_FILE: Final = "fleet.json"
FIGURE_FILE: Final = "fleet.png"
"""What a folder holds of all sites; each site has a folder in it."""

RUN_COLUMNS: Final = (
    "alone [EUR]",
    "shared [EUR]",
    "sends [MWh]",
    "takes in [MWh]",
    "late alone [h]",
    "late shared [h]",
)


def run_closed_loop(
    screen: Console,
    cases: Sequence[BacktestCase],
    routes: Mapping[str, FleetRoute],
    *,
    cluster: str | None,
    out: Path | None,
    notes: Mapping[str, object],
) -> dict[str, object]:
    """Run sites alone and with one another, show what it was worth, and return it as plain values.

    Parameters
    ----------
    screen
        For people.
    cases
        Worlds and work of the sites.
    routes
        Which work may move from where to where.
    cluster
        Dask scheduler, if there is one.
    out
        Folder for results, a picture, and the courses of every site; nothing is written without.
    notes
        What was said of the files, which stands beside what was found.
    """
    with ProgressBars(screen) as bars:
        found = run_fleet(
            cases,
            routes,
            cluster=cluster,
            on_progress=lambda policy, of, *steps: bars.update(f"{of}, {policy}", *steps),
        )
    days = round((cases[0].inputs.end - cases[0].inputs.start) / np.timedelta64(1, "D"))
    screen.print(_run_table(found, f"fleet in closed loop, {pluralise(days, 'day')}"))
    broken = [(name, row) for name, trial in found.shared.items() for row in trial.violated_limits]
    for name, row in broken:
        words = f"{name}: {row['limit']}, {row['minutes']} min, first at {row['first']}"
        screen.print(words, style="red", markup=False)
    if not broken:
        screen.print("no limit of a plant was broken")
    for moment, because in found.failed_plans.items():
        words = f"no common plan at {moment}, each site decided alone: {because}"
        screen.print(words, style="red", markup=False)
    moved, count = sum(parcel.energy for parcel in found.transfers), len(found.transfers)
    screen.print(
        f"{format_integer(moved)} MWh moved in {pluralise(count, 'parcel')} "
        f"for {format_integer(found.move_cost)} EUR; "
        f"sharing {'saved' if found.saved >= 0.0 else 'cost'} "
        f"{format_integer(abs(found.saved))} EUR"
    )
    result = {**found.as_json(), **notes}
    if out is not None:
        _write(out, cases, found)
        write_json_atomic(out / RESULTS_FILE, result)
        screen.print(f"courses, pictures and reasons are in {out}", markup=False)
    return result


def _run_table(found: FleetRunResult, title: str) -> Table:
    """Return what each site paid and moved."""
    shown = table(title, "site", *RUN_COLUMNS, numbers=RUN_COLUMNS)
    rows = []
    for name, shared in found.shared.items():
        alone = found.independent[name].summary
        rows.append(
            (
                alone.objective,
                shared.summary.objective,
                found.sent(name),
                found.received(name),
                alone.lateness_h,
                shared.summary.lateness_h,
            )
        )
        shown.add_row(name, *map(format_integer, rows[-1]))
    shown.add_row("all", *(format_integer(sum(cells)) for cells in zip(*rows, strict=True)))
    return shown


def _write(folder: Path, cases: Sequence[BacktestCase], found: FleetRunResult) -> None:
    """Write the picture, and for each site the courses of both of its trials."""
    for setting in cases:
        own = folder / setting.site.name
        own.mkdir(parents=True, exist_ok=True)
        for trials in (found.independent, found.shared):
            write_policy_run(own, setting.site, trials[setting.site.name])
    figure = plot_fleet(
        {name: trial.trajectory for name, trial in found.independent.items()},
        {name: trial.trajectory for name, trial in found.shared.items()},
        {name: _net_transfers(found, name) for name in found.shared},
        title=f"{', '.join(found.shared)}: what moves",
    )
    figure.savefig(folder / FIGURE_FILE)


def _net_transfers(found: FleetRunResult, name: str) -> FloatArray:
    """Return the work that left a site less what came to it, until sites settle anew. [MW]"""
    starts = found.shared[name].trajectory["time"].to_numpy()
    power = np.zeros(len(starts))
    for transfer in found.transfers:
        way = (transfer.origin == name) - float(transfer.host == name)
        is_then = (starts >= transfer.departure) & (starts < transfer.departure + REPLAN_INTERVAL)
        power[is_then] += way * transfer.energy / (REPLAN_INTERVAL / HOUR)
    return power
