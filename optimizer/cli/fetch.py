"""`gigatwin fetch`: prices, weather and carbon of a site from the services that publish them."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

import sites
from optimizer.cli.options import JsonFile
from optimizer.cli.output import console, write_json
from telemetry.series.providers import DATA_SERVICES, SeriesQuery, describe_result, find_service
from telemetry.series.providers import fetch_series as fetch_file
from twin.errors import SeriesError, ValidationIssue
from twin.units import format_minute

app = typer.Typer(add_completion=False, help="Fetch prices, weather or carbon into a file.")


@app.command()
def fetch(
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a file.")],
    what: Annotated[
        Literal["prices", "weather", "carbon"], typer.Argument(help="prices, weather or carbon.")
    ],
    out: Annotated[Path, typer.Option(help="File that gigatwin run reads; replaced as a whole.")],
    service: Annotated[
        str | None,
        typer.Option(
            help="energy-charts, entsoe, open-meteo, electricity-maps; the usual if none."
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=360, help="How far back.")] = 76,
    url: Annotated[
        str | None, typer.Option(help="Ask there instead, as of a mirror or a paid plan.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Ask a service, look at its answer, and write it in place of the file unless that tells more.

    Tokens are taken from GIGATWIN_ENTSOE_TOKEN and GIGATWIN_ELECTRICITY_MAPS_TOKEN.
    """
    loaded, name = sites.load_site(site), service or next(iter(DATA_SERVICES[what]))
    told = find_service(what, name)
    asked = SeriesQuery(
        url=(url or told.url).rstrip("/"),
        zone=loaded.zone,
        latitude=loaded.latitude,
        longitude=loaded.longitude,
        now=np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us"),
        days=days,
        token=_token(name, told.token) if told.token else "",
        before=out,
    )
    found = fetch_file(what, name, asked, out=out)
    console(json_file).print(f"{out}: {describe_result(found)}", markup=False)
    write_json(
        {
            "service": name,
            "first": format_minute(found.begin),
            "last": format_minute(found.end),
            "intervals": found.intervals,
            "kept": found.kept_existing_file,
        },
        json_file,
    )


def _token(service: str, variable: str) -> str:
    """Return the token of a service from the environment; on a command line others would see it."""
    token = os.environ.get(variable, "")
    if not token:
        remedy = f"set {variable} to the token that {service} gave you"
        raise SeriesError(service, [ValidationIssue(location=variable, found="", remedy=remedy)])
    return token
