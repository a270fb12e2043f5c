"""`gigatwin run`: the service of a site.

`gigatwin config check`: whether a service would find all that it needs.
"""

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

import sites
from optimizer.cli.conditions import ZoneOption
from optimizer.cli.options import (
    CaOption,
    CertificateOption,
    KeyOption,
    MqttVersion,
    StateOption,
    build_tls,
)
from optimizer.cli.output import console, table
from optimizer.inputs.series_files import SeriesFiles, default_zone, synthetic_files
from optimizer.service.clock import RealClock
from optimizer.service.config import DEFAULT_PAGE_PORT, ServiceConfig
from optimizer.service.startup import PreflightCheck, run_preflight_checks, run_service
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

CHECK_OPTION = "--check"
"""Option of `gigatwin run` by which it looks, and starts nothing."""

Check = Annotated[
    bool, typer.Option(CHECK_OPTION, help="Look at all that it needs, start nothing, and end.")
]


class ClockSource(StrEnum):
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
    zone: ZoneOption = None,
    clock: Annotated[
        ClockSource, typer.Option(help="Whose time counts: the world's, or a simulated plant's.")
    ] = ClockSource.REAL,
    page: Annotated[
        int, typer.Option(envvar="GIGATWIN_PAGE", help="Port of the page; 0 takes a free one.")
    ] = DEFAULT_PAGE_PORT,
    page_host: Annotated[
        list[str] | None, typer.Option(help="Further name under which the page is opened.")
    ] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    protocol: Annotated[MqttVersion, typer.Option(help="Version of MQTT.")] = MqttVersion.V311,
    state: StateOption = None,
    check: Check = False,
) -> None:
    """Hear the plant, plan every quarter-hour, order, and publish, until SIGTERM or Ctrl-C."""
    loaded = sites.load_site(site)
    is_synthetic = prices is None and weather is None and clock is ClockSource.SIMULATED
    given = synthetic_files(loaded) if is_synthetic else _files(prices, weather, carbon)
    bought = replace(given, position=position, reserves=reserves, carbon_kind=carbon_kind)
    settings = ServiceConfig(
        broker=broker,
        series_files=replace(bought, zone=zone or default_zone(loaded)),
        is_shadow=shadow,
        is_simulated=clock is ClockSource.SIMULATED,
        is_synthetic=is_synthetic,
        page_port=page,
        page_hosts=tuple(page_host or ()),
        tls=build_tls(ca, certificate, key),
        protocol=protocol.version,
    )
    _run_or_check(loaded, settings, state or state_folder(loaded.name), is_only_looked_at=check)


def _run_or_check(
    site: Site, config: ServiceConfig, folder: Path, *, is_only_looked_at: bool
) -> None:
    """Run the service, or look at what it would meet."""
    if not is_only_looked_at:
        run_service(site, config, folder)
    elif not print_checks(run_preflight_checks(site, config, folder, now=RealClock().now())):
        raise typer.Exit(1)


def _files(prices: Path | None, weather: Path | None, carbon: Path | None) -> SeriesFiles:
    """Return the files of the world; without prices and weather nothing can be planned."""
    missing = [
        ValidationIssue(
            location=name, found="", remedy="name the file, as gigatwin fetch writes it"
        )
        for name, path in (("--prices", prices), ("--weather", weather))
        if path is None
    ]
    if prices is None or weather is None:
        raise ProblemError("service", missing)
    return SeriesFiles(prices=prices, weather=weather, carbon=carbon)


config_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Check what a service is told."
)


@config_app.callback()
def config() -> None:
    """Check what a service is told."""


@config_app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def check(context: typer.Context) -> None:
    """Look at files, state, partners, page and broker as `gigatwin run` would; start nothing.

    Takes what `gigatwin run` takes, from the command line or the same variables.
    """
    command = typer.main.get_command(app)
    code = command.main(
        [*context.args, CHECK_OPTION], prog_name="gigatwin run", standalone_mode=False
    )
    raise typer.Exit(code or 0)


def print_checks(checks: Iterable[PreflightCheck]) -> bool:
    """Print what was looked at; return whether nothing is at fault."""
    screen, shown, is_fine = console(None), table("Configuration", "", "", "found"), True
    for look in checks:
        told = escape(look.error or look.result)
        shown.add_row(look.name, "fault" if look.error else "ok", told)
        is_fine &= not look.error
    screen.print(shown)
    return is_fine
