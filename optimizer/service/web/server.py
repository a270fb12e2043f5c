"""HTTP server of the page on its own thread, bound before it starts."""

import asyncio
import socket
from collections.abc import Sequence
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from optimizer.service.status import OperatorInterface
from optimizer.service.web.app import LOOPBACK_HOSTS, create_app
from twin.errors import StatusPageError

SERVER_TIMEOUT_S: Final = 10.0
"""Longest wait for the server to start, or to end. [s]"""

MAX_REQUESTS: Final = 64
"""Connections served at once; further ones get status 503. [1]"""

MAX_CONNECTIONS: Final = 2 * MAX_REQUESTS
"""Open and waiting connections; further ones are closed to save file descriptors. [1]"""

FIRST_REQUEST_TIMEOUT_S: Final = 5.0
"""Longest wait for the first request of a connection, which otherwise blocks others. [s]"""


class PageServer:
    """Serve the page over HTTP.

    ``port`` 0 takes a free one; ``hosts`` are further permitted host names beside those of
    loopback.
    """

    def __init__(
        self,
        operator_interface: OperatorInterface,
        *,
        port: int,
        token: str,
        address: str = "127.0.0.1",
        hosts: Sequence[str] = (),
    ) -> None:
        config = uvicorn.Config(
            create_app(operator_interface, token=token, hosts=(*LOOPBACK_HOSTS, *hosts)),
            access_log=False,
            backlog=MAX_CONNECTIONS,
            http=_TimedProtocol,
            lifespan="off",
            limit_concurrency=MAX_REQUESTS,
            log_config=None,
            loop="asyncio",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._address = address
        self._port = port
        self._server = _Server(config)
        self._thread: Thread | None = None

    def start(self) -> None:
        """Bind the port and serve until :meth:`stop`.

        Raises
        ------
        StatusPageError
            If the port is not available.
        """
        listener = _bind(self._address, self._port)
        self._port = listener.getsockname()[1]
        self._thread = Thread(target=self._server.run, args=([listener],), name="page", daemon=True)
        self._thread.start()
        if not self._server.is_up.wait(SERVER_TIMEOUT_S):
            msg = f"the page at {self.url} does not start: look into the log"
            raise StatusPageError(msg)

    @property
    def url(self) -> str:
        """Address to open in a browser."""
        name = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{name}:{self._port}/"

    def stop(self) -> None:
        """End the server and its thread; a repeated call does nothing."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(SERVER_TIMEOUT_S)
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """Server that signals when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


class _TimedProtocol(H11Protocol):
    """HTTP on one connection, which is closed if no request follows, or there are too many."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.close()
        self.loop.call_later(FIRST_REQUEST_TIMEOUT_S, self._end_if_silent)

    def _end_if_silent(self) -> None:
        if self.cycle is None:
            self.transport.close()


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or str(error)
        msg = (
            f"the page cannot listen on {address}, port {port} ({why.lower()}): "
            "end what uses it, or choose another port; port 0 takes a free one"
        )
        raise StatusPageError(msg) from error
    return listener
