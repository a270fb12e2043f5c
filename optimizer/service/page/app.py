"""The endpoints: page, state, health, metrics, and the two orders HOLD and release."""

import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from optimizer.service.board import Board, found, number, word
from optimizer.service.metrics import CONTENT_TYPE, exposition
from optimizer.service.page.gate import LOOPBACK, Gate
from optimizer.service.page.orders import Hold, OrderError, Release, read
from twin.errors import GigatwinError

STATIC: Final = Path(__file__).with_name("static")
"""Folder of the page's own files; the page loads nothing else."""

WATCH: Final = Path(__file__).with_name("watch.js").read_text(encoding="utf-8")
"""Script within the page that loads it again where its files did not come."""


def create_app(board: Board, *, token: str, hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """Return the page as an ASGI application.

    Parameters
    ----------
    board
        The daemon, as the page sees it.
    token
        What a POST must bring; the page gets it within its HTML.
    hosts
        Names under which the page may be opened; one without a port stands for the server's.
    """
    views = _Views(board, token)
    return Starlette(
        routes=[
            Route("/", views.page),
            Route("/state.json", views.state),
            Route("/health", views.health),
            Route("/health/live", _live),
            Route("/health/ready", views.ready),
            Route("/metrics", views.metrics),
            Route("/hold", views.hold, methods=["POST"]),
            Route("/release", views.release, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(Gate, token=token, hosts=tuple(hosts), script=WATCH),
            Middleware(GZipMiddleware, minimum_size=1000),
        ],
        exception_handlers={OrderError: _malformed, GigatwinError: _refused},
    )


class _Views:
    """The endpoints that look at the board; those that are no coroutines run on worker threads."""

    def __init__(self, board: Board, token: str) -> None:
        self._board = board
        text = (STATIC / "index.html").read_text(encoding="utf-8")
        self._page = text.replace("{{watch}}", WATCH).replace("{{token}}", html.escape(token))

    def page(self, _: Request) -> Response:
        return HTMLResponse(self._page)

    def state(self, request: Request) -> Response:
        snapshot = self._board.snapshot()
        body = _json({**snapshot, "state": word(snapshot)})
        tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(body, media_type="application/json", headers={"ETag": tag})

    def health(self, _: Request) -> Response:
        snapshot = self._board.snapshot()
        missing = self._board.is_ready()
        summary = {
            "site": snapshot.get("site"),
            "time": snapshot.get("time"),
            "state": word(snapshot),
            "is_ready": not missing,
            "missing": missing,
            "decided": found(snapshot, "decision", "time"),
            "revision": found(snapshot, "decision", "revision"),
            "telemetry_age_s": number(snapshot, "telemetry", "age_s"),
        }
        return Response(_json(summary), media_type="application/json")

    def ready(self, _: Request) -> Response:
        missing = self._board.is_ready()
        text = "\n".join(["not ready:", *missing] if missing else ["ready"])
        return PlainTextResponse(f"{text}\n", status_code=503 if missing else 200)

    def metrics(self, _: Request) -> Response:
        return Response(exposition(self._board), headers={"Content-Type": CONTENT_TYPE})

    async def hold(self, request: Request) -> Response:
        order = await read(request, Hold)
        said = await run_in_threadpool(self._board.hold, **order.model_dump())
        return JSONResponse({"accepted": "hold", "said": said})

    async def release(self, request: Request) -> Response:
        order = await read(request, Release)
        was_held = await run_in_threadpool(self._board.release, **order.model_dump())
        said = "" if was_held else "there was no HOLD; nothing is changed"
        return JSONResponse({"accepted": "release", "was_held": was_held, "said": said})


async def _live(_: Request) -> Response:
    """Answer without the board and without a worker thread: the process lives."""
    return PlainTextResponse("alive\n")


async def _malformed(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, OrderError) else 400
    return JSONResponse({"error": str(error)}, status_code=status)


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=409)


def _json(content: object) -> bytes:
    """Return content as JSON; what is not a finite number becomes null, never a broken page."""
    try:
        text = json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        return _json(_finite(content))
    return text.encode("utf-8", "replace")


def _finite(content: object) -> object:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
