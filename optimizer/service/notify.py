"""Tell systemd how the service is."""

import os
import socket
from typing import Final

import structlog

VARIABLE: Final = "NOTIFY_SOCKET"
"""Where systemd names its socket; a name that begins with @ is abstract."""

logger = structlog.get_logger(__name__)


def notify(state: str) -> None:
    """Send a word to systemd; without it nothing happens.

    Parameters
    ----------
    state
        ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``, or ``STATUS=`` and a line for people; several
        stand on a line each.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(state.encode(), address)
    except OSError as error:
        logger.warning("systemd does not hear", socket=path, because=str(error))
