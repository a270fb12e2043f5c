"""`gigatwin run`: the service of a site. `gigatwin config check`: whether it could start."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

import sites
from optimizer.cli.conditions import ZoneOption
from optimizer.cli.options import (
    CaOption,
    CertificateOption,
    CleartextOption,
    KeyOption,
    MqttVersion,
    StateOption,
    build_tls,
)
from optimizer.cli.output import console, table
from optimizer.inputs.series_files import SeriesFiles, synthetic_files
from optimizer.service.clock import RealClock
from optimizer.service.config import DEFAULT_PAGE_PORT, ServiceConfig
from optimizer.service.startup import PreflightCheck, run_preflight_checks, run_service
from telemetry.durable_files import default_state_folder
from telemetry.runtime import ClockMode
from twin.errors import IssueCode, ProblemError
from twin.site import Site

app = typer.Typer(add_completion=False, help="Run the service of a site until it is stopped.")

PositionFile = Annotated[
    Path | None, typer.Option(envvar="GIGATWIN_POSITION", help="File of the day-ahead position.")
]

ReserveFile = Annotated[
    Path | None,
    typer.Option(envvar="GIGATWIN_RESERVES", help="File of reserve prices and sold power."),
]

ClientSuffixOption = Annotated[
    str,
    typer.Option(
        envvar="GIGATWIN_CLIENT_SUFFIX",
        help="Secret end of the client ids, so that no other certificate disconnects the service.",
    ),
]

CHECK_OPTION = "--check"
"""Option of `gigatwin run` that checks and starts nothing."""

CheckOption = Annotated[
    bool,
    typer.Option(CHECK_OPTION, help="Check everything that the service needs, and start nothing."),
]


@app.command()
def run(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    broker: Annotated[
        str, typer.Option(envvar="GIGATWIN_BROKER", help="mqtt:// or mqtts:// URL of the broker.")
    ],
    shadow: Annotated[bool, typer.Option("--shadow", help="Order and publish nothing.")] = False,
    prices: Annotated[
        Path | None,
        typer.Option(envvar="GIGATWIN_PRICES", help="Price file; required with the real clock."),
    ] = None,
    weather: Annotated[
        Path | None,
        typer.Option(envvar="GIGATWIN_WEATHER", help="Weather file; required with the real clock."),
    ] = None,
    carbon: Annotated[
        Path | None, typer.Option(envvar="GIGATWIN_CARBON", help="Carbon file.")
    ] = None,
    carbon_kind: Annotated[
        Literal["direct", "lca"],
        typer.Option(
            envvar="GIGATWIN_CARBON_KIND",
            help="Emissions of generation only, or of the life cycle.",
        ),
    ] = "direct",
    position: PositionFile = None,
    reserves: ReserveFile = None,
    zone: ZoneOption = None,
    clock: Annotated[ClockMode, typer.Option(help="Real or simulated time.")] = ClockMode.REAL,
    page: Annotated[
        int, typer.Option(envvar="GIGATWIN_PAGE", help="Status page; 0: a free port.")
    ] = DEFAULT_PAGE_PORT,
    page_host: Annotated[
        list[str] | None,
        typer.Option(help="Further host name of the status page; may be repeated."),
    ] = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    allow_cleartext: CleartextOption = False,
    protocol: Annotated[MqttVersion, typer.Option(help="MQTT version.")] = MqttVersion.V311,
    client_suffix: ClientSuffixOption = "",
    state: StateOption = None,
    check: CheckOption = False,
) -> None:
    """Receive telemetry, plan every quarter-hour, order and publish, until SIGTERM or Ctrl-C."""
    loaded = sites.load_site(site)
    is_simulated = clock is ClockMode.SIMULATED
    has_synthetic_series = prices is None and weather is None and is_simulated
    series_files = synthetic_files() if has_synthetic_series else _files(prices, weather, carbon)
    all_files = replace(series_files, position=position, reserves=reserves, carbon_kind=carbon_kind)
    config = ServiceConfig(
        broker=broker,
        series_files=replace(all_files, zone=zone),
        is_shadow=shadow,
        clock_mode=clock,
        is_shipped_site=sites.is_shipped(site),
        has_synthetic_series=has_synthetic_series,
        page_port=page,
        page_hosts=tuple(page_host or ()),
        tls=build_tls(ca, certificate, key, allow_cleartext=allow_cleartext),
        protocol=protocol.client_protocol,
        client_suffix=_checked_suffix(client_suffix),
    )
    _run_or_check(loaded, config, state or default_state_folder(loaded.name), is_check_only=check)


def _run_or_check(site: Site, config: ServiceConfig, folder: Path, *, is_check_only: bool) -> None:
    """Run the service, or check whether it could start."""
    if not is_check_only:
        run_service(site, config, folder)
    elif not print_checks(run_preflight_checks(site, config, folder, now=RealClock().now())):
        raise typer.Exit(1)


def _files(prices: Path | None, weather: Path | None, carbon: Path | None) -> SeriesFiles:
    """Return the series files; prices and weather are required."""
    missing = [
        IssueCode.MISSING.issue(
            name,
            expected="a file, since the clock is real",
            remedy="name a file, for example one of gigatwin fetch",
        )
        for name, path in (("--prices", prices), ("--weather", weather))
        if path is None
    ]
    if prices is None or weather is None:
        raise ProblemError("service", missing)
    return SeriesFiles(prices=prices, weather=weather, carbon=carbon)


def _checked_suffix(text: str) -> str:
    """Return the end of the client ids, empty or too long to be guessed."""
    if not text or re.fullmatch("[A-Za-z0-9]{16,64}", text):
        return text
    issue = IssueCode.INVALID_FORMAT.issue(
        "GIGATWIN_CLIENT_SUFFIX",
        found=f"{len(text)} characters",  # it is secret
        expected="16 to 64 letters and digits",
        remedy="set it to the output of openssl rand -hex 16",
    )
    raise ProblemError("service", [issue])


config_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Check the configuration of a service."
)


@config_app.callback()
def config() -> None:
    """Check the configuration of a service."""


@config_app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def check(context: typer.Context) -> None:
    """Check files, state, partners, page and broker as `gigatwin run` would, and start nothing.

    Takes the options and environment variables of `gigatwin run`.
    """
    command = typer.main.get_command(app)
    code = command.main(
        [*context.args, CHECK_OPTION], prog_name="gigatwin run", standalone_mode=False
    )
    raise typer.Exit(code or 0)


def print_checks(checks: Iterable[PreflightCheck]) -> bool:
    """Print the checks; return whether all passed."""
    screen, shown, is_fine = console(None), table("Configuration", "", "", "found"), True
    for check in checks:
        text = check.error or check.result
        shown.add_row(check.subject, "fault" if check.error else "ok", text)
        is_fine &= not check.error
    screen.print(shown)
    return is_fine
