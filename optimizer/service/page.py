"""The page over HTTP: HTML, state, health, metrics, and the orders about HOLDs.

No other website in the operator's browser may read the page or press HOLD. A foreign page can send
requests to loopback, and can point a host name of its own there (DNS rebinding). So every request
must name a permitted host. A POST must also come from the page itself (Origin) and carry its token.
That token suffices to place a HOLD; to release or replace one, the order must carry the operator's
own token. The bodies of POSTs are validated strictly.

The server runs on its own thread, and is bound before it starts.
"""

import asyncio
import base64
import gzip
import hashlib
import hmac
import html
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Annotated, Final, Self

import uvicorn
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from optimizer.service.daemon import SiteService
from optimizer.service.hold_commands import carry_out_hold_command
from optimizer.service.hold_register import MAX_HOLD_H
from optimizer.service.live_values import LiveResponse, LiveStream
from optimizer.service.metrics import CONTENT_TYPE, metrics_text
from optimizer.service.status import ServiceStatus, render_json, state_label
from telemetry.messages.strict_json import parse_json
from twin.errors import GigatwinError, IssueCode, StatusPageError
from twin.text import one_line

STATIC_FOLDER: Final = Path(__file__).parent / "web" / "static"
"""Folder of the page's own files; the page loads nothing else."""

RELOAD_SCRIPT: Final = (STATIC_FOLDER.parent / "watch.js").read_text(encoding="utf-8")
"""Inline script that reloads the page if its files did not load."""

LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")
"""Host names of this machine that a browser may use."""


type OrderView = Callable[[Request], Awaitable[Response]]


def create_app(
    service: SiteService, *, token: str, hosts: Sequence[str] = LOOPBACK_HOSTS
) -> Starlette:
    """Return the page as an ASGI application.

    ``token`` is required of a POST, and is part of the page's HTML. ``hosts`` are the permitted
    host names; one without a port stands for the server's port.
    """
    views = _Views(service, token)
    app = Starlette(
        routes=[
            Route("/", views.page),
            Route("/events", views.events),
            Route("/state.json", views.state),
            Route("/health", views.health),
            Route("/health/live", _live),
            Route("/health/ready", views.ready),
            Route("/metrics", views.metrics),
            Route("/hold", views.order("hold", HoldRequest), methods=["POST"]),
            Route("/replace", views.order("replace", ReplaceRequest), methods=["POST"]),
            Route("/release", views.order("release", ReleaseRequest), methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC_FOLDER)),
        ],
        middleware=[
            Middleware(AccessMiddleware, token=token, hosts=tuple(hosts), script=RELOAD_SCRIPT),
            Middleware(GZipMiddleware, minimum_size=1000),
        ],
        exception_handlers={RequestError: _malformed, GigatwinError: _refused},
    )
    app.state.live_stream = views.live_stream
    return app


class _Views:
    """Endpoints that read the service; those that are no coroutines run on worker threads."""

    def __init__(self, service: SiteService, token: str) -> None:
        self._service, self._shared = service, SharedStatus(service.status)
        self.live_stream = LiveStream(service.live_status)
        self._unfinished = 0  # orders whose body has not arrived; of the event loop only
        text = (STATIC_FOLDER / "index.html").read_text(encoding="utf-8")
        self._page = text.replace("{{watch}}", RELOAD_SCRIPT).replace(
            "{{token}}", html.escape(token)
        )

    def page(self, _: Request) -> Response:
        return HTMLResponse(self._page)

    async def events(self, _: Request) -> Response:
        if self.live_stream.is_full:
            raise RequestError(503, "too many viewers: this page shows the state every two seconds")
        return LiveResponse(self.live_stream)

    def state(self, request: Request) -> Response:
        shown = self._shared.get()
        headers = {"ETag": shown.entity_tag, "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == shown.entity_tag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(shown.compressed, media_type="application/json", headers=headers)
        return Response(shown.body, media_type="application/json", headers=headers)

    def health(self, _: Request) -> Response:
        status = self._shared.get().status
        missing, decision = self._service.readiness_problems(), status.decision
        summary = {
            "site": status.site,
            "time": status.time,
            "state": state_label(status),
            "is_ready": not missing,
            "missing": missing,
            "decided": decision and decision.time,
            "revision": decision and decision.revision,
            "telemetry_age_s": status.telemetry.age_s,
        }
        return Response(render_json(summary), media_type="application/json")

    def ready(self, _: Request) -> Response:
        missing = self._service.readiness_problems()
        text = "\n".join(["not ready:", *missing] if missing else ["ready"])
        return PlainTextResponse(f"{text}\n", status_code=503 if missing else 200)

    def metrics(self, _: Request) -> Response:
        return Response(metrics_text(self._service), headers={"Content-Type": CONTENT_TYPE})

    async def _read[T: _OperatorRequest](self, request: Request, kind: type[T]) -> T:
        """Return an order; refuse it if its body is late, or too many others are.

        Raises RequestError as :func:`read_request` does.
        """
        if self._unfinished >= MAX_UNFINISHED_ORDERS:
            raise RequestError(503, "too many orders are unfinished: use gigatwin hold instead")
        self._unfinished += 1
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                return await read_request(request, kind)
        except TimeoutError as error:
            raise RequestError(408, f"the order did not arrive in {BODY_TIMEOUT_S:g} s") from error
        finally:
            self._unfinished -= 1

    def order(self, name: str, kind: type["_OperatorRequest"]) -> OrderView:
        """Return the endpoint of an order about a HOLD."""

        async def view(request: Request) -> Response:
            order = await self._read(request, kind)
            command = {"command": name, **order.model_dump()}
            answer = await run_in_threadpool(
                carry_out_hold_command, self._service, command, channel="page"
            )
            self._shared.expire()
            number = answer["hold"]["number"]
            return JSONResponse({"accepted": name, "hold": number, "said": answer.get("said", "")})

        return view


async def _live(_: Request) -> Response:
    """Answer without the service and without a worker thread: the process is alive."""
    return PlainTextResponse("alive\n")


async def _malformed(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, RequestError) else 400
    # the rest of a refused body is not waited for
    return JSONResponse({"error": str(error)}, status_code=status, headers={"Connection": "close"})


async def _refused(_: Request, error: Exception) -> Response:
    code = error.code if isinstance(error, GigatwinError) else None
    status = 403 if code is IssueCode.UNAUTHORISED else 409
    return JSONResponse({"error": str(error), "code": code}, status_code=status)


DEFAULT_HTTP_PORTS: Final = ("80", "443")
"""Ports that a browser omits in the Host header."""

TOKEN_HEADER: Final = "X-Gigatwin-Token"

CSP_HEADER: Final = "Content-Security-Policy"

SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    CSP_HEADER: "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'; script-src 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class AccessMiddleware:
    """ASGI middleware that refuses foreign requests and adds security headers to every answer.

    ``script`` is the one inline script that a page may contain; see :func:`create_app` for the
    rest.
    """

    def __init__(self, app: ASGIApp, *, token: str, hosts: Sequence[str], script: str) -> None:
        self.app = app
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        self._headers = SECURITY_HEADERS | {
            CSP_HEADER: f"{SECURITY_HEADERS[CSP_HEADER]} 'sha256-{digest}'"
        }
        self._token = token.encode()
        self._hosts = tuple(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request, or pass it on."""
        if scope["type"] != "http":
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        fault = self._fault(scope)
        if fault:
            await JSONResponse({"error": fault}, status_code=403)(scope, receive, marked)
        else:
            await self.app(scope, receive, marked)

    def _fault(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("Host", "").lower()
        if len(headers.getlist("Host")) != 1 or host not in self._permitted(scope):
            return (
                "this host name is not permitted: open the page by localhost and its port, "
                "or add the name to the hosts of the page"
            )
        if scope["method"] in {"GET", "HEAD"}:
            return None
        if headers.get("Origin", "").lower() not in {f"http://{host}", f"https://{host}"}:
            return "the request comes from another page (Origin): use the page itself"
        if not hmac.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self._token):
            return "the token is missing or old: load the page again"
        return None

    def _permitted(self, scope: Scope) -> set[str]:
        """Return the permitted Host headers, ports included."""
        port = str((scope.get("server") or ("", ""))[1])
        permitted = set()
        for host in self._hosts:
            name, colon, own = host.rpartition(":")
            has_port = bool(colon) and own.isdigit()
            permitted.add(host if has_port else f"{host}:{port}")
            if (own if has_port else port) in DEFAULT_HTTP_PORTS:
                permitted.add(name if has_port else host)
        return permitted


MAX_BODY_BYTES: Final = 64 * 1024
"""Largest body of an order. [B]"""

BODY_TIMEOUT_S: Final = 5.0
"""Longest wait for the body of an order. [s]"""

MAX_UNFINISHED_ORDERS: Final = 16
"""Orders whose body is awaited at once; further ones are refused. [1]"""


def _text_or_empty(value: object) -> object:
    """Return a text, or an empty one for anything else: no HOLD is refused for it."""
    return value if isinstance(value, str) else ""


# Invisible characters could forge log lines: they are removed. Long texts are cut by the service.
type Text = Annotated[str, BeforeValidator(_text_or_empty), AfterValidator(one_line)]
type Hours = Annotated[float, Field(gt=0, le=MAX_HOLD_H)]


class RequestError(ValueError):
    """An invalid order; ``status`` is the HTTP status of the answer."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class _OperatorRequest(BaseModel):
    """An order; ``token`` is that of the operator, empty for a person who is not signed in."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    token: Annotated[str, BeforeValidator(_text_or_empty)] = ""


class HoldRequest(_OperatorRequest):
    """Stop the optimiser; ``hours`` null means until released. [h]"""

    author: Text = ""
    reason: Text = ""
    hours: Hours | None = None
    is_self_ending: bool = False


class ReplaceRequest(_OperatorRequest):
    """Take over one HOLD of author ``of``, with another reason or end if given. [h]"""

    hold: int
    of: str
    reason: Text = ""
    hours: Hours | None = None


class ReleaseRequest(_OperatorRequest):
    """End one HOLD; ``of`` is its author as the page shows it."""

    hold: int
    of: str


async def read_request[T: _OperatorRequest](request: Request, kind: type[T]) -> T:
    """Return the order in the body of a request.

    Raises RequestError if the body is not JSON, too large, or no such order.
    """
    media, _, _ = request.headers.get("Content-Type", "").partition(";")
    if media.strip().lower() != "application/json":
        raise RequestError(415, "send the order as application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(413, f"an order has at most {MAX_BODY_BYTES} bytes")
    try:
        return kind.model_validate(parse_json(body.decode("utf-8")))
    except ValidationError as error:
        raise RequestError(400, _describe_errors(error)) from error
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON of an order: {error}") from error


def _describe_errors(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'order'}: {fault['msg']}" for fault in faults
    )


SHARED_STATUS_PERIOD_S: Final = 0.5
"""Time for which all clients get the same status. [s]"""


@dataclass(frozen=True, kw_only=True)
class RenderedStatus:
    """A status and its JSON, plain and compressed.

    - `order_count`: orders given through the page before it was built.
    - `expiry`: time of the monotonic clock from which on it is built again. [s]
    """

    status: ServiceStatus
    body: bytes
    compressed: bytes
    entity_tag: str
    order_count: int
    expiry: float


class SharedStatus:
    """The status for all clients: one thread builds it, at most once a period.

    Otherwise each client would let the service build one, and a HOLD would wait for them.
    """

    def __init__(self, build: Callable[[], ServiceStatus]) -> None:
        self._build, self._building = build, Lock()
        self._current: RenderedStatus | None = None
        self._orders = 0

    def get(self) -> RenderedStatus:
        """Return the newest one; while another thread builds it, the one before."""
        current = self._current
        if current is not None and self._is_new(current):
            return current
        if current is None or current.order_count < self._orders:
            self._building.acquire()
        elif not self._building.acquire(blocking=False):
            return current
        try:
            current = self._current
            if current is None or not self._is_new(current):
                current = self._current = self._render()
            return current
        finally:
            self._building.release()

    def expire(self) -> None:
        """Build it again for the next client: an order was given."""
        self._orders += 1

    def _is_new(self, shown: RenderedStatus) -> bool:
        return shown.order_count == self._orders and time.monotonic() < shown.expiry

    def _render(self) -> RenderedStatus:
        orders, status = self._orders, self._build()
        body = render_json(status.with_label())
        return RenderedStatus(
            status=status,
            body=body,
            compressed=gzip.compress(body, GZIP_LEVEL),
            entity_tag=f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"',
            order_count=orders,
            expiry=time.monotonic() + SHARED_STATUS_PERIOD_S,
        )


GZIP_LEVEL: Final = 5
"""Level of compression that costs half the time of the highest. [1]"""


PAGE_ADDRESS: Final = "127.0.0.1"
"""Address that the page listens on; a proxy or tunnel gives access from elsewhere."""

SERVER_TIMEOUT_S: Final = 10.0
"""Longest wait for the server to start, or to end. [s]"""

MAX_PAGE_CONNECTIONS: Final = 128
"""Open and waiting connections; further ones are closed to save file descriptors. [1]"""

REQUEST_TIMEOUT_S: Final = 5.0
"""Longest wait for the next request of a connection, which otherwise blocks others. [s]"""


UNREAD_TIMEOUT_S: Final = 10.0
"""Longest time for which a client may leave a full buffer unread. [s]"""

SEND_BUFFER_BYTES: Final = 256 * 1024
"""Buffer of the system for each connection, so that unread events cost little memory. [B]"""


class PageServer:
    """Serve the page over HTTP.

    ``port`` 0 takes a free one; ``hosts`` are further permitted host names beside those of
    loopback.
    """

    def __init__(
        self,
        service: SiteService,
        *,
        port: int,
        token: str,
        hosts: Sequence[str] = (),
    ) -> None:
        app = create_app(service, token=token, hosts=(*LOOPBACK_HOSTS, *hosts))
        config = uvicorn.Config(
            app,
            access_log=False,
            backlog=MAX_PAGE_CONNECTIONS,
            http=_TimedProtocol,
            lifespan="off",
            log_config=None,
            loop="asyncio",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._port = port
        self._server = _Server(config, app.state.live_stream)
        self._thread: Thread | None = None

    def start(self) -> None:
        """Bind the port and serve until :meth:`stop`.

        Raises StatusPageError if the port is not available.
        """
        try:
            listener = socket.create_server((PAGE_ADDRESS, self._port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise StatusPageError(
                f"the page cannot listen on {PAGE_ADDRESS}, port {self._port} ({why.lower()}): "
                "end what uses it, or choose another port; port 0 takes a free one"
            ) from error
        self._port = listener.getsockname()[1]
        self._thread = Thread(target=self._server.run, args=([listener],), name="page", daemon=True)
        self._thread.start()
        if not self._server.is_up.wait(SERVER_TIMEOUT_S):
            raise StatusPageError(f"the page at {self.url} does not start: look into the log")

    @property
    def url(self) -> str:
        """Address to open in a browser."""
        return f"http://{PAGE_ADDRESS}:{self._port}/"

    def stop(self) -> None:
        """End the server and its thread; a repeated call does nothing."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(SERVER_TIMEOUT_S)
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """Server that signals when it listens, and ends the streams when it stops."""

    def __init__(self, config: uvicorn.Config, live_stream: LiveStream) -> None:
        super().__init__(config)
        self.is_up, self._live_stream = Event(), live_stream

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._live_stream.close()
        await super().shutdown(sockets)


class _TimedProtocol(H11Protocol):
    """HTTP on one connection, which is closed if no request follows, or there are too many.

    Uvicorn alone waits without end for the rest of a request's head, and for a client that reads
    nothing.
    """

    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_PAGE_CONNECTIONS:
            transport.close()
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.loop.call_later(REQUEST_TIMEOUT_S, self._end_if_silent, None)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _end_if_silent(self, before: object) -> None:
        """Close the connection if its last request is answered, and the same as ``before``."""
        if self.transport.is_closing():
            return
        is_answered = getattr(self.cycle, "response_complete", True)  # None before the first
        if self.cycle is before and is_answered:
            self.transport.close()
        else:
            self.loop.call_later(REQUEST_TIMEOUT_S, self._end_if_silent, self.cycle)
