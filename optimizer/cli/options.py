"""Options that several commands share: site and state folder, broker, and files to be written."""

import getpass
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from typer.models import OptionInfo

import sites
from optimizer.cli.output import option_error
from optimizer.service.state_folder import LAYOUT_FILE, check_layout, site_of_folder
from telemetry.durable_files import default_state_folder, is_stream
from telemetry.mqtt.broker import TlsFiles
from twin.errors import IssueCode, ServiceError

FIGURE_SUFFIXES: Final = (".png", ".svg", ".pdf")

SiteName = Annotated[str, typer.Argument(help="Name of the site, or path of its file.")]

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        envvar="GIGATWIN_STATE",
        help="State folder of the service; default: ~/.local/state/gigatwin/SITE.",
    ),
]

Author = Annotated[
    str, typer.Option(help="Name of a person who is not signed in; default: the user's name.")
]


def resolve_state_folder(site: str, state: Path | None) -> Path:
    """Return the state folder of a site's service.

    Raises SiteError if the site is unknown. Raises ServiceError if the folder belongs to another
    site.
    """
    folder = state or default_state_folder(site)
    if (
        state is None and site_of_folder(folder) != site
    ):  # the path of a site file, or no service yet
        folder = default_state_folder(sites.load_site(site).name)
    owner = site_of_folder(folder)
    if owner and owner != site and owner != sites.load_site(site).name:
        raise ServiceError.single(
            "state",
            IssueCode.INCONSISTENT,
            str(folder),
            found=site,
            expected=f"{owner}, whose state this is",
            remedy=f"name that site, or the folder of {site} with --state",
        )
    return folder


def require_initialised(folder: Path) -> None:
    """Check that a service has run on a folder; otherwise an order there would have no effect.

    Raises ServiceError if no service has run there, or none could start.
    """
    if not (folder / LAYOUT_FILE).exists():
        expected = "a state folder in which a service has run"
        remedy = "name the folder of that service with --state or GIGATWIN_STATE"
        raise ServiceError.single(
            "state", IssueCode.MISSING, str(folder), expected=expected, remedy=remedy
        )
    check_layout(folder)


def resolve_author(author: str) -> str:
    """Return the name that a person states; in a container a user may only have a number.

    Under ``sudo`` it is that of the person who ran it, not that of the service's account.
    """
    try:
        return author or os.environ.get("SUDO_USER", "") or getpass.getuser()
    except (KeyError, OSError):  # Python 3.12, and later versions
        return f"user {os.getuid()}"


CaOption = Annotated[
    Path | None, typer.Option(envvar="GIGATWIN_CA", help="CA certificate of the broker.")
]
CertificateOption = Annotated[
    Path | None, typer.Option(envvar="GIGATWIN_CERTIFICATE", help="Client certificate.")
]
KeyOption = Annotated[
    Path | None, typer.Option(envvar="GIGATWIN_KEY", help="Private key of the client certificate.")
]


CleartextOption = Annotated[
    bool,
    typer.Option(
        "--allow-cleartext",
        envvar="GIGATWIN_ALLOW_CLEARTEXT",
        help="Allow mqtt:// to another machine, without encryption.",
    ),
]


class MqttVersion(StrEnum):
    """Versions of MQTT."""

    V311 = "3.1.1"
    V5 = "5"

    @property
    def client_protocol(self) -> Literal["3.1.1", "5"]:
        """The version as clients expect it."""
        return "5" if self is MqttVersion.V5 else "3.1.1"


def build_tls(
    ca: Path | None, certificate: Path | None, key: Path | None, *, allow_cleartext: bool
) -> TlsFiles | None:
    """Return the TLS files and the permission for cleartext, or None if none is given."""
    tls = TlsFiles(ca=ca, certificate=certificate, key=key, allow_cleartext=allow_cleartext)
    return tls if tls != TlsFiles() else None


def _json_path(file: str | None) -> str | None:
    """Return the path of the JSON file with its folder created, before the work begins."""
    if file == "/dev/stdout":  # tables then go to standard error
        return "-"
    if file not in {None, "-"}:
        prepare_file(Path(str(file)), "--json", may_stream=True)
    return file


def prepare_file(path: Path, location: str, *, may_stream: bool = False) -> Path:
    """Return the path of an output file with its folder created.

    `location` is the option; with `may_stream` a device or pipe is accepted.

    Raises ProblemError if the path is a folder or a device, or its folder cannot be created.
    """
    if path.is_dir():
        expected, remedy = "a file, but this is a folder", "name a file"
        raise option_error(
            location, str(path), expected=expected, remedy=remedy, code=IssueCode.FILE_ERROR
        )
    if is_stream(path) and not may_stream:
        expected, remedy = "a file, but this is a device or a pipe", "name a file"
        raise option_error(
            location, str(path), expected=expected, remedy=remedy, code=IssueCode.FILE_ERROR
        )
    _prepare_folder(path.parent, location)
    return path


def _prepare_folder(path: Path, location: str) -> Path:
    """Return the path of an output folder, created."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        expected = f"a folder, but none can be created there ({error.strerror})"
        raise option_error(
            location, str(path), expected=expected, remedy="name another", code=IssueCode.FILE_ERROR
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
"""Option of every command with a JSON output."""


def figure_option(help: str) -> OptionInfo:
    """Return the option of a figure file, which is checked before the work begins."""

    def check(path: Path | None) -> Path | None:
        if path is not None and path.suffix.lower() not in FIGURE_SUFFIXES:
            raise option_error(
                "picture",
                str(path),
                expected=f"a name that ends in {', '.join(FIGURE_SUFFIXES)}",
                remedy="change the suffix",
                code=IssueCode.INVALID_FORMAT,
            )
        return path and prepare_file(path, "picture")

    option: OptionInfo = typer.Option(help=help, callback=check)
    return option


def output_option(option: str, help: str, *, is_folder: bool = False) -> OptionInfo:
    """Return the option of an output file or folder, checked before the work begins."""

    def check(path: Path | None) -> Path | None:
        if path is None or is_folder:
            return path and _prepare_folder(path, option)
        return prepare_file(path, option, may_stream=True)

    created: OptionInfo = typer.Option(option, help=help, callback=check)
    return created
