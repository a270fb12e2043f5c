"""Problems with a broker, each with the reason and the remedy that a user reads."""

import socket
import ssl
import time
from collections import deque
from collections.abc import Set
from typing import Final, NamedTuple

CONFLICT_DISCONNECTS: Final = 3
"""Connections closed by the broker that indicate a conflict. [1]"""

CONFLICT_WINDOW_S: Final = 120.0
"""Time within which they must occur, and for which a conflict is reported. [s]"""


class BrokerProblem(NamedTuple):
    """Reason of a problem, and its remedy."""

    reason: str
    remedy: str


def describe(url: str, *found: BrokerProblem | None) -> str:
    """Return the problems with a broker and their remedies; empty if there are none."""
    text = "; ".join(f"{problem.reason}; {problem.remedy}" for problem in found if problem)
    return f"{url}: {text}" if text else ""


NO_CONNACK: Final = BrokerProblem(
    "the broker accepts connections and does not answer", "check that this is its MQTT port"
)
NO_TRAFFIC: Final = BrokerProblem("the broker stopped sending", "check the network and the broker")


def closed_before_connack(*, is_secure: bool) -> BrokerProblem:
    """Return the problem of a connection that the broker closed before it answered.

    With TLS 1.3 a broker refuses our certificate only then, and Mosquitto gives no reason.
    """
    certificate = "check that our certificate is given, valid and signed as the broker requires"
    port = "check that this is its MQTT port, and write mqtts:// if it uses TLS"
    remedy = f"{certificate if is_secure else port}, and that it has free connections"
    return BrokerProblem("the broker closed the connection before answering", remedy)


def network_error(error: OSError) -> BrokerProblem:
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


def connection_refused(reason: str) -> BrokerProblem:
    """Return the problem of a connection that the broker refused."""
    refusal = f"the broker refused the connection: {reason}"
    if "identifier" in reason.lower():
        return BrokerProblem(refusal, "allow our client id on the broker")
    if "protocol" in reason.lower():
        return BrokerProblem(refusal, "choose the other version of MQTT")
    return BrokerProblem(refusal, "correct user and password, or the broker's access list")


def connect_timeout(timeout: float) -> BrokerProblem:
    """Return the problem of a broker that did not accept the connection within a time. [s]"""
    reason = f"the broker did not accept the connection within {timeout:g} s"
    return BrokerProblem(reason, "check that this is its MQTT port")


def protocol_error(error: Exception) -> BrokerProblem:
    """Return the problem of bytes that are not valid MQTT."""
    reason = f"the broker sends invalid MQTT ({error!r})"
    return BrokerProblem(reason, "check that this is its MQTT port")


def connection_lost(reason: str) -> BrokerProblem:
    """Return the problem of a lost connection, with the broker's reason if it gave one."""
    detail = f": {reason}" if reason else ""
    return BrokerProblem(
        f"the connection was lost{detail}",
        "check the broker and the network; the client connects again",
    )


def subscription_denied(filters: Set[str]) -> BrokerProblem:
    """Return the problem of denied subscriptions."""
    return BrokerProblem(
        f"the broker denies the subscription to {', '.join(sorted(filters))}",
        "allow it in the broker's access list; with NATS, also lower max_ack_pending",
    )


def queue_overflow(count: int) -> BrokerProblem:
    """Return the problem of messages that were dropped because the outgoing queue was full."""
    return BrokerProblem(
        f"{count} messages were dropped because the outgoing queue was full",
        "check why the broker accepts no messages; repeated messages go out once it does",
    )


def client_id_conflict(client_id: str) -> BrokerProblem:
    """Return the problem of two clients with one client id."""
    return BrokerProblem(
        f"the broker closes our connection repeatedly; another client may also be {client_id!r}",
        "stop the other one: each service, recorder and agent of a site may run once on a broker",
    )


class ClientIdConflictDetector:
    """Detector of a second client with our client id, from disconnects by the broker."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=CONFLICT_DISCONNECTS)
        self._taken_over_at = -CONFLICT_WINDOW_S

    def on_disconnect(self, reason: str) -> None:
        """Record a disconnect, with the broker's reason."""
        self._times.append(time.monotonic())
        if "taken over" in reason.lower():
            self._taken_over_at = time.monotonic()

    @property
    def detected(self) -> bool:
        """Whether another client seems to use our client id."""
        now = time.monotonic()
        is_often = (
            len(self._times) == CONFLICT_DISCONNECTS and now - self._times[0] < CONFLICT_WINDOW_S
        )
        return is_often or now - self._taken_over_at < CONFLICT_WINDOW_S
