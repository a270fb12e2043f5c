"""Addresses of brokers: URLs and what TLS needs."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from twin.errors import BrokerError

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
"""Schemes and the ports they stand for."""

FORM: Final = "write mqtt://host:port, or mqtts://user:password@host:port"


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Whom to trust, and who we are.

    Attributes
    ----------
    ca
        Certificates of the authorities that may vouch for the broker; the system's if None.
    certificate, key
        Our own certificate and its key, for brokers that ask for one.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what these files say, ready for use.

        Raises
        ------
        OSError
            If a file is missing or is not what it should be.
        """
        for file in filter(None, (self.ca, self.certificate, self.key)):
            file.open("rb").close()  # OpenSSL would not say which is missing
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a broker is, and as whom to log in."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def is_secure(self) -> bool:
        """Whether the way there is encrypted."""
        return self.scheme == "mqtts"

    def __str__(self) -> str:
        """Return the URL without the password, for people to read."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}"


def parse(url: str) -> Address:
    """Read the URL of a broker.

    Parameters
    ----------
    url
        ``mqtt://`` or ``mqtts://``, with or without user, password and port. Signs that mean
        something in a URL stand in a password as ``%40`` and the like.

    Returns
    -------
    Address
        Its parts.

    Raises
    ------
    BrokerError
        If this cannot be the URL of a broker.
    """
    shown = url.rpartition("@")[2]  # never with the password
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BrokerError(shown, str(error), FORM) from error
    if parts.scheme not in PORTS:
        raise BrokerError(shown, f"no broker speaks {parts.scheme or 'without a scheme'!r}", FORM)
    if not parts.hostname:
        raise BrokerError(shown, "it names no host", FORM)
    if port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise BrokerError(shown, "a broker has a host and a port above 0, and no path", FORM)
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
