"""The option that says where naive local times of files are from, of every command that has it."""

from typing import Annotated

import typer

from telemetry import market_zones


def known_zone(zone: str | None) -> str | None:
    """Return the zone as it was given; a name that nobody knows is told before any file is read."""
    if zone is not None:
        market_zones.time_zone(zone)
    return zone


Zone = Annotated[
    str | None,
    typer.Option(
        "--zone", callback=known_zone, help="Zone of naive local times; the site's by default."
    ),
]
"""A bidding zone, as DE-LU, or an IANA name, as Europe/Berlin."""
