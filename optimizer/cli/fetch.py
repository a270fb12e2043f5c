"""`gigatwin fetch`: download prices, weather or carbon of a site from public services."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

import sites
from optimizer.cli.options import JsonFile
from optimizer.cli.output import console, write_json
from telemetry.series.providers import (
    DATA_SERVICES,
    SeriesQuery,
    describe_result,
    fetch_series,
    find_service,
)
from twin.errors import IssueCode, SeriesError
from twin.units import format_minute

app = typer.Typer(add_completion=False, help="Fetch prices, weather or carbon into a file.")


@app.command()
def fetch(
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    what: Annotated[
        Literal["prices", "weather", "carbon"],
        typer.Argument(help="Series: prices, weather or carbon."),
    ],
    out: Annotated[Path, typer.Option(help="File for gigatwin run; replaced as a whole.")],
    service: Annotated[
        str | None, typer.Option(help="energy-charts, entsoe, open-meteo or electricity-maps.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=360, help="Days of history.")] = 76,
    url: Annotated[str | None, typer.Option(help="Other address of the service.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Download a series, check it, and replace the file unless that reaches further.

    Tokens are read from GIGATWIN_ENTSOE_TOKEN and GIGATWIN_ELECTRICITY_MAPS_TOKEN.
    """
    loaded, name = sites.load_site(site), service or next(iter(DATA_SERVICES[what]))
    endpoint = find_service(what, name)
    query = SeriesQuery(
        url=(url or endpoint.url).rstrip("/"),
        zone=loaded.zone,
        latitude=loaded.latitude,
        longitude=loaded.longitude,
        now=np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us"),
        past_days=days,
        token=_token(name, endpoint.token_variable) if endpoint.token_variable else "",
        earlier_response_file=out,
    )
    result = fetch_series(what, name, query, out=out)
    console(json_file).print(f"{out}: {describe_result(result)}")
    write_json(
        {
            "service": name,
            "first": format_minute(result.begin),
            "last": format_minute(result.last_interval_start),
            "intervals": result.interval_count,
            "kept": result.kept_existing_file,
        },
        json_file,
    )


def _token(service: str, variable: str) -> str:
    """Return the token of a service from the environment, since others see a command line."""
    token = os.environ.get(variable, "")
    if not token:
        expected, remedy = f"a token of {service}", f"set {variable} to your token"
        raise SeriesError.single(
            service, IssueCode.MISSING, variable, expected=expected, remedy=remedy
        )
    return token
