"""`gigatwin fetch`: download prices, weather or carbon of a site from public services."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

import sites
from optimizer.cli.options import JsonFile
from optimizer.cli.output import console, option_error, write_json
from optimizer.inputs.series_files import FORECAST_HISTORY
from telemetry.series.providers import (
    DATA_SERVICES,
    ONE_DAY,
    FetchResult,
    SeriesQuery,
    describe_result,
    fetch_series,
    find_service,
)
from twin.errors import IssueCode, SeriesError, ValidationIssue
from twin.site import Site
from twin.units import format_minute

MAX_DAYS = 400
"""Longest history in one request: a year, and the weeks before it that forecasts need. [d]"""

LONGEST_RUN = np.timedelta64(365, "D")
"""Longest back-test that is proposed."""

FETCHED_CARBON_KIND = "lca"

app = typer.Typer(add_completion=False, help="Fetch prices, weather or carbon into a file.")


@app.command()
def fetch(
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    what: Annotated[
        Literal["prices", "weather", "carbon", "all"],
        typer.Argument(help="Series: prices, weather, carbon, or all three."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for gigatwin run, replaced as a whole; with all, a folder of the three files"
            " [default: series-SITE]."
        ),
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="energy-charts, entsoe, open-meteo or electricity-maps.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=MAX_DAYS, help="Days of history.")] = 76,
    url: Annotated[str | None, typer.Option(help="Other address of the service.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Download series, check them, and replace a file unless it reaches further.

    Tokens are read from GIGATWIN_ENTSOE_TOKEN and GIGATWIN_ELECTRICITY_MAPS_TOKEN.
    """
    loaded, screen = sites.load_site(site), console(json_file)
    if what != "all":
        if out is None:
            expected, remedy = "a file", f"name one, such as --out {what}"
            raise option_error("--out", "", expected=expected, remedy=remedy)
        name = service or next(iter(DATA_SERVICES[what]))
        result = _fetch(loaded, what, out, service=name, days=days, url=url)
        screen.print(f"{out}: {describe_result(result)}")
        write_json(_to_json(name, result), json_file)
        return
    if service is not None:
        expected, remedy = "none with all", "leave it out, or fetch each series by itself"
        raise option_error("--service", service, expected=expected, remedy=remedy)
    folder, found = out or Path(f"series-{loaded.name}"), {}
    first = {series: next(iter(services)) for series, services in DATA_SERVICES.items()}
    failures: list[ValidationIssue] = []
    folder.mkdir(parents=True, exist_ok=True)
    for series, name in first.items():
        try:
            found[series] = _fetch(
                loaded, series, folder / series, service=name, days=days, url=url
            )
        except SeriesError as error:
            failures.extend(error.issues)
            continue
        screen.print(f"{folder / series}: {describe_result(found[series])}")
    write_json({one: _to_json(first[one], result) for one, result in found.items()}, json_file)
    if failures:
        raise SeriesError("fetch all", failures)
    screen.print(f"Next: {_backtest_command(site, folder, found)}", soft_wrap=True)


def _backtest_command(site: str, folder: Path, found: Mapping[str, FetchResult]) -> str:
    """Return the command that back-tests the whole days of fetched files, at most a year."""
    begin = max(result.begin for result in found.values()) + FORECAST_HISTORY
    end = min(result.last_interval_start for result in found.values()).astype("datetime64[D]")
    first = max(begin.astype("datetime64[D]") + ONE_DAY, end - LONGEST_RUN)
    files = " ".join(f"--{series} {folder / series}" for series in found)
    days = max((end - first) // ONE_DAY, 1)
    return (
        f"gigatwin backtest {site} {files} --carbon-kind {FETCHED_CARBON_KIND} --start {first}"
        f" --days {days}"
    )


def _fetch(
    site: Site,
    series: str,
    out: Path,
    *,
    service: str,
    days: int,
    url: str | None,
) -> FetchResult:
    """Fetch one series of a site from a service, at its own address unless ``url`` is another."""
    endpoint = find_service(series, service)
    query = SeriesQuery(
        url=(url or endpoint.url).rstrip("/"),
        zone=site.zone,
        latitude=site.latitude,
        longitude=site.longitude,
        now=np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us"),
        past_days=days,
        token=_token(service, endpoint.token_variable) if endpoint.token_variable else "",
        earlier_response_file=out,
    )
    return fetch_series(series, service, query, out=out)


def _to_json(service: str, result: FetchResult) -> dict[str, object]:
    return {
        "service": service,
        "first": format_minute(result.begin),
        "last": format_minute(result.last_interval_start),
        "intervals": result.interval_count,
        "kept": result.kept_existing_file,
    }


def _token(service: str, variable: str) -> str:
    """Return the token of a service from the environment, since others see a command line."""
    token = os.environ.get(variable, "")
    if not token:
        expected, remedy = f"a token of {service}", f"set {variable} to your token"
        raise SeriesError.single(
            service, IssueCode.MISSING, variable, expected=expected, remedy=remedy
        )
    return token
