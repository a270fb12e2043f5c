"""`gigatwin fleet`: sites that share work, settled by prices, decided and judged one by one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

import sites
from optimizer.cli.fleet_run import run
from optimizer.cli.show import (
    JsonFile,
    console,
    counted,
    name_synthetic,
    output_option,
    table,
    tell,
    whole,
    write_json,
)
from optimizer.fleet.coordinate import GAP
from optimizer.fleet.decisions import FleetDecision, decide_fleet
from optimizer.fleet.question import check, share
from optimizer.service.trials.setting import LEAST_LOAD, MOST_LOAD, Setting
from optimizer.service.world import AHEAD, Files, World, read_world, zone_of
from twin.declarations import FleetRoute
from twin.errors import ProblemError, ValidationIssue
from twin.site import Site
from twin.units import MAX_ENERGY_PRICE_EUR_MWH

app = typer.Typer(add_completion=False, help="Let sites share work, and decide for all of them.")

LOAD: Final = 0.6
"""Mean share of the racks that jobs use, unless told. [1]"""

COLUMNS: Final = ("alone [EUR]", "together [EUR]", "sends [MWh]", "takes in [MWh]", "earns [EUR]")


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
        typer.Option(help=f"NUMBER for all, or SITE=NUMBER; {LOAD:g} of the racks if left out."),
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
    gap: Annotated[float, typer.Option(min=1e-6, help="Share of the cost to be missed.")] = GAP,
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
            place="--out", value=str(out), mend="say with --days how long to run"
        )
        raise ProblemError("command", [fault])
    screen = console(json_file)
    loaded = [sites.load_site(name) for name in names]
    ways = sites.load_routes(routes) if routes else _anywhere(move, transfer_cost)
    check(loaded, ways)
    given = {"prices": prices, "weather": weather, "jobs": jobs, "carbon": carbon}
    files = {kind: _files(kind, told, loaded) for kind, told in given.items()}
    loads = _loads(load_scale, loaded)
    ours = {k: None if sites.series_file(k) in v else v for k, v in files.items() if k != "carbon"}
    name_synthetic(screen, ours)
    for name, route in ways.items():
        screen.print(f"{name}: {_words(route)}", markup=False)
    worlds = _worlds(screen, loaded, files, start=start, days=days or AHEAD)
    settings = list(map(_setting, loaded, worlds, loads))
    _tell_uneven(screen, settings)
    if days:
        result = run(screen, settings, ways, cluster=cluster, out=out, said=_told(worlds))
    else:
        found = _plan(screen, settings, ways, cluster=cluster, gap=gap)
        result = found.as_json() | _told(worlds)
    write_json(result, json_file)


def _plan(
    screen: Console,
    settings: Sequence[Setting],
    ways: Mapping[str, FleetRoute],
    *,
    cluster: str | None,
    gap: float,
) -> FleetDecision:
    """Decide for all sites from what is known at the start, show it, and return it."""
    grid = max((one.horizon() for one in settings), key=lambda axes: axes.sizes["time"])
    problems = share([one.question(grid) for one in settings], ways)

    def listen(number: int, left: float) -> None:
        screen.print(f"round {number}: {max(left, 0.0):.3%} may be missed")

    found = decide_fleet(problems, cluster=cluster, gap=gap, listen=listen)
    screen.print(_table(found))
    for transfer in found.transfers:
        screen.print(str(transfer), markup=False)
    settled, cost = found.coordination, sum(found.costs.values())
    screen.print(
        f"sharing saves {whole(found.saved)} EUR; no more than "
        f"{whole(max(cost - settled.bound, 0.0))} EUR could still be saved "
        f"({max(found.gap, 0.0):.3%}, {counted(settled.rounds, 'round')})"
    )
    return found


def _files(kind: str, told: Sequence[str], loaded: Sequence[Site]) -> list[Path | None]:
    """Return the file of each site: its own, or that for all; synthetic if none is named."""
    usual = None if kind == "carbon" else sites.series_file(kind)
    found = _each(kind, told, loaded, what="FILE")
    return [usual if word is None else Path(word) for word in found]


def _loads(told: Sequence[str], loaded: Sequence[Site]) -> list[float]:
    """Return the load of each site, as a share of its racks. [1]"""
    words = _each("load-scale", told, loaded, what="NUMBER")
    try:
        return [LOAD if word is None else float(word) for word in words]
    except ValueError as error:
        mend = f"mean share of the racks that jobs use: {LEAST_LOAD:g} to {MOST_LOAD:g} of 1"
        fault = ValidationIssue(place="--load-scale", value=", ".join(told), mend=mend)
        raise ProblemError("command", [fault]) from error


def _each(
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
        mend = f"give one {what} for all, or SITE={what} for {known}, each once"
        raise ProblemError(
            "command", [ValidationIssue(place=f"--{option}", value=value, mend=mend)]
        )
    usual = general[0] if general else None
    return [own.get(site.name, usual) for site in loaded]


def _anywhere(kind: str, cost: float) -> dict[str, FleetRoute]:
    """Return a route by which a kind of work may go from every site to every other."""
    return {"anywhere": FleetRoute.model_validate({"kind": kind, "cost": f"{cost} EUR/MWh"})}


def _worlds(
    screen: Console,
    loaded: Sequence[Site],
    files: Mapping[str, Sequence[Path | None]],
    *,
    start: str,
    days: int,
) -> list[World]:
    """Return what each site's files tell from the first moment on, and say what is modelled."""
    found = []
    for n, site in enumerate(loaded):
        own = {kind: paths[n] for kind, paths in files.items()}
        prices, weather = (own[kind] or sites.series_file(kind) for kind in ("prices", "weather"))
        given = Files(
            prices=prices,
            weather=weather,
            jobs=own["jobs"],
            carbon=own["carbon"],
            zone=zone_of(site),
        )
        found.append(read_world(site, given, start=start, days=days))
        tell(screen, found[-1])
    return found


def _setting(site: Site, world: World, load: float) -> Setting:
    return Setting.of(site, world, load_scale=load)


def _knows_carbon(one: Setting) -> bool:
    """Return whether carbon counts: contracts that match hours tell of what they leave over."""
    return one.world.has_carbon or one.site.grid.carbon == "matched"


def _tell_uneven(screen: Console, settings: Sequence[Setting]) -> None:
    """Tell which sites look clean only because their carbon is not known."""
    known = [one.site for one in settings if _knows_carbon(one)]
    unknown = [one.site for one in settings if not _knows_carbon(one)]
    if unknown and any(site.weights.carbon for site in known):
        told, untold = (", ".join(site.name for site in some) for some in (known, unknown))
        words = f"carbon counts at {told}, and not at {untold}, where none is known"
        screen.print(
            f"{words}: work goes there for it (--carbon SITE=FILE)", style="red", markup=False
        )


def _told(worlds: Sequence[World]) -> dict[str, list[str]]:
    """Return what was said of the files of all sites, each text once: a file may be of several."""
    return {
        "gaps": [*dict.fromkeys(gap for world in worlds for gap in world.gaps)],
        "notes": [*dict.fromkeys(note for world in worlds for note in world.notes)],
    }


def _words(route: FleetRoute) -> str:
    """Return a route in words."""
    origins, hosts = (", ".join(given or ("every site",)) for given in (route.origins, route.hosts))
    return (
        f"{route.kind} may go from {origins} to {hosts} in {route.transfer_time:g} h at "
        f"{route.move_cost:g} EUR/MWh, done within {route.window:g} h"
    )


def _table(found: FleetDecision) -> Table:
    """Return what each site costs and what it moves."""
    shown = table("fleet over a week", "site", *COLUMNS, numbers=COLUMNS)
    settled, totals = found.coordination, [0.0] * len(COLUMNS)
    for number, (name, cost) in enumerate(found.costs.items()):
        net = settled.nets[number]
        cells = (
            found.alone[name],
            cost,
            float(net.clip(min=0.0).sum()),
            float((-net).clip(min=0.0).sum()),
            found.earned(number),
        )
        totals = [total + cell for total, cell in zip(totals, cells, strict=True)]
        shown.add_row(name, *map(whole, cells))
    shown.add_row("all", *map(whole, totals))
    return shown
