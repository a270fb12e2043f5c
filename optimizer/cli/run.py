"""`gigatwin run`: the service of a site."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

import sites
from optimizer.cli.config import CHECK, show
from optimizer.cli.operate import StateFolder
from optimizer.cli.tls import Ca, Certificate, Key, Protocol, tls_of
from optimizer.cli.zone import Zone
from optimizer.service.clock import RealClock
from optimizer.service.plant import synthetic_files
from optimizer.service.preflight import looks
from optimizer.service.settings import PAGE_PORT, Settings
from optimizer.service.start import serve
from optimizer.service.world import Files, zone_of
from telemetry.files import state_folder
from twin.errors import ProblemError, ValidationIssue
from twin.site import Site

app = typer.Typer(add_completion=False, help="Run the service of a site until it is ended.")

PositionFile = Annotated[
    Path | None, typer.Option(envvar="GIGATWIN_POSITION", help="File of what was bought day-ahead.")
]

ReserveFile = Annotated[
    Path | None,
    typer.Option(envvar="GIGATWIN_RESERVES", help="File of reserves: prices, and what is sold."),
]

Check = Annotated[
    bool, typer.Option(CHECK, help="Look at all that it needs, start nothing, and end.")
]


class Clock(StrEnum):
    """Whose time counts."""

    REAL = "real"
    SIMULATED = "simulated"


@app.command()
def run(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a file.")],
    broker: Annotated[
        str, typer.Option(envvar="GIGATWIN_BROKER", help="mqtt:// or mqtts:// URL of the broker.")
    ],
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Plan and show everything, order and publish nothing.")
    ] = False,
    prices: Annotated[
        Path | None, typer.Option(envvar="GIGATWIN_PRICES", help="File; needed in real time.")
    ] = None,
    weather: Annotated[
        Path | None, typer.Option(envvar="GIGATWIN_WEATHER", help="File; needed in real time.")
    ] = None,
    carbon: Annotated[
        Path | None, typer.Option(envvar="GIGATWIN_CARBON", help="File of carbon intensity.")
    ] = None,
    carbon_kind: Annotated[
        Literal["direct", "lca"],
        typer.Option(envvar="GIGATWIN_CARBON_KIND", help="Of generation only, or its life cycle."),
    ] = "direct",
    position: PositionFile = None,
    reserves: ReserveFile = None,
    zone: Zone = None,
    clock: Annotated[
        Clock, typer.Option(help="Whose time counts: the world's, or a simulated plant's.")
    ] = Clock.REAL,
    page: Annotated[
        int, typer.Option(envvar="GIGATWIN_PAGE", help="Port of the page; 0 takes a free one.")
    ] = PAGE_PORT,
    page_host: Annotated[
        list[str] | None, typer.Option(help="Further name under which the page is opened.")
    ] = None,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    protocol: Annotated[Protocol, typer.Option(help="Version of MQTT.")] = Protocol.V311,
    state: StateFolder = None,
    check: Check = False,
) -> None:
    """Hear the plant, plan every quarter-hour, order, and publish, until SIGTERM or Ctrl-C."""
    loaded = sites.load_site(site)
    is_synthetic = prices is None and weather is None and clock is Clock.SIMULATED
    given = synthetic_files(loaded) if is_synthetic else _files(prices, weather, carbon)
    bought = replace(given, position=position, reserves=reserves, carbon_kind=carbon_kind)
    settings = Settings(
        broker=broker,
        files=replace(bought, zone=zone or zone_of(loaded)),
        is_shadow=shadow,
        is_simulated=clock is Clock.SIMULATED,
        is_synthetic=is_synthetic,
        page_port=page,
        page_hosts=tuple(page_host or ()),
        tls=tls_of(ca, certificate, key),
        protocol=protocol.version,
    )
    _begin(loaded, settings, state or state_folder(loaded.name), is_only_looked_at=check)


def _begin(site: Site, settings: Settings, folder: Path, *, is_only_looked_at: bool) -> None:
    """Run the service, or look at what it would meet."""
    if not is_only_looked_at:
        serve(site, settings, folder)
    elif not show(looks(site, settings, folder, now=RealClock().now())):
        raise typer.Exit(1)


def _files(prices: Path | None, weather: Path | None, carbon: Path | None) -> Files:
    """Return the files of the world; without prices and weather nothing can be planned."""
    missing = [
        ValidationIssue(place=name, value="", mend="name the file, as gigatwin fetch writes it")
        for name, path in (("--prices", prices), ("--weather", weather))
        if path is None
    ]
    if prices is None or weather is None:
        raise ProblemError("service", missing)
    return Files(prices=prices, weather=weather, carbon=carbon)
