"""What the operator's commands share: whose service, in which state folder, told by whom."""

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

import sites
from optimizer.service.folder import SCHEMA_FILE, check_layout, site_of
from telemetry.files import state_folder
from twin.errors import ServiceError, ValidationIssue

SiteName = Annotated[str, typer.Argument(help="Name of the site, or path of its file.")]

StateFolder = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        envvar="GIGATWIN_STATE",
        help="State folder of the service; by default ~/.local/state/gigatwin/SITE.",
    ),
]

Author = Annotated[str, typer.Option(help="Who orders it; by default the user's name.")]


def state_of(site: str, state: Path | None) -> Path:
    """Return the state folder of a site's service.

    Raises
    ------
    SiteError
        If there is no such site.
    ServiceError
        If the folder is another site's.
    """
    folder = state or state_folder(site)
    if state is None and site_of(folder) != site:  # the path of a file, or none ever ran by default
        folder = state_folder(sites.load_site(site).name)
    named = site_of(folder)
    if named and named != site and named != sites.load_site(site).name:
        mend = f"this is the state of {named}; name that site, or the folder of {site} with --state"
        raise ServiceError("state", [ValidationIssue(place=str(folder), value=site, mend=mend)])
    return folder


def expect_past(folder: Path) -> None:
    """See to it that a service has run on a folder, and can: else an order there reaches nobody.

    Raises
    ------
    ServiceError
        If none ever has, or none would start there.
    """
    if not (folder / SCHEMA_FILE).exists():
        mend = (
            "no service has ever run on this state; "
            "name the folder of the one that you mean with --state or GIGATWIN_STATE"
        )
        raise ServiceError("state", [ValidationIssue(place=str(folder), value="", mend=mend)])
    check_layout(folder)


def author_of(told: str) -> str:
    """Return who orders something; in a container a user may have a number only."""
    try:
        return told or getpass.getuser()
    except (KeyError, OSError):  # of Python 3.12, and later
        return f"user {os.getuid()}"
