"""Options of the command line that tell how a broker is reached."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from telemetry.mqtt.connection import TlsFiles

Ca = Annotated[Path | None, typer.Option(envvar="GIGATWIN_CA", help="Of the broker's signer.")]
Certificate = Annotated[
    Path | None, typer.Option(envvar="GIGATWIN_CERTIFICATE", help="Our certificate.")
]
Key = Annotated[Path | None, typer.Option(envvar="GIGATWIN_KEY", help="Its private key.")]


class Protocol(StrEnum):
    """Versions of MQTT."""

    V311 = "3.1.1"
    V5 = "5"

    @property
    def version(self) -> Literal["3.1.1", "5"]:
        """The same as clients take it."""
        return "5" if self is Protocol.V5 else "3.1.1"


def tls_of(ca: Path | None, certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """Return what is told of certificates; None if nothing is."""
    return TlsFiles(ca=ca, certificate=certificate, key=key) if ca or certificate or key else None
