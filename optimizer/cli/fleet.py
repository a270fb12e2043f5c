"""`gigatwin fleet`: plan for sites that exchange work, or run them in closed loop with `--days`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import sites
from optimizer.backtesting.case import (
    DEFAULT_LOAD_SCALE,
    MAX_LOAD_SCALE,
    MIN_LOAD_SCALE,
    BacktestCase,
)
from optimizer.backtesting.fleet_run import FleetRunResult, run_fleet
from optimizer.backtesting.run_folder import write_policy_run
from optimizer.cli.conditions import check_zone
from optimizer.cli.options import JsonFile, output_option
from optimizer.cli.output import (
    ProgressBars,
    console,
    format_integer,
    option_error,
    pluralise,
    print_implausible_values,
    print_series_notes,
    print_synthetic_series,
    table,
    write_json,
)
from optimizer.fleet.planner import FleetDecision, decide_fleet
from optimizer.fleet.routes import build_fleet_problems, check_fleet
from optimizer.inputs.series_files import (
    MIN_COVERED_DAYS,
    RunInputs,
    SeriesFiles,
    read_run_inputs,
)
from optimizer.policies.mpc import REPLAN_INTERVAL
from telemetry.durable_files import write_json_atomic
from twin.errors import IssueCode
from twin.physics import FloatArray
from twin.plots import plot_fleet
from twin.site import Site
from twin.site_settings import FleetRoute
from twin.time_axes import HOUR
from twin.units import MAX_ENERGY_PRICE_EUR_MWH

app = typer.Typer(add_completion=False, help="Plan for sites that exchange movable work.")

PLAN_COLUMNS: Final = (
    "alone [EUR]",
    "together [EUR]",
    "sends [MWh]",
    "takes in [MWh]",
    "earns [EUR]",
)

FLEET_RESULTS_FILE: Final = "fleet.json"
FIGURE_FILE: Final = "fleet.png"
"""Files of the whole fleet; each site has a folder beside them."""

RUN_COLUMNS: Final = (
    "alone [EUR]",
    "shared [EUR]",
    "sends [MWh]",
    "takes in [MWh]",
    "late alone [h]",
    "late shared [h]",
)


@app.command()
def fleet(  # noqa: PLR0913  (one parameter an option of the command line)
    names: Annotated[list[str], typer.Argument(metavar="SITE...", help="At least two sites.")],
    prices: Annotated[
        list[str], typer.Option(help="Price file: FILE for all, or SITE=FILE; default: synthetic.")
    ] = [],  # noqa: B006  (typer copies it)
    weather: Annotated[list[str], typer.Option(help="Weather file, as --prices.")] = [],  # noqa: B006
    jobs: Annotated[list[str], typer.Option(help="Job file, as --prices.")] = [],  # noqa: B006
    carbon: Annotated[list[str], typer.Option(help="Carbon file, as --prices.")] = [],  # noqa: B006
    zone: Annotated[
        list[str],
        typer.Option(help="Time zone of times without an offset: ZONE for all, or SITE=ZONE."),
    ] = [],  # noqa: B006
    start: Annotated[str, typer.Option(help="First instant; a date is 00:00 UTC.")] = "2026-06-16",
    load_scale: Annotated[
        list[str],
        typer.Option(
            help=f"Load scale: NUMBER for all, or SITE=NUMBER; default: {DEFAULT_LOAD_SCALE:g}."
        ),
    ] = [],  # noqa: B006
    routes: Annotated[Path | None, typer.Option(help="TOML file of routes.")] = None,
    move: Annotated[str, typer.Option(help="Kind of work to move without --routes.")] = "batch",
    transfer_cost: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=MAX_ENERGY_PRICE_EUR_MWH,
            help="Cost of moving 1 MWh of work with its data [EUR].",
        ),
    ] = 5.0,
    days: Annotated[
        int,
        typer.Option(min=0, max=400, help="Days to run in closed loop, with and without exchange."),
    ] = 0,
    out: Annotated[
        Path | None, output_option("--out", "Folder for the results of --days.", is_folder=True)
    ] = None,
    gap: Annotated[  # noqa: ARG001
        float | None, typer.Option(help="No effect since one model plans the fleet.")
    ] = None,
    cluster: Annotated[  # noqa: ARG001
        str | None, typer.Option(help="No effect since one model plans the fleet.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Plan what work moves between sites over the next week, or run them with --days."""
    if out is not None and not days:
        expected, remedy = "results of a closed loop", "say with --days how long to run"
        raise option_error("--out", str(out), expected=expected, remedy=remedy)
    screen = console(json_file)
    loaded = [sites.load_site(name) for name in names]
    fleet_routes = sites.load_routes(routes) if routes else _default_route(move, transfer_cost)
    check_fleet(loaded, fleet_routes)
    options = {"prices": prices, "weather": weather, "jobs": jobs, "carbon": carbon}
    files = {kind: _files(kind, values, loaded) for kind, values in options.items()}
    loads = _loads(load_scale, loaded)
    zones = [check_zone(name) for name in _per_site("zone", zone, loaded, what="ZONE")]
    own_files = {
        k: None if sites.series_file(k) in v else v for k, v in files.items() if k != "carbon"
    }
    print_synthetic_series(screen, own_files)
    for name, route in fleet_routes.items():
        screen.print(f"{name}: {_describe_route(route)}")
    inputs = _read_inputs(
        screen, loaded, files, zones=zones, start=start, days=days or MIN_COVERED_DAYS
    )
    cases = list(map(_case, loaded, inputs, loads))
    for case in cases:
        print_implausible_values(screen, case.plausibility_issues())
    _warn_unknown_carbon(screen, cases)
    if days:
        notes = _series_notes(inputs)
        result = run_closed_loop(screen, cases, fleet_routes, out=out, notes=notes)
    else:
        result = _plan(screen, cases, fleet_routes).as_json() | _series_notes(inputs)
    write_json(result, json_file)


def _plan(
    screen: Console, cases: Sequence[BacktestCase], routes: Mapping[str, FleetRoute]
) -> FleetDecision:
    """Decide for all sites from the information at the start, and show the result."""
    grid = max((one.initial_plan_axes() for one in cases), key=lambda axes: axes.sizes["time"])
    problems = build_fleet_problems([one.build_problem(grid) for one in cases], routes)
    found = decide_fleet(problems)
    screen.print(_plan_table(found))
    for transfer in found.transfers:
        screen.print(str(transfer))
    screen.print(
        f"sharing saves {format_integer(found.saving_over_isolated_sites)} EUR; at most "
        f"{format_integer(max(found.cost - found.relaxation.cost, 0.0))} EUR could still be saved "
        f"({max(found.gap, 0.0):.3%})"
    )
    return found


def _files(kind: str, values: Sequence[str], loaded: Sequence[Site]) -> list[Path | None]:
    """Return the file of each site: its own, the general one, or the synthetic one."""
    default = None if kind == "carbon" else sites.series_file(kind)
    found = _per_site(kind, values, loaded, what="FILE")
    return [default if name is None else Path(name) for name in found]


def _loads(values: Sequence[str], loaded: Sequence[Site]) -> list[float]:
    """Return the load scale of each site. [1]"""
    texts = _per_site("load-scale", values, loaded, what="NUMBER")
    try:
        return [DEFAULT_LOAD_SCALE if text is None else float(text) for text in texts]
    except ValueError as error:
        raise option_error(
            "--load-scale",
            ", ".join(values),
            expected=f"a number from {MIN_LOAD_SCALE:g} to {MAX_LOAD_SCALE:g}",
            remedy="write the mean movable work as a share of all racks",
            code=IssueCode.INVALID_FORMAT,
        ) from error


def _per_site(
    option: str, values: Sequence[str], loaded: Sequence[Site], *, what: str
) -> list[str | None]:
    """Return the value of an option for each site: its own, the general one, or None."""
    pairs = [text.split("=", 1) for text in values if "=" in text]
    names, own = [name for name, _ in pairs], dict(pairs)
    general = [text for text in values if "=" not in text]
    wrong = set(names) - {site.name for site in loaded}
    wrong |= {name for name, file in pairs if names.count(name) > 1 or not file}
    if wrong or len(general) > 1:
        location = f"--{option}"
        raise option_error(
            location,
            ", ".join(sorted(wrong) or general),
            expected=f"one {what} for all, or SITE={what} for each site once",
            remedy=f"choose among {', '.join(site.name for site in loaded)}",
        )
    default = general[0] if general else None
    return [own.get(site.name, default) for site in loaded]


def _default_route(kind: str, cost: float) -> dict[str, FleetRoute]:
    """Return a route for a kind of work between all sites."""
    return {"anywhere": FleetRoute.model_validate({"kind": kind, "cost": f"{cost} EUR/MWh"})}


def _read_inputs(
    screen: Console,
    loaded: Sequence[Site],
    files: Mapping[str, Sequence[Path | None]],
    *,
    zones: Sequence[str | None],
    start: str,
    days: int,
) -> list[RunInputs]:
    """Return the inputs of each site, and print the notes."""
    found = []
    for n, site in enumerate(loaded):
        own = {kind: paths[n] for kind, paths in files.items()}
        prices, weather = (own[kind] or sites.series_file(kind) for kind in ("prices", "weather"))
        series_files = SeriesFiles(
            prices=prices,
            weather=weather,
            jobs=own["jobs"],
            carbon=own["carbon"],
            zone=zones[n],
        )
        found.append(read_run_inputs(site, series_files, start=start, days=days))
        print_series_notes(screen, found[-1])
    return found


def _case(site: Site, inputs: RunInputs, load: float) -> BacktestCase:
    return BacktestCase.of(site, inputs, load_scale=load)


def _knows_carbon(one: BacktestCase) -> bool:
    """Return whether carbon counts: also if contracts match hours, as remaining carbon is known."""
    return one.inputs.has_carbon or one.site.grid_connection.carbon == "matched"


def _warn_unknown_carbon(screen: Console, cases: Sequence[BacktestCase]) -> None:
    """Warn of sites that look clean only because their carbon intensity is unknown."""
    known = [one.site for one in cases if _knows_carbon(one)]
    unknown = [one.site for one in cases if not _knows_carbon(one)]
    if unknown and any(site.weights.carbon for site in known):
        counted, ignored = (", ".join(site.name for site in some) for some in (known, unknown))
        text = f"carbon counts at {counted}, and not at {ignored}, where none is known"
        screen.print(f"{text}: work moves there for that reason (--carbon SITE=FILE)", style="red")


def _series_notes(inputs_by_site: Sequence[RunInputs]) -> dict[str, list[str]]:
    """Return the gaps and notes of all sites, each text once."""
    return {
        "gaps": [*dict.fromkeys(gap for one in inputs_by_site for gap in one.gaps)],
        "notes": [*dict.fromkeys(note for one in inputs_by_site for note in one.notes)],
    }


def _describe_route(route: FleetRoute) -> str:
    """Return a route in words."""
    origins, hosts = (", ".join(names or ("every site",)) for names in (route.origins, route.hosts))
    return (
        f"{route.kind} may go from {origins} to {hosts} in {route.transfer_time:g} h at "
        f"{route.transfer_cost:g} EUR/MWh, done within {route.window:g} h"
    )


def _plan_table(found: FleetDecision) -> Table:
    """Return the table of costs and migration by site."""
    shown = table("fleet over a week", "site", *PLAN_COLUMNS, numbers=PLAN_COLUMNS)
    totals = [0.0] * len(PLAN_COLUMNS)
    for number, (name, cost) in enumerate(found.site_costs.items()):
        net = found.net_sent_work[number]
        cells = (
            found.isolated_costs[name],
            cost,
            float(net.clip(min=0.0).sum()),
            float((-net).clip(min=0.0).sum()),
            found.migration_incomes[number],
        )
        totals = [total + cell for total, cell in zip(totals, cells, strict=True)]
        shown.add_row(name, *map(format_integer, cells))
    shown.add_row("all", *map(format_integer, totals))
    return shown


def run_closed_loop(
    screen: Console,
    cases: Sequence[BacktestCase],
    routes: Mapping[str, FleetRoute],
    *,
    out: Path | None,
    notes: Mapping[str, object],
) -> dict[str, object]:
    """Run sites alone and with exchange, show the saving, and return the JSON object.

    `out` is the folder for results, a figure and the trajectories of
    every site. `notes` on the files become part of the result.
    """
    with ProgressBars(screen) as bars:
        found = run_fleet(
            cases,
            routes,
            on_progress=lambda policy, of, *steps: bars.update(f"{of}, {policy}", *steps),
        )
    days = round((cases[0].inputs.end - cases[0].inputs.start) / np.timedelta64(1, "D"))
    screen.print(_run_table(found, f"fleet in closed loop, {pluralise(days, 'day')}"))
    violated = [
        (name, row) for name, run in found.shared_runs.items() for row in run.violated_limits
    ]
    for name, row in violated:
        text = f"{name}: {row['limit']}, {row['minutes']} min, first at {row['first']}"
        screen.print(text, style="red")
    if not violated:
        screen.print("no limit of a plant was violated")
    for moment, reason in found.failed_plans.items():
        text = f"no common plan at {moment}, each site decided alone: {reason}"
        screen.print(text, style="red")
    moved, count = sum(transfer.energy for transfer in found.transfers), len(found.transfers)
    screen.print(
        f"{format_integer(moved)} MWh moved in {pluralise(count, 'transfer')} "
        f"for {format_integer(found.move_cost)} EUR; "
        f"sharing {'saved' if found.saved_objective >= 0.0 else 'cost'} "
        f"{format_integer(abs(found.saved_objective))} EUR"
    )
    result = {**found.as_json(), **notes}
    if out is not None:
        _write(out, cases, found)
        write_json_atomic(out / FLEET_RESULTS_FILE, result)
        screen.print(f"trajectories, figures and decisions are in {out}")
    return result


def _run_table(found: FleetRunResult, title: str) -> Table:
    """Return the table of costs and migration by site in closed loop."""
    shown = table(title, "site", *RUN_COLUMNS, numbers=RUN_COLUMNS)
    rows = []
    for name, shared in found.shared_runs.items():
        alone = found.independent_runs[name].summary
        rows.append(
            (
                alone.objective,
                shared.summary.objective,
                found.sent_work(name),
                found.received_work(name),
                alone.lateness_h,
                shared.summary.lateness_h,
            )
        )
        shown.add_row(name, *map(format_integer, rows[-1]))
    shown.add_row("all", *(format_integer(sum(cells)) for cells in zip(*rows, strict=True)))
    return shown


def _write(folder: Path, cases: Sequence[BacktestCase], found: FleetRunResult) -> None:
    """Write the figure, and both trajectories of each site."""
    for case in cases:
        own = folder / case.site.name
        own.mkdir(parents=True, exist_ok=True)
        for runs in (found.independent_runs, found.shared_runs):
            write_policy_run(own, case.site, runs[case.site.name])
    figure = plot_fleet(
        {name: run.trajectory for name, run in found.independent_runs.items()},
        {name: run.trajectory for name, run in found.shared_runs.items()},
        {name: _net_transfers(found, name) for name in found.shared_runs},
        title=f"{', '.join(found.shared_runs)}: work exchanged",
    )
    figure.savefig(folder / FIGURE_FILE)


def _net_transfers(found: FleetRunResult, name: str) -> FloatArray:
    """Return the work that left a site less what arrived, until the next settlement. [MW]"""
    starts = found.shared_runs[name].trajectory["time"].to_numpy()
    power = np.zeros(len(starts))
    for transfer in found.transfers:
        direction = (transfer.sending_site == name) - float(transfer.receiving_site == name)
        is_active = (starts >= transfer.departure) & (starts < transfer.departure + REPLAN_INTERVAL)
        power[is_active] += direction * transfer.energy / (REPLAN_INTERVAL / HOUR)
    return power
