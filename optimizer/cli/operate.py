"""What the operator's commands share: whose service, in which state folder, told by whom."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

import sites
from optimizer.service.folder import default_folder

SiteName = Annotated[str, typer.Argument(help="Name of a declared site.")]

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
    """
    return state or default_folder(sites.load(site).name)


def author_of(told: str) -> str:
    """Return who orders something."""
    return told or getpass.getuser()
