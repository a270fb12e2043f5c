"""What is wrong between us and a broker, in words: the reason, and what to do about it."""

import socket
import ssl
import time
from collections import deque
from collections.abc import Set
from typing import Final, NamedTuple

CONFLICT_DISCONNECTS: Final = 3
"""Connections closed by the broker that make a fight."""

CONFLICT_WINDOW_S: Final = 120.0
"""Time within which they must lie, and for which a fight is remembered. [s]"""


class BrokerProblem(NamedTuple):
    """One thing that is wrong."""

    reason: str
    remedy: str


def describe(url: str, *found: BrokerProblem | None) -> str:
    """Return what is wrong with a broker and what to do about it; empty if nothing is."""
    told = "; ".join(f"{trouble.reason}; {trouble.remedy}" for trouble in found if trouble)
    return f"{url}: {told}" if told else ""


NO_CONNACK: Final = BrokerProblem(
    "it takes connections and does not answer", "is this its MQTT port?"
)
NO_TRAFFIC: Final = BrokerProblem("it fell silent", "see to the network and the broker")


def closed_before_connack(*, is_secure: bool) -> BrokerProblem:
    """Return what is wrong when it ends a connection before it has let us in.

    With TLS 1.3 a broker refuses our certificate only then, and Mosquitto without a word.
    """
    ours = "does it want a certificate of ours, or has ours run out, or is it another signer's?"
    remedy = ours if is_secure else "is this its MQTT port? with TLS write mqtts://"
    return BrokerProblem("it hung up before letting us in", f"{remedy}; is it full?")


def network_error(error: OSError) -> BrokerProblem:
    """Return what an error of the network means."""
    match error:
        case ssl.SSLCertVerificationError():
            return BrokerProblem(
                f"its certificate is not trusted ({error.verify_message})",
                "name the authority that signed it, and the host as the certificate does",
            )
        case ssl.SSLError():
            return BrokerProblem(
                f"TLS failed ({error.reason or error})",
                "is this its TLS port? does it ask for a certificate of ours?",
            )
        case ConnectionRefusedError():
            return BrokerProblem(
                "nothing listens there", "start the broker, or correct host and port"
            )
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return BrokerProblem("no name server answers", "see to the network and the name server")
        case socket.gaierror():
            return BrokerProblem("there is no such host", "correct its name")
        case TimeoutError():
            return BrokerProblem(
                "it does not answer", "see to the network, the host and its firewall"
            )
    return BrokerProblem(error.strerror or str(error), "see to the network and the broker")


def connection_refused(reason: str) -> BrokerProblem:
    """Return what to do when the broker refuses us."""
    if "identifier" in reason.lower():
        return BrokerProblem(f"it refused us: {reason}", "let the broker take our client id")
    if "protocol" in reason.lower():
        return BrokerProblem(f"it refused us: {reason}", "choose the other version of MQTT")
    return BrokerProblem(
        f"it refused us: {reason}", "correct user and password, or its access list"
    )


def connect_timeout(timeout: float) -> BrokerProblem:
    """Return what is wrong when it has not let us in within some time. [s]"""
    return BrokerProblem(f"no welcome within {timeout:g} s", "is this its MQTT port?")


def protocol_error(error: Exception) -> BrokerProblem:
    """Return what is wrong when what it sends cannot be read."""
    return BrokerProblem(f"what it sends makes no sense ({error!r})", "is this its MQTT port?")


def connection_lost(reason: str) -> BrokerProblem:
    """Return why it ended a connection, with the words that it gave, if any."""
    words = f": {reason}" if reason else ""
    return BrokerProblem(
        f"the connection was lost{words}", "it is tried again; is the broker well?"
    )


def subscription_denied(filters: Set[str]) -> BrokerProblem:
    """Return what is wrong when we may not hear topics."""
    return BrokerProblem(
        f"it does not let us hear {', '.join(sorted(filters))}",
        "allow it in the broker's access list; with NATS, lower max_ack_pending too",
    )


def queue_overflow(count: int) -> BrokerProblem:
    """Return what is wrong when messages had no room to wait for the broker."""
    return BrokerProblem(
        f"{count} messages found no room to wait for it, and are lost",
        "see why it takes nothing; what is said again goes out once it does",
    )


def client_id_conflict(client_id: str) -> BrokerProblem:
    """Return what is wrong when two clients have one name."""
    return BrokerProblem(
        f"it closes our connection again and again: is another client {client_id!r} too?",
        "end the other one: each service, recorder and agent of a site may run once on a broker",
    )


class ClientIdConflictDetector:
    """How often the broker lately closed a connection that stood."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=CONFLICT_DISCONNECTS)
        self._told = -CONFLICT_WINDOW_S

    def on_disconnect(self, reason: str) -> None:
        """Note one, with the words that the broker gave."""
        self._times.append(time.monotonic())
        if "taken over" in reason.lower():
            self._told = time.monotonic()

    @property
    def detected(self) -> bool:
        """Whether somebody else seems to use our name."""
        now = time.monotonic()
        is_often = (
            len(self._times) == CONFLICT_DISCONNECTS and now - self._times[0] < CONFLICT_WINDOW_S
        )
        return is_often or now - self._told < CONFLICT_WINDOW_S
