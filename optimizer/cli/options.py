"""How commands show what they found: tables for people, JSON for scripts.

What the operator's commands share: whose service, in which state folder, told by whom.

Options of the command line that tell how a broker is reached.
"""

import getpass
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from typer.models import OptionInfo

import sites
from optimizer.service.state_folder import LAYOUT_FILE, check_layout, owner_of
from telemetry.files import is_stream, state_folder
from telemetry.mqtt.connection import TlsFiles
from twin.errors import ProblemError, ServiceError, ValidationIssue

SiteName = Annotated[str, typer.Argument(help="Name of the site, or path of its file.")]

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        envvar="GIGATWIN_STATE",
        help="State folder of the service; by default ~/.local/state/gigatwin/SITE.",
    ),
]

Author = Annotated[str, typer.Option(help="Who orders it; by default the user's name.")]


def resolve_state_folder(site: str, state: Path | None) -> Path:
    """Return the state folder of a site's service.

    Raises
    ------
    SiteError
        If there is no such site.
    ServiceError
        If the folder is another site's.
    """
    folder = state or state_folder(site)
    if (
        state is None and owner_of(folder) != site
    ):  # the path of a file, or none ever ran by default
        folder = state_folder(sites.load_site(site).name)
    named = owner_of(folder)
    if named and named != site and named != sites.load_site(site).name:
        remedy = (
            f"this is the state of {named}; name that site, or the folder of {site} with --state"
        )
        raise ServiceError(
            "state", [ValidationIssue(location=str(folder), found=site, remedy=remedy)]
        )
    return folder


def require_initialised(folder: Path) -> None:
    """See to it that a service has run on a folder, and can: else an order there reaches nobody.

    Raises
    ------
    ServiceError
        If none ever has, or none would start there.
    """
    if not (folder / LAYOUT_FILE).exists():
        remedy = (
            "no service has ever run on this state; "
            "name the folder of the one that you mean with --state or GIGATWIN_STATE"
        )
        raise ServiceError(
            "state", [ValidationIssue(location=str(folder), found="", remedy=remedy)]
        )
    check_layout(folder)


def resolve_author(author: str) -> str:
    """Return who orders something; in a container a user may have a number only."""
    try:
        return author or getpass.getuser()
    except (KeyError, OSError):  # of Python 3.12, and later
        return f"user {os.getuid()}"


CaOption = Annotated[
    Path | None, typer.Option(envvar="GIGATWIN_CA", help="Of the broker's signer.")
]
CertificateOption = Annotated[
    Path | None, typer.Option(envvar="GIGATWIN_CERTIFICATE", help="Our certificate.")
]
KeyOption = Annotated[Path | None, typer.Option(envvar="GIGATWIN_KEY", help="Its private key.")]


class MqttVersion(StrEnum):
    """Versions of MQTT."""

    V311 = "3.1.1"
    V5 = "5"

    @property
    def version(self) -> Literal["3.1.1", "5"]:
        """The same as clients take it."""
        return "5" if self is MqttVersion.V5 else "3.1.1"


def build_tls(ca: Path | None, certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """Return what is told of certificates; None if nothing is."""
    return TlsFiles(ca=ca, certificate=certificate, key=key) if ca or certificate or key else None


FIGURE_SUFFIXES: Final = (".png", ".svg", ".pdf")
"""How the names of pictures may end."""


def _json_path(file: str | None) -> str | None:
    """Return where JSON goes, its folder made: what cannot be written is told before the work."""
    if file == "/dev/stdout":  # so that the table does not go there as well
        return "-"
    if file not in {None, "-"}:
        prepare_file(Path(str(file)), "--json", may_stream=True)
    return file


def prepare_file(path: Path, place: str, *, may_stream: bool = False) -> Path:
    """Return the path of a file to be written, its folder made.

    Parameters
    ----------
    path
        The file.
    place
        The option that names it.
    may_stream
        Whether it is text, which a device or a pipe takes too.

    Raises
    ------
    ProblemError
        If it is a folder, a device that is not to be replaced, or its folder cannot be made.
    """
    if path.is_dir():
        remedy = "is a folder; name a file"
        raise ProblemError(
            "command", [ValidationIssue(location=place, found=str(path), remedy=remedy)]
        )
    if is_stream(path) and not may_stream:
        remedy = "is a device or a pipe; name a file"
        raise ProblemError(
            "command", [ValidationIssue(location=place, found=str(path), remedy=remedy)]
        )
    _prepare_folder(path.parent, place)
    return path


def _prepare_folder(path: Path, place: str) -> Path:
    """Return the path of a folder to be written to, made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = f"no folder can be made there ({error.strerror}); name another"
        raise ProblemError(
            "command", [ValidationIssue(location=place, found=str(path), remedy=remedy)]
        ) from error
    return path


JsonFile = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the result as JSON; - is standard output.",
        callback=_json_path,
    ),
]
"""The option that every command has."""


def figure_option(help: str) -> OptionInfo:
    """Return the option of a file for a picture, looked at before the work is done.

    Parameters
    ----------
    help
        What the picture shows, for ``--help``.
    """

    def look(path: Path | None) -> Path | None:
        if path is not None and path.suffix.lower() not in FIGURE_SUFFIXES:
            remedy = f"name a picture that ends in {', '.join(FIGURE_SUFFIXES)}"
            raise ProblemError(
                "command", [ValidationIssue(location="picture", found=str(path), remedy=remedy)]
            )
        return path and prepare_file(path, "picture")

    made: OptionInfo = typer.Option(help=help, callback=look)
    return made


def output_option(option: str, help: str, *, is_folder: bool = False) -> OptionInfo:
    """Return the option of a file or folder to be written, looked at before the work is done.

    Parameters
    ----------
    option
        Its name, as ``--markdown``.
    help
        What is written there, for ``--help``.
    is_folder
        Whether it is a folder; then it is made.
    """

    def look(path: Path | None) -> Path | None:
        if path is None or is_folder:
            return path and _prepare_folder(path, option)
        return prepare_file(path, option, may_stream=True)

    made: OptionInfo = typer.Option(option, help=help, callback=look)
    return made
