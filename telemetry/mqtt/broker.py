"""Address and certificates of a broker, and its problems with reasons and remedies for a user."""

import ipaddress
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from twin.errors import BrokerError, IssueCode


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """Files for TLS, and whether a connection may do without TLS.

    - `ca`: certificates of the authorities to trust; those of the system if None.
    - `certificate`, `key`: our own certificate and its key, for brokers that require one.
    - `allow_cleartext`: whether ``mqtt://`` to another machine is allowed; others on the way can
      then read passwords and change orders.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    allow_cleartext: bool = False

    @property
    def has_files(self) -> bool:
        """Whether any file is named."""
        return any((self.ca, self.certificate, self.key))

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context of these files; raise OSError if one is missing or invalid."""
        for file in filter(None, (self.ca, self.certificate, self.key)):
            file.open("rb").close()  # OpenSSL does not name a missing file
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, kw_only=True)
class BrokerAddress:
    """Address of a broker, with user and password."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def is_secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "mqtts"

    @property
    def is_exposed(self) -> bool:
        """Whether others can read the connection: without encryption, to another machine.

        A name that resolves to loopback counts as another machine, except ``localhost``.
        """
        if self.is_secure or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True

    def __str__(self) -> str:
        """Return the URL without the password, safe to show."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}"


DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
"""URL schemes and their default ports."""

BROKER_URL_HINT: Final = "write mqtt://host:port, or mqtts://user:password@host:port"
_URL_CODE: Final = IssueCode.INVALID_FORMAT


def parse_broker_url(url: str) -> BrokerAddress:
    """Return the parts of a broker's URL: ``mqtt://`` or ``mqtts://`` with optional user and port.

    Percent-encode characters of a password that have a meaning in URLs, such as ``%40`` for ``@``.
    It raises BrokerError if the URL is not that of a broker.
    """
    shown = url.rpartition("@")[2]  # without the password
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BrokerError(shown, str(error), BROKER_URL_HINT, code=_URL_CODE) from error
    if parts.scheme not in DEFAULT_PORTS:
        reason = f"the scheme is {parts.scheme!r}, not mqtt or mqtts"
        raise BrokerError(shown, reason, BROKER_URL_HINT, code=_URL_CODE)
    if not parts.hostname:
        raise BrokerError(shown, "the URL has no host", BROKER_URL_HINT, code=_URL_CODE)
    if port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        reason = "the URL of a broker has a host, a port above 0, and no path"
        raise BrokerError(shown, reason, BROKER_URL_HINT, code=_URL_CODE)
    return BrokerAddress(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or DEFAULT_PORTS[parts.scheme],
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


CONFLICT_DISCONNECT_COUNT: Final = 3
"""Connections closed by the broker that indicate a conflict. [1]"""

CONFLICT_WINDOW_S: Final = 120.0
"""Time within which they must occur, and for which a conflict is reported. [s]"""


class BrokerProblem(NamedTuple):
    """Reason of a problem, and its remedy."""

    reason: str
    remedy: str

    def with_details(self, *found: object) -> "BrokerProblem":
        """Return the problem with values in the places of its reason."""
        return self._replace(reason=self.reason.format(*found))


def describe_broker_problems(url: str, *found: BrokerProblem | None) -> str:
    """Return the problems with a broker and their remedies; empty if there are none."""
    text = "; ".join(f"{problem.reason}; {problem.remedy}" for problem in found if problem)
    return f"{url}: {text}" if text else ""


NO_CONNACK_PROBLEM: Final = BrokerProblem(
    "the broker accepts connections and does not answer", "check that this is its MQTT port"
)
NO_TRAFFIC_PROBLEM: Final = BrokerProblem(
    "the broker stopped sending", "check the network and the broker"
)
CONNECT_TIMEOUT_PROBLEM: Final = BrokerProblem(
    "the broker did not accept the connection within {:g} s", "check that this is its MQTT port"
)
PROTOCOL_PROBLEM: Final = BrokerProblem(
    "the broker sends invalid MQTT ({!r})", "check that this is its MQTT port"
)
CONNECTION_LOST_PROBLEM: Final = BrokerProblem(
    "the connection was lost{}", "check the broker and the network; the client connects again"
)
SUBSCRIPTION_DENIED_PROBLEM: Final = BrokerProblem(
    "the broker denies the subscription to {}",
    "allow it in the broker's access list; with NATS, also lower max_ack_pending",
)
QUEUE_OVERFLOW_PROBLEM: Final = BrokerProblem(
    "{} messages were dropped because the outgoing queue was full",
    "check why the broker accepts no messages; repeated messages go out once it does",
)
CLIENT_ID_CONFLICT_PROBLEM: Final = BrokerProblem(
    "the broker closes our connection repeatedly; another client may also be {!r}",
    "stop the other one: each service, recorder and agent of a site may run once on a broker",
)


def early_close_problem(*, is_secure: bool) -> BrokerProblem:
    """Return the problem of a connection that the broker closed before it answered.

    With TLS 1.3 a broker refuses our certificate only then, and Mosquitto gives no reason.
    """
    certificate = "check that our certificate is given, valid and signed as the broker requires"
    port = "check that this is its MQTT port, and write mqtts:// if it uses TLS"
    remedy = f"{certificate if is_secure else port}, and that it has free connections"
    return BrokerProblem("the broker closed the connection before answering", remedy)


def network_problem(error: OSError) -> BrokerProblem:
    """Return the problem that an error of the network indicates."""
    match error:
        case ssl.SSLCertVerificationError():
            return BrokerProblem(
                f"the broker's certificate is not trusted ({error.verify_message})",
                "name the authority that signed it, and the host as in the certificate",
            )
        case ssl.SSLError():
            return BrokerProblem(
                f"TLS failed ({error.reason or error})",
                "check that this is the TLS port and whether it requires our certificate",
            )
        case ConnectionRefusedError():
            return BrokerProblem(
                "nothing listens at this address", "start the broker, or correct host and port"
            )
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return BrokerProblem("no name server answers", "check the network and the name server")
        case socket.gaierror():
            return BrokerProblem("the host does not exist", "correct its name")
        case TimeoutError():
            return BrokerProblem(
                "the broker does not answer", "check the network, the host and its firewall"
            )
    return BrokerProblem(error.strerror or str(error), "check the network and the broker")


def refusal_problem(reason: str) -> BrokerProblem:
    """Return the problem of a connection that the broker refused."""
    refusal = f"the broker refused the connection: {reason}"
    if "identifier" in reason.lower():
        return BrokerProblem(refusal, "allow our client id on the broker")
    if "protocol" in reason.lower():
        return BrokerProblem(refusal, "choose the other version of MQTT")
    return BrokerProblem(refusal, "correct user and password, or the broker's access list")


class ClientIdConflictDetector:
    """Detector of a second client with our client id, from disconnects by the broker."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=CONFLICT_DISCONNECT_COUNT)
        self._taken_over_at = -CONFLICT_WINDOW_S

    def on_disconnect(self, reason: str) -> None:
        """Record a disconnect, with the broker's reason."""
        self._times.append(time.monotonic())
        if "taken over" in reason.lower():
            self._taken_over_at = time.monotonic()

    @property
    def is_conflict_detected(self) -> bool:
        """Whether another client seems to use our client id."""
        now = time.monotonic()
        is_often = (
            len(self._times) == CONFLICT_DISCONNECT_COUNT
            and now - self._times[0] < CONFLICT_WINDOW_S
        )
        return is_often or now - self._taken_over_at < CONFLICT_WINDOW_S
